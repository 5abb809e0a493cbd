"""The tests' side of a libtorrent seeder process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import waiting
from harness.torrents import Torrent

UNLIMITED = 0
ANSWER_S = 20.0


class Seeder:
    """A libtorrent peer on 127.0.0.1 that has everything of the torrents it was given."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("seeder_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.port: int = self._ask("hello")["port"]
        except BaseException:
            self.close()
            raise

    @property
    def peer(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"cmd": command, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        if not waiting.readable(self._process.stdout.fileno(), ANSWER_S):
            raise waiting.DeadlineExceeded(f"the seeder did not answer {command!r}")
        answer = json.loads(self._process.stdout.readline())
        if not answer.pop("ok"):
            raise AssertionError(f"seeder: {command}: {answer['error']}")
        return answer

    def seed(
        self, torrent: Torrent, upload_limit: int = UNLIMITED, announce: str | None = None
    ) -> Seeder:
        """Starts to seed; upload_limit in bytes/s, announce a tracker's URL. Returns itself."""
        self._ask(
            "add",
            info_hash=torrent.info_hash,
            torrent=str(torrent.torrent_file),
            blob=str(torrent.blob),
            upload_limit=upload_limit,
            announce=announce,
        )
        return self

    def limit(self, torrent: Torrent, upload_limit: int) -> None:
        self._ask("limit", info_hash=torrent.info_hash, upload_limit=upload_limit)

    def announce(self, torrent: Torrent) -> None:
        """Tells its trackers again: a lost datagram is repeated only after 15 s."""
        self._ask("announce", info_hash=torrent.info_hash)

    def connect(self, torrent: Torrent, port: int) -> None:
        self._ask("connect", info_hash=torrent.info_hash, port=port)

    def stats(self, torrent: Torrent) -> dict[str, Any]:
        return self._ask("stats", info_hash=torrent.info_hash)

    def sent(self, torrent: Torrent) -> int:
        """Payload bytes this seeder has sent for the torrent so far."""
        return int(self.stats(torrent)["sent"])

    def freeze(self) -> None:
        """The peer stays connected and says nothing any more."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
