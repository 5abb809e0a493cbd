"""A film larger than the cache whose only seed is transmission-daemon.

It takes a peer that has said of each piece that it has it for a seed, for good, and gives seeds
nothing; and it unchokes whoever calls anew in rounds of ten seconds. So a film that is played to
its end, and then backwards, takes one connection over which not all is said.
"""

from __future__ import annotations

import random
import time
from typing import Callable

import pytest

from harness.mount import Magnetfs
from harness.reading import assert_part, assert_same
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.transmission import Transmission

BOUND = 8 * MIB
CHUNK = 128 * KIB  # what programs ask for at a time
JUMPS = 12
ROUND_S = 10.0
STALL_S = 5.0  # less than a round; it sends each half second


class Player:
    """Reads parts of a film, and knows which of its reads took longest."""

    def __init__(self, fd: int, film: Torrent) -> None:
        self._fd = fd
        self._film = film
        self.worst: dict[str, float] = {}

    def read(self, what: str, offset: int, size: int, limit_s: float = STALL_S) -> None:
        begin = time.monotonic()
        assert_part(self._fd, self._film, self._film.name, offset, size)
        took = time.monotonic() - begin
        assert took < limit_s, f"{took:.1f} s for {size} bytes at {offset}, {what}"
        self.worst[what] = max(self.worst.get(what, 0.0), took)


@pytest.mark.parametrize("piece", [256 * KIB, MIB], ids=["256K", "1M"])
@pytest.mark.deadline(120)
def test_it_is_played_to_the_end_and_back_over_one_connection(
    magnetfs: Callable[..., Magnetfs],
    transmission: Transmission,
    torrents: TorrentMaker,
    piece: int,
) -> None:
    fs = magnetfs("--cache-size", str(BOUND), "--min-free", "0", "--read-timeout", "15")
    film = torrents.single(f"alone{piece}.mkv", 3 * BOUND, seed=1590, piece_length=piece)
    path = fs.add_torrent(film, transmission.seed(film)) / film.name
    chosen = random.Random(1591)
    with open(path, "rb", buffering=0) as stream:
        player = Player(stream.fileno(), film)
        player.read("first", 0, CHUNK, ROUND_S + STALL_S)  # it is unchoked within a round
        for offset in range(0, film.length, CHUNK):
            player.read("forwards", offset, CHUNK)
        for offset in reversed(range(0, film.length, MIB)):
            player.read("backwards", offset, MIB)
        for _ in range(JUMPS):
            player.read("jumps", chosen.randrange(film.length - CHUNK), CHUNK)
    evicted = fs.status()["cache"]["evictedBytes"]
    print(f"{evicted >> 20} MiB evicted, longest read: {player.worst}")
    assert evicted >= 2 * (film.length - BOUND)


@pytest.mark.deadline(120)
def test_what_it_gave_to_the_end_it_gives_again_to_who_removed_it(
    magnetfs: Callable[..., Magnetfs], transmission: Transmission, torrents: TorrentMaker
) -> None:
    """It knows a peer by its address, and gives one that has said that it has all of it nothing."""
    fs = magnetfs("--read-timeout", "30")
    film = torrents.single("again.mkv", BOUND, seed=1592, piece_length=256 * KIB)
    transmission.seed(film)
    for _ in range(2):
        path = fs.add_torrent(film, transmission) / film.name
        begin = time.monotonic()
        assert_same(path, film, film.name)
        assert time.monotonic() - begin < ROUND_S + STALL_S
        assert fs.torrent(film.info_hash)["progress"] == 1
        fs.remove(film.info_hash)
