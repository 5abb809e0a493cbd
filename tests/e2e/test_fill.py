"""What --fill fetches has room that nobody else needs, and no other."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Callable, Iterator, Sequence

import pytest

from harness import disks, waiting
from harness.library import open_stores, states
from harness.mount import Magnetfs
from harness.reading import assert_part, assert_same
from harness.rogue import Rogues
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

BOUND = 64 * MIB
BATCH = BOUND // 8  # goes at once
SPARE = BATCH // 2  # is left to readers
PIECE = 256 * KIB
PART = 128 * KIB


def have(fs: Magnetfs, torrent: Torrent) -> int:
    return fs.torrent(torrent.info_hash)["haveBytes"]


def evicted(fs: Magnetfs) -> int:
    return fs.status()["cache"]["evictedBytes"]


def touch(path: Path, torrent: Torrent) -> None:
    """One read, from which on it is filled."""
    with open(path, "rb", buffering=0) as stream:
        assert stream.read(KIB) == torrent.read(torrent.name, 0, KIB)


def resting(fs: Magnetfs, torrent: Torrent) -> int:
    """Waits until no more of it comes; how much there is."""
    rests = waiting.settled("what came", lambda: have(fs, torrent))
    assert 0 < rests < torrent.length
    return rests


def unfilled(
    fs: Magnetfs, torrents: TorrentMaker, seeder: Seeder, name: str, seed: int, piece: int
) -> Torrent:
    """A film, added by a magnet that asks for another file: what is not read is not fetched."""
    film = torrents.multi(
        name, [("film.bin", 48 * MIB), ("small.bin", KIB)], seed=seed, piece_length=piece
    )
    fs.add(film.magnet(seeder.seed(film)) + "&so=1")
    fs.files(film.info_hash)
    return film


def test_what_goes_for_readers_is_not_filled(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    fs = magnetfs(
        *("--cache-size", str(BOUND), "--min-free", "0"),
        *("--fill", "torrent", "--read-timeout", "20"),
    )
    old = torrents.single("old.bin", 40 * MIB, seed=1801, piece_length=PIECE)
    filled = torrents.single("filled.bin", BOUND, seed=1802, piece_length=PIECE)
    assert_same(fs.add_torrent(old, seeder.seed(old)) / old.name, old, old.name)
    touch(fs.add_torrent(filled, seeder.seed(filled)) / filled.name, filled)
    rests = resting(fs, filled)
    assert evicted(fs) == 0 and have(fs, old) == old.length
    sent = seeder.sent(filled)

    film = unfilled(fs, torrents, seeder, "film", 1803, PIECE)
    # Here and there: what is read in a row is fetched ahead of it.
    with open(fs.directory(film) / "film.bin", "rb", buffering=0) as stream:
        for offset in reversed(range(0, 48 * MIB, 2 * MIB)):
            for part in range(offset, offset + PIECE, PART):
                assert_part(stream.fileno(), film, "film.bin", part, PART)
    there = resting(fs, film)
    assert BATCH <= evicted(fs) <= there + 2 * BATCH
    assert have(fs, old) == old.length - evicted(fs)
    assert have(fs, filled) == rests and seeder.sent(filled) == sent

    fs.remove(old.info_hash)
    waiting.until("what others leave is filled", lambda: have(fs, filled) > rests + MIB, 30)


def test_what_readers_have_begun_and_left_makes_room_for_it(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Parts of pieces that nobody wants any more, not even by --fill: they have no other use."""
    fs = magnetfs(
        *("--cache-size", str(BOUND), "--min-free", "0"),
        *("--fill", "torrent", "--read-timeout", "20"),
    )
    film = unfilled(fs, torrents, seeder, "begun", 1806, 4 * MIB)
    seeder.limit(film, 2 * MIB)
    filled = torrents.single("filled.bin", BOUND, seed=1807, piece_length=PIECE)
    pieces = 8
    for number in range(pieces):
        sent = seeder.sent(film)
        reading = subprocess.Popen(
            ["dd", f"if={fs.directory(film) / 'film.bin'}", "of=/dev/null"]
            + ["bs=64K", "count=1", f"skip={number * film.piece_length // (64 * KIB)}"],
            stderr=subprocess.DEVNULL,
        )
        try:
            waiting.until("some came", lambda sent=sent: seeder.sent(film) > sent + 64 * KIB)
        finally:
            reading.kill()
            reading.wait()
    fs.wait_parked(0)
    seeder.limit(film, 0)
    used = fs.status()["cache"]["usedBytes"]
    assert used >= have(fs, film) + pieces // 2 * film.piece_length
    touch(fs.add_torrent(filled, seeder.seed(filled)) / filled.name, filled)
    waiting.until("it is filled", lambda: have(fs, filled) >= BOUND - 14 * MIB, 40)
    assert evicted(fs) == 0


@pytest.mark.parametrize("bound", [16, 24])
def test_what_was_begun_in_vain_is_no_readers_loss(
    bound: int,
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    rogues: Rogues,
    torrents: TorrentMaker,
) -> None:
    """Parts of pieces that --fill wants, and that nobody gives the rest of: readers have room for
    two pieces besides; and where the bound was larger when they began, they go for a reader."""
    piece = 4 * MIB
    fs = magnetfs(
        *("--cache-size", str((16 if bound == 16 else 64) * MIB), "--min-free", "0"),
        *("--fill", "torrent", "--read-timeout", "20"),
    )
    dead = torrents.single("dead.bin", 32 * MIB, seed=1808, piece_length=piece)
    other = torrents.single("other.bin", 32 * MIB, seed=1809, piece_length=piece)
    givers = [
        rogues(dead, garbage=0, gives=2, has=range(number, number + 1))
        for number in range(dead.length // piece)
    ]
    fs.add(dead.torrent_file.read_bytes())
    fs.add(dead.magnet(*(giver.peer for giver in givers)))
    begun = 1 if bound == 16 else 7
    waiting.until(
        "pieces have begun",
        lambda: sum(giver.done()["asked"] > 2 for giver in givers) >= begun,
        30,
    )
    if bound == 16:
        assert fs.status()["cache"]["usedBytes"] <= bound * MIB - 2 * piece
    else:
        fs.control.joinpath("cache").write_text(f"size {bound * MIB}\n")
    path = fs.add_torrent(other, seeder.seed(other)) / other.name
    for offset in range(0, other.length, piece):
        with open(path, "rb", buffering=0) as stream:
            assert_part(stream.fileno(), other, other.name, offset, PART)


def awake(fs: Magnetfs, torrents: Sequence[Torrent]) -> list[Torrent]:
    known = states(fs)
    return [torrent for torrent in torrents if known[torrent.info_hash] == "awake"]


def test_no_more_are_awake_to_be_filled_than_may_be(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Not even when somebody looks into them; and where there is a place the next one has it."""
    fs = magnetfs("--fill", "torrent", "--awake-max", "2")
    made = [
        torrents.multi(f"filled{n}", [("film.bin", 8 * MIB)], seed=1810 + n, piece_length=PIECE)
        for n in range(6)
    ]
    for torrent in made:
        seeder.seed(torrent, upload_limit=60 * KIB)
        fs.add(torrent.torrent_file.read_bytes())
        fs.add(torrent.magnet(seeder))
    waiting.until("some are filled", lambda: sum(have(fs, each) > 0 for each in made) == 2, 30)
    with fs.events() as events:
        for torrent in made:
            assert os.listdir(fs.directory(torrent)) == ["film.bin"]
        before = awake(fs, made)
        assert waiting.settled("who is awake", lambda: awake(fs, made)) == before
        assert len(before) == 2
        assert not any(event["event"] == "awake" for event in events.seen)
        fs.remove(before[0].info_hash)
        made.remove(before[0])
        others = [torrent.info_hash for torrent in made if torrent is not before[1]]
        waiting.until(
            "another is",
            lambda: (event := events.next(1))
            and event["event"] == "awake"
            and event["infoHash"] in others,
        )
    assert len(awake(fs, made)) == 2


def test_what_is_read_in_turn_is_not_filled_all_at_once(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Those read last go on; the others do when they have a place."""
    fs = magnetfs("--fill", "file", "--awake-max", "2")
    made = [
        torrents.multi(f"turn{n}", [("film.bin", 16 * MIB)], seed=1830 + n, piece_length=PIECE)
        for n in range(5)
    ]
    for torrent in made:
        seeder.seed(torrent, upload_limit=MIB // 2)
        fs.add_torrent(torrent, seeder)
    for torrent in made:
        with open(fs.directory(torrent) / "film.bin", "rb", buffering=0) as stream:
            assert stream.read(KIB) == torrent.read("film.bin", 0, KIB)
    waiting.until("the last are awake", lambda: awake(fs, made) == made[-2:], 10)
    assert all(have(fs, torrent) < torrent.length for torrent in made)


def test_what_goes_from_one_that_sleeps_is_filled_again(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    fs = magnetfs("--fill", "torrent", "--idle-timeout", "1")
    full = torrents.single("full.bin", 8 * MIB, seed=1820, piece_length=PIECE)
    with fs.events() as events:
        fs.add_torrent(full, seeder.seed(full))
        events.wait("asleep", full.info_hash)
        assert have(fs, full) == full.length
        waiting.until("its content leaves the memory", lambda: not open_stores(fs.pid), 20)
        assert fs.ctl("evict", full.info_hash).returncode == 0
        events.wait("evicted", full.info_hash)
        events.wait("awake", full.info_hash)
        events.wait("asleep", full.info_hash)
        assert have(fs, full) == full.length


def test_what_names_nothing_does_not_wake(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """The next one that is to be filled wakes, and again and again if its turn came again."""
    fs = magnetfs("--fill", "torrent", "--idle-timeout", "1")
    nothing = torrents.single("nothing.bin", MIB, seed=1821, piece_length=PIECE)
    full = torrents.single("full.bin", MIB, seed=1822, piece_length=PIECE)
    with fs.events() as events:
        fs.add(nothing.magnet(seeder.seed(nothing)) + "&so=7")
        fs.add_torrent(full, seeder.seed(full))
        for torrent in (nothing, full):
            waiting.until(
                "it sleeps", lambda torrent=torrent: states(fs)[torrent.info_hash] == "asleep"
            )
        for _ in range(2):
            assert fs.ctl("evict", full.info_hash).returncode == 0
            events.wait("awake", full.info_hash)
            events.wait("asleep", full.info_hash)
        woken = {event["infoHash"] for event in events.seen if event["event"] == "awake"}
        assert woken == {full.info_hash}


LEAST = 8 * MIB  # stays free on the disk


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of its own; torn down after the magnetfs that uses it."""
    with disks.tmpfs(folder / "disk", BOUND + LEAST) as path:
        yield path


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs: root only")
def test_what_goes_for_others_on_the_disk_is_not_filled(
    disk: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """A batch goes where they take a little too much."""
    old = torrents.single("old.bin", 24 * MIB, seed=1804, piece_length=PIECE)
    filled = torrents.single("filled.bin", BOUND, seed=1805, piece_length=PIECE)
    fs = magnetfs(
        *("--cache-size", "1G", "--min-free", str(LEAST)),
        *("--fill", "file", "--read-timeout", "20"),
        start=False,
    )
    fs.cache = disk / "cache"
    fs.start()
    paths = [fs.add_torrent(each, seeder.seed(each)) / each.name for each in (old, filled)]
    assert_same(paths[0], old, old.name)
    touch(paths[1], filled)
    rests = resting(fs, filled)
    assert evicted(fs) == 0 and have(fs, old) == old.length

    taken = disks.fill(disk, LEAST - 64 * KIB)
    waiting.until("a batch has gone", lambda: evicted(fs) >= BATCH - MIB)
    assert resting(fs, filled) == rests
    assert evicted(fs) < 2 * BATCH
    taken.unlink()
    waiting.until("what they leave is filled", lambda: have(fs, filled) > rests + MIB, 30)
    assert have(fs, old) >= old.length - 2 * BATCH
