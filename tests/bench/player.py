"""A real player: mpv on the mount and on /stream, with a link hardly faster than the film."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from harness import media
from harness.torrents import KIB, Torrent

from step import Samples, Step
from subjects import Mount

PLAYER_LINK_MBIT = 8.0
PLAYER_RATE_MBIT = 6.1
PLAYER_PIECE = 64 * KIB
LATE_S = 60.0  # bound on what it takes beyond the film's length

# What mpv's log says at its level "v", with the seconds since it began.
SHOWN = re.compile(r"^\[ *([\d.]+)\]\[v\]\[cplayer\] first video frame after restart shown")
ENTER = re.compile(r"^\[ *([\d.]+)\]\[v\]\[cplayer\] Enter buffering")
END = re.compile(r"^\[ *([\d.]+)\]\[v\]\[cplayer\] End buffering")
DONE = "Exiting... (End of file)"
# mpv shows the first picture as soon as it has it; when it then has no more it waits for one second
# of film. That belongs to the start; what comes later is a stall.
START_S = 1.0


def film(step: Step) -> Torrent:
    """As recorders leave it: the index (moov) at the end."""
    folder = step.bench.folder / "film"
    folder.mkdir(exist_ok=True)
    source = media.make_mp4(folder, round(step.plan.player_s), PLAYER_RATE_MBIT)
    return step.bench.torrents.from_file(source, PLAYER_PIECE)


def _times(pattern: re.Pattern[str], lines: list[str]) -> list[float]:
    return [float(found[1]) for line in lines if (found := pattern.match(line))]


def play(source: str, log: Path, seconds: float) -> tuple[float, float, list[float]]:
    """Plays it to the end: seconds from mpv's start to the first picture and until it runs on from
    there, and of each stall."""
    subprocess.run(
        ["mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal"]
        + [f"--log-file={log}", source],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=seconds + LATE_S,
        check=True,
    )
    lines = log.read_text(errors="replace").splitlines()
    if not any(DONE in line for line in lines):
        raise OSError(f"mpv did not come to the end: {lines[-3:]}")
    shown = _times(SHOWN, lines)
    if len(shown) != 1:
        raise OSError(f"mpv began to play {len(shown)} times")
    runs_on, stalls = shown[0], []
    for began, ended in zip(_times(ENTER, lines), _times(END, lines)):
        if began < shown[0] + START_S:
            runs_on = ended
        else:
            stalls.append(ended - began)
    return shown[0], runs_on, stalls


def run_player(step: Step) -> Samples:
    torrent = film(step)
    log = step.folder / "mpv.log"
    seconds = step.plan.player_s
    try:
        if step.kind == "file":
            shown, runs_on, stalls = play(str(torrent.blob), log, seconds)
            return {"start": shown, "runs_on": runs_on, "stalls": len(stalls)}
        swarm = step.swarm([torrent], PLAYER_LINK_MBIT)
        subject: Mount = step.subject()
        began = time.monotonic()
        subject.add(torrent, swarm.magnet(torrent))
        added = time.monotonic() - began
        shown, runs_on, stalls = play(subject.address(torrent), log, seconds)
        return {
            "start": added + shown,
            "runs_on": added + runs_on,
            "stalls": len(stalls),
            "stalled": sum(stalls),
            "waste": 100.0 * (swarm.settled(torrent) / torrent.length - 1),
        }
    finally:
        log.unlink(missing_ok=True)
