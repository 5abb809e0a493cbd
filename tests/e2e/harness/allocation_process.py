"""CACHE STATE PERIOD_MS: how much of the disk a magnetfs takes, looked at all the time.

Says a line when it looks, and at the end of stdin a JSON object: count of the samples, seconds they
took, the longest time between two, the highest sample in bytes and what it was made of, and the
least that the cache's file system had free for everybody.

What is counted are the blocks of all files below CACHE, and of the catalog's files in STATE. A file
can give back what another takes while the two are looked at, one after the other. So a sample is
two looks at each file, and the smaller one counts: what was taken all the while between the looks.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Iterator

BLOCK = 512  # the unit of st_blocks, whatever the file system's blocks are
CATALOG = "catalog"  # SQLite's -wal, -shm and -journal follow it


def entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        listed = list(os.scandir(folder))
    except FileNotFoundError:  # not made yet, or gone
        return
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            yield from entries(entry.path)
        else:
            yield entry


def look(cache: str, state: str) -> dict[str, int]:
    found = {}
    for entry in (*entries(cache), *(e for e in entries(state) if e.name.startswith(CATALOG))):
        try:
            found[entry.name] = os.lstat(entry.path).st_blocks * BLOCK
        except FileNotFoundError:
            continue
    return found


def free(folder: str) -> int:
    try:
        known = os.statvfs(folder)
    except FileNotFoundError:
        return sys.maxsize
    return known.f_bavail * known.f_frsize


def main() -> None:
    cache, state = sys.argv[1:3]
    period_s = int(sys.argv[3]) / 1000
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    print("looks", flush=True)
    began = last = due = time.monotonic()
    count = highest = 0
    longest, least_free = 0.0, sys.maxsize
    files: dict[str, int] = {}
    while not poller.poll(max(0, (due - time.monotonic()) * 1000)):
        first, second = look(cache, state), look(cache, state)
        both = {name: min(n, second.get(name, 0)) for name, n in first.items()}
        if (total := sum(both.values())) > highest:
            highest, files = total, both
        least_free = min(least_free, free(cache))
        now = time.monotonic()
        count += 1
        longest, last = max(longest, now - last), now
        due = max(due + period_s, now)
    took = time.monotonic() - began
    times = {"count": count, "seconds": took, "longest": longest}
    found = {"highest": highest, "files": files, "least_free": least_free}
    print(json.dumps({**times, **found}), flush=True)


if __name__ == "__main__":
    main()
