"""Cleans up after a pytest process that was killed or that hangs in the kernel.

Started beside pytest in a session of its own, it reads lines from a pipe:
    arm SECONDS    from now on, after SECONDS pytest counts as hung
    disarm
On end-of-file (pytest is gone, however it ended) or when the time is over it kills what carries the
run's tag and detaches the mounts of the run's folder. After end-of-file it removes the folder too.
A read that hangs in the kernel ends with the daemon, so pytest comes back and reports.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import processes, waiting  # noqa: E402


def clean(tag: str, folder: str) -> None:
    processes.kill_all(processes.tagged(processes.RUN_TAG, tag), timeout=3.0)
    for mountpoint in processes.mounts_beneath(folder):
        processes.unmount_lazily(mountpoint)
    processes.kill_all(processes.tagged(processes.RUN_TAG, tag), timeout=3.0)


def main() -> None:
    tag, folder = sys.argv[1], sys.argv[2]
    fd = sys.stdin.fileno()
    end: float | None = None
    while True:
        wait = 3600.0 if end is None else end - time.monotonic()
        if not waiting.readable(fd, wait):
            if end is not None and time.monotonic() >= end:
                sys.stderr.write("janitor: the test hangs; killing what it started\n")
                clean(tag, folder)
                end = None
            continue
        line = sys.stdin.readline().split()
        if not line:
            break
        end = time.monotonic() + float(line[1]) if line[0] == "arm" else None
    clean(tag, folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
