"""Names that torrents bring: safe, distinct, the same each time, and every file can be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Callable

import pytest

from harness.hostile import HostileMaker, HostileTorrent, assert_safe, nasty_torrents, raw
from harness.mount import Magnetfs
from harness.seeder import Seeder


@pytest.fixture(scope="module")
def maker(run_folder: Path) -> HostileMaker:
    return HostileMaker(run_folder / "hostile")


# -- walking where no path is long enough ----------------------------------------------------------


def walk(directory: Path) -> dict[bytes, bytes]:
    """Every file below: its path and its bytes. By descriptors, as paths may be over PATH_MAX."""
    found: dict[bytes, bytes] = {}
    todo = [(os.open(directory, os.O_RDONLY | os.O_DIRECTORY), b"")]
    try:
        while todo:
            fd, prefix = todo.pop()
            try:
                names = [os.fsencode(name) for name in os.listdir(fd)]
                assert len(set(names)) == len(names)
                for name in names:
                    assert_safe(name)
                    mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
                    assert stat.S_ISDIR(mode) or stat.S_ISREG(mode), name
                    below = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
                    if stat.S_ISDIR(mode):
                        todo.append((below, prefix + name + b"/"))
                        continue
                    with open(below, "rb") as file:
                        found[prefix + name] = file.read()
            finally:
                os.close(fd)
    finally:
        for fd, _ in todo:
            os.close(fd)
    return found


def add_all(fs: Magnetfs, magnets: list[str], torrents: list[HostileTorrent]) -> None:
    """All of them in one write, then waits for their metadata."""
    answers = fs.add("\n".join(magnets))
    assert [answer["infoHash"] for answer in answers] == [t.info_hash for t in torrents]
    for torrent in torrents:
        fs.files(torrent.info_hash)


def paths_of(fs: Magnetfs, torrent: HostileTorrent) -> list[str]:
    return [entry["path"] for entry in fs.files(torrent.info_hash)]


def name_of(fs: Magnetfs, torrent: HostileTorrent) -> str:
    return str(fs.torrent(torrent.info_hash)["name"])


def assert_all_readable(fs: Magnetfs, torrents: list[HostileTorrent]) -> None:
    """Each torrent has a directory of its own, in which each file is what the torrent says."""
    names = os.listdir(os.fsencode(fs.mountpoint))
    for name in names:
        assert_safe(name)
    assert len(names) == len(set(names)) == len(torrents)
    assert {os.fsencode(name_of(fs, torrent)) for torrent in torrents} == set(names)
    for torrent in torrents:
        found = walk(fs.mountpoint / name_of(fs, torrent))
        paths = [path.encode() for path in paths_of(fs, torrent)]
        contents = torrent.contents
        assert len(paths) == len(set(paths)) == len(contents), torrent.files
        assert set(found) == set(paths), torrent.files
        for path, content in zip(paths, contents):
            assert found[path] == content, (torrent.name, path)


# -- one by one ------------------------------------------------------------------------------------

# What the files of one folder are called in the torrent, and what they must be in the mount.
FILES: dict[str, list[tuple[tuple[bytes, ...], str]]] = {
    "absolute": [((b"/etc/passwd",), "_etc_passwd"), ((b"", b"etc", b"passwd"), "_/etc/passwd")],
    "dots": [((b"..", b"..", b"x"), "__/__/x"), ((b".", b"x"), "_/x"), ((b"...",), "...")],
    "nothing but dots": [((b"..",), "__"), ((b".",), "_")],
    "climbing": [((b"../../../x",), ".._.._.._x"), ((b"a", b"../x"), "a/.._x")],
    "NUL": [((b"a\0b",), "a_b"), ((b"\0",), "_")],
    "slash": [((b"a/b",), "a_b"), ((b"d/e", b"f"), "d_e/f")],
    "control": [((b"a\nb\r\t\x1b[2J\x7f.mkv",), "a_b___[2J_.mkv"), (("\x85".encode(),), "_")],
    "bidi": [(("a\u202egpj.exe".encode(),), "a_gpj.exe"), (("\u2067x\u2069".encode(),), "_x_")],
    "marks": [(("a\u200f\u061c\u200e\u2028".encode(),), "a____")],
    "invalid UTF-8": [((b"\xff\xfe",), "__"), ((b"\xc0\xaf\xed\xa0\x80",), "_____")],
    "alike when safe": [((b"\xff",), "_"), ((b"\xfe",), "_ (2)"), ((b"\n",), "_ (3)")],
    "300 bytes": [((b"L" * 300 + b".mkv",), "L" * 251 + ".mkv"), ((b"M" * 300,), "M" * 255)],
    "300 bytes of UTF-8": [(("é".encode() * 150,), "é" * 127)],
    "alike when cut": [((b"N" * 301,), "N" * 255), ((b"N" * 300,), "N" * 251 + " (2)")],
    "600 levels": [((b"d",) * 600 + (b"x",), "d/" * 600 + "x")],
    "long and deep": [((b"D" * 250,) * 60 + (b"x",), ("D" * 250 + "/") * 60 + "x")],
    "a file and a folder": [((b"n",), "n"), ((b"n", b"x"), "n (2)/x"), ((b"n", b"y"), "n (2)/y")],
    "a folder and a file": [((b"n", b"x"), "n/x"), ((b"n",), "n (2)")],
    "duplicates": [((b"a.b",), "a.b"), ((b"a.b",), "a (2).b"), ((b"a.b",), "a (3).b")],
    "case": [((b"a",), "a"), ((b"A",), "A")],
    "Unicode form": [(("é".encode(),), "é"), (("e\u0301".encode(),), "e\u0301")],
    "control directory": [
        ((b".magnetfs",), ".magnetfs"),
        ((b".magnetfs", b"add"), ".magnetfs (2)/add"),
    ],
    "empty": [((b"",), "_"), ((b"a", b""), "a/_")],
}


def test_each_kind_of_hostile_path_is_shown_safe_and_can_be_read(
    fs: Magnetfs, seeder: Seeder, maker: HostileMaker
) -> None:
    files = []
    expected = []
    for number, (kind, cases) in enumerate(FILES.items()):
        for path, shown in cases:
            files.append(raw(kind.encode(), *path, length=50 + len(files)))
            expected.append(f"{kind}/{shown}")
        files.append(raw(kind.encode(), b"pad", length=9, attr="p"))
        files.append(raw(kind.encode(), b"link", length=0, attr="l"))
    files.append(raw(b"old", b"name", utf8=[b"new", "n\u00e4me".encode()]))
    torrent = maker.multi(b"paths", files)
    fs.add(torrent.magnet(seeder.seed(torrent)))
    assert paths_of(fs, torrent) == [*expected, "new/n\u00e4me"]
    assert_all_readable(fs, [torrent])


# Names of torrents, in the order they are added: of several files, or of one.
MULTI = [
    (b"/etc/passwd", "_etc_passwd"),
    (b"..", "__"),
    (b".", "_"),
    (b"", "_ (2)"),
    (b"../x", ".._x"),
    (b"a\0b", "a_b"),
    (b"\0b", "_b"),
    (b"a\nb\x1b[2J", "a_b_[2J"),
    ("\u202egpj".encode(), "_gpj"),
    (b"\xff\xc0", "__ (2)"),
    (b"L" * 300, "L" * 255),
    (b"L" * 301, "L" * 251 + " (2)"),
    (b".magnetfs", ".magnetfs (2)"),
    (b".magnetfs", ".magnetfs (3)"),
    (b"same", "same"),
    (b"same", "same (2)"),
    (b"same (2)", "same (2) (2)"),
    (b"Same", "Same"),
    ("é".encode(), "é"),
    ("e\u0301".encode(), "e\u0301"),
]
SINGLE = [
    (b"...mkv", "...mkv", "...mkv"),
    (b"..mkv", "..mkv", "..mkv"),
    (b".mkv", ".mkv", ".mkv"),
    (b".magnetfs.mkv", ".magnetfs (4)", ".magnetfs.mkv"),
    (b"same.mkv", "same (3)", "same.mkv"),
    (b"/a/\0.mkv", "_a__", "_a__.mkv"),
    (b"S" * 300 + b".mkv", "S" * 251, "S" * 251 + ".mkv"),
]


def test_each_kind_of_hostile_name_is_a_directory_of_its_own(
    fs: Magnetfs, seeder: Seeder, maker: HostileMaker
) -> None:
    torrents = []
    expected = []
    for name, directory in MULTI:
        torrents.append(maker.multi(name, [raw(b"x"), raw(b"..", length=5)]))
        expected.append((directory, ["x", "__"]))
    for name, directory, file in SINGLE:
        torrents.append(maker.single(name))
        expected.append((directory, [file]))
    for torrent in torrents:
        seeder.seed(torrent)
    add_all(fs, [torrent.magnet(seeder) for torrent in torrents], torrents)
    shown = [(name_of(fs, torrent), paths_of(fs, torrent)) for torrent in torrents]
    assert shown == expected
    assert_all_readable(fs, torrents)


def test_hostile_names_in_a_v2_torrent(fs: Magnetfs, seeder: Seeder, maker: HostileMaker) -> None:
    names = [b"..", b".", b"a/b", b"a\0b", b"a\n", b"\xff", b"\xfe", b"M" * 300, b"dir", b"DIR"]
    files = [raw(name, length=100 + n) for n, name in enumerate(names)]
    files += [raw(b"..", b"..", b"etc"), raw(*[b"d"] * 90, b"x"), raw("\u202e".encode(), length=0)]
    files = [file for file in files if file.path != (b"..",)]  # a folder has that key
    torrent = maker.v2(b"..", files)
    fs.add(torrent.magnet(seeder.seed(torrent)))
    fs.files(torrent.info_hash)
    assert name_of(fs, torrent) == "__"
    assert_all_readable(fs, [torrent])


HOSTILE_DN = [b"..", b".", b"../../etc", b"a\0b", b"\n\x1b[2J", "\u202ex".encode(), b".magnetfs"]
HOSTILE_DN += [b"\xff", b"\xfe", b"L" * 300, b"/", b"", b"..mkv"]


def test_a_pending_torrents_directory_is_safe_too(fs: Magnetfs) -> None:
    lines = []
    for number, name in enumerate(HOSTILE_DN, 1):
        magnet = HostileTorrent(name, [], b"", f"{number:040x}", Path(), []).magnet(name=name)
        lines.append(magnet)
    fs.add("\n".join(lines))
    names = os.listdir(os.fsencode(fs.mountpoint))
    assert len(set(names)) == len(HOSTILE_DN)
    for name in names:
        assert_safe(name)
        assert os.path.isdir(os.fsencode(fs.mountpoint) + b"/" + name)
    for info_hash in os.listdir(fs.control / "torrents"):
        fs.remove(info_hash)
    assert os.listdir(fs.mountpoint) == []
    assert fs.control.is_dir()


# -- in bulk ---------------------------------------------------------------------------------------


def test_two_hundred_nasty_torrents_are_called_the_same_however_they_come(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, maker: HostileMaker
) -> None:
    """By magnets with lying names or none, in whatever order the metadata comes, and as files."""
    torrents = nasty_torrents(maker, 200, seed=20)
    for torrent in torrents:
        seeder.seed(torrent)
    lies = [b"same", b"first", b".magnetfs", b"x" * 300]
    ways: list[Callable[[Magnetfs], Any]] = [
        lambda fs: add_all(fs, [t.magnet(seeder) for t in torrents], torrents),
        lambda fs: add_all(
            fs,
            [t.magnet(seeder, name=lies[n % len(lies)]) for n, t in enumerate(torrents)],
            torrents,
        ),
        lambda fs: [fs.add(torrent.metainfo) for torrent in torrents],
    ]
    seen = []
    for number, way in enumerate(ways):
        # One connection a torrent is not enough: seeders call back.
        fs = magnetfs("--set", "connections_limit=1000", name=f"fs{number}", http=False)
        way(fs)
        seen.append([(name_of(fs, t), paths_of(fs, t)) for t in torrents])
        if number == 0:
            assert_all_readable(fs, torrents)
        fs.stop()
    assert seen[0] == seen[1]
    assert seen[0] == seen[2]


def test_a_name_goes_to_whom_was_added_first_until_a_file_was_opened(
    fs: Magnetfs, seeder: Seeder, maker: HostileMaker
) -> None:
    first, second, third = (maker.multi(b"name", [raw(b"x", length=n)]) for n in (10, 20, 30))
    fs.add(first.magnet())
    fs.add(second.magnet())
    seeder.seed(third).seed(second).seed(first)
    fs.add(third.magnet(seeder))
    fs.files(third.info_hash)
    assert name_of(fs, third) == "name"
    with fs.events() as events:
        fs.add(second.magnet(seeder))
        events.wait("ready", second.info_hash, 20)
    assert (name_of(fs, second), name_of(fs, third)) == ("name", "name (2)")
    assert os.path.getsize(fs.mountpoint / "name" / "x") == 20
    assert (fs.mountpoint / "name" / "x").read_bytes() == second.contents[0]
    with fs.events() as events:
        fs.add(first.magnet(seeder))
        events.wait("ready", first.info_hash, 20)
    names = [name_of(fs, torrent) for torrent in (first, second, third)]
    assert names == ["name (2)", "name", "name (3)"]
    assert_all_readable(fs, [first, second, third])
