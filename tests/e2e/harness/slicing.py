"""A file over HTTP in many requests, each for a range: as AVPlayer, Kodi and proxies ask."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from dataclasses import dataclass

from harness.torrents import KIB, MIB

PART = 16 * KIB  # a body is taken as it comes


@dataclass(frozen=True)
class Slicing:
    """How one asks."""

    size: int = 64 * KIB
    at_once: int = 1
    keeps: bool = False  # a connection for more than one request
    looks: bool = False  # with a HEAD before each GET


SLICINGS = {
    "fresh": Slicing(),
    "kept": Slicing(keeps=True),
    "two": Slicing(at_once=2, keeps=True),
    "looking": Slicing(looks=True),
    "proxy": Slicing(size=MIB, at_once=3),
}


class Slice:
    """A request for a range, and as much of its answer as is there."""

    def __init__(self, offset: int, length: int) -> None:
        self.offset, self.length = offset, length
        self.data = b""
        self.problem: BaseException | None = None
        self._changed = threading.Condition()

    def add(self, part: bytes) -> None:
        with self._changed:
            self.data += part
            self._changed.notify_all()

    def fail(self, problem: BaseException) -> None:
        with self._changed:
            self.problem = problem
            self._changed.notify_all()

    def wait(self, length: int, timeout: float) -> bytes:
        """Its first bytes, once so many are there."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: self.problem or len(self.data) >= length, timeout
            ):
                raise TimeoutError(f"{self.offset}: {len(self.data)} of {length} bytes")
            if self.problem:
                raise self.problem
            return self.data[:length]


class SliceReader:
    """Reads on by ranges of `size`, so many at a time, each a request of its own."""

    def __init__(
        self, port: int, target: str, length: int, slicing: Slicing, timeout: float
    ) -> None:
        self._port, self._target, self._length = port, target, length
        self._slicing, self._timeout = slicing, timeout
        self._running: deque[Slice] = deque()
        self._idle: list[http.client.HTTPConnection] = []

    def at(self, offset: int, length: int) -> bytes:
        data = bytearray(length)
        return bytes(data[: self.take(memoryview(data), offset)])

    def take(self, view: memoryview, offset: int) -> int:
        done = 0
        while done < len(view) and offset + done < self._length:
            first = self._slice(offset + done)
            begin = offset + done - first.offset
            count = min(len(view) - done, first.length - begin)
            view[done : done + count] = first.wait(begin + count, self._timeout)[begin:]
            done += count
        return done

    def _slice(self, offset: int) -> Slice:
        """The one that holds that byte; those behind it are asked for as far as they may be."""
        while self._running and not (
            self._running[0].offset <= offset < self._running[0].offset + self._running[0].length
        ):
            self._running.popleft()
        while len(self._running) < self._slicing.at_once:
            last = self._running[-1] if self._running else None
            begin = last.offset + last.length if last else offset
            if begin >= self._length:
                break
            one = Slice(begin, min(self._slicing.size, self._length - begin))
            self._running.append(one)
            threading.Thread(target=self._fetch, args=(one,), daemon=True).start()
        return self._running[0]

    def _fetch(self, one: Slice) -> None:
        try:
            connection = self._idle.pop() if self._idle else self._connection()
            if self._slicing.looks:
                self._ask(connection, "HEAD", one).read()
            answer = self._ask(connection, "GET", one)
            while part := answer.read(min(PART, one.length - len(one.data))):
                one.add(part)
            if len(one.data) < one.length:
                raise OSError(f"{one.offset}: cut after {len(one.data)} of {one.length} bytes")
            if self._slicing.keeps:
                self._idle.append(connection)
            else:
                connection.close()
        except BaseException as problem:  # the reading thread's
            one.fail(problem)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, one: Slice
    ) -> http.client.HTTPResponse:
        range_ = f"bytes={one.offset}-{one.offset + one.length - 1}"
        connection.request(method, self._target, headers={"Range": range_})
        answer = connection.getresponse()
        # Range is for GET alone (RFC 9110 section 14.2).
        if answer.status != (206 if method == "GET" else 200):
            raise OSError(f"{method} {range_}: {answer.status}")
        return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
