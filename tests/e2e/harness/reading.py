"""Reading through the mount: comparing, timing, parking, and readers as processes of their own."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Sequence

from harness import waiting
from harness.torrents import Torrent, iter_chunks


def read_exactly(fd: int, offset: int, length: int) -> bytes:
    """pread(2) until length bytes or the end of the file are there."""
    parts = []
    while length > 0:
        part = os.pread(fd, length, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


def assert_part(fd: int, torrent: Torrent, name: str, offset: int, length: int) -> None:
    """Reads so much of an open file of the mount and compares every byte with the torrent's."""
    got = read_exactly(fd, offset, length)
    if got != torrent.read(name, offset, length):
        raise AssertionError(f"{name}: differs within {length} bytes at {offset}")


def assert_same(path: Path, torrent: Torrent, name: str) -> None:
    """Reads a file of the mount from start to end and compares every byte with the torrent's."""
    file = torrent.file(name)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert os.fstat(fd).st_size == file.length
        for offset, length in iter_chunks(file.length):
            assert_part(fd, torrent, name, offset, length)
        assert os.pread(fd, 1, file.length) == b""
    finally:
        os.close(fd)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def stat_times(
    paths: Sequence[str], beside: Sequence[str] = ()
) -> tuple[list[float], list[float]]:
    """Seconds each stat(2) took, and those of others that were made in turn with them.

    Of two mounts that differ in one thing the second list shows what the machine itself took away
    in the same moments: a host that runs others on these processors holds up both.
    """
    times: tuple[list[float], list[float]] = ([], [])
    gc.disable()
    try:
        for number, path in enumerate(paths):
            for path, took in zip((path, *beside[number : number + 1]), times):
                began = time.perf_counter()
                os.stat(path)
                took.append(time.perf_counter() - began)
    finally:
        gc.enable()
    return times


class Parked:
    """A process with threads that read where nothing comes (see parked_process.py)."""

    def __init__(self, path: Path, count: int = 1, stride: int = 0) -> None:
        self._said = b""
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("parked_process.py"))]
            + [str(path), str(count), str(stride)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self, timeout: float) -> str:
        """The next line it says, or "" when it says none in time."""
        assert self._process.stdout
        fd = self._process.stdout.fileno()
        end = time.monotonic() + timeout
        while b"\n" not in self._said:
            left = end - time.monotonic()
            if left <= 0 or not waiting.readable(fd, left):
                return ""
            part = os.read(fd, 65536)
            if not part:
                return ""
            self._said += part
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def do(self, action: str) -> None:
        """dup, fork, spawn or run: what must not disturb the parked read."""
        assert self._process.stdin
        self._process.stdin.write(action.encode() + b"\n")
        self._process.stdin.flush()
        assert self.line(10) == f"did {action}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def __enter__(self) -> Parked:
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()


class Latency:
    """A process that reads a file or looks at a folder all the time (see latency_process.py)."""

    def __init__(self, what: str, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("latency_process.py")), what, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def take(self, timeout: float = 60.0) -> dict[str, float]:
        """What was since the last call: count, and worst and p99 in seconds."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(b"?")
        self._process.stdin.flush()
        assert waiting.readable(self._process.stdout.fileno(), timeout), "it hangs"
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Latency:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
