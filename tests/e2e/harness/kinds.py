"""Every kind of torrent: v1 (BEP 3), v2 (BEP 52) and hybrids, with padding and links (BEP 47).

Made from raw bytes, without libtorrent: that the seeders' libtorrent takes them says that they are
right, and what a test compares with is the content itself.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from harness.torrents import KIB, Pattern, Torrent, TorrentFile, bencode, hash_pieces

V1, HYBRID, V2 = KINDS = ("v1", "hybrid", "v2")
BLOCK = 16 * KIB  # BEP 52: what a leaf of a file's tree is the hash of


@dataclass(frozen=True)
class Entry:
    """What a torrent lists: a file, or with a target a symbolic link."""

    path: str
    length: int = 0
    target: str = ""

    @property
    def components(self) -> list[bytes]:
        return [component.encode() for component in self.path.split("/")]


class Tree:
    """The hashes of one file (BEP 52): a binary tree over its blocks, filled up with zeros."""

    def __init__(self, data: bytes, piece_length: int) -> None:
        level = [
            hashlib.sha256(data[at : at + BLOCK]).digest() for at in range(0, len(data), BLOCK)
        ]
        filler = bytes(32)
        covers = BLOCK  # bytes below one hash of the level
        self.layer = b""  # of pieces; for files of more than one
        while len(level) > 1:
            if covers == piece_length:
                self.layer = b"".join(level)
            if len(level) % 2:
                level.append(filler)
            pairs = zip(level[::2], level[1::2])
            level = [hashlib.sha256(left + right).digest() for left, right in pairs]
            filler = hashlib.sha256(filler * 2).digest()
            covers *= 2
        self.root = level[0]


class KindMaker:
    """Makes torrents in a folder, each in one of its own, where seeders find its files by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def single(self, kind: str, name: str, length: int, piece_length: int = 64 * KIB) -> Torrent:
        """A torrent of one file; in the mount a directory too, named without the extension."""
        return self._make(kind, name, [Entry(name, length)], piece_length, single=True)

    def multi(
        self,
        kind: str,
        name: str,
        entries: Sequence[Entry],
        piece_length: int = 64 * KIB,
        *,
        padded: bool = False,
        hollow: bool = False,
        **more: object,
    ) -> Torrent:
        """A torrent of several files. padded: with pad files also where v1 needs none. hollow:
        without content, right hashes and layers, of small files that nobody will read. `more` goes
        into the info dictionary as it is."""
        return self._make(kind, name, entries, piece_length, padded, hollow, **more)

    def _make(
        self,
        kind: str,
        name: str,
        entries: Sequence[Entry],
        piece_length: int,
        padded: bool = False,
        hollow: bool = False,
        single: bool = False,
        **more: object,
    ) -> Torrent:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir(parents=True)
        # The one order that all kinds allow: a tree's.
        entries = sorted(entries, key=lambda entry: entry.components)
        aligned = piece_length if padded or kind != V1 else 1
        blob = folder / "content.blob"
        files = self._content(entries, aligned, blob, hollow)
        info: dict[str, object] = {"name": name, "piece length": piece_length, **more}
        layers: dict[bytes, bytes] = {}
        if kind != V2:
            end = files[-1].offset + files[-1].length
            info["pieces"] = (
                bytes(20 * -(-end // piece_length)) if hollow else hash_pieces(blob, piece_length)
            )
            if single:
                info["length"] = files[0].length
            else:
                info["files"] = self._list(entries, aligned)
        if kind != V1:
            info["meta version"] = 2
            info["file tree"] = self._tree(
                entries, files, blob, piece_length, layers, hollow
            )
        metainfo: dict[str, object] = {"info": info}
        if layers:
            metainfo["piece layers"] = layers
        section = bencode(info)
        v1, v2 = hashlib.sha1(section).hexdigest(), hashlib.sha256(section).hexdigest()
        torrent = Torrent(
            name,
            (name.rpartition(".")[0] or name) if single else name,
            files,
            piece_length,
            bencode(metainfo),
            v2 if kind == V2 else v1,
            blob,
            info_hash_v2=None if kind == V1 else v2,
        )
        if kind != V1 and not hollow:
            torrent.lay_out(folder)
        return torrent

    def _content(
        self, entries: Sequence[Entry], aligned: int, blob: Path, hollow: bool
    ) -> list[TorrentFile]:
        """Writes the bytes of all files, each from a multiple of `aligned` on."""
        content = Pattern(self._made).read(0, sum(entry.length for entry in entries))
        files = []
        used = end = 0
        with open(blob, "wb") as stream:
            for entry in entries:
                if entry.target:
                    continue
                if entry.length:
                    end += -end % aligned
                files.append(TorrentFile(entry.path, entry.length, end))
                if not hollow:
                    stream.seek(end)
                    stream.write(content[used : used + entry.length])
                used += entry.length
                end += entry.length
        return files

    @staticmethod
    def _list(entries: Sequence[Entry], aligned: int) -> list[dict[str, object]]:
        """BEP 3's list of files, with BEP 47's pads between them."""
        listed: list[dict[str, object]] = []
        end = 0
        for entry in entries:
            if entry.target:
                target = entry.target.split("/")
                link = {"attr": "l", "length": 0, "path": entry.components, "symlink path": target}
                listed.append(link)
                continue
            if entry.length and end % aligned:
                pad = -end % aligned
                listed.append({"attr": "p", "length": pad, "path": [b".pad", b"%d" % pad]})
                end += pad
            listed.append({"length": entry.length, "path": entry.components})
            end += entry.length
        return listed

    @staticmethod
    def _tree(
        entries: Sequence[Entry],
        files: Sequence[TorrentFile],
        blob: Path,
        piece_length: int,
        layers: dict[bytes, bytes],
        hollow: bool,
    ) -> dict[bytes, object]:
        """BEP 52's tree of files; what goes into "piece layers" is put into layers."""
        offsets = {file.path: file.offset for file in files}
        root: dict[bytes, object] = {}
        with open(blob, "rb") as content:
            for entry in entries:
                at = root
                for component in entry.components:
                    at = at.setdefault(component, {})  # type: ignore[assignment]
                leaf: dict[str, object] = {"length": entry.length}
                if entry.target:
                    leaf["attr"] = "l"
                    leaf["symlink path"] = entry.target.split("/")
                elif hollow:
                    leaf["pieces root"] = hashlib.sha256(entry.path.encode()).digest()
                elif entry.length:
                    data = os.pread(content.fileno(), entry.length, offsets[entry.path])
                    tree = Tree(data, piece_length)
                    leaf["pieces root"] = tree.root
                    if entry.length > piece_length:
                        layers[tree.root] = tree.layer
                at[b""] = leaf
        return root
