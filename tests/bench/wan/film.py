"""The film of the swarm: one file, and a torrent of it for each size of pieces."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.torrents import CHUNK, MIB, Pattern, Torrent, TorrentFile, TorrentMaker, bencode

NAME = "film.bin"
SEED = 11


def _torrent_file(folder: Path, piece_mib: int) -> Path:
    return folder / f"film-{piece_mib}.torrent"


def make(folder: Path, length: int, pieces_mib: list[int]) -> None:
    folder.mkdir()
    pattern = Pattern(SEED)
    with open(folder / NAME, "wb") as stream:
        for offset in range(0, length, CHUNK):
            stream.write(pattern.read(offset, min(CHUNK, length - offset)))
    maker = TorrentMaker(folder)
    for piece_mib in pieces_mib:
        torrent = maker.from_file(folder / NAME, piece_mib * MIB)
        _torrent_file(folder, piece_mib).write_bytes(torrent.metainfo)


def load(folder: Path, piece_mib: int) -> Torrent:
    """One of those that make() made."""
    path = _torrent_file(folder, piece_mib)
    metainfo = path.read_bytes()
    blob = folder / NAME
    length = blob.stat().st_size
    return Torrent(
        NAME,
        blob.stem,
        [TorrentFile(NAME, length, 0)],
        piece_mib * MIB,
        metainfo,
        hashlib.sha1(metainfo[len(b"d4:info") : -1]).hexdigest(),
        blob,
        _torrent_file=path,
    )


def announced(torrent: Torrent, tracker: str) -> bytes:
    """Its metainfo with a tracker in it."""
    return b"d" + bencode("announce") + bencode(tracker) + torrent.metainfo[1:]


class Original:
    """The film as it must be read."""

    def __init__(self, torrent: Torrent) -> None:
        self.length = torrent.length
        self._fd = os.open(torrent.blob, os.O_RDONLY)

    def check(self, offset: int, data: bytes | memoryview) -> None:
        if os.pread(self._fd, len(data), offset) != data:
            raise OSError(f"wrong bytes in the {len(data)} at {offset}")

    def close(self) -> None:
        os.close(self._fd)
