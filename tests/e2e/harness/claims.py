"""What a catalog on the disk says that there is, compared with what there is."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from harness.torrents import Torrent


@dataclass
class Claims:
    """By info-hash: which torrents there are and whether they are kept, and the pieces of each."""

    kept: dict[str, bool] = field(default_factory=dict)
    pieces: dict[str, set[int]] = field(default_factory=dict)
    # Torrents of which a piece is still to be hashed after an end that was none in peace. What is
    # found to be bad, or goes to make room, is taken off the disk before the catalog says so: it
    # is not trusted before that either.
    doubted: set[str] = field(default_factory=set)

    def of(self, torrent: Torrent) -> set[int]:
        """What is claimed of it, without doubt or with."""
        return self.pieces.get(torrent.info_hash, set())


def read_claims(state: Path, scratch: Path) -> Claims:
    """Those of a state folder that nobody uses; scratch: where a copy may be, as who reads a
    database changes it."""
    claims = Claims()
    shutil.copytree(state, scratch)
    catalog = sqlite3.connect(scratch / "catalog.db")
    try:
        (version,) = catalog.execute("PRAGMA user_version").fetchone()
        if version == 0:
            return claims
        assert catalog.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for info_hash, kept, bits, checked in catalog.execute(
            "SELECT hex, kept, map, checked FROM torrents LEFT JOIN haves USING (number)"
        ):
            claims.kept[info_hash] = bool(kept)
            if not checked:
                claims.doubted.add(info_hash)
            claims.pieces[info_hash] = {
                piece for piece in range(8 * len(bits or b"")) if bits[piece // 8] >> piece % 8 & 1
            }
    finally:
        catalog.close()
        shutil.rmtree(scratch)
    return claims


def assert_claims_hold(cache: Path, shelf: Sequence[Torrent], claims: Claims) -> int:
    """Each piece that is claimed to be there, without doubt, lies in its store as it should; how
    many bytes were compared."""
    compared = 0
    for torrent in shelf:
        path = cache / f"{torrent.info_hash}.pieces"
        claimed = claims.of(torrent)
        if not claimed or torrent.info_hash in claims.doubted:
            continue
        assert path.exists(), f"{torrent.name}: {len(claimed)} pieces are claimed, without a store"
        length = torrent.piece_length
        with open(path, "rb") as store, open(torrent.blob, "rb") as blob:
            for piece in sorted(claimed):
                right = os.pread(blob.fileno(), length, piece * length)
                got = os.pread(store.fileno(), len(right), piece * length)
                assert got == right, f"{torrent.name}: piece {piece} is claimed, and is not there"
                compared += len(right)
    return compared
