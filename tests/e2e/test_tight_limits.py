"""Little room: a bound of tasks (a container's pids.max) or of addresses (ulimit -v). What starts
answers; what can't start says why, and nothing stays."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import time
from pathlib import Path
from typing import Callable

import pytest

from harness import processes, waiting
from harness.mount import MAGNETFS, Magnetfs, StartFailed
from harness.tasks import TaskBound
from harness.torrents import MIB, Torrent, TorrentMaker
from harness.web import stream_target

AT_A_TIME = 16
FEWER = r"more threads can be made"


@pytest.fixture(scope="module")
def lonely(torrents: TorrentMaker) -> Torrent:
    return torrents.single("lonely.mkv", 16 * MIB, seed=161)


def assert_serves(fs: Magnetfs, torrent: Torrent) -> int:
    """The API answers, also beside as many streams as there may be; returns how many that are."""
    assert fs.web
    assert fs.web.get("/healthz").status == 200
    fs.add(torrent.metainfo)
    target = stream_target(torrent, torrent.name)
    head = f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n"
    clients: list[socket.socket] = []
    streams = 0
    try:
        # Some at a time: each head waits a moment for the first bytes, which nobody has.
        while streams == len(clients) <= 300:
            several = [fs.web.raw(head) for _ in range(AT_A_TIME)]
            clients += several
            for client in several:
                assert waiting.readable(client.fileno(), 10), "a request that nobody answers"
                streams += client.recv(12) == b"HTTP/1.1 200"
        assert fs.web.get("/torrents", timeout=10).status == 200
    finally:
        for client in clients:
            client.close()
    return streams


@pytest.mark.parametrize("tasks", [16, 40, 290])
def test_with_few_tasks_it_serves_with_fewer_threads(
    task_bound: TaskBound,
    magnetfs: Callable[..., Magnetfs],
    lonely: Torrent,
    monkeypatch: pytest.MonkeyPatch,
    tasks: int,
) -> None:
    # LeakSanitizer takes a task of its own at the end, which may be one too many.
    options = os.environ.get("ASAN_OPTIONS", "")
    monkeypatch.setenv("ASAN_OPTIONS", options.replace("detect_leaks=1", "detect_leaks=0"))
    task_bound.set(tasks)
    fs = magnetfs(program=task_bound.program(MAGNETFS), allow=[FEWER])
    streams = assert_serves(fs, lonely)
    assert 1 <= streams < tasks
    [said] = re.findall(r"streams at the same time: (\d+)", fs.stderr())
    assert streams == int(said)


def test_with_too_few_tasks_it_starts_and_answers_or_says_why_it_does_not(
    task_bound: TaskBound, magnetfs: Callable[..., Magnetfs]
) -> None:
    started = []
    for tasks in range(2, 17, 2):
        task_bound.set(tasks)
        fs = magnetfs(
            program=task_bound.program(MAGNETFS), name=f"tasks{tasks}", start=False, allow=[r"."]
        )
        try:
            fs.start()
        except StartFailed as failed:
            assert failed.code == 1 and "error: " in failed.stderr, (tasks, failed.stderr)
        else:
            assert fs.web and fs.web.get("/healthz").status == 200, tasks
            started.append(tasks)
            fs.stop()
        waiting.until("nothing is left", lambda: task_bound.used() == 0)
        assert not processes.is_mounted(fs.mountpoint)
    assert started, "16 tasks are enough"


@pytest.mark.parametrize("mib", [300, 600, 1000])
def test_with_little_address_space_it_serves(
    magnetfs: Callable[..., Magnetfs], lonely: Torrent, mib: int
) -> None:
    program = ["sh", "-c", f'ulimit -v {mib * 1024} && exec "$0" "$@"', MAGNETFS]
    fs = magnetfs(program=program, allow=[FEWER])
    assert resource.prlimit(fs.pid, resource.RLIMIT_AS)[0] == mib * MIB
    assert assert_serves(fs, lonely) >= 200


def test_a_sidecar_that_no_task_is_left_for_is_tried_again_without_haste(
    task_bound: TaskBound, magnetfs: Callable[..., Magnetfs]
) -> None:
    """fork() fails; the helper must not spin, nor lose descriptors, nor give up."""
    fs = magnetfs(
        program=task_bound.program(MAGNETFS), allow=[FEWER, r"fork|ended|started again|magnetfs-httpd"]
    )
    [helper] = helpers(fs)
    sidecar = fs.sidecar()
    assert sidecar
    descriptors = len(os.listdir(f"/proc/{helper}/fd"))
    task_bound.set(1)
    os.kill(sidecar, signal.SIGKILL)
    waiting.until("it fails to fork", lambda: "Cannot fork for the sidecar" in fs.stderr())
    before, begin = cpu_s(helper), time.monotonic()
    waiting.until("it tries again", lambda: fs.stderr().count("Cannot fork for the sidecar") >= 4)
    took = time.monotonic() - begin
    assert took > 0.5 and cpu_s(helper) - before < took / 5
    assert fs.stderr().count("Cannot fork for the sidecar") < 10
    assert len(os.listdir(f"/proc/{helper}/fd")) <= descriptors
    assert fs.status()["sidecar"] == "down"
    task_bound.set(None)
    waiting.until("it listens", lambda: fs.status()["sidecar"] == "listening", 10)
    assert fs.web and fs.web.get("/healthz").status == 200


def helpers(fs: Magnetfs) -> list[int]:
    return [
        pid
        for pid in fs.processes()
        if Path(f"/proc/{pid}/comm").read_text() == "magnetfs-helper\n"
    ]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
