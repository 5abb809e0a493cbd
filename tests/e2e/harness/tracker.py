"""Trackers: a real one, and one that breaks on purpose."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Sequence
from urllib.parse import quote

from harness import waiting
from harness.ports import free_port

AGAIN_S = 4.0  # an announce over UDP takes milliseconds when nothing is lost


class OpenTracker:
    """opentracker, HTTP and UDP on one port."""

    def __init__(
        self,
        folder: Path,
        info_hashes: list[str],
        address: str = "127.0.0.1",
        port: int | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """prefix: words before the command that starts the process."""
        self.address = address
        self.port = port or free_port()
        folder.mkdir(parents=True)
        os.chmod(folder, 0o755)
        # Debian's build serves listed torrents only; as root it looks for the list after chroot(2).
        (folder / "whitelist").write_text("".join(f"{h}\n" for h in info_hashes))
        whitelist = "/whitelist" if os.geteuid() == 0 else str(folder / "whitelist")
        self._log = open(folder / "log", "wb")
        self._process = subprocess.Popen(
            [*prefix, "opentracker", "-i", address, "-p", str(self.port), "-P", str(self.port)]
            + ["-d", str(folder), "-w", whitelist],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            cwd=folder,
        )
        try:
            waiting.until("opentracker listens", self._listens)
        except BaseException:
            self.close()
            raise

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError("opentracker ended at once")
        with socket.socket() as probe:
            return probe.connect_ex((self.address, self.port)) == 0

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}/announce"

    @property
    def udp_url(self) -> str:
        return f"udp://{self.address}:{self.port}/announce"

    def _seeds(self, info_hash: str) -> int:
        """What the tracker's scrape says (BEP 48): "complete" is how many have everything."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=5)
        try:
            connection.request("GET", "/scrape?info_hash=" + quote(bytes.fromhex(info_hash)))
            body = connection.getresponse().read()
        finally:
            connection.close()
        found = re.search(rb"8:completei(\d+)e", body)
        return int(found.group(1)) if found else 0

    def name(self, info_hash: str, port: int) -> None:
        """From here on it names a peer at 127.0.0.1 to those who ask. It listens before it has read
        which info-hashes it may know."""
        waiting.until(f"{info_hash} is known", lambda: self._announce(info_hash, port))

    def wait_known(self, info_hash: str) -> None:
        """Waits until peers may announce it."""
        waiting.until(f"{info_hash} is known", lambda: self._announce(info_hash, 1, "stopped"))

    def _announce(self, info_hash: str, port: int, event: str = "started") -> bool:
        query = f"&event={event}&peer_id=-SC0100-000000000000&uploaded=0&downloaded=0"
        query += "&left=1&compact=1"
        target = f"/announce?info_hash={quote(bytes.fromhex(info_hash))}&port={port}{query}"
        connection = http.client.HTTPConnection(self.address, self.port, timeout=5)
        try:
            connection.request("GET", target)
            body = connection.getresponse().read()
        finally:
            connection.close()
        return b"failure" not in body

    def wait_for_seed(
        self, info_hash: str, announce_again: Callable[[], None], timeout: float = 30.0
    ) -> None:
        """Waits until a seeder has announced itself; a datagram may get lost on a busy machine."""
        end = time.monotonic() + timeout
        while True:
            try:
                return waiting.until(
                    "the seeder's announce", lambda: self._seeds(info_hash), AGAIN_S
                )
            except waiting.DeadlineExceeded:
                if time.monotonic() > end:
                    raise
                announce_again()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


class HangingTracker:
    """A tracker that answers its first requests with body, without peers, and leaves all later
    ones hanging.

    A client that waits for the answer to its last words ("stopped") waits for ever.
    """

    def __init__(self, answers: int = 0, body: bytes = b"d8:intervali1800e5:peers0:e") -> None:
        self._answers = answers
        self._body = body
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []  # under _lock
        self._requests: list[bytes] = []  # under _lock
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/announce"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                self._connections.append(connection)
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        try:
            request = connection.recv(65536)
            if not request:
                return
            with self._lock:
                self._requests.append(request)
                answer = len(self._requests) <= self._answers
            if answer:
                head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self._body)
                connection.sendall(head + self._body)
                connection.close()
        except OSError:  # the client left first
            pass

    def requests(self) -> int:
        with self._lock:
            return len(self._requests)

    def paths(self) -> set[str]:
        """What it was asked for, without the queries."""
        with self._lock:
            return {request.split()[1].partition(b"?")[0].decode() for request in self._requests}

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        with self._lock:
            for connection in self._connections:
                connection.close()
