"""A complete file over HTTP: the sidecar and nginx, which serves the same file of the same mount."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator
from urllib.parse import quote

from harness import waiting
from harness.ports import free_port
from harness.torrents import KIB, MIB
from harness.web import stream_target

from step import Samples, Step
from subjects import Stream

NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin") or ""
MANY = 32
CLIENTS = {"one": 1, "many": MANY}
ROUNDS = 3  # of both, in turn
RECEIVE = 256 * KIB
WAIT_S = 30.0
END_S = 10.0

# nginx as Debian sets it up, but for its paths and its port.
CONFIG = """
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    tcp_nopush on;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""


@contextmanager
def nginx(folder: Path, root: Path) -> Iterator[int]:
    """nginx with root as its files, by the same user; gives its port."""
    folder.mkdir()
    port = free_port()
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(CONFIG.format(folder=folder, root=root, port=port, user=user))
    process = subprocess.Popen(
        [NGINX, "-c", str(config), "-e", str(folder / "error.log")],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        waiting.until("nginx listens", lambda: _listens(port))
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(END_S)
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def fetch(port: int, target: str, length: int, clients: int) -> float:
    """So many clients fetch all of it at once; MB/s of all together."""
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    left: dict[socket.socket, int] = {}
    scrap = bytearray(RECEIVE)
    with selectors.DefaultSelector() as selector:
        try:
            began = time.monotonic()
            for _ in range(clients):
                connection = socket.create_connection(("127.0.0.1", port), WAIT_S)
                left[connection] = length
                connection.sendall(request.encode())
                selector.register(connection, selectors.EVENT_READ)
            for connection in left:
                _take_head(connection)
                connection.setblocking(False)
            while left:
                ready = selector.select(WAIT_S)
                if not ready:
                    raise OSError(f"nothing came for {WAIT_S:g} s")
                for key, _ in ready:
                    _take(selector, key.fileobj, scrap, left)
            return clients * length / (time.monotonic() - began) / 1e6
        finally:
            for connection in left:
                connection.close()


def _take_head(connection: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    if not head.startswith(b"HTTP/1.1 200"):
        raise OSError(head.decode(errors="replace")[:300])


def _take(
    selector: selectors.BaseSelector,
    connection: socket.socket,
    scrap: bytearray,
    left: dict[socket.socket, int],
) -> None:
    got = connection.recv_into(scrap)
    left[connection] -= got
    if got > 0 and left[connection] >= 0:
        return
    rest = left.pop(connection)
    selector.unregister(connection)
    connection.close()
    if rest != 0:
        raise OSError(f"a body was {rest} bytes too short")


def run_http(step: Step) -> Samples:
    torrent = step.bench.torrents.single("hot.bin", step.plan.hot, seed=30, piece_length=MIB)
    swarm = step.swarm([torrent], None)
    subject: Stream = step.subject()
    subject.add(torrent, swarm.magnet(torrent))
    assert subject.fs.web
    own = subject.fs.web.port, stream_target(torrent, torrent.files[0].path)
    path = "/" + quote(str(subject.path(torrent).relative_to(subject.fs.mountpoint)))
    fetch(*own, torrent.length, 1)  # downloads it
    if not NGINX:
        return {
            key: [fetch(*own, torrent.length, clients) for _ in range(ROUNDS)]
            for key, clients in CLIENTS.items()
        }
    found: Samples = {}
    with nginx(step.folder / "nginx", subject.fs.mountpoint) as port:
        fetch(port, path, torrent.length, 1)  # brings it into the page cache
        for key, clients in CLIENTS.items():
            rates: list[float] = []
            others: list[float] = []
            # Whoever is second finds the machine as the first left it: they take turns.
            for number in range(ROUNDS):
                pair = [(rates, own), (others, (port, path))]
                for into, server in pair if number % 2 == 0 else reversed(pair):
                    into.append(fetch(*server, torrent.length, clients))
            found[key] = rates
            found[f"{key}_nginx"] = others
            found[f"{key}_share"] = [rate / other for rate, other in zip(rates, others)]
    return found
