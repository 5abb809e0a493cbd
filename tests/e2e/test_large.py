"""Big and small: a 1 GiB file, and several files in one piece, byte for byte as they download."""

from __future__ import annotations

from typing import Iterator

import pytest

from harness.mount import Magnetfs
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker, iter_chunks
from harness.web import stream_target

GIB = 1 << 30


@pytest.fixture(scope="module")
def large(torrents: TorrentMaker) -> Iterator[Torrent]:
    torrent = torrents.single("large.bin", GIB, seed=31, piece_length=MIB)
    yield torrent
    torrent.blob.unlink()


@pytest.mark.deadline(110)
def test_1_gib_through_the_mount_while_it_downloads(
    fs: Magnetfs, seeder: Seeder, large: Torrent
) -> None:
    directory = fs.add_torrent(large, seeder.seed(large))
    assert fs.torrent(large.info_hash)["haveBytes"] < large.length
    assert_same(directory / "large.bin", large, "large.bin")
    assert seeder.sent(large) <= large.length * 1.03, "waste: more than 3 % came twice"


@pytest.mark.deadline(110)
def test_1_gib_through_stream_while_it_downloads(
    fs: Magnetfs, seeder: Seeder, large: Torrent
) -> None:
    fs.add_torrent(large, seeder.seed(large))
    assert fs.web
    connection = fs.web.connection()
    try:
        connection.request("GET", stream_target(large, "large.bin"))
        response = connection.getresponse()
        assert response.status == 200
        assert int(response.headers["Content-Length"]) == large.length
        for offset, length in iter_chunks(large.length):
            assert response.read(length) == large.read("large.bin", offset, length), offset
        assert response.read(1) == b""
    finally:
        connection.close()


def test_one_piece_spans_many_files_and_each_of_them_reads(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Reads the files between two piece borders backwards, so that each comes alone."""
    files = [("head", 100_000), ("a", 1), ("b", 3_000), ("nothing", 0), ("c", 5), ("tail", 100_000)]
    torrent = torrents.multi("spans", files, seed=33, piece_length=256 * KIB)
    directory = fs.add_torrent(torrent, seeder.seed(torrent))
    for file in reversed(torrent.files):
        assert_same(directory / file.path, torrent, file.path)
