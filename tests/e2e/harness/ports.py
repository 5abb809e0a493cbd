"""Ports of 127.0.0.1 for programs that must be told one."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A TCP port nobody listens on now; the kernel seldom hands out the same one again soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
