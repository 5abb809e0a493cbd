#!/usr/bin/python3
"""Records what programs read of a film that is still arriving, as magnetfs sees it.

    record.py [--bin DIR] [--out DIR] [NAME...]

For each NAME (all, without one) it mounts a magnetfs with a seeder on loopback, lets the program
read and writes DIR/NAME.trace; tests/unit/torrent/test_traces.c replays those. The reads are taken from the
lines that magnetfs logs with --log-level debug: what comes through the kernel, not what the program
calls. Takes five minutes in all; needs what the tests need, and for `browser` chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from harness.mount import Magnetfs
    from harness.seeder import Seeder
    from harness.torrents import TorrentMaker

E2E = Path(__file__).resolve().parents[1] / "e2e"
sys.path[:0] = [str(E2E), str(Path(__file__).parent)]

LINE = re.compile(r"trace: (\d+) (\d+) (open|read|close)(?: (\d+) (\d+))?$")
# Reads that follow on each other are one line while no more time than this lies between the first
# and the last.
RUN_MS = 250
# A link one and a half times the film's rate: it plays, and does not get far ahead.
SLOW = 750_000
FAST = 0


# -- programs --------------------------------------------------------------------------------------


class Stage:
    """The films in the mount, and the programs that were let loose on them."""

    def __init__(
        self, fs: Magnetfs, seeder: Seeder, folder: Path, torrents: TorrentMaker
    ) -> None:
        self._fs, self._seeder, self._torrents = fs, seeder, torrents
        self.folder = folder
        self.started: list[subprocess.Popen] = []

    def film(self, name: str, link: int = 0) -> Path:
        """A film of the mount, at most link bytes/s of it."""
        import movies

        media = self.folder.parent / "media"
        media.mkdir(exist_ok=True)
        make = movies.split_film if name == "split.mp4" else None
        source = make(media) if make else movies.film(media, name)
        torrent = self._torrents.from_file(source, piece_length=256 << 10)
        return self._fs.add_torrent(torrent, self._seeder.seed(torrent, link)) / name

    def url(self, name: str, link: int = 0) -> str:
        """… of the sidecar."""
        assert self._fs.web
        path = self.film(name, link)
        info_hash = os.getxattr(path, "user.magnetfs.infohash").decode()
        return f"{self._fs.web.base}/stream/{info_hash}/{name}"

    def start(self, *command: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self.folder)},
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *command: object) -> None:
        if self.start(*command).wait(120) != 0:
            raise SystemExit(f"failed: {command}")

    def play(self, path: Path, *options: str) -> None:
        mpv = ["mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal"]
        self.start(*mpv, *options, path)

    def close(self) -> None:
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def seek(control: Path, second: int) -> None:
    """Tells an mpv to play from there."""
    with socket.socket(socket.AF_UNIX) as mpv:
        mpv.connect(str(control))
        mpv.sendall(json.dumps({"command": ["seek", second, "absolute"]}).encode() + b"\n")
        mpv.recv(4096)


def mpv_seek(stage: Stage) -> None:
    control = stage.folder / "mpv"
    stage.play(stage.film("film.mp4", SLOW), f"--input-ipc-server={control}")
    time.sleep(8)
    seek(control, 300)
    time.sleep(8)
    seek(control, 120)
    time.sleep(8)


def play(name: str, link: int, seconds: int, *options: str) -> Callable[[Stage], None]:
    def let(stage: Stage) -> None:
        stage.play(stage.film(name, link), *options)
        time.sleep(seconds)

    return let


def two_players(stage: Stage) -> None:
    path = stage.film("film.mkv", 2 * SLOW)
    stage.play(path)
    stage.play(path, "--start=240")
    time.sleep(15)


def ffprobe(stage: Stage, path: Path) -> None:
    stage.run("ffprobe", "-v", "quiet", "-show_format", "-show_streams", path)


def scan(stage: Stage) -> None:
    for path in [stage.film(name) for name in ("film.mp4", "film.mkv", "film.ts", "split.mp4")]:
        ffprobe(stage, path)


PAGE = """<video src="{url}" muted autoplay></video><script>
const video = document.querySelector("video")
setTimeout(() => {{ video.currentTime = 300 }}, 8000)
</script>"""


def browser(stage: Stage) -> None:
    page = stage.folder / "page.html"
    page.write_text(PAGE.format(url=stage.url("film.mp4", SLOW)))
    stage.start(
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--autoplay-policy=no-user-gesture-required", "--disable-background-networking"),
        *(f"--user-data-dir={stage.folder / 'profile'}", page.as_uri()),
    )
    time.sleep(20)


@dataclass
class Recording:
    what: str
    do: Callable[[Stage], None]


RECORDINGS = {
    "mpv-mp4": Recording(
        "mpv, mp4 with its index last, link of 1.5 times its rate", play("film.mp4", SLOW, 20)
    ),
    "mpv-mkv": Recording("mpv, mkv, link of 1.5 times its rate", play("film.mkv", SLOW, 20)),
    "mpv-greedy": Recording("mpv, mkv, link without limit", play("film.mkv", FAST, 8)),
    "mpv-start": Recording(
        "mpv --start=240, mkv, link of 1.5 times its rate",
        play("film.mkv", SLOW, 15, "--start=240"),
    ),
    "mpv-seek": Recording("mpv, mp4: after 8 s to 5:00, after 16 s to 2:00", mpv_seek),
    "mpv-split": Recording(
        "mpv, mp4 with its sound behind its pictures, link of 1.5 times its rate",
        play("split.mp4", SLOW, 26),
    ),
    "two-players": Recording("two mpv in one mkv, the other from 4:00", two_players),
    "ffprobe-mp4": Recording(
        "ffprobe, mp4 with its index last", lambda stage: ffprobe(stage, stage.film("film.mp4"))
    ),
    "ffprobe-mkv": Recording("ffprobe, mkv", lambda stage: ffprobe(stage, stage.film("film.mkv"))),
    "scan": Recording("ffprobe of mp4, mkv, ts and split mp4, one after another", scan),
    "cp": Recording(
        "cp", lambda stage: stage.run("cp", stage.film("film.mkv"), stage.folder / "copy")
    ),
    "cat": Recording(
        "cat", lambda stage: stage.run("sh", "-c", f"cat '{stage.film('film.mkv')}' >/dev/null")
    ),
    "browser": Recording(
        "chromium, <video> of an mp4 with its index last, after 8 s to 5:00, over /stream, link of "
        "1.5 times its rate",
        browser,
    ),
}


# -- traces ----------------------------------------------------------------------------------------


def lines_of(log: str) -> list[str]:
    """The lines of a trace file from those of the log. Files are numbered anew, times begin at 0."""
    files: dict[str, int] = {}
    handles: dict[str, int] = {}
    lines: list[str] = []
    run: list[int] | None = None  # handle, offset, length, count, first ms, last ms
    begin = None

    def flush() -> None:
        nonlocal run
        if run:
            handle, offset, length, count, first, last = run
            many = f" x{count} {last}" if count > 1 else ""
            lines.append(f"{first} {handle} read {offset} {length}{many}")
            run = None

    for line in log.splitlines():
        found = LINE.search(line)
        if not found:
            continue
        ms, number, what, a, b = found.groups()
        begin = int(ms) if begin is None else begin
        at = int(ms) - begin
        handle = handles.setdefault(number, len(handles) + 1)
        if what == "read":
            offset, length = int(a), int(b)
            if (
                run
                and run[0] == handle
                and run[2] == length
                and run[1] + run[2] * run[3] == offset
                and at - run[4] <= RUN_MS
            ):
                run[3] += 1
                run[5] = at
                continue
            flush()
            run = [handle, offset, length, 1, at, at]
            continue
        flush()
        if what == "open":
            lines.append(f"{at} {handle} open {files.setdefault(a, len(files) + 1)} {b}")
        else:
            lines.append(f"{at} {handle} close")
    flush()
    return lines


HEADER = """\
# {what}
# {version}; recorded by tests/traces/record.py
# ms handle open file size | ms handle read offset length [xN last-ms: N reads in a row] | ms handle close
"""


def version_of(what: str) -> str:
    program = what.split()[0].rstrip(",").replace("two", "mpv")
    out = subprocess.run([program, "-version" if program == "ffprobe" else "--version"],
                         capture_output=True, text=True, check=False).stdout  # fmt: skip
    return re.sub(r"Copyright.*", "", out.splitlines()[0]).strip()


def record(name: str, folder: Path, torrents: TorrentMaker, out: Path) -> None:
    from harness.mount import Magnetfs
    from harness.seeder import Seeder

    recording = RECORDINGS[name]
    with contextlib.ExitStack() as ends:
        seeder = Seeder()
        ends.callback(seeder.close)
        fs = Magnetfs(folder / name, ["--log-level", "debug"], allow=["debug: "]).start()
        ends.callback(fs.close)
        stage = Stage(fs, seeder, folder / name, torrents)
        ends.callback(stage.close)
        recording.do(stage)
    lines = lines_of(fs.stderr())
    text = HEADER.format(what=recording.what, version=version_of(recording.what))
    (out / f"{name}.trace").write_text(text + "\n".join(lines) + "\n")
    print(f"{name}: {len(lines)} lines")
    shutil.rmtree(folder / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bin", type=Path, help="the folder with magnetfs (build/release/bin)")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parents[1] / "unit" / "torrent" / "traces"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECORDINGS))
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in RECORDINGS]
    if unknown:
        parser.error(f"not known: {', '.join(unknown)}")
    if options.bin:
        os.environ["MAGNETFS_BIN"] = str(options.bin.resolve())
    from harness.torrents import TorrentMaker

    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="magnetfs-traces-") as temporary:
        folder = Path(temporary).resolve()
        torrents = TorrentMaker(folder / "content")
        for name in options.names or RECORDINGS:
            record(name, folder, torrents, options.out)


if __name__ == "__main__":
    main()
