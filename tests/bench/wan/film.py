"""The film of the swarm, and a torrent of it for each size of pieces: alone, or among other files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.torrents import (
    CHUNK,
    MIB,
    Pattern,
    Torrent,
    TorrentFile,
    TorrentMaker,
    bencode,
    hash_pieces,
)

NAME = "film.bin"
SEED = 11
OTHER_BYTES = 300_000  # of each file beside the film: no multiple of a piece


def _torrent_file(folder: Path, piece_mib: int) -> Path:
    return folder / f"film-{piece_mib}.torrent"


def _layout(length: int, others: int) -> list[TorrentFile]:
    """Of so many bytes in all: half of the others, the film, the rest."""
    film = length - others * OTHER_BYTES
    assert film > 0
    sizes = [(f"other-{number:04}.bin", OTHER_BYTES) for number in range(others)]
    sizes.insert(others // 2, (NAME, film))
    files: list[TorrentFile] = []
    for path, size in sizes:
        at = files[-1].offset + files[-1].length if files else 0
        files.append(TorrentFile(path, size, at))
    return files


def make(folder: Path, length: int, pieces_mib: list[int], others: int = 0) -> None:
    """others: how many files there are beside the film."""
    folder.mkdir()
    (folder / "others").write_text(str(others))
    pattern = Pattern(SEED)
    with open(folder / NAME, "wb") as stream:
        for offset in range(0, length, CHUNK):
            stream.write(pattern.read(offset, min(CHUNK, length - offset)))
    maker = TorrentMaker(folder)
    for piece_mib in pieces_mib:
        torrent = maker.from_file(folder / NAME, piece_mib * MIB)
        metainfo = torrent.metainfo
        if others:
            info = {
                "files": [
                    {"length": file.length, "path": [file.path]} for file in _layout(length, others)
                ],
                "name": torrent.directory,
                "piece length": torrent.piece_length,
                "pieces": hash_pieces(torrent.blob, torrent.piece_length),
            }
            metainfo = bencode({"info": info})
        _torrent_file(folder, piece_mib).write_bytes(metainfo)


def load(folder: Path, piece_mib: int) -> Torrent:
    """One of those that make() made."""
    path = _torrent_file(folder, piece_mib)
    metainfo = path.read_bytes()
    blob = folder / NAME
    others = int((folder / "others").read_text())
    return Torrent(
        blob.stem if others else NAME,
        blob.stem,
        _layout(blob.stat().st_size, others),
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
        film = torrent.file(NAME)
        self.length = film.length
        self._begin = film.offset
        self._fd = os.open(torrent.blob, os.O_RDONLY)

    def check(self, offset: int, data: bytes | memoryview) -> None:
        if os.pread(self._fd, len(data), self._begin + offset) != data:
            raise OSError(f"wrong bytes in the {len(data)} at {offset}")

    def close(self) -> None:
        os.close(self._fd)
