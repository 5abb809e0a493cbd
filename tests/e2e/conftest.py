"""Fixtures: what a test starts ends with it, and a test that leaves something behind has failed."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Iterator

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import media as media_files  # noqa: E402
from harness import processes, sanitizers, waiting  # noqa: E402
from harness.mount import MAGNETCTL, MAGNETFS, Magnetfs  # noqa: E402
from harness.rogue import RoguePeer, Rogues  # noqa: E402
from harness.scripted_peer import Peers, ScriptedPeer  # noqa: E402
from harness.seeder import Seeder  # noqa: E402
from harness.tasks import TaskBound, make_bound  # noqa: E402
from harness.torrents import TorrentMaker  # noqa: E402
from harness.tracker import HangingTracker, OpenTracker  # noqa: E402
from harness.transmission import Transmission  # noqa: E402

TEST_S = 60  # what a test may take unless marked otherwise
JANITOR_GRACE_S = 20

_running = pytest.StashKey[list]()
_reports = pytest.StashKey[list]()  # of sanitizers
_janitor = pytest.StashKey[subprocess.Popen]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "deadline(seconds): what the test may take")
    faulthandler.enable()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # all traffic is on loopback


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a mount nothing can be shown: that is a failure, never a silent skip."""
    if config.option.collectonly or not items:
        return
    missing = [str(path) for path in (MAGNETFS, MAGNETCTL) if not os.access(path, os.X_OK)]
    if missing:
        raise pytest.UsageError(f"not built: {', '.join(missing)}")
    if not os.path.exists("/dev/fuse"):
        raise pytest.UsageError("/dev/fuse is missing: load the fuse module or pass the device on")


# -- the run: one folder, one tag, one janitor ----------------------------------------------------


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder that holds all this process makes; gone at the end, whatever happens."""
    tag = uuid.uuid4().hex
    folder = Path(tempfile.mkdtemp(prefix="magnetfs-e2e-")).resolve()
    folder.chmod(0o755)
    janitor = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "harness" / "janitor.py"), tag, str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    request.config.stash[_janitor] = janitor
    os.environ[processes.RUN_TAG] = tag  # from here on all children carry it
    sanitizers.arm(folder / "sanitizers")
    yield folder
    left = [processes.describe(pid) for pid in processes.tagged(processes.RUN_TAG, tag)]
    mounts = processes.mounts_beneath(folder)
    if not left and not mounts:
        shutil.rmtree(folder)
    assert janitor.stdin
    janitor.stdin.close()
    janitor.wait(30)
    assert not left, f"processes left behind: {left}"
    assert not mounts, f"mounts left behind: {mounts}"


@pytest.fixture(autouse=True)
def _armed(request: pytest.FixtureRequest, run_folder: Path) -> Iterator[None]:
    """Ends a test that takes too long: by an exception, and if that can't help by the janitor."""
    marker = request.node.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else TEST_S
    janitor = request.config.stash[_janitor]

    def tell(line: str) -> None:
        janitor.stdin.write(line.encode() + b"\n")
        janitor.stdin.flush()

    def late(_signum: int, _frame: FrameType | None) -> None:
        raise waiting.DeadlineExceeded(f"the test took more than {seconds} s")

    tell(f"arm {seconds + JANITOR_GRACE_S}")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    tell("disarm")


@pytest.fixture(autouse=True)
def _sane(_armed: None, run_folder: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """A sanitizer's report fails the test, whichever program it came from; last, when all ended."""
    yield
    reports = sanitizers.take(run_folder / "sanitizers")
    request.node.stash[_reports] = reports
    assert not reports, "\n".join(reports)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A failure shows what each magnetfs of the test said and what state it was in."""
    outcome: Any = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for instance in item.stash.get(_running, []):
        report.sections.append(("magnetfs stderr", instance.stderr()[-8000:]))
    # Of two fixtures that fail at the end pytest shows one: the program that a sanitizer has ended.
    for text in item.stash.get(_reports, []):
        report.sections.append(("sanitizer", text))


# -- parts -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(run_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder for this test alone."""
    path = Path(tempfile.mkdtemp(prefix="test-", dir=run_folder))
    path.chmod(0o755)
    yield path
    mounts = processes.mounts_beneath(path)
    for mountpoint in mounts:
        processes.unmount_lazily(mountpoint)
    shutil.rmtree(path)
    assert not mounts, f"mounts left behind: {mounts}"


@pytest.fixture
def magnetfs(folder: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Magnetfs]]:
    """Starts a magnetfs: magnetfs(*options, allow=[...], name=..., start=True). Checks its end."""
    running: list[Magnetfs] = []
    request.node.stash[_running] = running

    def begin(*options: str, name: str = "fs", start: bool = True, **keywords: Any) -> Magnetfs:
        instance = Magnetfs(folder / name, options, **keywords)
        running.append(instance)
        return instance.start() if start else instance

    yield begin
    problems = []
    for instance in reversed(running):
        try:
            instance.close()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def task_bound() -> Iterator[TaskBound]:
    """A bound on the number of tasks. To be asked for before magnetfs, so that it goes after it."""
    bound = make_bound()
    if not bound:
        pytest.skip("the kernel's pids controller can't be used here")
    yield bound
    bound.close()


@pytest.fixture
def fs(magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    """A magnetfs with short, honest limits: a read that gets nothing fails after 20 s, not 60."""
    return magnetfs("--read-timeout", "20")


@pytest.fixture(scope="session")
def torrents(run_folder: Path) -> TorrentMaker:
    return TorrentMaker(run_folder / "content")


@pytest.fixture(scope="session")
def media(run_folder: Path) -> Path:
    """A folder with clip.mp4 (index last) and clip.mkv."""
    path = run_folder / "media"
    path.mkdir()
    media_files.make_mkv(path)
    return path


@pytest.fixture
def seeder(run_folder: Path) -> Iterator[Seeder]:
    """One libtorrent seeder, without torrents yet."""
    instance = Seeder()
    yield instance
    instance.close()


@pytest.fixture
def seeders(run_folder: Path) -> Iterator[Callable[..., Seeder]]:
    """Starts further seeders; the address may be another of 127.0.0.0/8."""
    started: list[Seeder] = []

    def begin(address: str = "127.0.0.1") -> Seeder:
        started.append(Seeder(address))
        return started[-1]

    yield begin
    for instance in started:
        instance.close()


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Starts scripted peers."""
    started: list[ScriptedPeer] = []

    def begin(*arguments: Any, **keywords: Any) -> ScriptedPeer:
        started.append(ScriptedPeer(*arguments, **keywords))
        return started[-1]

    yield begin
    for instance in started:
        instance.close()


@pytest.fixture
def rogues() -> Iterator[Rogues]:
    """Starts peers that lie."""
    started: list[RoguePeer] = []

    def begin(*arguments: Any, **keywords: Any) -> RoguePeer:
        started.append(RoguePeer(*arguments, **keywords))
        return started[-1]

    yield begin
    for instance in started:
        instance.close()


@pytest.fixture
def transmission(folder: Path) -> Iterator[Transmission]:
    instance = Transmission(folder / "transmission")
    yield instance
    instance.close()


@pytest.fixture
def opentracker(folder: Path) -> Iterator[Callable[[list[str]], OpenTracker]]:
    """Starts opentracker for these info-hashes."""
    started: list[OpenTracker] = []

    def begin(info_hashes: list[str]) -> OpenTracker:
        started.append(OpenTracker(folder / f"tracker{len(started)}", info_hashes))
        return started[-1]

    yield begin
    for instance in started:
        instance.close()


@pytest.fixture
def hanging_tracker() -> Iterator[HangingTracker]:
    """Answers the first announce and never again: it hangs when it is told goodbye."""
    instance = HangingTracker(answers=1)
    yield instance
    instance.close()
