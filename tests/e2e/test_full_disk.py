"""A full disk: reads end in ENOSPC and go on when there is room; no byte is lost or wrong."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import BinaryIO, Callable, Iterator

import pytest

from harness import waiting
from harness.mount import Magnetfs, errno_name, errno_of
from harness.reading import Parked, assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs: root only")

DISK = 8 * MIB
OPTIONS = ("--min-free", "0", "--cache-size", "1G", "--read-timeout", "20")


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of 8 MiB; torn down after the magnetfs that uses it."""
    path = folder / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture
def full(disk: Path, magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    """A magnetfs with its cache on that disk."""
    fs = magnetfs(*OPTIONS, start=False)
    fs.cache = disk / "cache"
    return fs.start()


def resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def fill(stream: BinaryIO) -> None:
    """Writes until there is no room left at all."""
    while True:
        stream.write(bytes(64 * KIB))


def read_once(fd: int, torrent: Torrent, name: str, offset: int) -> int:
    """One read there, compared: how many bytes it gave, 0 where the disk is full."""
    try:
        part = os.pread(fd, 128 * KIB, offset)
    except OSError as problem:
        assert errno_name(problem.errno or 0) == "ENOSPC"
        return 0
    assert part and part == torrent.read(name, offset, len(part)), f"wrong at {offset}"
    return len(part)


def read_until_full(fd: int, torrent: Torrent, name: str) -> int:
    """Reads from the start until a read fails, and returns where that was."""
    offset = 0
    while got := read_once(fd, torrent, name, offset):
        offset += got
    return offset


def test_reads_end_in_enospc_and_go_on_when_the_disk_has_grown(
    full: Magnetfs, disk: Path, seeder: Seeder, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("toolarge.bin", 24 * MIB, seed=171)
    path = full.add_torrent(torrent, seeder.seed(torrent)) / "toolarge.bin"
    fd = os.open(path, os.O_RDONLY)
    try:
        got = read_until_full(fd, torrent, "toolarge.bin")
        assert DISK // 2 <= got <= DISK
        assert full.store_blocks() <= DISK
        assert read_once(fd, torrent, "toolarge.bin", got) == 0, "and again"
        assert os.pread(fd, 1000, 0) == torrent.read("toolarge.bin", 0, 1000), "what is there stays"

        resize(disk, 64 * MIB)
        # The disk is looked at a few times a second.
        waiting.until("reads go on", lambda: read_once(fd, torrent, "toolarge.bin", got))
    finally:
        os.close(fd)
    assert_same(path, torrent, "toolarge.bin")
    assert full.torrent(torrent.info_hash)["progress"] == 1
    # What was on the full disk was not fetched again (but for what was under way).
    assert seeder.sent(torrent) <= torrent.length + 4 * MIB


def test_a_write_that_fails_costs_no_room_and_its_piece_is_fetched_again(
    full: Magnetfs, disk: Path, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Others fill the disk while a piece that has its room is on its way."""
    torrent = torrents.single("late.bin", 3 * MIB, seed=172, piece_length=1 * MIB)
    full.add(torrent.metainfo)
    path = full.directory(torrent) / "late.bin"
    other = disk / "other"
    without = full.store_blocks()
    with Parked(path) as reader:
        full.wait_parked(1)
        assert full.status()["cache"]["usedBytes"] >= torrent.piece_length
        with open(other, "wb", buffering=0) as stream:
            assert errno_name(errno_of(fill, stream)) == "ENOSPC"
        seeder.seed(torrent).connect(torrent, full.bt_port)
        assert reader.line(15) == "failed ENOSPC"
    waiting.until("its room is given back", lambda: full.status()["cache"]["usedBytes"] == 0)
    waiting.until("its bytes are gone", lambda: full.store_blocks() == without)
    assert seeder.sent(torrent) > 0

    other.unlink()
    waiting.until("there is room again", lambda: reads(path, torrent))
    assert_same(path, torrent, "late.bin")


def reads(path: Path, torrent: Torrent) -> bool:
    """Whether the file can be read now."""
    with open(path, "rb", buffering=0) as stream:
        return read_once(stream.fileno(), torrent, path.name, 0) > 0
