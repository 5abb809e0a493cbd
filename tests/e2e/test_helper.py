"""The helper: killed it comes back, stopped it outlives nobody; the commands that it runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from harness import processes, waiting
from harness.inotify import Watch
from harness.mount import END_S, Magnetfs
from harness.torrents import Torrent, TorrentMaker

ORPHAN_S = 5.0
AT_ONCE = 16  # commands of --on-event
KILLED = [r"The helper ended \(signal 9\)"]


@pytest.fixture(scope="module")
def shows(torrents: TorrentMaker) -> list[Torrent]:
    return [torrents.single(f"show {n}.mkv", 100_000, seed=170 + n) for n in range(40)]


def by_name(fs: Magnetfs, name: str) -> int:
    """The process of that name: the helper's and the zygote's program is magnetfs."""

    def named() -> list[int]:
        found = []
        for pid in fs.processes():
            try:
                comm = Path(f"/proc/{pid}/comm").read_text()
                # One that was killed and is not reaped yet has its name still.
                if comm == f"magnetfs-{name}\n" and processes.alive(pid):
                    found.append(pid)
            except OSError:
                continue
        return found

    # What it starts has its name until it runs its own program.
    return waiting.until(f"one {name}", lambda: found if len(found := named()) == 1 else [])[0]


def kill_helper(fs: Magnetfs) -> None:
    """… and waits for the next one, and its sidecar."""
    old = by_name(fs, "helper")
    sidecar = fs.sidecar()
    os.kill(old, signal.SIGKILL)

    def is_back() -> bool:
        status = fs.status()
        return (
            not processes.alive(old)
            and status["helper"] == "running"
            and status["sidecar"] == "listening"
            and fs.sidecar() not in (None, sidecar)
        )

    waiting.until("the helper and the sidecar are back", is_back, 10)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# -- killed ----------------------------------------------------------------------------------------


def test_a_killed_helper_comes_back_and_all_that_it_does_goes_on(
    magnetfs: Callable[..., Magnetfs], shows: list[Torrent], folder: Path
) -> None:
    """Thrice: announcements (CREATE), removals of idle torrents (DELETE), commands, the sidecar."""
    log = folder / "events"
    fs = magnetfs("--on-event", f'echo "$MAGNETFS_EVENT" >> {log}', "--idle-timeout", "1", allow=KILLED)
    assert fs.web
    with Watch(fs.mountpoint) as watch:
        for show in shows[:3]:
            kill_helper(fs)
            assert fs.web.get("/healthz").status == 200
            fs.add(show.metainfo, temporary=True)
            watch.wait("CREATE", show.directory)
            watch.wait("DELETE", show.directory)
            waiting.until(
                "the command ran", lambda: any(show.info_hash in line for line in lines(log))
            )
    assert fs.stderr().count("The helper ended") == 3


def test_what_the_helper_was_asked_for_when_it_was_killed_is_asked_again(
    magnetfs: Callable[..., Magnetfs], shows: list[Torrent]
) -> None:
    fs = magnetfs("--idle-timeout", "1", allow=KILLED)
    with Watch(fs.mountpoint) as watch:
        helper = by_name(fs, "helper")
        os.kill(helper, signal.SIGSTOP)
        for show in shows:
            fs.add(show.metainfo)
        fs.add(shows[0].metainfo.replace(b"show 0", b"show X"), temporary=True)
        waiting.until("all are there", lambda: len(os.listdir(fs.mountpoint)) == len(shows) + 1)
        time.sleep(2.2)  # the temporary one's time has come, by the engine's clock
        assert "show X" in os.listdir(fs.mountpoint)
        os.kill(helper, signal.SIGKILL)
        for show in shows:
            watch.wait("CREATE", show.directory, 10)
        waiting.until("the idle one is gone", lambda: "show X" not in os.listdir(fs.mountpoint), 10)


def test_without_its_zygote_the_helper_goes_on_and_its_end_is_told(
    magnetfs: Callable[..., Magnetfs], shows: list[Torrent]
) -> None:
    fs = magnetfs(allow=[r"The helper is gone"])
    assert fs.web
    os.kill(by_name(fs, "zygote"), signal.SIGKILL)
    with Watch(fs.mountpoint) as watch:
        fs.add(shows[0].metainfo)
        watch.wait("CREATE", shows[0].directory)
    assert fs.status()["helper"] == "running" and fs.web.get("/healthz").status == 200
    os.kill(by_name(fs, "helper"), signal.SIGKILL)
    waiting.until("the status says so", lambda: fs.status()["helper"] == "gone")
    assert fs.status()["sidecar"] == "down" and "The helper is gone" in fs.stderr()
    fs.add(shows[1].metainfo)
    assert sorted(os.listdir(fs.mountpoint)) == [shows[0].directory, shows[1].directory]


def test_answers_of_the_helper_are_not_lost_in_a_bulk_add(
    magnetfs: Callable[..., Magnetfs], shows: list[Torrent]
) -> None:
    """A thousand announcements at once. One whose answer is lost can't be removed any more."""
    fs = magnetfs("--idle-timeout", "2")
    one = shows[0].metainfo
    many = b"".join(one.replace(b"show 0.mkv", b"bulk%06d" % n, 1) for n in range(1000))
    assert len(fs.add(many, temporary=True)) == 1000
    waiting.until("all are gone", lambda: os.listdir(fs.mountpoint) == [], 20)


# -- stopped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", [["helper"], ["zygote"], ["helper", "zygote"]])
@pytest.mark.parametrize("end", ["SIGTERM", "kill -9"])
def test_a_stopped_helper_outlives_nobody(fs: Magnetfs, stopped: list[str], end: str) -> None:
    pids = {name: by_name(fs, name) for name in ("helper", "zygote")}
    known = fs.processes()
    for name in stopped:
        os.kill(pids[name], signal.SIGSTOP)
    if end == "SIGTERM":
        fs.stop(within=END_S)
        return
    fs.kill()
    waiting.until("all end", lambda: not any(map(processes.alive, known)), ORPHAN_S)
    processes.unmount_lazily(str(fs.mountpoint))


def test_what_it_has_announced_does_not_keep_a_name(fs: Magnetfs, torrents: TorrentMaker) -> None:
    """The kernel would go by it for a moment, and lead to another torrent than events tell of."""
    first = torrents.multi("One name", [("x", 10)], seed=311)
    second = torrents.multi("One name", [("x", 20)], seed=312)
    fs.add(first.magnet(name=False))
    with fs.events() as events, Watch(fs.mountpoint) as watch:
        fs.add(second.metainfo)
        watch.wait("CREATE", "One name")
        os.kill(by_name(fs, "helper"), signal.SIGSTOP)
        fs.add(first.metainfo)
        events.wait("ready", first.info_hash)
        assert os.path.getsize(fs.mountpoint / "One name" / "x") == 10
        os.kill(by_name(fs, "helper"), signal.SIGCONT)


def test_what_it_was_asked_for_is_not_done_beneath_the_mount(
    magnetfs: Callable[..., Magnetfs], shows: list[Torrent]
) -> None:
    """Unmounted, the mountpoint is a folder of the user's: nothing is made there, nothing goes."""
    fs = magnetfs()
    with Watch(fs.mountpoint) as watch:
        fs.add(shows[0].metainfo)
        watch.wait("CREATE", shows[0].directory)
    helper = by_name(fs, "helper")
    os.kill(helper, signal.SIGSTOP)
    fs.remove(shows[0].info_hash)
    for show in shows[1:]:
        fs.add(show.metainfo)
    processes.unmount_lazily(str(fs.mountpoint))
    theirs = fs.mountpoint / shows[0].directory
    theirs.mkdir()
    os.kill(helper, signal.SIGCONT)
    assert fs.wait(END_S) == 0
    assert os.listdir(fs.mountpoint) == [theirs.name]
    theirs.rmdir()
    fs.start()


# -- commands of --on-event ------------------------------------------------------------------------

HANGING = {
    "a child": "sleep 1000",
    "children": "sleep 1000 & sleep 1000; true",
    "deaf to SIGTERM": "trap '' TERM; while :; do sleep 1000; done",
    "one that is stopped": "kill -STOP $$",
}


@pytest.mark.parametrize("end", ["SIGTERM", "kill -9", "helper killed before"])
@pytest.mark.parametrize("command", HANGING.values(), ids=HANGING.keys())
def test_hanging_commands_end_with_magnetfs(
    magnetfs: Callable[..., Magnetfs], shows: list[Torrent], folder: Path, command: str, end: str
) -> None:
    log = folder / "events"
    fs = magnetfs("--on-event", f"echo x >> {log}; {command}", allow=KILLED)
    fs.add(shows[0].metainfo)
    waiting.until("two commands run", lambda: len(lines(log)) == 2)  # added, ready
    if end == "helper killed before":
        kill_helper(fs)
        fs.add(shows[1].metainfo)
        waiting.until("four commands run", lambda: len(lines(log)) == 4)
    known = fs.processes()
    assert len(known) > 4
    if end != "kill -9":
        fs.stop(within=END_S)
        return
    fs.kill()
    waiting.until("all end", lambda: not any(map(processes.alive, known)), ORPHAN_S)
    processes.unmount_lazily(str(fs.mountpoint))


def test_so_many_commands_run_at_once_and_the_others_wait(
    magnetfs: Callable[..., Magnetfs], shows: list[Torrent], folder: Path
) -> None:
    log, gate = folder / "events", folder / "gate"
    gate.touch()
    fs = magnetfs(
        "--on-event", f'echo "$MAGNETFS_EVENT" >> {log}; while [ -e {gate} ]; do sleep 0.05; done'
    )
    for show in shows:
        fs.add(show.metainfo)
    waiting.until("some run", lambda: len(lines(log)) >= AT_ONCE)
    assert waiting.settled("what runs", lambda: len(lines(log))) == AT_ONCE
    gate.unlink()
    waiting.until("all ran", lambda: len(lines(log)) == 2 * len(shows), 20)


def test_a_daemon_that_a_command_starts_may_stay(
    magnetfs: Callable[..., Magnetfs], shows: list[Torrent], folder: Path
) -> None:
    """One that leaves the session says that it means to."""
    pid_file = folder / "pid"
    fs = magnetfs("--on-event", f"setsid -f sh -c 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec env -i sleep 30'")
    fs.add(shows[0].metainfo)
    waiting.until("it runs", lambda: pid_file.exists())
    waiting.until("… without our mark", lambda: "sleep" in processes.describe(int(pid_file.read_text())))
    pids: Any = {int(pid_file.read_text())}
    try:
        process, fs._process = fs._process, None
        assert process
        process.terminate()
        assert process.wait(END_S) == 0
        assert all(map(processes.alive, pids))
    finally:
        processes.kill_all(list(pids))
        processes.kill_all([p for p in processes.tagged(processes.INSTANCE_TAG, fs._instance)])
