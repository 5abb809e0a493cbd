"""Peers of different rates: who is asked for what a reader waits for, and nobody who would be late."""

from __future__ import annotations

import os
import threading
import time
from urllib.parse import quote

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.reading import read_exactly
from harness.rogue import RoguePeer, Rogues
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web_seed import WebSeed

PIECE = 256 * KIB
SLOW = 32 * KIB  # bytes a second: half a second for a block
QUICK = 4 * MIB
SEEKS = 8
# A look every 125 ms lets one that is late be asked for a block, which libtorrent may do then.
STRAY = 2


def honest(rogues: Rogues, torrent: Torrent, rate: int, has: range | None = None) -> RoguePeer:
    return rogues(torrent, rate=rate, garbage=0.0, has=has)


def opened(
    fs: Magnetfs,
    torrent: Torrent,
    request: pytest.FixtureRequest,
    *peers: object,
    web_seed: str | None = None,
) -> int:
    fs.add(torrent.metainfo)
    fs.add(torrent.magnet(*peers) + (f"&ws={quote(web_seed, safe='')}" if web_seed else ""))
    fs.files(torrent.info_hash)
    fd = os.open(fs.directory(torrent) / torrent.name, os.O_RDONLY)
    request.addfinalizer(lambda: os.close(fd))
    return fd


def read(fd: int, torrent: Torrent, offset: int, length: int) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    data = read_exactly(fd, offset, length)
    took = time.monotonic() - began
    assert data == torrent.read(torrent.name, offset, length), f"wrong bytes at {offset}"
    return took


def test_one_that_would_be_late_is_not_asked_for_what_a_reader_waits_for(
    fs: Magnetfs, rogues: Rogues, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    torrent = torrents.single("late.bin", 64 * MIB, seed=401, piece_length=PIECE)
    quick, slow = honest(rogues, torrent, QUICK), honest(rogues, torrent, SLOW)
    fd = opened(fs, torrent, request, quick, slow)
    read(fd, torrent, 0, 12 * MIB)  # what both give is known
    assert sum(slow.asked().values()) > 0, "the slow one takes part in what nobody waits for"
    sought = [80 + 20 * number for number in range(SEEKS)]
    for piece in sought:
        read(fd, torrent, piece * PIECE, 64 * KIB)
    asked, all_blocks = slow.asked(), PIECE // (16 * KIB)
    late = [piece for piece in sought if asked.get(piece, 0) > 0]
    assert len(late) <= STRAY, f"asked of the slow one: {[asked[piece] for piece in late]}"
    assert all(quick.asked().get(piece, 0) >= all_blocks for piece in sought if piece not in late)


def test_two_readers_of_peers_that_have_different_parts(
    fs: Magnetfs, rogues: Rogues, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """The one that is slow is no worse for another being quick that has nothing of its part."""
    torrent = torrents.single("parts.bin", 32 * MIB, seed=402, piece_length=PIECE)
    pieces = torrent.length // PIECE
    half = pieces // 2
    quick = honest(rogues, torrent, QUICK, range(half))
    slow = honest(rogues, torrent, 256 * KIB, range(half, pieces))
    fd = opened(fs, torrent, request, quick, slow)
    took: dict[str, float] = {}
    problems: list[BaseException] = []

    def reads(name: str, offset: int, length: int) -> None:
        try:
            took[name] = read(fd, torrent, offset, length)
        except BaseException as problem:
            problems.append(problem)

    both = [
        threading.Thread(target=reads, args=("quick", 0, 12 * MIB)),
        threading.Thread(target=reads, args=("slow", half * PIECE, MIB)),
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert not problems, problems
    # The quick one took 4 to 8 seconds alone; at the other's rate it would take 48.
    assert max(took.values()) <= 20.0, took


def test_one_that_answers_no_cancel_is_there_for_the_next_seek(
    fs: Magnetfs, rogues: Rogues, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """It is not hung up on between two of them: the other one would take eight seconds."""
    torrent = torrents.single("mute.bin", 128 * MIB, seed=407, piece_length=PIECE)
    quick, slow = honest(rogues, torrent, QUICK), honest(rogues, torrent, SLOW)
    fd = opened(fs, torrent, request, quick, slow)
    read(fd, torrent, 0, 12 * MIB)
    pieces = torrent.length // PIECE
    took = [
        read(fd, torrent, (60 + 157 * number % (pieces - 80)) * PIECE, 64 * KIB)
        for number in range(60)
    ]
    assert max(took) <= 3.0, f"{took}, connections: {quick.done()}, {slow.done()}"


def test_pieces_are_asked_for_one_after_the_other(
    fs: Magnetfs, rogues: Rogues, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """A reader that takes all it gets comes to no piece that was asked for behind later ones. Those
    would be taken back for it, and come twice: of ctorrent, which has no BEP 6, either."""
    torrent = torrents.single("order.bin", 48 * MIB, seed=408, piece_length=MIB)
    only = rogues(torrent, rate=12 * MIB, garbage=0.0, fast=False)
    fd = opened(fs, torrent, request, only)
    read(fd, torrent, 0, torrent.length)
    asked = only.asked()
    # Four that are asked for in one go may have one rank.
    assert all(abs(piece - at) <= 3 for at, piece in enumerate(asked)), list(asked)
    assert set(asked.values()) == {MIB // (16 * KIB)}, asked


@pytest.mark.parametrize("pause", [0.7, 1.0])
def test_what_a_peer_owes_that_was_silent_for_a_moment_is_not_asked_for_again(
    fs: Magnetfs,
    rogues: Rogues,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
    pause: float,
) -> None:
    """Wireless links and lost segments make such pauses. Without BEP 6 all of it may come twice."""
    torrent = torrents.single("pauses.bin", 32 * MIB, seed=409, piece_length=MIB)
    only = rogues(torrent, rate=8 * MIB, garbage=0.0, fast=False)
    request.addfinalizer(only.thaw)
    fd = opened(fs, torrent, request, only)
    for offset in range(0, torrent.length, 8 * MIB):
        read(fd, torrent, offset, 7 * MIB)
        only.freeze()
        thaw = threading.Timer(pause, only.thaw)
        thaw.start()
        read(fd, torrent, offset + 7 * MIB, MIB)
        thaw.join()
    asked = only.asked()
    assert set(asked.values()) == {MIB // (16 * KIB)}, asked


@pytest.mark.parametrize("other", ["frozen", "web seed"])
def test_a_torrent_of_one_piece_beside_one_who_gives_nothing(
    fs: Magnetfs,
    rogues: Rogues,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
    other: str,
) -> None:
    """Nothing is left to be the anchor."""
    torrent = torrents.single(f"one-{other}.bin", MIB, seed=404, piece_length=MIB)
    giver = honest(rogues, torrent, MIB)
    if other == "frozen":
        silent = Seeder("127.0.0.2")
        request.addfinalizer(silent.close)
        silent.seed(torrent).freeze()
        fd = opened(fs, torrent, request, silent, giver)
    else:
        seed = WebSeed()
        request.addfinalizer(seed.close)
        url = seed.serve(torrent)
        seed.freeze()
        request.addfinalizer(seed.thaw)
        fd = opened(fs, torrent, request, giver, web_seed=url)
    took = read(fd, torrent, 0, MIB)
    assert took <= 8.0, f"{took:.1f} s for what the one gives in a second"


def test_a_holder_that_leaves_while_another_is_idle(
    fs: Magnetfs, rogues: Rogues, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """What one had of a piece is asked of the other at once, not when that has given something."""
    torrent = torrents.single("leaves.bin", 16 * MIB, seed=406, piece_length=PIECE)
    leaves, stays = honest(rogues, torrent, 64 * KIB), honest(rogues, torrent, QUICK)
    fd = opened(fs, torrent, request, leaves, stays)
    read(fd, torrent, 0, 4 * MIB)
    waiting.until("it is asked", lambda: leaves.done()["asked"] > 0)
    leaves.close()
    worst = max(read(fd, torrent, offset, PIECE) for offset in range(4 * MIB, 12 * MIB, PIECE))
    assert worst <= 3.0, f"a gap of {worst:.1f} s"
