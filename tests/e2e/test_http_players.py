"""Players, browsers and download programs as people use them, on /stream, while the film still
downloads: they play, seek, and get every byte.

MAGNETFS_LONG=1: an outage of the swarm lasts longer than a minute."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Callable

import pytest

from harness import media as media_files
from harness import waiting
from harness.mount import Magnetfs, errno_name, errno_of
from harness.players import Chromium, Mpv, Vlc
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target

SECONDS = 24
# Of the swarm: for those who play several times the film's, which is 4 Mbit/s.
RATE, FAST = 3 * MIB, 12 * MIB


@pytest.fixture(scope="module")
def films(run_folder: Path) -> Path:
    """clip.mp4, its index last, and clip.mkv of SECONDS."""
    folder = run_folder / "films"
    folder.mkdir()
    media_files.make_mp4(folder, seconds=SECONDS)
    media_files.make_mkv(folder)
    return folder


@pytest.fixture(scope="module", params=["clip.mp4", "clip.mkv"])
def film(request: pytest.FixtureRequest, films: Path, torrents: TorrentMaker) -> Torrent:
    return torrents.from_file(films / request.param)


@pytest.fixture(scope="module")
def mkv(films: Path, torrents: TorrentMaker) -> Torrent:
    return torrents.from_file(films / "clip.mkv")


def url_of(fs: Magnetfs, seeder: Seeder, torrent: Torrent, rate: int = RATE) -> str:
    """Seeds it at so many bytes a second and adds it as a player's user would."""
    assert fs.web
    seeder.seed(torrent, upload_limit=rate)
    assert fs.web.add(torrent.magnet(seeder)).status == 200
    return fs.web.base + stream_target(torrent, torrent.name)


# -- players ---------------------------------------------------------------------------------------


def test_mpv_seeks_and_plays_to_the_end(
    fs: Magnetfs, seeder: Seeder, film: Torrent, folder: Path
) -> None:
    with closing(Mpv(folder, url_of(fs, seeder, film))) as mpv:
        mpv.wait("playback-restart")
        for to in (18.0, 3.0, 12.0, 22.5):
            assert abs(mpv.seek(to) - to) < 1.0
        assert mpv.wait("end-file")["reason"] == "eof"
        assert mpv.end() == 0 and not mpv.errors(), mpv.errors()[:5]


def test_mpv_goes_on_with_the_next_film_after_a_pause(
    fs: Magnetfs, seeder: Seeder, films: Path, torrents: TorrentMaker, folder: Path
) -> None:
    torrent = torrents.from_files(
        "series", {f"e{number}.mkv": films / "clip.mkv" for number in (1, 2)}
    )
    url_of(fs, seeder, torrent)
    assert fs.web
    sources = [fs.web.base + stream_target(torrent, f"e{number}.mkv") for number in (1, 2)]
    with closing(Mpv(folder, *sources)) as mpv:
        mpv.wait("playback-restart")
        mpv.ask("set_property", "pause", True)
        paused = float(mpv.ask("get_property", "time-pos"))
        assert mpv.seek(23.0) >= 22.0 and paused < 22.0
        mpv.ask("set_property", "pause", False)
        assert mpv.wait("end-file")["reason"] == "eof"
        mpv.wait("playback-restart")
        assert mpv.ask("get_property", "filename") == "e2.mkv"
        assert abs(mpv.seek(23.0) - 23.0) < 1.0
        assert mpv.wait("end-file")["reason"] == "eof"
        assert mpv.end() == 0 and not mpv.errors(), mpv.errors()[:5]


def test_vlc_seeks_and_plays_to_the_end(
    fs: Magnetfs, seeder: Seeder, film: Torrent, folder: Path
) -> None:
    with closing(Vlc(folder, url_of(fs, seeder, film))) as vlc:
        vlc.wait_position(1, SECONDS)
        for to in (16, 4, 20):
            vlc.tell(f"seek {to}")
            vlc.wait_position(to, to + 3)
        vlc.tell(f"seek {SECONDS - 2}")
        assert vlc.end() == 0
        log = vlc.log.read_text(errors="replace")
        for complaint in ("error:", "Early EOF", "HTTP 4", "HTTP 5"):
            lines = [line for line in log.splitlines() if complaint in line and "http" in line]
            assert not lines, lines


LONG = os.environ.get("MAGNETFS_LONG") == "1"
READ_TIMEOUT_S, OUTAGE_S = (10, 75) if LONG else (1, 5)


@pytest.mark.deadline(180 if LONG else 60)
def test_vlc_plays_on_after_an_outage(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, mkv: Torrent, folder: Path
) -> None:
    """It takes a body that is cut for the film's end. A scanner on the mount is told meanwhile."""
    fs = magnetfs("--read-timeout", str(READ_TIMEOUT_S))
    with closing(Vlc(folder, url_of(fs, seeder, mkv, rate=700 * KIB))) as vlc:
        vlc.wait_position(2, SECONDS)
        seeder.freeze()
        with open(fs.directory(mkv) / mkv.name, "rb") as file:
            assert errno_name(errno_of(os.pread, file.fileno(), 1, 3 * mkv.length // 4)) == "EIO"
        assert not vlc.has_ended(OUTAGE_S - READ_TIMEOUT_S)
        stood = vlc.position()
        assert 2 <= stood < SECONDS - 4
        seeder.thaw()
        vlc.wait_position(stood + 3, SECONDS)
        vlc.tell(f"seek {SECONDS - 2}")
        assert vlc.end() == 0


def test_chromium_seeks_and_plays_to_the_end(
    fs: Magnetfs, seeder: Seeder, films: Path, torrents: TorrentMaker, folder: Path
) -> None:
    """The page of a film by itself: its <video> asks for ranges as that of any page."""
    mp4 = torrents.from_file(films / "clip.mp4")
    url = url_of(fs, seeder, mp4)
    video = "document.querySelector('video')"
    with closing(Chromium(folder)) as browser:
        browser.open(url, lambda: browser.run(f"{video} !== null && {video}.readyState >= 2"))
        assert abs(browser.run(f"{video}.duration") - SECONDS) < 0.5
        for to in (18, 2, 11):
            landed = browser.run(
                f"new Promise((done, failed) => {{ const v = {video};"
                f"v.onseeked = () => done(v.currentTime);"
                f"v.onerror = () => failed(v.error.message);"
                f"v.currentTime = {to}; }})"
            )
            assert abs(landed - to) < 0.5
        # From near the end on, so that it takes two seconds.
        assert browser.run(
            f"new Promise((done, failed) => {{ const v = {video};"
            f"v.onended = () => done(true); v.onerror = () => failed(v.error.message);"
            f"v.muted = true; v.currentTime = {SECONDS - 2}; v.play().catch(failed); }})"
        )


# -- downloads -------------------------------------------------------------------------------------

DOWNLOADS = {
    "curl": ["curl", "-sS", "-f", "-o", "OUT", "URL"],
    "curl-2": ["curl", "-sS", "-f", "--http2", "--compressed", "-o", "OUT", "URL"],
    "wget": ["wget", "-q", "--tries=1", "-O", "OUT", "URL"],
    "aria2": ["aria2c", "-q", "-x8", "-s8", "-k1M", "--no-conf", "-d/", "-oOUT", "URL"],
    "ffmpeg": ["ffmpeg", "-v", "error", "-i", "URL", "-c", "copy", "-f", "null", "-"],
}


def test_programs_fetch_the_whole_film_side_by_side(
    fs: Magnetfs, seeder: Seeder, mkv: Torrent, folder: Path
) -> None:
    url = url_of(fs, seeder, mkv, FAST)
    running = {}
    for name, words in DOWNLOADS.items():
        out = folder / name
        command = [
            word.replace("URL", url).replace("-oOUT", f"-o{out}").replace("OUT", str(out))
            for word in words
        ]
        running[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
    try:
        for name, program in running.items():
            _, stderr = program.communicate(timeout=50)
            assert program.returncode == 0 and not stderr, (name, stderr)
    finally:
        for program in running.values():
            program.kill()
            program.wait()
    expected = mkv.sha256(mkv.name)
    for name in set(DOWNLOADS) - {"ffmpeg"}:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


def test_a_download_manager_fetches_slices_over_kept_connections(
    fs: Magnetfs, seeder: Seeder, mkv: Torrent
) -> None:
    """Four connections take slice after slice from one list, each with If-Range."""
    url_of(fs, seeder, mkv, FAST)
    assert fs.web
    web, target = fs.web, stream_target(mkv, mkv.name)
    etag = web.request("HEAD", target).headers["ETag"]
    slices = list(range(0, mkv.length, 192 * KIB))
    lock = threading.Lock()
    got: dict[int, bytes] = {}

    def work() -> int:
        """Returns how many connections it took."""
        taken, connections = web.connection(), 1
        try:
            while True:
                with lock:
                    if not slices:
                        return connections
                    first = slices.pop(0)
                last = min(first + 192 * KIB, mkv.length) - 1
                headers = {"Range": f"bytes={first}-{last}", "If-Range": etag}
                taken.request("GET", target, headers=headers)
                response = taken.getresponse()
                assert response.status == 206
                assert response.headers["Content-Range"] == f"bytes {first}-{last}/{mkv.length}"
                got[first] = response.read()
                connections += response.will_close
        finally:
            taken.close()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        connections = [each.result() for each in [pool.submit(work) for _ in range(4)]]
    assert b"".join(got[first] for first in sorted(got)) == mkv.read(mkv.name)
    assert connections == [1, 1, 1, 1]
    waiting.until("no reader left", lambda: fs.torrent(mkv.info_hash)["readers"] == 0)
