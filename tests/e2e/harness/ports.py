"""Ports of 127.0.0.1 for programs that must be told one."""

from __future__ import annotations

import random
import socket

# Below those that the kernel hands out to connections: what is free now stays so until it is used.
FIRST, LAST = 20000, 32000


def free_port() -> int:
    """A port that nobody has, for TCP and UDP."""
    while True:
        port = random.randint(FIRST, LAST)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port
