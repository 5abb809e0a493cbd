"""The swarm's peers, on the world's far side: libtorrent in a few processes, and Transmission."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path

from harness import waiting
from harness.torrents import Torrent
from harness.transmission import Transmission

from wan import film
from wan.profiles import TRANSMISSION, Cycle, Peer, Profile
from wan.world import World

PROGRAM = Path(__file__).with_name("seeders_process.py")
PORT = 7001
PROCESSES = 2  # for those that need none of their own
READY_S = 60.0
VERIFIED_S = 120.0
LOOK_S = 0.1

Placed = tuple[str, Peer]  # with its address


class Sessions:
    """A process with the sessions of some peers. They are stopped all at once."""

    def __init__(self, world: World, peers: list[Placed], stops: Cycle | None) -> None:
        self._peers = peers
        self._stops = stops
        self._stopped = False
        self._process = subprocess.Popen(
            [*world.seed_command(), sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self, torrent: Torrent, tracker: str) -> None:
        """Returns at once; wait_ready() follows."""
        self._tell(
            json.dumps(
                {
                    "torrent": str(torrent.torrent_file),
                    "blob": str(torrent.blob),
                    "tracker": tracker,
                    "peers": [
                        {
                            "address": address,
                            "port": PORT,
                            "partial": peer.partial,
                            "chokes": peer.chokes and astuple(peer.chokes),
                            "closes": peer.closes and astuple(peer.closes),
                        }
                        for address, peer in self._peers
                    ],
                }
            )
        )

    def _tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait_ready(self) -> None:
        assert self._process.stdout
        if not waiting.readable(self._process.stdout.fileno(), READY_S):
            raise waiting.DeadlineExceeded("the seeders are not ready")
        if not self._process.stdout.readline():
            raise OSError("the seeders' process ended")

    def begin(self, ran_s: float) -> None:
        self._tell(f"begin {ran_s:g}")

    def look(self, at_s: float) -> None:
        """Stops it, or lets it go on, as its cycle says."""
        stopped = bool(self._stops and not self._stops.is_well(at_s))
        if stopped != self._stopped:
            self._process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)
            self._stopped = stopped

    def sent(self) -> int:
        """Bytes of pieces that its sessions have sent. It goes on if it was stopped."""
        assert self._process.stdout
        self._process.send_signal(signal.SIGCONT)
        self._tell("sent")
        return int(self._process.stdout.readline())

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass


class Seeders:
    """All peers of a profile with one torrent. Those of closes, chokes and stops are well until
    begin()."""

    def __init__(
        self, world: World, profile: Profile, torrent: Torrent, tracker: str, folder: Path
    ) -> None:
        self._stack = ExitStack()
        self._sessions: list[Sessions] = []
        self._ended = threading.Event()
        self._watching: threading.Thread | None = None
        self._untold = any(peer.client == TRANSMISSION for peer in profile.peers)
        self.peers: list[str] = []
        try:
            self._start(world, profile, torrent, tracker, folder)
        except BaseException:
            self.close()
            raise

    def _start(
        self, world: World, profile: Profile, torrent: Torrent, tracker: str, folder: Path
    ) -> None:
        placed = list(zip(world.addresses, profile.peers))
        ours = [(a, p) for a, p in placed if p.client != TRANSMISSION]
        shared = [(a, p) for a, p in ours if not p.stops]
        groups = [shared[number::PROCESSES] for number in range(PROCESSES)]
        for group in [*filter(None, groups), *([(a, p)] for a, p in ours if p.stops)]:
            sessions = Sessions(world, group, group[0][1].stops)
            self._stack.callback(sessions.close)
            self._sessions.append(sessions)
            sessions.start(torrent, tracker)
        self.peers += [f"{address}:{PORT}" for address, _ in ours]
        others = []
        for address in [a for a, p in placed if p.client == TRANSMISSION]:
            other = Transmission(folder / address, address, world.seed_command())
            self._stack.callback(other.close)
            other.add(film.announced(torrent, tracker), torrent.blob.parent)
            self.peers.append(other.peer)
            others.append(other)
        for sessions in self._sessions:
            sessions.wait_ready()
        for other in others:
            waiting.until(
                "transmission-daemon has verified the film",
                lambda: other.seeds(torrent),
                VERIFIED_S,
            )

    def begin(self, ran_s: float) -> None:
        """From now on peers are ill at times, as if that had gone on for so long."""
        for sessions in self._sessions:
            sessions.begin(ran_s)
        began = time.monotonic() - ran_s
        self._watching = threading.Thread(target=self._watch, args=(began,), daemon=True)
        self._watching.start()
        self._stack.callback(self._watching.join, 5)
        self._stack.callback(self._ended.set)

    def _watch(self, began: float) -> None:
        while not self._ended.wait(LOOK_S):
            for sessions in self._sessions:
                sessions.look(time.monotonic() - began)

    def sent(self) -> int | None:
        """Bytes of pieces that all have sent; None where some don't say. Nobody is stopped from now
        on."""
        self._ended.set()
        if self._watching:
            self._watching.join()
        if self._untold:
            return None
        return sum(sessions.sent() for sessions in self._sessions)

    @property
    def alive(self) -> bool:
        return all(sessions.alive for sessions in self._sessions)

    def close(self) -> None:
        self._stack.close()
