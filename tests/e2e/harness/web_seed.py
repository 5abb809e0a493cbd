"""The tests' side of an HTTP server that gives torrents' files (BEP 19)."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness import processes, waiting
from harness.torrents import Torrent

ANSWER_S = 20.0
RANGE = re.compile(r"bytes=(\d+)-(\d+)$")


@dataclass(frozen=True)
class Asked:
    """A request that the server got."""

    target: str  # as it was on the wire
    path: str  # decoded
    first: int  # of the range; 0, -1 when none was asked for
    last: int
    sent: int  # bytes of the body
    status: int  # 0: not answered yet
    at: float  # time.monotonic()


class WebSeed:
    """A web server on 127.0.0.1 with the files of the torrents it was given."""

    def __init__(self) -> None:
        self.port = 0
        self._content: list[dict[str, Any]] = []
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("web_seed_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.port = self._ask("listen", port=self.port)["port"]

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"cmd": command, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        if not waiting.readable(self._process.stdout.fileno(), ANSWER_S):
            raise waiting.DeadlineExceeded(f"the web seed did not answer {command!r}")
        answer = json.loads(self._process.stdout.readline())
        if not answer.pop("ok"):
            raise AssertionError(f"web seed: {command}: {answer['error']}")
        return answer

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(self, torrent: Torrent, folder: str = "/files/") -> str:
        """Serves its files beneath folder and returns the URL for ws or url-list (BEP 19): of the
        file, or of the folder that has the torrent's."""
        content = {}
        for file in torrent.files:
            path = file.path if torrent.is_single else f"{torrent.name}/{file.path}"
            content[folder + path] = [str(torrent.blob), file.offset, file.length]
        self._content.append(content)
        self._ask("serve", content=content)
        return self.url(folder + quote(torrent.name) if torrent.is_single else folder)

    def misbehave(self, **fault: Any) -> None:
        """Until told otherwise (no arguments: well): times=N, for the next N requests only;
        wrong=True, other bytes; status=N, with retry_after=SECONDS or location=URL ({target} in it
        is what was asked for); silent=True, no answer, and who waits for one gets it when that is
        over; cut=BYTES, closes the connection after so much of the body; whole=True, 200 with the
        whole file; rate=BYTES per second and connection; hostile=NAME, one of web_seed_hostile's
        answers."""
        self._ask("misbehave", **fault)

    def _seen(self) -> dict[str, Any]:
        return self._ask("seen")

    def asked(self) -> list[Asked]:
        found = []
        for note in self._seen()["requests"]:
            match = RANGE.match(note["range"] or "")
            first, last = (int(match[1]), int(match[2])) if match else (0, -1)
            found.append(
                Asked(
                    note["target"],
                    note["path"],
                    first,
                    last,
                    note["sent"],
                    note.get("status", 0),
                    note["at"],
                )
            )
        return found

    def sent(self) -> int:
        """Bytes of bodies so far."""
        return sum(asked.sent for asked in self.asked())

    def connections(self) -> int:
        """How many there ever were."""
        return int(self._seen()["connections"])

    def open(self) -> int:
        return int(self._seen()["open"])

    def most_open(self) -> int:
        """How many there were at once."""
        return int(self._seen()["most_open"])

    def freeze(self) -> None:
        """Connections stay, and nothing comes any more."""
        processes.freeze(self._process)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Its end by SIGKILL: the kernel closes its connections."""
        self.close()

    def come_back(self) -> None:
        """After kill(): serves the same again at the same port."""
        self._start()
        for content in self._content:
            self._ask("serve", content=content)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
