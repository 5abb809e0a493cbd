"""A library that lasts: many torrents that are asleep, and some that are woken."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Callable, Iterator

from harness import waiting
from harness.mount import Magnetfs
from harness.torrents import KIB, Torrent

import content
from process import usage
from readers import FileReader
from step import Samples, Step

FILES = 10  # of each torrent
PIECES = 64
PIECE = 16 * KIB  # the smallest there is
FEW = 10  # so many torrents are there when an add is compared with one to a large library
ADDS = 20
SESSION_READS = 200
STATUS_READS = 5
SETTLE_S = 60.0  # bound on falling asleep, and on what is told to the catalog
SAVED_S = 3.0  # the catalog is told of what changed every 2 s
START_S = 60.0
END_S = 30.0  # bound on a stop, which is what is measured
PART = 64 * KIB
WAKE_PIECE = 256 * KIB
WAKE_LENGTH = 8 * WAKE_PIECE


# -- many that are asleep --------------------------------------------------------------------------


def _torrent(number: int, kind: str = "library") -> Torrent:
    length = PIECES * PIECE // FILES
    files = {f"{number:05}x{file:02} (1080p).mkv": length for file in range(FILES)}
    return content.peerless(f"{kind} {number:05} (1080p)", files, PIECE)


@contextmanager
def _magnetfs(step: Step, folder: Path, *options: str) -> Iterator[Magnetfs]:
    """A magnetfs whose state outlives it. It is to be ended within; else it is killed."""
    fs = Magnetfs(
        folder,
        options,
        http=False,
        swarm=step.bench.network.magnetfs_options,
        program=(step.programs / "magnetfs",),
    )
    try:
        yield fs
    finally:
        if fs.running:
            fs.stop(within=END_S)


def _put(fs: Magnetfs, torrent: Torrent) -> None:
    """As cp does it: in one write, whose end says that it is remembered."""
    (fs.control / "add").write_bytes(torrent.metainfo)


def _asleep(fs: Magnetfs) -> bool:
    return all(torrent["state"] == "asleep" for torrent in fs.status()["torrents"])


def _build(step: Step, folder: Path, count: int) -> float:
    """Adds them, once for all runs; how long one took."""
    with _magnetfs(step, folder, "--idle-timeout", "1") as fs:
        fs.start()
        began = time.monotonic()
        for number in range(count):
            _put(fs, _torrent(number))
        took = time.monotonic() - began
        waiting.until("all asleep", lambda: _asleep(fs), SETTLE_S)
        time.sleep(SAVED_S)
        fs.stop(within=END_S)
    return took / count


def _library(step: Step) -> Path:
    folder = step.bench.folder / f"library-{step.plan.library}"
    if not folder.exists():
        _build(step, folder, step.plan.library)
    return folder


def _said(*command: str) -> tuple[float, int]:
    """How long a program took, and how many lines it said."""
    began = time.monotonic()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=START_S
    )
    return time.monotonic() - began, done.stdout.count(b"\n")


def _read_times(path: Path, count: int) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        path.read_bytes()
        times.append(time.perf_counter() - began)
    return times


def _add_time(fs: Magnetfs) -> float:
    """One more, and its removal besides, which is not timed: what was there is there again."""
    times = []
    for number in range(ADDS):
        torrent = _torrent(number, "another")
        began = time.perf_counter()
        _put(fs, torrent)
        times.append(time.perf_counter() - began)
        fs.remove(torrent.info_hash)
    return median(times)


def _add_to_few(step: Step) -> float:
    with _magnetfs(step, step.folder / "few") as fs:
        fs.start()
        for number in range(FEW):
            _put(fs, _torrent(number))
        time.sleep(SAVED_S)
        took = _add_time(fs)
        fs.stop(within=END_S)
    return took


def _timed_stop(fs: Magnetfs) -> float:
    began = time.monotonic()
    fs.stop(within=END_S)
    return time.monotonic() - began


def run_library(step: Step) -> Samples:
    plan, found = step.plan, {}
    folder = _library(step)
    add_few = _add_to_few(step)
    with _magnetfs(step, folder) as fs:
        began = time.monotonic()
        fs.start_unseen(START_S)
        names = os.listdir(fs.mountpoint)
        found["mounted"] = time.monotonic() - began
        if len(names) != plan.library:
            raise OSError(f"{len(names)} of {plan.library} torrents are there")
        pid = fs.status()["pid"]
        found["fresh"] = usage(pid).rss / 1e6
        found["ls"], _ = _said("ls", "-l", str(fs.mountpoint))
        found["find"], lines = _said("find", str(fs.mountpoint))
        if lines != 1 + plan.library * (1 + FILES):
            raise OSError(f"find said {lines} lines")
        found["rss"] = usage(pid).rss / 1e6
        found["session"] = [s * 1e3 for s in _read_times(fs.control / "session", SESSION_READS)]
        found["status"] = _read_times(fs.control / "status", STATUS_READS)
        found["add"] = _add_time(fs) * 1e3
        found["add_few"] = add_few * 1e3
        found["add_ratio"] = found["add"] / found["add_few"]
        time.sleep(SAVED_S)
        before = usage(pid).cpu_s
        time.sleep(plan.idle_s)
        found["idle"] = (usage(pid).cpu_s - before) / plan.idle_s * 100
        step.processes = {"magnetfs": usage(pid)}
        found["stop"] = _timed_stop(fs)
    return found


# -- some that are woken ---------------------------------------------------------------------------


def _timed_read(path: Path, torrent: Torrent, offset: int) -> float:
    """Opens the file and reads a part of one piece."""
    began = time.perf_counter()
    with closing(FileReader(path)) as reader:
        data = reader.at(offset, PART)
    took = time.perf_counter() - began
    if data != torrent.read(torrent.files[0].path, offset, PART):
        raise OSError(f"{path}: wrong bytes at {offset}")
    return took


def _have(fs: Magnetfs) -> dict[str, int]:
    return {t["infoHash"]: t["haveBytes"] for t in fs.status()["torrents"]}


def _fails(action: Callable[[], object]) -> None:
    try:
        action()
    except OSError:
        return
    raise OSError("a read ended with bytes though its seeder was stopped")


def _all_parked(fs: Magnetfs, reads: list[Future[None]]) -> bool:
    """Raises what the first of them ended with before magnetfs was stopped."""
    for read in reads:
        if read.done():
            read.result()
            raise OSError("a read failed before magnetfs was stopped")
    return bool(fs.status()["parkedReads"] == len(reads))


def run_wake(step: Step) -> Samples:
    plan = step.plan
    one = step.bench.torrents.single("wake.bin", WAKE_LENGTH, seed=50, piece_length=WAKE_PIECE)
    torrents = content.siblings(one, plan.awake)
    swarm = step.swarm(torrents, None, check=False)
    folder = step.folder / "wake"
    missing, further = 3 * WAKE_PIECE, 6 * WAKE_PIECE

    def path(torrent: Torrent) -> Path:
        return fs.directory(torrent) / torrent.files[0].path

    def in_store(chosen: list[Torrent]) -> list[float]:
        times = [_timed_read(path(torrent), torrent, 0) for torrent in chosen]
        for torrent in chosen:
            if (state := fs.torrent(torrent.info_hash)["state"]) != "asleep":
                raise OSError(f"a read of what is in the store left it {state}")
        return times

    with _magnetfs(step, folder, "--read-timeout", "0", "--awake-max", str(plan.awake)) as fs:
        fs.start()
        fs.add("\n".join(swarm.magnet(torrent) for torrent in torrents))
        for torrent in torrents:
            fs.files(torrent.info_hash, 60)
            _timed_read(path(torrent), torrent, 0)
        fs.stop(within=END_S)

        fs.start()
        woken = torrents[: plan.wakes]
        stored = in_store(woken)
        firsts, awake = [], []
        for torrent in woken:
            # The first read has brought the first piece, and no more.
            if (have := fs.torrent(torrent.info_hash)["haveBytes"]) != WAKE_PIECE:
                raise OSError(f"{have} bytes are there")
            firsts.append(_timed_read(path(torrent), torrent, missing))
            awake.append(_timed_read(path(torrent), torrent, further))
        own = median(awake)
        # All awake, and a read parked in each.
        for torrent in torrents[plan.wakes :]:
            _timed_read(path(torrent), torrent, missing)
        for seeder in swarm.seeders:
            seeder.freeze()
        with ThreadPoolExecutor(len(torrents)) as readers:
            reads = [
                readers.submit(_fails, lambda p=path(t), t=t: _timed_read(p, t, 4 * WAKE_PIECE))
                for t in torrents
            ]
            try:
                waiting.until("a read parked in each", lambda: _all_parked(fs, reads), SETTLE_S)
                before = _have(fs)
                step.processes = {"magnetfs": usage(fs.pid)}
                stop = _timed_stop(fs)
            finally:
                if fs.running:  # else the pool would wait for the reads for ever
                    fs.stop(within=END_S)
            for read in reads:
                read.result()

        fs.start()
        if _have(fs) != before:
            raise OSError("what was there at the stop is not there after it")
        stored += in_store(torrents)
        fs.stop(within=END_S)
    return {
        "woken": firsts,
        "own": awake,
        "beyond": [first - own for first in firsts],
        "stored": [s * 1e3 for s in stored],
        "awake": len(torrents),
        "stop": stop,
    }
