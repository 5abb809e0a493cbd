"""This host's own services are no peers, whoever says so: 127.0.0.1:25 named by a tracker is not
dialled. With --allow-loopback-peers (which all other tests have) it is."""

from __future__ import annotations

from typing import Callable

import pytest

from harness.mount import SWARM_OPTIONS, Magnetfs
from harness.scripted_peer import Peers
from harness.seeder import Seeder
from harness.torrents import Torrent, TorrentMaker
from harness.tracker import OpenTracker

ALLOW = "--allow-loopback-peers"
WITHOUT = [option for option in SWARM_OPTIONS if option != ALLOW]
# Two tries of a second each, and their dials again.
HASTY = ("--metadata-timeout", "1", "--retries", "1", "--retry-delay", "1")


@pytest.fixture(scope="module")
def torrent(torrents: TorrentMaker) -> Torrent:
    return torrents.single("service.bin", 100_000, seed=701)


def test_a_tracker_s_peer_on_loopback_is_dialled_only_where_that_is_allowed(
    magnetfs: Callable[..., Magnetfs],
    peers: Peers,
    opentracker: Callable[[list[str]], OpenTracker],
    torrent: Torrent,
) -> None:
    service = peers(rejects=True)
    tracker = opentracker([torrent.info_hash])
    tracker.name(torrent.info_hash, service.port)
    magnet = torrent.magnet(trackers=[tracker.url])
    for swarm, dialled in ((WITHOUT, False), (SWARM_OPTIONS, True)):
        fs = magnetfs(*HASTY, name=f"allowed-{dialled}", swarm=swarm, allow=["metadata"])
        before = len(service.dials())
        with fs.events() as events:
            fs.add(magnet)
            events.wait("failed", torrent.info_hash, timeout=20)
        # The same tracker, on loopback itself, is asked in both cases.
        assert fs.torrent(torrent.info_hash).get("problem") is None
        assert (len(service.dials()) > before) is dialled, f"allowed: {dialled}"


def test_a_magnet_s_and_a_calling_peer_on_loopback_are_refused_too(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrent: Torrent
) -> None:
    """x.pe is dropped; a peer that calls is not let in."""
    fs = magnetfs(*HASTY, swarm=WITHOUT, allow=["metadata"])
    with fs.events() as events:
        fs.add(torrent.magnet(seeder.seed(torrent)))
        seeder.connect(torrent, fs.bt_port)
        events.wait("failed", torrent.info_hash, timeout=20)
