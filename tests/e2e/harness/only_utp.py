"""A seeder as a NAT shows it: only uTP reaches it."""

from __future__ import annotations

import contextlib
import errno
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
        if silent:
            self.port: int = self._fill_up()
        else:
            self._front.bind(("127.0.0.1", 0))
            self.port = self._front.getsockname()[1]
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def peer(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _open(self, kind: socket.SocketKind) -> socket.socket:
        return self._sockets.enter_context(socket.socket(socket.AF_INET, kind))

    def _fill_up(self) -> int:
        """A listener whose queue is full: the kernel drops each SYN that comes. Gives its port."""
        listener, port = self._same_port()
        listener.listen(0)
        for _ in range(2):
            filler = self._open(socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        return port

    def _same_port(self) -> tuple[socket.socket, int]:
        """A port that is free for TCP may be somebody's for UDP, who leaves it to no one."""
        while True:
            listener = self._open(socket.SOCK_STREAM)
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            try:
                self._front.bind(("127.0.0.1", port))
            except OSError as problem:
                if problem.errno != errno.EADDRINUSE:
                    raise
            else:
                return listener, port

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
