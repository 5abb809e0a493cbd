"""The sidecar and those who mean it harm, or know no better: its memory stays bounded, it does not
end, and whoever asks beside them has an answer."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import select
import socket
import statistics
import struct
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import Web, stream_target

LENGTH = 500_001
CROWD = 10_000
HEAD_S = 10  # the time a head gets
OWN_FILES = 500  # descriptors that this process and the sidecar need besides the crowd's


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mp4", LENGTH, seed=161, piece_length=64 * KIB)


@pytest.fixture
def served(fs: Magnetfs, seeder: Seeder, film: Torrent) -> Magnetfs:
    """A magnetfs that has all of the film."""
    directory = fs.add_torrent(film, seeder.seed(film))
    assert (directory / "film.mp4").read_bytes() == film.read("film.mp4")
    return fs


@pytest.fixture(scope="module")
def many_files() -> Iterator[int]:
    """As many descriptors as the system allows, here and in what is started. Gives their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- what is watched -------------------------------------------------------------------------------


def sidecar(fs: Magnetfs) -> int:
    pid = fs.sidecar()
    assert pid, "the sidecar is gone"
    return pid


def memory(fs: Magnetfs) -> int:
    """Bytes of its own that the sidecar has in memory."""
    status = Path(f"/proc/{sidecar(fs)}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * KIB


def sockets(fs: Magnetfs) -> int:
    """The sidecar's open connections, and what it listens on."""
    found = 0
    for entry in Path(f"/proc/{sidecar(fs)}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(entry).startswith("socket:")
    return found


def api_times(web: Web, count: int = 20) -> list[float]:
    """Seconds until the API has answered, a connection each."""
    took = []
    for number in range(count):
        begin = time.monotonic()
        target = ("/healthz", "/torrents")[number % 2]
        assert web.get(target, timeout=HEAD_S).status == 200, target
        took.append(time.monotonic() - begin)
    return took


def assert_the_api_answers(web: Web) -> None:
    took = api_times(web)
    assert statistics.median(took) <= 0.05 and max(took) <= 1.0, sorted(took)[-5:]


@pytest.fixture
def unharmed(served: Magnetfs) -> Iterator[Magnetfs]:
    """The sidecar, which at the end is the same process as before, has no connection of the test
    left, and answers."""
    assert served.web
    before = sidecar(served), sockets(served)
    yield served
    assert sidecar(served) == before[0], "the sidecar is another"
    waiting.until("no connection left", lambda: sockets(served) <= before[1], timeout=20)
    assert_the_api_answers(served.web)


@contextlib.contextmanager
def clients() -> Iterator[list[socket.socket]]:
    """A list whose sockets are closed at the end."""
    opened: list[socket.socket] = []
    try:
        yield opened
    finally:
        for client in opened:
            client.close()


def connect(web: Web) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), timeout=HEAD_S)


def reset(client: socket.socket) -> None:
    """Closes with RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def read_all(client: socket.socket, timeout: float = HEAD_S + 5) -> bytes:
    """All that comes until the server closes, in whatever way."""
    client.settimeout(timeout)
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            data += part
    return data


def status_of(answer: bytes) -> int:
    """The status of what a server said before it closed; 0: it said nothing."""
    if not answer:
        return 0
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer.split(b" ", 2)[1])


def head(web: Web, method: str, target: str, *fields: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{web.port}", *fields, "", ""]
    return "\r\n".join(lines).encode()


# -- connections that hold on ----------------------------------------------------------------------


def test_200_that_drip_their_heads_keep_nobody_waiting_and_are_sent_away(
    unharmed: Magnetfs,
) -> None:
    web = unharmed.web
    assert web
    with clients() as drips:
        drips += [connect(web) for _ in range(200)]
        begin = time.monotonic()
        gone: set[int] = set()
        rest = iter(head(web, "GET", "/torrents", "X-Slow: " + "x" * 10_000))
        answered = False
        while len(gone) < len(drips) and time.monotonic() - begin < HEAD_S + 5:
            # A byte each 50 ms, or as soon as one is sent away.
            poller = select.poll()
            for number, drip in enumerate(drips):
                if number not in gone:
                    poller.register(drip, select.POLLIN)
            poller.poll(50)
            byte = bytes([next(rest)])
            for number, drip in enumerate(drips):
                if number in gone:
                    continue
                try:
                    if waiting.readable(drip.fileno(), 0) and not drip.recv(4096):
                        gone.add(number)
                    else:
                        drip.sendall(byte)
                except ConnectionError:
                    gone.add(number)
            if not answered:
                assert_the_api_answers(web)
                answered = True
        assert len(gone) == len(drips), f"{len(drips) - len(gone)} are still there"


@pytest.mark.deadline(120)
def test_10000_idle_connections_leave_the_api_answering(
    many_files: int, magnetfs: Callable[..., Magnetfs], film: Torrent
) -> None:
    fs = magnetfs()
    assert fs.web
    fs.add(film.metainfo)
    assert_the_api_answers(fs.web)
    before = sidecar(fs), sockets(fs), memory(fs)
    count = min(CROWD, many_files - OWN_FILES)
    with clients() as crowd:
        for _ in range(count):
            crowd.append(connect(fs.web))
        assert_the_api_answers(fs.web)
        # A few KiB for each: what a request has said so far is kept, and nothing has been said.
        assert memory(fs) - before[2] <= count * 4 * KIB
        for client in crowd[::10]:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"GET /torrents HTTP/1.1\r\nX-Half: ")
        assert_the_api_answers(fs.web)
        assert memory(fs) - before[2] <= count * 8 * KIB
    waiting.until("no connection left", lambda: sockets(fs) <= before[1], timeout=20)
    assert sidecar(fs) == before[0]
    assert_the_api_answers(fs.web)


def test_bodies_that_stop_keep_nobody_waiting(unharmed: Magnetfs) -> None:
    web = unharmed.web
    assert web
    text = "Content-Type: text/plain"
    half = [
        head(web, "POST", "/torrents", text, "Content-Length: 1000") + b"magn",
        head(web, "POST", "/torrents", text, "Transfer-Encoding: chunked") + b"4\r\nmagn\r\n3",
        head(web, "POST", "/torrents", "Expect: 100-continue", "Content-Length: 1000"),
    ]
    with clients() as stopped:
        for number in range(60):
            stopped.append(connect(web))
            stopped[-1].sendall(half[number % len(half)])
        assert_the_api_answers(web)
        for number, client in enumerate(stopped):
            if number % 2:
                reset(client)


# -- what has no end -------------------------------------------------------------------------------

HELD = 32 * MIB  # what a server may have taken of a head when it says no; most of it the kernel has


def pour(client: socket.socket, part: bytes, limit: int = HELD) -> int:
    """Sends part again and again until the server has had enough; returns how much it was, more
    than limit when it has not."""
    sent = 0
    client.settimeout(HEAD_S)
    try:
        while sent <= limit:
            sent += client.send(part)
            if waiting.readable(client.fileno(), 0):
                break
    except (ConnectionError, TimeoutError):
        pass
    return sent


def test_a_head_of_a_gigabyte_is_refused_at_its_beginning(unharmed: Magnetfs) -> None:
    web = unharmed.web
    assert web
    before = memory(unharmed)
    for begin, part in (
        (b"GET /torrents HTTP/1.1\r\nX-Long: ", b"x" * MIB),
        (b"GET /torrents HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n" * 100_000),
        (b"GET /torrents?", b"x" * MIB),
        (b"", b"X" * MIB),
        (b"", b"\r\n" * (MIB // 2)),
    ):
        with clients() as opened:
            client = connect(web)
            opened.append(client)
            client.sendall(begin)
            # What the kernel holds on both sides comes on top of what was read.
            assert pour(client, part) <= HELD, (begin, part[:5])
            assert status_of(read_all(client)) in (0, 400, 414, 431), (begin, part[:5])
        assert memory(unharmed) - before <= 4 * MIB, begin


def test_a_body_without_end_is_refused(unharmed: Magnetfs) -> None:
    web = unharmed.web
    assert web
    before = memory(unharmed)
    large = ("Transfer-Encoding: chunked", b"100000\r\n" + b"d" * MIB + b"\r\n")
    small = ("Transfer-Encoding: chunked", b"1\r\nd\r\n" * 10_000)
    # The length of a chunk may have any number of zeros, and an extension without end.
    zeros = ("Transfer-Encoding: chunked", b"0" * MIB)
    extension = ("Transfer-Encoding: chunked", b"1;" + b"x" * MIB)
    trailer = ("Transfer-Encoding: chunked", b"0\r\n" + b"X: y\r\n" * 100_000)
    announced = ("Content-Length: 999999999999999", b"d" * MIB)
    for kind, field, part in (
        *(("text/plain", *form) for form in (announced, large, small, zeros, extension, trailer)),
        *(("application/json", *form) for form in (announced, large)),
        *(("application/x-bittorrent", *form) for form in (announced, large)),
    ):
        with clients() as opened:
            client = connect(web)
            opened.append(client)
            client.sendall(head(web, "POST", "/torrents", f"Content-Type: {kind}", field))
            assert pour(client, part, 4 * HELD) <= 4 * HELD, (kind, field, part[:9])
            assert status_of(read_all(client)) in (0, 400, 413), (kind, field, part[:9])
        assert_the_api_answers(web)
    waiting.until("its memory given back", lambda: memory(unharmed) - before <= 16 * MIB)


# -- what is no request ----------------------------------------------------------------------------

GARBAGE = {
    "random": random.Random(16).randbytes(5000),
    "TLS ClientHello": bytes.fromhex("1603010200010001fc0303") + random.Random(17).randbytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000012040000000000"),
    "NULs": bytes(4096),
    "NUL in the target": b"GET /tor\0rents HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\n\r\n",
    "a long URL": b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "10,000 fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    "no version": b"GET /\r\n\r\n",
    "another protocol": b"EHLO localhost\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SOCKS": b"\x05\x01\x00",
    "BitTorrent": b"\x13BitTorrent protocol" + bytes(48),
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    "blank before the colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\rHost: localhost\r\r",
    "negative length": b"POST /torrents HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST /torrents HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no chunk": b"POST /torrents HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "huge chunk": b"POST /torrents HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"fffffffffffffffff\r\n",
    "raw UTF-8": "GET /stream/ü HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "brackets": b"POST /torrents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 900\r\n\r\n" + b"[" * 900,
    "braces": b"POST /torrents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 4500\r\n\r\n" + b'{"a":' * 900,
}


def test_what_is_no_request_is_refused(unharmed: Magnetfs) -> None:
    web = unharmed.web
    assert web
    for name, data in GARBAGE.items():
        with clients() as opened:
            client = connect(web)
            opened.append(client)
            with contextlib.suppress(ConnectionError):
                client.sendall(data.replace(b"localhost", f"127.0.0.1:{web.port}".encode()))
                client.shutdown(socket.SHUT_WR)
            status = status_of(read_all(client))
            assert status == 0 or 400 <= status < 600, (name, status)
            assert web.get("/healthz").status == 200, name


# -- requests in pieces, in heaps, and cut off -----------------------------------------------------


def one_answer(stream: socket.SocketIO) -> tuple[int, bytes]:
    """The next answer of a connection that is kept: its status and its body."""
    line = stream.readline()
    assert line.startswith(b"HTTP/1.1 "), line
    length = None
    while field := stream.readline().strip():
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    assert length is not None
    return int(line.split()[1]), stream.read(length)


def test_a_request_in_segments_of_a_byte_is_one(unharmed: Magnetfs, film: Torrent) -> None:
    web = unharmed.web
    assert web
    with clients() as opened:
        client = connect(web)
        opened.append(client)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = stream_target(film, "film.mp4")
        for byte in head(web, "GET", target, "Range: bytes=1000-99999", "Connection: close"):
            client.sendall(bytes([byte]))
        with client.makefile("rb") as stream:
            assert one_answer(stream) == (206, film.read("film.mp4", 1000, 99_000))


def test_1000_requests_at_once_are_answered_in_their_order(
    unharmed: Magnetfs, film: Torrent
) -> None:
    web = unharmed.web
    assert web
    rng = random.Random(18)
    places = [(rng.randrange(LENGTH - 300), rng.randrange(1, 300)) for _ in range(1000)]
    target = stream_target(film, "film.mp4")
    requests = b"".join(
        head(web, "GET", target, f"Range: bytes={first}-{first + length - 1}")
        for first, length in places
    )
    with clients() as opened:
        client = connect(web)
        opened.append(client)
        client.settimeout(30)
        sender = threading.Thread(target=send_quietly, args=(client, requests))
        sender.start()
        try:
            with client.makefile("rb") as stream:
                for first, length in places:
                    assert one_answer(stream) == (206, film.read("film.mp4", first, length))
        finally:
            client.shutdown(socket.SHUT_RDWR)
            sender.join()


def send_quietly(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(data)


def test_a_reset_at_any_point_leaves_nothing(unharmed: Magnetfs, film: Torrent) -> None:
    web = unharmed.web
    assert web
    request = head(web, "GET", stream_target(film, "film.mp4"), "Range: bytes=5-")
    post = head(web, "POST", "/torrents", "Content-Type: text/plain", "Content-Length: 60")
    post += film.magnet().encode()[:60]
    for data in (request, post):
        for sent in range(0, len(data), 3):
            client = connect(web)
            client.sendall(data[:sent])
            reset(client)
    for received in (1, 100, 1000, 100_000, 400_000):
        client = connect(web)
        client.sendall(request * 3)
        got = 0
        while got < received:
            part = client.recv(received - got)
            assert part
            got += len(part)
        reset(client)
    waiting.until("no reader left", lambda: unharmed.torrent(film.info_hash)["readers"] == 0)
