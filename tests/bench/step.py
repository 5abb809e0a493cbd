"""One run of one scenario with one subject, and what all of them share."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Sequence

from harness.torrents import MIB, Torrent, TorrentMaker

from process import Usage
from readers import Reader
from subjects import BEFORE, KINDS, Place, Subject
from swarm import Network, Swarm

Samples = dict[str, Any]  # figure -> a number or a list of them


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    runs: int = 5
    size: int = 1 << 30
    seeks: int = 14
    jump_play_s: float = 10.0
    jumps: int = 3
    play_s: float = 60.0
    player_s: float = 20.0
    slices_s: float = 30.0
    two_s: float = 15.0
    freeze_after_s: float = 5.0
    freeze_s: float = 15.0
    gone_after_s: float = 3.0
    gone_short_s: float = 3.0
    gone_long_s: float = 15.0
    gone_timeout_s: int = 5  # of reads
    gone_eio_s: float = 3.0  # absent for so long after the time-out
    bad: int = 32 * MIB
    parked: int = 10_000
    healthy: int = 256 * MIB
    pieces_few: int = 1_000
    pieces_many: int = 100_000
    piece_reads: int = 500
    torrents: int = 200
    torrents_s: float = 10.0
    hot: int = 512 * MIB
    library: int = 10_000
    idle_s: float = 10.0
    awake: int = 100
    wakes: int = 10
    evict: int = 1 << 30

    @staticmethod
    def quick() -> Plan:
        return Plan(
            runs=1,
            size=96 * MIB,
            seeks=3,
            jump_play_s=4.0,
            jumps=1,
            play_s=5.0,
            player_s=5.0,
            slices_s=6.0,
            two_s=4.0,
            freeze_after_s=2.0,
            freeze_s=5.0,
            gone_after_s=1.0,
            gone_short_s=1.0,
            gone_long_s=3.0,
            gone_timeout_s=1,
            gone_eio_s=1.0,
            bad=8 * MIB,
            parked=500,
            healthy=32 * MIB,
            pieces_few=200,
            pieces_many=10_000,
            piece_reads=50,
            torrents=20,
            torrents_s=2.0,
            hot=64 * MIB,
            library=300,
            idle_s=2.0,
            awake=10,
            wakes=3,
            evict=160 * MIB,
        )


@dataclass
class Bench:
    """What all steps share."""

    plan: Plan
    network: Network
    folder: Path
    programs: Path
    before: Path | None = None  # another build's
    torrents: TorrentMaker = field(init=False)

    def __post_init__(self) -> None:
        self.torrents = TorrentMaker(self.folder / "content")


class Step:
    """One run of one scenario with one subject; a context that ends what was begun in it."""

    def __init__(self, bench: Bench, kind: str, number: int, options: Sequence[str] = ()) -> None:
        self.bench, self.plan, self.kind, self.number = bench, bench.plan, kind, number
        self._options = options
        self.programs = bench.programs
        if kind == BEFORE:
            assert bench.before
            self.kind, self.programs = "mount", bench.before
        self.processes: dict[str, Usage] = {}
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="step-", dir=bench.folder))

    def __enter__(self) -> Step:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stack.close()
        finally:
            try:
                self.folder.rmdir()
            except OSError:  # something is still mounted in it; the run's end reports that
                pass

    def swarm(
        self, torrents: Sequence[Torrent], mbit: float | None, seeders: int = 1, check: bool = True
    ) -> Swarm:
        """Seeders of these torrents behind a link of that rate."""
        swarm = Swarm(self.bench.network, seeders)
        self._stack.callback(swarm.close)
        swarm.seed(torrents, check)
        swarm.limit(mbit)
        return swarm

    def spoilt_swarm(self, torrent: Torrent, mbit: float, pieces: Sequence[int]) -> Swarm:
        """Two seeders of it, the second of which sends garbage for these pieces."""
        swarm = Swarm(self.bench.network, 2)
        copy = self.folder / f"spoilt-{id(swarm)}.bin"
        self._stack.callback(copy.unlink)
        self._stack.callback(swarm.close)
        swarm.seed_spoilt(torrent, copy, pieces)
        swarm.limit(mbit)
        return swarm

    def subject(self, *options: str) -> Any:
        place = Place(self.bench.network, self.folder, self.programs)
        subject = KINDS[self.kind](place, *options, *self._options)
        self._stack.enter_context(subject)
        self._stack.callback(self._look, subject)
        return subject

    def _look(self, subject: Subject) -> None:
        try:
            self.processes = subject.usage()
        except (OSError, LookupError):  # it has ended; the step failed for that reason already
            pass

    def reader(self, subject: Subject, torrent: Torrent, path: str | None = None) -> Reader:
        reader = subject.reader(torrent, path)
        self._stack.callback(reader.close)
        return reader

    def thread(self, action: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=action, daemon=True)
        thread.start()
        return thread


def join(threads: Sequence[threading.Thread], problems: Sequence[BaseException]) -> None:
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
