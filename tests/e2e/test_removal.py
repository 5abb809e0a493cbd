"""What removes a torrent, and what does not: clean-up scripts, other users' rmdir, `-o ro`."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from harness import waiting
from harness.mount import Magnetfs, errno_name, errno_of
from harness.reading import Parked, assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

PENDING_KEPT = "a" * 40
PENDING_TEMPORARY = "b" * 40
RACE_S = 6.0


@pytest.fixture(scope="module")
def show(torrents: TorrentMaker) -> Torrent:
    return torrents.multi("show", [("s1/e1.mkv", 90_000), ("s1/x/e2.mkv", 90_000)], seed=171)


@pytest.fixture(scope="module")
def clip(torrents: TorrentMaker) -> Torrent:
    return torrents.single("clip.mkv", 90_000, seed=172)


CLEAN_UP = {
    "find -empty -delete": ["-mindepth", "1", "-type", "d", "-empty", "-delete"],
    "find -exec rmdir": ["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"],
    "find -delete": ["-mindepth", "1", "-type", "d", "-delete"],
    "find -exec rmdir -p": ["-depth", "-type", "d", "-exec", "rmdir", "-p", "{}", ";"],
    "find -exec rm -rf": ["-mindepth", "1", "-maxdepth", "1", "-exec", "rm", "-rf", "{}", ";"],
}


@pytest.mark.parametrize("command", CLEAN_UP.values(), ids=CLEAN_UP.keys())
def test_clean_up_scripts_remove_no_torrent(
    fs: Magnetfs, show: Torrent, clip: Torrent, command: list[str]
) -> None:
    """Pending and ready, kept and temporary."""
    fs.add(show.metainfo)
    fs.add(clip.metainfo, temporary=True)
    fs.add(PENDING_KEPT)
    fs.add(PENDING_TEMPORARY, temporary=True)
    names = sorted(os.listdir(fs.mountpoint))
    assert len(names) == 4
    subprocess.run(
        ["find", fs.mountpoint, *command], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert sorted(os.listdir(fs.mountpoint)) == names
    assert len(fs.status()["torrents"]) == 4


def test_rmdir_says_why_it_is_refused(fs: Magnetfs, show: Torrent) -> None:
    fs.add(show.metainfo)
    fs.add(PENDING_KEPT)
    refused = {
        fs.directory(show): "ENOTEMPTY",
        fs.mountpoint / PENDING_KEPT: "EBUSY",
        # The kernel looks at the modes of the directory first.
        fs.directory(show) / "s1" / "x": "EROFS" if os.geteuid() == 0 else "EACCES",
        fs.control: "EROFS",
        fs.control / "torrents": "EROFS",
        fs.control / "by-hash": "EROFS",
        fs.torrent_folder(show.info_hash) / "data": "EROFS",
        fs.mountpoint / "nothing": "ENOENT",
        fs.torrent_folder("c" * 40): "ENOENT",
    }
    assert {path: errno_name(errno_of(os.rmdir, path)) for path in refused} == refused
    assert len(fs.status()["torrents"]) == 2


def test_a_removal_takes_no_other_torrent_of_that_name(
    magnetfs: Callable[..., Magnetfs], torrents: TorrentMaker
) -> None:
    """One comes again and again and is removed by several at once, by its hash; another takes the
    name whenever it is free, and nobody but its own thread removes that."""
    fs = magnetfs("--read-timeout", "20")
    web = fs.web
    assert web
    victim, other = (torrents.single("same.bin", 16 * KIB, seed=180 + n) for n in range(2))
    lost: list[str] = []
    rounds: list[int] = []
    done = threading.Event()

    def by_http(info_hash: str) -> None:
        assert web.request("DELETE", f"/torrents/{info_hash}").status in (204, 404)

    def by_magnetctl(info_hash: str) -> None:
        fs.ctl("remove", info_hash)

    def come_and_go() -> None:
        while not done.is_set():
            fs.add(other.metainfo)
            rounds.append(len(rounds))
            for _ in range(5):
                if not fs.known(other.info_hash):
                    lost.append(f"round {len(rounds)}")
                    break
            by_http(other.info_hash)

    def come() -> None:
        while not done.is_set():
            fs.add(victim.metainfo)
            by_http(victim.info_hash)

    def remove(way: Callable[[str], None]) -> None:
        while not done.is_set():
            way(victim.info_hash)

    def guard(action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except BaseException as problem:
            failed.append(repr(problem))

    failed: list[str] = []
    threads = [threading.Thread(target=guard, args=(action,)) for action in (come_and_go, come)]
    for way in (by_http, by_http, by_magnetctl):
        threads.append(threading.Thread(target=guard, args=(remove, way)))
    for thread in threads:
        thread.start()
    time.sleep(RACE_S)  # how long it is tried
    done.set()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads) and len(rounds) > 10
    assert not failed, failed
    assert not lost, f"{len(lost)} of {len(rounds)} rounds: {lost[:5]}"
    for info_hash in os.listdir(fs.control / "torrents"):
        fs.remove(info_hash)
    assert fs.status()["torrents"] == [] and os.listdir(fs.mountpoint) == []


def test_what_is_added_while_it_is_removed_comes_to_life(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """The session may still have the one that is about to go when the next one of its hash comes."""
    torrent = torrents.single("phoenix.bin", 4 * MIB, seed=881)
    seeder.seed(torrent)
    for _ in range(6):
        fs.add(torrent.metainfo)
        done = threading.Event()

        def add() -> None:
            while not done.is_set():
                fs.add(torrent.metainfo)

        adders = [threading.Thread(target=add) for _ in range(2)]
        # What is answered at the removal makes the moment longer in which the hash is free.
        with Parked(fs.directory(torrent) / torrent.name, 200, stride=16 * KIB):
            fs.wait_parked(200)
            for adder in adders:
                adder.start()
            os.rmdir(fs.torrent_folder(torrent.info_hash))
            done.set()
            for adder in adders:
                adder.join(20)
        fs.add(torrent.metainfo)
        fs.add(torrent.magnet(seeder))
        path = fs.directory(torrent) / torrent.name
        with open(path, "rb", buffering=0) as stream:
            assert stream.read(KIB) == torrent.read(torrent.name, 0, KIB)
        fs.remove(torrent.info_hash)


def test_a_removal_is_final_at_the_return_whatever_the_kernel_remembers(
    fs: Magnetfs, show: Torrent
) -> None:
    for _ in range(20):
        fs.add(show.metainfo)
        inside = fs.directory(show) / "s1" / "e1.mkv"
        assert inside.stat().st_size == 90_000
        fs.remove(show.info_hash)
        assert not inside.exists() and not fs.directory(show).exists()
        assert os.listdir(fs.mountpoint) == []
        assert errno_name(errno_of(fs.remove, show.info_hash)) == "ENOENT"


def test_a_stopped_helper_holds_no_removal_up(fs: Magnetfs, show: Torrent, clip: Torrent) -> None:
    """It only tells inotify; what it was to tell goes when it comes back."""
    helper = next(pid for pid in fs.processes() if comm(pid) == "magnetfs-helper")
    fs.add(show.metainfo)
    fs.add(clip.metainfo)
    os.kill(helper, 19)
    try:
        began = time.monotonic()
        fs.remove(show.info_hash)
        assert time.monotonic() - began < 1
        assert os.listdir(fs.mountpoint) == ["clip"]
        fs.add(show.metainfo)
    finally:
        os.kill(helper, 18)
    fs.remove(clip.info_hash)  # told after the other, so that one was dealt with
    waiting.until("the names are settled", lambda: os.listdir(fs.mountpoint) == ["show"])
    assert (fs.directory(show) / "s1" / "e1.mkv").stat().st_size == 90_000


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


# -- -o ro -----------------------------------------------------------------------------------------


def test_with_ro_nothing_in_the_mount_adds_or_removes(
    magnetfs: Callable[..., Magnetfs], folder: Path, seeder: Seeder, show: Torrent, clip: Torrent
) -> None:
    metainfo = folder / "show.torrent"
    metainfo.write_bytes(show.metainfo)
    fs = magnetfs("--read-timeout", "20", "--idle-timeout", "1", "-o", "ro", str(metainfo))
    web = fs.web
    assert web
    keep = fs.torrent_folder(show.info_hash) / "keep"
    attempts: dict[str, Callable[[], Any]] = {
        "add": lambda: fs.add(clip.metainfo),
        "add-temporary": lambda: fs.add(clip.magnet(), temporary=True),
        "keep": lambda: keep.write_text("0"),
        "remove": lambda: fs.remove(show.info_hash),
        "rmdir": lambda: os.rmdir(fs.directory(show)),
        "mkdir": lambda: os.mkdir(fs.mountpoint / "new"),
    }
    outcomes = {name: errno_name(errno_of(attempt)) for name, attempt in attempts.items()}
    assert outcomes == {name: "EROFS" for name in attempts}
    assert web.request("DELETE", f"/torrents/{show.info_hash}").status == 403
    assert web.get(f"/add/{clip.info_hash}").status == 403
    refused = fs.ctl("add", clip.magnet())
    assert refused.returncode == 1 and "ead-only" in refused.stderr, refused.stderr
    refused = fs.ctl("remove", show.info_hash)
    assert refused.returncode == 1 and "ead-only" in refused.stderr, refused.stderr
    seeder.seed(show).connect(show, fs.bt_port)
    assert_same(fs.directory(show) / "s1" / "e1.mkv", show, "s1/e1.mkv")
    assert [t["kept"] for t in fs.status()["torrents"]] == [True]


def test_a_mount_that_becomes_read_only_still_lets_idle_torrents_go(
    magnetfs: Callable[..., Magnetfs], clip: Torrent
) -> None:
    fs = magnetfs("--idle-timeout", "2", http=False)
    if os.geteuid() != 0:
        pytest.skip("remounts: root only")
    fs.add(clip.metainfo, temporary=True)
    # What was written to is open a moment longer than its close(2) takes, now and then: EBUSY.
    remount = ["mount", "-i", "-o", "remount,ro", fs.mountpoint]
    waiting.until("it is read-only", lambda: subprocess.run(remount, check=False).returncode == 0)
    waiting.until("it is gone", lambda: os.listdir(fs.mountpoint) == [], 20)
    said = [line for line in fs.stderr().splitlines() if clip.info_hash in line]
    assert len(said) <= 2, said
