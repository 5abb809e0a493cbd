"""GET /events: server-sent events, as a browser's EventSource reads them (HTML standard, 9.2)."""

from __future__ import annotations

import json
import socket
import time
from typing import Any, Callable, Iterator

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target

LISTENERS = 32


@pytest.fixture(scope="module")
def clip(torrents: TorrentMaker) -> Torrent:
    return torrents.single("clip.mp4", 300 * KIB, seed=815, piece_length=16 * KIB)


class Listener:
    """One client of /events."""

    def __init__(self, fs: Magnetfs, *fields: str) -> None:
        assert fs.web
        lines = ["GET /events HTTP/1.1", f"Host: 127.0.0.1:{fs.web.port}", *fields, "", ""]
        self.socket = fs.web.raw("\n".join(lines))
        self.socket.settimeout(20)
        self.lines = self._lines()
        self.status = int(next(self.lines).split()[1])
        self.headers = {}
        while line := next(self.lines):
            name, value = line.split(": ", 1)
            self.headers[name.lower()] = value

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def _lines(self) -> Iterator[str]:
        buffer = b""
        while True:
            line, found, rest = buffer.partition(b"\n")
            if found:
                buffer = rest
                yield line.rstrip(b"\r").decode()
                continue
            data = self.socket.recv(1 << 16)
            if not data:
                return
            buffer += data

    def event(self) -> dict[str, Any]:
        """The next event: id, event and its data; comments are passed over."""
        fields: dict[str, str] = {}
        for line in self.lines:
            if not line and "data" in fields:
                event = {"id": int(fields["id"]), "event": fields["event"]}
                return {**event, "data": json.loads(fields["data"])}
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        raise AssertionError("the stream has ended")

    def until(self, name: str) -> list[dict[str, Any]]:
        """Events up to the first of that name."""
        events = [self.event()]
        while events[-1]["event"] != name:
            events.append(self.event())
        return events


def test_a_life_is_told_in_order(fs: Magnetfs, seeder: Seeder, clip: Torrent) -> None:
    seeder.seed(clip)
    assert fs.web
    with Listener(fs) as listener:
        assert listener.status == 200
        assert listener.headers["content-type"] == "text/event-stream"
        assert listener.headers["cache-control"] == "no-store"
        assert listener.headers["x-accel-buffering"] == "no"
        assert listener.event()["data"] == {"event": "reset", "resumed": False}
        fs.add_torrent(clip, seeder)
        assert fs.web.get(stream_target(clip, "clip.mp4")).status == 200
        begun = listener.until("progress")
        progress = [e for e in begun if e["event"] == "progress"]
        while progress[-1]["data"]["haveBytes"] < clip.length:
            progress += listener.until("progress")[-1:]
        assert fs.web.request("DELETE", f"/torrents/{clip.info_hash}").status == 204
        events = begun + listener.until("removed")
    names = [e["event"] for e in events]
    assert names[0] == "added" and names[-1] == "removed", names
    assert names.index("ready") < names.index("progress"), names
    ids = [e["id"] for e in events]
    assert ids == sorted(set(ids)), ids
    for event in events:
        assert event["data"]["event"] == event["event"]
        assert event["data"]["infoHash"] == clip.info_hash
    assert progress[-1]["data"]["progress"] == 1


def test_progress_comes_at_most_twice_a_second(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    film = torrents.single("film.mkv", 2 * MIB, seed=816, piece_length=16 * KIB)
    seeder.seed(film, upload_limit=600 * KIB)
    fs.add_torrent(film, seeder)
    assert fs.web
    with Listener(fs) as listener:
        began = time.monotonic()
        assert fs.web.get(stream_target(film, "film.mkv"), timeout=60).status == 200
        took = time.monotonic() - began
        assert fs.web.request("DELETE", f"/torrents/{film.info_hash}").status == 204
        told = [e["event"] for e in listener.until("removed")]
    assert 1 <= told.count("progress") <= 2 * took + 2, (told, took)


def hashes(first: int, count: int) -> list[str]:
    return [f"{n:040x}" for n in range(first, first + count)]


def added(events: list[dict[str, Any]]) -> list[str]:
    assert {event["event"] for event in events} <= {"added"}, events
    return [event["data"]["infoHash"] for event in events]


def test_who_comes_back_gets_what_it_missed_and_what_comes(fs: Magnetfs) -> None:
    with Listener(fs) as first:
        reset = first.event()
        fs.add("\n".join(hashes(1, 3)))
        seen = [first.event() for _ in range(2)]
    fs.add("\n".join(hashes(4, 500)))
    with Listener(fs, f"Last-Event-ID: {seen[-1]['id']}") as again:
        missed = [again.event() for _ in range(501)]
        fs.add("\n".join(hashes(504, 1)))
        assert added([*seen, *missed, again.event()]) == hashes(1, 504)
    ids = [event["id"] for event in [reset, *seen, *missed]]
    assert ids == sorted(set(ids))
    with Listener(fs, f"Last-Event-ID: {reset['id']}") as again:
        assert added([again.event() for _ in range(504)]) == hashes(1, 504)


def test_who_was_away_for_too_long_is_told_to_look_anew(fs: Magnetfs) -> None:
    with Listener(fs) as first:
        last = int(first.event()["id"])
    fs.add("\n".join(hashes(1, 1100)))
    for old in (last, 0, 1, last + 10_000, 2**64 - 1, 2**70, -1, "x", ""):
        with Listener(fs, f"Last-Event-ID: {old}") as again:
            event = again.event()
            assert event["data"] == {"event": "reset", "resumed": True}, old
            assert event["id"] > last, old


def test_on_a_read_only_mount_all_look_anew(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs("-o", "ro")
    for fields in ((), ("Last-Event-ID: 5",)):
        with Listener(fs, *fields) as listener:
            lines = [line for line in (next(listener.lines) for _ in range(4)) if line]
            assert lines[:2] == ["retry: 2000", "event: reset"]


def test_there_are_places_for_so_many_and_each_is_free_once_it_left(fs: Magnetfs) -> None:
    assert fs.web
    listeners = [Listener(fs) for _ in range(LISTENERS)]
    try:
        for listener in listeners:
            assert listener.event()["event"] == "reset"
        refused = fs.web.get("/events")
        assert refused.problem(503) and refused.headers["Retry-After"]
        assert fs.web.get("/healthz", timeout=2).status == 200
        listeners[0].close()

        def is_taken() -> bool:
            with Listener(fs) as one:
                return one.status == 200

        waiting.until("a place", is_taken, timeout=1.0)
        fs.add("0123456789abcdef0123456789abcdef01234567")
        for listener in listeners[1:]:
            assert listener.event()["event"] == "added"
    finally:
        for listener in listeners:
            listener.close()


def test_who_takes_nothing_holds_nobody_up(fs: Magnetfs) -> None:
    """A listener that reads nothing is let go; another misses nothing of 2,000 torrents."""
    assert fs.web
    count = 2000
    with Listener(fs) as deaf, Listener(fs) as keen:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert keen.event()["event"] == "reset"
        fs.add("\n".join(hashes(1, count)))
        heard = set()
        while len(heard) < count:
            event = keen.event()
            assert event["event"] in ("added", "failed"), event
            heard.add(event["data"]["infoHash"])
        assert fs.web.get("/healthz", timeout=2).status == 200
    assert heard == set(hashes(1, count))


def test_head_of_events_does_not_wait(fs: Magnetfs) -> None:
    assert fs.web
    answer = fs.web.request("HEAD", "/events", timeout=5)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
