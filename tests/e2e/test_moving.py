"""Moving house: what `magnetctl export` writes of one magnetfs, another one takes by `add`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Callable

import libtorrent as lt
import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

DEAD = "0123456789abcdef0123456789abcdef01234567"  # a torrent that nobody has


@pytest.fixture(scope="module")
def album(torrents: TorrentMaker) -> Torrent:
    files = [("cover.jpg", 30_000), ("disc 1/01.flac", MIB), ("disc 1/02.flac", 70_001)]
    return torrents.multi("album", files, seed=191)


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mkv", 3 * MIB, seed=192, piece_length=64 * KIB)


def found(fs: Magnetfs) -> list[tuple[str, int | None]]:
    """What find(1) sees: the paths, and the lengths of files."""
    return sorted(
        (
            str(path.relative_to(fs.mountpoint)),
            path.stat().st_size if path.is_file() else None,
        )
        for path in fs.mountpoint.rglob("*")
    )


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_all_moves_with_an_export(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, album: Torrent, film: Torrent, folder: Path
) -> None:
    one, two = magnetfs(name="one"), magnetfs(name="two")
    seeder.seed(film).seed(album)
    assert one.ctl("add", str(album.torrent_file)).returncode == 0
    one.add_torrent(film, seeder)
    one.add(f"magnet:?xt=urn:btih:{DEAD}&dn=nobody%20has%20it")
    path = folder / "the house.txt"
    beside = folder / "the house.txt.torrents"
    done = one.ctl("export", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    # Two are .torrent files that others can read, one is a magnet.
    assert lines(path)[:2] == [
        f"{beside.name}/{torrent.info_hash}.torrent" for torrent in (album, film)
    ]
    assert re.fullmatch(rf"magnet:\?xt=urn:btih:{DEAD}&dn=nobody(%20|\+)has.*", lines(path)[2])
    assert len(lines(path)) == 3
    assert sorted(os.listdir(beside)) == sorted(
        f"{torrent.info_hash}.torrent" for torrent in (album, film)
    )
    for torrent in (album, film):
        info = lt.torrent_info(str(beside / f"{torrent.info_hash}.torrent"))
        assert str(info.info_hashes().v1) == torrent.info_hash
        assert (info.name(), info.total_size()) == (torrent.name, torrent.length)

    # Elsewhere; the list's folder may have another name there.
    moved = folder / "elsewhere"
    moved.mkdir()
    for name in (path, beside):
        name.rename(moved / name.name)
    done = two.ctl("add", str(moved / path.name))
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        album.info_hash,
        film.info_hash,
        DEAD,
    ]
    assert all(torrent["kept"] for torrent in two.status()["torrents"])
    assert found(one) == found(two)
    assert {name for name, _length in found(two)} >= {"album/disc 1/01.flac", "film/film.mkv"}
    # The film's seeder is known from the list or comes with a magnet; the album's is new.
    for torrent in (album, film):
        two.add(torrent.magnet(seeder))
        for file in torrent.files:
            data = (two.directory(torrent) / file.path).read_bytes()
            assert data == torrent.read(file.path), file


def test_an_export_is_replaced_and_names_what_is_known_by_then(
    fs: Magnetfs, seeder: Seeder, album: Torrent, film: Torrent, folder: Path
) -> None:
    path = folder / "#list"
    line = f"./{path.name}.torrents/" + "{}.torrent"
    fs.add(film.magnet())
    assert fs.ctl("export", str(path)).returncode == 0
    assert lines(path) == [film.magnet()] and not (folder / "#list.torrents").exists()
    fs.add_torrent(film, seeder.seed(film))
    fs.add(album.metainfo, temporary=True)
    assert fs.ctl("export", str(path)).returncode == 0
    assert lines(path) == [line.format(film.info_hash)]
    first = (folder / "#list.torrents" / f"{film.info_hash}.torrent").stat()
    assert fs.ctl("export", "--all", str(path)).returncode == 0
    assert lines(path) == [line.format(torrent.info_hash) for torrent in (film, album)]
    again = (folder / "#list.torrents" / f"{film.info_hash}.torrent").stat()
    assert first.st_ino != again.st_ino, "made anew, never written over"
    fs.remove(film.info_hash)
    fs.remove(album.info_hash)
    waiting.until("an empty mount", lambda: not os.listdir(fs.mountpoint))
    done = fs.ctl("add", str(path))
    assert (done.returncode, done.stdout) == (
        0,
        f"{film.info_hash}\tfilm\n{album.info_hash}\talbum\n",
    )
    assert found(fs)
    # On the standard output there are magnets alone.
    magnets = fs.ctl("export", "-").stdout.splitlines()[1:]
    assert len(magnets) == 2 and all(magnet.startswith("magnet:?") for magnet in magnets)
