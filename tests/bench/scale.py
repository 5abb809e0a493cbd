"""Many of something at once, and files that are complete."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Callable

from harness.reading import Parked, percentile, stat_times
from harness.torrents import KIB, MIB, Torrent

import content
from readers import FileReader, Reader, read_on, sweep
from step import Samples, Step, join
from subjects import Mount, Plain

PARKED_EACH = 250  # parked reads a process
STATS = 2000
TORRENTS_LINK_MBIT = 400.0
SMALL_PIECE = 16 * KIB  # the smallest there is: the most pieces for the bytes
HOT_READS = 3
SMALL_PAGES = Path("/dev/shm")  # a file there is in pages of 4 KiB, as all of FUSE's are
AWAKE_S = 1.0  # for what the engine does once a second with so many


def run_parked(step: Step) -> Samples:
    plan = step.plan
    healthy = [
        step.bench.torrents.single(f"healthy-{n}.bin", plan.healthy, seed=10 + n, piece_length=MIB)
        for n in range(2)
    ]
    swarm = step.swarm(healthy, None)
    groups = plan.parked // PARKED_EACH
    piece = 64 * KIB
    lengths = {f"waiting-{n}.bin": PARKED_EACH * piece for n in range(groups)}
    lengths.update({f"small-{n}.bin": 10 for n in range(2 * STATS)})
    lonely = content.peerless("lonely", lengths, piece)
    mount: Mount = step.subject("--read-timeout", "0")

    def rate(torrent: Torrent) -> float:
        mount.add(torrent, swarm.magnet(torrent))
        began = time.monotonic()
        read_on(step.reader(mount, torrent), torrent.length)
        return torrent.length / (time.monotonic() - began) / 1e6

    alone = rate(healthy[0])
    mount.fs.add(lonely.metainfo)
    mount.fs.files(lonely.info_hash)
    paths = [str(mount.path(lonely, f"small-{n}.bin")) for n in range(2 * STATS)]
    calm, _ = stat_times(paths[:STATS])
    before = mount.usage()["magnetfs"].rss
    began = time.monotonic()
    with ExitStack() as parked:
        for number in range(groups):
            path = mount.path(lonely, f"waiting-{number}.bin")
            parked.enter_context(Parked(path, PARKED_EACH, stride=piece))
        count = groups * PARKED_EACH
        mount.fs.wait_parked(count, timeout=120)
        took = time.monotonic() - began
        time.sleep(AWAKE_S)
        grown = mount.usage()["magnetfs"].rss - before
        times, _ = stat_times(paths[STATS:])
        beside = rate(healthy[1])
        left = mount.fs.status()["parkedReads"]
        if left != count:
            raise OSError(f"{count} reads were parked, {left} are")
    began = time.monotonic()
    mount.fs.wait_parked(0, timeout=60)
    return {
        "parked": count,
        "took": took,
        "grown": grown / 1e6,
        "calm": percentile(calm, 0.99) * 1e6,
        "stat": percentile(times, 0.99) * 1e6,
        "alone": alone,
        "beside": beside,
        "share": beside / alone,
        "gone": time.monotonic() - began,
    }


def run_pieces(step: Step) -> Samples:
    """The same reads of a torrent of few pieces and of one of many; each is of one missing piece."""
    found: Samples = {}
    for size, pieces in (("few", step.plan.pieces_few), ("many", step.plan.pieces_many)):
        torrent = step.bench.torrents.single(
            f"{pieces}-pieces.bin", pieces * SMALL_PIECE, seed=40, piece_length=SMALL_PIECE
        )
        swarm = step.swarm([torrent], None)
        mount: Mount = step.subject()
        mount.add(torrent, swarm.magnet(torrent))
        reads = step.plan.piece_reads
        places = random.Random(step.number).sample(range(pieces * 3 // 4), reads)
        with closing(mount.reader(torrent)) as reader:
            reader.at(places[0] * SMALL_PIECE, SMALL_PIECE)  # the swarm is connected to
            scattered = _cost(
                mount, lambda: [reader.at(at * SMALL_PIECE, SMALL_PIECE) for at in places[1:]]
            )
        # In order, in the part that the scattered ones left alone and that is the furthest in.
        first = pieces - reads
        with closing(mount.reader(torrent)) as reader:
            in_order = _cost(
                mount, lambda: read_on(reader, reads * SMALL_PIECE, first * SMALL_PIECE)
            )
        found[f"scattered_{size}"] = scattered * 1e6 / (reads - 1)
        found[f"in_order_{size}"] = in_order * 1e6 / reads
        mount.stop()
        swarm.close()
    for kind in ("scattered", "in_order"):
        found[f"{kind}_ratio"] = found[f"{kind}_many"] / found[f"{kind}_few"]
    return found


def _cost(mount: Mount, action: Callable[[], object]) -> float:
    """CPU seconds magnetfs took for it, with what it does in the background meanwhile."""
    before = mount.usage()["magnetfs"].cpu_s
    action()
    return mount.usage()["magnetfs"].cpu_s - before


def run_torrents(step: Step) -> Samples:
    plan = step.plan
    one = step.bench.torrents.single("one.bin", 16 * MIB, seed=20, piece_length=64 * KIB)
    torrents = content.siblings(one, plan.torrents)
    swarm = step.swarm(torrents, None, check=False)
    mount: Mount = step.subject()
    began = time.monotonic()
    mount.fs.add("\n".join(swarm.magnet(torrent) for torrent in torrents))
    for torrent in torrents:
        mount.fs.files(torrent.info_hash, 60)
    known = time.monotonic() - began
    swarm.limit(TORRENTS_LINK_MBIT)
    readers = [step.reader(mount, torrent) for torrent in torrents]
    rates = [0.0] * len(torrents)
    firsts = [0.0] * len(torrents)
    problems: list[BaseException] = []
    gate = threading.Barrier(len(torrents) + 1)
    until = 0.0

    def read(number: int) -> None:
        got = (0, until)

        def note(now: float, total: int) -> None:
            nonlocal got
            if now <= until:
                got = (total, now)

        try:
            gate.wait(30)
            done = sweep(readers[number], 0, one.length, until, each=note)
            # One that has all before the time is over is measured by its own time.
            took = got[1] - done.began if got[0] == one.length else plan.torrents_s
            rates[number] = got[0] / took / 1e3
            firsts[number] = done.first_s
        except BaseException as problem:
            problems.append(problem)

    threads = [step.thread(lambda n=n: read(n)) for n in range(len(torrents))]
    until = time.monotonic() + plan.torrents_s
    gate.wait(30)
    join(threads, problems)
    mean = sum(rates) / len(rates)
    return {
        "known": known,
        "first": max(firsts),
        "sum": sum(rates) / 1e3,
        "mean": mean,
        "slowest": min(rates),
        "share": min(rates) / mean,
    }


# -- hot -------------------------------------------------------------------------------------------


def timed_rate(reader: Reader, length: int) -> float:
    began = time.monotonic()
    read_on(reader, length)
    return length / (time.monotonic() - began) / 1e6


def hot_rates(reader: Reader, length: int) -> list[float]:
    """The pages are all there; the first read since they came is slower for the kernel's sake."""
    read_on(reader, length)
    return [timed_rate(reader, length) for _ in range(HOT_READS)]


def cold_rate(subject: Mount, torrent: Torrent) -> float:
    with closing(FileReader(subject.path(torrent))) as cache:
        os.posix_fadvise(cache.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    with closing(subject.reader(torrent)) as reader:
        return timed_rate(reader, torrent.length)


def copy_rates(torrent: Torrent, folder: Path) -> list[float]:
    copy = folder / "copy.bin"
    shutil.copyfile(torrent.blob, copy)
    with closing(FileReader(copy)) as reader:
        rates = hot_rates(reader, torrent.length)
    copy.unlink()
    return rates


def run_hot(step: Step) -> Samples:
    torrent = step.bench.torrents.single("hot.bin", step.plan.hot, seed=30, piece_length=MIB)
    if step.kind == "file":
        rates = copy_rates(torrent, step.folder)
        found: Samples = {"hot": rates, "cold": rates}
        if SMALL_PAGES.is_dir():
            with tempfile.TemporaryDirectory(dir=SMALL_PAGES) as folder:
                found["small"] = copy_rates(torrent, Path(folder))
        return found
    swarm = step.swarm([torrent], None)
    subject = step.subject()
    if isinstance(subject, Plain):
        subject.download(swarm.magnet(torrent))
        with closing(FileReader(subject.path(torrent))) as reader:
            return {"hot": hot_rates(reader, torrent.length)}
    subject.add(torrent, swarm.magnet(torrent))
    with closing(subject.reader(torrent)) as reader:
        read_on(reader, torrent.length)
    # The first is as slow as the machine is to give memory that nobody had before.
    cold = [cold_rate(subject, torrent) for _ in range(1 + HOT_READS)][1:]
    with closing(subject.reader(torrent)) as reader:
        return {"hot": hot_rates(reader, torrent.length), "cold": cold}
