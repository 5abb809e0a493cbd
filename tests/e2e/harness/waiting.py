"""Waiting with a deadline: every wait of the tests is for something, never for luck."""

from __future__ import annotations

import os
import select
import time
from typing import Callable, TypeVar

T = TypeVar("T")

POLL_S = 0.02  # between two looks at a condition that has no file descriptor to wait on


class DeadlineExceeded(AssertionError):
    """Something did not happen in its time."""


def until(what: str, check: Callable[[], T], timeout: float = 10.0) -> T:
    """Waits until check() is true and returns what it gave; what names it in the failure."""
    end = time.monotonic() + timeout
    while True:
        last = check()
        if last:
            return last
        if time.monotonic() >= end:
            raise DeadlineExceeded(f"not within {timeout:g} s: {what} (last: {last!r})")
        time.sleep(POLL_S)


def settled(what: str, read: Callable[[], T], still_s: float = 1.5, timeout: float = 30.0) -> T:
    """Waits until read() has given one value for still_s: nothing more is on its way."""
    end = time.monotonic() + timeout
    value = read()
    since = time.monotonic()
    while time.monotonic() - since < still_s:
        if time.monotonic() >= end:
            raise DeadlineExceeded(f"still changing after {timeout:g} s: {what} (last: {value!r})")
        time.sleep(POLL_S)
        now = read()
        if now != value:
            value, since = now, time.monotonic()
    return value


def readable(fd: int, timeout: float, events: int = select.POLLIN) -> int:
    """poll(2) on one descriptor: the events that came, 0 when none did in time."""
    poller = select.poll()
    poller.register(fd, events)
    ready = poller.poll(max(0, int(timeout * 1000)))
    return ready[0][1] if ready else 0


def ended(pid: int, timeout: float) -> bool:
    """Waits for the end of a process without polling (its status is left for the one who reaps)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(readable(fd, timeout))
    finally:
        os.close(fd)
