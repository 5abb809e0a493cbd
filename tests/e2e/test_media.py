"""Real players on the mount and on /stream, while the media still download."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from harness import media as media_files
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, Torrent, TorrentMaker
from harness.web import stream_target

CLIPS = ["clip.mp4", "clip.mkv"]


def ffprobe(source: str) -> dict:
    """What ffprobe finds: the format and its streams; anything on stderr is a finding too."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", source],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)


def assert_is_the_clip(found: dict, torrent: Torrent) -> None:
    assert sorted(stream["codec_name"] for stream in found["streams"]) == ["aac", "h264"]
    assert abs(float(found["format"]["duration"]) - media_files.SECONDS) < 0.5
    assert int(found["format"]["size"]) == torrent.length


def mpv(source: str, folder: Path) -> None:
    """Plays the whole clip without a window or a sound; mpv's own log says how it went."""
    done = subprocess.run(
        ["mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal", "--speed=4"]
        + [f"--log-file={folder / 'mpv.log'}", source],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=50,
        check=False,
        env={**os.environ, "HOME": str(folder)},
    )
    log = (folder / "mpv.log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert "finished playback, success" in log, log[-3000:]
    # mpv plays on over broken pictures and still says success; a sound clip gives no such line
    errors = [line for line in log.splitlines() if re.match(r"\[ *[\d.]+\]\[[ef]\]", line)]
    assert not errors, errors[:5]


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest, media: Path, torrents: TorrentMaker) -> Torrent:
    return torrents.from_file(media / request.param)


def test_mpv_plays_from_the_mount_while_it_downloads(
    fs: Magnetfs, seeder: Seeder, clip: Torrent, folder: Path
) -> None:
    # 4 Mbit/s at four times the speed are 2 MB/s: the swarm gives little more than that
    seeder.seed(clip, upload_limit=2_500_000)
    directory = fs.add_torrent(clip, seeder)
    assert fs.torrent(clip.info_hash)["haveBytes"] < clip.length
    mpv(str(directory / clip.name), folder)
    assert seeder.sent(clip) > 1_000_000, "what was played came from the swarm"


def test_ffprobe_reads_the_index_wherever_it_is(
    fs: Magnetfs, seeder: Seeder, clip: Torrent
) -> None:
    seeder.seed(clip, upload_limit=2_000_000)
    directory = fs.add_torrent(clip, seeder)
    assert_is_the_clip(ffprobe(str(directory / clip.name)), clip)


def test_players_read_stream(fs: Magnetfs, seeder: Seeder, clip: Torrent, folder: Path) -> None:
    seeder.seed(clip, upload_limit=2_500_000)
    assert fs.web
    assert fs.web.add(clip.magnet(seeder)).status == 200
    url = fs.web.base + stream_target(clip, clip.name)
    assert_is_the_clip(ffprobe(url), clip)
    mpv(url, folder)


def test_two_players_at_once(
    fs: Magnetfs, seeders: Callable[[], Seeder], media: Path, torrents: TorrentMaker
) -> None:
    mp4 = torrents.from_file(media / "clip.mp4", piece_length=32 * KIB)
    mkv = torrents.from_file(media / "clip.mkv", piece_length=32 * KIB)
    paths = []
    for torrent in (mp4, mkv):
        paths.append(fs.add_torrent(torrent, seeders().seed(torrent)) / torrent.name)
    players = [
        subprocess.Popen(
            ["mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal", "--speed=4"]
            + [str(path)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(fs.folder)},
        )
        for path in paths
    ]
    try:
        assert [player.wait(50) for player in players] == [0, 0]
    finally:
        for player in players:
            player.kill()
            player.wait()
