"""Which processes and mounts belong to the tests, and how to end what should have ended by itself.

Every process is found by a variable in its environment, which it hands down to all it starts, so
that a helper which left its process group is found too.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from harness import waiting

RUN_TAG = "MAGNETFS_E2E_RUN"  # one value for each pytest process
INSTANCE_TAG = "MAGNETFS_E2E_INSTANCE"  # one value for each magnetfs


def _state(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def tagged(variable: str, value: str) -> list[int]:
    """The living processes that carry variable=value, without those that wait to be reaped."""
    wanted = f"{variable}={value}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environ = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environ.split(b"\0") and _state(int(entry)) not in "ZX":
            found.append(int(entry))
    return found


def listed(folder: str) -> list[str]:
    """What a folder of /proc holds; nothing where its process has ended meanwhile."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid: int) -> list[int]:
    """The children of pid and theirs, as they are now."""
    found = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        for task in listed(f"/proc/{parent}/task"):
            try:
                words = Path(f"/proc/{parent}/task/{task}/children").read_text().split()
            except OSError:
                continue
            children = [int(word) for word in words]
            found += children
            todo += children
    return found


def alive(pid: int) -> bool:
    return _state(pid) not in "ZX"


def describe(pid: int) -> str:
    """One line about a process, for a failure."""
    try:
        words = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        words = "?"
    return f"{pid} [{_state(pid)}] {words.strip()}"


def named(pids: list[int], name: str) -> list[int]:
    """Those of pids whose program is called name."""
    found = []
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if os.path.basename(command.decode(errors="replace")) == name:
            found.append(pid)
    return found


def freeze(child: subprocess.Popen[Any]) -> None:
    """SIGSTOP. When this returns none of its threads runs any more: the signal alone lets them go
    on until the first one has taken it, 36 ms on a busy machine, and a peer sends a piece in 4."""
    child.send_signal(signal.SIGSTOP)
    how = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
    waiting.until("a process that has stopped", lambda: os.waitid(os.P_PID, child.pid, how))


def kill_all(pids: list[int], timeout: float = 5.0) -> list[int]:
    """SIGKILLs pids (stopped ones too) and returns those that outlived it."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    end = time.monotonic() + timeout
    left = pids
    while left and time.monotonic() < end:
        left = [pid for pid in left if alive(pid)]
        if left:
            time.sleep(0.02)
    return left


def _real(path: str | Path) -> str:
    """The path as the mount table has it; what is mounted there, maybe dead, isn't touched."""
    return os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path)


def mounts_beneath(folder: str | Path) -> list[str]:
    """The mountpoints at and beneath folder, innermost first."""
    base = _real(folder)
    found = []
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            # space, tab, newline and backslash come as octal escapes
            point = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), line.split()[4])
            path = os.fsdecode(point)
            if path == base or path.startswith(base + "/"):
                found.append(path)
    return sorted(found, key=len, reverse=True)


def is_mounted(mountpoint: str | Path) -> bool:
    """True when something is mounted right there, also when it is dead."""
    return _real(mountpoint) in mounts_beneath(mountpoint)


def unmount_lazily(mountpoint: str) -> None:
    """The last resort; a test that needs it has failed."""
    command = ["umount", "-l", mountpoint]
    if os.geteuid() != 0:
        command = ["fusermount3", "-u", "-z", mountpoint]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
