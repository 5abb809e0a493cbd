"""The power fails at any moment: nothing acknowledged is lost, and no byte is wrong.

A magnetfs does what it does, and all that it does to its folders is recorded. Then disks are made
as they may have been left by a power cut at some moment of that (see harness/power_cut.py): of each
it is looked at what the catalog claims, and some are mounted, and all is read.

MAGNETFS_POWER_CUT_SEED chooses the same moments and the same disks of another record, and
MAGNETFS_POWER_CUT_KEEP a folder where the record of a run that fails is put; with
MAGNETFS_POWER_CUT_LOG that is what is looked at. MAGNETFS_POWER_CUT_LONG: more of all.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.claims import Claims, assert_claims_hold, read_claims
from harness.kinds import HYBRID, Entry, KindMaker
from harness.library import AFTER_KILL, pieces_of
from harness.mount import BIN, MAGNETFS, Magnetfs
from harness.power_cut import Record, Recorder
from harness.reading import assert_same, read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

LONG = bool(os.environ.get("MAGNETFS_POWER_CUT_LONG"))
SEED = int(os.environ.get("MAGNETFS_POWER_CUT_SEED") or random.SystemRandom().randrange(1 << 32))
RECORDER = BIN.parent / "tests" / "librecorder.so"
ROUNDS = 4 if LONG else 1  # of what is recorded
LOOKED_AT = 5 if LONG else 25  # of so many prefixes one is looked at without magnetfs
MOUNTED = 50  # of so many one is mounted, in the long form
MOUNTED_SHORT = 8  # so many are mounted in the short form
CACHE = "6M"
ROOMY_CACHE = "1G"
LIVELY_S = 2.2  # the catalog is told every 2 s
READERS = 64


@pytest.fixture(scope="module")
def shelf(run_folder: Path) -> list[Torrent]:
    torrents = TorrentMaker(run_folder / "power")
    kinds = KindMaker(run_folder / "power kinds")
    return [
        torrents.single("small pieces.bin", 2 * MIB + 777, seed=151, piece_length=16 * KIB),
        torrents.multi(
            "large pieces",
            [("a/one.mkv", 3 * MIB + 5), ("two.mkv", 2 * MIB), ("tiny.txt", 100)],
            seed=152,
            piece_length=256 * KIB,
        ),
        kinds.multi(
            HYBRID, "both", [Entry("x.mkv", MIB + 99), Entry("y/z.mkv", 700 * KIB)], 64 * KIB
        ),
        torrents.single("late.mkv", 3 * MIB, seed=153, piece_length=64 * KIB),
    ]


# -- what is recorded ------------------------------------------------------------------------------


@dataclass
class Recorded:
    """A magnetfs that is recorded, and what the test has it do."""

    fs: Magnetfs
    recorder: Recorder
    seeder: Seeder
    shelf: list[Torrent]
    rng: random.Random

    def add(self, torrent: Torrent, temporary: bool = False) -> None:
        self.recorder.mark(hash=torrent.info_hash)
        self.fs.add(torrent.metainfo, temporary)
        self.recorder.mark(hash=torrent.info_hash, kept=not temporary)
        self.fs.add(torrent.magnet(self.seeder), temporary)

    def remove(self, torrent: Torrent) -> None:
        self.recorder.mark(hash=torrent.info_hash)
        self.fs.remove(torrent.info_hash)
        self.recorder.mark(hash=torrent.info_hash, kept=False)

    def keep(self, torrent: Torrent, kept: bool) -> None:
        self.recorder.mark(hash=torrent.info_hash)
        (self.fs.torrent_folder(torrent.info_hash) / "keep").write_text(str(int(kept)))
        self.recorder.mark(hash=torrent.info_hash, kept=kept)

    def start(self) -> None:
        self.fs.start()
        for torrent in self._known():
            self.fs.add(torrent.magnet(self.seeder))

    def _known(self) -> list[Torrent]:
        return [torrent for torrent in self.shelf if self.fs.known(torrent.info_hash)]

    def read_for(self, seconds: float) -> None:
        """Reads at places of chance, and compares."""
        end = time.monotonic() + seconds
        known = self._known()
        while time.monotonic() < end:
            torrent = self.rng.choice(known)
            file = self.rng.choice(torrent.files)
            offset = self.rng.randrange(file.length)
            fd = os.open(self.fs.directory(torrent) / file.path, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
                got = read_exactly(fd, offset, 40 * KIB)
            finally:
                os.close(fd)
            assert got == torrent.read(file.path, offset, 40 * KIB), f"{file.path} at {offset}"


def live(recorded: Recorded, last: bool) -> None:
    """All that changes the folders: starts, ends by a kill and in peace, and what is between."""
    fs = recorded.fs
    small, large, both, late = recorded.shelf
    recorded.start()
    for torrent in (small, large):
        recorded.add(torrent)
    recorded.read_for(LIVELY_S)
    recorded.add(both, temporary=True)
    recorded.read_for(0.4 * LIVELY_S)
    recorded.keep(both, True)
    recorded.remove(small)
    recorded.add(small)
    recorded.read_for(LIVELY_S)
    fs.kill()
    recorded.start()
    recorded.add(late)
    recorded.read_for(LIVELY_S)
    recorded.remove(large)
    recorded.read_for(0.4 * LIVELY_S)
    fs.stop()
    recorded.start()
    recorded.add(large)
    recorded.read_for(0.4 * LIVELY_S)
    recorded.keep(late, False)
    recorded.read_for(0.4 * LIVELY_S)
    recorded.remove(small)
    fs.kill()
    if not last:
        recorded.start()
        for torrent in (large, both):
            recorded.remove(torrent)
        fs.stop()


def same_files(one: Path, other: Path) -> None:
    """Two folders hold the same, but for what SQLite makes anew at each start."""
    listed = [
        sorted(path.name for path in folder.iterdir() if not path.name.endswith("-shm"))
        for folder in (one, other)
    ]
    assert listed[0] == listed[1]
    for name in listed[0]:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


# -- what must be on a disk ------------------------------------------------------------------------


def expected(record: Record, prefix: int) -> dict[str, bool | None]:
    """Whether each torrent must be there or must not; None: it was being changed."""
    kept: dict[str, bool | None] = {}
    for mark in record.marked(prefix):
        kept[mark["hash"]] = mark.get("kept")
    return kept


def assert_remembered(there: dict[str, bool], record: Record, prefix: int) -> None:
    """there: whether it is kept, of each torrent that is there."""
    must = expected(record, prefix)
    for info_hash, kept in must.items():
        if kept is not None:
            assert there.get(info_hash, False) == kept, f"{info_hash}: kept is to be {kept}"
    assert set(there) <= set(must), "one that was never added"


def read_all(
    fs: Magnetfs, torrent: Torrent, pool: ThreadPoolExecutor, claimed: set[int], alone: bool
) -> int:
    """Reads each piece of each file; how many bytes there were. alone: there are no seeders, and
    all but the pieces that are claimed may fail."""

    def read(fd: int, path: str, piece: int, at: int, length: int) -> int:
        try:
            got = read_exactly(fd, at, length)
        except OSError as problem:
            assert alone and problem.errno == errno.EIO, f"{path} at {at}: {problem}"
            assert piece not in claimed, f"{path} at {at}: claimed, and can't be read"
            return 0
        assert got == torrent.read(path, at, length), f"{path}: wrong at {at}"
        return length

    total = 0
    for file in torrent.files:
        fd = os.open(fs.directory(torrent) / file.path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            reads = []
            for piece in pieces_of(torrent, file):
                at = max(0, piece * torrent.piece_length - file.offset)
                end = min(file.length, (piece + 1) * torrent.piece_length - file.offset)
                reads.append(pool.submit(read, fd, file.path, piece, at, end - at))
            total += sum(done.result() for done in reads)
        finally:
            os.close(fd)
    return total


@dataclass
class Cutter:
    """Makes the disks, and looks at them."""

    record: Record
    folder: Path
    shelf: list[Torrent]
    begin: Callable[..., Magnetfs]
    claimed: int = 0  # bytes that were compared
    read: int = 0

    def look(self, prefix: int, seeder: Seeder | None, mount: bool) -> None:
        """One disk. seeder: with it all can be read."""
        rng = random.Random(f"{SEED} {prefix}")
        disk = self.folder / f"disk {prefix}"
        state, cache = disk / "state", disk / "cache"
        try:
            self.record.write_left({"state": state, "cache": cache}, prefix, rng)
            claims = read_claims(state, disk / "copy")
            assert_remembered(claims.kept, self.record, prefix)
            self.claimed += assert_claims_hold(cache, self.shelf, claims)
            if mount:
                self.mount(prefix, disk, claims, seeder)
        except BaseException as problem:
            problem.add_note(f"seed {SEED}, prefix {prefix} of {self.record.length}")
            raise
        shutil.rmtree(disk)

    def mount(
        self, prefix: int, disk: Path, claims: Claims, seeder: Seeder | None
    ) -> None:
        # Without a seeder each piece that is claimed must be read: there is room for all that is
        # asked for.
        timeout, cache = ("20", CACHE) if seeder else ("1", ROOMY_CACHE)
        fs = self.begin(
            *("--read-timeout", timeout, "--cache-size", cache),
            name=disk.name,
            http=False,
            allow=[AFTER_KILL],
            start=False,
        )
        fs.state, fs.cache = disk / "state", disk / "cache"
        fs.start()
        there = {each["infoHash"]: each["kept"] for each in fs.status()["torrents"]}
        assert_remembered(there, self.record, prefix)
        with ThreadPoolExecutor(READERS) as pool:
            for torrent in self.shelf:
                if torrent.info_hash not in there:
                    continue
                if seeder:
                    fs.add(torrent.magnet(seeder))
                doubted = torrent.info_hash in claims.doubted
                claimed = set() if doubted else claims.of(torrent)
                self.read += read_all(fs, torrent, pool, claimed, alone=not seeder)
        fs.stop()


def recorded_run(
    fs: Magnetfs, recorder: Recorder, seeder: Seeder, shelf: list[Torrent]
) -> Record:
    recorded = Recorded(fs, recorder, seeder, shelf, random.Random(SEED))
    for number in range(ROUNDS):
        live(recorded, last=number == ROUNDS - 1)
    return Record(recorder.log)


def assert_complete(fs: Magnetfs, record: Record, folder: Path) -> None:
    """The recorder has seen all that was done."""
    targets = {name: folder / name for name in ("state", "cache")}
    record.write_whole(targets)
    same_files(fs.state, targets["state"])
    same_files(fs.cache, targets["cache"])


def recorder_of(fs: Magnetfs, folder: Path) -> Recorder:
    recorder = Recorder(RECORDER, folder / "record", [fs.state, fs.cache])
    fs.program = [str(word) for word in recorder.program(MAGNETFS)]
    return recorder


def test_what_a_killed_run_has_written_is_synced_before_it_is_trusted(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: list[Torrent], folder: Path
) -> None:
    """It may be on its way to the disk still when the next run finds it, hashes it and ends in
    peace, so that the run after that doesn't hash it again."""
    torrent = shelf[0]
    seeder.seed(torrent)
    fs = magnetfs("--read-timeout", "20", http=False, allow=[AFTER_KILL], start=False)
    recorder = recorder_of(fs, folder)
    while True:
        fs.start()
        fs.add(torrent.metainfo)
        fs.add(torrent.magnet(seeder))
        # The catalog has just been told of it; of the pieces it is not before the kill.
        waiting.settled("the record", lambda: recorder.log.stat().st_size, still_s=0.3)
        assert_same(fs.directory(torrent) / torrent.name, torrent, torrent.name)
        fs.kill()
        if not read_claims(fs.state, folder / "copy").of(torrent):
            break
        fs.start()
        fs.remove(torrent.info_hash)
        fs.stop()
    fs.start()
    fs.add(torrent.magnet(seeder))
    assert_same(fs.directory(torrent) / torrent.name, torrent, torrent.name)
    fs.stop()
    record = Record(recorder.log)
    left = folder / "left"
    record.write_synced({"state": left / "state", "cache": left / "cache"}, record.length)
    claims = read_claims(left / "state", left / "copy")
    assert len(claims.of(torrent)) == -(-torrent.length // torrent.piece_length)
    assert torrent.info_hash not in claims.doubted
    assert_claims_hold(left / "cache", [torrent], claims)


@pytest.mark.deadline(1500 if LONG else 120)
def test_a_power_cut_loses_nothing_acknowledged_and_spoils_no_byte(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: list[Torrent], folder: Path
) -> None:
    print(f"MAGNETFS_POWER_CUT_SEED={SEED}")
    log = Path(os.environ.get("MAGNETFS_POWER_CUT_LOG") or folder / "record")
    for torrent in shelf:
        seeder.seed(torrent)
    if log.exists():
        record = Record(log)
    else:
        fs = magnetfs(
            *("--cache-size", CACHE, "--read-timeout", "20"),
            http=False,
            allow=[AFTER_KILL],
            start=False,
        )
        record = recorded_run(fs, recorder_of(fs, folder), seeder, shelf)
        assert_complete(fs, record, folder / "whole")
        # What was killed last has left its mount.
        fs.program = [str(MAGNETFS)]
        fs.start()
        fs.stop()
    rng = random.Random(SEED)
    looked_at = range(rng.randrange(LOOKED_AT), record.length, LOOKED_AT)
    if LONG:
        mounted = list(range(rng.randrange(MOUNTED), record.length, MOUNTED))
    else:
        mounted = sorted(rng.sample(range(record.length), MOUNTED_SHORT))
    cutter = Cutter(record, folder / "cut", shelf, magnetfs)
    try:
        for prefix in looked_at:
            cutter.look(prefix, None, mount=False)
        for prefix in mounted[1::2]:
            cutter.look(prefix, seeder, mount=True)
        seeder.kill()
        for prefix in mounted[::2]:
            cutter.look(prefix, None, mount=True)
    except BaseException:
        if keep := os.environ.get("MAGNETFS_POWER_CUT_KEEP"):
            shutil.copyfile(log, Path(keep) / f"record-{SEED}")
        raise
    assert cutter.claimed and cutter.read, "a test that compares nothing shows nothing"
    print(
        f"{record.length} entries; {len(looked_at)} disks looked at, {len(mounted)} mounted; "
        f"{cutter.claimed / MIB:.0f} MiB of claims and {cutter.read / MIB:.0f} MiB read"
    )
