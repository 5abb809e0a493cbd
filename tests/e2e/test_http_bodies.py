"""What programs and forms send to POST /torrents, by curl and byte by byte."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
from typing import Any

import pytest

from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, Torrent, TorrentMaker


@pytest.fixture(scope="module")
def clip(torrents: TorrentMaker) -> Torrent:
    return torrents.single("clip.mp4", 300 * KIB, seed=4711)


def curl(fs: Magnetfs, *args: str) -> tuple[int, Any]:
    """Posts with curl; the status and the JSON of the answer."""
    assert fs.web
    done = subprocess.run(
        ["curl", "-s", "-w", "\n%{http_code}", *args, fs.web.base + "/torrents"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    body, status = done.stdout.rsplit("\n", 1)
    return int(status), json.loads(body)


# How curl is told to send a .torrent: {} is its path.
FILE_WAYS = {
    "--data-binary": ["--data-binary", "@{}"],
    "octet-stream": ["-H", "Content-Type: application/octet-stream", "--data-binary", "@{}"],
    "x-bittorrent": ["-H", "Content-Type: application/x-bittorrent", "--data-binary", "@{}"],
    "no type": ["-H", "Content-Type:", "--data-binary", "@{}"],
    "form": ["-F", "torrent=@{}"],
    "form with a type": ["-F", "file=@{};type=application/x-bittorrent;filename=a;b.torrent"],
    "chunked": ["-H", "Transfer-Encoding: chunked", "--data-binary", "@{}"],
    "chunked form": ["-H", "Transfer-Encoding: chunked", "-F", "torrent=@{}"],
    "upload": ["-X", "POST", "-T", "{}"],
}


@pytest.mark.parametrize("way", FILE_WAYS)
def test_a_torrent_file_is_taken_however_it_is_sent(fs: Magnetfs, clip: Torrent, way: str) -> None:
    args = [arg.format(clip.torrent_file) for arg in FILE_WAYS[way]]
    status, answer = curl(fs, *args)
    assert (status, answer["infoHash"]) == (200, clip.info_hash), answer
    assert [(f["name"], f["length"]) for f in answer["files"]] == [("clip.mp4", clip.length)]
    assert fs.torrent(clip.info_hash)["kept"] is False


MAGNET_WAYS = {
    "-d": ["-d", "{}"],
    "a field": ["--data-urlencode", "magnet={}"],
    "a field as it is": ["-d", "magnet={}"],
    "a field called torrent": ["-d", "keep=0", "--data-urlencode", "torrent={}"],
    "a form": ["-F", "magnet={}"],
    "a form's torrent": ["-F", "torrent={}"],
    "text": ["-H", "Content-Type: text/plain", "-d", "{}"],
    "no type": ["-H", "Content-Type:", "-d", "{}"],
    "json": ["-H", "Content-Type: application/json", "-d", '{{"magnet":"{}"}}'],
    "chunked": ["-H", "Transfer-Encoding: chunked", "-d", "{}"],
}


@pytest.mark.parametrize("way", MAGNET_WAYS)
def test_a_magnet_is_taken_however_it_is_sent(
    fs: Magnetfs, seeder: Seeder, clip: Torrent, way: str
) -> None:
    seeder.seed(clip)
    # A raw '&' in dn must cost no tracker and no peer that comes behind it.
    magnet = clip.magnet(seeder) + "&dn=Tom&Jerry"
    status, answer = curl(fs, *(arg.format(magnet) for arg in MAGNET_WAYS[way]))
    assert (status, answer["infoHash"]) == (200, clip.info_hash), answer


KEEPS = {
    "a form": (["-F", "keep=1", "-F", "torrent=@{}"], True),
    "a box that is ticked": (["-F", "torrent=@{}", "-F", "keep=on"], True),
    "the query says so, the form not": (["-F", "keep=0", "-F", "torrent=@{}"], False),
}


@pytest.mark.parametrize("what", KEEPS)
def test_a_form_says_whether_to_keep(fs: Magnetfs, clip: Torrent, what: str) -> None:
    args, kept = KEEPS[what]
    status, answer = curl(fs, *(arg.format(clip.torrent_file) for arg in args))
    assert status == 200, answer
    assert fs.torrent(clip.info_hash)["kept"] is kept


def test_an_urlencoded_form_says_whether_to_keep(
    fs: Magnetfs, seeder: Seeder, clip: Torrent
) -> None:
    seeder.seed(clip)
    magnet = clip.magnet(seeder)
    status, answer = curl(fs, "--data-urlencode", f"magnet={magnet}", "-d", "keep=1")
    assert (status, answer["infoHash"]) == (200, clip.info_hash), answer
    assert fs.torrent(clip.info_hash)["kept"] is True


# (Content-Type, body, status)
REFUSED: dict[str, tuple[str | None, bytes, int]] = {
    "900 brackets": ("application/json", b"[" * 900, 400),
    "100,000 brackets": ("application/json", b"[" * 100_000, 400),
    "objects in objects": ("application/json", b'{"magnet":' * 900, 400),
    "json that is none": ("application/json", b"magnet:?", 400),
    "an image": ("image/png", b"\x89PNG", 415),
    "nothing": ("text/plain", b"", 400),
    "no torrent": ("application/x-bittorrent", b"hello", 400),
    "a torrent that is cut": ("application/octet-stream", b"d4:infod4:name", 400),
    "deep bencode": ("application/octet-stream", b"d1:a" + b"l" * 200_000, 400),
    "a form without a boundary": ("multipart/form-data", b"--x--\r\n", 400),
    "a form that is cut": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="magnet"\r\n\r\nmagnet:?xt=',
        400,
    ),
    "a form of headers": (
        "multipart/form-data; boundary=x",
        b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n\r\n--x--\r\n",
        400,
    ),
    "a form of a thousand parts": (
        "multipart/form-data; boundary=x",
        b"--x\r\n\r\nz\r\n" * 1000 + b"--x--\r\n",
        400,
    ),
    "a line with a NUL": ("text/plain", b"magnet:?xt=\0", 400),
    "a line that is too long": ("text/plain", b"m" * 200_000, 413),
}


def test_what_is_none_of_it_is_refused_with_a_reason(fs: Magnetfs) -> None:
    assert fs.web
    for what, (kind, body, status) in REFUSED.items():
        headers = {"Content-Type": kind} if kind else {}
        problem = fs.web.request("POST", "/torrents", headers, body).problem(status)
        assert len(problem["detail"]) > 10, (what, problem)
    assert fs.web.get("/torrents").json == {"torrents": []}


def test_get_add_takes_an_ampersand_in_a_name(fs: Magnetfs, seeder: Seeder, clip: Torrent) -> None:
    seeder.seed(clip)
    assert fs.web
    head, peer = clip.magnet(seeder).rsplit("&x.pe=", 1)
    raw = f"{head}&dn=Tom&Jerry&x.pe={peer}"
    for target in (raw, urllib.parse.quote(raw, safe="")):
        answer = fs.web.get("/add/" + target)
        assert (answer.status, answer.json.get("infoHash")) == (200, clip.info_hash), answer.body
