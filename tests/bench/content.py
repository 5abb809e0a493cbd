"""Torrents the harness has no need of: many of one content, and one whose content nobody has."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from pathlib import Path

from harness.torrents import Torrent, TorrentFile, bencode

DIGEST = hashlib.sha1().digest_size


def _digests(torrent: Torrent) -> bytes:
    with open(torrent.blob, "rb") as blob:
        pieces = iter(lambda: blob.read(torrent.piece_length), b"")
        return b"".join(hashlib.sha1(piece).digest() for piece in pieces)


def siblings(torrent: Torrent, count: int) -> list[Torrent]:
    """count single-file torrents that differ in name alone and share the given one's blob."""
    digests = _digests(torrent)
    made = []
    for number in range(count):
        name = f"{number:03}-{torrent.name}"
        info: dict[str, object] = {
            "name": name,
            "piece length": torrent.piece_length,
            "pieces": digests,
            "length": torrent.length,
        }
        made.append(
            dataclasses.replace(
                torrent,
                name=name,
                directory=name.rpartition(".")[0] or name,
                files=[TorrentFile(name, torrent.length, 0)],
                metainfo=bencode({"info": info}),
                info_hash=hashlib.sha1(bencode(info)).hexdigest(),
                _torrent_file=None,
            )
        )
    return made


def peerless(name: str, lengths: dict[str, int], piece_length: int) -> Torrent:
    """A torrent of files (path: length) whose pieces nobody has, nor could have."""
    files = []
    offset = 0
    for path, length in lengths.items():
        files.append(TorrentFile(path, length, offset))
        offset += length
    pieces = -(-offset // piece_length)
    info: dict[str, object] = {
        "name": name,
        "piece length": piece_length,
        "pieces": random.Random(name).randbytes(pieces * DIGEST),
        "files": [{"length": f.length, "path": f.path.split("/")} for f in files],
    }
    info_hash = hashlib.sha1(bencode(info)).hexdigest()
    return Torrent(
        name, name, files, piece_length, bencode({"info": info}), info_hash, Path("/nonexistent")
    )
