"""Going away: in two seconds, whatever is parked, open or hanging, and with nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

from harness import processes, waiting
from harness.mount import END_S, Magnetfs, errno_of
from harness.reading import Parked, assert_same
from harness.seeder import Seeder
from harness.torrents import MIB, Torrent, TorrentMaker
from harness.tracker import HangingTracker
from harness.web import stream_target

BACK_S = 1.0  # the sidecar, killed for the third time in a row at the latest
ORPHAN_S = 5.0  # what helper and sidecar may take to notice that magnetfs was killed


@pytest.fixture(scope="module")
def lonely(torrents: TorrentMaker) -> Torrent:
    return torrents.single("lonely.mkv", 64 * MIB, seed=91)


@pytest.fixture(scope="module")
def healthy(torrents: TorrentMaker) -> Torrent:
    return torrents.single("healthy.mkv", 32 * MIB, seed=92)


def open_stream(fs: Magnetfs, torrent: Torrent) -> socket.socket:
    """A client of /stream whose bytes don't come."""
    assert fs.web
    readers = fs.torrent(torrent.info_hash)["readers"]
    target = stream_target(torrent, torrent.name)
    client = fs.web.raw(f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n")
    waiting.until(
        "the stream's reader",
        lambda: fs.torrent(torrent.info_hash)["readers"] == readers + 1,
    )
    return client


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_an_idle_magnetfs(fs: Magnetfs, signum: int) -> None:
    fs.stop(signum)
    assert os.listdir(fs.mountpoint) == [], "the mountpoint is an empty directory again"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_all_with_reads_parked_streams_open_and_a_tracker_that_hangs(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    lonely: Torrent,
    healthy: Torrent,
    hanging_tracker: HangingTracker,
    signum: int,
) -> None:
    fs = magnetfs("--read-timeout", "0", allow=[r"tracker"])
    path = fs.add_torrent(healthy, seeder.seed(healthy, upload_limit=2 * MIB)) / healthy.name
    fs.add(lonely.metainfo)
    fs.add(lonely.magnet(trackers=[hanging_tracker.url]))
    fs.add("1" * 40 + "\n" + f"magnet:?xt=urn:btih:{'2' * 40}&tr={hanging_tracker.url}")
    waiting.until("an announce that was answered", lambda: hanging_tracker.requests() >= 1, 20)
    cat = subprocess.Popen(["cat", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    streams = [open_stream(fs, lonely) for _ in range(3)]
    try:
        with Parked(fs.directory(lonely) / lonely.name, 50, stride=MIB):
            waiting.until("50 parked reads", lambda: fs.status()["parkedReads"] >= 50)
            fs.stop(signum, END_S)
            assert os.listdir(fs.mountpoint) == []
            assert waiting.ended(cat.pid, 2), "cat must not outlive the mount"
    finally:
        for stream in streams:
            stream.close()
        cat.kill()
        cat.wait()


def test_a_second_signal_does_no_harm(fs: Magnetfs) -> None:
    os.kill(fs.pid, signal.SIGINT)
    fs.stop(signal.SIGINT)


def test_a_lazy_umount_ends_the_sidecar_for_good(fs: Magnetfs) -> None:
    sidecar = fs.sidecar()
    assert sidecar
    fd = os.open(fs.mountpoint, os.O_RDONLY)
    processes.unmount_lazily(str(fs.mountpoint))
    waiting.until("the sidecar ends", lambda: not processes.alive(sidecar))
    time.sleep(BACK_S / 2)  # in which another would have been started
    assert "started again" not in fs.stderr() and fs.sidecar() is None
    os.close(fd)
    assert fs.wait(END_S) == 0


def test_it_ends_with_a_frozen_peer(fs: Magnetfs, seeder: Seeder, healthy: Torrent) -> None:
    path = fs.add_torrent(healthy, seeder.seed(healthy, upload_limit=MIB)) / healthy.name
    with open(path, "rb", buffering=0) as stream:
        assert stream.read(1000) == healthy.read(healthy.name, 0, 1000)
    seeder.freeze()
    with Parked(path, 5, stride=4 * MIB):
        waiting.until("a parked read", lambda: fs.status()["parkedReads"] >= 1)
        fs.stop()
    seeder.thaw()


def test_umount_by_the_user_ends_everything(fs: Magnetfs) -> None:
    known = fs.processes()
    subprocess.run(["fusermount3", "-u", fs.mountpoint], check=True, timeout=10)
    assert fs.wait(END_S) == 0
    waiting.until("helper and sidecar end", lambda: not any(map(processes.alive, known)), ORPHAN_S)


def test_kill_9_leaves_no_process_and_the_next_start_clears_the_dead_mount(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, healthy: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "20", allow=[r"stale|dead|killed|last time"])
    path = fs.add_torrent(healthy, seeder.seed(healthy)) / healthy.name
    fd = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(fd, 100_000, 0) == healthy.read(healthy.name, 0, 100_000)
        known = [pid for pid in fs.processes() if pid != fs.pid]
        assert len(known) >= 2, "a helper and a sidecar"
        fs.kill()
        waiting.until(
            "helper and sidecar end by themselves",
            lambda: not any(map(processes.alive, known)),
            ORPHAN_S,
        )
    finally:
        try:
            os.close(fd)
        except OSError as problem:  # its FLUSH finds nobody
            assert problem.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    assert processes.is_mounted(fs.mountpoint), "without a dead mount this test shows nothing"
    assert errno_of(os.listdir, fs.mountpoint) == errno.ENOTCONN
    fs.start()
    directory = fs.add_torrent(healthy, seeder)
    assert_same(directory / healthy.name, healthy, healthy.name)
    assert (
        len(processes.mounts_beneath(fs.mountpoint)) == 1
    ), "nothing may lie beneath the new mount"


def test_a_reader_parked_at_kill_9_is_freed(
    magnetfs: Callable[..., Magnetfs], lonely: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "0", allow=[r"stale|dead|killed|last time"])
    fs.add(lonely.metainfo)
    with Parked(fs.directory(lonely) / lonely.name, 3, stride=MIB) as reader:
        fs.wait_parked(3)
        fs.kill()
        said = [reader.line(5) for _ in range(3)]
        assert all(line in ("failed ENOTCONN", "failed ECONNABORTED") for line in said), said
    fs.start()


def test_a_start_after_kill_9_waits_for_the_port_of_the_old_sidecar(
    magnetfs: Callable[..., Magnetfs],
) -> None:
    fs = magnetfs(allow=[r"stale|dead|killed|last time"])
    sidecar = fs.sidecar()
    assert sidecar
    os.kill(sidecar, signal.SIGSTOP)
    fs.kill()
    late = threading.Timer(0.5, os.kill, (sidecar, signal.SIGCONT))
    late.start()
    try:
        fs.start()
    finally:
        late.join()
    assert fs.web and fs.web.get("/healthz").status == 200


def test_a_killed_sidecar_is_started_again_and_the_mount_does_not_notice(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, healthy: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "20", allow=[r"httpd|sidecar"])
    path = fs.add_torrent(healthy, seeder.seed(healthy)) / healthy.name
    assert fs.web
    for _ in range(2):
        assert fs.web.get("/healthz").status == 200
        before = fs.sidecar()
        assert before, "there must be a magnetfs-httpd process"
        os.kill(before, signal.SIGKILL)

        def again() -> bool:
            assert fs.web
            try:
                return fs.sidecar() not in (None, before) and fs.web.get("/healthz").status == 200
            except OSError:
                return False

        waiting.until("a new sidecar answers", again, timeout=10)
    assert_same(path, healthy, healthy.name)
    assert fs.web.get("/torrents").status == 200


def test_a_sidecar_that_is_killed_thrice_is_back_within_a_second_each_time(
    magnetfs: Callable[..., Magnetfs],
) -> None:
    fs = magnetfs(allow=[r"httpd|sidecar"])
    assert fs.web
    for kill in range(3):
        before = fs.sidecar()
        assert before
        os.kill(before, signal.SIGKILL)
        begin = time.monotonic()

        def again() -> bool:
            assert fs.web
            try:
                return fs.web.get("/healthz").status == 200
            except OSError:
                return False

        waiting.until("a new sidecar answers", again, timeout=10)
        took = time.monotonic() - begin
        assert took <= BACK_S, f"kill {kill}: {took:.3f} s"
        assert fs.sidecar() != before


def test_in_the_background_the_parent_returns_when_it_is_ready(
    magnetfs: Callable[..., Magnetfs], folder: Path
) -> None:
    """Without -f: exit 0 means mounted and listening."""
    fs = magnetfs(start=False)
    assert fs.web
    command = [word for word in fs.command() if word != "-f"]
    environment = {**os.environ, processes.INSTANCE_TAG: "daemonised-" + folder.name}
    done = subprocess.run(
        [*command, str(fs.mountpoint)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        env=environment,
        check=False,
    )
    try:
        assert done.returncode == 0, done.stderr
        assert processes.is_mounted(fs.mountpoint)
        assert fs.web.get("/healthz").status == 200
        pid = fs.status()["pid"]
        begin = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        waiting.until(
            "all processes end",
            lambda: not processes.tagged(processes.INSTANCE_TAG, "daemonised-" + folder.name),
            END_S,
        )
        assert time.monotonic() - begin <= END_S
        assert not processes.is_mounted(fs.mountpoint)
    finally:
        processes.kill_all(processes.tagged(processes.INSTANCE_TAG, "daemonised-" + folder.name))
