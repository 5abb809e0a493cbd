"""Torrents made from a seed: content that can be computed at any offset, and its metainfo.

The content of a torrent is one blob on disk, its files one after another; seeders serve the blob
itself, so that names the seeder's own file system could not hold are no obstacle.
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Iterator
from urllib.parse import quote

CHUNK = 1 << 20
KIB = 1 << 10
MIB = 1 << 20


def bencode(value: object) -> bytes:
    """BEP 3's encoding; strings are bytes or UTF-8, keys come out sorted as raw bytes."""
    if isinstance(value, bool):
        raise TypeError("bencode has no booleans")
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    if isinstance(value, dict):
        items = sorted((k.encode() if isinstance(k, str) else k, v) for k, v in value.items())
        return b"d" + b"".join(bencode(k) + bencode(v) for k, v in items) + b"e"
    raise TypeError(f"cannot bencode {type(value)}")


class Pattern:
    """Seeded bytes without end, computable at any offset at memory speed.

    One random mebibyte, turned by another amount in each following one and numbered at its start:
    no two blocks of a torrent are alike, so bytes from a wrong place are never right by chance.
    """

    def __init__(self, seed: int) -> None:
        self._block = random.Random(seed).randbytes(CHUNK)

    def _chunk(self, number: int) -> bytes:
        turn = (number * 104_729) % CHUNK
        return struct.pack(">Q", number) + self._block[turn:] + self._block[: max(0, turn - 8)]

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            number, skip = divmod(offset, CHUNK)
            part = self._chunk(number)[:CHUNK][skip : skip + length]
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)


@dataclass(frozen=True)
class TorrentFile:
    """One file: its path beneath the torrent's directory and where it lies in the blob."""

    path: str
    length: int
    offset: int


@dataclass
class Torrent:
    """A torrent with its content on disk (blob) and what a test needs to know of it."""

    name: str
    directory: str  # what the mount calls it
    files: list[TorrentFile]
    piece_length: int
    metainfo: bytes
    info_hash: str
    blob: Path
    info_hash_v2: str | None = None
    _torrent_file: Path | None = field(default=None, repr=False)

    @property
    def length(self) -> int:
        return sum(file.length for file in self.files)

    @property
    def torrent_file(self) -> Path:
        """The metainfo as a file, for programs that take one."""
        if self._torrent_file is None:
            self._torrent_file = self.blob.with_name(self.info_hash + ".torrent")
            self._torrent_file.write_bytes(self.metainfo)
        return self._torrent_file

    @property
    def info(self) -> bytes:
        """Its metadata, of v1: there the info dictionary is all of the metainfo."""
        return self.metainfo[len(b"d4:info") : -1]

    def magnet(self, *peers: object, trackers: Iterable[str] = (), name: bool = True) -> str:
        """The magnet URI; peers are seeders (anything with .peer) or "host:port" (BEP 9, x.pe)."""
        is_v2 = self.info_hash == self.info_hash_v2
        uri = "magnet:?xt=urn:" + ("btmh:1220" if is_v2 else "btih:") + self.info_hash
        if name:
            uri += "&dn=" + quote(self.name, safe="")
        for tracker in trackers:
            uri += "&tr=" + quote(tracker, safe="")
        for peer in peers:
            uri += "&x.pe=" + str(getattr(peer, "peer", peer))
        return uri

    def file(self, path: str) -> TorrentFile:
        return next(file for file in self.files if file.path == path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """What the file must hold there."""
        file = self.file(path)
        end = file.length if length is None else min(file.length, offset + length)
        with open(self.blob, "rb") as blob:
            return os.pread(blob.fileno(), max(0, end - offset), file.offset + offset)

    def sha256(self, path: str) -> str:
        return hashlib.sha256(self.read(path)).hexdigest()

    def lay_out(self, folder: Path) -> None:
        """Writes the files by their names beneath folder, for seeders that need them so."""
        single = self.is_single
        for file in self.files:
            path = folder / file.path if single else folder / self.name / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(file.path))

    @property
    def is_single(self) -> bool:
        return len(self.files) == 1 and self.files[0].path == self.name


def hash_pieces(blob: Path, piece_length: int) -> bytes:
    """BEP 3's "pieces" of a blob."""
    digests = []
    with open(blob, "rb") as stream:
        while piece := stream.read(piece_length):
            digests.append(hashlib.sha1(piece).digest())
    return b"".join(digests)


class TorrentMaker:
    """Makes torrents in a folder, each of them once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple, Torrent] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def single(
        self, name: str, length: int, seed: int = 1, piece_length: int = 256 * KIB
    ) -> Torrent:
        """A torrent of one file; in the mount a directory too, named without the extension."""
        return self._make(name, [(name, length)], seed, piece_length, single=True)

    def multi(
        self,
        name: str,
        files: list[tuple[str, int]],
        seed: int = 1,
        piece_length: int = 256 * KIB,
    ) -> Torrent:
        """A torrent of files (path, length) in this order."""
        return self._make(name, files, seed, piece_length, single=False)

    def from_file(self, source: Path, piece_length: int = 64 * KIB) -> Torrent:
        """A single-file torrent of a real file (media)."""
        key = ("file", source, piece_length)
        if key not in self._made:
            length = source.stat().st_size
            files = [TorrentFile(source.name, length, 0)]
            self._made[key] = self._finish(
                source.name, source.stem, files, piece_length, source, single=True
            )
        return self._made[key]

    def from_files(self, name: str, sources: dict[str, Path], piece_length: int = 64 * KIB) -> Torrent:
        """A torrent of real files (media), by their paths in it."""
        key = ("files", name, tuple(sources.items()), piece_length)
        if key not in self._made:
            blob = self._folder / f"{len(self._made)}.blob"
            placed = []
            offset = 0
            with open(blob, "wb") as stream:
                for path, source in sources.items():
                    length = stream.write(source.read_bytes())
                    placed.append(TorrentFile(path, length, offset))
                    offset += length
            self._made[key] = self._finish(name, name, placed, piece_length, blob, single=False)
        return self._made[key]

    def hybrid(self, name: str, length: int, seed: int = 1) -> Torrent:
        """A torrent of one file with both hashes (BEP 52), made by libtorrent."""
        import libtorrent as lt  # only here: most tests need no second implementation in-process

        key = ("hybrid", name, length, seed)
        if key not in self._made:
            folder = self._folder / f"hybrid-{len(self._made)}"
            folder.mkdir()
            blob = folder / name
            self._write(blob, length, seed)
            storage = lt.file_storage()
            storage.add_file(name, length)
            creator = lt.create_torrent(storage, 64 * KIB)
            lt.set_piece_hashes(creator, str(folder))
            metainfo = lt.bencode(creator.generate())
            info = lt.torrent_info(metainfo)
            self._made[key] = Torrent(
                name,
                name.rpartition(".")[0] or name,
                [TorrentFile(name, length, 0)],
                info.piece_length(),
                metainfo,
                str(info.info_hashes().v1),
                blob,
                info_hash_v2=str(info.info_hashes().v2),
            )
        return self._made[key]

    def _make(
        self, name: str, files: list[tuple[str, int]], seed: int, piece_length: int, single: bool
    ) -> Torrent:
        key = (name, tuple(files), seed, piece_length, single)
        if key not in self._made:
            blob = self._folder / f"{len(self._made)}.blob"
            placed = []
            offset = 0
            for path, length in files:
                placed.append(TorrentFile(path, length, offset))
                offset += length
            self._write(blob, offset, seed)
            directory = (name.rpartition(".")[0] or name) if single else name
            self._made[key] = self._finish(name, directory, placed, piece_length, blob, single)
        return self._made[key]

    @staticmethod
    def _write(blob: Path, length: int, seed: int) -> None:
        pattern = Pattern(seed)
        with open(blob, "wb") as stream:
            for offset in range(0, length, CHUNK):
                stream.write(pattern.read(offset, min(CHUNK, length - offset)))

    @staticmethod
    def _finish(
        name: str,
        directory: str,
        files: list[TorrentFile],
        piece_length: int,
        blob: Path,
        single: bool,
    ) -> Torrent:
        info: dict[str, object] = {
            "name": name,
            "piece length": piece_length,
            "pieces": hash_pieces(blob, piece_length),
        }
        if single:
            info["length"] = files[0].length
        else:
            info["files"] = [{"length": f.length, "path": f.path.split("/")} for f in files]
        info_hash = hashlib.sha1(bencode(info)).hexdigest()
        metainfo = bencode({"info": info})
        return Torrent(name, directory, files, piece_length, metainfo, info_hash, blob)


def odd_names(count: int, seed: int = 7) -> list[tuple[str, int]]:
    """count files in nested folders with the names that break path handling, and odd lengths.

    Among them are zero-length files and runs of files so small that one piece spans several.
    """
    rng = random.Random(seed)
    long_name = "L" * 245 + ".data"  # 250 bytes
    long_utf8 = "\u00fc" * 122 + "long.x"  # 250 bytes, half as many characters
    special = [
        "number #1.txt",
        "what?.txt",
        "100% sure%20.txt",
        "  spaces  in  name  ",
        "emoji \U0001f600\U0001f3ac.mkv",
        long_name,
        long_utf8,
        "plus+and&amp;=;,@:$!'()*[]~`.txt",
        'quote".txt',
        "back\\slash.txt",
        "-rf",
        ".hidden",
        "dot.",
        "\u65e5\u672c\u8a9e.srt",
        "<b>html.html",
        "a|b>c.txt",
    ]
    folders = [
        "",
        "plain/",
        "with space/#hash/",
        "50%/what?/",
        "\U0001f4c1/deep/er/and/deeper/still/",
        "D" * 250 + "/",
        "%2e%2e/%2F/",
    ]
    files = [(folder + name, rng.randrange(1, 9000)) for folder in folders for name in special]
    files += [(folder + "empty", 0) for folder in folders]
    while len(files) < count:
        number = len(files)
        folder = f"season {number % 23}/disc #{number % 7}/"
        length = rng.choice((0, 1, 100, 5_000, 16_384, 20_000)) if number % 9 else 40_001
        files.append((f"{folder}file {number} %d?.bin", length))
    return files[:count]


def iter_chunks(length: int, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """(offset, length) of the chunks a file of that length is compared in."""
    for offset in range(0, length, size):
        yield offset, min(size, length - offset)
