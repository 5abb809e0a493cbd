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
from harness.ports import free_port
from harness.reading import read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, TorrentMaker
from harness.tracker import OpenTracker

PIECE = 256 * KIB
# It takes about a second. libtorrent by itself takes four and more, or never does it.
SOON_S = 2.5
SANE_S = 20.0


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
    later. since: what was the last when it was there. After a read libtorrent takes the tracker's
    word as fast by itself."""
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
        assert reading.result(SANE_S) == torrent.read(torrent.name, 24 * MIB, 64 * KIB)
        took = time.monotonic() - began
    assert took <= SOON_S, f"{took:.1f} s"


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
        assert reading.result(SANE_S) == torrent.read(torrent.name, 24 * MIB, 64 * KIB)
        took = time.monotonic() - began
    assert took <= 2 * SOON_S, f"{took:.1f} s"


@pytest.mark.parametrize("told", ["where it is", "where it is not"])
def test_after_a_start_a_peer_is_called_where_it_was_last(
    magnetfs: Callable[..., Magnetfs],
    torrents: TorrentMaker,
    told: str,
    request: pytest.FixtureRequest,
) -> None:
    """Of an address one port is kept, and libtorrent would call the last that it is told. A port
    that somebody names while the peer is there is not the one."""
    fs = magnetfs(*ONE_AT_ADDRESS)
    torrent = torrents.single(f"kept {told}.bin", 32 * MIB, seed=75, piece_length=PIECE)
    seeder = Seeder("127.0.0.2")
    request.addfinalizer(seeder.close)
    path = fs.add_torrent(torrent, seeder.seed(torrent)) / torrent.name
    with open(path, "rb", buffering=0) as file:
        assert read_exactly(file.fileno(), 0, 64 * KIB) == torrent.read(torrent.name, 0, 64 * KIB)
        if told == "where it is":
            seeder.close()
            seeder = Seeder("127.0.0.2")
            request.addfinalizer(seeder.close)
            seeder.seed(torrent)
            fs.add(torrent.magnet(seeder))
        else:
            fs.add(torrent.magnet(f"127.0.0.2:{free_port()}"))
        assert read_exactly(file.fileno(), 12 * MIB, 64 * KIB) == torrent.read(
            torrent.name, 12 * MIB, 64 * KIB
        )
    fs.stop()
    fs.start()
    fd = opened(path, request)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_exactly, fd, 24 * MIB, 64 * KIB)
        assert reading.result(SANE_S) == torrent.read(torrent.name, 24 * MIB, 64 * KIB)
    took = time.monotonic() - began
    assert took <= SOON_S, f"{took:.1f} s"


@pytest.mark.parametrize("alive", [0, 1])
@pytest.mark.parametrize("since", ["metadata", "nothing"])
def test_of_two_ports_that_are_named_at_once_both_are_called(
    magnetfs: Callable[..., Magnetfs],
    torrents: TorrentMaker,
    alive: int,
    since: str,
    request: pytest.FixtureRequest,
) -> None:
    """Before the first of them is dialled, and whichever it is. since: what is there by then."""
    fs = magnetfs(*ONE_AT_ADDRESS)
    torrent = torrents.single(f"two {alive} {since}.bin", 4 * MIB, seed=76, piece_length=PIECE)
    seeder = Seeder("127.0.0.2")
    request.addfinalizer(seeder.close)
    seeder.seed(torrent)
    ports = [f"127.0.0.2:{free_port()}"]
    ports.insert(alive, seeder.peer)
    if since == "metadata":
        fs.add(torrent.torrent_file.read_bytes())
    began = time.monotonic()
    fs.add(torrent.magnet(*ports))
    fs.files(torrent.info_hash, SANE_S)
    fd = opened(fs.directory(torrent) / torrent.name, request)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_exactly, fd, 0, 64 * KIB)
        assert reading.result(SANE_S) == torrent.read(torrent.name, 0, 64 * KIB)
    took = time.monotonic() - began
    assert took <= 2 * SOON_S, f"{took:.1f} s"


def test_the_only_peer_is_called_however_many_addresses_are_dead(
    magnetfs: Callable[..., Magnetfs], torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """More than are remembered, and all of them are dialled after it, which has given nothing by
    then."""
    fs = magnetfs(*ONE_AT_ADDRESS)
    torrent = torrents.single("crowd.bin", 32 * MIB, seed=77, piece_length=PIECE)
    seeder = Seeder("127.0.0.2")
    request.addfinalizer(seeder.close)
    path = fs.add_torrent(torrent, seeder.seed(torrent)) / torrent.name
    dead = [f"127.0.1.{host}:{free_port()}" for host in range(1, 71)]
    fs.add(torrent.magnet(*dead))
    time.sleep(4)  # nothing tells that they were dialled, which takes about a second
    fd = opened(path, request)
    assert read_exactly(fd, 0, 64 * KIB) == torrent.read(torrent.name, 0, 64 * KIB)
    seeder.kill()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_exactly, fd, 24 * MIB, 64 * KIB)
        fs.wait_parked(1)
        time.sleep(5)  # the outage
        began = seeder.come_back()
        assert reading.result(SANE_S) == torrent.read(torrent.name, 24 * MIB, 64 * KIB)
        took = time.monotonic() - began
    assert took <= SOON_S, f"{took:.1f} s"
