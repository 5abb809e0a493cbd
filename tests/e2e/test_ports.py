"""Peers that are back on another port than they were: they are called there.

libtorrent knows one port of each address, that which it was told last. The other tests' peers share
an address, for which it has a setting.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

import pytest

from harness.mount import ONE_AT_ADDRESS, Magnetfs
from harness.reading import read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, TorrentMaker
from harness.tracker import OpenTracker

PIECE = 256 * KIB
SOON_S = 10.0  # generous: it takes about a second


def opened(path: Path, request: pytest.FixtureRequest) -> int:
    fd = os.open(path, os.O_RDONLY)
    request.addfinalizer(lambda: os.close(fd))
    return fd


@pytest.mark.parametrize("told_by", ["a tracker", "a second add"])
@pytest.mark.parametrize("since", ["a read", "a start"])
def test_the_only_peer_is_back_on_another_port(
    magnetfs: Callable[..., Magnetfs],
    torrents: TorrentMaker,
    opentracker: Callable[[list[str]], OpenTracker],
    told_by: str,
    since: str,
    request: pytest.FixtureRequest,
) -> None:
    """libtorrent knows one port of each address, and calls one that it did not reach ten seconds
    later. since: what was the last when it was there."""
    fs = magnetfs(*ONE_AT_ADDRESS)
    torrent = torrents.single(f"{told_by} {since}.bin", 32 * MIB, seed=69, piece_length=PIECE)
    tracker = opentracker([torrent.info_hash])
    trackers = [tracker.url] if told_by == "a tracker" else []
    first = Seeder("127.0.0.2")
    request.addfinalizer(first.close)
    first.seed(torrent)
    fs.add(torrent.magnet(first, trackers=trackers))
    fs.files(torrent.info_hash)
    path = fs.directory(torrent) / torrent.name
    if since == "a read":
        fd = opened(path, request)
        assert read_exactly(fd, 0, 64 * KIB) == torrent.read(torrent.name, 0, 64 * KIB)
    else:
        fs.stop()
    first.close()
    second = Seeder("127.0.0.2")
    request.addfinalizer(second.close)
    assert second.port != first.port
    second.seed(torrent, announce=tracker.url if trackers else None)
    if since == "a start":
        fs.start()
    with ThreadPoolExecutor(1) as pool:
        file = opened(path, request)
        reading = pool.submit(read_exactly, file, 24 * MIB, 64 * KIB)
        fs.wait_parked(1)
        began = time.monotonic()
        if trackers:
            tracker.wait_for_seed(torrent.info_hash, lambda: second.announce(torrent))
        fs.add(torrent.magnet(*([] if trackers else [second]), trackers=trackers))
        assert reading.result(2 * SOON_S) == torrent.read(torrent.name, 24 * MIB, 64 * KIB)
        took = time.monotonic() - began
    assert took <= SOON_S / 2, f"{took:.1f} s"


def test_a_peer_that_called_from_another_port_is_called_there(
    magnetfs: Callable[..., Magnetfs], torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """Where it listens is what it says of itself (BEP 10)."""
    fs = magnetfs(*ONE_AT_ADDRESS)
    torrent = torrents.single("calls.bin", 32 * MIB, seed=71, piece_length=PIECE)
    first, second = Seeder("127.0.0.2"), Seeder("127.0.0.2")
    request.addfinalizer(first.close)
    request.addfinalizer(second.close)
    path = fs.add_torrent(torrent, first.seed(torrent)) / torrent.name
    fd = opened(path, request)
    assert read_exactly(fd, 0, 64 * KIB) == torrent.read(torrent.name, 0, 64 * KIB)
    first.close()
    second.seed(torrent).connect(torrent, fs.bt_port)
    assert read_exactly(fd, 12 * MIB, 64 * KIB) == torrent.read(torrent.name, 12 * MIB, 64 * KIB)
    second.kill()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_exactly, fd, 24 * MIB, 64 * KIB)
        fs.wait_parked(1)
        began = second.come_back()
        assert reading.result(2 * SOON_S) == torrent.read(torrent.name, 24 * MIB, 64 * KIB)
        assert time.monotonic() - began <= SOON_S
