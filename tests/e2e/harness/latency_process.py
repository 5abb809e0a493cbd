"""Does one small thing again and again in a process of its own, and tells how long it took at worst.

    latency_process.py read FILE     64 KiB of it after the other, a few milliseconds apart
    latency_process.py stat FOLDER   a name in it that nobody has looked up before

A line on stdin asks for what was since the last one: {"count", "worst", "p99"}, in seconds.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
import time
from typing import Callable

READ_BYTES = 64 << 10
PAUSE_S = {"read": 0.005, "stat": 0.001}


def reader(path: str) -> Callable[[int], None]:
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size

    def read(number: int) -> None:
        offset = number * READ_BYTES
        if offset >= size:
            raise SystemExit("the file is too short")
        if not os.pread(fd, READ_BYTES, offset):
            raise SystemExit("nothing at all")

    return read


def looker(folder: str) -> Callable[[int], None]:
    def look(number: int) -> None:
        if os.path.exists(f"{folder}/none-{number}"):
            raise SystemExit("what is that?")

    return look


def main() -> None:
    what, path = sys.argv[1:]
    do = {"read": reader, "stat": looker}[what](path)
    times: list[float] = []
    number = 0
    gc.disable()
    while True:
        began = time.perf_counter()
        do(number)
        times.append(time.perf_counter() - began)
        number += 1
        if select.select([0], [], [], PAUSE_S[what])[0]:
            if not os.read(0, 1):
                return
            times.sort()
            answer = {
                "count": len(times),
                "worst": times[-1],
                "p99": times[int(len(times) * 0.99)],
            }
            print(json.dumps(answer), flush=True)
            times.clear()


if __name__ == "__main__":
    main()
