"""Temporary torrents that went as nobody used them: a player's next request brings them back."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

from harness import waiting
from harness.mount import Magnetfs, errno_of
from harness.seeder import Seeder
from harness.torrents import KIB, Torrent, TorrentMaker
from harness.web import stream_target

IDLE_S = 2
GONE_S = 15.0  # the idle time, and the helper's rmdir
EPISODES = ["Show S01/e01.mkv", "Show S01/e02.mkv"]
SHORT_IDLE_S = 1
# A clip of 8 s takes longer than the idle time; its bytes are in mpv's cache after a moment.
SPEED = 2
USED_FOR_S = 2.5 * IDLE_S
USED_EVERY_S = IDLE_S / 4


@pytest.fixture(scope="module")
def show(torrents: TorrentMaker) -> Torrent:
    files = [(path, 300_001) for path in EPISODES]
    return torrents.multi("Show", [*files, ("notes.txt", 5)], seed=171, piece_length=32 * KIB)


@pytest.fixture
def idle(magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    return magnetfs("--idle-timeout", str(IDLE_S), "--read-timeout", "20")


def curl(fs: Magnetfs, target: str, *options: str) -> bytes:
    """What curl gives; an answer of 400 and more fails."""
    assert fs.web
    done = subprocess.run(
        ["curl", "-sS", "--fail", "--max-time", "30", *options, fs.web.base + target],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


def wait_gone(fs: Magnetfs, torrent: Torrent) -> None:
    """Until it went by itself, data and all."""
    waiting.until("it went", lambda: not fs.known(torrent.info_hash), GONE_S)
    assert fs.web
    assert fs.web.get(f"/torrents/{torrent.info_hash}").status == 404
    assert fs.web.get("/torrents").json["torrents"] == []
    assert not (fs.mountpoint / torrent.directory).exists()
    waiting.until("its data went", lambda: fs.store_blocks() < torrent.piece_length, GONE_S)


@pytest.fixture
def went(idle: Magnetfs, seeder: Seeder, show: Torrent) -> Magnetfs:
    """A show whose first episode was streamed, and which went."""
    assert idle.web
    with idle.events() as events:
        assert idle.web.add(show.magnet(seeder.seed(show))).status == 200
        target = stream_target(show, EPISODES[0])
        assert curl(idle, target) == show.read(EPISODES[0])
        events.wait("removed", show.info_hash, GONE_S)
    wait_gone(idle, show)
    return idle


def test_a_stream_is_answered_by_fetching_again(
    went: Magnetfs, seeder: Seeder, show: Torrent
) -> None:
    before = seeder.sent(show)
    assert curl(went, stream_target(show, EPISODES[0])) == show.read(EPISODES[0])
    assert seeder.sent(show) > before, "nothing of it was left on the disk"
    assert went.torrent(show.info_hash)["kept"] is False
    assert went.torrent(show.info_hash)["name"] == "Show"


def test_a_range_of_the_next_episode_is_answered(went: Magnetfs, show: Torrent) -> None:
    part = curl(went, stream_target(show, EPISODES[1]), "-r", "100000-199999")
    assert part == show.read(EPISODES[1], 100_000, 100_000)


def test_a_head_brings_it_back_and_fetches_nothing(
    went: Magnetfs, seeder: Seeder, show: Torrent
) -> None:
    before = seeder.sent(show)
    head = curl(went, stream_target(show, EPISODES[1]), "-I").decode().lower()
    assert head.startswith("http/1.1 200 ")
    assert f"content-length: {show.file(EPISODES[1]).length}\r\n" in head
    assert went.known(show.info_hash)
    assert seeder.sent(show) == before


def test_the_largest_file_and_a_bare_name_are_answered(went: Magnetfs, show: Torrent) -> None:
    assert curl(went, f"/stream/{show.info_hash}") == show.read(EPISODES[0])
    wait_gone(went, show)
    assert curl(went, f"/stream/{show.info_hash}/e02.mkv") == show.read(EPISODES[1])


def test_many_that_come_at_once_are_all_answered(went: Magnetfs, show: Torrent) -> None:
    assert went.web
    command = ["curl", "-sS", "--fail", "--parallel", "--parallel-immediate", "--max-time", "30"]
    for number in range(16):
        target = stream_target(show, EPISODES[number % 2])
        command += ["-o", str(went.folder / f"got-{number}"), went.web.base + target]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=40)
    for number in range(16):
        got = (went.folder / f"got-{number}").read_bytes()
        assert got == show.read(EPISODES[number % 2]), number


def test_what_never_was_here_is_404(went: Magnetfs, show: Torrent) -> None:
    assert went.web
    for target in (f"/stream/{'ab' * 20}", f"/stream/{'ab' * 20}/e01.mkv", f"/stream/{'ab' * 32}/x"):
        went.web.get(target).problem(404)
        assert went.web.request("HEAD", target).status == 404
    went.web.get(f"/stream/{show.info_hash}/none.mkv").problem(404)


def test_to_look_at_it_keep_or_remove_it_brings_nothing_back(
    went: Magnetfs, show: Torrent
) -> None:
    assert went.web
    target = f"/torrents/{show.info_hash}"
    went.web.get(target).problem(404)
    went.web.request("PUT", target + "/keep").problem(404)
    went.web.request("DELETE", target + "/keep").problem(404)
    went.web.request("DELETE", target).problem(404)
    assert not went.known(show.info_hash)


def test_a_page_of_another_site_brings_nothing_back(went: Magnetfs, show: Torrent) -> None:
    """That would add it, which such a page may not."""
    assert went.web
    film = stream_target(show, EPISODES[0])
    for name in ("Sec-Fetch-Site", "Origin", "Referer"):
        field = {name: "cross-site" if name == "Sec-Fetch-Site" else "https://evil.example"}
        for target in (f"/playlist/{show.info_hash}.m3u8", f"/stream/{show.info_hash}", film):
            went.web.request("GET", target, field).problem(404)
            assert went.web.request("HEAD", target, field).status == 404
    assert not went.known(show.info_hash)
    assert curl(went, film, "-r", "0-9") == show.read(EPISODES[0], 0, 10)


def test_what_was_removed_stays_away(went: Magnetfs, show: Torrent) -> None:
    assert went.web
    target = stream_target(show, EPISODES[0])
    assert curl(went, target, "-r", "0-9") == show.read(EPISODES[0], 0, 10)
    assert went.web.request("DELETE", f"/torrents/{show.info_hash}").status == 204
    went.web.get(target).problem(404)
    went.stop()
    went.start()
    went.web.get(target).problem(404)


def test_what_was_removed_at_once_stays_away(idle: Magnetfs, seeder: Seeder, show: Torrent) -> None:
    """Going and removal are told to the catalog by different threads, the first a moment later."""
    assert idle.web
    target = stream_target(show, EPISODES[0])
    assert idle.web.add(show.magnet(seeder.seed(show))).status == 200
    waiting.until("it went", lambda: not idle.known(show.info_hash), GONE_S)
    assert idle.web.request("HEAD", target).status == 200
    assert idle.web.request("DELETE", f"/torrents/{show.info_hash}").status == 204
    idle.web.get(target).problem(404)
    idle.stop()
    idle.start()
    idle.web.get(target).problem(404)


def test_it_can_be_kept_when_it_is_back(went: Magnetfs, show: Torrent) -> None:
    assert went.web
    target = stream_target(show, EPISODES[0])
    assert went.web.request("HEAD", target).status == 200
    assert went.web.request("PUT", f"/torrents/{show.info_hash}/keep").status == 204
    went.stop()
    went.start()
    assert went.web.get(f"/torrents/{show.info_hash}").json["kept"] is True
    assert curl(went, target) == show.read(EPISODES[0])


def test_it_comes_back_after_a_restart(went: Magnetfs, show: Torrent) -> None:
    went.stop()
    went.start()
    assert not went.known(show.info_hash)
    assert curl(went, stream_target(show, EPISODES[1])) == show.read(EPISODES[1])


def test_one_that_was_here_at_the_end_comes_back(
    idle: Magnetfs, seeder: Seeder, show: Torrent
) -> None:
    """It goes with the run; its player goes on."""
    assert idle.web
    assert idle.web.add(show.magnet(seeder.seed(show))).status == 200
    for signum in (signal.SIGTERM, signal.SIGINT):
        assert curl(idle, stream_target(show, EPISODES[0])) == show.read(EPISODES[0])
        idle.stop(signum)
        idle.start()
        assert not idle.known(show.info_hash)
        assert idle.store_blocks() < show.piece_length
    assert curl(idle, stream_target(show, EPISODES[1])) == show.read(EPISODES[1])


def test_it_comes_back_after_a_kill(went: Magnetfs, show: Torrent) -> None:
    assert curl(went, stream_target(show, EPISODES[0])) == show.read(EPISODES[0])
    for _ in range(2):
        went.kill()
        waiting.until("all ended", lambda: not went.processes())
        went.start()
        assert not went.known(show.info_hash)
        assert went.store_blocks() < show.piece_length
        assert curl(went, stream_target(show, EPISODES[1])) == show.read(EPISODES[1])


def test_a_head_is_a_use(idle: Magnetfs, seeder: Seeder, show: Torrent) -> None:
    assert idle.web
    assert idle.web.add(show.magnet(seeder.seed(show))).status == 200
    with idle.events() as events:
        end = time.monotonic() + USED_FOR_S
        while time.monotonic() < end:
            assert idle.web.request("HEAD", stream_target(show, EPISODES[0])).status == 200
            event = events.next(USED_EVERY_S)
            assert not event or event["event"] != "removed", event
    wait_gone(idle, show)


def test_the_control_file_recalls(went: Magnetfs, show: Torrent) -> None:
    path = went.control / "recall"
    assert errno_of(path.write_text, "ab" * 20 + "\n") == errno.ENOENT
    assert errno_of(path.write_text, "no hash\n") == errno.EINVAL
    path.write_text(show.info_hash + "\n")
    # at once, without waiting for anybody
    assert sorted(os.listdir(went.mountpoint / "Show")) == ["Show S01", "notes.txt"]
    path.write_text(show.info_hash + "\n")  # it is here already
    assert went.torrent(show.info_hash)["kept"] is False


def test_mpv_comes_to_the_next_entry_of_its_playlist(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    torrents: TorrentMaker,
    media: Path,
    folder: Path,
) -> None:
    fs = magnetfs("--idle-timeout", str(SHORT_IDLE_S), "--read-timeout", "20")
    assert fs.web
    clip = media / "clip.mkv"
    series = torrents.from_files("Series", {"e1.mkv": clip, "e2.mkv": clip})
    assert fs.web.add(series.magnet(seeder.seed(series))).status == 200
    playlist = folder / "series.m3u"
    playlist.write_text(
        "".join(fs.web.base + stream_target(series, file.path) + "\n" for file in series.files)
    )
    with fs.events() as events:
        done = subprocess.run(
            ["mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal", f"--speed={SPEED}"]
            + [f"--log-file={folder / 'mpv.log'}", f"--playlist={playlist}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=50,
            check=False,
            env={**os.environ, "HOME": str(folder)},
        )
        log = (folder / "mpv.log").read_text(errors="replace")
        assert done.returncode == 0, log[-3000:]
        assert log.count("finished playback, success") == 2, log[-3000:]
        events.wait("removed", series.info_hash, 1.0)
        events.wait("added", series.info_hash, 1.0)
