"""Many: 5,000 odd names, byte for byte, while they download. It waits for each, computing little."""

from __future__ import annotations

import os

import pytest

from harness.mount import Magnetfs
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, Torrent, TorrentMaker, odd_names
from harness.web import stream_target


@pytest.fixture(scope="module")
def odd(torrents: TorrentMaker) -> Torrent:
    return torrents.multi("Odd #names? 100% \U0001f600", odd_names(5000), 32, piece_length=64 * KIB)


@pytest.mark.deadline(170)
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


@pytest.mark.deadline(170)
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
