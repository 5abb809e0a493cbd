"""An outage that lasts longer than reads may wait: a scanner on the mount is told, a stream that
somebody listens to goes on."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.mount import Magnetfs, errno_name, errno_of
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target

READ_TIMEOUT_S = 2
OUTAGE_S = 4 * READ_TIMEOUT_S
BEGUN = 512 * KIB


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mkv", 8 * MIB, seed=1601, piece_length=128 * KIB)


@pytest.fixture
def hasty(magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    return magnetfs("--read-timeout", str(READ_TIMEOUT_S))


def open_data(fs: Magnetfs, torrent: Torrent) -> int:
    path = fs.torrent_folder(torrent.info_hash) / "data" / torrent.name
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def far_read(path: Path) -> str:
    """What becomes of a read of what is not there, and how long it takes: the errno's name."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return errno_name(errno_of(os.pread, fd, 4096, 7 * MIB))
    finally:
        os.close(fd)


@pytest.mark.deadline(90)
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_stream_goes_on_after_an_outage(
    hasty: Magnetfs, seeder: Seeder, film: Torrent, killed: bool
) -> None:
    assert hasty.web
    path = hasty.add_torrent(film, seeder.seed(film, upload_limit=MIB)) / film.name
    got = hasty.folder / "got"
    with subprocess.Popen(
        ["curl", "-sS", "--fail", "-N", "-o", got, hasty.web.base + stream_target(film, film.name)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as curl:
        try:
            waiting.until("it began", lambda: got.exists() and got.stat().st_size >= BEGUN, 20)
            seeder.kill() if killed else seeder.freeze()
            began = time.monotonic()
            assert far_read(path) == "EIO"
            assert time.monotonic() - began >= READ_TIMEOUT_S - 0.2
            # From here on reads fail at once; who polls does not come to know of that.
            began = time.monotonic()
            assert far_read(path) == "EIO"
            assert time.monotonic() - began <= 0.5
            fd = open_data(hasty, film)
            try:
                assert errno_name(errno_of(os.pread, fd, 4096, 6 * MIB)) == "EAGAIN"
                assert not waiting.readable(fd, OUTAGE_S)
                assert errno_name(errno_of(os.pread, fd, 4096, 6 * MIB)) == "EAGAIN"
                assert curl.poll() is None, curl.stderr.read() if curl.stderr else ""
                if killed:
                    seeder.come_back()
                else:
                    seeder.thaw()
                assert curl.wait(40) == 0, curl.stderr.read() if curl.stderr else ""
                assert got.read_bytes() == film.read(film.name)
                assert waiting.readable(fd, 5)
                assert os.pread(fd, 4096, 6 * MIB) == film.read(film.name, 6 * MIB, 4096)
            finally:
                os.close(fd)
        finally:
            curl.kill()


def test_its_end_ends_a_stream(hasty: Magnetfs, film: Torrent) -> None:
    """Removed while somebody waits for its first byte, that one hears of it."""
    hasty.add(film.metainfo)
    fd = open_data(hasty, film)
    try:
        assert errno_name(errno_of(os.pread, fd, 4096, 0)) == "EAGAIN"
        assert not waiting.readable(fd, READ_TIMEOUT_S + 1)
        hasty.remove(film.info_hash)
        assert waiting.readable(fd, 2)
        assert errno_name(errno_of(os.pread, fd, 4096, 0)) == "EIO"
    finally:
        os.close(fd)


# -- no room ---------------------------------------------------------------------------------------


@pytest.fixture
def pinned(
    magnetfs: Callable[..., Magnetfs], seeders: Callable[[], Seeder], torrents: TorrentMaker
) -> Magnetfs:
    """A cache full of what is pinned, but for some three pieces."""
    fs = magnetfs("--read-timeout", "20", "--cache-size", "12M")
    other = torrents.single("other.bin", 8 * MIB, seed=1602, piece_length=MIB)
    path = fs.add_torrent(other, seeders().seed(other)) / other.name
    assert path.read_bytes() == other.read(other.name)
    assert fs.ctl("pin", other.info_hash).returncode == 0
    return fs


def test_the_first_read_is_told_that_there_is_no_room(
    pinned: Magnetfs, seeder: Seeder, film: Torrent
) -> None:
    """So a server can say it in its head. One that plays hears of it by poll()."""
    pinned.add_torrent(film, seeder.seed(film))
    assert pinned.ctl("pin", film.info_hash).returncode == 0
    fd = open_data(pinned, film)
    got = 0
    end = time.monotonic() + 30
    try:
        while time.monotonic() < end:
            try:
                got += len(os.pread(fd, 64 * KIB, got))
            except BlockingIOError:
                assert waiting.readable(fd, 10), f"nothing after {got} bytes"
            except OSError as problem:
                assert errno_name(problem.errno or 0) == "ENOSPC"
                break
        assert MIB <= got < film.length
        other = open_data(pinned, film)
        try:
            began = time.monotonic()
            assert errno_name(errno_of(os.pread, other, 4096, 7 * MIB)) == "ENOSPC"
            assert time.monotonic() - began <= 1
        finally:
            os.close(other)
    finally:
        os.close(fd)
