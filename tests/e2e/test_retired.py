"""Temporary torrents of an earlier run: gone with their data, remembered for a day."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Callable, Iterable

import pytest

from harness import waiting
from harness.kinds import KINDS, KindMaker
from harness.library import AFTER_KILL, read_at, shown, store_file, stores
from harness.mount import Magnetfs, errno_of
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

IDLE = ("--idle-timeout", "2")
RIGHT_AWAY_S = 1.0
DAY_S = 24 * 3600


@pytest.fixture(scope="module")
def kinds(run_folder: Path) -> KindMaker:
    return KindMaker(run_folder / "retired")


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.multi(
        "film", [("a.mkv", 3 * MIB), ("sub/b.mkv", 2 * MIB)], seed=1401, piece_length=256 * KIB
    )


@pytest.fixture(scope="module")
def other(torrents: TorrentMaker) -> Torrent:
    return torrents.single("other.mkv", MIB, seed=1402, piece_length=64 * KIB)


def paths(lines: Iterable[str]) -> list[str]:
    return [line.split(" ", 1)[1].split(" ")[0] for line in lines]


def recall(fs: Magnetfs, info_hash: str) -> list[dict[str, Any]]:
    fd = os.open(fs.control / "recall", os.O_RDWR)
    try:
        os.write(fd, info_hash.encode() + b"\n")
        return fs._answers(fd)
    finally:
        os.close(fd)


def test_temporary_torrents_of_a_killed_magnetfs_are_gone_and_can_be_recalled(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    film: Torrent,
    other: Torrent,
    kinds: KindMaker,
) -> None:
    fs = magnetfs("--read-timeout", "20", allow=[AFTER_KILL])
    made = [kinds.single(kind, f"{kind}.mkv", 300 * KIB) for kind in KINDS]
    for torrent in (film, *made):
        fs.add_torrent(torrent, seeder.seed(torrent), temporary=True)
    fs.add_torrent(other, seeder.seed(other))
    fs.add("e" * 40, temporary=True)
    before = shown(fs)
    read_at(fs, film, "a.mkv", 0)
    for torrent in made:
        read_at(fs, torrent, torrent.name, 0)
    read_at(fs, other, "other.mkv", 0)
    time.sleep(3)  # what was read is remembered
    fs.kill()
    seeder.kill()
    fs.start()
    assert os.listdir(fs.mountpoint) == ["other"]
    assert stores(fs) == [store_file(fs, other).name]
    for torrent in (film, *made):
        (answer,) = recall(fs, torrent.info_hash)
        assert answer["infoHash"] == torrent.info_hash and answer["error"] is None
        assert len(fs.files(torrent.info_hash, RIGHT_AWAY_S)) == len(torrent.files)
        assert not fs.torrent(torrent.info_hash)["kept"]
    # Under other inode numbers.
    assert sorted(paths(shown(fs))) == sorted(paths(l for l in before if "e" * 40 not in l))
    fs.remove(made[1].info_hash)
    assert made[1].info_hash_v2
    assert errno_of(recall, fs, made[1].info_hash) == errno.ENOENT, "removed is forgotten"
    assert errno_of(recall, fs, "9" * 40) == errno.ENOENT
    assert errno_of(recall, fs, "9" * 64) == errno.ENOENT
    seeder.come_back()
    fs.add(film.magnet(seeder), temporary=True)
    read_at(fs, film, "sub/b.mkv", 1000)


def test_an_idle_temporary_torrent_is_recalled_by_any_of_its_hashes(
    magnetfs: Callable[..., Magnetfs], kinds: KindMaker
) -> None:
    fs = magnetfs(*IDLE)
    hybrid = kinds.single("hybrid", "both.mkv", 200 * KIB)
    assert hybrid.info_hash_v2
    for info_hash in (hybrid.info_hash, hybrid.info_hash_v2):
        fs.add(hybrid.metainfo, temporary=True)
        waiting.until("it goes", lambda: not os.listdir(fs.mountpoint), 20)
        waiting.until("its data goes", lambda: not stores(fs))
        fs.stop()
        fs.start()
        recall(fs, info_hash)
        assert os.listdir(fs.mountpoint / "both") == ["both.mkv"]
        fs.remove(info_hash)


def test_a_magnet_of_a_retired_torrent_has_its_files_at_once(
    magnetfs: Callable[..., Magnetfs], film: Torrent
) -> None:
    fs = magnetfs(*IDLE)
    fs.add(film.metainfo, temporary=True)
    waiting.until("it goes", lambda: not os.listdir(fs.mountpoint), 20)
    fs.add(film.magnet())
    assert len(fs.files(film.info_hash, RIGHT_AWAY_S)) == 2
    assert fs.torrent(film.info_hash)["kept"]


def test_after_a_day_a_retired_torrent_is_forgotten(
    magnetfs: Callable[..., Magnetfs], film: Torrent, other: Torrent
) -> None:
    fs = magnetfs(allow=[AFTER_KILL])
    fs.add(film.metainfo, temporary=True)
    fs.add(other.metainfo, temporary=True)
    fs.kill()
    fs.start()
    fs.stop()
    with sqlite3.connect(fs.state / "catalog.db") as db:
        now = time.time()
        found = dict(db.execute("SELECT v1, until FROM retired").fetchall())
        assert set(found) == {film.info_hash, other.info_hash}
        assert all(now + DAY_S - 60 <= until <= now + DAY_S + 60 for until in found.values())
        db.execute("UPDATE retired SET until = ? WHERE v1 = ?", (int(now) - 1, film.info_hash))
    db.close()
    fs.start()
    assert errno_of(recall, fs, film.info_hash) == errno.ENOENT
    recall(fs, other.info_hash)
    assert os.listdir(fs.mountpoint) == ["other"]
