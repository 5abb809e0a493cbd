"""Network namespaces without names: they go with the last process in them, however it ended."""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import contextmanager
from typing import Iterator

CLONE_NEWNET = 0x40000000  # sched.h
OWN = "/proc/thread-self/ns/net"
COMMAND_S = 10


def run(*command: str, given: str | None = None) -> None:
    """Runs a command that must succeed, with that on its stdin."""
    subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=COMMAND_S, input=given
    )


class Far:
    """A namespace that this process made and is not in."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.path = f"/proc/{os.getpid()}/fd/{fd}"

    def command(self) -> list[str]:
        """What is put before a command that is to run there."""
        return ["nsenter", f"--net={self.path}"]

    def run(self, *command: str, given: str | None = None) -> None:
        run(*self.command(), *command, given=given)

    @contextmanager
    def visited(self) -> Iterator[None]:
        """This thread is there meanwhile."""
        home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self.fd)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)


@contextmanager
def joined() -> Iterator[Far]:
    """This process goes into a namespace of its own, beside another. When what is done in here
    fails, it comes back. Only its main thread may be there yet."""
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _unshare()
        far = Far(os.open(OWN, os.O_RDONLY | os.O_CLOEXEC))
        try:
            _setns(home)
            _unshare()
            yield far
        except BaseException:
            os.close(far.fd)
            raise
    except BaseException:
        _setns(home)
        raise
    finally:
        os.close(home)


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def _setns(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
