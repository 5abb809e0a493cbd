"""The sidecar's connections: several requests in one, never out of step; heads and bodies that are
none; clients that say nothing, end their direction or leave; threads that come and go."""

from __future__ import annotations

import os
import socket
import statistics
import struct
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.mount import MAGNETFS, Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target
from harness.wire import Wire

LENGTH = 500_001
IDLE_THREADS = 16


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mp4", LENGTH, seed=171, piece_length=64 * KIB)


@pytest.fixture(scope="module")
def lonely(torrents: TorrentMaker) -> Torrent:
    return torrents.single("lonely.mkv", 16 * MIB, seed=172)


@pytest.fixture
def served(fs: Magnetfs, seeder: Seeder, film: Torrent) -> Magnetfs:
    fs.add_torrent(film, seeder.seed(film))
    return fs


@pytest.fixture
def wire(served: Magnetfs) -> Wire:
    assert served.web
    return Wire(served.web.port)


def sidecar_of(fs: Magnetfs) -> Path:
    return Path(f"/proc/{fs.sidecar()}")


def threads(fs: Magnetfs) -> int:
    return len(os.listdir(sidecar_of(fs) / "task"))


def descriptors(fs: Magnetfs) -> int:
    return len(os.listdir(sidecar_of(fs) / "fd"))


# -- several requests in one connection ------------------------------------------------------------


def test_many_requests_of_all_kinds_share_a_connection(wire: Wire, film: Torrent) -> None:
    target = stream_target(film, "film.mp4")
    whole = film.read("film.mp4")
    with wire:
        for n in range(20):
            first, last = n * 1000, n * 1000 + 20_000
            part = wire.ask("GET", target, f"Range: bytes={first}-{last}")
            assert (part.status, part.body) == (206, whole[first : last + 1])
            assert wire.ask("HEAD", target).headers["Content-Length"] == str(LENGTH)
            wire.ask("GET", "/nothing").problem(404)
            wire.ask("GET", target, "Range: bytes=9999999-").problem(416)
            wire.ask("PATCH", "/torrents").problem(405)
            assert wire.ask("GET", "/healthz").json["status"] == "ok"
            wire.ask("GET", "/torrents", host="evil.example").problem(421)
            added = wire.ask(
                "POST", "/torrents", f"Content-Length: {len(film.info_hash)}",
                body=film.info_hash.encode(),
            )
            assert added.json["infoHash"] == film.info_hash
            assert added.headers["Connection"] == "keep-alive"
        assert wire.ask("GET", target).body == whole


def test_pipelined_requests_are_answered_in_their_order(wire: Wire, film: Torrent) -> None:
    target = stream_target(film, "film.mp4")
    whole = film.read("film.mp4")
    magnet = film.info_hash.encode()
    requests = [
        ("GET", target, ["Range: bytes=0-99999"], b"", lambda a: a.body == whole[:100_000]),
        ("HEAD", target, [], b"", lambda a: a.headers["Content-Length"] == str(LENGTH)),
        ("POST", "/torrents", [f"Content-Length: {len(magnet)}"], magnet, lambda a: a.status == 200),
        ("GET", "/nothing", [], b"", lambda a: a.status == 404),
        ("DELETE", "/torrents/x", ["Content-Length: 7"], b"GET / H", lambda a: a.status == 404),
        ("GET", "/healthz", [], b"", lambda a: a.json["status"] == "ok"),
        ("GET", target, [], b"", lambda a: a.body == whole),
    ]
    with wire:
        for _ in range(3):
            wire.send(b"".join(wire.head(m, t, *f) + body for m, t, f, body, _ in requests))
            for method, where, _, _, right in requests:
                answer = wire.answer(method)
                assert right(answer), (method, where, answer.status, answer.body[:200])
        wire.send(wire.head("GET", "/healthz", "Connection: close") + wire.head("GET", "/torrents"))
        answer = wire.answer()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert wire.at_end(), "nothing is read after close (RFC 9112 §9.6)"


def test_a_request_in_single_bytes_is_read_like_another(wire: Wire, film: Torrent) -> None:
    magnet = film.info_hash.encode()
    with wire:
        for _ in range(2):
            for byte in wire.head("POST", "/torrents", f"Content-Length: {len(magnet)}") + magnet:
                wire.send(bytes([byte]))
            assert wire.answer().json["infoHash"] == film.info_hash
        wire.send(b"\r\n" + wire.head("GET", "/healthz"))  # RFC 9112 §2.2
        assert wire.answer().status == 200
        wire.send(b"\r\n" * 1000)
        wire.answer().problem(400)


def test_white_space_around_a_value_is_none_of_it(wire: Wire, film: Torrent) -> None:
    """RFC 9110 §5.5."""
    target = stream_target(film, "film.mp4")
    with wire:
        for field in ("Range:bytes=0-9", "Range: \t bytes=0-9 \t ", "RANGE:\tbytes=0-9\t"):
            assert wire.ask("GET", target, field).body == film.read("film.mp4", 0, 10), field
        assert wire.ask("GET", target, "X: a\tb", "Range: bytes=0-0").status == 206
        assert wire.ask("GET", "/healthz", host=f" 127.0.0.1:{wire.port} \t").status == 200


VERSIONS = [
    ("1.1", [], True),
    ("1.1", ["Connection: close"], False),
    ("1.1", ["Connection: upgrade, Close"], False),
    ("1.1", ["Connection: keep-alive"], True),
    ("1.0", [], False),
    ("1.0", ["Connection: keep-alive"], True),
    ("1.0", ["Connection: Keep-Alive, close"], False),
]


@pytest.mark.parametrize("version, fields, stays", VERSIONS)
def test_who_keeps_a_connection(
    wire: Wire, film: Torrent, version: str, fields: list[str], stays: bool
) -> None:
    """RFC 9112 §9.3."""
    with wire:
        for target in ("/healthz", stream_target(film, "film.mp4")):
            answer = wire.ask("GET", target, *fields, version=version)
            assert answer.status == 200
            assert answer.headers["Connection"] == ("keep-alive" if stays else "close")
            if not stays:
                break
        assert wire.at_end(0.3) is not stays


def test_a_body_that_is_cut_short_ends_the_connection(
    magnetfs: Callable[..., Magnetfs], lonely: Torrent
) -> None:
    """What follows a body that can't be finished would be taken for its bytes."""
    fs = magnetfs(allow=[r"ended early: Input/output error"])
    assert fs.web
    fs.add(lonely.metainfo)
    with Wire(fs.web.port) as wire:
        wire.send(wire.head("GET", stream_target(lonely, "lonely.mkv")))
        head = wire.read_head()
        assert head.startswith(b"HTTP/1.1 200") and b"Content-Length: %d" % (16 * MIB) in head
        fs.remove(lonely.info_hash)
        wire.send(wire.head("GET", "/healthz"))
        assert wire.at_end(), "no byte behind the head"


# -- heads and bodies ------------------------------------------------------------------------------

HOST = b"Host: 127.0.0.1\r\n"
WRONG_HEADS = [
    ("RFC 9112 §5.2: a folded line", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    ("RFC 9112 §5.1: white space before the colon", b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", 400),
    ("RFC 9112 §5.1: Range :", b"GET / HTTP/1.1\r\n" + HOST + b"Range : bytes=0-1\r\n\r\n", 400),
    ("RFC 9112 §3.2: no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("RFC 9112 §3.2: two Hosts", b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    ("RFC 9112 §2.2: a bare LF", b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    ("RFC 9110 §5.5: NUL", b"GET / HTTP/1.1\r\n" + HOST + b"A: \0\r\n\r\n", 400),
    ("RFC 9112 §2.3: HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("RFC 9112 §2.3: HTTP/3.1", b"GET / HTTP/3.1\r\n" + HOST + b"\r\n", 505),
    ("RFC 8446: a TLS client", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("RFC 6585 §5: 70 kB", b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ("RFC 6585 §5: no end in sight", b"GET /" + b"x" * 70_000, 431),
    ("RFC 6585 §5: 65 headers", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 64 + b"\r\n", 431),
    ("RFC 9112 §6.3: length and coding",
     b"POST /torrents HTTP/1.1\r\n" + HOST
     + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("RFC 9112 §6.3: two lengths",
     b"POST /torrents HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ("RFC 9112 §6.1: another coding",
     b"POST /torrents HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ("RFC 9110 §10.1.1: another expectation",
     b"GET / HTTP/1.1\r\n" + HOST + b"Expect: miracles\r\n\r\n", 417),
    ("RFC 9110 §9.3.6: CONNECT", b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
]  # fmt: skip


@pytest.mark.parametrize("head, status", [c[1:] for c in WRONG_HEADS], ids=[c[0] for c in WRONG_HEADS])
def test_wrong_heads_are_refused_at_once_and_end_the_connection(
    fs: Magnetfs, head: bytes, status: int
) -> None:
    assert fs.web
    port = fs.web.port
    with Wire(port) as wire:
        begin = time.monotonic()
        wire.send(head.replace(b"127.0.0.1", b"127.0.0.1:%d" % port))
        answer = wire.answer()
        answer.problem(status)
        assert answer.headers["Connection"] == "close"
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.at_end()
        assert time.monotonic() - begin < 1


def test_a_slow_head_gets_ten_seconds_in_all(fs: Magnetfs) -> None:
    assert fs.web
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(fs.web.port, 15)) for _ in range(50)]
        begin = time.monotonic()
        for byte in wires[0].head("GET", "/healthz", "X: " + "y" * 100)[:14]:
            for wire in wires:
                try:
                    wire.send(bytes([byte]))
                except OSError:
                    break
            asked = time.monotonic()
            with Wire(fs.web.port) as other:
                assert other.ask("GET", "/healthz").status == 200
            if waiting.readable(wires[0].socket.fileno(), max(0.0, 1 - (time.monotonic() - asked))):
                break
        assert 9 < time.monotonic() - begin < 12
        for wire in wires:
            wire.answer().problem(408)


CHUNKED = "Transfer-Encoding: chunked"
HASH = b"%s"
CHUNKS = [
    ("one chunk", b"28\r\n" + HASH + b"\r\n0\r\n\r\n", 200),
    ("an extension", b'28;a="b;c"\r\n' + HASH + b"\r\n0;z\r\n\r\n", 200),
    ("trailers", b"28\r\n" + HASH + b"\r\n0\r\nContent-Length: 7\r\nA: b\r\n\r\n", 200),
    ("leading zeros", b"00000028\r\n" + HASH + b"\r\n000\r\n\r\n", 200),
    ("no size", b"\r\n" + HASH + b"\r\n0\r\n\r\n", 400),
    ("a size that is none", b"0x28\r\n" + HASH + b"\r\n0\r\n\r\n", 400),
    ("a negative size", b"-28\r\n" + HASH + b"\r\n0\r\n\r\n", 400),
    ("a size of 17 digits", b"00000000000000028\r\n" + HASH + b"\r\n0\r\n\r\n", 400),
    ("a bare LF", b"28\n" + HASH + b"\r\n0\r\n\r\n", 400),
    ("no line end behind the data", b"28\r\n" + HASH + b"0\r\n\r\n", 400),
    ("a folded trailer", b"28\r\n" + HASH + b"\r\n0\r\n A: b\r\n\r\n", 400),
    ("extensions without end", b"28;" + b"x" * 20_000, 400),
    ("trailers without end", b"0\r\n" + b"A: b\r\n" * 5000, 400),
    ("larger than allowed", b"7fffffff\r\n", 413),
]


@pytest.mark.parametrize("body, status", [c[1:] for c in CHUNKS], ids=[c[0] for c in CHUNKS])
def test_bodies_in_chunks(wire: Wire, film: Torrent, body: bytes, status: int) -> None:
    """RFC 9112 §7.1."""
    body = body.replace(HASH, film.info_hash.encode())
    with wire:
        wire.send(wire.head("POST", "/torrents", CHUNKED) + body + wire.head("GET", "/healthz"))
        answer = wire.answer()
        if status == 200:
            assert (answer.status, answer.json["infoHash"]) == (200, film.info_hash)
            assert wire.answer().json["status"] == "ok"
        else:
            answer.problem(status)
            assert answer.headers["Connection"] == "close"
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.at_end()


def test_chunks_in_single_bytes(wire: Wire, film: Torrent) -> None:
    text = film.info_hash.encode()
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n"
    with wire:
        for byte in wire.head("POST", "/torrents", CHUNKED) + body:
            wire.send(bytes([byte]))
        assert wire.answer().json["infoHash"] == film.info_hash
        assert wire.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("coding", [CHUNKED, "Content-Length: 40"])
def test_a_client_that_waits_for_100_gets_it(wire: Wire, film: Torrent, coding: str) -> None:
    """RFC 9110 §10.1.1; and none gets it that sends no body, or is refused before."""
    text = film.info_hash.encode()
    body = text if "Length" in coding else b"28\r\n" + text + b"\r\n0\r\n\r\n"
    expect = "Expect: 100-continue"
    with wire:
        for _ in range(2):
            wire.send(wire.head("POST", "/torrents", coding, expect))
            assert wire.answer(interim=True).status == 100
            wire.send(body)
            assert wire.answer().json["infoHash"] == film.info_hash
        wire.send(wire.head("GET", "/healthz", expect))
        assert wire.answer(interim=True).status == 200
        wire.send(wire.head("POST", "/torrents", coding, expect, "Origin: http://evil.example"))
        answer = wire.answer(interim=True)
        answer.problem(403)
        assert answer.headers["Connection"] == "close"
        wire.send(body)
        assert wire.at_end()


def test_a_slow_body_holds_none_of_the_api_up(fs: Magnetfs) -> None:
    assert fs.web
    with ExitStack() as stack:
        for method, target in [("POST", "/torrents"), ("DELETE", "/torrents/x"), ("GET", "/healthz")]:
            for _ in range(20):
                wire = stack.enter_context(Wire(fs.web.port))
                wire.send(wire.head(method, target, "Content-Length: 100") + b"x")
        with Wire(fs.web.port) as wire:
            begin = time.monotonic()
            assert wire.ask("GET", "/healthz").status == 200
            assert time.monotonic() - begin < 1


def test_a_target_in_absolute_form(wire: Wire) -> None:
    """RFC 9112 §3.2.2: its authority stands for Host."""
    own = f"127.0.0.1:{wire.port}"
    with wire:
        for target in (f"http://{own}/healthz", f"HTTP://localhost:{wire.port}/healthz?x"):
            assert wire.ask("GET", target, host="evil.example").status == 200, target
        assert wire.ask("GET", f"http://{own}").json["name"] == "magnetfs"
        wire.ask("GET", "http://evil.example/healthz").problem(421)
        assert wire.ask("GET", "/healthz").status == 200
        wire.ask("GET", f"https://{own}/healthz").problem(421)


def test_options_of_the_server_as_a_whole(wire: Wire) -> None:
    """RFC 9110 §9.3.7, RFC 9112 §3.2.4."""
    with wire:
        for target in ("*", f"http://127.0.0.1:{wire.port}"):
            answer = wire.ask("OPTIONS", target)
            assert answer.status == 204
            assert {"GET", "HEAD", "POST", "OPTIONS"} <= set(answer.headers["Allow"].split(", "))
        wire.ask("OPTIONS", "*", host="evil.example").problem(421)
    for host in ("", None):  # also of HTTP/1.0, which needs no Host
        with Wire(wire.port) as old:
            old.ask("GET", "http://evil.example/", version="1.0", host=host).problem(421)
    with Wire(wire.port) as wire:
        wire.ask("GET", "/*").problem(404)
        wire.ask("GET", "*").problem(400)


# -- clients that say nothing, end their direction or leave ----------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_client_that_ends_its_direction_gets_its_answer(
    fs: Magnetfs, seeder: Seeder, film: Torrent, version: str
) -> None:
    assert fs.web
    target = stream_target(film, "film.mp4")
    whole = film.read("film.mp4")
    with Wire(fs.web.port, 30) as adding, Wire(fs.web.port, 30) as playing:
        # Both wait for the swarm; the direction of each ends with its request.
        adding.send(adding.head("GET", f"/add/{film.info_hash}", version=version))
        adding.socket.shutdown(socket.SHUT_WR)
        waiting.until("the torrent is pending", lambda: fs.known(film.info_hash))
        # longer than it takes until a client that left is noticed
        assert waiting.settled("the torrent", lambda: fs.known(film.info_hash))
        fs.add(film.metainfo)
        assert adding.answer().json["infoHash"] == film.info_hash and adding.at_end()

        playing.send(playing.head("GET", target, version=version))
        playing.socket.shutdown(socket.SHUT_WR)
        waiting.until("a reader", lambda: fs.torrent(film.info_hash)["readers"] == 1)
        assert waiting.settled("readers", lambda: fs.torrent(film.info_hash)["readers"]) == 1
        seeder.seed(film).connect(film, fs.bt_port)
        assert playing.answer().body == whole and playing.at_end()
    for request in ("/torrents", "/healthz", target, f"/add/{film.info_hash}"):
        with Wire(fs.web.port) as wire:
            wire.send(wire.head("GET", request, version=version))
            wire.socket.shutdown(socket.SHUT_WR)
            answer = wire.answer()
            assert answer.status == 200 and wire.at_end(), request


@pytest.mark.parametrize("way", ["FIN", "RST"])
def test_a_thousand_that_come_park_and_leave_leave_nothing(
    fs: Magnetfs, lonely: Torrent, way: str
) -> None:
    assert fs.web
    fs.add(lonely.metainfo)
    target = stream_target(lonely, "lonely.mkv")
    before = descriptors(fs)

    def readers() -> int:
        return fs.torrent(lonely.info_hash)["readers"]

    for _ in range(5):
        wires = [Wire(fs.web.port) for _ in range(200)]
        for wire in wires:
            wire.send(wire.head("GET", target))
        for wire in wires:
            wire.read_head()  # so that nothing unread is left, and the close is a FIN
        waiting.until("all are parked", lambda: readers() == 200)
        for wire in wires:
            if way == "RST":
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.socket.close()
        begin = time.monotonic()
        waiting.until("the readers are freed", lambda: readers() == 0, timeout=10)
        assert time.monotonic() - begin <= 1.0
    waiting.until("the descriptors are closed", lambda: descriptors(fs) <= before)
    waiting.until("the threads end", lambda: threads(fs) <= IDLE_THREADS, timeout=15)


def test_clients_that_leave_at_once_leave_nothing(fs: Magnetfs, lonely: Torrent) -> None:
    """Before the head is answered, too: nothing told them from ones that just ended their direction
    but the answer itself."""
    assert fs.web
    fs.add(lonely.metainfo)
    before = descriptors(fs)
    for n in range(1000):
        with Wire(fs.web.port) as wire:
            wire.send(wire.head("GET", stream_target(lonely, "lonely.mkv")))
            if n % 3 == 0:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for _ in range(64):
        with Wire(fs.web.port) as wire:
            wire.send(wire.head("GET", "/add/" + "7" * 40))
    waiting.until("no reader", lambda: fs.torrent(lonely.info_hash)["readers"] == 0)
    waiting.until("the descriptors are closed", lambda: descriptors(fs) <= before)
    with Wire(fs.web.port) as wire:
        assert wire.ask("GET", "/healthz").status == 200


def test_who_left_at_once_by_http_1_0_keeps_no_place_that_is_wanted(
    magnetfs: Callable[..., Magnetfs], film: Torrent
) -> None:
    """Nothing can be sent to see whether it is there, as nginx by default asks by HTTP/1.0."""
    fs = magnetfs("--metadata-timeout", "60")
    assert fs.web
    for _ in range(64):
        with Wire(fs.web.port) as wire:
            wire.send(wire.head("GET", "/add/" + "7" * 40, version="1.0"))
            wire.socket.shutdown(socket.SHUT_WR)
    web = fs.web
    waiting.until("half of the places are free", lambda: web.places("waits") <= 32, timeout=3)
    fs.add(film.metainfo)
    with Wire(fs.web.port) as wire:
        assert wire.ask("GET", f"/add/{film.info_hash}").status == 200


def test_who_sends_a_body_slowly_is_in_the_way_of_no_other_request(
    fs: Magnetfs, film: Torrent
) -> None:
    assert fs.web
    web = fs.web
    fs.add(film.metainfo)
    with ExitStack() as stack:
        for _ in range(100):
            wire = stack.enter_context(Wire(fs.web.port))
            wire.send(wire.head("POST", "/torrents", "Content-Length: 1000") + b"ma")
        waiting.until("all places are taken", lambda: web.places("bodies") == 32)
        with Wire(fs.web.port) as wire:
            assert wire.ask("GET", f"/add/{film.info_hash}").status == 200
            whole = film.info_hash.encode()
            length = f"Content-Length: {len(whole)}"
            assert wire.ask("POST", "/torrents", length, body=whole).status == 200
            assert wire.ask("PROPFIND", "/dav/", "Depth: 0").status == 207
            wire.send(wire.head("POST", "/torrents", "Content-Length: 40"))
            assert wire.answer("POST").status == 503
    waiting.until("they are free", lambda: web.places("bodies") == 0, timeout=1.5)


def test_the_api_answers_within_50_ms_beside_full_slots_and_1000_idle_clients(
    magnetfs: Callable[..., Magnetfs], lonely: Torrent, film: Torrent
) -> None:
    fs = magnetfs("--metadata-timeout", "60")
    assert fs.web
    fs.add(lonely.metainfo)
    assert threads(fs) <= IDLE_THREADS
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(Wire(fs.web.port))
        for _ in range(256):
            wire = stack.enter_context(Wire(fs.web.port))
            wire.send(wire.head("GET", stream_target(lonely, "lonely.mkv")))
        waits = [stack.enter_context(Wire(fs.web.port)) for _ in range(64)]
        for wire in waits:
            wire.send(wire.head("GET", f"/add/{film.info_hash}"))
        waiting.until("streams", lambda: fs.torrent(lonely.info_hash)["readers"] == 256, timeout=20)
        waiting.until("waits", lambda: threads(fs) >= 256 + 64)

        for target in (stream_target(lonely, "lonely.mkv"), f"/add/{film.info_hash}"):
            with Wire(fs.web.port) as wire:
                begin = time.monotonic()
                full = wire.ask("GET", target)
                assert time.monotonic() - begin < 0.5
                full.problem(503)
                assert full.headers["Retry-After"], full.headers
                assert wire.ask("GET", "/healthz").status == 200, "the connection stays"

        took = []
        with Wire(fs.web.port) as kept:
            for n in range(200):
                begin = time.monotonic()
                if n % 2:
                    assert kept.ask("GET", "/torrents").status == 200
                else:
                    with Wire(fs.web.port) as fresh:
                        assert fresh.ask("GET", f"/torrents/{lonely.info_hash}").status == 200
                took.append(time.monotonic() - begin)
        assert statistics.quantiles(took, n=20)[-1] <= 0.050, sorted(took)[-10:]
    waiting.until("the threads end", lambda: threads(fs) <= IDLE_THREADS, timeout=15)


def test_it_ends_at_once_whatever_its_clients_do(fs: Magnetfs, lonely: Torrent) -> None:
    """stop() wants the end within 2 s, and no process left."""
    assert fs.web
    fs.add(lonely.metainfo)
    with ExitStack() as stack:
        def begin(count: int, method: str, target: str, *fields: str, cut: int = 0) -> None:
            for _ in range(count):
                wire = stack.enter_context(Wire(fs.web.port))
                head = wire.head(method, target, *fields)
                wire.send(head[: len(head) - cut])

        begin(256, "GET", stream_target(lonely, "lonely.mkv"))
        begin(64, "GET", "/add/" + "7" * 40)
        begin(64, "POST", "/torrents", "Content-Length: 100")
        begin(100, "GET", "/healthz", cut=3)
        begin(300, "GET", "/healthz")
        waiting.until("streams", lambda: fs.torrent(lonely.info_hash)["readers"] == 256, timeout=20)
        fs.stop()


def test_beyond_the_bound_the_longest_idle_client_goes(magnetfs: Callable[..., Magnetfs]) -> None:
    """As many clients as there may be files, and more."""
    program = ["sh", "-c", 'ulimit -n 2048 && exec "$0" "$@"', MAGNETFS]
    fs = magnetfs(program=program, allow=[r"files may be open"])
    assert fs.web
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(fs.web.port)) for _ in range(1500)]
        assert wires[-1].ask("GET", "/healthz").status == 200
        assert wires[0].at_end()
        assert wires[-2].ask("GET", "/healthz").status == 200, "not all of them"
        with Wire(fs.web.port) as wire:
            assert wire.ask("GET", "/healthz").status == 200


def test_clients_that_take_no_answer_hold_nobody_up(fs: Magnetfs) -> None:
    """More of them than the API has threads, and more answers than the sockets hold."""
    assert fs.web
    count = 2000
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(fs.web.port)) for _ in range(20)]
        for wire in wires:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * KIB)
            wire.send(wire.head("GET", "/") * count)
        with Wire(fs.web.port) as wire:
            index = wire.ask("GET", "/").body
            assert len(index) * count > MIB
            for _ in range(20):
                begin = time.monotonic()
                assert wire.ask("GET", "/healthz").status == 200
                assert time.monotonic() - begin < 1
        for _ in range(count):
            assert wires[0].answer().body == index, "late, but whole and in step"
