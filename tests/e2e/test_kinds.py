"""Every kind of torrent: v1, hybrid and v2, of pieces of every size, by magnet and by .torrent."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Callable

import pytest

from harness.kinds import HYBRID, KINDS, V1, V2, Entry, KindMaker
from harness.mount import Magnetfs
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent
from harness.web import stream_target


@pytest.fixture(scope="module")
def maker(run_folder: Path) -> KindMaker:
    return KindMaker(run_folder / "kinds")


def listed(directory: Path) -> dict[str, int]:
    """All that is beneath a directory but the directories: sizes by path."""
    found = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, directory)] = os.lstat(path).st_size
    return found


def assert_all_same(directory: Path, torrent: Torrent) -> None:
    """All files and no other, byte for byte; the last ones first."""
    assert listed(directory) == {file.path: file.length for file in torrent.files}
    for file in reversed(torrent.files):
        assert_same(directory / file.path, torrent, file.path)


# -- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_length", [16 * KIB, 256 * KIB, MIB, 4 * MIB, 32 * MIB])
@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_of_every_kind_and_size_of_pieces(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker, kind: str, piece_length: int
) -> None:
    """With pad files and links (BEP 47), which are not shown, and files without bytes."""
    entries = [
        Entry("a/more than a piece", piece_length + piece_length // 4 + 7),
        Entry("a/nothing"),
        Entry("b/little", 5),
        Entry("b/link", target="b/little"),
        Entry("c", piece_length),
        Entry("d/0", 100_000),
        Entry("d/1", 1),
        Entry("e"),
    ]
    torrent = maker.multi(kind, "kind", entries, piece_length, padded=True)
    directory = fs.add_torrent(torrent, seeder.seed(torrent))
    assert_all_same(directory, torrent)
    names = [entry["path"] for entry in fs.files(torrent.info_hash)]
    assert names == [file.path for file in torrent.files]
    # Padding is no part of what there is: where all files were read, all is there.
    assert fs.web
    for status in (
        fs.torrent(torrent.info_hash),
        fs.web.get(f"/torrents/{torrent.info_hash}").json,
        json.loads(fs.ctl("status", "--json", torrent.info_hash).stdout)["torrents"][0],
    ):
        assert (status["length"], status["haveBytes"]) == (torrent.length, torrent.length)
        assert status["progress"] == 1
    for name, value in (("have_bytes", str(torrent.length)), ("progress", "1.0000")):
        assert os.getxattr(directory, f"user.magnetfs.{name}") == value.encode()


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_bytes_of_any_kind_are_fetched_again_and_never_read(
    fs: Magnetfs, seeder: Seeder, seeders: Callable[[], Seeder], maker: KindMaker, kind: str
) -> None:
    torrent = maker.single(kind, "film.mkv", 4 * MIB, 128 * KIB)
    (torrent.blob.parent / "spoilt").mkdir()
    spoilt = torrent.blob.parent / "spoilt" / torrent.name
    liar = seeders().seed_spoilt(torrent, spoilt, range(1, 32, 2))
    directory = fs.add_torrent(torrent, liar, seeder.seed(torrent, upload_limit=8 * MIB))
    assert_all_same(directory, torrent)
    assert liar.sent(torrent) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_file_over_http_by_its_hash(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker, kind: str
) -> None:
    """The hash alone is enough for /add, /torrents and /stream; a v2 one has 64 digits."""
    assert fs.web
    torrent = maker.single(kind, "clip.mp4", 3 * MIB + 1)
    expected = torrent.read("clip.mp4")
    assert len(torrent.info_hash) == (64 if kind == V2 else 40)
    fs.add(torrent.magnet(seeder.seed(torrent)))
    for name in {torrent.info_hash, torrent.info_hash_v2 or torrent.info_hash}:
        answer = fs.web.add(name).json
        assert answer["infoHash"] == torrent.info_hash
        assert [(f["path"], f["length"]) for f in answer["files"]] == [("clip.mp4", len(expected))]
        assert fs.web.get(f"/torrents/{name}").json["infoHash"] == torrent.info_hash
        assert fs.web.get(f"/stream/{name}/clip.mp4").body == expected
        assert fs.web.range(f"/stream/{name}", "bytes=3000000-").body == expected[3000000:]
    assert os.listdir(fs.mountpoint) == ["clip"]


def test_many_files_of_v2(fs: Magnetfs, seeder: Seeder, maker: KindMaker) -> None:
    """Each has pieces of its own there; test_large.py reads 5,000 of v1."""
    entries = [
        Entry(f"folder {n % 10}/file {n}", 40_001 if n % 9 == 0 else n % 800) for n in range(100)
    ]
    torrent = maker.multi(V2, "many", entries, 32 * KIB)
    assert_all_same(fs.add_torrent(torrent, seeder.seed(torrent)), torrent)


# -- .torrent files --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_torrent_file_by_cp_and_by_post(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker, kind: str
) -> None:
    assert fs.web
    copied, posted = (
        maker.multi(kind, name, [Entry("a", 300_000), Entry("b", 100)])
        for name in ("copied", "posted")
    )
    for torrent in (copied, posted):
        seeder.seed(torrent)
    shutil.copyfile(copied.torrent_file, fs.control / "add")
    answer = fs.web.post_torrent(posted.metainfo)
    assert answer.status == 200 and answer.json["infoHash"] == posted.info_hash
    for torrent in (copied, posted):
        seeder.connect(torrent, fs.bt_port)
        assert_all_same(fs.directory(torrent), torrent)


# -- hybrids ---------------------------------------------------------------------------------------


def written(hybrid: Torrent, form: str, *peers: Seeder) -> str | bytes:
    assert hybrid.info_hash_v2
    where = "".join(f"&x.pe={seeder.peer}" for seeder in peers)
    by_v1, by_v2 = f"urn:btih:{hybrid.info_hash}", f"urn:btmh:1220{hybrid.info_hash_v2}"
    forms: dict[str, str | bytes] = {
        "v1": f"magnet:?xt={by_v1}{where}",
        "v2": f"magnet:?xt={by_v2}{where}",
        "both": f"magnet:?xt={by_v2}&xt={by_v1}{where}",
        "bare v2": hybrid.info_hash_v2,
        ".torrent": hybrid.metainfo,
    }
    return forms[form]


def assert_one(fs: Magnetfs, hybrid: Torrent) -> None:
    """One torrent, found by either hash, wherever hashes are asked for."""
    hashes = {hybrid.info_hash, hybrid.info_hash_v2}
    shown = fs.status()["torrents"]
    assert [(t["state"], t["error"]) for t in shown] == [("awake", None)], shown
    assert os.listdir(fs.mountpoint) == [hybrid.directory]
    assert set(os.listdir(fs.control / "by-hash")) == hashes
    for info_hash in hashes:
        assert os.readlink(fs.control / "by-hash" / info_hash) == f"../../{hybrid.directory}"
        assert {fs.torrent(info_hash)[key] for key in ("infoHash", "infoHashV2")} <= hashes
        assert fs.torrent(info_hash)["infoHashV2"] == hybrid.info_hash_v2
        assert_all_same(fs.control / "by-hash" / info_hash, hybrid)


@pytest.mark.parametrize(
    "first, second",
    [
        ("v1", "v2"),
        ("v2", "v1"),
        ("v1", "bare v2"),
        (".torrent", "v1"),
        (".torrent", "v2"),
        ("v1", ".torrent"),
        ("v2", ".torrent"),
        ("both", "v2"),
    ],
)
def test_a_hybrid_is_one_torrent_by_whichever_hash_it_comes_again(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker, first: str, second: str
) -> None:
    hybrid = maker.multi(HYBRID, "hybrid", [Entry("a", 100_000), Entry("b", 5)])
    [answer] = fs.add(written(hybrid, first, seeder.seed(hybrid)))
    if first == ".torrent":
        seeder.connect(hybrid, fs.bt_port)
    fs.files(answer["infoHash"])
    [again] = fs.add(written(hybrid, second))
    assert again["infoHash"] == answer["infoHash"] and again["error"] is None
    assert_one(fs, hybrid)
    fs.remove(hybrid.info_hash)
    assert os.listdir(fs.control / "by-hash") == []


@pytest.mark.parametrize("pending", [["v1"], ["v2"], ["both"], ["v1", "v2"], ["v2", "v1"]])
def test_a_torrent_file_is_the_metadata_of_its_pending_magnets(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker, pending: list[str]
) -> None:
    """Nobody gives the metadata of these magnets; then the user does, and they are one torrent."""
    hybrid = maker.multi(HYBRID, "hybrid", [Entry("a", 100_000), Entry("b", 5)])
    for form in pending:
        fs.add(written(hybrid, form))
    assert [t["state"] for t in fs.status()["torrents"]] == ["pending"] * len(pending)
    [answer] = fs.add(hybrid.metainfo)
    assert len(fs.files(answer["infoHash"], timeout=5)) == 2
    seeder.seed(hybrid).connect(hybrid, fs.bt_port)
    assert_one(fs, hybrid)


@pytest.mark.parametrize("kind", [V1, V2])
def test_a_torrent_file_is_the_metadata_of_its_magnet_also_over_http(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker, kind: str
) -> None:
    assert fs.web
    torrent = maker.single(kind, "late.bin", 300_000)
    fs.add(torrent.magnet())
    assert fs.web.post_torrent(torrent.metainfo).json["infoHash"] == torrent.info_hash
    seeder.seed(torrent).connect(torrent, fs.bt_port)
    assert fs.web.get(stream_target(torrent, "late.bin")).body == torrent.read("late.bin")
