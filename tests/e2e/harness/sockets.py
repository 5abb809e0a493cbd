"""The sockets of another process, and how it has set them."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import Iterator

from harness import processes

PIDFD_GETFD = 438  # pidfd_getfd(2) has no name in Python, nor in every C library
_libc = ctypes.CDLL(None, use_errno=True)


def _duplicated(pid: int, pidfd: int) -> Iterator[socket.socket]:
    for entry in processes.listed(f"/proc/{pid}/fd"):
        try:
            if not os.readlink(f"/proc/{pid}/fd/{entry}").startswith("socket:"):
                continue
        except FileNotFoundError:
            continue
        fd = _libc.syscall(PIDFD_GETFD, pidfd, int(entry), 0)
        if fd < 0:
            problem = ctypes.get_errno()
            if problem == errno.EBADF:  # it has just been closed
                continue
            raise OSError(problem, f"pidfd_getfd: {os.strerror(problem)}")
        with socket.socket(fileno=fd) as one:
            yield one


def tcp_option(pid: int, port: int, option: int) -> list[int]:
    """The value of a TCP option of each connection over IPv4 that the process has with that port,
    at either end."""
    found = []
    pidfd = os.pidfd_open(pid)
    try:
        for one in _duplicated(pid, pidfd):
            if one.family != socket.AF_INET or one.type != socket.SOCK_STREAM:
                continue
            try:
                ports = one.getsockname()[1], one.getpeername()[1]
            except OSError:  # it listens, or is not connected any more
                continue
            if port in ports:
                found.append(one.getsockopt(socket.IPPROTO_TCP, option))
    finally:
        os.close(pidfd)
    return found
