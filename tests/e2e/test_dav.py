"""WebDAV below /dav/ (RFC 4918, class 1, read-only): requests one by one, and real clients."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import Answer, stream_target

NAME = 'A & <b> "ü" 100%'
ONE, TWO = "\u00e9", "e\u0301"  # "é" as one character and taken apart
FILES = [
    *(("film.mkv", 3 * MIB + 17), ("empty.txt", 0), ("extras/poster #1?.jpg", 40_000)),
    *((f"extras/deep/{TWO}/{TWO}.srt", 500), ("extras/page.html", 90), ("z/] 2>&1;.bin", 10)),
]
PENDING = "0123456789abcdef0123456789abcdef01234567"  # nobody has its metadata
IDLE_S = 2
READ_ONLY = {"OPTIONS", "GET", "HEAD", "PROPFIND"}
ALL = {
    *("resourcetype", "displayname", "creationdate", "getlastmodified", "getcontentlength"),
    *("getcontenttype", "getetag", "supportedlock"),
}


@pytest.fixture(scope="module")
def shelf(torrents: TorrentMaker) -> Torrent:
    return torrents.multi(NAME, FILES, seed=401, piece_length=64 * KIB)


@pytest.fixture
def dav(fs: Magnetfs, seeder: Seeder, shelf: Torrent) -> Magnetfs:
    """A mount with the shelf, and a magnet that is pending."""
    fs.add_torrent(shelf, seeder.seed(shelf))
    fs.add(PENDING)
    return fs


def ask(
    fs: Magnetfs, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = ""
) -> Answer:
    """path: below /dav, encoded."""
    assert fs.web
    return fs.web.request(method, "/dav" + path, headers, body.encode() or None)


@dataclass
class Resource:
    """One <response> of a multistatus."""

    found: dict[str, ElementTree.Element] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def text(self, name: str) -> str:
        return self.found[name].text or ""

    @property
    def is_collection(self) -> bool:
        return [child.tag for child in self.found["resourcetype"]] == ["{DAV:}collection"]


def multistatus(answer: Answer) -> dict[str, Resource]:
    """By href. Names of properties of DAV: without that."""
    assert answer.status == 207, answer.body
    assert answer.headers["Content-Type"].startswith("application/xml")
    root = ElementTree.fromstring(answer.body)
    assert root.tag == "{DAV:}multistatus"
    resources = {}
    for response in root:
        assert response.tag == "{DAV:}response"
        href, *propstats = response
        assert href.tag == "{DAV:}href" and href.text and propstats
        resource = resources[href.text] = Resource()
        for propstat in propstats:
            prop, status = propstat
            assert (prop.tag, status.tag) == ("{DAV:}prop", "{DAV:}status")
            named = {element.tag.removeprefix("{DAV:}"): element for element in prop}
            if status.text == "HTTP/1.1 200 OK":
                resource.found |= named
            else:
                assert status.text == "HTTP/1.1 404 Not Found"
                resource.missing |= set(named)
    return resources


def propfind(fs: Magnetfs, path: str, depth: str = "1", body: str = "") -> dict[str, Resource]:
    return multistatus(ask(fs, "PROPFIND", path, {"Depth": depth}, body))


def prop(inner: str) -> str:
    return f'<?xml version="1.0"?><D:propfind xmlns:D="DAV:">{inner}</D:propfind>'


def place(path: str = "", name: str = NAME) -> str:
    return "/" + quote(name) + "/" + quote(path)


# -- the tree --------------------------------------------------------------------------------------


def test_depth_1_step_by_step_is_the_tree_of_the_mount(dav: Magnetfs, shelf: Torrent) -> None:
    """RFC 4918 §5.2, §8.3, §9.1: absolute paths, collections end with '/'."""
    found: dict[str, int] = {}
    left = ["/"]
    while left:
        here = left.pop()
        resources = propfind(dav, here)
        assert resources["/dav" + here].is_collection
        for href, resource in resources.items():
            path = href.removeprefix("/dav")
            assert quote(unquote(path), safe="/-._~") == path, "encoded, one way"
            if path == here:
                continue
            assert path.startswith(here) and "/" not in path[len(here) : -1]
            assert resource.is_collection == path.endswith("/")
            assert resource.text("displayname") == unquote(path).rstrip("/").rpartition("/")[2]
            if resource.is_collection:
                left.append(path)
            else:
                found[unquote(path)] = int(resource.text("getcontentlength"))
    assert found == {f"/{NAME}/{file.path}": file.length for file in shelf.files}
    assert set(propfind(dav, "/")) == {"/dav/", f"/dav{place()}", f"/dav/{PENDING}/"}
    assert set(propfind(dav, f"/{PENDING}/")) == {f"/dav/{PENDING}/"}, "empty while it is pending"


def test_what_properties_say_is_what_get_says(dav: Magnetfs, shelf: Torrent) -> None:
    """RFC 4918 §15.4 to §15.7; the tag is that of /stream as well."""
    assert dav.web
    for file in shelf.files:
        ((href, resource),) = propfind(dav, place(file.path), "0").items()
        assert href == f"/dav{place(file.path)}"
        got = ask(dav, "GET", place(file.path))
        assert (got.status, got.body) == (200, shelf.read(file.path)), file.path
        assert resource.found.keys() == ALL
        assert resource.text("getetag") == got.headers["ETag"]
        assert resource.text("getcontenttype") == got.headers["Content-Type"]
        assert resource.text("getlastmodified") == got.headers["Last-Modified"]
        assert resource.text("getcontentlength") == got.headers["Content-Length"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", resource.text("creationdate"))
        assert not list(resource.found["resourcetype"]) and not list(resource.found["supportedlock"])
        streamed = dav.web.request("HEAD", stream_target(shelf, file.path))
        assert streamed.headers["ETag"] == got.headers["ETag"]


# -- each request by its section -------------------------------------------------------------------

FILM = place("film.mkv")
CASES: dict[str, tuple[str, str, dict[str, str], str, int]] = {
    "§9.1 without Depth it is infinity": ("PROPFIND", "/", {}, "", 403),
    "§9.1 infinity": ("PROPFIND", "/", {"Depth": "infinity"}, "", 403),
    "§10.2 in any case": ("PROPFIND", "/", {"Depth": "Infinity"}, "", 403),
    "§10.2 no such depth": ("PROPFIND", "/", {"Depth": "2"}, "", 400),
    "§10.2 nor this": ("PROPFIND", "/", {"Depth": "1, 0"}, "", 400),
    "§9.1 depth 0": ("PROPFIND", "/", {"Depth": "0"}, "", 207),
    "§9.1 of a file": ("PROPFIND", FILM, {"Depth": "0"}, "", 207),
    "§9.1 of a file, depth 1": ("PROPFIND", FILM, {"Depth": "1"}, "", 207),
    "§5.2 a collection without its '/'": ("PROPFIND", FILM[:-9], {"Depth": "1"}, "", 207),
    "§5.2 the root without its '/'": ("PROPFIND", "", {"Depth": "1"}, "", 207),
    "§5.2 a file with a '/'": ("PROPFIND", FILM + "/", {"Depth": "0"}, "", 404),
    "§9.1 what is not there": ("PROPFIND", place("nothing"), {"Depth": "0"}, "", 404),
    "§9.1 no such torrent": ("PROPFIND", "/nothing/", {"Depth": "0"}, "", 404),
    "§9.1 below a file": ("PROPFIND", FILM + "/x", {"Depth": "0"}, "", 404),
    "the control directory": ("PROPFIND", "/.magnetfs/", {"Depth": "1"}, "", 404),
    "below it": ("GET", "/.magnetfs/status", {}, "", 404),
    "out of the mount": ("GET", "/../../etc/passwd", {}, "", 404),
    "encoded": ("GET", "/%2e%2e/%2e%2e/etc/passwd", {}, "", 404),
    "out of the torrent": ("GET", place("x/../../.magnetfs/status"), {}, "", 404),
    "nothing between two '/'": ("PROPFIND", "//", {"Depth": "0"}, "", 404),
    "RFC 3986 §2.1": ("GET", "/%zz", {}, "", 400),
    "§8.2 no XML": ("PROPFIND", "/", {"Depth": "0"}, "hello", 400),
    "§8.2 not closed": ("PROPFIND", "/", {"Depth": "0"}, "<propfind>", 400),
    "§14.20 another root": ("PROPFIND", "/", {"Depth": "0"}, '<prop xmlns="DAV:"/>', 400),
    "§14.20 no kind": ("PROPFIND", "/", {"Depth": "0"}, prop(""), 400),
    "§20.6 an entity": (
        *("PROPFIND", "/", {"Depth": "0"}),
        '<!DOCTYPE p [<!ENTITY a "b">]>' + prop("<D:allprop/>"),
        400,
    ),
    "RFC 9110 §15.5.14": ("PROPFIND", "/", {"Depth": "0"}, prop("<D:allprop/>" + " " * 20_000), 413),
    "§14.18 more than may be asked for": (
        *("PROPFIND", "/", {"Depth": "0"}),
        prop("<D:prop>" + "<D:x/>" * 100 + "</D:prop>"),
        413,
    ),
    "§10.1 OPTIONS": ("OPTIONS", "/", {}, "", 200),
    "§10.1 of a file": ("OPTIONS", FILM, {}, "", 200),
    "§10.1 of the root without its '/'": ("OPTIONS", "", {}, "", 200),
    "§9.2 PROPPATCH": ("PROPPATCH", FILM, {}, prop(""), 405),
    "§9.3 MKCOL": ("MKCOL", "/new/", {}, "", 405),
    "§9.6 DELETE": ("DELETE", FILM, {}, "", 405),
    "§9.6 DELETE of a torrent": ("DELETE", place(), {}, "", 405),
    "§9.7 PUT": ("PUT", place("new"), {}, "bytes", 405),
    "§9.7 PUT over a file": ("PUT", FILM, {}, "bytes", 405),
    "§9.10 LOCK": ("LOCK", FILM, {}, "<x/>", 405),
    "§9.11 UNLOCK": ("UNLOCK", FILM, {"Lock-Token": "<urn:x>"}, "", 405),
    "§9.5 POST": ("POST", "/", {}, "x", 405),
    "RFC 9110 §9.3.1 GET of a file": ("GET", FILM, {}, "", 200),
    "RFC 9110 §9.3.2 HEAD": ("HEAD", FILM, {}, "", 200),
    "RFC 9110 §14.2 a range": ("GET", FILM, {"Range": "bytes=5-9"}, "", 206),
    "RFC 9110 §15.5.17": ("GET", FILM, {"Range": "bytes=99999999-"}, "", 416),
    "§9.4 GET of a collection": ("GET", place("extras/"), {}, "", 200),
    "§9.4 HEAD of one": ("HEAD", place("extras/"), {}, "", 200),
    "another path": ("GET", "x", {}, "", 404),
}


def check(fs: Magnetfs, case: str) -> None:
    method, path, headers, body, expected = CASES[case]
    answer = ask(fs, method, path, headers, body)
    assert answer.status == expected, answer.body
    if expected == 405:
        assert set(answer.headers["Allow"].split(", ")) == READ_ONLY, "RFC 9110 §15.5.6"
    if expected == 403:
        tags = [element.tag for element in ElementTree.fromstring(answer.body).iter()]
        assert tags == ["{DAV:}error", "{DAV:}propfind-finite-depth"], "§16"
    elif expected >= 400:
        answer.problem(expected)
    elif method == "OPTIONS":
        assert answer.headers["DAV"] == "1" and answer.body == b""
        assert set(answer.headers["Allow"].split(", ")) == READ_ONLY
    elif method == "HEAD":
        assert answer.body == b""
    elif expected == 207:
        multistatus(answer)


def test_requests(dav: Magnetfs) -> None:
    failed = {}
    for case in CASES:
        try:
            check(dav, case)
        except AssertionError as problem:
            failed[case] = problem
    assert not failed
    assert set(propfind(dav, "/")) == {"/dav/", f"/dav{place()}", f"/dav/{PENDING}/"}


def test_what_moves_is_refused(dav: Magnetfs) -> None:
    """RFC 4918 §9.8, §9.9; civetweb knows neither method and refuses the request as such."""
    for method in ("MOVE", "COPY"):
        answer = ask(dav, method, FILM, {"Destination": "/dav/x", "Overwrite": "T"})
        assert answer.status in (400, 405), (method, answer.status)
    assert ask(dav, "HEAD", "/x").status == 404


# -- properties ------------------------------------------------------------------------------------


def test_prop_propname_and_what_is_not_there(dav: Magnetfs) -> None:
    """§9.1, §14.8, §14.18, §14.22."""
    collection = ALL - {"getcontentlength", "getetag"}
    for path, all_of_it in ((FILM, ALL), (place(), collection)):
        for body in ("", prop("<D:allprop/>"), prop("<D:propname/>")):
            ((_, resource),) = propfind(dav, path, "0", body).items()
            assert resource.found.keys() == all_of_it and not resource.missing
            assert bool(resource.text("displayname")) == (body != prop("<D:propname/>"))
    asked = '<D:getetag/><D:lockdiscovery/><q xmlns="urn:q"/><q xmlns=""/><D:resourcetype/>'
    ((_, resource),) = propfind(dav, place(), "0", prop(f"<D:prop>{asked}</D:prop>")).items()
    assert resource.found.keys() == {"resourcetype"} and resource.is_collection
    assert resource.missing == {"getetag", "lockdiscovery", "{urn:q}q", "q"}
    body = prop("<D:allprop/><D:include><D:quota-used-bytes/></D:include>")
    ((_, resource),) = propfind(dav, FILM, "0", body).items()
    assert resource.found.keys() == ALL and resource.missing == {"quota-used-bytes"}


def test_to_http_1_0_the_end_of_the_connection_is_the_end(
    fs: Magnetfs, torrents: TorrentMaker
) -> None:
    """RFC 9112 §6.1: no chunks to HTTP/1.0; in 1.1 a long answer has them."""
    count = 600
    torrent = torrents.multi("long", [(f"{n:0100}", 1) for n in range(count)], seed=402)
    fs.add(torrent.metainfo)
    assert fs.web
    for version in ("1.0", "1.1"):
        head = f"PROPFIND /dav/long/ HTTP/{version}\nHost: 127.0.0.1:{fs.web.port}\nDepth: 1\n\n"
        with fs.web.raw(head) as connection:
            got = b""
            while piece := connection.recv(1 << 16):
                got += piece
        head_, _, body = got.partition(b"\r\n\r\n")
        assert (b"Transfer-Encoding: chunked" in head_) == (version == "1.1")
        assert b"Content-Length" not in head_
        assert body.endswith(b"0\r\n\r\n" if version == "1.1" else b"</D:multistatus>\n")
        if version == "1.0":
            assert len(ElementTree.fromstring(body)) == count + 1
    assert len(propfind(fs, "/long/")) == count + 1


# -- pages -----------------------------------------------------------------------------------------


def test_a_page_links_to_what_is_there_and_runs_nothing(dav: Magnetfs) -> None:
    """RFC 4918 §9.4 leaves open what a GET of a collection is."""
    for path, links in {
        "": {f"/dav{place()}", f"/dav/{PENDING}/"},
        "/": {f"/dav{place()}", f"/dav/{PENDING}/"},
        place("extras"): {
            f"/dav{place('extras/' + name)}" for name in ("deep/", "page.html", "poster #1?.jpg")
        },
        f"/{PENDING}/": set(),
    }.items():
        answer = ask(dav, "GET", path)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        page = answer.body.decode()
        assert set(re.findall(r'href="([^"]*)"', page)) == links
        assert "<b>" not in page and "<script" not in page
    assert "A &amp; &lt;b&gt; &quot;ü&quot; 100%/</a>" in ask(dav, "GET", "/").body.decode()
    page = ask(dav, "GET", place("extras/page.html"))
    assert page.headers["Content-Disposition"].startswith("attachment"), "a file stays a file"


def test_names_in_another_unicode_form(fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker) -> None:
    """UAX #15: a client on macOS sends names taken apart."""
    kept = f"d{ONE}/{TWO}.mkv"
    torrent = torrents.multi(f"caf{TWO}", [(kept, 900)], seed=403)
    fs.add_torrent(torrent, seeder.seed(torrent))
    for top in (ONE, TWO):
        for middle in (ONE, TWO):
            for name in (ONE, TWO):
                path = f"/{quote(f'caf{top}/d{middle}/{name}.mkv')}"
                got = ask(fs, "GET", path)
                assert (got.status, got.body) == (200, torrent.read(kept)), path
        assert set(propfind(fs, f"/{quote(f'caf{top}')}/")) == {
            f"/dav/{quote(f'caf{top}')}/",
            f"/dav/{quote(f'caf{top}/d{ONE}')}/",
        }
    assert ask(fs, "GET", f"/{quote(f'caf{ONE}{ONE}')}/").status == 404


# -- the life of a torrent -------------------------------------------------------------------------


def test_looking_around_keeps_no_torrent_and_a_file_does(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, shelf: Torrent
) -> None:
    """A file manager that looks each second would else keep all that is temporary."""
    fs = magnetfs("--idle-timeout", str(IDLE_S))
    fs.add_torrent(shelf, seeder.seed(shelf), temporary=True)
    end = time.monotonic() + 2.5 * IDLE_S
    while time.monotonic() < end:
        assert ask(fs, "HEAD", FILM).status == 200
        time.sleep(IDLE_S / 4)

    def went() -> bool:
        ask(fs, "GET", place("extras/"))
        ask(fs, "PROPFIND", FILM, {"Depth": "0"})
        return ask(fs, "PROPFIND", place("extras/"), {"Depth": "1"}).status == 404

    waiting.until("it went, though somebody looked", went, timeout=15)
    waiting.until("nobody knows it", lambda: not fs.known(shelf.info_hash))


def test_a_torrent_that_goes_meanwhile_is_404_or_cut(dav: Magnetfs, shelf: Torrent) -> None:
    """Nobody is told half of a directory as if it were all of it."""
    stop = threading.Event()
    seen: set[int] = set()

    def look() -> None:
        while not stop.is_set():
            answer = ask(dav, "PROPFIND", place("extras/"), {"Depth": "1"})
            seen.add(answer.status)
            if answer.status == 207:
                assert len(multistatus(answer)) == 4

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(5):
            waiting.until("it is seen", lambda: 207 in seen)
            dav.remove(shelf.info_hash)
            waiting.until("it is not", lambda: 404 in seen)
            dav.add(shelf.metainfo)
            seen.clear()
    finally:
        stop.set()
        for looker in lookers:
            looker.join()
    assert seen <= {207, 404}


# -- real clients ----------------------------------------------------------------------------------


def run(*command: object, timeout: float = 40, **keywords: Any) -> str:
    """What it prints; it must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        **keywords,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def rclone(dav: Magnetfs, folder: Path) -> list[object]:
    """The command, without a configuration of its own."""
    assert dav.web
    (folder / "rclone.conf").touch()
    return [
        *("rclone", "--config", folder / "rclone.conf", "--cache-dir", folder / "rclone-cache"),
        *("--webdav-url", f"{dav.web.base}/dav/", "--webdav-vendor", "other", "--retries", "1"),
    ]


def test_rclone_lists_copies_and_checks(
    dav: Magnetfs, shelf: Torrent, rclone: list[object], folder: Path
) -> None:
    """Debian's rclone."""
    listed = run(*rclone, "lsf", "-R", "--files-only", "--format", "ps", "--separator", "\t", ":webdav:")
    assert {tuple(line.split("\t")) for line in listed.splitlines()} == {
        (f"{NAME}/{file.path}", str(file.length)) for file in shelf.files
    }
    assert f"{PENDING}/" in run(*rclone, "lsf", ":webdav:").splitlines()
    run(*rclone, "copy", ":webdav:" + NAME, folder / "copy")
    for file in shelf.files:
        assert (folder / "copy" / file.path).read_bytes() == shelf.read(file.path), file.path
    part = subprocess.run(
        [str(p) for p in (*rclone, "cat", "--offset", 1_000_000, "--count", 5000)]
        + [f":webdav:{NAME}/film.mkv"],
        capture_output=True,
        timeout=40,
    )
    assert part.stdout == shelf.read("film.mkv")[1_000_000:1_005_000]
    refused = subprocess.run(
        [str(p) for p in (*rclone, "deletefile", f":webdav:{NAME}/film.mkv")],
        capture_output=True,
        timeout=40,
    )
    assert refused.returncode != 0
    assert ask(dav, "HEAD", FILM).status == 200


def test_rclone_mounts_it_and_programs_seek_in_it(
    dav: Magnetfs, shelf: Torrent, rclone: list[object], folder: Path
) -> None:
    """In a mount namespace of its own, which ends with the last process in it."""
    (folder / "mnt").mkdir()
    wanted = [(3_000_000, 4096), (0, 10), (1_500_000, 70_000), (3 * MIB, 17), (2_000_000, 1)]
    content = shelf.read("film.mkv")
    script = (
        'point=$1; shift; "$@" mount :webdav: "$point" --read-only --allow-non-empty & '
        'until mountpoint -q "$point"; do sleep 0.05; done; cd "$point"; '
        "find . -type f -printf '%P %s\\n'; md5sum */film.mkv; "
    )
    for offset, size in wanted:
        script += f"tail -c +{offset + 1} */film.mkv | head -c {size} | md5sum; "
    output = run(
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
        *("sh", "-c", script, "sh", folder / "mnt", *rclone),
    )
    lines = output.splitlines()
    files = {f"{NAME}/{file.path} {file.length}" for file in shelf.files}
    assert set(lines[: len(files)]) == files
    sums = [line.split()[0].lstrip("\\") for line in lines[len(files) :]]
    parts = [content] + [content[offset : offset + size] for offset, size in wanted]
    assert sums == [hashlib.md5(part).hexdigest() for part in parts]


def test_cadaver_lists_and_gets(dav: Magnetfs, shelf: Torrent, folder: Path) -> None:
    """Debian's cadaver, which goes by what OPTIONS says."""
    assert dav.web
    commands = f"""ls
cd "A & <b> \\"ü\\" 100%"
ls extras
get film.mkv {folder}/film.mkv
get "extras/poster #1?.jpg" {folder}/poster.jpg
mkcol new
quit
"""
    output = run("cadaver", f"{dav.web.base}/dav/", input=commands, env=os.environ | {"HOME": str(folder)})
    assert "Coll:   " + PENDING in output and "poster #1?.jpg" in output
    assert "Creating `new': failed" in output and "405" in output
    assert (folder / "film.mkv").read_bytes() == shelf.read("film.mkv")
    assert (folder / "poster.jpg").read_bytes() == shelf.read("extras/poster #1?.jpg")


def test_ffprobe_finds_the_ends_of_a_film(
    fs: Magnetfs, seeder: Seeder, media: Path, torrents: TorrentMaker
) -> None:
    torrent = torrents.from_file(media / "clip.mkv")
    fs.add_torrent(torrent, seeder.seed(torrent))
    assert fs.web
    href = next(href for href in propfind(fs, "/clip/") if href.endswith(".mkv"))
    told = run(
        *("ffprobe", "-v", "error", "-show_entries", "format=format_name,duration", "-of", "json"),
        fs.web.base + href,
    )
    shown = json.loads(told)["format"]
    assert "matroska" in shown["format_name"] and float(shown["duration"]) > 7
