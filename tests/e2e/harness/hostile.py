"""Torrents with names that no file system should get, and with more of everything than is sane.

Made from raw bytes, with right hashes and real content: what a peer sends is decided by offsets, so
that a seeder can have any of them, whatever they call their files.
"""

from __future__ import annotations

import hashlib
import random
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence
from urllib.parse import quote

from harness.torrents import KIB, Pattern, bencode

BLOCK = 16 * KIB
NAME_MAX = 255

# Of Unicode's bidirectional classes those that turn what follows (UAX #9), and the marks.
TURNING = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u061c", "\u200e", "\u200f", "\u2028", "\u2029"}


@dataclass(frozen=True)
class RawFile:
    """A file as the torrent has it: the components of its path are bytes, whatever they are."""

    path: tuple[bytes, ...]
    length: int
    attr: str = ""  # BEP 47: "p" is padding, "l" a symbolic link
    utf8: tuple[bytes, ...] | None = None  # "path.utf-8"

    @property
    def is_shown(self) -> bool:
        return not self.attr


def raw(
    *path: bytes, length: int = 100, attr: str = "", utf8: Sequence[bytes] | None = None
) -> RawFile:
    return RawFile(path, length, attr, tuple(utf8) if utf8 else None)


@dataclass
class HostileTorrent:
    """Like harness.torrents.Torrent to a seeder."""

    name: bytes
    files: list[RawFile]
    metainfo: bytes
    info_hash: str
    blob: Path
    offsets: list[int]
    folder: Path | None = None
    _torrent_file: Path | None = field(default=None, repr=False)

    @property
    def torrent_file(self) -> Path:
        if self._torrent_file is None:
            self._torrent_file = self.blob.with_name(self.info_hash + ".torrent")
            self._torrent_file.write_bytes(self.metainfo)
        return self._torrent_file

    @property
    def contents(self) -> list[bytes]:
        """What the files that are shown must hold, in the torrent's order."""
        data = self.blob.read_bytes()
        return [
            data[offset : offset + file.length]
            for file, offset in zip(self.files, self.offsets)
            if file.is_shown
        ]

    def magnet(self, *peers: object, name: bytes | None = None) -> str:
        is_v2 = len(self.info_hash) == 64
        uri = "magnet:?xt=urn:" + ("btmh:1220" if is_v2 else "btih:") + self.info_hash
        if name is not None:
            uri += "&dn=" + quote(name, safe="")
        return uri + "".join("&x.pe=" + str(getattr(peer, "peer", peer)) for peer in peers)


class HostileMaker:
    """Writes contents to a folder and makes torrents of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        folder.mkdir(parents=True, exist_ok=True)

    def _blob(self, files: Sequence[RawFile], aligned: int = 1) -> tuple[Path, list[int], bytes]:
        """The contents one after another, each from a multiple of `aligned` on."""
        self._made += 1
        offsets = []
        end = 0
        for file in files:
            offsets.append(end + -end % aligned)
            end = offsets[-1] + file.length
        data = bytearray(Pattern(self._made).read(0, end))
        for file, offset in zip(files, offsets):
            if "p" in file.attr:
                data[offset : offset + file.length] = bytes(file.length)
        blob = self._folder / f"{self._made}.blob"
        blob.write_bytes(data)
        return blob, offsets, bytes(data)

    def multi(
        self, name: bytes, files: list[RawFile], piece_length: int = BLOCK, **more: object
    ) -> HostileTorrent:
        """A v1 torrent of files; `more` goes into the info dictionary as it is."""
        blob, offsets, data = self._blob(files)
        entries = []
        for file in files:
            entry: dict[str, object] = {"length": file.length, "path": list(file.path)}
            if file.attr:
                entry["attr"] = file.attr
            if "l" in file.attr:
                entry["symlink path"] = [b"..", b"..", b"etc", b"passwd"]
            if file.utf8:
                entry["path.utf-8"] = list(file.utf8)
            entries.append(entry)
        info = {"name": name, "piece length": piece_length, "files": entries, **more}
        return self._finish(info, data, name, files, blob, offsets)

    def single(self, name: bytes, length: int = 100) -> HostileTorrent:
        """A v1 torrent of one file."""
        files = [raw(name, length=length)]
        blob, offsets, data = self._blob(files)
        info = {"name": name, "piece length": BLOCK, "length": length}
        return self._finish(info, data, name, files, blob, offsets)

    @staticmethod
    def _finish(
        info: dict[str, object],
        data: bytes,
        name: bytes,
        files: list[RawFile],
        blob: Path,
        offsets: list[int],
    ) -> HostileTorrent:
        piece = int(str(info["piece length"]))
        pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
        info["pieces"] = b"".join(hashlib.sha1(part).digest() for part in pieces)
        section = bencode(info)
        info_hash = hashlib.sha1(section).hexdigest()
        return HostileTorrent(name, files, b"d4:info" + section + b"e", info_hash, blob, offsets)

    def v2(self, name: bytes, files: list[RawFile]) -> HostileTorrent:
        """A v2 torrent (BEP 52) of files of one piece at most; they are put into its order.

        Its seeder needs a file each, by the names that libtorrent would give them.
        """
        import libtorrent as lt  # only here

        files = sorted(files, key=lambda file: file.path)
        blob, offsets, data = self._blob(files, aligned=BLOCK)
        tree: dict[bytes, object] = {}
        for file, offset in zip(files, offsets):
            assert file.length <= BLOCK
            at = tree
            for component in file.path:
                at = at.setdefault(component, {})  # type: ignore[assignment]
            leaf: dict[str, object] = {"length": file.length}
            if file.length:
                root = hashlib.sha256(data[offset : offset + file.length]).digest()
                leaf["pieces root"] = root
            at[b""] = leaf
        info = {"name": name, "piece length": BLOCK, "meta version": 2, "file tree": tree}
        section = bencode(info)
        metainfo = b"d4:info" + section + b"12:piece layersdee"
        folder = self._folder / f"v2-{self._made}"
        storage = lt.torrent_info(lt.bdecode(metainfo)).files()
        for i in range(storage.num_files()):
            if storage.file_flags(i) & lt.file_storage.flag_pad_file:
                continue
            place = folder / storage.file_path(i)
            place.parent.mkdir(parents=True, exist_ok=True)
            offset = storage.file_offset(i)
            place.write_bytes(data[offset : offset + storage.file_size(i)])
        info_hash = hashlib.sha256(section).hexdigest()
        made = HostileTorrent(name, files, metainfo, info_hash, folder / "x", offsets, folder)
        blob.rename(made.blob)
        return made


# -- what the mount may show -----------------------------------------------------------------------


def assert_safe(name: bytes) -> None:
    """A name that can't leave its folder, nor fool a terminal, nor break UTF-8."""
    assert 0 < len(name) <= NAME_MAX and name not in (b".", b".."), name
    for char in name.decode():
        assert char != "/" and unicodedata.category(char) != "Cc", name
        assert unicodedata.bidirectional(char) not in TURNING and char not in MARKS, name


# -- nasty ones at random --------------------------------------------------------------------------

_PARTS = [
    *(b"/", b"..", b".", b"", b"\0", b"\n", b"\r", b"\x1b[2J", b"\x7f", b"\t", b" ", b"\\", b"%2F"),
    *(b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x80"),
    *("\u202e".encode(), "\u2066".encode(), "\u200f".encode(), "\u2028".encode(), "\x85".encode()),
    *("é".encode(), "e\u0301".encode(), "日本".encode(), "🎬".encode(), "\ufeff".encode()),
    *(b"a", b"A", b"b", b".mkv", b".MKV", b".magnetfs", b" (2)", b"(", b"con", b"L" * 120),
]
_NAMES = [b"same", b"Same", b"same (2)", b".magnetfs", b"..", b"", b"\xff", b"\xfe", b"x" * 300]


def _nasty(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return rng.choice(_NAMES)
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(1, 300))
    return b"".join(rng.choice(_PARTS) for _ in range(rng.randrange(1, 6)))


def is_refused(torrent: HostileTorrent) -> bool:
    """Whether libtorrent leaves nothing of its name: it takes no torrent of one such file."""
    import libtorrent as lt  # only here

    try:
        lt.torrent_info(lt.bdecode(torrent.metainfo))
    except RuntimeError as problem:
        assert "missing name" in str(problem), problem
        return True
    return False


def nasty_torrents(maker: HostileMaker, count: int, seed: int) -> list[HostileTorrent]:
    """count torrents; the same for the same seed. Many have the same name."""
    rng = random.Random(seed)
    made: dict[str, HostileTorrent] = {}
    while len(made) < count:
        name = _nasty(rng)
        if rng.random() < 0.3:
            torrent = maker.single(name, rng.randrange(1, 40_000))
        else:
            files = [
                raw(
                    *(_nasty(rng) for _ in range(rng.choice((1, 1, 1, 2, 3, 12)))),
                    length=rng.choice((0, 1, 700, rng.randrange(20_000))),
                )
                for _ in range(rng.randrange(1, 6))
            ]
            torrent = maker.multi(name, [raw(b"first", length=7), *files])
        if not is_refused(torrent):
            made.setdefault(torrent.info_hash, torrent)
    return list(made.values())
