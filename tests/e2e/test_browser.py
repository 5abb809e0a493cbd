"""A page of another origin in a real browser: <video crossorigin> with a <track>, which needs every
header of CORS to be right; Chromium judges, no table of ours."""

from __future__ import annotations

import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.mount import Magnetfs
from harness.ports import free_port
from harness.seeder import Seeder
from harness.torrents import Torrent, TorrentMaker

CUES = b"WEBVTT\n\n00:00.000 --> 00:01.000\nfirst\n\n00:01.000 --> 00:02.000\nsecond\n"

# All that happens goes into the document, which --dump-dom prints once the page is loaded; it is
# held up by an image that the page's own server answers when the page has told that it is done.
PAGE = """<!doctype html><title>waiting</title>
<video id=v crossorigin muted preload=auto src="{base}{video}">
<track id=t default kind=subtitles srclang=en src="{base}{track}"></video>
<pre id=out></pre><img src=/done>
<script>
const out = {{}}, v = document.getElementById("v"), t = document.getElementById("t");
const told = (name, value) => {{
  out[name] = value;
  document.getElementById("out").textContent = JSON.stringify(out);
  if (["video", "track", "fetch"].every(key => key in out))
    fetch("/tell", {{method: "POST"}});
}};
v.addEventListener("loadeddata", () => told("video", "state " + v.readyState));
v.addEventListener("error", () => told("video", "error"));
t.addEventListener("load", () => told("track", "cues " + t.track.cues.length));
t.addEventListener("error", () => told("track", "error"));
fetch("{base}{video}", {{headers: {{Range: "bytes=2-5", "X-Requested-With": "page"}}}})
  .then(r => told("fetch", r.status + " " + r.headers.get("Content-Range")))
  .catch(e => told("fetch", "error"));
</script>
"""


class Pages(ThreadingHTTPServer):
    """The other origin: one page."""

    daemon_threads = True

    def __init__(self) -> None:
        self.page = b""
        self.done = threading.Event()
        super().__init__(("127.0.0.1", free_port()), PageHandler)
        self.origin = f"http://127.0.0.1:{self.server_address[1]}"


class PageHandler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        if self.path == "/done":
            self.server.done.wait(15)
        body = self.server.page if self.path == "/" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.server.done.set()
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[Pages]:
    server = Pages()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.done.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def clip(run_folder: Path, torrents: TorrentMaker) -> Torrent:
    """Two seconds of VP8, which every Chromium plays, and subtitles."""
    folder = run_folder / "browser"
    folder.mkdir()
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=2"]
        + ["-c:v", "libvpx", "-b:v", "200k", str(folder / "clip.webm")],
        check=True,
        timeout=60,
    )
    (folder / "clip.vtt").write_bytes(CUES)
    names = ("clip.webm", "clip.vtt")
    return torrents.from_files("browser", {name: folder / name for name in names})


def browse(folder: Path, pages: Pages, base: str, clip: Torrent) -> dict[str, str]:
    stream = f"/stream/{clip.info_hash}"
    pages.page = PAGE.format(
        base=base, video=f"{stream}/clip.webm", track=f"{stream}/clip.vtt"
    ).encode()
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        + ["--no-first-run", "--disable-background-networking", "--no-proxy-server"]
        + ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        + [f"--user-data-dir={folder / 'chromium'}", "--dump-dom", pages.origin + "/"],
        capture_output=True,
        text=True,
        timeout=50,
    )
    found = re.search(r'<pre id="out">(\{.*?\})</pre>', done.stdout)
    assert found, done.stdout + done.stderr[-2000:]
    return dict(re.findall(r'"(\w+)":"([^"]*)"', found[1]))


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_a_video_with_subtitles_plays_on_a_listed_page_alone(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    clip: Torrent,
    pages: Pages,
    folder: Path,
    listed: bool,
) -> None:
    origin = pages.origin if listed else "http://127.0.0.1:9"
    fs = magnetfs("--cors", origin, "--read-timeout", "20")
    assert fs.web
    fs.add_torrent(clip, seeder.seed(clip))
    seen = browse(folder, pages, fs.web.base, clip)
    if listed:
        length = len(clip.read("clip.webm"))
        assert seen["video"] in ("state 2", "state 3", "state 4")
        assert seen["track"] == "cues 2"
        assert seen["fetch"] == f"206 bytes 2-5/{length}"
    else:
        assert seen == {"video": "error", "track": "error", "fetch": "error"}
