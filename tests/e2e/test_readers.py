"""What is read is fetched, for each reader, and nothing else: the seeder counts what it sent."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.reading import assert_same, read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target

PIECE = 256 * KIB
WINDOW = 32 * MIB  # DESIGN.md: at most this much ahead of one reader
SLACK = 4 * PIECE  # pieces at the borders of what was read


@pytest.fixture(scope="module")
def movie(torrents: TorrentMaker) -> Torrent:
    return torrents.single("movie.mkv", 200 * MIB, seed=51, piece_length=PIECE)


def sent_in_all(seeder: Seeder, torrent: Torrent) -> int:
    """What the seeder has sent once nothing more is under way."""
    return waiting.settled("the seeder's bytes", lambda: seeder.sent(torrent))


def test_a_probe_costs_the_pieces_it_touches(fs: Magnetfs, seeder: Seeder, movie: Torrent) -> None:
    path = fs.add_torrent(movie, seeder.seed(movie)) / "movie.mkv"
    assert sent_in_all(seeder, movie) == 0, "nobody has read anything yet"
    fd = os.open(path, os.O_RDONLY)
    try:
        assert read_exactly(fd, 100 * MIB, 64 * KIB) == movie.read("movie.mkv", 100 * MIB, 64 * KIB)
        assert sent_in_all(seeder, movie) <= 2 * PIECE
        straddling = 50 * MIB - 32 * KIB
        assert read_exactly(fd, straddling, 64 * KIB) == movie.read(
            "movie.mkv", straddling, 64 * KIB
        )
        assert sent_in_all(seeder, movie) <= 5 * PIECE
    finally:
        os.close(fd)


def test_a_scan_of_stat_and_listings_costs_nothing(
    fs: Magnetfs, seeder: Seeder, movie: Torrent
) -> None:
    directory = fs.add_torrent(movie, seeder.seed(movie))
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent) / name
            os.stat(path)
            os.close(os.open(path, os.O_RDONLY))
            for attribute in ("infohash", "progress", "have_bytes", "peers", "state", "kept"):
                os.getxattr(path, f"user.magnetfs.{attribute}")
    assert sent_in_all(seeder, movie) == 0


def test_a_reader_that_stops_costs_no_more_than_its_window(
    fs: Magnetfs, seeder: Seeder, movie: Torrent
) -> None:
    path = fs.add_torrent(movie, seeder.seed(movie)) / "movie.mkv"
    fd = os.open(path, os.O_RDONLY)
    try:
        assert read_exactly(fd, 0, 20 * MIB) == movie.read("movie.mkv", 0, 20 * MIB)
        sent = sent_in_all(seeder, movie)
        assert 20 * MIB <= sent <= 20 * MIB + WINDOW + SLACK, f"{sent / MIB:.1f} MiB sent"
    finally:
        os.close(fd)
    assert sent_in_all(seeder, movie) == sent, "a closed file wants nothing"


def test_closing_lowers_what_only_that_reader_wanted(
    fs: Magnetfs, seeder: Seeder, movie: Torrent
) -> None:
    """A slow swarm: the window is still on its way when the reader goes."""
    path = fs.add_torrent(movie, seeder.seed(movie, upload_limit=4 * MIB)) / "movie.mkv"
    fd = os.open(path, os.O_RDONLY)
    try:
        assert read_exactly(fd, 0, 6 * MIB) == movie.read("movie.mkv", 0, 6 * MIB)
    finally:
        os.close(fd)
    seeder.limit(movie, 0)
    sent = sent_in_all(seeder, movie)
    # what was asked for already may come: a second of the link, and pieces begun
    assert sent <= 6 * MIB + 8 * MIB + SLACK, f"{sent / MIB:.1f} MiB sent for 6 MiB read"


def test_two_places_of_one_file_are_read_at_once(
    fs: Magnetfs, seeder: Seeder, movie: Torrent
) -> None:
    path = fs.add_torrent(movie, seeder.seed(movie, upload_limit=12 * MIB)) / "movie.mkv"
    length = 12 * MIB
    results: dict[int, bytes] = {}
    finished: list[int] = []

    def read_at(offset: int) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            parts = []
            for at in range(offset, offset + length, 128 * KIB):
                parts.append(read_exactly(fd, at, 128 * KIB))
                progress[offset] = at - offset
            results[offset] = b"".join(parts)
        finally:
            finished.append(offset)
            others[offset] = dict(progress)
            os.close(fd)

    progress = {0: 0, 120 * MIB: 0}
    others: dict[int, dict[int, int]] = {}
    threads = [threading.Thread(target=read_at, args=(offset,)) for offset in progress]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive(), f"a reader starves: {progress}"
    for offset in progress:
        assert results[offset] == movie.read("movie.mkv", offset, length)
    first = finished[0]
    other = next(offset for offset in progress if offset != first)
    assert others[first][other] >= length // 8, "the other one stood still all the while"
    sent = sent_in_all(seeder, movie)
    assert 2 * length <= sent <= 2 * (length + WINDOW) + SLACK, f"{sent / MIB:.1f} MiB sent"


def test_one_handle_reads_at_two_places_in_turn(
    fs: Magnetfs, seeder: Seeder, movie: Torrent
) -> None:
    """As a player does whose film has its sound behind its pictures: one window for both places."""
    path = fs.add_torrent(movie, seeder.seed(movie, upload_limit=12 * MIB)) / "movie.mkv"
    places, length, step = (0, 120 * MIB), 8 * MIB, 128 * KIB
    parts: dict[int, list[bytes]] = {place: [] for place in places}
    fd = os.open(path, os.O_RDONLY)
    try:
        for at in range(0, length, step):
            for place in places:
                parts[place].append(read_exactly(fd, place + at, step))
        for place in places:
            assert b"".join(parts[place]) == movie.read("movie.mkv", place, length)
        sent = sent_in_all(seeder, movie)
        assert 2 * length <= sent <= 2 * length + WINDOW + 2 * SLACK, f"{sent / MIB:.1f} MiB sent"
        # both places are played at: what follows on each of them is there
        assert sent >= 2 * length + 2 * 2 * MIB, f"{sent / MIB:.1f} MiB sent"
        for place in places:
            read_exactly(fd, place + length, 2 * MIB)
    finally:
        os.close(fd)


def test_a_scan_that_was_there_first_comes_behind_a_player(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Each piece takes the link 4 s, and the player is at the next one after 5."""
    film = torrents.single("beside.mkv", 32 * MIB, seed=58, piece_length=4 * MIB)
    path = fs.add_torrent(film, seeder.seed(film, upload_limit=MIB)) / film.name
    step, rate, far = 64 * KIB, 0.8 * MIB, 20 * MIB
    scanned: list[bytes] = []

    def scan() -> None:
        with open(path, "rb", buffering=0) as other:
            scanned.append(read_exactly(other.fileno(), far, step))

    thread = threading.Thread(target=scan)
    with open(path, "rb", buffering=0) as stream:
        assert read_exactly(stream.fileno(), 0, step) == film.read(film.name, 0, step)
        thread.start()
        waiting.until("the scan waits", lambda: fs.status()["parkedReads"] == 1)
        began = time.monotonic()
        for at in range(step, 4 * MIB + step, step):
            time.sleep(max(0.0, began + at / rate - time.monotonic()))  # its buffer is full
            assert read_exactly(stream.fileno(), at, step) == film.read(film.name, at, step)
        assert not scanned, "the scan's piece came before the player's next one"
        thread.join(30)
    assert scanned == [film.read(film.name, far, step)]


def test_two_readers_of_one_place_fetch_it_once(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("both.bin", 16 * MIB, seed=52)
    path = fs.add_torrent(torrent, seeder.seed(torrent, upload_limit=8 * MIB)) / "both.bin"
    problems: list[BaseException] = []

    def read_all() -> None:
        try:
            assert_same(path, torrent, "both.bin")
        except BaseException as problem:  # a thread's failure is the test's
            problems.append(problem)

    threads = [threading.Thread(target=read_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not problems and not any(thread.is_alive() for thread in threads), problems
    assert seeder.sent(torrent) <= torrent.length + SLACK


def test_a_jump_drops_the_old_window(fs: Magnetfs, seeder: Seeder, movie: Torrent) -> None:
    path = fs.add_torrent(movie, seeder.seed(movie, upload_limit=6 * MIB)) / "movie.mkv"
    fd = os.open(path, os.O_RDONLY)
    try:
        read_exactly(fd, 0, 6 * MIB)
        assert read_exactly(fd, 150 * MIB, 64 * KIB) == movie.read("movie.mkv", 150 * MIB, 64 * KIB)
        before = seeder.sent(movie)
        seeder.limit(movie, 0)
        after = sent_in_all(seeder, movie)
        assert after - before <= 8 * MIB + SLACK, f"{(after - before) / MIB:.1f} MiB for a probe"
    finally:
        os.close(fd)


@pytest.mark.parametrize("fill", ["file", "torrent"])
def test_fill_fetches_what_it_says(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker, fill: str
) -> None:
    torrent = torrents.multi("filled", [("one.bin", 6 * MIB), ("two.bin", 6 * MIB)], seed=53)
    fs = magnetfs("--read-timeout", "20", "--fill", fill)
    directory = fs.add_torrent(torrent, seeder.seed(torrent))
    fd = os.open(directory / "one.bin", os.O_RDONLY)
    try:
        assert len(read_exactly(fd, 0, 4096)) == 4096
        wanted = 6 * MIB if fill == "file" else torrent.length
        waiting.until("the fill", lambda: fs.torrent(torrent.info_hash)["haveBytes"] >= wanted, 30)
        if fill == "file":
            assert sent_in_all(seeder, torrent) <= 6 * MIB + SLACK
    finally:
        os.close(fd)


@pytest.mark.parametrize("fill", ["file", "torrent"])
@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_a_fill_goes_on_over_a_restart(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    torrents: TorrentMaker,
    fill: str,
    killed: bool,
) -> None:
    """Nobody reads it any more, and it sleeps as soon as it may."""
    torrent = torrents.multi("resumed", [("one.bin", 6 * MIB), ("two.bin", 6 * MIB)], seed=57)
    fs = magnetfs(
        *("--read-timeout", "20", "--fill", fill, "--idle-timeout", "1"),
        allow=["magnetfs did not end by itself", "Cleared the dead mount"],
    )
    directory = fs.add_torrent(torrent, seeder.seed(torrent, upload_limit=MIB))
    with open(directory / "one.bin", "rb", buffering=0) as stream:
        assert stream.read(4096) == torrent.read("one.bin", 0, 4096)
    time.sleep(3)  # more than the idle time, and until the catalog has been told
    status = fs.torrent(torrent.info_hash)
    wanted = 6 * MIB if fill == "file" else torrent.length
    assert status["state"] == "awake" and 0 < status["haveBytes"] < wanted, status
    if killed:
        fs.kill()
        waiting.until("its helper and sidecar have ended", lambda: not fs.processes())
    else:
        fs.stop()
    seeder.limit(torrent, 0)
    fs.start()
    waiting.until(
        "the fill, and its sleep",
        lambda: (status := fs.torrent(torrent.info_hash))["haveBytes"] >= wanted
        and status["state"] == "asleep",
        60,
    )
    assert fs.torrent(torrent.info_hash)["haveBytes"] == wanted
    assert_same(directory / "one.bin", torrent, "one.bin")


def test_a_fill_goes_on_without_a_reader_when_there_is_room_again(
    magnetfs: Callable[..., Magnetfs], seeders: Callable[[], Seeder], torrents: TorrentMaker
) -> None:
    """Two that are kept do not fit together; the second is whole once the first has gone."""
    first = torrents.single("first.bin", 10 * MIB, seed=55, piece_length=PIECE)
    second = torrents.single("second.bin", 10 * MIB, seed=56, piece_length=PIECE)
    fs = magnetfs("--read-timeout", "20", "--fill", "torrent", "--cache-size", "16M")

    def have(torrent: Torrent) -> int:
        return fs.torrent(torrent.info_hash)["haveBytes"]

    def touch(torrent: Torrent) -> None:
        path = fs.add_torrent(torrent, seeders().seed(torrent)) / torrent.name
        with open(path, "rb", buffering=0) as stream:
            assert stream.read(4096) == torrent.read(torrent.name, 0, 4096)

    touch(first)
    waiting.until("the first is whole", lambda: have(first) == first.length, 30)
    touch(second)
    # A sixteenth of the cache is for those who read.
    waiting.until("no room is left", lambda: have(second) >= 4.5 * MIB, 30)
    assert waiting.settled("what the second has", lambda: have(second)) <= 6 * MIB
    fs.remove(first.info_hash)
    waiting.until("the second is whole", lambda: have(second) == second.length, 30)


@pytest.mark.parametrize("face", ["mount", "stream"])
def test_a_film_in_many_small_requests_does_not_stall(
    fs: Magnetfs, seeders: Callable[[], Seeder], torrents: TorrentMaker, face: str
) -> None:
    """Each 64 KiB with a file, or a request, of its own: as AVPlayer, Kodi and proxies ask."""
    rate, step, seconds = 0.76 * MIB, 64 * KIB, 10
    film = torrents.single(f"small-{face}.mkv", 40 * MIB, seed=57, piece_length=2 * MIB)
    path = fs.add_torrent(film, seeders().seed(film, upload_limit=MIB)) / film.name

    def read(offset: int) -> bytes:
        if face == "mount":
            with open(path, "rb", buffering=0) as stream:
                return read_exactly(stream.fileno(), offset, step)
        assert fs.web
        answer = fs.web.get(
            stream_target(film, film.name), Range=f"bytes={offset}-{offset + step - 1}"
        )
        assert answer.status == 206
        return answer.body

    position, stalled = 0, 0.0
    while position < rate:  # a second of film in hand
        assert read(position) == film.read(film.name, position, step)
        position += step
    shown = time.monotonic()
    while position < rate * seconds:
        ahead = shown + position / rate - 1 - time.monotonic()
        time.sleep(max(0.0, ahead))  # the player's buffer is full
        assert read(position) == film.read(film.name, position, step)
        position += step
        late = time.monotonic() - (shown + position / rate)
        if late > 0:
            stalled += late
            shown += late
    assert stalled <= 0.5, f"the picture stood still for {stalled:.1f} of {seconds} s"


def test_the_kernel_reads_further_ahead_of_complete_files(fs: Magnetfs) -> None:
    """128 KiB at first; only root may raise it."""
    device = os.stat(fs.mountpoint).st_dev
    kib = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    if os.geteuid() != 0 or not os.access(kib, os.W_OK):
        pytest.skip("may not raise it")
    waiting.until("more to be read ahead", lambda: int(kib.read_text()) == 2048)
