"""What a process has used so far, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Of what follows the name in /proc/PID/stat (proc(5) counts from 1; the state, field 3, is here 0).
UTIME, STIME = 14 - 3, 15 - 3


@dataclass(frozen=True)
class Usage:
    cpu_s: float  # user and system time
    rss: int  # bytes now
    peak_rss: int  # bytes, the most there has been
    threads: int
    fds: int


def usage(pid: int) -> Usage:
    stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    status = {}
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        status[name] = value.split()
    return Usage(
        cpu_s=(int(stat[UTIME]) + int(stat[STIME])) / TICKS_PER_S,
        rss=int(status["VmRSS"][0]) * 1024,
        peak_rss=int(status["VmHWM"][0]) * 1024,
        threads=int(status["Threads"][0]),
        fds=len(os.listdir(f"/proc/{pid}/fd")),
    )
