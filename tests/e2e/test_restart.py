"""A library lasts: it is the same after each end of magnetfs, and what was read needs no peer."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.kinds import KINDS, Entry, KindMaker
from harness.library import (
    AFTER_KILL,
    bytes_read,
    changes,
    dead_magnets,
    make_library,
    overwrite,
    pieces_of,
    shown,
    states,
    store_file,
    stores,
)
from harness.mount import Magnetfs, errno_name, errno_of
from harness.reading import assert_same, read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent

LIBRARY = 300
DEAD = 20
RESTARTS = 20
SAVED_S = 3.0  # what came is on the disk and remembered by then
SHORT = "2"  # a read that nobody answers fails after so many seconds
SPARE = 16 * KIB  # beside the pieces: what a read or a folder's entry may take


@pytest.fixture(scope="module")
def kinds(run_folder: Path) -> KindMaker:
    return KindMaker(run_folder / "restart")


@pytest.fixture(scope="module")
def shelf(kinds: KindMaker) -> list[Torrent]:
    """Torrents with content: each kind with small pieces and with large ones."""
    return [
        kinds.multi(
            kind,
            f"{kind} of {piece_length // KIB}",
            [
                Entry("a/first.mkv", 3 * piece_length + 1234),
                Entry("b/second.mkv", 2 * piece_length + 4321),
                Entry("tiny.txt", 100),
            ],
            piece_length,
        )
        for kind in KINDS
        for piece_length in (16 * KIB, MIB)
    ]


def restart(fs: Magnetfs, killed: bool) -> None:
    if killed:
        fs.kill()
    else:
        fs.stop()
    fs.start()


def add_shelf(fs: Magnetfs, shelf: list[Torrent], seeder: Seeder) -> None:
    for torrent in shelf:
        fs.add(torrent.metainfo)
        seeder.seed(torrent)
        fs.add(torrent.magnet(seeder))


def read_all(fs: Magnetfs, shelf: list[Torrent]) -> None:
    """Every byte, compared."""
    for torrent in shelf:
        for file in torrent.files:
            assert_same(fs.directory(torrent) / file.path, torrent, file.path)


def progress(fs: Magnetfs) -> dict[str, float]:
    return {each["infoHash"]: each["progress"] for each in fs.status()["torrents"]}


# -- the same after each start ---------------------------------------------------------------------


@pytest.mark.deadline(40 + 12 * RESTARTS)
def test_a_library_survives_restarts(
    magnetfs: Callable[..., Magnetfs], kinds: KindMaker
) -> None:
    fs = magnetfs("--cache-size", "1G", http=False, allow=[AFTER_KILL])
    for torrent in make_library(kinds, LIBRARY - DEAD):
        fs.add(torrent.metainfo)
    for uri in dead_magnets(DEAD):
        fs.add(uri)
    before = shown(fs)
    names = sorted(os.listdir(fs.mountpoint))
    assert len(names) == LIBRARY
    hashes = set(states(fs))
    for number in range(RESTARTS):
        restart(fs, killed=number % 2 == 1)
        after = shown(fs)
        assert after == before, f"restart {number}: {changes(before, after)}"
        assert set(states(fs)) == hashes
    # What is new takes no number of what is there, nor a name.
    fs.add("f" * 40)
    with_new = shown(fs)
    assert len(with_new) == len(before) + 1
    inodes = [line.split(" ", 1)[0] for line in with_new]
    assert len(set(inodes)) == len(inodes)


def test_a_removed_torrents_number_is_not_given_again(
    magnetfs: Callable[..., Magnetfs],
) -> None:
    fs = magnetfs(http=False, allow=[AFTER_KILL])
    inodes = []
    for number in range(4):
        info_hash = f"{number + 1:040x}"
        fs.add(info_hash)
        inodes.append(os.stat(fs.mountpoint / info_hash).st_ino)
        fs.remove(info_hash)
        restart(fs, killed=number % 2 == 1)
    assert len(set(inodes)) == len(inodes), inodes


def test_a_folder_keeps_its_name_though_the_first_of_that_name_has_gone(
    magnetfs: Callable[..., Magnetfs], kinds: KindMaker
) -> None:
    fs = magnetfs(http=False, allow=[AFTER_KILL])
    first, second = (
        kinds.multi("v1", "equal", [Entry(f"{n}.mkv", 100 + n)], hollow=True) for n in range(2)
    )
    fs.add(first.metainfo)
    fs.add(second.metainfo)
    (name,) = set(os.listdir(fs.mountpoint)) - {"equal"}
    fs.remove(first.info_hash)
    for killed in (False, True):
        restart(fs, killed)
        assert os.listdir(fs.mountpoint) == [name]
        assert os.listdir(fs.mountpoint / name) == ["1.mkv"]


# -- what was read stays ---------------------------------------------------------------------------


def test_after_a_clean_restart_what_was_read_needs_no_peer_and_no_hashing(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: list[Torrent]
) -> None:
    fs = magnetfs("--read-timeout", "20", http=False)
    add_shelf(fs, shelf, seeder)
    read_all(fs, shelf[1:])
    part = shelf[0]
    path = fs.directory(part) / "a/first.mkv"
    with open(path, "rb", buffering=0) as stream:
        assert read_exactly(stream.fileno(), 0, 100) == part.read("a/first.mkv", 0, 100)
    had = waiting.settled("progress", lambda: progress(fs), still_s=0.5)
    fs.stop()
    seeder.kill()
    fs.options = ["--read-timeout", SHORT]
    fs.start()
    assert progress(fs) == had and 0 < had[part.info_hash]
    assert all(had[torrent.info_hash] == 1 for torrent in shelf[1:])
    size = sum(torrent.length for torrent in shelf[1:])
    began = bytes_read(fs.pid)
    read_all(fs, shelf[1:])
    # Who hashed a piece would have read it besides.
    assert bytes_read(fs.pid) - began <= size * 1.5 + MIB
    with open(path, "rb", buffering=0) as stream:
        assert read_exactly(stream.fileno(), 0, 100) == part.read("a/first.mkv", 0, 100)
    assert progress(fs) == had


def test_after_kill_9_what_was_read_needs_no_peer_but_is_hashed_before(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: list[Torrent]
) -> None:
    fs = magnetfs("--read-timeout", "20", http=False, allow=[AFTER_KILL])
    add_shelf(fs, shelf, seeder)
    read_all(fs, shelf)
    time.sleep(SAVED_S)  # the promise is in time
    fs.kill()
    seeder.kill()
    fs.options = ["--read-timeout", SHORT]
    for _ in range(2):
        fs.start()
        began = bytes_read(fs.pid)
        read_all(fs, shelf)
        size = sum(torrent.length for torrent in shelf)
        assert bytes_read(fs.pid) - began >= size, "a test that sees no hashing shows nothing"
        waiting.until("all is there", lambda: set(progress(fs).values()) == {1})
        fs.kill()
    # What was hashed in the meantime is that much less to be hashed, or is again: it is right.
    fs.start()
    read_all(fs, shelf)
    restart(fs, killed=False)
    began = bytes_read(fs.pid)
    read_all(fs, shelf)
    assert bytes_read(fs.pid) - began <= size * 1.5 + MIB, "after a clean end nothing is hashed"


def spoil(fs: Magnetfs, torrent: Torrent) -> int:
    """Changes a byte of the second piece of the first file that has several; gives its number."""
    piece = pieces_of(torrent, torrent.file("a/first.mkv"))[1]
    offset = piece * torrent.piece_length + 100
    with open(torrent.blob, "rb") as blob:
        right = os.pread(blob.fileno(), 1, offset)
    overwrite(store_file(fs, torrent), offset, bytes([right[0] ^ 0xFF]))
    return piece


def read_but(fs: Magnetfs, torrent: Torrent, bad: int) -> None:
    """Reads piece by piece: all is right but one, which fails."""
    failed = []
    for file in torrent.files:
        fd = os.open(fs.directory(torrent) / file.path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            for piece in pieces_of(torrent, file):
                at = max(0, piece * torrent.piece_length - file.offset)
                end = min(file.length, (piece + 1) * torrent.piece_length - file.offset)
                try:
                    got = read_exactly(fd, at, end - at)
                except OSError as problem:
                    assert errno_name(problem.errno or 0) == "EIO"
                    failed.append(piece)
                    continue
                assert got == torrent.read(file.path, at, end - at), f"{file.path} at {at}"
        finally:
            os.close(fd)
    assert failed == [bad], f"{torrent.name}: {failed}"


@pytest.mark.deadline(120)
def test_what_was_changed_behind_its_back_is_noticed_after_kill_9(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: list[Torrent]
) -> None:
    """Without a seeder that piece can't be read, with one it is right; the wrong is never given."""
    fs = magnetfs("--read-timeout", "20", http=False, allow=[AFTER_KILL])
    add_shelf(fs, shelf, seeder)
    read_all(fs, shelf)
    time.sleep(SAVED_S)  # the promise is in time
    fs.kill()
    seeder.kill()
    bad = [spoil(fs, torrent) for torrent in shelf]
    fs.options = ["--read-timeout", SHORT]
    fs.start()
    for torrent, piece in zip(shelf, bad):
        read_but(fs, torrent, piece)
    time.sleep(SAVED_S)  # the next start must know what was found
    for killed in (True, False):
        restart(fs, killed)
        read_but(fs, shelf[0], bad[0])
    fs.stop()
    fs.options = ["--read-timeout", "20"]
    fs.start()
    seeder.come_back()
    for torrent in shelf:
        fs.add(torrent.magnet(seeder))
    read_all(fs, shelf)
    sent = sum(seeder.sent(torrent) for torrent in shelf)
    assert sent <= sum(torrent.piece_length + SPARE for torrent in shelf), "but what was missing"


def test_with_a_seeder_what_was_changed_is_read_right_after_kill_9(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: list[Torrent]
) -> None:
    fs = magnetfs("--read-timeout", "20", http=False, allow=[AFTER_KILL])
    add_shelf(fs, shelf, seeder)
    read_all(fs, shelf)
    time.sleep(SAVED_S)  # the promise is in time
    fs.kill()
    for torrent in shelf:
        spoil(fs, torrent)
    fs.start()
    for torrent in shelf:
        fs.add(torrent.magnet(seeder))
    read_all(fs, shelf)


# -- moving house ----------------------------------------------------------------------------------


def test_the_cache_folder_can_be_moved(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: list[Torrent], folder: Path
) -> None:
    fs = magnetfs("--read-timeout", "20", http=False)
    add_shelf(fs, shelf, seeder)
    read_all(fs, shelf)
    before = shown(fs)
    fs.stop()
    seeder.kill()
    elsewhere = folder / "elsewhere" / "cache"
    elsewhere.parent.mkdir()
    shutil.move(fs.cache, elsewhere)
    fs.cache = elsewhere
    fs.options = ["--read-timeout", SHORT]
    fs.start()
    assert shown(fs) == before
    assert set(progress(fs).values()) == {1}
    read_all(fs, shelf)


@pytest.mark.parametrize("killed", [False, True], ids=["clean", "killed"])
@pytest.mark.parametrize("what", ["one", "all", "folder"])
def test_a_store_that_was_deleted_is_fetched_again(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    shelf: list[Torrent],
    what: str,
    killed: bool,
) -> None:
    fs = magnetfs(
        "--read-timeout", "20", http=False, allow=[AFTER_KILL, "is gone; it is fetched again"]
    )
    add_shelf(fs, shelf, seeder)
    read_all(fs, shelf)
    before = shown(fs)
    if killed:
        time.sleep(SAVED_S)  # the promise is in time
        fs.kill()
    else:
        fs.stop()
    lost = shelf[:1] if what == "one" else shelf
    if what == "folder":
        shutil.rmtree(fs.cache)
    else:
        for torrent in lost:
            store_file(fs, torrent).unlink()
    fs.start()
    assert shown(fs) == before
    for torrent in lost:
        fs.add(torrent.magnet(seeder))
    read_all(fs, shelf)
    waiting.until("all is there", lambda: set(progress(fs).values()) == {1})
    assert len(stores(fs)) == len(shelf)


def test_a_store_that_was_cut_short_is_fetched_again_where_it_was_cut(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: list[Torrent]
) -> None:
    fs = magnetfs("--read-timeout", "20", http=False)
    torrent = shelf[1]
    add_shelf(fs, [torrent], seeder)
    read_all(fs, [torrent])
    fs.stop(signal.SIGINT)
    sent = seeder.sent(torrent)
    os.truncate(store_file(fs, torrent), 3 * torrent.piece_length)
    fs.start()
    fs.add(torrent.magnet(seeder))
    read_all(fs, [torrent])
    assert seeder.sent(torrent) - sent <= torrent.length - 3 * torrent.piece_length + SPARE


def test_without_peers_a_missing_piece_of_a_restored_torrent_is_an_error(
    magnetfs: Callable[..., Magnetfs], shelf: list[Torrent]
) -> None:
    fs = magnetfs("--read-timeout", SHORT, http=False)
    fs.add(shelf[0].metainfo)
    restart(fs, killed=False)
    path = fs.directory(shelf[0]) / "tiny.txt"
    assert errno_name(errno_of(path.read_bytes)) == "EIO"
