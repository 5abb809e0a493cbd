"""What was acknowledged is remembered, though magnetfs is killed right behind it; two at once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from harness import processes
from harness.kinds import KINDS, Entry, KindMaker
from harness.library import AFTER_KILL, states, stores
from harness.mount import Magnetfs, StartFailed, errno_name, errno_of
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

ROUNDS = 20


@pytest.fixture(scope="module")
def kinds(run_folder: Path) -> KindMaker:
    return KindMaker(run_folder / "acknowledged")




def by_control_file(fs: Magnetfs, torrent: Torrent) -> None:
    fs.add(torrent.metainfo)


def by_cp(fs: Magnetfs, torrent: Torrent) -> None:
    subprocess.run(["cp", torrent.torrent_file, fs.control / "add"], check=True)


def by_magnetctl(fs: Magnetfs, torrent: Torrent) -> None:
    done = fs.ctl("add", str(torrent.torrent_file))
    assert done.returncode == 0, done.stderr


@pytest.mark.deadline(180)
def test_what_was_added_or_removed_is_so_after_kill_9_right_behind_it(
    magnetfs: Callable[..., Magnetfs], kinds: KindMaker
) -> None:
    fs = magnetfs(http=False, allow=[AFTER_KILL])
    ways = (by_control_file, by_cp, by_magnetctl)
    for number in range(ROUNDS):
        entries = [Entry("a.mkv", 1000 + number), Entry("b/c.mkv", 10)]
        torrent = kinds.multi(KINDS[number % 3], f"round {number}", entries, hollow=True)
        magnet = f"{number + 1:040x}"
        ways[number % 3](fs, torrent)
        fs.kill()
        fs.start()
        assert list(states(fs)) == [torrent.info_hash], f"round {number}: added"
        assert fs.torrent(torrent.info_hash)["kept"]
        assert sorted(os.listdir(fs.directory(torrent))) == ["a.mkv", "b"]
        fs.add(magnet)
        fs.kill()
        fs.start()
        assert set(states(fs)) == {torrent.info_hash, magnet}, f"round {number}: magnet"
        if number % 2:
            fs.remove(torrent.info_hash)
            fs.remove(magnet)
        else:
            assert fs.ctl("remove", torrent.info_hash, magnet).returncode == 0
        fs.kill()
        fs.start()
        assert not states(fs), f"round {number}: removed"
        assert os.listdir(fs.mountpoint) == [] and not stores(fs)


@pytest.mark.deadline(180)
def test_what_was_kept_or_not_is_so_after_kill_9_right_behind_it(
    magnetfs: Callable[..., Magnetfs], torrents: TorrentMaker
) -> None:
    fs = magnetfs(http=False, allow=[AFTER_KILL])
    torrent = torrents.multi("whim", [("a.mkv", 1000)], seed=1431)
    keep = fs.torrent_folder(torrent.info_hash) / "keep"
    for number in range(ROUNDS):
        fs.add(torrent.metainfo, temporary=True)
        if number % 2:
            keep.write_text("1")
        else:
            assert fs.ctl("keep", torrent.info_hash).returncode == 0
        fs.kill()
        fs.start()
        assert fs.torrent(torrent.info_hash)["kept"], f"round {number}: kept"
        if number % 2:
            assert fs.ctl("keep", "--off", torrent.info_hash).returncode == 0
        else:
            keep.write_text("0")
        fs.kill()
        fs.start()
        assert not states(fs), f"round {number}: temporary, so it is gone"


def test_the_data_of_a_removed_torrent_is_gone_after_kill_9_right_behind_it(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    fs = magnetfs("--read-timeout", "20", http=False, allow=[AFTER_KILL])
    torrent = torrents.single("heavy.bin", 4 * MIB, seed=1432)
    seeder.seed(torrent)
    for asleep in (False, True):
        path = fs.add_torrent(torrent, seeder) / torrent.name
        assert len(path.read_bytes()) == torrent.length
        if asleep:
            fs.stop()
            fs.start()
        assert stores(fs)
        fs.remove(torrent.info_hash)
        fs.kill()
        fs.start()
        assert not states(fs) and not stores(fs)
        assert fs.store_blocks() < 64 * KIB


# -- two at once -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["state", "cache"])
def test_a_second_one_with_the_same_folder_says_so_and_leaves_the_first_alone(
    magnetfs: Callable[..., Magnetfs], torrents: TorrentMaker, shared: str
) -> None:
    first = magnetfs(http=False)
    torrent = torrents.multi("shared", [("a.mkv", 1000)], seed=1433)
    first.add(torrent.metainfo)
    second = magnetfs(http=False, name="second", start=False, allow=["another|in use|already"])
    setattr(second, shared, getattr(first, shared))
    with pytest.raises(StartFailed) as failed:
        second.start()
    assert failed.value.code != 0
    lines = failed.value.stderr.splitlines()
    said = [line for line in lines if str(getattr(first, shared)) in line]
    assert said and any(str(first.pid) in line or "another" in line for line in said), said
    assert not processes.is_mounted(second.mountpoint)
    assert os.listdir(first.mountpoint) == ["shared"]
    first.add("a" * 40)
    first.stop()
    second.start()
    if shared == "state":
        assert set(states(second)) == {torrent.info_hash, "a" * 40}
    else:
        assert not states(second)


def test_two_with_folders_of_their_own_work_beside_each_other(
    magnetfs: Callable[..., Magnetfs], torrents: TorrentMaker
) -> None:
    both = [magnetfs(name=name) for name in ("one", "two")]
    made = [torrents.multi(f"own {n}", [("a.mkv", 1000)], seed=1434 + n) for n in range(2)]
    for fs, torrent in zip(both, made):
        fs.add(torrent.metainfo)
    for fs, torrent in zip(both, made):
        fs.stop()
        fs.start()
        assert list(states(fs)) == [torrent.info_hash]


def test_the_state_folder_can_be_copied_and_used_elsewhere(
    magnetfs: Callable[..., Magnetfs], folder: Path, torrents: TorrentMaker
) -> None:
    """As a backup that is put back: the state folder is all that is needed."""
    fs = magnetfs(http=False)
    torrent = torrents.multi("saved", [("a.mkv", 1000)], seed=1436)
    fs.add(torrent.metainfo)
    fs.stop()
    shutil.copytree(fs.state, folder / "backup")
    shutil.rmtree(fs.state)
    shutil.rmtree(fs.cache)
    fs.start()
    assert not states(fs)
    fs.stop()
    fs.state = folder / "backup"
    fs.start()
    assert list(states(fs)) == [torrent.info_hash]
    assert errno_name(errno_of(fs.remove, "b" * 40)) == "ENOENT"
