"""The main job: a magnet becomes a directory whose file reads while it arrives, also over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.mount import ANY_TRANSPORT, Magnetfs
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.tracker import OpenTracker
from harness.transmission import Transmission
from harness.web import stream_target


@pytest.fixture(scope="module")
def clip(torrents: TorrentMaker) -> Torrent:
    return torrents.single("clip.mp4", 12 * MIB + 12_345)


@pytest.fixture
def fs_any(magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    """A magnetfs that may dial uTP as well as TCP, as users have it."""
    return magnetfs("--read-timeout", "20", *ANY_TRANSPORT)


def curl(url: str, *options: str) -> bytes:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", "40"] + [*options, url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_a_magnet_written_to_add_becomes_a_directory_whose_file_reads_while_it_arrives(
    fs: Magnetfs, seeder: Seeder, clip: Torrent
) -> None:
    seeder.seed(clip, upload_limit=8 * MIB)
    with open(fs.control / "add", "wb", buffering=0) as control:
        control.write(clip.magnet(seeder).encode() + b"\n")
    assert fs.files(clip.info_hash) == [
        {"index": 0, "name": "clip.mp4", "path": "clip.mp4", "length": clip.length}
    ]
    path = fs.mountpoint / "clip" / "clip.mp4"
    assert os.listdir(fs.mountpoint / "clip") == ["clip.mp4"]
    with open(path, "rb", buffering=0) as stream:
        first = stream.read(64 * KIB)
    assert first == clip.read("clip.mp4", 0, 64 * KIB)
    have = fs.torrent(clip.info_hash)["haveBytes"]
    assert have < clip.length, "the first bytes must not wait for the last ones"
    assert_same(path, clip, "clip.mp4")
    assert fs.torrent(clip.info_hash)["progress"] == 1


def test_get_add_waits_for_the_metadata_and_lists_the_files(
    fs: Magnetfs, seeder: Seeder, clip: Torrent
) -> None:
    seeder.seed(clip)
    assert fs.web
    answer = fs.web.add(clip.magnet(seeder))
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json["infoHash"] == clip.info_hash
    assert answer.json["name"] == "clip"
    (entry,) = answer.json["files"]
    assert (entry["name"], entry["length"], entry["path"]) == ("clip.mp4", clip.length, "clip.mp4")
    assert entry["stream"].endswith(f"/stream/{clip.info_hash}/clip.mp4")
    assert_same(fs.directory(clip) / "clip.mp4", clip, "clip.mp4")


def test_get_add_takes_the_magnet_unencoded_and_a_bare_info_hash(
    fs: Magnetfs, seeder: Seeder, clip: Torrent
) -> None:
    seeder.seed(clip)
    assert fs.web
    raw = fs.web.get("/add/" + clip.magnet(seeder))
    assert (raw.status, raw.json["infoHash"]) == (200, clip.info_hash)
    bare = fs.web.get("/add/" + clip.info_hash)
    assert (bare.status, bare.json["files"]) == (200, raw.json["files"])


def test_magnetctl_adds_waits_lists_and_removes(
    fs: Magnetfs, seeder: Seeder, clip: Torrent
) -> None:
    seeder.seed(clip)
    added = fs.ctl("add", clip.magnet(seeder))
    assert added.returncode == 0, added.stderr
    waited = fs.ctl("wait", clip.info_hash)
    assert waited.returncode == 0, waited.stderr
    listed = fs.ctl("list")
    assert listed.returncode == 0 and clip.info_hash in listed.stdout, listed
    files = fs.ctl("files", clip.info_hash)
    assert files.returncode == 0 and "clip.mp4" in files.stdout, files
    status = fs.ctl("status")
    assert status.returncode == 0 and "clip" in status.stdout, status
    assert_same(fs.directory(clip) / "clip.mp4", clip, "clip.mp4")
    removed = fs.ctl("remove", clip.info_hash)
    assert removed.returncode == 0, removed.stderr
    assert not fs.directory(clip).exists()
    assert not fs.known(clip.info_hash)


def test_ranges_by_curl_from_stream_while_downloading(
    fs: Magnetfs, seeder: Seeder, clip: Torrent
) -> None:
    seeder.seed(clip, upload_limit=8 * MIB)
    assert fs.web
    assert fs.web.add(clip.magnet(seeder)).status == 200
    url = fs.web.base + stream_target(clip, "clip.mp4")
    assert curl(url, "-r", "1000000-2000000") == clip.read("clip.mp4", 1_000_000, 1_000_001)
    assert curl(url, "-r", "-5000") == clip.read("clip.mp4", clip.length - 5000, 5000)
    tail = clip.length - 70_000
    assert curl(url, "-r", f"{tail}-") == clip.read("clip.mp4", tail)
    assert curl(url) == clip.read("clip.mp4")


@pytest.mark.parametrize("way", ["cp", "post", "magnetctl"])
def test_a_torrent_file_is_added(fs: Magnetfs, seeder: Seeder, clip: Torrent, way: str) -> None:
    seeder.seed(clip)
    assert fs.web
    if way == "cp":
        subprocess.run(["cp", clip.torrent_file, fs.control / "add"], check=True, timeout=20)
    elif way == "post":
        answer = fs.web.post_torrent(clip.metainfo)
        assert answer.status == 200, answer.body
        assert answer.json["infoHash"] == clip.info_hash
    else:
        done = fs.ctl("add", str(clip.torrent_file))
        assert done.returncode == 0, done.stderr
    assert fs.files(clip.info_hash)[0]["path"] == "clip.mp4"
    seeder.connect(clip, fs.bt_port)
    assert_same(fs.directory(clip) / "clip.mp4", clip, "clip.mp4")


def test_post_torrents_takes_a_magnet_as_text_and_as_json(
    fs: Magnetfs, seeder: Seeder, clip: Torrent
) -> None:
    seeder.seed(clip)
    assert fs.web
    magnet = clip.magnet(seeder)
    as_text = fs.web.request("POST", "/torrents", {"Content-Type": "text/plain"}, magnet)
    assert (as_text.status, as_text.json["infoHash"]) == (200, clip.info_hash), as_text.body
    body = json.dumps({"magnet": magnet})
    as_json = fs.web.request("POST", "/torrents", {"Content-Type": "application/json"}, body)
    assert (as_json.status, as_json.json) == (200, as_text.json), as_json.body


def test_transmission_daemon_as_the_only_seeder(
    fs_any: Magnetfs, transmission: Transmission, torrents: TorrentMaker
) -> None:
    torrent = torrents.multi(
        "Two discs",
        [("disc 1/a #1.bin", 700_000), ("disc 2/b 100%.bin", 900_001), ("empty", 0)],
        seed=5,
        piece_length=64 * KIB,
    )
    transmission.seed(torrent)
    directory = fs_any.add_torrent(torrent, transmission)
    for file in torrent.files:
        assert_same(directory / file.path, torrent, file.path)
    sent = waiting.until("transmission counts", lambda: transmission.sent(torrent), 20)
    assert sent >= torrent.length, "the bytes must have come from transmission"


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_a_peer_known_to_a_tracker_alone_is_found(
    fs: Magnetfs,
    seeder: Seeder,
    torrents: TorrentMaker,
    opentracker: Callable[[list[str]], OpenTracker],
    scheme: str,
) -> None:
    torrent = torrents.single("tracked.bin", 2 * MIB, seed=6)
    tracker = opentracker([torrent.info_hash])
    url = tracker.url if scheme == "http" else tracker.udp_url
    seeder.seed(torrent, announce=url)
    tracker.wait_for_seed(torrent.info_hash, lambda: seeder.announce(torrent))
    fs.add(torrent.magnet(trackers=[url]))
    assert fs.files(torrent.info_hash)[0]["length"] == torrent.length
    assert_same(fs.directory(torrent) / "tracked.bin", torrent, "tracked.bin")


def test_two_kinds_of_seeders_serve_one_torrent(
    fs_any: Magnetfs, seeder: Seeder, transmission: Transmission, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("shared.bin", 3 * MIB, seed=8, piece_length=64 * KIB)
    seeder.seed(torrent, upload_limit=MIB)
    transmission.seed(torrent)
    directory = fs_any.add_torrent(torrent, seeder, transmission)
    assert_same(directory / "shared.bin", torrent, "shared.bin")


def test_a_copy_by_cp_is_the_file(
    fs: Magnetfs, seeder: Seeder, clip: Torrent, folder: Path
) -> None:
    seeder.seed(clip)
    directory = fs.add_torrent(clip, seeder)
    target = folder / "copy.mp4"
    subprocess.run(["cp", directory / "clip.mp4", target], check=True, timeout=50)
    assert target.read_bytes() == clip.read("clip.mp4")
    target.unlink()  # read-only, as its original
    shutil.copyfile(directory / "clip.mp4", target)  # now from the page cache
    assert target.read_bytes() == clip.read("clip.mp4")
