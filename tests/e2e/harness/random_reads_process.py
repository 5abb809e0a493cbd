"""PATH BLOB URL SECONDS SEED: eight threads read a file at random places, each in its own way.

PATH is the file in the mount, URL where the sidecar has it, BLOB what it must hold: every byte is
compared. Says a JSON object at the end: bytes, and reads by way. The first byte that is wrong, and
the first read that fails, end it with a traceback; a page of a mapping that can't be had is SIGBUS.
"""

from __future__ import annotations

import http.client
import json
import mmap
import os
import random
import sys
import threading
import time
from typing import Callable
from urllib.parse import urlsplit

MOST = 300 * 1024  # longer than a piece: several are read at once
PAGE = mmap.PAGESIZE
REQUEST_S = 60.0

Read = Callable[[int, int], bytes]


def pread(fd: int, offset: int, length: int) -> bytes:
    parts = []
    while length > 0 and (part := os.pread(fd, length, offset)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


def held(path: str) -> Read:
    """One descriptor for all reads."""
    fd = os.open(path, os.O_RDONLY)
    return lambda offset, length: pread(fd, offset, length)


def opened(path: str) -> Read:
    """Opened for each read: as players do over the network."""

    def read(offset: int, length: int) -> bytes:
        fd = os.open(path, os.O_RDONLY)
        try:
            return pread(fd, offset, length)
        finally:
            os.close(fd)

    return read


def direct(path: str) -> Read:
    """Past the page cache, whatever the file system says of it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, MOST + 2 * PAGE)

    def read(offset: int, length: int) -> bytes:
        begin = offset - offset % PAGE
        end = offset + length
        at = begin
        while at < end:
            # Up to a whole page: the file may end within it.
            room = memoryview(buffer)[at - begin : -(-end // PAGE) * PAGE - begin]
            got = os.preadv(fd, [room], at)
            if got == 0:
                break
            at += got
        return buffer[offset - begin : end - begin]

    return read


def mapped(path: str) -> Read:
    """Through a mapping whose pages nobody has yet."""
    fd = os.open(path, os.O_RDONLY)

    def read(offset: int, length: int) -> bytes:
        begin = offset - offset % mmap.ALLOCATIONGRANULARITY
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(
            fd, offset - begin + length, mmap.MAP_PRIVATE, mmap.PROT_READ, offset=begin
        ) as pages:
            return pages[offset - begin :]

    return read


def sent(path: str) -> Read:
    """By sendfile, from pages that nobody has yet."""
    fd = os.open(path, os.O_RDONLY)
    target = os.memfd_create("sent")

    def read(offset: int, length: int) -> bytes:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.lseek(target, 0, os.SEEK_SET)
        done = 0
        while done < length:
            moved = os.sendfile(target, fd, offset + done, length - done)
            if moved == 0:
                break
            done += moved
        return os.pread(target, done, 0)

    return read


def streamed(url: str) -> Read:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=REQUEST_S)

    def read(offset: int, length: int) -> bytes:
        span = f"bytes={offset}-{offset + length - 1}"
        connection.request("GET", where.path, headers={"Range": span})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 206:
            raise OSError(f"/stream: {answer.status} {data[:300]!r}")
        return data

    return read


class Work:
    def __init__(self, blob: str, seconds: float) -> None:
        self.blob = os.open(blob, os.O_RDONLY)
        self.size = os.fstat(self.blob).st_size
        self.end = time.monotonic() + seconds
        self.bytes = 0
        self.reads: dict[str, int] = {}
        self.problem: BaseException | None = None
        self.lock = threading.Lock()

    def run(self, name: str, read: Read, seed: int) -> None:
        places = random.Random(seed)
        try:
            while time.monotonic() < self.end and not self.problem:
                offset = places.randrange(self.size)
                length = min(self.size - offset, places.randrange(1, MOST))
                got, wanted = read(offset, length), os.pread(self.blob, length, offset)
                if got != wanted:
                    zeros = "all zeros" if got == bytes(len(got)) else "not all zeros"
                    raise ValueError(
                        f"{name}: wrong at {offset}: {len(got)} of {length} bytes, {zeros}"
                    )
                with self.lock:
                    self.bytes += length
                    self.reads[name] = self.reads.get(name, 0) + 1
        except BaseException as problem:
            self.problem = problem


def main() -> None:
    path, blob, url, seconds, seed = sys.argv[1:]
    ways = [
        *(("held", held(path)) for _ in range(3)),
        ("opened", opened(path)),
        ("direct", direct(path)),
        ("mapped", mapped(path)),
        ("sent", sent(path)),
        ("streamed", streamed(url)),
    ]
    work = Work(blob, float(seconds))
    threads = [
        threading.Thread(target=work.run, args=(name, read, int(seed) + number))
        for number, (name, read) in enumerate(ways)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if work.problem:
        raise work.problem
    print(json.dumps({"bytes": work.bytes, "reads": work.reads}))


if __name__ == "__main__":
    main()
