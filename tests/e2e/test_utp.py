"""Peers that only uTP reaches, as many behind a NAT are: magnetfs dials TCP first."""

from __future__ import annotations

import time
from typing import Callable, Iterator

import pytest

from harness.mount import OWN_TRANSPORT, Magnetfs
from harness.only_utp import OnlyUtp
from harness.reading import read_exactly
from harness.scripted_peer import Peers
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, TorrentMaker

PIECE = 256 * KIB
SOON_S = 12.0  # with uTP switched on from the first moment it is 6.8 s


@pytest.fixture(params=[False, True], ids=["refused", "dropped"])
def hidden(request: pytest.FixtureRequest, seeder: Seeder) -> Iterator[OnlyUtp]:
    one = OnlyUtp(seeder.port, silent=request.param)
    yield one
    one.close()


@pytest.fixture
def patient(magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    return magnetfs("--read-timeout", "60", swarm=OWN_TRANSPORT)


def test_the_only_peer_is_reached_by_utp_alone(
    patient: Magnetfs, seeder: Seeder, hidden: OnlyUtp, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("hidden.bin", MIB, seed=261, piece_length=PIECE)
    seeder.seed(torrent)
    began = time.monotonic()
    path = patient.add_torrent(torrent, hidden) / torrent.name
    assert path.read_bytes() == torrent.read(torrent.name)
    assert time.monotonic() - began <= SOON_S


def test_a_peer_without_the_piece_is_there_by_tcp(
    patient: Magnetfs, seeder: Seeder, hidden: OnlyUtp, peers: Peers, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("aside.bin", MIB, seed=262, piece_length=PIECE)
    seeder.seed(torrent)
    beside = peers(torrent.info)
    path = patient.add_torrent(torrent, beside, hidden) / torrent.name
    began = time.monotonic()
    with open(path, "rb", buffering=0) as stream:
        assert read_exactly(stream.fileno(), 0, MIB) == torrent.read(torrent.name)
    assert time.monotonic() - began <= SOON_S
    assert beside.connected() >= 1, "it was not there: this tries nothing"
