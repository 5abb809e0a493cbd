"""HTTP as it goes over the wire: targets are sent as given, nothing is normalised or followed."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any, Mapping
from urllib.parse import quote

from harness.torrents import Torrent


# What "about:blank" promises for the title (RFC 9457 §4.2.1): the phrases of RFC 9110 §15, of RFC
# 6585 §5 and of RFC 4918 §11.5.
PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int) -> dict[str, Any]:
        """Checks that this is an error of that status in the one form errors have (RFC 9457)."""
        assert self.status == status, (self.status, self.body)
        assert self.headers["Content-Type"] == "application/problem+json", self.headers
        assert self.headers["Cache-Control"] == "no-store", self.headers
        problem = self.json
        assert problem["status"] == status
        assert problem["type"] == "about:blank"
        assert problem["title"] == PHRASES[status]
        assert problem["detail"] and problem["error"] == problem["detail"]
        return problem


class Web:
    """The sidecar of one magnetfs."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connection(self, timeout: float = 30.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        connection = self.connection(timeout)
        try:
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, target: str, timeout: float = 30.0, **headers: str) -> Answer:
        """Keyword arguments are headers, with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", target, named, timeout=timeout)

    def add(self, magnet: str, timeout: float = 60.0, query: str = "") -> Answer:
        return self.get("/add/" + quote(magnet, safe="") + query, timeout=timeout)

    def post_torrent(self, metainfo: bytes, query: str = "") -> Answer:
        headers = {"Content-Type": "application/x-bittorrent"}
        return self.request("POST", "/torrents" + query, headers, metainfo)

    def range(self, target: str, value: str) -> Answer:
        return self.get(target, Range=value)

    def places(self, kind: str) -> int:
        """How many places of a kind are taken: a request keeps its own until it has ended."""
        text = self.get("/metrics").body.decode()
        [line] = [line for line in text.splitlines() if f'slots_used{{kind="{kind}"}}' in line]
        return int(line.rpartition(" ")[2])

    def raw(self, head: str) -> socket.socket:
        """A connection on which the request was sent and nothing was read; the caller closes it."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.sendall(head.replace("\n", "\r\n").encode())
        return connection


def stream_target(torrent: Torrent, path: str) -> str:
    return f"/stream/{torrent.info_hash}/{quote(path)}"
