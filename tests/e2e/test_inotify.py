"""inotify on the mount: media servers notice a torrent that comes and one that goes."""

from __future__ import annotations

import os
import subprocess
from typing import Callable

import pytest

from harness.inotify import Watch
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import Torrent, TorrentMaker


@pytest.fixture(scope="module")
def show(torrents: TorrentMaker) -> Torrent:
    return torrents.multi("Show S01", [("e01.mkv", 100_000), ("e02.mkv", 100_000)], seed=121)


@pytest.mark.parametrize("way", ["add", "torrent", "http", "magnetctl"])
def test_a_new_torrents_directory_raises_create(
    fs: Magnetfs, seeder: Seeder, show: Torrent, way: str
) -> None:
    seeder.seed(show)
    assert fs.web
    with Watch(fs.mountpoint) as watch:
        if way == "add":
            fs.add(show.magnet(seeder))
        elif way == "torrent":
            fs.add(show.metainfo)
        elif way == "http":
            assert fs.web.add(show.magnet(seeder)).status == 200
        else:
            assert fs.ctl("add", show.magnet(seeder)).returncode == 0
        watch.wait("CREATE", "Show S01")
        assert sorted(os.listdir(fs.directory(show))) == ["e01.mkv", "e02.mkv"]


def test_create_comes_when_the_torrent_is_complete_in_the_tree_and_once(
    fs: Magnetfs, seeder: Seeder, show: Torrent, torrents: TorrentMaker
) -> None:
    other = torrents.single("other.bin", 100_000, seed=122)
    seeder.seed(show).seed(other)
    with Watch(fs.mountpoint) as watch:
        fs.add(show.magnet(name=False))
        inode = os.stat(fs.mountpoint / show.info_hash).st_ino
        seeder.connect(show, fs.bt_port)
        watch.wait("CREATE", "Show S01", timeout=20)
        assert sorted(os.listdir(fs.directory(show))) == ["e01.mkv", "e02.mkv"]
        assert os.stat(fs.directory(show)).st_ino == inode
        fs.add(other.magnet(seeder))
        watch.wait("CREATE", "other")  # what comes later bounds what could still come of the first
        created = [file for kinds, file in watch.seen if "CREATE" in kinds]
        assert created.count("Show S01") == 1, watch.seen


@pytest.mark.parametrize("way", ["rmdir", "http", "magnetctl", "idle"])
def test_a_torrent_that_goes_raises_delete(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, show: Torrent, way: str
) -> None:
    fs = magnetfs("--read-timeout", "20", "--idle-timeout", "1" if way == "idle" else "120")
    assert fs.web
    with Watch(fs.mountpoint) as watch:
        fs.add(show.magnet(seeder.seed(show)), temporary=way == "idle")
        watch.wait("CREATE", "Show S01")
        if way == "rmdir":
            fs.remove(show.info_hash)
        elif way == "http":
            gone = fs.web.request("DELETE", f"/torrents/{show.info_hash}")
            assert gone.status in (200, 204), gone
        elif way == "magnetctl":
            done = fs.ctl("remove", show.info_hash)
            assert done.returncode == 0, done.stderr
        watch.wait("DELETE", "Show S01")
        assert os.listdir(fs.mountpoint) == []


def test_a_watch_inside_a_pending_directory_does_not_disturb(
    fs: Magnetfs, seeder: Seeder, show: Torrent
) -> None:
    """Someone has the directory open, and stands in it, when it becomes complete."""
    fs.add(show.magnet())
    directory = fs.mountpoint / show.name
    guest = subprocess.Popen(["sleep", "60"], cwd=directory, stdin=subprocess.DEVNULL)
    try:
        with Watch(fs.mountpoint) as watch:
            seeder.seed(show).connect(show, fs.bt_port)
            watch.wait("CREATE", "Show S01", timeout=20)
        assert sorted(os.listdir(f"/proc/{guest.pid}/cwd")) == ["e01.mkv", "e02.mkv"]
    finally:
        guest.kill()
        guest.wait()
