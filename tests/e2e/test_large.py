"""Big and many: a 1 GiB file and 5,000 odd names, byte for byte, while they download."""

from __future__ import annotations

import os
from typing import Iterator

import pytest

from harness.mount import Magnetfs
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker, iter_chunks, odd_names
from harness.web import stream_target

GIB = 1 << 30


@pytest.fixture(scope="module")
def large(torrents: TorrentMaker) -> Iterator[Torrent]:
    torrent = torrents.single("large.bin", GIB, seed=31, piece_length=MIB)
    yield torrent
    torrent.blob.unlink()


@pytest.fixture(scope="module")
def odd(torrents: TorrentMaker) -> Torrent:
    return torrents.multi("Odd #names? 100% \U0001f600", odd_names(5000), 32, piece_length=64 * KIB)


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


@pytest.mark.deadline(110)
def test_5000_odd_names_through_the_mount_while_they_download(
    fs: Magnetfs, seeder: Seeder, odd: Torrent
) -> None:
    directory = fs.add_torrent(odd, seeder.seed(odd))
    assert fs.torrent(odd.info_hash)["haveBytes"] < odd.length
    found = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, directory)] = os.stat(path).st_size
    assert found == {file.path: file.length for file in odd.files}
    for file in odd.files:
        assert_same(directory / file.path, odd, file.path)


@pytest.mark.deadline(110)
def test_5000_odd_names_through_stream_while_they_download(
    fs: Magnetfs, seeder: Seeder, odd: Torrent
) -> None:
    assert fs.web
    answer = fs.web.add(odd.magnet(seeder.seed(odd)))
    assert answer.status == 200, answer.body
    entries = answer.json["files"]
    assert [(e["path"], e["length"]) for e in entries] == [(f.path, f.length) for f in odd.files]
    connection = fs.web.connection()
    try:
        for entry in entries:
            target = entry["stream"]
            assert target == stream_target(odd, entry["path"]) or target.startswith("http"), target
            connection.request("GET", stream_target(odd, entry["path"]))
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, (entry, response.status, body)
            assert body == odd.read(entry["path"]), entry
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
