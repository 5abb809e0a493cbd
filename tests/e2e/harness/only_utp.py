"""A seeder as a NAT shows it: only uTP reaches it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

DATAGRAM = 65536
IDLE_S = 0.1


class OnlyUtp:
    """Hands the datagrams that come to a port of its own on to a seeder, and back. TCP there is
    refused, or (silent) its packets get no answer."""

    def __init__(self, seeder_port: int, *, silent: bool) -> None:
        self._to = ("127.0.0.1", seeder_port)
        self._sockets = contextlib.ExitStack()
        self._front = self._open(socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        if silent:
            self._fill_up()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def peer(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _open(self, kind: socket.SocketKind) -> socket.socket:
        return self._sockets.enter_context(socket.socket(socket.AF_INET, kind))

    def _fill_up(self) -> None:
        """A listener whose queue is full: the kernel drops each SYN that comes."""
        listener = self._open(socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(0)
        for _ in range(2):
            filler = self._open(socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))

    def _run(self) -> None:
        backs: dict[socket.socket, tuple[str, int]] = {}
        clients: dict[tuple[str, int], socket.socket] = {}
        while not self._ends.is_set():
            for ready in select.select([self._front, *backs], [], [], IDLE_S)[0]:
                try:
                    data, sender = ready.recvfrom(DATAGRAM)
                    if ready is not self._front:
                        self._front.sendto(data, backs[ready])
                        continue
                    if sender not in clients:
                        clients[sender] = self._open(socket.SOCK_DGRAM)
                        backs[clients[sender]] = sender
                    clients[sender].sendto(data, self._to)
                except OSError:
                    pass  # the other side went: a datagram is lost

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        self._sockets.close()
