"""What a torrent may ask for at most. Whoever asks for more is told which limit it was."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Callable

import pytest

from harness.hostile import HostileMaker, HostileTorrent, raw
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, bencode

FILES = 500_000
FOLDERS = 1 << 16
DEPTH = 1024
TREE_DEPTH = 101  # libtorrent's, of v2
PATH_BYTES = 32 * MIB
PIECES = 1 << 21
METADATA = 32 * MIB


@pytest.fixture(scope="module")
def maker(run_folder: Path) -> HostileMaker:
    return HostileMaker(run_folder / "limits")


def v1(files: list[bytes]) -> bytes:
    """A .torrent of files, given as bencoded paths, of which the first has the only byte."""
    entries = b"".join(
        b"d6:lengthi%de4:pathl%see" % (number == 0, path) for number, path in enumerate(files)
    )
    return (
        b"d4:infod5:filesl" + entries + b"e4:name1:x12:piece lengthi16384e"
        b"6:pieces20:" + hashlib.sha1(b"x").digest() + b"ee"
    )


def v2(tree: dict[bytes, object]) -> bytes:
    info = {"file tree": tree, "meta version": 2, "name": "x", "piece length": 16 * KIB}
    return bencode({"info": info})


def leaf(length: int = 0) -> dict[bytes, object]:
    return {b"": {"length": length, **({"pieces root": b"r" * 32} if length else {})}}


def nested(names: list[bytes], inner: dict[bytes, object]) -> dict[bytes, object]:
    for name in reversed(names):
        inner = {name: inner}
    return inner


def many_files(count: int) -> bytes:
    return v1([b"7:%07d" % number for number in range(count)])


def many_folders(count: int) -> bytes:
    return v1([b"6:%06d1:f" % number for number in range(count)])


def long_paths(levels: int, count: int) -> bytes:
    """Few bytes of metadata, but each path has all of its folders' names."""
    files: dict[bytes, object] = {b"%04d" % number: leaf() for number in range(count)}
    files[b"x"] = leaf(1)
    return v2(nested([b"D" * 250] * levels, files))


def padded(length: int) -> bytes:
    """A .torrent of that many bytes."""
    pieces = hashlib.sha1(b"x").digest()
    info = {"length": 1, "name": "x", "piece length": 16 * KIB, "pieces": pieces}
    rest = len(bencode({"info": {**info, "zz": b""}}))
    info["zz"] = bytes(length - rest - len(str(length - rest - 8)) + 1)
    return bencode({"info": info})


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "files": (lambda: many_files(FILES + 1), f"more than {FILES} files"),
    "folders": (lambda: many_folders(FOLDERS + 1), f"more than {FOLDERS} folders"),
    "depth": (lambda: v1([b"1:d" * (DEPTH + 1)]), f"more than {DEPTH} components in a path"),
    "depth of a tree": (
        lambda: v2(nested([b"d"] * TREE_DEPTH, {b"x": leaf(1)})),
        f"more than {TREE_DEPTH} components in a path",
    ),
    "paths": (lambda: long_paths(100, 1500), f"more than {PATH_BYTES} bytes of paths"),
    "pieces": (
        lambda: v2({b"x": leaf(16 * KIB * PIECES + 1)}),
        f"more than {PIECES} pieces",
    ),
    "metadata": (lambda: padded(METADATA + 1), str(METADATA)),
}


def test_a_body_larger_than_any_torrent_is_413(fs: Magnetfs) -> None:
    """What magnetctl and a write to add take, HTTP takes as well."""
    assert fs.web
    largest = 33 << 20
    assert str(METADATA) in fs.web.post_torrent(padded(largest)).problem(400)["error"]
    assert str(largest) in fs.web.post_torrent(padded(largest + 1)).problem(413)["error"]


@pytest.mark.parametrize("what", REFUSED)
def test_a_torrent_file_over_a_limit_is_refused_with_the_limit(
    fs: Magnetfs, folder: Path, what: str
) -> None:
    make, reason = REFUSED[what]
    metainfo = make()
    number, answer = fs.refused(metainfo)
    assert (number, reason in answer["error"]) == (errno.E2BIG, True), answer
    assert fs.web
    posted = fs.web.post_torrent(metainfo)
    assert reason in posted.problem(400)["error"]
    path = folder / "over.torrent"
    path.write_bytes(metainfo)
    done = fs.ctl("add", str(path))
    assert done.returncode == 1 and reason in done.stderr, done
    assert fs.status()["torrents"] == []


TAKEN: dict[str, Callable[[], bytes]] = {
    "depth": lambda: v1([b"1:d" * DEPTH]),
    "depth of a tree": lambda: v2(nested([b"d"] * (TREE_DEPTH - 1), {b"x": leaf(1)})),
    "paths": lambda: long_paths(100, 1300),
    "pieces": lambda: v2({b"x": leaf(16 * KIB * PIECES)}),
    "metadata": lambda: padded(METADATA),
}


@pytest.mark.parametrize("what", TAKEN)
def test_a_torrent_file_at_a_limit_is_taken(fs: Magnetfs, what: str) -> None:
    [answer] = fs.add(TAKEN[what]())
    assert not answer["error"] and fs.files(answer["infoHash"])


def seeded(maker: HostileMaker, what: str, folder: Path) -> HostileTorrent:
    if what == "depth":
        return maker.multi(b"deep", [raw(*[b"d"] * (DEPTH + 1))])
    if what == "metadata":
        return maker.multi(b"large", [raw(b"x")], zz=bytes(METADATA))
    metainfo = REFUSED["pieces"][0]()
    section = metainfo[len("d4:info") : -1]
    info_hash = hashlib.sha256(section).hexdigest()
    # Nobody will ask for its bytes.
    return HostileTorrent(b"x", [], metainfo, info_hash, folder / "x", [], folder)


@pytest.mark.parametrize("what", ["depth", "pieces", "metadata"])
def test_a_magnet_over_a_limit_fails_with_the_limit(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, maker: HostileMaker, folder: Path, what: str
) -> None:
    torrent = seeded(maker, what, folder)
    limit = {"depth": DEPTH, "pieces": PIECES, "metadata": METADATA}[what]
    # A peer may lie about the size of its metadata: that is told when the time for it is over.
    fs = magnetfs("--metadata-timeout", "1", "--retries", "0")
    magnet = torrent.magnet(seeder.seed(torrent))
    fs.add(magnet)
    assert fs.web
    answer = fs.web.add(magnet)
    assert str(limit) in answer.problem(504 if what == "metadata" else 502)["error"]
    error = fs.torrent(torrent.info_hash)["error"]
    assert str(limit) in error, error
    shown = fs.ctl("status")
    assert shown.returncode == 0 and error in shown.stdout, shown
    again = fs.web.add(magnet)
    assert str(limit) in again.json["error"], "added once more it is no better"


def test_thousands_of_files_of_one_name_hold_nobody_up(fs: Magnetfs, maker: HostileMaker) -> None:
    """libtorrent takes minutes to tell ten thousand of them apart, hours for these."""
    torrent = maker.multi(b"many", [raw(b"same.txt", length=1) for _ in range(60_000)])
    fs.add(torrent.metainfo)
    names = {"same.txt", *(f"same ({n}).txt" for n in range(2, 60_001))}
    assert set(os.listdir(fs.mountpoint / "many")) == names


def test_what_libtorrent_cannot_use_is_told(fs: Magnetfs, maker: HostileMaker) -> None:
    """It leaves nothing of such a name, and takes no torrent of one file without a name."""
    for name in (b"..", b".", b"/", "\u202e".encode()):
        number, answer = fs.refused(maker.single(name).metainfo)
        assert number == errno.EINVAL and "missing name" in answer["error"], (name, answer)
