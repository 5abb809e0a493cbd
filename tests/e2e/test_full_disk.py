"""A full disk: what is there is read, the rest waits for room; no byte is lost or wrong."""

from __future__ import annotations

import os
import re
from http.client import IncompleteRead
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness import disks, waiting
from harness.allocation import Allocation
from harness.mount import BIN, MAGNETFS, Magnetfs, errno_name
from harness.reading import Parked, assert_part, assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs: root only")

DISK = 8 * MIB
OPTIONS = ("--min-free", "0", "--cache-size", "1G", "--read-timeout", "20")


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of 8 MiB; torn down after the magnetfs that uses it."""
    with disks.tmpfs(folder / "disk", DISK) as path:
        yield path


@pytest.fixture
def full(disk: Path, magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    """A magnetfs with its cache on that disk."""
    fs = magnetfs(*OPTIONS, start=False)
    fs.cache = disk / "cache"
    return fs.start()


def read_once(fd: int, torrent: Torrent, name: str, offset: int) -> int:
    """One read there, compared: how many bytes it gave, 0 where the disk is full."""
    try:
        part = os.pread(fd, 128 * KIB, offset)
    except OSError as problem:
        assert errno_name(problem.errno or 0) == "ENOSPC"
        return 0
    assert part and part == torrent.read(name, offset, len(part)), f"wrong at {offset}"
    return len(part)


def test_a_torrent_larger_than_the_disk_plays_and_uses_what_the_disk_has_grown_by(
    full: Magnetfs, disk: Path, seeder: Seeder, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("toolarge.bin", 24 * MIB, seed=171)
    path = full.add_torrent(torrent, seeder.seed(torrent)) / "toolarge.bin"
    with Allocation(full) as allocation:
        assert_same(path, torrent, "toolarge.bin")
    assert DISK // 2 <= allocation.taken.highest <= DISK
    assert full.torrent(torrent.info_hash)["haveBytes"] <= DISK
    # What was read makes room also where others have taken the rest.
    filler = disks.fill(disk)
    assert_same(path, torrent, "toolarge.bin")
    filler.unlink()

    disks.resize(disk, 64 * MIB)
    # The disk is looked at a few times a second.
    waiting.until("all stays", lambda: whole(full, path, torrent), 30)
    sent = seeder.sent(torrent)
    assert_same(path, torrent, "toolarge.bin")
    assert seeder.sent(torrent) == sent, "what fits stays"


def whole(fs: Magnetfs, path: Path, torrent: Torrent) -> bool:
    """Reads it all, and whether all of it is there then."""
    assert_same(path, torrent, torrent.name)
    return fs.torrent(torrent.info_hash)["progress"] == 1


def test_a_write_that_fails_costs_no_room_and_its_piece_is_fetched_again(
    full: Magnetfs, disk: Path, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Others fill the disk while a piece that has its room is on its way."""
    torrent = torrents.single("late.bin", 3 * MIB, seed=172, piece_length=1 * MIB)
    full.add(torrent.metainfo)
    path = full.directory(torrent) / "late.bin"
    without = full.store_blocks()
    with Parked(path) as reader:
        full.wait_parked(1)
        assert full.status()["cache"]["usedBytes"] >= torrent.piece_length
        disks.fill(disk)
        seeder.seed(torrent).connect(torrent, full.bt_port)
        assert reader.line(15) == "failed ENOSPC"
    waiting.until("its room is given back", lambda: full.status()["cache"]["usedBytes"] == 0)
    waiting.until("its bytes are gone", lambda: full.store_blocks() == without)
    assert seeder.sent(torrent) > 0

    (disk / "filler").unlink()
    waiting.until("there is room again", lambda: reads(path, torrent))
    assert_same(path, torrent, "late.bin")


def test_a_stream_of_what_has_no_room_says_so_in_its_head(
    full: Magnetfs, disk: Path, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Not 200 and a body that ends at once, which players take for the end of the film."""
    full.allow.append(re.compile("ended early"))
    torrent = torrents.single("noroom.mkv", 3 * MIB, seed=173, piece_length=1 * MIB)
    full.add_torrent(torrent, seeder.seed(torrent))
    assert full.web
    target = stream_target(torrent, torrent.name)
    filler = disks.fill(disk)

    def status() -> int:
        assert full.web
        try:
            return full.web.get(target).status
        except IncompleteRead:  # the disk was looked at before it was full, and the write failed
            return 0

    waiting.until("the disk is known to be full", lambda: status() == 507)
    for fields in ({}, {"Range": "bytes=0-"}, {"Range": "bytes=5-9,2000000-"}):
        full.web.request("GET", target, fields).problem(507)
    assert full.web.request("HEAD", target).status == 200
    filler.unlink()
    waiting.until("there is room again", lambda: full.web and full.web.get(target).status == 200)
    assert full.web.get(target).body == torrent.read(torrent.name)


def reads(path: Path, torrent: Torrent) -> bool:
    """Whether the file can be read now."""
    with open(path, "rb", buffering=0) as stream:
        return read_once(stream.fileno(), torrent, path.name, 0) > 0


# -- others fill it --------------------------------------------------------------------------------


LARGE = 64 * MIB
PART = 128 * KIB


def cached_on(disk: Path, magnetfs: Callable[..., Magnetfs], *options: str) -> Magnetfs:
    fs = magnetfs(*OPTIONS, *options, start=False)
    fs.cache = disk / "cache"
    return fs.start()


@pytest.fixture(params=sorted(disks.DISKS))
def large(folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of 64 MiB; torn down after the magnetfs that uses it."""
    with disks.DISKS[request.param](folder / "large", LARGE) as path:
        yield path


def assert_there(fd: int, torrent: Torrent) -> None:
    """All of it is read."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    for offset in range(0, torrent.length, PART):
        assert_part(fd, torrent, torrent.name, offset, min(PART, torrent.length - offset))


def test_others_fill_the_disk_and_leave_it(
    large: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """What is there is read on, a download stops without an error and goes on by itself."""
    fs = cached_on(large, magnetfs, "--fill", "torrent")
    there = torrents.single("there.bin", 8 * MIB, seed=173)
    coming = torrents.single("coming.bin", 32 * MIB, seed=174)
    path = fs.add_torrent(there, seeder.seed(there)) / there.name
    assert_same(path, there, there.name)
    sent = seeder.sent(there)
    begun = fs.add_torrent(coming, seeder.seed(coming, upload_limit=8 * MIB)) / coming.name

    def have() -> int:
        return fs.torrent(coming.info_hash)["haveBytes"]

    fd = os.open(path, os.O_RDONLY)
    try:
        with open(begun, "rb", buffering=0) as stream:
            assert stream.read(KIB) == coming.read(coming.name, 0, KIB)
        waiting.until("it comes", lambda: have() >= 4 * MIB, 30)
        filler = disks.fill(large)
        stopped = waiting.settled("what came", have)
        assert stopped < coming.length
        assert_there(fd, there)
        assert fs.torrent(coming.info_hash)["error"] is None
        assert fs.torrent(there.info_hash)["progress"] == 1
        assert seeder.sent(there) == sent, "nothing goes for what nobody reads"
        # Whatever it had room for is right, and the rest is no error of the disk's.
        with open(begun, "rb", buffering=0) as stream:
            for offset in range(0, coming.length, MIB):
                read_once(stream.fileno(), coming, coming.name, offset)
        filler.unlink()
        waiting.until("it goes on, and no one reads", lambda: have() == coming.length, 30)
        assert_same(begun, coming, coming.name)
        assert_there(fd, there)
    finally:
        os.close(fd)


def test_a_player_waits_for_the_disk_and_plays_on(
    large: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """A film of more than the disk is played while others take all the room there is, bit by bit,
    and give it back: it has right bytes or ENOSPC, and plays on when there is room."""
    fs = cached_on(large, magnetfs)
    film = torrents.single("played.bin", 96 * MIB, seed=175)
    path = fs.add_torrent(film, seeder.seed(film)) / film.name
    full = False
    with open(path, "rb", buffering=0) as stream:
        for offset in range(0, film.length, PART):
            if offset == 16 * MIB:
                filler = disks.fill(large)
            got = read_once(stream.fileno(), film, film.name, offset)
            if got == 0 and not full:
                full = True
                filler.unlink()
            if got < PART:
                waiting.until(
                    "it plays on",
                    lambda at=offset: read_once(stream.fileno(), film, film.name, at) == PART,
                )
    assert fs.status()["cache"]["evictedBytes"] > 0


@pytest.fixture
def user(folder: Path) -> Iterator[Path]:
    """A folder that may take 12 MiB, on a larger disk."""
    with disks.with_quota(folder / "quota", 12 * MIB) as path:
        yield path


def test_a_quota_is_as_a_full_disk(
    user: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Its folder may take no more, though its disk has room: statvfs(3) knows nothing of it."""
    fs = cached_on(user, magnetfs)
    film = torrents.single("quota.bin", 24 * MIB, seed=176)
    path = fs.add_torrent(film, seeder.seed(film)) / film.name
    with open(path, "rb", buffering=0) as stream:
        fd, at = stream.fileno(), 0
        while at < film.length and (got := read_once(fd, film, film.name, at)):
            at += got
        assert at >= 4 * MIB
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for offset in reversed(range(0, at - at % PART, PART)):
            assert read_once(fd, film, film.name, offset) == PART, "what is there stays"
        disks.set_quota(user, 64 * MIB)
        # What failed to be written a moment ago may still be told to who reads it first.
        for offset in range(0, film.length, PART):
            waiting.until(
                "it goes on", lambda at=offset: read_once(fd, film, film.name, at) == PART
            )
    assert_same(path, film, film.name)


QUOTA = BIN.parent / "tests" / "libquota.so"


@pytest.mark.skipif(not QUOTA.exists(), reason="nothing is preloaded with sanitizers")
def test_what_is_read_makes_room_where_a_quota_is_met(
    folder: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """A player sees nothing of it, also when it is lowered. (By a library in front of the system's
    calls: a quota that lets holes be punched, as most do but btrfs's.)"""
    limit = folder / "limit"
    limit.write_text(str(12 * MIB))
    fs = magnetfs(*OPTIONS, allow=["could not be written"], start=False)
    fs.program = ["env", f"LD_PRELOAD={QUOTA}", f"QUOTA_FILE={limit}", str(MAGNETFS)]
    fs.start()
    film = torrents.single("kept.bin", 40 * MIB, seed=177, piece_length=256 * KIB)
    path = fs.add_torrent(film, seeder.seed(film)) / film.name
    with open(path, "rb", buffering=0) as stream:
        for offset in range(0, film.length, PART):
            assert_part(stream.fileno(), film, film.name, offset, PART)
        cache = fs.status()["cache"]
        assert cache["evictedBytes"] >= film.length - 12 * MIB
        assert 4 * MIB <= fs.torrent(film.info_hash)["haveBytes"] <= 12 * MIB
        limit.write_text(str(6 * MIB))
        for offset in reversed(range(0, film.length, PART)):
            assert_part(stream.fileno(), film, film.name, offset, PART)
    assert fs.torrent(film.info_hash)["haveBytes"] <= 6 * MIB


@pytest.mark.skipif(not QUOTA.exists(), reason="nothing is preloaded with sanitizers")
def test_what_nobody_reads_stops_where_a_quota_is_met(
    folder: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """A download without readers takes nothing from what was read before, also when somebody reads
    something else, asks for little that can't be written, and goes on when the quota is raised."""
    limit = folder / "limit"
    limit.write_text(str(12 * MIB))
    fs = magnetfs(*OPTIONS, "--fill", "torrent", start=False)
    fs.program = ["env", f"LD_PRELOAD={QUOTA}", f"QUOTA_FILE={limit}", str(MAGNETFS)]
    fs.start()
    there = torrents.single("there.bin", 8 * MIB, seed=178)
    coming = torrents.single("coming.bin", 24 * MIB, seed=179, piece_length=256 * KIB)
    other = torrents.single("other.bin", 1 * MIB, seed=180)
    path = fs.add_torrent(there, seeder.seed(there)) / there.name
    assert_same(path, there, there.name)
    sent = seeder.sent(there)
    begun = fs.add_torrent(coming, seeder.seed(coming)) / coming.name
    with open(begun, "rb", buffering=0) as stream:
        assert stream.read(KIB) == coming.read(coming.name, 0, KIB)
    have = waiting.settled("what came", lambda: fs.torrent(coming.info_hash)["haveBytes"])
    assert 4 * MIB <= have <= 12 * MIB
    waiting.settled("what is sent in vain", lambda: seeder.sent(coming), 3)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert_there(fd, there)
    finally:
        os.close(fd)
    assert fs.torrent(coming.info_hash)["error"] is None
    assert_same(fs.add_torrent(other, seeder.seed(other)) / other.name, other, other.name)
    assert waiting.settled("what goes", lambda: fs.status()["cache"]["evictedBytes"]) == 0
    assert fs.torrent(there.info_hash)["progress"] == 1
    assert seeder.sent(there) == sent

    limit.write_text(str(64 * MIB))
    waiting.until(
        "it goes on", lambda: fs.torrent(coming.info_hash)["haveBytes"] == coming.length, 60
    )
    waiting.until("that is told", lambda: "is fetched again" in fs.stderr())
    assert fs.stderr().count("some could not be written: Disk quota exceeded") == 1
    assert fs.stderr().count("is fetched again") == 1
