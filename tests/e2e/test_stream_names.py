"""/stream by name, with curl: whatever a name holds, however it is written, and nothing beyond."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from harness.hostile import HostileMaker, HostileTorrent, raw
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import TorrentMaker

# RFC 3986 section 3.3: what may stand in a segment as it is. curl sends more than these as given.
UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
PCHAR = UNRESERVED + "!$&'()*+,;=:@"
TOLERATED = "\"<>[\\]^`{|}"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def curl(fs: Magnetfs, *targets: str, method: str = "GET") -> list[Reply]:
    """Each target as it is, with one curl."""
    assert fs.web
    command = ["curl", "--silent", "--show-error", "--include", "--globoff", "--path-as-is"]
    command += ["--head"] if method == "HEAD" else ["--request", method]
    done = subprocess.run(
        [*command, *(fs.web.base + target for target in targets)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    replies = []
    rest = done.stdout
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        length = 0 if method == "HEAD" else int(headers.get("Content-Length", 0))
        replies.append(Reply(int(lines[0].split()[1]), headers, rest[:length]))
        rest = rest[length:]
    assert len(replies) == len(targets)
    return replies


def get(fs: Magnetfs, target: str) -> Reply:
    return curl(fs, target)[0]


def everything_encoded(path: str) -> str:
    return "".join(f"%{byte:02x}" for byte in path.encode())


def least_encoded(path: str) -> str:
    return quote(path, safe="/" + PCHAR)


@pytest.fixture(scope="module")
def maker(run_folder: Path) -> HostileMaker:
    return HostileMaker(run_folder / "hostile")


# -- every byte ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_byte(maker: HostileMaker) -> HostileTorrent:
    """A file for each byte from 1 to 255: alone, and within a name; and longer characters."""
    names = [bytes([byte]) for byte in range(1, 256)]
    names += [b"in" + bytes([byte]) + b"side.mkv" for byte in range(1, 256)]
    names += ["é".encode(), "日本語".encode(), "\U0001f600.mkv".encode(), b"a+b c%20d%2Fe#f?g&h=i"]
    return maker.multi(b"bytes", [raw(name, length=10 + n) for n, name in enumerate(names)])


def test_every_byte_of_a_name_is_found_encoded_or_not(
    fs: Magnetfs, seeder: Seeder, every_byte: HostileTorrent
) -> None:
    fs.add(every_byte.magnet(seeder.seed(every_byte)))
    paths = [entry["path"] for entry in fs.files(every_byte.info_hash)]
    assert len(set(paths)) == len(paths)
    base = f"/stream/{every_byte.info_hash}/"
    for way in (least_encoded, everything_encoded, lambda path: quote(path, safe="")):
        replies = curl(fs, *(base + way(path) for path in paths))
        for path, reply, content in zip(paths, replies, every_byte.contents):
            assert (reply.status, reply.body) == (200, content), path
    raw_too = [
        (path, content)
        for path, content in zip(paths, every_byte.contents)
        if set(path) <= set(PCHAR + TOLERATED)
    ]
    assert {path[2] for path, _ in raw_too if len(path) == 11} >= set(PCHAR + TOLERATED)
    replies = curl(fs, *(base + path for path, _ in raw_too))
    for (path, content), reply in zip(raw_too, replies):
        assert (reply.status, reply.body) == (200, content), path


def test_a_byte_that_no_name_holds_is_404_and_what_is_no_escape_400(
    fs: Magnetfs, every_byte: HostileTorrent
) -> None:
    fs.add(every_byte.metainfo)
    base = f"/stream/{every_byte.info_hash}/"
    shown = {entry["path"] for entry in fs.files(every_byte.info_hash)}
    for byte in range(1, 256):
        if bytes([byte]).decode("latin-1") in shown and byte < 0x80:
            continue
        assert get(fs, base + f"%{byte:02X}").status == 404, byte
    for broken in ("%", "%4", "%zz", "a%", "a%2", "%00", "a%00.mkv", "%-1", "%+1"):
        reply = get(fs, base + broken)
        assert reply.status == 400 and json.loads(reply.body)["error"], broken


def test_plus_is_plus_and_an_escape_is_decoded_once(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    names = ["a+b", "a b", "a%20b", "a%2Bb", "c%2Fd", "c/d", "%252e"]
    torrent = torrents.multi("escapes", [(name, 9 + n) for n, name in enumerate(names)], seed=301)
    fs.add_torrent(torrent, seeder.seed(torrent))
    base = f"/stream/{torrent.info_hash}/"
    for target, name in (
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("a%2520b", "a%20b"),
        ("a%252Bb", "a%2Bb"),
        ("c%252Fd", "c%2Fd"),
        ("c/d", "c/d"),
        ("c%2Fd", "c/d"),  # no name holds a slash
        ("%25252e", "%252e"),
    ):
        reply = get(fs, base + target)
        assert (reply.status, reply.body) == (200, torrent.read(name)), target
    assert get(fs, base + "a%2520%2520b").status == 404


# -- nothing beyond --------------------------------------------------------------------------------


def test_dots_and_empty_segments_are_refused_not_resolved(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    files = [("a/b/x.mkv", 50), ("...", 60), ("a/..b", 70), (".hid", 80)]
    torrent = torrents.multi("dots", files, seed=302)
    other = torrents.single("other.mkv", 90, seed=303)
    fs.add_torrent(torrent, seeder.seed(torrent))
    fs.add_torrent(other, seeder.seed(other))
    base = f"/stream/{torrent.info_hash}"
    for path, _ in files:
        assert get(fs, f"{base}/{path}").body == torrent.read(path), path
    for beyond in (
        *("/../x.mkv", "/a/../a/b/x.mkv", "/a/./b/x.mkv", "/./a/b/x.mkv", "/a/b/x.mkv/.", "/a/b/."),
        *("/a/b/..", "/..", "/.", "//a/b/x.mkv", "/a//b/x.mkv", "/a/b/x.mkv/", "/a/b/", "/a"),
        *("/%2e%2e/x.mkv", "/a/%2E%2e/a/b/x.mkv", "/a/%2e/b/x.mkv", "/%2Fa%2Fb%2Fx.mkv"),
        *("/a%2F%2Fb%2Fx.mkv", "/..%2fx.mkv", "/a%2f..%2fa/b/x.mkv", "/a%2fb%2f..", "/%2f", "//"),
        *("/..\\x.mkv", "/a\\b\\x.mkv", "/a%5Cb%5Cx.mkv", "/.%00./x", "/x.mkv%00", "/%c0%ae%c0%ae"),
        *(f"/../{other.info_hash}/other.mkv", f"/..%2f{other.info_hash}%2fother.mkv"),
        *("/../../data/a/b/x.mkv", "/../../../../../../etc/passwd", "/%2e%2e%2f%2e%2e%2fstatus"),
    ):
        reply = get(fs, base + beyond)
        assert reply.status in (400, 404), (beyond, reply)
        assert reply.headers["Content-Type"] == "application/problem+json", beyond
        assert json.loads(reply.body)["status"] == reply.status, beyond
    for target in (f"/stream//{torrent.info_hash}/a/b/x.mkv", f"//stream/{torrent.info_hash}/..."):
        assert get(fs, target).status == 404, target


# -- bare names ------------------------------------------------------------------------------------


def test_a_bare_name_is_enough_where_it_is_unique_and_409_names_the_candidates(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    files = [
        *(("one/episode #1?.mkv", 100), ("two/episode #1?.mkv", 110), ("two/sub/x é.srt", 120)),
        *(("same", 130), ("one/same", 140), ("two", 150), ("one/two.mkv/deep.mkv", 160)),
        *(("three/two.mkv", 170), ("CASE.mkv", 180), ("one/case.mkv", 190)),
    ]
    torrent = torrents.multi("bare", files, seed=304)
    fs.add_torrent(torrent, seeder.seed(torrent))
    base = f"/stream/{torrent.info_hash}/"
    for target, path in (
        ("x%20%c3%a9.srt", "two/sub/x é.srt"),
        ("deep.mkv", "one/two.mkv/deep.mkv"),
        ("same", "same"),  # a path goes before a name
        ("one/same", "one/same"),
        ("two.mkv", "three/two.mkv"),  # a folder is no file
        ("CASE.mkv", "CASE.mkv"),
        ("case.mkv", "one/case.mkv"),
    ):
        reply = get(fs, base + target)
        assert (reply.status, reply.body) == (200, torrent.read(path)), target
    reply = get(fs, base + "episode%20%231%3F.mkv")
    problem = json.loads(reply.body)
    assert reply.status == 409 and problem["status"] == 409 and problem["error"]
    assert problem["candidates"] == ["one/episode #1?.mkv", "two/episode #1?.mkv"]
    for candidate in problem["candidates"]:
        assert get(fs, base + quote(candidate)).body == torrent.read(candidate)
    for none in ("episode", "sub/x%20%c3%a9.srt", "one", "two/sub", "Same", "nothing.mkv"):
        assert get(fs, base + none).status == 404, none
    assert curl(fs, base + "episode%20%231%3F.mkv", method="HEAD")[0].status == 409


def test_a_name_in_another_unicode_form_finds_the_file(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """UAX #15: macOS takes names apart (NFD), all others put them together (NFC)."""
    one, two = "\u00e9\u1e69\ud55c", "e\u0301s\u0323\u0307\u1112\u1161\u11ab"
    files = [(f"{two}/{two}.mkv", 100), (f"x/{one}.srt", 110), (f"y/{two}.vtt", 120)]
    files += [(f"z/{one}.vtt", 130), (f"z/{two}.txt", 140), (f"y/{two}.txt", 150)]
    torrent = torrents.multi("forms", files, seed=305)
    fs.add_torrent(torrent, seeder.seed(torrent))
    base = f"/stream/{torrent.info_hash}/"
    for asked, path in (
        (f"{one}/{one}.mkv", f"{two}/{two}.mkv"),
        (f"{two}/{one}.mkv", f"{two}/{two}.mkv"),
        (f"{one}.mkv", f"{two}/{two}.mkv"),
        (f"x/{two}.srt", f"x/{one}.srt"),
        (f"{two}.srt", f"x/{one}.srt"),
        (f"{one}.vtt", f"z/{one}.vtt"),  # as it is goes before alike
        (f"{two}.vtt", f"y/{two}.vtt"),
        (f"y/{one}.vtt", f"y/{two}.vtt"),
    ):
        reply = get(fs, base + quote(asked))
        assert (reply.status, reply.body) == (200, torrent.read(path)), (asked, path)
        etags = {
            curl(fs, base + quote(way), method="HEAD")[0].headers["ETag"] for way in (asked, path)
        }
        assert len(etags) == 1, "one file has one ETag"
    reply = get(fs, base + quote(f"{one}.txt"))
    assert reply.status == 409
    assert json.loads(reply.body)["candidates"] == [f"z/{two}.txt", f"y/{two}.txt"]
    assert get(fs, base + quote(f"x/{one}.mkv")).status == 404


def test_a_path_longer_than_a_system_call_takes_is_streamed(
    fs: Magnetfs, seeder: Seeder, maker: HostileMaker
) -> None:
    path = [b"D" * 250] * 60
    torrent = maker.multi(b"long", [raw(*path, b"x.mkv"), raw(b"d", *[b"e"] * 600, b"y")])
    fs.add(torrent.magnet(seeder.seed(torrent)))
    entries = fs.files(torrent.info_hash)
    base = f"/stream/{torrent.info_hash}/"
    for entry, content in zip(entries, torrent.contents):
        for name in (entry["path"], entry["name"]):
            reply = get(fs, base + name)
            assert (reply.status, reply.body) == (200, content), len(name)
    reply = get(fs, f"/stream/{torrent.info_hash}")
    assert (reply.status, reply.body) == (200, torrent.contents[0]), "the largest of them"
    for missing in (entries[0]["path"][:-1], "D" * 5000, "D/" * 5000 + "x"):
        assert get(fs, base + missing).status == 404


# -- the largest media file ------------------------------------------------------------------------

LARGEST = {
    "the larger of two": ([("a.mkv", 300), ("b.mkv", 400)], "b.mkv"),
    "media before what is larger": ([("disk.iso", 900), ("a.srt", 800), ("b.mp4", 50)], "b.mp4"),
    "music is media": ([("cover.jpg", 900), ("d/1.FLAC", 40), ("d/2.flac", 60)], "d/2.flac"),
    "the first of equals": ([("b.mkv", 70), ("a.mkv", 70)], "b.mkv"),
    "without media the largest": ([("a.txt", 5), ("b.iso", 90), ("c", 7)], "b.iso"),
    "its extension is the last": ([("a.mkv.txt", 900), ("b.txt.mkv", 10)], "b.txt.mkv"),
    "a name without one is none": ([("mkv", 900), ("x.mkv", 10)], "x.mkv"),
}


def test_without_a_name_it_is_the_largest_media_file(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    for number, (rule, (files, expected)) in enumerate(LARGEST.items()):
        torrent = torrents.multi(f"largest {number}", files, seed=310 + number)
        fs.add(torrent.magnet(seeder.seed(torrent)))
        target = f"/stream/{torrent.info_hash}"
        reply = get(fs, target)
        assert (reply.status, reply.body) == (200, torrent.read(expected)), rule
        named = curl(fs, f"{target}/{expected}", method="HEAD")[0]
        assert named.headers["ETag"] == reply.headers["ETag"], rule
        assert named.headers["Content-Type"] == reply.headers["Content-Type"], rule
        upper = get(fs, f"/stream/{torrent.info_hash.upper()}")
        assert (upper.status, upper.body) == (200, reply.body), rule


# -- types -----------------------------------------------------------------------------------------

TYPES = {
    **{"mkv": "video/x-matroska", "mp4": "video/mp4", "webm": "video/webm", "ts": "video/mp2t"},
    **{"avi": "video/x-msvideo", "mov": "video/quicktime", "ogv": "video/ogg"},
    **{"mp3": "audio/mpeg", "flac": "audio/flac", "m4a": "audio/mp4", "opus": "audio/ogg"},
    **{"srt": "application/x-subrip", "vtt": "text/vtt", "ass": "text/x-ssa"},
    **{"jpg": "image/jpeg", "png": "image/png", "txt": "text/plain", "nfo": "text/plain"},
    **{"pdf": "application/pdf", "bin": "application/octet-stream", "": "application/octet-stream"},
}
ACTIVE = {
    **{"html": "text/html", "htm": "text/html", "xhtml": "application/xhtml+xml"},
    **{"svg": "image/svg+xml", "xml": "application/xml", "js": "text/javascript"},
}
ODD = 'qu"o;te\r\n\\é% \u65e5'


def test_types_and_dispositions(fs: Magnetfs, seeder: Seeder, maker: HostileMaker) -> None:
    extensions = [*TYPES, *ACTIVE]
    files = []
    for number, extension in enumerate(extensions):
        name = ODD + ("." if extension else "") + (extension.upper() if number % 2 else extension)
        files.append(raw(name.encode(), length=20 + number))
    torrent = maker.multi(b"types", files)
    fs.add(torrent.magnet(seeder.seed(torrent)))
    entries = fs.files(torrent.info_hash)
    assert fs.web
    added = fs.web.add(torrent.info_hash).json["files"]
    replies = curl(fs, *(entry["stream"] for entry in added))
    tags = set()
    for extension, entry, shown, reply in zip(extensions, entries, added, replies):
        expected = {**TYPES, **ACTIVE}[extension]
        assert reply.status == 200, extension
        assert reply.headers["Content-Type"] == shown["type"] == expected, extension
        assert reply.headers["X-Content-Type-Options"] == "nosniff", extension
        tags.add(reply.headers["ETag"])
        # RFC 6266, RFC 8187
        named, _, encoded = reply.headers["Content-Disposition"].partition("; filename*=UTF-8''")
        kind, _, fallback = named.partition("; filename=")
        assert kind == ("attachment" if extension in ACTIVE else "inline"), extension
        assert re.fullmatch(r'"[ -~]+"', fallback) and fallback.count('"') == 2, fallback
        assert re.fullmatch(r"(?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+", encoded), encoded
        assert unquote(encoded) == entry["name"], extension
        policy = reply.headers.get("Content-Security-Policy", "")
        assert ("sandbox" in policy) == (extension in ACTIVE), extension
    assert len(tags) == len(extensions)
