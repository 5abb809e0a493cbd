#!/usr/bin/env python3
"""Ends magnetfs again and again, at a moment of chance, with all that may be under way.

usage: exits.py [--exits N] [--seed N] [--bin DIR]

Each exit is by SIGINT, SIGTERM, SIGKILL or an unmount, in turn, 0 to 0.3 s after a thousand adds have
begun, beside parked reads, open streams, a transfer, a tracker that hangs, `ls` in a loop and two
processes that burn the processors. It must take two seconds at most and end with 0 (or by the
SIGKILL), leave no process and no mount, and no task that waits in the kernel for the mount.
Says a line for each exit that was not so, and how many were. Exit code 0: all of them.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

PARKED = 20
STREAMS = 2
ADDS = 1000
DELAY_S = 0.3
# What helper and sidecar may take to notice that magnetfs was killed.
ORPHAN_S = 5.0
WAYS = ("SIGINT", "SIGTERM", "SIGKILL", "unmount")


def stuck_tasks(pids: list[int]) -> list[str]:
    """Those of the processes whose tasks wait in the kernel where nothing can end it."""
    from harness import processes

    found = []
    for pid in pids:
        for task in processes.listed(f"/proc/{pid}/task"):
            folder = Path(f"/proc/{pid}/task/{task}")
            try:
                state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                where = (folder / "wchan").read_text()
            except OSError:
                continue
            if state == "D":
                found.append(f"{pid}/{task} in {where}")
    return found


class Crowd:
    """What disturbs all exits: two processes that burn, and a tracker that answers once."""

    def __init__(self) -> None:
        from harness.tracker import HangingTracker

        self.tracker = HangingTracker(answers=1)
        self._burners = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
            for _ in range(2)
        ]

    def close(self) -> None:
        for burner in self._burners:
            burner.kill()
            burner.wait()
        self.tracker.close()


def one_exit(folder: Path, way: str, delay: float, crowd: Crowd, torrents, seeder) -> float:
    """Starts one magnetfs and ends it; returns the seconds that took. AssertionError: it failed."""
    from harness import processes, waiting
    from harness.mount import END_S, Magnetfs
    from harness.reading import Parked
    from harness.web import stream_target

    lonely, healthy = torrents
    fs = Magnetfs(folder, ("--read-timeout", "0"), allow=[r"tracker"])
    fs.start(timeout=60)
    try:
        path = fs.directory(lonely) / lonely.name
        fs.add(lonely.metainfo)
        healthy_path = fs.add_torrent(healthy, seeder) / healthy.name
        fs.add(lonely.magnet(trackers=[crowd.tracker.url]))
        assert fs.web
        target = stream_target(lonely, lonely.name)
        head = f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n"
        streams = [fs.web.raw(head) for _ in range(STREAMS)]
        others = [
            subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for words in (
                ["cat", str(healthy_path)],
                ["sh", "-c", 'while ls -l "$1"; do :; done', "sh", str(fs.mountpoint)],
            )
        ]
        lines = "".join(f"{random.getrandbits(160):040x}\n" for _ in range(ADDS))

        def add() -> None:
            try:
                with open(fs.control / "add", "wb", buffering=0) as control:
                    control.write(lines.encode())
            except OSError:
                pass  # the mount has gone

        adder = threading.Thread(target=add, daemon=True)
        with Parked(path, PARKED, stride=1 << 20) as reader:
            waiting.until("parked reads", lambda: fs.status()["parkedReads"] >= PARKED, 60)
            adder.start()
            time.sleep(delay)  # the moment of chance, not a wait for something
            known = [pid for pid in fs.processes() if pid != fs.pid]
            everybody = [fs.pid, *known, *(other.pid for other in others)]
            begin = time.monotonic()
            if way == "SIGKILL":
                fs.kill()
                took = time.monotonic() - begin
                waiting.until("the helper's end", lambda: not any(map(processes.alive, known)), ORPHAN_S)
                for mountpoint in processes.mounts_beneath(fs.mountpoint):
                    processes.unmount_lazily(mountpoint)
            elif way == "unmount":
                # Beside open files it is a lazy one, which ends the mount with its last user.
                subprocess.run(["umount", "-l", str(fs.mountpoint)], check=True)
                reader.kill()
                for other in others:
                    other.kill()
                for stream in streams:
                    stream.close()
                begin = time.monotonic()
                code = fs.wait(2 * END_S)
                took = time.monotonic() - begin
                assert code == 0, f"ended with {code}"
            else:
                fs.stop(getattr(signal, way))
                took = time.monotonic() - begin
            assert took <= END_S, f"took {took:.2f} s"
            adder.join(END_S)
            assert not adder.is_alive(), "a write hangs"
            for other in others:
                other.kill()
                assert waiting.ended(other.pid, END_S), f"a reader hangs: {stuck_tasks(everybody)}"
                other.wait()
        for stream in streams:
            stream.close()
        stuck = stuck_tasks(everybody)
        assert not stuck, f"tasks in D state: {stuck}"
        return took
    finally:
        fs.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exits", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bin", type=Path, help="the programs' folder (build/release/bin)")
    arguments = parser.parse_args()
    if arguments.bin:
        os.environ["MAGNETFS_BIN"] = str(arguments.bin.resolve())

    from harness import processes
    from harness.seeder import Seeder
    from harness.torrents import MIB, TorrentMaker

    random.seed(arguments.seed)
    root = Path(tempfile.mkdtemp(prefix="magnetfs-exits-"))
    os.environ[processes.RUN_TAG] = root.name
    maker = TorrentMaker(root / "torrents")
    torrents = maker.single("lonely.mkv", 64 * MIB, seed=1), maker.single("healthy.mkv", 32 * MIB, seed=2)
    seeder = Seeder().seed(torrents[1], upload_limit=2 * MIB)
    crowd = Crowd()
    times: dict[str, list[float]] = collections.defaultdict(list)
    failed = 0
    try:
        for number in range(arguments.exits):
            way, delay = WAYS[number % len(WAYS)], random.random() * DELAY_S
            folder = root / f"exit-{number}"
            try:
                times[way].append(one_exit(folder, way, delay, crowd, torrents, seeder))
            except (AssertionError, OSError) as problem:
                failed += 1
                print(f"exit {number} by {way} after {delay * 1e3:.0f} ms: {problem}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        crowd.close()
        seeder.close()
        processes.kill_all(processes.tagged(processes.RUN_TAG, root.name))
        for mountpoint in processes.mounts_beneath(root):
            processes.unmount_lazily(mountpoint)
        shutil.rmtree(root, ignore_errors=True)
    for way, took in times.items():
        print(f"{way}: {len(took)}, median {statistics.median(took):.2f} s, worst {max(took):.2f} s")
    good = arguments.exits - failed
    print(f"{good} of {arguments.exits} exits were clean")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
