"""The tests' side of a libtorrent seeder process."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Sequence

from harness import processes, waiting
from harness.torrents import Torrent

UNLIMITED = 0
ANSWER_S = 20.0


class Seeder:
    """A libtorrent peer that has everything of the torrents it was given."""

    def __init__(
        self,
        address: str = "127.0.0.1",
        program: Path = Path(__file__).with_name("seeder_process.py"),
        prefix: Sequence[str] = (),
    ) -> None:
        """prefix: words before the command that starts the process."""
        self.address = address
        self.port = 0
        self._command = [*prefix, sys.executable, str(program)]
        self._added: list[dict[str, Any]] = []
        self._start()
        try:
            self._listen()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def _listen(self) -> None:
        got = self._ask("listen", address=self.address, port=self.port)["port"]
        if got == 0 or self.port not in (0, got):
            raise OSError(f"the seeder listens at {got}, not {self.port}")
        self.port = got

    @property
    def peer(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

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
        self,
        torrent: Torrent,
        upload_limit: int = UNLIMITED,
        announce: str | None = None,
        blob: Path | None = None,
        one_by_one: bool = False,
    ) -> Seeder:
        """Starts to seed; upload_limit in bytes/s, announce a tracker's URL, blob another file with
        the content. one_by_one: it shows a piece at a time (BEP 16). Returns itself."""
        what = {
            "info_hash": torrent.info_hash,
            "torrent": str(torrent.torrent_file),
            "blob": str(blob or torrent.blob),
            "upload_limit": upload_limit,
            "announce": announce,
            "one_by_one": one_by_one,
        }
        self._ask("add", **what)
        self._added.append(what)
        return self

    def leech(self, torrent: Torrent, folder: Path, download_limit: int = UNLIMITED) -> Seeder:
        """Fetches all of it into folder, from whom connect() says, at so many bytes/s. Returns
        itself."""
        self._ask(
            "leech",
            info_hash=torrent.info_hash,
            torrent=str(torrent.torrent_file),
            folder=str(folder),
            download_limit=download_limit,
        )
        return self

    def check(self, torrent: Torrent) -> None:
        """Hashes all of it now: what it is asked for later is sent as it is on the disk then."""
        if not self._ask("check", info_hash=torrent.info_hash)["seeding"]:
            raise OSError(f"{torrent.name}: the data on disk is not what the torrent says")

    def seed_spoilt(
        self, torrent: Torrent, blob: Path, pieces: Sequence[int], upload_limit: int = UNLIMITED
    ) -> Seeder:
        """Seeds a copy of the content, made at blob, in which these pieces are overwritten behind
        its back: it sends garbage for them. Returns itself."""
        shutil.copyfile(torrent.blob, blob)
        self.seed(torrent, upload_limit, blob=blob).check(torrent)
        with open(blob, "r+b") as content:
            for piece in pieces:
                begin = piece * torrent.piece_length
                length = min(torrent.piece_length, torrent.length - begin)
                content.seek(begin)
                content.write(bytes(length))
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
        processes.freeze(self._process)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Its end by SIGKILL: the kernel closes its connections."""
        self.close()

    def come_back(self) -> float:
        """After kill(): seeds the same again at the same address and port. Returns the time, by
        time.monotonic(), just before it listens."""
        self._start()
        for what in self._added:
            self._ask("add", **what)
        began = time.monotonic()
        self._listen()
        return began

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
