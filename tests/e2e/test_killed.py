"""magnetfs is killed at any moment, under load: no byte is wrong, and nothing acknowledged is lost.

MAGNETFS_KILLS: how often; else as often as SHORT_S allows. MAGNETFS_KILL_SEED: the same choices
again, though not the same moments to the microsecond.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import pytest

from harness import processes
from harness.claims import Claims, assert_claims_hold, read_claims
from harness.kinds import HYBRID, Entry, KindMaker
from harness.library import AFTER_KILL, pieces_of, stores
from harness.mount import Magnetfs
from harness.reading import assert_same, read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentFile, TorrentMaker

KILLS = int(os.environ.get("MAGNETFS_KILLS") or 0)
SEED = int(os.environ.get("MAGNETFS_KILL_SEED") or random.SystemRandom().randrange(1 << 32))
SHORT_S = 12
BUSY_S = 120
# The first one has room for all. In another one pieces go to make room for others, so what was read
# may have to be fetched again.
CACHES = ("1G", "16M")
UPLOAD = 3 * MIB  # bytes/s of a torrent that a seeder sends: so that there is something under way
READERS = 3
READ_BYTES = 200 * KIB
PLAYED = 12  # reads one behind the other
QUICK_S, SLOW_S = (0.0, 1.5), (5.0, 7.0)  # how long it lives
SLOW_EVERY = 5
# What was read so long before is claimed: the catalog is told every 2 s. And what the disk takes.
SAVED_S, SLOWEST_COMMITS = 4.0, 3
SAMPLE = 60  # pieces that are read after a start, of those that were claimed


@pytest.fixture(scope="module")
def staying(run_folder: Path) -> list[Torrent]:
    """Torrents that are kept all the while. The last one is the largest."""
    torrents = TorrentMaker(run_folder / "killed")
    kinds = KindMaker(run_folder / "killed kinds")
    return [
        torrents.single("small pieces.bin", 4 * MIB + 777, seed=161, piece_length=16 * KIB),
        kinds.multi(
            HYBRID, "both", [Entry("x.mkv", 2 * MIB + 99), Entry("y/z.mkv", 700 * KIB)], 64 * KIB
        ),
        torrents.multi(
            "large pieces",
            [("a/one.mkv", 23 * MIB + 5), ("b/two.mkv", 16 * MIB), ("tiny.txt", 100)],
            seed=162,
            piece_length=256 * KIB,
        ),
    ]


@pytest.fixture(scope="module")
def changing(run_folder: Path) -> list[Torrent]:
    """Torrents that come and go."""
    torrents = TorrentMaker(run_folder / "changing")
    return [
        torrents.single(
            f"changing {number}.mkv",
            MIB + number,
            seed=170 + number,
            piece_length=(16 * KIB, 256 * KIB)[number % 2],
        )
        for number in range(6)
    ]


@dataclass
class Load:
    """What goes on with a magnetfs until it is killed."""

    fs: Magnetfs
    seeders: list[Seeder]
    staying: list[Torrent]
    changing: list[Torrent]
    rng: random.Random
    # Whether each is kept; not in it: it is not there. None: that was being changed at the kill.
    kept: dict[str, bool | None] = field(default_factory=dict)
    # When a piece was last read since the start, by info-hash and number; and by time.monotonic().
    seen: dict[tuple[str, int], float] = field(default_factory=dict)
    slowest_s: float = 0.0  # what was acknowledged, since the start
    compared: int = 0
    acknowledged: int = 0
    _dying: threading.Event = field(default_factory=threading.Event)
    _problems: list[BaseException] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # of what readers count

    # -- one life ------------------------------------------------------------------------------

    def live(self, seconds: float) -> float:
        """Runs for so long and kills it; when that was."""
        self._dying.clear()
        self.seen.clear()
        self.slowest_s = 0.0
        threads = [
            threading.Thread(target=self._until_killed, args=(step, random.Random(seed)))
            for seed, step in zip(
                self.rng.randbytes(READERS + 1), [self._change] + READERS * [self._read]
            )
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)  # the moment of chance, not a wait for something
        self._dying.set()
        killed = time.monotonic()
        self.fs.kill()
        for seeder in self.seeders:
            seeder.freeze()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "a call hangs though magnetfs is dead"
        if self._problems:
            raise self._problems[0]
        return killed

    def _until_killed(self, step: Callable[[random.Random], None], rng: random.Random) -> None:
        while not self._dying.is_set():
            try:
                step(rng)
            except BaseException as problem:  # pylint: disable=broad-except
                # That a call fails is no wonder from here on; what it gave was right.
                if not self._dying.is_set() or not isinstance(problem, OSError):
                    self._problems.append(problem)
                return

    # -- readers -------------------------------------------------------------------------------

    def _read(self, rng: random.Random) -> None:
        stays = rng.random() < 0.7
        torrent = rng.choice(self.staying if stays else self.changing)
        file = rng.choice(torrent.files)
        try:
            fd = os.open(self.fs.directory(torrent) / file.path, os.O_RDONLY)
        except OSError as problem:
            # Removed; ESTALE: twice, while the kernel looked for it, which tries once more.
            if stays or problem.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            return
        try:
            offset = rng.randrange(file.length)
            for _ in range(rng.choice((1, 1, PLAYED))):
                offset = self._read_at(fd, torrent, file, offset)
                if offset >= file.length or self._dying.is_set():
                    break
        except OSError:
            if stays:
                raise  # another one may have been removed
        finally:
            os.close(fd)

    def _read_at(self, fd: int, torrent: Torrent, file: TorrentFile, offset: int) -> int:
        """Where the next one begins."""
        got = read_exactly(fd, offset, READ_BYTES)
        now = time.monotonic()
        assert got == torrent.read(file.path, offset, READ_BYTES), f"{file.path}: wrong at {offset}"
        first = file.offset + offset
        end = first + len(got)
        pieces = range(first // torrent.piece_length, -(-end // torrent.piece_length))
        with self._lock:
            self.compared += len(got)
            for piece in pieces:
                self.seen.setdefault((torrent.info_hash, piece), now)
        return offset + len(got)

    # -- what is acknowledged ------------------------------------------------------------------

    def _change(self, rng: random.Random) -> None:
        torrent = rng.choice(self.changing)
        info_hash = torrent.info_hash
        there = info_hash in self.kept
        before = self.kept.get(info_hash)
        if not there:
            kept = rng.random() < 0.7
            self._acknowledge(info_hash, kept, lambda: self._add(torrent, kept))
            self.fs.add(torrent.magnet(*self.seeders), temporary=not kept)
        elif rng.random() < 0.4:
            self._acknowledge(info_hash, None, lambda: self.fs.remove(info_hash))
        else:
            keep = self.fs.torrent_folder(info_hash) / "keep"
            kept = not before
            self._acknowledge(info_hash, kept, lambda: keep.write_text(str(int(kept))))

    def _add(self, torrent: Torrent, kept: bool) -> None:
        self.fs.add(torrent.metainfo, temporary=not kept)

    def _acknowledge(self, info_hash: str, after: bool | None, do: Callable[[], object]) -> None:
        """after: whether it is kept then; None: it is gone."""
        self.kept[info_hash] = None
        began = time.monotonic()
        do()
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.acknowledged += 1
        if after is None:
            del self.kept[info_hash]
            for piece in [key for key in list(self.seen) if key[0] == info_hash]:
                self.seen.pop(piece, None)
        else:
            self.kept[info_hash] = after


# -- after a kill ----------------------------------------------------------------------------------


def assert_remembered(load: Load, there: dict[str, bool], started: bool) -> None:
    """there: whether each torrent is kept. started: with those that are not a start does away."""
    for torrent in load.staying:
        assert there.get(torrent.info_hash), f"{torrent.name} was kept, and is not there"
    for torrent in load.changing:
        was = load.kept.get(torrent.info_hash, False)
        if was is not None:
            is_kept = there.get(torrent.info_hash, False)
            assert is_kept == was, f"{torrent.name}: kept is to be {was}"
    assert set(there) <= {torrent.info_hash for torrent in load.staying + load.changing}
    if started:
        assert all(there.values()), "a temporary one is there after a start"


def assert_saved(load: Load, claims: Claims, killed: float) -> int:
    """All that was read some time before the kill is claimed; how many pieces that are."""
    names = {torrent.info_hash: torrent.name for torrent in load.staying}
    before = killed - SAVED_S - SLOWEST_COMMITS * load.slowest_s
    saved = [(of, piece) for (of, piece), at in load.seen.items() if of in names and at < before]
    for info_hash, piece in saved:
        assert piece in claims.pieces[info_hash], (
            f"{names[info_hash]}: piece {piece} was read"
            f" {killed - load.seen[info_hash, piece]:.1f} s before the kill;"
            f" the slowest commit took {load.slowest_s:.2f} s"
        )
    return len(saved)


def read_claimed(load: Load, torrent: Torrent, claimed: set[int]) -> None:
    """Reads some of the pieces that were claimed, and compares. No seeder gives anything."""
    places = [
        (file, piece) for file in torrent.files for piece in pieces_of(torrent, file)
        if piece in claimed
    ]
    for file, piece in load.rng.sample(places, min(SAMPLE, len(places))):
        at = max(0, piece * torrent.piece_length - file.offset)
        end = min(file.length, (piece + 1) * torrent.piece_length - file.offset)
        fd = os.open(load.fs.directory(torrent) / file.path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            got = read_exactly(fd, at, end - at)
        finally:
            os.close(fd)
        assert got == torrent.read(file.path, at, end - at), f"{file.path}: wrong at {at}"
        load.compared += len(got)


def start_again(load: Load, claims: Claims) -> None:
    fs = load.fs
    fs.start()
    there = {each["infoHash"]: each["kept"] for each in fs.status()["torrents"]}
    assert_remembered(load, there, started=True)
    load.kept = {
        torrent.info_hash: True for torrent in load.changing if torrent.info_hash in there
    }
    stray = [name for name in stores(fs) if name.partition(".")[0] not in there]
    assert not stray, f"stores of torrents that are not there: {stray}"
    for torrent in load.staying + load.changing:
        if torrent.info_hash in there:
            read_claimed(load, torrent, claims.of(torrent))
    for seeder in load.seeders:
        seeder.thaw()
    for torrent in load.staying + load.changing:
        if torrent.info_hash in there:
            fs.add(torrent.magnet(*load.seeders))


@pytest.mark.deadline(10 * KILLS + 90)
@pytest.mark.parametrize("cache", CACHES)
def test_kill_9_at_any_moment_loses_nothing_acknowledged_and_spoils_no_byte(
    magnetfs: Callable[..., Magnetfs],
    seeders: Callable[[], Seeder],
    staying: list[Torrent],
    changing: list[Torrent],
    folder: Path,
    cache: str,
) -> None:
    evicts = cache != CACHES[0]
    print(f"MAGNETFS_KILL_SEED={SEED}")
    began = time.monotonic()
    fs = magnetfs("--cache-size", cache, "--read-timeout", "20", http=False, allow=[AFTER_KILL])
    swarm = [seeders() for _ in range(2)]
    for torrent in staying + changing:
        for seeder in swarm:
            seeder.seed(torrent, UPLOAD)
    load = Load(fs, swarm, staying, changing, random.Random(SEED))
    for torrent in staying:
        fs.add(torrent.metainfo)
        fs.add(torrent.magnet(*swarm))
    kills = claimed = saved = 0
    try:
        # Among them all caches share what there is of kills or time. On a busy machine the short
        # form goes on until there was something to compare.
        while (
            kills < KILLS // len(CACHES)
            if KILLS
            else time.monotonic() - began < SHORT_S / len(CACHES)
            or (
                not (claimed and (saved or evicts) and load.acknowledged)
                and time.monotonic() - began < BUSY_S / len(CACHES)
            )
        ):
            kills += 1
            killed = load.live(load.rng.uniform(*(SLOW_S if kills % SLOW_EVERY == 2 else QUICK_S)))
            claims = read_claims(fs.state, folder / "copy")
            assert_remembered(load, claims.kept, started=False)
            claimed += assert_claims_hold(fs.cache, staying + changing, claims)
            saved += 0 if evicts else assert_saved(load, claims, killed)
            start_again(load, claims)
    except BaseException as problem:
        problem.add_note(f"seed {SEED}, kill {kills}")
        if not fs.running:
            processes.unmount_lazily(str(fs.mountpoint))  # what was killed has left it
        raise
    for torrent in staying:
        for file in torrent.files:
            assert_same(fs.directory(torrent) / file.path, torrent, file.path)
    compared = claimed and (saved or evicts) and load.acknowledged
    assert compared, "a test that compares nothing shows nothing"
    print(
        f"{kills} kills; {load.compared / MIB:.0f} MiB read and {claimed / MIB:.0f} MiB of claims "
        f"compared; {load.acknowledged} changes acknowledged; {saved} pieces saved in time"
    )
