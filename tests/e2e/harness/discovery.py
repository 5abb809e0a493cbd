"""Who listens in where peers are looked for without a tracker: a DHT node, and local discovery."""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import threading

from harness.torrents import bencode

LSD_GROUP, LSD_PORT = "239.192.152.143", 6771  # BEP 14


class _Listener:
    """Hears datagrams on loopback and keeps the info-hashes that are in them."""

    def __init__(self, listener: socket.socket) -> None:
        self._socket = listener
        self._awake, self._wake = socket.socketpair()
        self._lock = threading.Lock()
        self._heard: set[str] = set()  # under _lock
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def heard(self) -> set[str]:
        """The info-hashes that somebody asked for, in hex."""
        with self._lock:
            return set(self._heard)

    def _hear(self) -> None:
        while True:
            if self._awake in select.select([self._socket, self._awake], [], [])[0]:
                return
            data, sender = self._socket.recvfrom(65536)
            with self._lock:
                self._heard |= self.take(data, sender)

    def take(self, data: bytes, sender: tuple[str, int]) -> set[str]:
        raise NotImplementedError

    def close(self) -> None:
        self._wake.close()
        self._thread.join(5)
        for each in (self._socket, self._awake):
            each.close()


class DhtNode(_Listener):
    """A node of the DHT (BEP 5) that answers everything and knows nobody."""

    def __init__(self) -> None:
        self._id = os.urandom(20)
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        super().__init__(listener)

    def take(self, data: bytes, sender: tuple[str, int]) -> set[str]:
        transaction = re.search(rb"1:t(\d+):", data)
        if transaction and b"1:y1:q" in data:
            end = transaction.end() + int(transaction.group(1))
            answer = {"id": self._id, "nodes": b"", "token": b"token"}
            reply = {"r": answer, "t": data[transaction.end() : end], "y": "r"}
            self._socket.sendto(bencode(reply), sender)
        return {found.hex() for found in re.findall(rb"9:info_hash20:(.{20})", data, re.DOTALL)}


class LsdListener(_Listener):
    """Hears what is announced to the local network (BEP 14), on loopback."""

    def __init__(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", LSD_PORT))
        member = struct.pack("4s4s", socket.inet_aton(LSD_GROUP), socket.inet_aton("127.0.0.1"))
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        super().__init__(listener)

    def take(self, data: bytes, sender: tuple[str, int]) -> set[str]:
        return {found.decode().lower() for found in re.findall(rb"Infohash: (\w{40})", data)}
