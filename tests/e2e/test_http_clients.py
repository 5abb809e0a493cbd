"""/stream with the programs people use: what they ask for by themselves, and what they make of the
answers."""

from __future__ import annotations

import email
import os
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target

LENGTH = 24 * MIB + 12_345


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mkv", LENGTH, seed=1120, piece_length=256 * KIB)


@pytest.fixture
def url(fs: Magnetfs, seeder: Seeder, film: Torrent) -> str:
    fs.add_torrent(film, seeder.seed(film))
    assert fs.web
    return fs.web.base + stream_target(film, film.name)


def run(folder: Path, *command: str, code: int = 0) -> str:
    """Its output; both streams."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
    )
    assert done.returncode == code, (command, done.returncode, done.stdout[-3000:])
    return done.stdout


def curl(folder: Path, *options: str) -> str:
    return run(folder, "curl", "-sS", "--max-time", "40", "-w", "%{http_code}", *options)


def test_curl_takes_several_ranges(url: str, film: Torrent, folder: Path) -> None:
    assert curl(folder, "-r", "0-99,1000-1999,-50", "-D", "head", "-o", "body", url) == "206"
    fields = (folder / "head").read_bytes().partition(b"\r\n")[2]
    message = email.message_from_bytes(fields + (folder / "body").read_bytes())
    parts = message.get_payload()
    expected = [(0, 100), (1000, 1000), (LENGTH - 50, 50)]
    assert isinstance(parts, list) and len(parts) == len(expected)
    body = (folder / "body").read_bytes()
    at = 0
    for part, (first, length) in zip(parts, expected):
        assert part["Content-Range"] == f"bytes {first}-{first + length - 1}/{LENGTH}"
        assert part.get_content_type() == "video/x-matroska"
        at = body.index(b"\r\n\r\n", at) + 4
        assert body[at : at + length] == film.read(film.name, first, length)
        at += length
    # One is no multipart, also where curl asks for two that touch.
    assert curl(folder, "-r", "0-99,100-199", "-o", "body", url) == "206"
    assert (folder / "body").read_bytes() == film.read(film.name, 0, 200)


def test_curl_fetches_nothing_twice(
    url: str, film: Torrent, folder: Path, seeder: Seeder
) -> None:
    assert curl(folder, "--etag-save", "tag", "-R", "-o", "film", url) == "200"
    assert (folder / "film").read_bytes() == film.read(film.name)
    sent = seeder.sent(film)
    assert curl(folder, "--etag-compare", "tag", "-o", "again", url) == "304"
    assert curl(folder, "-z", "film", "-o", "again", url) == "304", "by the date of its file"
    assert not (folder / "again").exists() or (folder / "again").stat().st_size == 0
    (folder / "tag").write_text('"another"')
    assert curl(folder, "--etag-compare", "tag", "-o", "again", url) == "200"
    assert (folder / "again").read_bytes() == film.read(film.name)
    assert seeder.sent(film) == sent, "what is here is not fetched again"


def test_curl_and_wget_resume(url: str, film: Torrent, folder: Path) -> None:
    for resume in (
        ["curl", "-sS", "-C", "-", "-o", "part", url],
        ["wget", "-nv", "-c", "-O", "part", url],
    ):
        (folder / "part").write_bytes(film.read(film.name, 0, 5 * MIB + 7))
        run(folder, *resume)
        assert (folder / "part").read_bytes() == film.read(film.name), resume[0]
        run(folder, *resume)  # there is nothing more: 416
        assert (folder / "part").read_bytes() == film.read(film.name), resume[0]


def test_wget_asks_whether_it_is_newer(url: str, film: Torrent, folder: Path) -> None:
    run(folder, "wget", "-N", url)
    said = run(folder, "wget", "-N", "-S", url)
    assert "304" in said, said
    assert (folder / film.name).read_bytes() == film.read(film.name)


def test_wget_saves_it_by_its_name(
    fs: Magnetfs, url: str, film: Torrent, folder: Path
) -> None:
    assert fs.web
    run(folder, "wget", "-nv", "--content-disposition", f"{fs.web.base}/stream/{film.info_hash}")
    assert (folder / film.name).read_bytes() == film.read(film.name)


def test_aria2_splits_it_over_eight_connections(
    url: str, film: Torrent, folder: Path, seeder: Seeder
) -> None:
    run(
        folder,
        *("aria2c", "--no-conf", "-q", "-x", "8", "-s", "8", "-k", "1M", "--file-allocation=none"),
        *("-o", "film", url),
    )
    assert (folder / "film").read_bytes() == film.read(film.name)
    assert seeder.sent(film) <= 1.05 * LENGTH, "no piece comes for each of them"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_mpv_seeks(
    fs: Magnetfs, seeder: Seeder, media: Path, torrents: TorrentMaker, folder: Path, name: str
) -> None:
    clip = torrents.from_file(media / name)
    fs.add_torrent(clip, seeder.seed(clip, upload_limit=4_000_000))
    assert fs.web
    run(
        folder,
        *("mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal", "--start=6"),
        *("--length=1", "--log-file=mpv.log", fs.web.base + stream_target(clip, name)),
    )
    log = (folder / "mpv.log").read_text(errors="replace")
    wrong = [
        line for line in log.splitlines() if "[e]" in line or "Seek failed" in line or "[f]" in line
    ]
    assert not wrong, wrong
    assert "first video frame after restart shown" in log or "playback restart complete" in log


def test_who_takes_nothing_goes_and_who_takes_little_stays(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent
) -> None:
    """--client-timeout bounds how long a client takes nothing, and not how long it takes."""
    fs = magnetfs("--client-timeout", "3", allow=["ended early"])
    fs.add_torrent(film, seeder.seed(film))
    assert fs.web
    head = f"GET {stream_target(film, film.name)} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n"
    head += "Connection: close\n\n"
    received = bytearray()

    def readers() -> int:
        return fs.torrent(film.info_hash)["readers"]

    with fs.web.raw(head) as slow, fs.web.raw(head):
        waiting.until("both stream", lambda: readers() == 2)

        def silent_is_gone() -> bool:
            received.extend(slow.recv(20_000))
            return readers() == 1

        began = time.monotonic()
        waiting.until("the silent one goes", silent_is_gone, timeout=10)
        assert time.monotonic() - began >= 2.0, "not before its time"
        assert len(received) < LENGTH, "or it would show nothing"
        while got := slow.recv(1 << 20):
            received += got
    assert bytes(received).partition(b"\r\n\r\n")[2] == film.read(film.name)
