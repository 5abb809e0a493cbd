"""Answers that no honest HTTP server gives: what a hostile web seed may say to a request for a range.

Each is a function of the connection and of the range with its bytes; all end when the client hangs
up, which raises OSError.
"""

from __future__ import annotations

import gzip
import socket
import time
from dataclasses import dataclass
from typing import Callable

MIB = 1 << 20


@dataclass
class Range:
    target: str
    first: int
    last: int
    total: int  # of the file
    data: bytes

    def head(self, *lines: str, length: int | None = None, status: str = "206 Partial Content"):
        size = len(self.data) if length is None else length
        content = [f"Content-Length: {size}"] if size >= 0 else []
        where = f"Content-Range: bytes {self.first}-{self.last}/{self.total}"
        head = [f"HTTP/1.1 {status}", *content, where, *lines]
        return ("\r\n".join(head) + "\r\n\r\n").encode()


def endless_head(connection: socket.socket, asked: Range) -> None:
    connection.sendall(b"HTTP/1.1 206 Partial Content\r\n")
    for number in range(16 * MIB // 1024):
        connection.sendall(f"X-{number}: ".encode() + b"x" * 1000 + b"\r\n")


def endless_line(connection: socket.socket, asked: Range) -> None:
    connection.sendall(b"HTTP/1.1 206 Partial Content\r\nX: ")
    for _ in range(256):
        connection.sendall(b"x" * (64 * 1024))


def endless_interim(connection: socket.socket, asked: Range) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")


def negative_chunk(connection: socket.socket, asked: Range) -> None:
    connection.sendall(asked.head("Transfer-Encoding: chunked", length=-1))
    while True:
        connection.sendall(b"-5\r\nxxxxx\r\n")
        time.sleep(0.01)


def endless_chunks(connection: socket.socket, asked: Range) -> None:
    more = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    connection.sendall(asked.head("Transfer-Encoding: chunked", length=-1))
    # In one go: who has all that he asked for may hang up before he sees that there is more.
    connection.sendall(f"{len(asked.data):x}\r\n".encode() + asked.data + b"\r\n" + more)
    while True:
        connection.sendall(more)


def endless_trailers(connection: socket.socket, asked: Range) -> None:
    connection.sendall(asked.head("Transfer-Encoding: chunked", length=-1))
    connection.sendall(f"{len(asked.data):x}\r\n".encode() + asked.data + b"\r\n0\r\n")
    while True:
        connection.sendall(b"X-Trailer: " + b"x" * 1000 + b"\r\n")


def endless_body(connection: socket.socket, asked: Range) -> None:
    connection.sendall(asked.head() + asked.data)
    while True:
        connection.sendall(bytes(64 * 1024))


def endless_without_length(connection: socket.socket, asked: Range) -> None:
    connection.sendall(asked.head(length=-1) + asked.data + bytes(64 * 1024))
    while True:
        connection.sendall(bytes(64 * 1024))


def nothing(connection: socket.socket, asked: Range) -> None:
    connection.sendall(asked.head())


def hangs_up(connection: socket.socket, asked: Range) -> None:
    """Not even a head."""


def drip(connection: socket.socket, asked: Range) -> None:
    connection.sendall(asked.head())
    for byte in asked.data:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def gzipped(connection: socket.socket, asked: Range) -> None:
    bomb = gzip.compress(bytes(64 * MIB), 1)
    connection.sendall(asked.head("Content-Encoding: gzip", length=len(bomb)) + bomb)


def gzipped_transfer(connection: socket.socket, asked: Range) -> None:
    bomb = gzip.compress(bytes(64 * MIB), 1)
    connection.sendall(asked.head("Transfer-Encoding: gzip", length=-1) + bomb)


def wrong_range(connection: socket.socket, asked: Range) -> None:
    where = f"bytes {asked.first + 1}-{asked.last + 1}/{asked.total}"
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: {where}\r\n"
    connection.sendall(f"{head}Content-Length: {len(asked.data)}\r\n\r\n".encode() + asked.data)


def no_range(connection: socket.socket, asked: Range) -> None:
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(asked.data)}\r\n\r\n"
    connection.sendall(head.encode() + asked.data)


def other_size(connection: socket.socket, asked: Range) -> None:
    asked.total += 1
    connection.sendall(asked.head() + asked.data)


def longer(connection: socket.socket, asked: Range) -> None:
    connection.sendall(asked.head(length=len(asked.data) + 1) + asked.data + b"x")


def shorter(connection: socket.socket, asked: Range) -> None:
    half = len(asked.data) // 2
    connection.sendall(asked.head(length=half) + asked.data[:half])


def redirect_loop(connection: socket.socket, asked: Range) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {asked.target}\r\nContent-Length: 0\r\n\r\n"
    connection.sendall(head.encode())


def redirect_to_a_file(connection: socket.socket, asked: Range) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
    connection.sendall(head)


def no_http(connection: socket.socket, asked: Range) -> None:
    connection.sendall(asked.data)


ANSWERS: dict[str, Callable[[socket.socket, Range], None]] = {
    answer.__name__: answer
    for answer in (
        endless_head,
        endless_line,
        endless_interim,
        negative_chunk,
        endless_chunks,
        endless_trailers,
        endless_body,
        endless_without_length,
        nothing,
        hangs_up,
        drip,
        gzipped,
        gzipped_transfer,
        wrong_range,
        no_range,
        other_size,
        longer,
        shorter,
        redirect_loop,
        redirect_to_a_file,
        no_http,
    )
}
