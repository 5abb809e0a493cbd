"""The bound on the disk holds at every moment: what is read last pushes out what was read first.

A process beside all of this looks each 10 ms at what the cache folder and the catalog take.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterator, Sequence

import pytest

from harness import disks, waiting
from harness.allocation import Allocation
from harness.mount import Magnetfs, errno_name, errno_of
from harness.reading import Parked, assert_part, assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target

CHUNK = 128 * KIB  # what programs ask for at a time
BACK = MIB  # each step backwards
BY_SIZE = ("--min-free", "0", "--read-timeout", "20")
READERS = 20
SEEKS = 6

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: root only")


def assert_span(path: Path, torrent: Torrent, begin: int, end: int) -> None:
    """Plays that part with one descriptor and compares every byte."""
    fd = os.open(path, os.O_RDONLY)
    try:
        play(fd, torrent, begin, end)
    finally:
        os.close(fd)


def play(fd: int, torrent: Torrent, begin: int, end: int, backwards: bool = False) -> None:
    step = BACK if backwards else CHUNK
    offsets: Sequence[int] = range(begin, end, step)
    for offset in reversed(offsets) if backwards else offsets:
        assert_part(fd, torrent, torrent.name, offset, min(step, end - offset))


def have(fs: Magnetfs, torrent: Torrent) -> int:
    return fs.torrent(torrent.info_hash)["haveBytes"]


def assert_bound(allocation: Allocation, bound: int) -> None:
    allocation.taken.assert_sampled()
    assert allocation.taken.highest <= bound, allocation.taken
    print(f"of {bound}: {allocation.taken}")


# -- --cache-size ----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [256 * KIB, MIB], ids=["256K", "1M"])
def test_ten_times_the_cache_plays_to_the_end_and_backwards(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker, piece: int
) -> None:
    bound = 10 * MIB
    fs = magnetfs("--cache-size", str(bound), *BY_SIZE)
    film = torrents.single(f"film{piece}.mkv", 10 * bound, seed=1501, piece_length=piece)
    path = fs.add_torrent(film, seeder.seed(film)) / film.name
    with open(path, "rb", buffering=0) as stream, Allocation(fs) as allocation:
        play(stream.fileno(), film, 0, film.length)
        cache = fs.status()["cache"]
        play(stream.fileno(), film, 0, film.length, backwards=True)
    assert_bound(allocation, bound)
    assert allocation.taken.highest >= bound // 2, "it is there to be used"
    assert cache["usedBytes"] <= cache["limitBytes"] == bound
    assert cache["evictedBytes"] >= film.length - bound
    assert cache["evictedPieces"] >= (film.length - bound) // piece


def test_readers_whose_windows_exceed_the_cache_all_get_their_bytes(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    bound, span = 16 * MIB, 5 * MIB
    fs = magnetfs("--cache-size", str(bound), *BY_SIZE)
    films = [torrents.single(f"of4-{n}.mkv", 25 * MIB, seed=1510 + n) for n in range(4)]
    paths = [fs.add_torrent(film, seeder.seed(film)) / film.name for film in films]

    def read(number: int) -> None:
        film, begin = films[number % 4], number // 4 * span
        assert_span(paths[number % 4], film, begin, begin + span)

    with Allocation(fs) as allocation, ThreadPoolExecutor(READERS) as readers:
        for done in [readers.submit(read, number) for number in range(READERS)]:
            done.result()
    assert_bound(allocation, bound)
    assert fs.status()["cache"]["evictedBytes"] >= READERS * span - bound


def test_pieces_of_16_mib_in_a_cache_of_64(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """It holds three. More are read at once; those for whom there is no room wait their turn."""
    bound, piece = 64 * MIB, 16 * MIB
    fs = magnetfs("--cache-size", str(bound), *BY_SIZE)
    film = torrents.single("of16.mkv", 8 * piece, seed=1520, piece_length=piece)
    path = fs.add_torrent(film, seeder.seed(film)) / film.name
    with Allocation(fs) as allocation:
        assert_same(path, film, film.name)
        starts = [number * piece + piece // 2 for number in (0, 2, 3, 5, 6)]
        with ThreadPoolExecutor(len(starts)) as readers:
            done = [readers.submit(assert_span, path, film, at, at + piece) for at in starts]
            for each in done:
                each.result()
    assert_bound(allocation, bound)


def test_who_does_not_fit_twice_says_so_and_the_others_go_on(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    bound, piece = 24 * MIB, 16 * MIB
    fs = magnetfs("--cache-size", str(bound), *BY_SIZE, allow=["cache"])
    large = torrents.single("large.mkv", 3 * piece, seed=1530, piece_length=piece)
    other = torrents.single("other.mkv", 2 * bound, seed=1531)
    refused = fs.add_torrent(large, seeder.seed(large).seed(other)) / large.name
    path = fs.add_torrent(other, seeder) / other.name
    with open(path, "rb", buffering=0) as stream, Allocation(fs) as allocation:
        play(stream.fileno(), other, 0, MIB)
        assert errno_name(errno_of(os.open, refused, os.O_RDONLY)) == "ENOSPC"
        assert fs.torrent(large.info_hash)["problem"]
        assert fs.web
        assert fs.web.get(stream_target(large, large.name)).status >= 500
        play(stream.fileno(), other, MIB, other.length)
        assert "problem" not in fs.torrent(other.info_hash)
    assert_bound(allocation, bound)
    assert seeder.sent(large) == 0, "what can't be kept is not fetched"


def test_who_just_fits_twice_is_played(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    bound, piece = 40 * MIB, 16 * MIB
    fs = magnetfs("--cache-size", str(bound), *BY_SIZE)
    film = torrents.single("twice.mkv", 4 * piece, seed=1535, piece_length=piece)
    path = fs.add_torrent(film, seeder.seed(film)) / film.name
    with Allocation(fs) as allocation:
        assert_same(path, film, film.name)
    assert_bound(allocation, bound)


def test_pieces_that_were_begun_and_left_make_room(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Readers that go before their pieces have come leave parts of them."""
    bound = 16 * MIB
    fs = magnetfs("--cache-size", str(bound), *BY_SIZE)
    film = torrents.single("seeks.mkv", 128 * MIB, seed=1540, piece_length=MIB)
    path = fs.add_torrent(film, seeder.seed(film, upload_limit=4 * MIB)) / film.name
    with Allocation(fs) as allocation:
        for number in range(SEEKS):
            sent = seeder.sent(film)
            with Parked(path, READERS, stride=(number + 1) * MIB):
                waiting.until("some came", lambda sent=sent: seeder.sent(film) >= sent + MIB)
        seeder.limit(film, 0)
        fs.wait_parked(0)
        assert_span(path, film, 100 * MIB, film.length)
    assert_bound(allocation, bound)


def test_pieces_of_torrents_that_sleep_go_too_and_do_not_wake_them(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    bound = 16 * MIB
    fs = magnetfs("--cache-size", str(bound), *BY_SIZE, "--idle-timeout", "1")
    first = torrents.single("first.mkv", 10 * MIB, seed=1550)
    second = torrents.single("second.mkv", 15 * MIB, seed=1551)
    path = fs.add_torrent(first, seeder.seed(first).seed(second)) / first.name
    with Allocation(fs) as allocation, fs.events() as events:
        assert_same(path, first, first.name)
        assert have(fs, first) == first.length
        events.wait("asleep", first.info_hash)
        assert_same(fs.add_torrent(second, seeder) / second.name, second, second.name)
        assert have(fs, second) + have(fs, first) <= bound
        assert have(fs, first) < first.length - 4 * MIB
        assert fs.torrent(first.info_hash)["state"] == "asleep"
        while events.next(0):
            pass
        woken = [e["infoHash"] for e in events.seen if e["event"] == "awake"]
        assert first.info_hash not in woken
        assert_same(path, first, first.name)
    assert_bound(allocation, bound)


def test_the_ends_of_a_film_stay_longest(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """A scan of a library reads them, and the next one needs nobody."""
    bound = 16 * MIB
    fs = magnetfs("--cache-size", str(bound), *BY_SIZE, "--idle-timeout", "1")
    films = [torrents.single(f"scan{n}.mkv", 4 * MIB, seed=1560 + n) for n in range(3)]
    other = torrents.single("played.mkv", 3 * bound, seed=1565)
    paths = [fs.add_torrent(film, seeder.seed(film)) / film.name for film in films]

    def scan() -> None:
        for path, film in zip(paths, films):
            assert_span(path, film, 0, 4 * KIB)
            assert_span(path, film, film.length - 4 * KIB, film.length)

    scan()
    pack = torrents.single("pack.iso", 4 * MIB, seed=1566)
    assert_span(fs.add_torrent(pack, seeder.seed(pack)) / pack.name, pack, 0, 4 * KIB)
    assert have(fs, pack) > 0
    assert_same(fs.add_torrent(other, seeder.seed(other)) / other.name, other, other.name)
    seeder.kill()
    scan()
    assert have(fs, pack) == 0, "what is no film has no ends"


# -- --min-free ------------------------------------------------------------------------------------


@pytest.fixture(params=sorted(disks.DISKS))
def disk(folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of 64 MiB; torn down after the magnetfs that uses it."""
    with disks.DISKS[request.param](folder / "disk", 64 * MIB) as path:
        yield path


@needs_root
def test_what_is_to_stay_free_does_and_others_may_take_the_rest(
    disk: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    least = 16 * MIB
    fs = magnetfs("--min-free", str(least), "--read-timeout", "20", start=False)
    fs.cache = disk / "cache"
    fs.start()
    film = torrents.single("free.mkv", 96 * MIB, seed=1570)
    path = fs.add_torrent(film, seeder.seed(film)) / film.name
    with open(path, "rb", buffering=0) as stream:
        with Allocation(fs) as alone:
            play(stream.fileno(), film, 0, film.length)
        alone.taken.assert_sampled()
        assert alone.taken.least_free >= least, alone.taken
        assert alone.taken.highest >= 24 * MIB, "it is there to be used"

        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as other:
            for offset in range(0, 24 * MIB, 4 * MIB):
                assert other.write(random.Random(offset).randbytes(4 * MIB)) == 4 * MIB
                play(stream.fileno(), film, offset, offset + 4 * MIB)
                disks.until_free(disk, least)
        with Allocation(fs) as beside:
            play(stream.fileno(), film, 24 * MIB, film.length)
        assert beside.taken.least_free >= least, beside.taken
        filler.unlink()
        play(stream.fileno(), film, 0, film.length // 2, backwards=True)
