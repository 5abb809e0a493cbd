"""Private torrents (BEP 27): their peers come from their trackers, and nobody else hears of them.

Each test has a public torrent beside the private one: what is not to be seen of the one is seen of
the other.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.discovery import DhtNode, LsdListener
from harness.kinds import KINDS, V1, Entry, KindMaker
from harness.mount import Magnetfs
from harness.reading import assert_same
from harness.scripted_peer import Peers, ScriptedPeer
from harness.seeder import Seeder
from harness.torrents import MIB, Torrent, bencode
from harness.tracker import OpenTracker

PEX = 1  # what libtorrent calls the messages of BEP 11
REQUEST = bencode({"msg_type": 0, "piece": 0})  # BEP 9
METADATA = 2  # what magnetfs calls the messages of BEP 9

Trackers = Callable[[list[str]], OpenTracker]


@pytest.fixture(scope="module")
def maker(run_folder: Path) -> KindMaker:
    return KindMaker(run_folder / "private")


def pex(peer: ScriptedPeer) -> tuple[int, bytes]:
    """A message that names a peer (BEP 11)."""
    address = socket.inet_aton("127.0.0.1") + struct.pack(">H", peer.port)
    return PEX, bencode({"added": address, "added.f": b"\0"})


def make(maker: KindMaker, private: bool, kind: str = V1) -> Torrent:
    more = {"private": 1} if private else {}
    name = "private" if private else "public"
    return maker.multi(kind, name, [Entry("a", 2 * MIB), Entry("b", 5)], **more)


def with_tracker(torrent: Torrent, url: str) -> bytes:
    return b"d8:announce" + bencode(url) + torrent.metainfo[1:]


def swarm(tracker: OpenTracker, torrent: Torrent, seeder: Seeder, *others: ScriptedPeer) -> None:
    """Its tracker names a seeder and these."""
    seeder.seed(torrent, announce=tracker.url)
    tracker.wait_for_seed(torrent.info_hash, lambda: seeder.announce(torrent))
    for other in others:
        tracker.name(torrent.info_hash, other.port)


def assert_reads(fs: Magnetfs, torrent: Torrent) -> None:
    for file in torrent.files:
        assert_same(fs.directory(torrent) / file.path, torrent, file.path)


def test_peers_of_a_private_torrent_come_from_its_tracker_alone(
    fs: Magnetfs, seeder: Seeder, peers: Peers, opentracker: Trackers, maker: KindMaker
) -> None:
    """Not from a peer that names others (PEX), not from a magnet; and its peers are told of no way
    to ask for others, or for the metadata."""
    named = {private: peers() for private in (True, False)}  # by PEX
    tellers = {private: peers(tells=[pex(named[private])]) for private in (True, False)}
    askers = {private: peers(tells=[(METADATA, REQUEST)]) for private in (True, False)}
    torrents = {private: make(maker, private) for private in (True, False)}
    tracker = opentracker([torrent.info_hash for torrent in torrents.values()])
    for private, torrent in torrents.items():
        swarm(tracker, torrent, seeder, tellers[private], askers[private])
    for private in (True, False):  # the private one has the longer time to go wrong
        fs.add(with_tracker(torrents[private], tracker.url))
        assert_reads(fs, torrents[private])
        for peer in (tellers[private], askers[private]):
            waiting.until("a handshake", peer.handshakes)
    waiting.until("PEX is heard", named[False].dials)
    in_magnets = {private: peers() for private in (True, False)}
    for private in (True, False):
        fs.add(torrents[private].magnet(in_magnets[private]))
    waiting.until("the magnet's peer is called", in_magnets[False].dials)
    waiting.until("the metadata is given", askers[False].given)

    assert not named[True].dials() and not in_magnets[True].dials()
    assert not askers[True].given()
    for handshake in tellers[False].handshakes():
        assert b"ut_pex" in handshake and b"ut_metadata" in handshake
    for handshake in tellers[True].handshakes():
        assert b"ut_pex" not in handshake and b"metadata" not in handshake, handshake


def test_a_private_torrent_by_magnet_knows_its_trackers_alone_from_then_on(
    fs: Magnetfs, seeder: Seeder, peers: Peers, opentracker: Trackers, maker: KindMaker
) -> None:
    """Until its metadata is there nobody can know; then all peers but the tracker's are left."""
    torrent = make(maker, True)
    tracker = opentracker([torrent.info_hash])
    named = peers()
    stranger = peers(torrent.info, tells=[pex(named)])
    member = peers(tells=[pex(named), (METADATA, REQUEST)])
    fs.add(torrent.magnet(stranger, trackers=[tracker.url]))
    fs.files(torrent.info_hash)  # from the stranger, as its tracker names nobody yet
    waiting.until("the stranger is left", lambda: not stranger.connected())
    swarm(tracker, torrent, seeder, member)
    dials = len(stranger.dials())
    fs.add(with_tracker(torrent, tracker.url + "?"))  # another address of it: it is asked at once
    assert_reads(fs, torrent)
    waiting.until("a handshake", member.handshakes)
    assert len(stranger.dials()) == dials and not stranger.connected()
    for handshake in member.handshakes():
        assert b"ut_pex" not in handshake and b"metadata" not in handshake, handshake
    assert not member.given()


@pytest.mark.parametrize("kind", KINDS)
def test_a_private_torrent_is_never_asked_for_in_the_dht_nor_the_local_network(
    magnetfs: Callable[..., Magnetfs], maker: KindMaker, kind: str
) -> None:
    node, local = DhtNode(), LsdListener()
    try:
        fs = magnetfs(
            *("--set", "enable_dht=1", "--set", "enable_lsd=1"),
            *("--set", f"dht_bootstrap_nodes=127.0.0.1:{node.port}"),
        )
        private, public = (make(maker, private, kind) for private in (True, False))
        fs.add(private.metainfo)
        fs.add(public.metainfo)
        for listener in (node, local):
            waiting.until("the public one", lambda: public.info_hash[:40] in listener.heard(), 30)
            assert private.info_hash[:40] not in listener.heard()
    finally:
        node.close()
        local.close()
