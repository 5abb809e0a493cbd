"""The tests' side of a peer that gives garbage, or no hashes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable

from harness import processes, waiting
from harness.torrents import Torrent

ANSWER_S = 20.0


class RoguePeer:
    """A peer that says what it has of a torrent, unchokes whoever comes, and lies.

    It is a process of its own: a flood from the test's own threads would be a trickle.
    """

    def __init__(
        self,
        torrent: Torrent,
        address: str = "127.0.0.1",
        *,
        floods: bool = False,
        repeats: bool = False,
        garbage: float = 1.0,
        lies: int | None = None,
        gives: int | None = None,
        rejects: bool = False,
        rejects_hashes: bool = False,
        rate: int = 0,
        away: float = 0.0,
        fast: bool = True,
        has: range | None = None,
        shows: bool = False,
    ) -> None:
        """floods: sends blocks that nobody has asked for, as fast as they are taken. repeats: sends
        the first block of each piece twice. garbage: the part of all blocks it sends that is wrong.
        lies: so many wrong ones at most; it is honest from then on. gives: so many blocks at most
        that it is asked for; from then on it does not answer. rejects: it does, and rejects each
        (BEP 6). rejects_hashes: answers requests for hashes (BEP 52) so; else it does not answer
        them. rate: bytes/s to each that is connected, 0: as fast as it goes; with it, what is
        cancelled is not sent, and no word of that said.
        away: seconds until it answers a handshake, as if it were so far away. fast: it knows BEP 6,
        by which it would have to. has: the pieces that it says it has, None: all.
        shows: it begins with none, shows one after the other (BEP 16), the next when the one before
        was given, and chokes who says that it has nothing of interest, for good (rtorrent: until
        its next round, which is each 30 s)."""
        options = {
            "address": address,
            "info_hash": torrent.info_hash,
            "length": torrent.length,
            "piece_length": torrent.piece_length,
            "blob": str(torrent.blob),
            "floods": floods,
            "repeats": repeats,
            "garbage": garbage,
            "lies": lies,
            "gives": gives,
            "rejects": rejects,
            "rejects_hashes": rejects_hashes,
            "rate": rate,
            "away": away,
            "fast": fast,
            "shows": shows,
            "has": [has.start, has.stop] if has is not None else None,
        }
        program = Path(__file__).with_name("rogue_process.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.address = address
        try:
            self.port = int(self._line())
        except BaseException:
            self.close()
            raise

    @property
    def peer(self) -> str:
        return f"{self.address}:{self.port}"

    def _line(self) -> bytes:
        assert self._process.stdout
        if not waiting.readable(self._process.stdout.fileno(), ANSWER_S):
            raise waiting.DeadlineExceeded("the rogue peer says nothing")
        return self._process.stdout.readline()

    def _ask(self, line: str) -> dict[str, int]:
        assert self._process.stdin
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return dict(json.loads(self._line()))

    def done(self) -> dict[str, int]:
        """So far: connections (handshakes), open now, blocks asked for, those cancelled
        in time, garbage blocks, flooded ones, hash_requests, choked for want of interest."""
        return self._ask("")

    def asked(self) -> dict[int, int]:
        """So far: how many blocks it was asked for, by piece; those that came first come first."""
        return {int(piece): n for piece, n in self._ask("asked").items()}

    def limit(self, rate: int) -> None:
        """Another rate than it began with, from the next block on."""
        self._ask(str(rate))

    def give(self) -> None:
        """All that it is asked for, from here on."""
        self._ask("give")

    def freeze(self) -> None:
        """It stays connected and says nothing any more; nor is it to be asked what it did."""
        processes.freeze(self._process)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


Rogues = Callable[..., RoguePeer]  # starts one
