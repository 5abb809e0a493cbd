"""Real media, made by ffmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

SECONDS = 8
MBIT = 4.0


def _ffmpeg(*arguments: str) -> None:
    subprocess.run(
        ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def make_mp4(folder: Path, seconds: int = SECONDS, mbit: float = MBIT) -> Path:
    """An mp4 of so many Mbit/s with its index (moov) at the end, as recorders leave it."""
    target = folder / "clip.mp4"
    rate = f"{round(mbit * 1000)}k"
    if not target.exists():
        _ffmpeg(
            *("-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={seconds}"),
            *("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-b:v", rate, "-minrate", rate),
            *("-maxrate", rate, "-bufsize", rate, "-x264-params", "nal-hrd=cbr"),
            *("-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", "-fflags", "+bitexact"),
            str(target),
        )
        data = target.read_bytes()
        assert data.rindex(b"moov") > data.index(b"mdat"), "the index must come last"
    return target


def make_mkv(folder: Path) -> Path:
    """The same streams as Matroska, its cues at the end."""
    target = folder / "clip.mkv"
    if not target.exists():
        _ffmpeg("-i", str(make_mp4(folder)), "-c", "copy", str(target))
    return target
