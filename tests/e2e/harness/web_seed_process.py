"""An HTTP server with byte ranges (RFC 9110 §14) in a process of its own, good or bad as told.

One JSON object a line on stdin, one answer a line on stdout; ends with its stdin. A connection has
a thread of its own and stays open for further requests, as those of real servers do.
"""

from __future__ import annotations

import json
import re
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

import web_seed_hostile  # beside this file

CHUNK = 16384  # bytes sent at a time
ONE_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        # all under lock
        self.content: dict[str, tuple[str, int, int]] = {}  # path: blob, offset, length
        self.fault: dict[str, Any] = {}
        self.connections = 0
        self.open: set[socket.socket] = set()
        self.most_open = 0
        self.requests: list[dict[str, Any]] = []

    # -- what the test asks for --------------------------------------------------------------------

    def serve(self, content: dict[str, list[Any]]) -> dict[str, Any]:
        with self.lock:
            self.content.update({path: tuple(where) for path, where in content.items()})
        return {}

    def misbehave(self, **fault: Any) -> dict[str, Any]:
        with self.changed:
            self.fault = fault
            self.changed.notify_all()  # those who keep silent look again
        return {}

    def seen(self) -> dict[str, Any]:
        with self.lock:
            return {
                "connections": self.connections,
                "open": len(self.open),
                "most_open": self.most_open,
                "requests": [dict(request) for request in self.requests],
            }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up when they please."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def is_established(connection: socket.socket) -> bool:
    state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == 1  # TCP_ESTABLISHED, of <netinet/tcp.h>


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1
            self.server.open.add(self.connection)
            # Those that the client has closed are no connections any more, though their threads may
            # not have seen it.
            open_now = sum(map(is_established, self.server.open))
            self.server.most_open = max(self.server.most_open, open_now)

    def finish(self) -> None:
        with self.server.lock:
            self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        path = unquote(self.path)
        note = {"target": self.path, "path": path, "range": self.headers["Range"], "sent": 0}
        note["at"] = time.monotonic()
        with server.changed:
            server.requests.append(note)
            while server.fault.get("silent"):
                server.changed.wait()
            fault = dict(server.fault)
            if fault.get("times"):
                server.fault["times"] -= 1
                if server.fault["times"] == 0:
                    server.fault = {}
            where = server.content.get(path)
        status = fault.get("status", 200 if where else 404)
        note["status"] = status
        if fault.get("hostile") and where:
            self.close_connection = True
            self.be_hostile(note, where, fault["hostile"])
        elif status >= 300 or not where:
            self.refuse(status, fault, path)
        else:
            self.answer(note, where, fault)

    def be_hostile(self, note: dict[str, Any], where: tuple[str, int, int], how: str) -> None:
        blob, offset, length = where
        match = ONE_RANGE.match(note["range"] or "")
        first, end = (int(match[1]), int(match[2]) + 1) if match and match[2] else (0, length)
        with open(blob, "rb") as content:
            content.seek(offset + first)
            data = content.read(end - first)
        answer = web_seed_hostile.ANSWERS[how]
        answer(self.connection, web_seed_hostile.Range(self.path, first, end - 1, length, data))

    def refuse(self, status: int, fault: dict[str, Any], path: str) -> None:
        self.send_response(status)
        if "retry_after" in fault:
            self.send_header("Retry-After", str(fault["retry_after"]))
        if "location" in fault:
            self.send_header("Location", fault["location"].replace("{target}", self.path))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, note: dict[str, Any], where: tuple[str, int, int], fault: dict) -> None:
        blob, offset, length = where
        match = ONE_RANGE.match(note["range"] or "")
        first, end = 0, length
        if match and not fault.get("whole"):
            first = int(match[1])
            end = min(length, int(match[2]) + 1) if match[2] else length
            if first >= end:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{length}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                note["status"] = 416
                return
            self.send_response(206)
            note["status"] = 206
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{length}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - first))
        self.end_headers()
        self.send_body(note, blob, offset + first, end - first, fault)

    def send_body(
        self, note: dict[str, Any], blob: str, offset: int, length: int, fault: dict[str, Any]
    ) -> None:
        began = time.monotonic()
        sent = 0
        with open(blob, "rb") as content:
            content.seek(offset)
            while sent < length:
                if sent >= fault.get("cut", length):
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                data = content.read(min(CHUNK, length - sent))
                if fault.get("wrong"):
                    data = bytes(byte ^ 0x55 for byte in data)
                sent += len(data)
                note["sent"] = sent  # before: who reads it must find it counted
                self.wfile.write(data)
                if rate := fault.get("rate"):
                    time.sleep(max(0.0, began + sent / rate - time.monotonic()))


def main() -> None:
    server: Server | None = None
    for line in sys.stdin:
        request = json.loads(line)
        command = request.pop("cmd")
        try:
            if command == "listen":
                server = Server(request["port"])
                threading.Thread(target=server.serve_forever, daemon=True).start()
                answer: dict[str, Any] = {"port": server.server_address[1]}
            else:
                answer = getattr(server, command)(**request)
            answer = {"ok": True, **answer}
        except Exception as problem:  # the test reports it, with the command it sent
            answer = {"ok": False, "error": repr(problem)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
