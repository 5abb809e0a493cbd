"""One connection to the sidecar, byte by byte: what is sent is sent as given, and answers are read one
after the other, so that one that is out of step is seen."""

from __future__ import annotations

import http.client
import io
import socket
from types import TracebackType

from harness.web import Answer


class Wire:
    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def head(
        self, method: str, target: str, *fields: str, version: str = "1.1", host: str | None = None
    ) -> bytes:
        """A head with the right Host (host: another; "": none)."""
        lines = [f"{method} {target} HTTP/{version}"]
        if host != "":
            lines.append(f"Host: {host or f'127.0.0.1:{self.port}'}")
        return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, target: str, *fields: str, body: bytes = b"", **more: str) -> Answer:
        self.send(self.head(method, target, *fields, **more) + body)
        return self.answer(method)

    def _more(self) -> bool:
        data = self.socket.recv(1 << 16)
        self._buffer += data
        return data != b""

    def read(self, size: int) -> bytes:
        """So many bytes, fewer only at the end of the connection."""
        while len(self._buffer) < size and self._more():
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def read_head(self) -> bytes:
        """The head of the next answer, with its empty line."""
        while b"\r\n\r\n" not in self._buffer:
            assert self._more(), f"the connection ended after {self._buffer!r}"
        return self.read(self._buffer.index(b"\r\n\r\n") + 4)

    def answer(self, method: str = "GET", interim: bool = False) -> Answer:
        """The next answer, passing over 100 unless interim. What does not begin like one fails."""
        line, _, fields = self.read_head().partition(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        assert version == b"HTTP/1.1", line
        if status == b"100" and not interim:
            return self.answer(method)
        headers = http.client.parse_headers(io.BytesIO(fields))
        if method == "HEAD" or int(status) in (204, 304) or int(status) < 200:
            return Answer(int(status), headers, b"")
        length = int(headers["Content-Length"])
        body = self.read(length)
        assert len(body) == length, (len(body), length)
        return Answer(int(status), headers, body)

    def at_end(self, timeout: float = 5.0) -> bool:
        """Whether the other side closes the connection in time, without another byte."""
        self.socket.settimeout(timeout)
        try:
            return self.read(1) == b""
        except TimeoutError:
            return False
