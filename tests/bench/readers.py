"""Readers: one place to read from, through the mount or over HTTP, and how a player or cp reads."""

from __future__ import annotations

import http.client
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Protocol

BLOCK = 128 * 1024  # what cat and the kernel's readahead ask for
PLAYER_BLOCK = 64 * 1024

# A delay below this is the machine's, not the swarm's; no player shows it.
STALL_MIN_S = 0.03


class Reader(Protocol):
    """An open file."""

    def at(self, offset: int, length: int) -> bytes:
        """A read of just that, as a seek does it."""

    def take(self, view: memoryview, offset: int) -> int:
        """A read that is part of reading on from there. Fills view, less only at the end."""

    def close(self) -> None:
        ...


class FileReader:
    """A file of a mount, or any file."""

    def __init__(self, path: str | Path) -> None:
        self.fd = os.open(path, os.O_RDONLY)

    def at(self, offset: int, length: int) -> bytes:
        data = bytearray(length)
        return bytes(data[: self.take(memoryview(data), offset)])

    def take(self, view: memoryview, offset: int) -> int:
        done = 0
        while done < len(view):
            got = os.preadv(self.fd, [view[done:]], offset + done)
            if got == 0:
                break
            done += got
        return done

    def close(self) -> None:
        os.close(self.fd)


class HttpReader:
    """A file over HTTP: at() asks for a closed range on one connection that is kept; take() has one
    open-ended request running, as players do, and begins another where the position is not next."""

    def __init__(self, port: int, target: str, timeout: float) -> None:
        self._port, self._target, self._timeout = port, target, timeout
        self._lone: http.client.HTTPConnection | None = None
        self._running: http.client.HTTPConnection | None = None
        self._body: http.client.HTTPResponse | None = None
        self._position = 0

    def _request(
        self, connection: http.client.HTTPConnection, range_: str
    ) -> http.client.HTTPResponse:
        connection.request("GET", self._target, headers={"Range": f"bytes={range_}"})
        answer = connection.getresponse()
        if answer.status != 206:
            raise OSError(f"GET {self._target} {range_}: {answer.status} {answer.read(300)!r}")
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)

    def at(self, offset: int, length: int) -> bytes:
        if self._lone is None:
            self._lone = self._connection()
        return self._request(self._lone, f"{offset}-{offset + length - 1}").read()

    def take(self, view: memoryview, offset: int) -> int:
        if self._body is None or offset != self._position:
            self._leave()
            self._running = self._connection()
            self._body = self._request(self._running, f"{offset}-")
            self._position = offset
        done = 0
        while done < len(view):
            got = self._body.readinto(view[done:])
            if not got:
                break
            done += got
        self._position += done
        return done

    def _leave(self) -> None:
        if self._body:
            self._body.close()
        if self._running:
            self._running.close()
        self._body = self._running = None

    def close(self) -> None:
        self._leave()
        if self._lone:
            self._lone.close()


def read_on(reader: Reader, length: int, offset: int = 0) -> None:
    """Reads from offset on, as cat does; what comes short is an error."""
    view = memoryview(bytearray(BLOCK))
    end = offset + length
    while offset < end:
        got = reader.take(view[: min(BLOCK, end - offset)], offset)
        if got == 0:
            raise OSError(f"the file ends at {offset}, {end - offset} bytes early")
        offset += got


@dataclass
class Sweep:
    """What a greedy reader got: (time of completion, bytes so far) of each read."""

    began: float
    reads: list[tuple[float, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.reads[-1][1] if self.reads else 0

    @property
    def took(self) -> float:
        return self.reads[-1][0] - self.began

    @property
    def first_s(self) -> float:
        return self.reads[0][0] - self.began

    def rate(self, since: float | None = None) -> float:
        """Bytes per second of the reads that ended after since."""
        since = self.began if since is None else since
        before = max((n for at, n in self.reads if at <= since), default=0)
        took = self.reads[-1][0] - since
        return (self.total - before) / took if took > 0 else 0.0

    def worst_gap(self, begin: float, end: float) -> float:
        """The longest time without the end of a read, of the gaps that touch begin..end."""
        times = [self.began] + [at for at, _ in self.reads]
        gaps = [b - a for a, b in zip(times, times[1:]) if b > begin and a < end]
        return max(gaps, default=0.0)


def sweep(
    reader: Reader,
    offset: int,
    most: int,
    until: float,
    block: int = PLAYER_BLOCK,
    each: Callable[[float, int], None] | None = None,
) -> Sweep:
    """Reads as fast as it gets bytes, until that time or so many; each(now, bytes) after a read."""
    view = memoryview(bytearray(block))
    got = Sweep(time.monotonic())
    total = 0
    while total < most and time.monotonic() < until:
        count = reader.take(view[: min(block, most - total)], offset + total)
        if count == 0:
            raise OSError(f"the file ends at {offset + total}")
        total += count
        now = time.monotonic()
        got.reads.append((now, total))
        if each:
            each(now, total)
    return got


@dataclass
class Playback:
    first_s: float  # from the given beginning until the first bytes were there
    start_s: float  # … and the first second of data
    stalls: list[float]  # seconds of each


def play(reader: Reader, offset: int, rate: float, length: int, began: float) -> Playback:
    """Plays length bytes at rate bytes/s: starts with one second in hand, then reads just as far
    ahead. A stall begins when the data is used up and ends when the next is there in time."""
    view = memoryview(bytearray(PLAYER_BLOCK))
    ahead = min(length, round(rate))
    buffered = 0

    def more() -> None:
        nonlocal buffered
        want = min(PLAYER_BLOCK, length - buffered)
        got = reader.take(view[:want], offset + buffered)
        if got < want:
            raise OSError(f"the file ends at {offset + buffered + got}")
        buffered += got

    more()
    first_s = time.monotonic() - began
    while buffered < ahead:
        more()
    zero = time.monotonic()  # when byte 0 is played; a stall moves it
    start_s = zero - began
    stalls: list[float] = []
    stalled = False
    while buffered < length:
        spare = (buffered - ahead) / rate - (time.monotonic() - zero)
        if spare > 0:
            time.sleep(spare)
        used_up = zero + buffered / rate
        more()
        late = time.monotonic() - used_up
        if late < STALL_MIN_S:
            stalled = False
            continue
        zero += late
        if stalled:
            stalls[-1] += late
        else:
            stalls.append(late)
        stalled = True
    return Playback(first_s, start_s, stalls)
