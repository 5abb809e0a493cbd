"""One raw request, its answer as it came, and what RFC 9110 says that it must be."""

from __future__ import annotations

import calendar
import email.message
import email.parser
import re
import socket
import time
from dataclasses import dataclass, field
from typing import Mapping

from harness.torrents import Torrent
from harness.web import Web, stream_target

DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
# What a 304 has of what the 200 would have had (RFC 9110 section 15.4.5).
OF_NOT_MODIFIED = ("Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary")


@dataclass
class RawAnswer:
    status: int
    headers: email.message.Message
    body: bytes


def exchange(web: Web, head: str) -> RawAnswer:
    """Sends the head as it is, and reads until the connection is closed."""
    with web.raw(head) as connection:
        connection.settimeout(20)
        received = bytearray()
        while got := connection.recv(1 << 18):
            received += got
    start, _, body = bytes(received).partition(b"\r\n\r\n")
    line, _, fields = start.decode("latin-1").partition("\r\n")
    assert line.startswith("HTTP/1.1 "), line
    return RawAnswer(int(line.split()[1]), email.parser.HeaderParser().parsestr(fields), body)


def part_of_body(connection: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length and (more := connection.recv(length - len(got))):
        got += more
    return got


@dataclass(frozen=True)
class Case:
    """A request for a file and its answer. In the values of fields {etag}, {date} and the like
    stand for what the file has, see facts()."""

    section: str  # of RFC 9110
    why: str
    fields: tuple[tuple[str, str], ...]
    status: int
    parts: tuple[tuple[int, int], ...] = ()  # of a 206: first and last byte of each
    method: str = "GET"
    file: str = "film.mp4"

    @property
    def name(self) -> str:
        return f"{self.section}: {self.why}: {self.method} {self.file} {dict(self.fields)}"


@dataclass
class Subject:
    """A file, all of which the swarm has."""

    web: Web
    torrent: Torrent
    whole: dict[str, RawAnswer] = field(default_factory=dict)

    def target(self, file: str) -> str:
        return stream_target(self.torrent, file)

    def ask(self, method: str, file: str, fields: tuple[tuple[str, str], ...]) -> RawAnswer:
        lines = [f"{method} {self.target(file)} HTTP/1.1", f"Host: 127.0.0.1:{self.web.port}"]
        lines += [f"{name}: {value}" for name, value in fields]
        return exchange(self.web, "\n".join([*lines, "Connection: close", "", ""]))

    def known(self, file: str) -> RawAnswer:
        """What it answers without any condition."""
        if file not in self.whole:
            self.whole[file] = self.ask("GET", file, ())
        return self.whole[file]

    def check(self, case: Case, facts: Mapping[str, str]) -> None:
        fields = tuple((name, value.format(**facts)) for name, value in case.fields)
        answer = self.ask(case.method, case.file, fields)
        assert answer.status == case.status, f"it is {answer.status}"
        assert DATE.fullmatch(answer.headers["Date"]), "6.6.1: an origin server with a clock"
        for name in set(answer.headers.keys()):
            assert len(answer.headers.get_all(name) or ()) == 1, f"5.3: {name} comes twice"
        getattr(self, f"_check_{case.status}")(case, answer)
        if case.method == "HEAD":
            assert answer.body == b"", "9.3.2: no content"

    def _same_metadata(self, case: Case, answer: RawAnswer) -> None:
        whole = self.known(case.file)
        names = ("ETag", "Last-Modified", "Accept-Ranges", "Cache-Control", "X-Accel-Buffering")
        for name in (*names, "Content-Disposition"):
            assert answer.headers[name] == whole.headers[name] is not None, name
        assert answer.headers["ETag"].startswith('"'), "8.8.3: strong"

    def _check_200(self, case: Case, answer: RawAnswer) -> None:
        length = self.torrent.file(case.file).length
        assert answer.headers["Content-Length"] == str(length), "8.6"
        assert "Content-Range" not in answer.headers, "14.4: means nothing in a 200"
        assert answer.headers["Content-Type"] == self.known(case.file).headers["Content-Type"]
        if case.method == "GET":
            assert answer.body == self.torrent.read(case.file)
        self._same_metadata(case, answer)

    def _bytes(self, case: Case, first: int, last: int) -> bytes:
        return self.torrent.read(case.file, first, last - first + 1)

    def _check_206(self, case: Case, answer: RawAnswer) -> None:
        length = self.torrent.file(case.file).length
        assert answer.headers["Content-Length"] == str(len(answer.body)), "8.6"
        if len(case.parts) == 1:
            first, last = case.parts[0]
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{length}", "14.4"
            assert answer.headers["Content-Type"] == self.known(case.file).headers["Content-Type"]
            assert answer.body == self._bytes(case, first, last)
        else:
            self._check_multipart(case, answer)
        self._same_metadata(case, answer)

    def _check_multipart(self, case: Case, answer: RawAnswer) -> None:
        length = self.torrent.file(case.file).length
        assert "Content-Range" not in answer.headers, "15.3.7.2: only in the parts"
        of_type = re.fullmatch(
            r'multipart/byteranges; boundary="?([\w.+-]{1,70})"?', answer.headers["Content-Type"]
        )
        assert of_type, answer.headers["Content-Type"]
        line = b"--" + of_type[1].encode()
        rest = answer.body
        for number, (first, last) in enumerate(case.parts):
            assert rest.startswith((b"\r\n" if number else b"") + line + b"\r\n"), rest[:80]
            head, _, rest = rest.partition(b"\r\n\r\n")
            fields = email.parser.BytesHeaderParser().parsebytes(head.partition(line + b"\r\n")[2])
            assert fields["Content-Range"] == f"bytes {first}-{last}/{length}", "15.3.7.2"
            assert fields["Content-Type"] == self.known(case.file).headers["Content-Type"]
            assert rest[: last - first + 1] == self._bytes(case, first, last)
            rest = rest[last - first + 1 :]
        assert rest == b"\r\n" + line + b"--\r\n", rest[:80]

    def _check_304(self, case: Case, answer: RawAnswer) -> None:
        whole = self.known(case.file)
        assert answer.body == b"", "15.4.5: no content"
        if "Content-Length" in answer.headers:
            assert answer.headers["Content-Length"] == whole.headers["Content-Length"], "8.6"
        for name in OF_NOT_MODIFIED:
            assert (name in answer.headers) == (name in whole.headers), f"15.4.5: {name}"
            if name != "Date":
                assert answer.headers[name] == whole.headers[name], f"15.4.5: {name}"
        assert "Content-Type" not in answer.headers, "15.4.5: nothing that guides no cache"

    def _check_412(self, case: Case, answer: RawAnswer) -> None:
        self._problem(case, answer)
        assert answer.headers["ETag"] == self.known(case.file).headers["ETag"]

    def _check_416(self, case: Case, answer: RawAnswer) -> None:
        self._problem(case, answer)
        length = self.torrent.file(case.file).length
        assert answer.headers["Content-Range"] == f"bytes */{length}", "14.4"

    def _check_404(self, case: Case, answer: RawAnswer) -> None:
        self._problem(case, answer)

    def _problem(self, case: Case, answer: RawAnswer) -> None:
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        if case.method == "GET":
            assert answer.headers["Content-Length"] == str(len(answer.body)) != "0"


def facts(subject: Subject, file: str) -> dict[str, str]:
    """What stands in the fields of cases: the file's tag and dates about that of its last change,
    a second or so apart."""
    known = subject.known(file).headers
    at = calendar.timegm(time.strptime(known["Last-Modified"], "%a, %d %b %Y %H:%M:%S GMT"))

    def write(form: str, shift: int = 0) -> str:
        return time.strftime(form, time.gmtime(at + shift))

    imf, rfc850 = "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT"
    day = time.gmtime(at).tm_mday
    return {
        "etag": known["ETag"],
        "bare": known["ETag"].strip('"'),
        "upper": known["ETag"].upper(),
        "date": write(imf),
        "later": write(imf, 1),
        "older": write(imf, -1),
        "rfc850": write(rfc850),
        "rfc850_older": write(rfc850, -1),
        "asctime": write(f"%a %b {day:2d} %H:%M:%S %Y"),
        "local": write("%a, %d %b %Y %H:%M:%S +0000"),
        "number": str(at),
        "zone": write("%a, %d %b %Y %H:%M:%S UTC"),
        "iso": write("%Y-%m-%dT%H:%M:%SZ"),
    }
