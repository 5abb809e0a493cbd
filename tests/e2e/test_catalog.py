"""A catalog that is damaged, too new, or on a disk that is full or read-only: nothing is lost."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness import processes, waiting
from harness.kinds import KindMaker
from harness.library import AFTER_KILL, changes, make_library, shown, states
from harness.mount import Magnetfs, StartFailed, errno_name
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.torrents import MIB, Torrent, TorrentMaker

LIBRARY = 120
CATALOG = "catalog.db"
DAMAGED = r"catalog.*was damaged"
NEW = "a" * 40


@pytest.fixture(scope="module")
def library(run_folder: Path) -> list[Torrent]:
    return make_library(KindMaker(run_folder / "catalog"), LIBRARY)


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mkv", 2 * MIB, seed=1451)


@pytest.fixture(scope="module")
def saved(
    run_folder: Path, library: list[Torrent], film: Torrent
) -> Iterator[tuple[Path, list[str]]]:
    """The folder of a magnetfs that ended well, with a library and film read; what it showed."""
    fs = Magnetfs(run_folder / "saved", ["--read-timeout", "20"], http=False)
    seeder = Seeder()
    try:
        fs.start()
        for torrent in library:
            fs.add(torrent.metainfo)
        assert_same(fs.add_torrent(film, seeder.seed(film)) / film.name, film, film.name)
        lines = shown(fs)
    finally:
        fs.close()
        seeder.close()
    yield fs.folder, lines
    shutil.rmtree(fs.folder)


@pytest.fixture
def again(
    magnetfs: Callable[..., Magnetfs], saved: tuple[Path, list[str]]
) -> Callable[..., Magnetfs]:
    """A magnetfs, not started, with copies of those folders."""

    def begin(*options: str, **keywords: object) -> Magnetfs:
        fs = magnetfs("--read-timeout", "2", *options, http=False, start=False, **keywords)
        for name in ("state", "cache"):
            shutil.copytree(saved[0] / name, fs.folder / name)
        return fs

    return begin


# -- damage ----------------------------------------------------------------------------------------


def pages(data: bytes) -> tuple[int, int]:
    """The size of a page, and how many there are."""
    size = int.from_bytes(data[16:18], "big")
    return (65536 if size == 1 else size), len(data) // (65536 if size == 1 else size)


def no_header(data: bytes) -> bytes:
    return random.Random(1).randbytes(100) + data[100:]


def zeroed_header(data: bytes) -> bytes:
    return bytes(pages(data)[0]) + data[pages(data)[0] :]


def middle_overwritten(data: bytes) -> bytes:
    """A tenth of all pages, in the middle."""
    size, count = pages(data)
    first, n = count * 45 // 100, max(1, count // 10)
    return data[: first * size] + random.Random(2).randbytes(n * size) + data[(first + n) * size :]


def every_tenth_page_zeroed(data: bytes) -> bytes:
    size, count = pages(data)
    damaged = bytearray(data)
    for page in range(5, count, 10):
        damaged[page * size : (page + 1) * size] = bytes(size)
    return bytes(damaged)


def cut_in_half(data: bytes) -> bytes:
    return data[: len(data) // 2 + 123]


def empty(_: bytes) -> bytes:
    return b""


def garbage(data: bytes) -> bytes:
    return random.Random(3).randbytes(len(data))


def short_garbage(_: bytes) -> bytes:
    return b"this is no database\n"


# How many of the torrents must be there afterwards, at least.
DAMAGE = [
    (no_header, 0),
    (zeroed_header, 0),
    (middle_overwritten, LIBRARY // 2),
    (every_tenth_page_zeroed, LIBRARY // 2),
    (cut_in_half, 0),
    (garbage, 0),
    (short_garbage, 0),
]


def assert_works(fs: Magnetfs, film: Torrent, seeder: Seeder) -> None:
    """It takes torrents, reads, and remembers."""
    fs.options[1] = "20"
    fs.add(NEW)
    fs.add(film.metainfo)
    fs.add(film.magnet(seeder.seed(film)))
    name = fs.torrent(film.info_hash)["name"]
    assert_same(fs.mountpoint / name / film.name, film, film.name)
    before = shown(fs)
    fs.stop()
    fs.start()
    assert shown(fs) == before and fs.torrent(NEW)["state"] == "pending"


@pytest.mark.parametrize("damage, least", DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE])
def test_a_damaged_catalog_is_set_aside_and_what_can_be_saved_is_there(
    again: Callable[..., Magnetfs],
    saved: tuple[Path, list[str]],
    library: list[Torrent],
    film: Torrent,
    seeder: Seeder,
    damage: Callable[[bytes], bytes],
    least: int,
) -> None:
    fs = again(allow=[DAMAGED])
    catalog = fs.state / CATALOG
    damaged = damage(catalog.read_bytes())
    catalog.write_bytes(damaged)
    before = set(os.listdir(fs.state))
    fs.start()
    said = [line for line in fs.stderr().splitlines() if re.search(DAMAGED, line)]
    assert len(said) == 1 and str(fs.state) in said[0], fs.stderr()
    (aside,) = [name for name in set(os.listdir(fs.state)) - before if name in said[0]]
    assert (fs.state / aside).read_bytes() == damaged

    known = states(fs)
    assert set(known) <= {torrent.info_hash for torrent in (*library, film)}
    assert len(known) >= least, f"{len(known)} of {LIBRARY + 1}"
    # What is shown is as it was, or nothing where the metadata was lost: that is fetched again.
    there = {line for line in shown(fs) if " . d " not in line}
    assert there <= set(saved[1]), changes(saved[1], sorted(there))
    for torrent in (*library, film):
        if known.get(torrent.info_hash) == "asleep":
            name = fs.torrent(torrent.info_hash)["name"]
            lines = sorted(line for line in saved[1] if f" ./{name}/" in line)
            assert lines == sorted(line for line in there if f" ./{name}/" in line)
    assert set(known.values()) <= {"asleep", "pending"}
    whole = [state for state in known.values() if state == "asleep"]
    assert len(whole) >= least / 2, f"{len(whole)} of {len(known)}"
    if known.get(film.info_hash) == "asleep" and fs.torrent(film.info_hash)["progress"] == 1:
        assert_same(fs.directory(film) / film.name, film, film.name)
    assert_works(fs, film, seeder)
    assert sorted(states(fs)) == sorted({*known, NEW, film.info_hash})
    assert len([line for line in fs.stderr().splitlines() if re.search(DAMAGED, line)]) == 1


@pytest.mark.parametrize("killed", [False, True], ids=["clean", "killed"])
def test_an_empty_catalog_file_is_a_new_catalog(
    again: Callable[..., Magnetfs], film: Torrent, seeder: Seeder, killed: bool
) -> None:
    """As one that was touched, or whose first write never came to the disk."""
    fs = again(allow=[DAMAGED, AFTER_KILL])
    if killed:
        fs.start()
        fs.kill()
        processes.unmount_lazily(str(fs.mountpoint))
    for path in fs.state.glob(f"{CATALOG}-*"):
        path.unlink()
    (fs.state / CATALOG).write_bytes(b"")
    fs.start()
    assert not states(fs)
    assert_works(fs, film, seeder)


def test_a_lost_catalog_is_an_empty_library(
    again: Callable[..., Magnetfs], film: Torrent, seeder: Seeder
) -> None:
    fs = again()
    (fs.state / CATALOG).unlink()
    fs.start()
    assert not states(fs)
    assert_works(fs, film, seeder)


def test_what_a_lost_torrent_left_makes_room_for_others(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """And until then it is there for who adds that torrent again."""
    old, new = (torrents.single(f"{name}.mkv", 12 * MIB, seed=1460) for name in ("old", "new"))
    kept = torrents.single("kept.mkv", MIB, seed=1461)
    fs = magnetfs("--cache-size", "16M", "--read-timeout", "20", http=False, allow=[DAMAGED])
    for torrent in (kept, old):
        path = fs.add_torrent(torrent, seeder.seed(torrent)) / torrent.name
        assert_same(path, torrent, torrent.name)
    fs.stop()
    (fs.state / CATALOG).write_bytes(garbage(bytes(8192)))
    fs.start()
    assert fs.status()["torrents"] == [] and fs.status()["cache"]["usedBytes"] >= 13 * MIB
    fs.add(kept.metainfo)
    assert_same(fs.directory(kept) / kept.name, kept, kept.name)  # without the seeder
    assert_same(fs.add_torrent(new, seeder.seed(new)) / new.name, new, new.name)
    assert fs.status()["cache"]["usedBytes"] <= 16 * MIB
    assert not (fs.cache / f"{old.info_hash}.pieces").exists()


def test_a_damaged_write_ahead_log_loses_nothing_that_was_there_before(
    again: Callable[..., Magnetfs], saved: tuple[Path, list[str]], library: list[Torrent]
) -> None:
    fs = again(allow=[DAMAGED, AFTER_KILL])
    fs.start()
    fs.add(NEW)
    fs.kill()
    log = fs.state / f"{CATALOG}-wal"
    assert log.stat().st_size > 0
    log.write_bytes(random.Random(4).randbytes(log.stat().st_size))
    fs.start()
    assert {torrent.info_hash for torrent in library} <= set(states(fs))
    assert set(saved[1]) - set(shown(fs)) <= {line for line in saved[1] if " . d " in line}


def test_metadata_with_a_wrong_byte_is_fetched_anew(
    again: Callable[..., Magnetfs], library: list[Torrent], film: Torrent, seeder: Seeder
) -> None:
    """SQLite sees nothing of that. What was read of it is still there."""
    fs = again(allow=["its metadata is not in the catalog any more"])
    with sqlite3.connect(fs.state / CATALOG) as db:
        find = "SELECT number, data FROM torrents NATURAL JOIN sources WHERE hex = ?"
        ((number, data),) = db.execute(find, (film.info_hash,)).fetchall()
        at = data.index(b"6:lengthi") + len(b"6:lengthi")
        spoilt = data[:at] + (b"2" if data[at : at + 1] == b"1" else b"1") + data[at + 1 :]
        db.execute("UPDATE sources SET data = ? WHERE number = ?", (spoilt, number))
    db.close()
    fs.start()
    assert len(fs.files(library[0].info_hash)) == len(library[0].files)
    # Whoever is the first to look may be refused, but sees nothing wrong.
    try:
        assert os.listdir(fs.directory(film)) == []
    except OSError as problem:
        assert errno_name(problem.errno or 0) in ("EIO", "ESTALE", "ENOENT", "EAGAIN")
    waiting.until("it is pending", lambda: fs.torrent(film.info_hash)["state"] == "pending")
    fs.add(film.magnet(seeder.seed(film)))
    assert len(fs.files(film.info_hash)) == 1
    assert_same(fs.directory(film) / film.name, film, film.name)
    assert seeder.sent(film) < film.length // 2, "it is hashed, not fetched"
    fs.stop()
    fs.start()
    assert set(states(fs).values()) == {"asleep"}
    assert_same(fs.directory(film) / film.name, film, film.name)


# -- not ours to change ----------------------------------------------------------------------------


def fails(fs: Magnetfs) -> str:
    """Its start fails, without a mount; what it said besides what all say."""
    with pytest.raises(StartFailed) as failed:
        fs.start()
    assert failed.value.code != 0
    assert not processes.is_mounted(fs.mountpoint)
    return failed.value.stderr


def test_a_newer_catalog_is_left_alone(again: Callable[..., Magnetfs]) -> None:
    fs = again(allow=["newer magnetfs"])
    catalog = fs.state / CATALOG
    with sqlite3.connect(catalog) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before, stores = catalog.read_bytes(), sorted(os.listdir(fs.cache))
    names = sorted(os.listdir(fs.state))
    said = fails(fs)
    assert "newer magnetfs" in said and "99" in said and str(catalog) in said
    assert catalog.read_bytes() == before
    assert set(os.listdir(fs.state)) - set(names) <= {"lock"}
    assert set(stores) <= set(os.listdir(fs.cache)), "nor is any data deleted"


def test_the_database_of_another_program_is_left_alone(
    magnetfs: Callable[..., Magnetfs],
) -> None:
    fs = magnetfs(http=False, start=False, allow=["another program"])
    fs.state.mkdir()
    catalog = fs.state / CATALOG
    with sqlite3.connect(catalog) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    before = catalog.read_bytes()
    assert str(catalog) in fails(fs)
    assert catalog.read_bytes() == before


@pytest.mark.parametrize("what", ["folder", "link", "pipe"])
def test_what_is_no_file_in_the_catalogs_place_is_named(
    again: Callable[..., Magnetfs], what: str
) -> None:
    fs = again(allow=["[Cc]atalog"])
    catalog = fs.state / CATALOG
    catalog.rename(fs.folder / "away.db")
    if what == "folder":
        catalog.mkdir()
    elif what == "link":
        catalog.symlink_to(fs.folder / "away.db")
    else:
        os.mkfifo(catalog)
    said = fails(fs)
    assert str(catalog) in said and "regular file" in said
