"""No byte but a verified one, whatever is evicted meanwhile: a hole is never taken for content.

MAGNETFS_LONG=1: ten minutes of random reads.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.reading import assert_part, assert_same, read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.transmission import Transmission
from harness.web import stream_target

PROCESSES = Path(__file__).parent / "harness"
LONG = os.environ.get("MAGNETFS_LONG") == "1"
RANDOM_S = 600 if LONG else 20
BEYOND_S = 60  # what may come besides
BOUND = 16 * MIB
CACHE = ("--cache-size", str(BOUND), "--min-free", "0")
PATIENT = ("--read-timeout", "30")
PIECE = 256 * KIB
BLOCK = 64 * KIB


def have(fs: Magnetfs, torrent: Torrent) -> int:
    return fs.torrent(torrent.info_hash)["haveBytes"]


def evicted(fs: Magnetfs) -> int:
    return fs.status()["cache"]["evictedPieces"]


@pytest.mark.deadline(RANDOM_S + BEYOND_S + 30)
def test_random_reads_beside_eviction_without_pause(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    fs = magnetfs(*CACHE, *PATIENT)
    film = torrents.single("random.mkv", 4 * BOUND + 12345, seed=1601, piece_length=PIECE)
    path = fs.add_torrent(film, seeder.seed(film)) / film.name
    assert fs.web
    url = fs.web.base + stream_target(film, film.name)
    seed = random.SystemRandom().randrange(1 << 30)
    done = subprocess.run(
        [sys.executable, str(PROCESSES / "random_reads_process.py")]
        + [str(path), str(film.blob), url, str(RANDOM_S), str(seed)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RANDOM_S + BEYOND_S,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.returncode}\n{done.stderr[-2000:]}"
    found = json.loads(done.stdout)
    assert set(found["reads"]) == {"held", "opened", "direct", "mapped", "sent", "streamed"}
    pieces = evicted(fs)
    assert pieces > film.length // PIECE, "it was evicted more than once"
    print(f"in {RANDOM_S} s: {found}, {pieces} pieces evicted")


# -- a file that was complete ----------------------------------------------------------------------


def by_read(fd: int, size: int) -> bytes:
    return read_exactly(fd, 0, size)


def by_sendfile(fd: int, size: int) -> bytes:
    target = os.memfd_create("sent")
    try:
        done = 0
        while moved := os.sendfile(target, fd, done, size - done):
            done += moved
        return os.pread(target, done, 0)
    finally:
        os.close(target)


def by_splice(fd: int, size: int) -> bytes:
    reader, writer = os.pipe()
    try:
        parts, done = [], 0
        while moved := os.splice(fd, writer, min(BLOCK, size - done), offset_src=done):
            done += moved
            while moved:
                parts.append(os.read(reader, moved))
                moved -= len(parts[-1])
        return b"".join(parts)
    finally:
        os.close(reader)
        os.close(writer)


WAYS: dict[str, Callable[[int, int], bytes]] = {
    "read": by_read,
    "sendfile": by_sendfile,
    "splice": by_splice,
}


class Mapping:
    """A process that has a file mapped, and touches its pages when it is told to."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROCESSES / "page_cache_process.py"), "map-then-read", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout and self._process.stdout.readline(), "it maps the file"

    def read(self, timeout: float = 60.0) -> tuple[int, str]:
        """How it ends, and the SHA-256 of what it has seen."""
        said, _ = self._process.communicate(b"\n", timeout)
        return self._process.returncode, said.decode().strip()

    def __enter__(self) -> Mapping:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def drop_pages(fd: int) -> None:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


class Watched:
    """A short film that was complete when it was opened, and a long one that pushes it out."""

    def __init__(self, fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker, seed: int) -> None:
        self.fs = fs
        self.short = torrents.single(f"short{seed}.mkv", 24 * PIECE, seed=seed, piece_length=PIECE)
        self.long = torrents.single(f"long{seed}.mkv", 3 * BOUND, seed=seed + 1)
        seeder.seed(self.short).seed(self.long)
        self.path = fs.add_torrent(self.short, seeder) / self.short.name
        self.other = fs.add_torrent(self.long, seeder) / self.long.name
        assert_same(self.path, self.short, self.short.name)
        assert have(fs, self.short) == self.short.length

    def push_out(self) -> None:
        assert_same(self.other, self.long, self.long.name)
        # The ends stay longer than the rest, and whoever reads may hold a piece or two.
        assert have(self.fs, self.short) <= self.short.length // 2


def test_what_was_complete_and_open_is_right_when_it_was_evicted(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    watched = Watched(magnetfs(*CACHE, *PATIENT), seeder, torrents, 1610)
    short, size = watched.short, watched.short.length
    whole = short.read(short.name)
    fd = os.open(watched.path, os.O_RDONLY)
    try:
        with Mapping(watched.path) as mapping:
            assert_part(fd, short, short.name, 0, size // 2)  # these pages the kernel has
            watched.push_out()
            assert by_read(fd, size) == whole, "half of it from the kernel's pages"
            for way, read in WAYS.items():
                watched.push_out()
                drop_pages(fd)
                assert read(fd, size) == whole, way
            watched.push_out()
            drop_pages(fd)
            assert mapping.read() == (0, short.sha256(short.name))
        assert_same(watched.path, short, short.name)
    finally:
        os.close(fd)


def test_what_nobody_has_any_more_is_an_error_and_no_zeros(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    watched = Watched(magnetfs(*CACHE, "--read-timeout", "1"), seeder, torrents, 1620)
    short = watched.short
    fd = os.open(watched.path, os.O_RDONLY)
    try:
        with Mapping(watched.path) as mapping:
            watched.push_out()
            seeder.kill()
            drop_pages(fd)
            failed = 0
            for offset in range(0, short.length, BLOCK):
                try:
                    got = os.pread(fd, BLOCK, offset)
                except OSError as problem:
                    assert problem.errno == errno.EIO
                    failed += 1
                else:
                    assert got == short.read(short.name, offset, BLOCK), f"wrong at {offset}"
            assert failed >= short.length // BLOCK // 2
            for way in ("sendfile", "splice"):
                drop_pages(fd)
                with pytest.raises(OSError) as raised:
                    WAYS[way](fd, short.length)
                assert raised.value.errno == errno.EIO, way
            assert mapping.read() == (-signal.SIGBUS, "")
    finally:
        os.close(fd)


# -- peers -----------------------------------------------------------------------------------------


class Reader:
    """A thread that plays a file at a rate, so that what others want from magnetfs goes; until the
    context ends or the file does."""

    def __init__(self, path: Path, torrent: Torrent, rate: float) -> None:
        self._path, self._torrent, self._rate = path, torrent, rate
        self._stop = threading.Event()
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _offsets(self) -> Iterator[int]:
        began = time.monotonic()
        for offset in range(0, self._torrent.length, BLOCK):
            self._stop.wait(max(0, began + offset / self._rate - time.monotonic()))
            yield offset

    def _run(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDONLY)
            try:
                for offset in self._offsets():
                    if self._stop.is_set():
                        break
                    length = min(BLOCK, self._torrent.length - offset)
                    assert_part(fd, self._torrent, self._torrent.name, offset, length)
            finally:
                os.close(fd)
        except BaseException as problem:
            self.problem = problem

    @property
    def reads(self) -> bool:
        return self._thread.is_alive()

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("client", ["libtorrent", "transmission"])
def test_a_peer_never_gets_a_hole(
    magnetfs: Callable[..., Magnetfs],
    seeders: Callable[..., Seeder],
    torrents: TorrentMaker,
    folder: Path,
    request: pytest.FixtureRequest,
    client: str,
) -> None:
    """It wants all of it, and magnetfs never has more than a third. Another has all, slowly.

    transmission-daemon looks each ten seconds at whom it wants to ask. It does not know BEP 54, and
    asks for what it was once told.
    """
    is_quick = client == "libtorrent"
    fs = magnetfs(*CACHE, *PATIENT)
    length = (3 if is_quick else 4) * BOUND
    film = torrents.single(f"wanted {client}.mkv", length, seed=1630, piece_length=PIECE)
    # Of two peers at one address transmission-daemon takes but the first.
    slow = seeders("127.0.0.2").seed(film, upload_limit=2 * MIB)
    path = fs.add_torrent(film, seeders().seed(film)) / film.name
    target = folder / "leech"
    peer: Seeder | Transmission
    if is_quick:  # all is played within seconds, and its process takes one to start
        peer = seeders().leech(film, target, download_limit=10 * MIB)
    with Reader(path, film, (12 if is_quick else 4) * MIB) as reader:
        if is_quick:
            waiting.until("it is evicted", lambda: evicted(fs) > 0, 30)
            peer.connect(film, fs.bt_port)
        else:
            peer = request.getfixturevalue("transmission").leech(film, target)
            fs.add(film.magnet(peer))
        slow.connect(film, peer.port)
        before = evicted(fs)

        def done() -> bool:
            return not reader.reads or peer.stats(film)["seeding"]

        waiting.until("it has all, or all is played", done, 45)
        during = evicted(fs) - before
    assert not reader.problem, reader.problem
    given = peer.stats(film)["got"] - slow.sent(film)
    slow.limit(film, 0)
    waiting.until("it has all", lambda: peer.stats(film)["seeding"], 20)
    assert (target / film.name).read_bytes() == film.read(film.name)
    stats = peer.stats(film)
    figures = f"{given} bytes of magnetfs, {during} pieces evicted after {before}; {stats}"
    assert stats["failed"] == 0 and stats.get("failures", 0) == 0, figures
    assert stats.get("bans", 0) == 0, figures
    assert during >= 40, f"eviction did not go on all the while: {figures}"
    assert given >= (2 * MIB if is_quick else 1), f"magnetfs gave little: {figures}"
    print(f"{client}: {figures}")
