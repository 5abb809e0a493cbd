"""The sidecar: ranges, who may ask, clients that leave, names in URLs."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator
from urllib.parse import quote

import pytest

from harness import waiting
from harness.mount import BIN, Magnetfs
from harness.ports import free_port
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import Answer, Web, stream_target

LENGTH = 500_001


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mp4", LENGTH, seed=111, piece_length=64 * KIB)


@pytest.fixture(scope="module")
def lonely(torrents: TorrentMaker) -> Torrent:
    return torrents.single("lonely.mkv", 16 * MIB, seed=112)


# -- ranges ----------------------------------------------------------------------------------------

# (Range, first byte, last byte); RFC 9110 section 14.1.2
SATISFIABLE = [
    ("bytes=0-0", 0, 0),
    ("bytes=0-999", 0, 999),
    ("bytes=100000-299999", 100_000, 299_999),
    ("bytes=5-", 5, LENGTH - 1),
    ("bytes=0-", 0, LENGTH - 1),
    (f"bytes={LENGTH - 1}-", LENGTH - 1, LENGTH - 1),
    (f"bytes=499000-{LENGTH}", 499_000, LENGTH - 1),
    ("bytes=499000-99999999999", 499_000, LENGTH - 1),
    ("bytes=-1", LENGTH - 1, LENGTH - 1),
    ("bytes=-1000", LENGTH - 1000, LENGTH - 1),
    ("bytes=-9999999", 0, LENGTH - 1),
]
UNSATISFIABLE = [
    f"bytes={LENGTH}-",
    f"bytes={LENGTH + 1}-",
    "bytes=2000000-3000000",
    "bytes=-0",
    "bytes=9223372036854775807-",
]
# no valid range: the header is ignored
IGNORED = ["bytes=", "bytes=-", "bytes=a-b", "items=0-5", "bytes=5-2", "bytes=0-5x", "bytes=10"]


@pytest.fixture
def served(fs: Magnetfs, seeder: Seeder, film: Torrent) -> Magnetfs:
    fs.add_torrent(film, seeder.seed(film))
    return fs


def test_satisfiable_ranges_are_206_with_exactly_those_bytes(
    served: Magnetfs, film: Torrent
) -> None:
    assert served.web
    target = stream_target(film, "film.mp4")
    for value, first, last in SATISFIABLE:
        answer = served.web.range(target, value)
        assert answer.status == 206, (value, answer.status)
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{LENGTH}", value
        assert answer.headers["Content-Length"] == str(last - first + 1), value
        assert answer.body == film.read("film.mp4", first, last - first + 1), value


def test_unsatisfiable_ranges_are_416_with_the_length(served: Magnetfs, film: Torrent) -> None:
    assert served.web
    for value in UNSATISFIABLE:
        answer = served.web.range(stream_target(film, "film.mp4"), value)
        answer.problem(416)
        assert answer.headers["Content-Range"] == f"bytes */{LENGTH}", value


def test_what_is_no_range_is_ignored(served: Magnetfs, film: Torrent) -> None:
    assert served.web
    for value in IGNORED:
        answer = served.web.range(stream_target(film, "film.mp4"), value)
        assert (answer.status, len(answer.body)) == (200, LENGTH), value


def test_a_whole_file_has_the_headers_players_need(served: Magnetfs, film: Torrent) -> None:
    assert served.web
    answer = served.web.get(stream_target(film, "film.mp4"))
    assert (answer.status, answer.body) == (200, film.read("film.mp4"))
    assert answer.headers["Content-Length"] == str(LENGTH)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Range" not in answer.headers


def test_head_is_get_without_the_body_and_costs_nothing(
    served: Magnetfs, seeder: Seeder, film: Torrent
) -> None:
    assert served.web
    target = stream_target(film, "film.mp4")
    head = served.web.request("HEAD", target)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(LENGTH)
    part = served.web.request("HEAD", target, {"Range": "bytes=0-99"})
    # RFC 9110 section 14.2: Range is defined for GET; either answer to HEAD is right, if it adds up
    assert (part.status, part.headers["Content-Length"]) in ((200, str(LENGTH)), (206, "100"))
    assert seeder.sent(film) == 0


def test_a_connection_that_is_kept_stays_in_step(served: Magnetfs, film: Torrent) -> None:
    assert served.web
    connection = served.web.connection()
    try:
        for value, first, last in SATISFIABLE:
            connection.request("GET", stream_target(film, "film.mp4"), headers={"Range": value})
            response = connection.getresponse()
            assert response.read() == film.read("film.mp4", first, last - first + 1), value
    finally:
        connection.close()


# -- who may ask -----------------------------------------------------------------------------------

FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:3000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_421(served: Magnetfs, film: Torrent, host: str) -> None:
    assert served.web
    for method, target in (
        ("GET", "/torrents"),
        ("GET", stream_target(film, "film.mp4")),
        ("DELETE", f"/torrents/{film.info_hash}"),
    ):
        served.web.request(method, target, {"Host": host}).problem(421)
    assert served.known(film.info_hash)


def test_own_names_are_no_foreign_host(served: Magnetfs) -> None:
    assert served.web
    port = served.web.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert served.web.get("/torrents", Host=host).status == 200, host


CROSS_SITE = {
    "Origin": {"Origin": "http://evil.example"},
    "Origin null": {"Origin": "null"},
    "Sec-Fetch-Site": {"Sec-Fetch-Site": "cross-site"},
    "Referer": {"Referer": "http://evil.example/page"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
}


@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE.keys())
def test_a_cross_site_request_that_changes_something_is_403(
    served: Magnetfs, film: Torrent, lonely: Torrent, headers: dict[str, str]
) -> None:
    assert served.web
    magnet = quote(lonely.magnet(), safe="")
    text = {"Content-Type": "text/plain"}
    for method, target, body, more in (
        ("GET", f"/add/{magnet}", None, {}),
        ("POST", "/torrents", lonely.magnet(), text),
        ("DELETE", f"/torrents/{film.info_hash}", None, {}),
    ):
        served.web.request(method, target, {**headers, **more}, body).problem(403)
    assert [t["infoHash"] for t in served.status()["torrents"]] == [film.info_hash]


def curl_status(base: str, method: str, target: str, *options: str) -> int:
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"]
        + ["-X", method, *options, base + target],
        capture_output=True,
        timeout=30,
        check=True,
    )
    return int(done.stdout)


def test_by_another_name_than_loopback_silence_is_not_enough_to_change_something(
    magnetfs: Callable[..., Magnetfs], film: Torrent
) -> None:
    """A browser says nothing of where it comes from for <img referrerpolicy=no-referrer> on a
    plain-HTTP name; a program says so by a header that a page can't send without asking."""
    fs = magnetfs("--allowed-host", "media.lan")
    assert fs.web
    fs.add(film.metainfo)
    by_name = ["-H", "Host: media.lan"]
    text = ["-H", "Content-Type: text/plain", "-d", film.info_hash]
    changes: list[tuple[str, str, list[str], int]] = [
        ("GET", f"/add/{film.info_hash}", [], 200),
        ("POST", "/torrents", text, 200),
        ("PUT", f"/torrents/{film.info_hash}/keep", [], 204),
        ("DELETE", f"/torrents/{film.info_hash}/keep", [], 204),
    ]
    for method, target, options, fine in changes:
        for more, expected in (
            ([], fine),
            (by_name, 403),
            ([*by_name, "-H", "Referer: http://evil.example/"], 403),
            ([*by_name, "-H", "X-Requested-With: curl"], fine),
            ([*by_name, "-H", "Sec-Fetch-Site: none"], fine),
            ([*by_name, "-H", "Origin: http://media.lan"], fine),
            ([*by_name, "-H", "X-Requested-With: x", "-H", "Origin: http://evil.example"], 403),
        ):
            status = curl_status(fs.web.base, method, target, *options, *more)
            assert status == expected, (method, target, more)
    assert curl_status(fs.web.base, "GET", "/torrents", *by_name) == 200
    assert fs.web.get(f"/add/{film.info_hash}", Host="media.lan").problem(403)["error"].endswith(
        "X-Requested-With"
    )
    json_body = ["-H", "Content-Type: application/json", "-d", f'{{"magnet":"{film.info_hash}"}}']
    assert curl_status(fs.web.base, "POST", "/torrents", *by_name, *json_body) == 200


def test_no_page_of_another_site_may_embed_an_answer(served: Magnetfs, film: Torrent) -> None:
    """Else it learns from <img>, <video> or <script> which torrents are here."""
    assert served.web
    policy = "Cross-Origin-Resource-Policy"
    stream = stream_target(film, "film.mp4")
    for target, headers, status in (
        (stream, {}, 200),
        (stream, {"Range": "bytes=0-9"}, 206),
        (stream, {"Range": "bytes=999999999-"}, 416),
        ("/stream/" + "1" * 40 + "/x", {}, 404),
        ("/", {}, 200),
        ("/torrents", {}, 200),
        ("/torrents", {"Host": "evil.example"}, 421),
        ("/nothing", {}, 404),
        ("/add/x", {"Origin": "http://evil.example"}, 403),
        ("/" + "x" * 70_000, {}, 431),
    ):
        answer = served.web.request("GET", target, headers)
        assert (answer.status, answer.headers[policy]) == (status, "same-origin"), target[:80]
    own = Web(free_port())
    listen = ["--listen", f"127.0.0.1:{own.port}", "--cors", "http://localhost:5173"]
    with ready_process([BIN / "magnetfs-httpd", "--mount", served.mountpoint, *listen]):
        for headers, expected in (
            ({"Origin": "http://localhost:5173"}, "cross-origin"),
            ({"Referer": "http://localhost:5173/page"}, "cross-origin"),
            ({"Referer": "http://localhost:5174/page"}, "same-origin"),
            ({}, "same-origin"),
        ):
            assert own.request("GET", stream, headers).headers[policy] == expected, headers


@contextmanager
def ready_process(command: list[str | Path]) -> Iterator[None]:
    """A sidecar by hand, from its ready byte on."""
    ready, theirs = os.pipe()
    process = subprocess.Popen([*command, "--ready-fd", str(theirs)], pass_fds=[theirs])
    os.close(theirs)
    try:
        assert os.read(ready, 1) == b"\n"
        yield
    finally:
        os.close(ready)
        process.terminate()
        assert process.wait(5) == 0


def test_it_listens_on_loopback_alone(served: Magnetfs) -> None:
    assert served.web
    listening = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        ip, port = address.split(":")
        if state == "0A" and int(port, 16) == served.web.port:
            listening.append(socket.inet_ntoa(struct.pack("<I", int(ip, 16))))
    assert listening == ["127.0.0.1"]


# -- clients that leave ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["FIN", "RST"])
def test_a_client_that_leaves_while_parked_frees_its_reader_within_a_second(
    fs: Magnetfs, lonely: Torrent, way: str
) -> None:
    assert fs.web
    fs.add(lonely.metainfo)
    target = stream_target(lonely, "lonely.mkv")

    def readers() -> int:
        return fs.torrent(lonely.info_hash)["readers"]

    clients = [
        fs.web.raw(f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n") for _ in range(3)
    ]
    try:
        waiting.until("three readers", lambda: readers() == 3)
        for client in clients:
            if way == "RST":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            begin = time.monotonic()
            left = readers() - 1
            client.close()
            waiting.until("the reader is freed", lambda: readers() == left, timeout=5)
            took = time.monotonic() - begin
            assert took <= 1.0, f"{took:.2f} s"
    finally:
        for client in clients:
            client.close()
    assert readers() == 0


def test_a_client_that_leaves_in_mid_body_frees_its_reader(
    fs: Magnetfs, seeder: Seeder, lonely: Torrent
) -> None:
    assert fs.web
    fs.add_torrent(lonely, seeder.seed(lonely, upload_limit=2 * MIB))
    target = stream_target(lonely, "lonely.mkv")
    client = fs.web.raw(f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n")
    client.settimeout(20)
    got = 0
    while got < 500_000:
        got += len(client.recv(65536))
    assert fs.torrent(lonely.info_hash)["readers"] == 1
    client.close()
    waiting.until(
        "the reader is freed", lambda: fs.torrent(lonely.info_hash)["readers"] == 0, timeout=1.5
    )


def test_many_parked_streams_leave_the_api_answering(fs: Magnetfs, lonely: Torrent) -> None:
    assert fs.web
    fs.add(lonely.metainfo)
    target = stream_target(lonely, "lonely.mkv")
    head = f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n"
    clients = [fs.web.raw(head) for _ in range(100)]
    try:
        waiting.until(
            "a hundred readers", lambda: fs.torrent(lonely.info_hash)["readers"] == 100, timeout=20
        )
        for name in ("/healthz", "/torrents", f"/torrents/{lonely.info_hash}"):
            assert fs.web.get(name, timeout=5).status == 200, name
    finally:
        for client in clients:
            client.close()
    waiting.until("no reader", lambda: fs.torrent(lonely.info_hash)["readers"] == 0, timeout=5)


# -- names, torrents -------------------------------------------------------------------------------


def test_files_are_found_by_path_or_unique_name_and_409_names_the_candidates(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    files = [("a/same.srt", 100), ("b/same.srt", 200), ("b/only.mkv", 3000)]
    torrent = torrents.multi("names", files, seed=113, piece_length=16 * KIB)
    fs.add_torrent(torrent, seeder.seed(torrent))
    assert fs.web
    base = f"/stream/{torrent.info_hash}"
    for path, _ in files:
        assert fs.web.get(f"{base}/{path}").body == torrent.read(path), path
        assert fs.web.get(f"{base}/{quote(path, safe='')}").body == torrent.read(path), path
    assert fs.web.get(f"{base}/only.mkv").body == torrent.read("b/only.mkv")
    problem = fs.web.get(f"{base}/same.srt").problem(409)
    assert "a/same.srt" in str(problem) and "b/same.srt" in str(problem)
    assert fs.web.get(base).body == torrent.read("b/only.mkv"), "the largest media file"
    for outside in ("../x", "%2e%2e/x", "a/../a/same.srt", "a%00b"):
        assert fs.web.get(f"{base}/{outside}").status in (400, 404), outside


def test_odd_names_in_urls(fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker) -> None:
    names = [
        *("a #1.mkv", "what?.mkv", "100%.mkv", "%41.mkv", "a+b.mkv", "a&b=c.mkv", "semi;colon.mkv"),
        *("\U0001f600.mkv", "  spaces .mkv", "L" * 246 + ".mkv", "quote'\".mkv", "back\\slash.mkv"),
        "d #%?/deep/x.mkv",
    ]
    files = [(name, 500 + n) for n, name in enumerate(names)]
    torrent = torrents.multi("odd %#?", files, seed=114, piece_length=16 * KIB)
    assert fs.web
    answer = fs.web.add(torrent.magnet(seeder.seed(torrent)))
    assert [entry["path"] for entry in answer.json["files"]] == names
    for entry in answer.json["files"]:
        got = fs.web.get(stream_target(torrent, entry["path"]))
        assert (got.status, got.body) == (200, torrent.read(entry["path"])), entry


def test_torrents_shows_all_one_and_delete_removes_with_data(
    fs: Magnetfs, seeder: Seeder, film: Torrent, lonely: Torrent
) -> None:
    assert fs.web
    fs.add_torrent(film, seeder.seed(film))
    fs.add(lonely.metainfo)
    listed = fs.web.get("/torrents")
    assert listed.status == 200
    entries = listed.json["torrents"] if isinstance(listed.json, dict) else listed.json
    assert {e["infoHash"] for e in entries} == {film.info_hash, lonely.info_hash}
    assert fs.web.get(stream_target(film, "film.mp4")).status == 200
    one = fs.web.get(f"/torrents/{film.info_hash}")
    assert (one.status, one.json["name"], one.json["progress"]) == (200, "film", 1)
    gone = fs.web.request("DELETE", f"/torrents/{film.info_hash}")
    assert gone.status in (200, 204), gone
    assert not fs.known(film.info_hash) and not fs.directory(film).exists()
    fs.web.get(f"/torrents/{film.info_hash}").problem(404)
    waiting.until("the data are gone", lambda: fs.store_blocks() < LENGTH)
    assert fs.known(lonely.info_hash)


def test_added_over_http_is_temporary_unless_kept(
    fs: Magnetfs, seeder: Seeder, film: Torrent, lonely: Torrent
) -> None:
    assert fs.web
    seeder.seed(film).seed(lonely)
    assert fs.web.add(film.magnet(seeder)).status == 200
    assert fs.web.add(lonely.magnet(seeder), query="?keep=1").status == 200
    kept = {t["infoHash"]: t["kept"] for t in fs.status()["torrents"]}
    assert kept == {film.info_hash: False, lonely.info_hash: True}


def test_two_concurrent_adds_of_one_magnet_wait_together(
    fs: Magnetfs, seeder: Seeder, film: Torrent
) -> None:
    web = fs.web
    assert web
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(web.add(film.magnet()))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    waiting.until("the torrent is pending", lambda: fs.known(film.info_hash))
    assert web.get("/healthz").status == 200, "a waiting add holds nobody up"
    seeder.seed(film).connect(film, fs.bt_port)
    for thread in threads:
        thread.join(30)
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert len(fs.status()["torrents"]) == 1


def test_unknown_methods_are_405(served: Magnetfs, film: Torrent) -> None:
    assert served.web
    for method, target in (
        ("PUT", stream_target(film, "film.mp4")),
        ("POST", stream_target(film, "film.mp4")),
        ("PATCH", "/torrents"),
    ):
        answer = served.web.request(method, target)
        answer.problem(405)
        assert "GET" in answer.headers["Allow"]


def test_healthz_answers_while_the_swarm_is_dead(
    magnetfs: Callable[..., Magnetfs], lonely: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "0")
    fs.add(lonely.metainfo)
    fs.add("\n".join(f"{number:040x}" for number in range(1, 20)))
    assert fs.web
    for _ in range(5):
        begin = time.monotonic()
        assert fs.web.get("/healthz").status == 200
        assert time.monotonic() - begin <= 1.5
