"""Peers that stop answering, go away or send garbage: what a reader notices of it."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, field
from typing import Callable

from harness import waiting
from harness.torrents import MIB, Torrent

from readers import PLAYER_BLOCK, Reader, Sweep, sweep
from step import Samples, Step, join
from streaming import big, same

FAULT_LINK_MBIT = 32.0
BACK_LIMIT_S = 60.0  # bound on what is measured after a peer's return
GOES_ON_S = 2.0  # and how long reading goes on from there
RETRY_S = 0.02  # a program that reads again after an error
BAD_EACH = 4  # of so many pieces one is bad


class Checked:
    """A reader whose bytes are compared with the torrent's."""

    def __init__(self, reader: Reader, torrent: Torrent) -> None:
        self._reader, self._torrent = reader, torrent

    def at(self, offset: int, length: int) -> bytes:
        data = self._reader.at(offset, length)
        same(self._torrent, offset, data)
        return data

    def take(self, view: memoryview, offset: int) -> int:
        got = self._reader.take(view, offset)
        same(self._torrent, offset, bytes(view[:got]))
        return got

    def close(self) -> None:
        self._reader.close()


# -- frozen ----------------------------------------------------------------------------------------


def run_frozen(step: Step) -> Samples:
    torrent = big(step)
    swarm = step.swarm([torrent], FAULT_LINK_MBIT, seeders=2)
    subject = step.subject()
    subject.add(torrent, swarm.magnet(torrent))
    reader = Checked(step.reader(subject, torrent), torrent)
    began = time.monotonic()
    frozen_at: float | None = None
    share = 0.0

    def note(now: float, _total: int) -> None:
        nonlocal frozen_at, share
        if frozen_at is None and now - began >= step.plan.freeze_after_s:
            sent = [one.sent(torrent) for one in swarm.seeders]
            share = 100.0 * sent[0] / sum(sent)
            swarm.seeders[0].freeze()
            frozen_at = time.monotonic()

    until = began + step.plan.freeze_after_s + step.plan.freeze_s
    got = sweep(reader, 0, torrent.length, until, each=note)
    assert frozen_at is not None
    return {
        "before": got.worst_gap(got.reads[0][0], frozen_at),
        "after": got.worst_gap(frozen_at, until),
        "rate": got.rate(frozen_at) * 8 / 1e6,
        "share": share,
    }


# -- gone ------------------------------------------------------------------------------------------


@dataclass
class Attempts:
    """What a program got that reads on, and again after each EIO: the ends of its reads."""

    good: list[float] = field(default_factory=list)
    failed: list[tuple[float, float]] = field(default_factory=list)  # and what each took
    stop: bool = False
    problem: BaseException | None = None  # why reading ended

    def read(self, reader: Reader, length: int) -> None:
        view = memoryview(bytearray(PLAYER_BLOCK))
        offset = 0
        while offset < length and not self.stop:
            began = time.monotonic()
            try:
                offset += reader.take(view[: min(PLAYER_BLOCK, length - offset)], offset)
                self.good.append(time.monotonic())
            except OSError as problem:
                if problem.errno != errno.EIO:
                    raise
                now = time.monotonic()
                self.failed.append((now, now - began))
                time.sleep(RETRY_S)

    def since(self, when: float) -> Callable[[], bool]:
        return lambda: bool(self.good) and self.good[-1] > when


def run_gone(step: Step) -> Samples:
    plan = step.plan
    found: Samples = {}
    torrent = big(step)
    swarm = step.swarm([torrent], FAULT_LINK_MBIT)
    (peer,) = swarm.seeders

    def absence(
        attempts: Attempts,
        seconds: float,
        go: Callable[[], object] = peer.kill,
        come_back: Callable[[], float] = peer.come_back,
    ) -> tuple[float, float]:
        """When it went and when it was there again; returns when reading goes on."""
        time.sleep(plan.gone_after_s)
        if attempts.problem or not attempts.good:
            raise attempts.problem or OSError(f"nothing was read in {plan.gone_after_s:g} s")
        go()
        went = time.monotonic()
        time.sleep(seconds)
        if attempts.good[-1] > went + seconds / 2:
            raise OSError("it was read on without a peer")
        back = come_back()
        waiting.until("a byte after the return", attempts.since(back), BACK_LIMIT_S)
        time.sleep(GOES_ON_S)
        return went, back

    def reading(*options: str) -> tuple[Attempts, Callable[[], None]]:
        subject = step.subject(*options)
        subject.add(torrent, swarm.magnet(torrent))
        reader = Checked(subject.reader(torrent), torrent)
        attempts = Attempts()

        def read() -> None:
            try:
                attempts.read(reader, torrent.length)
            except BaseException as problem:
                attempts.problem = problem

        thread = step.thread(read)

        def end() -> None:
            attempts.stop = True
            join([thread], [attempts.problem] if attempts.problem else [])
            reader.close()
            subject.stop()  # what it wants ahead would take the link from the next one
            swarm.settled(torrent)

        return attempts, end

    attempts, end = reading()
    absences = {"short": (plan.gone_short_s,), "long": (plan.gone_long_s,)}
    if step.bench.network.shapes:
        absences["cut"] = (plan.gone_long_s, swarm.cut, swarm.mend)
    for key, how in absences.items():
        _, back = absence(attempts, *how)
        found[key] = next(at for at in attempts.good if at > back) - back
    end()
    if attempts.failed:
        raise OSError(f"{len(attempts.failed)} reads failed without a time-out")
    if step.kind != "mount":  # over HTTP an error is the end of the answer
        return found

    attempts, end = reading("--read-timeout", str(plan.gone_timeout_s))
    went, back = absence(attempts, plan.gone_timeout_s + plan.gone_eio_s)
    end()
    if not attempts.failed:
        raise OSError("no read timed out")
    first = next(at for at in attempts.good if at > back)
    found["eio"] = attempts.failed[0][0] - went
    found["at_once"] = max((took for at, took in attempts.failed[1:] if at < back), default=0.0) * 1e3
    found["after_eio"] = first - back
    found["late"] = sum(at > first for at, _ in attempts.failed)
    return found


# -- bad -------------------------------------------------------------------------------------------


def run_bad(step: Step) -> Samples:
    torrent = step.bench.torrents.single("spoilt.bin", step.plan.bad, seed=40, piece_length=MIB)
    bad = range(1, torrent.length // MIB, BAD_EACH)

    def whole(pieces: range) -> tuple[Sweep, int]:
        """Read in order from two seeders, one of which has these pieces wrong; and what both sent."""
        swarm = step.spoilt_swarm(torrent, FAULT_LINK_MBIT, pieces)
        subject = step.subject()
        subject.add(torrent, swarm.magnet(torrent))
        reader = Checked(step.reader(subject, torrent), torrent)
        got = sweep(reader, 0, torrent.length, time.monotonic() + BACK_LIMIT_S * 4)
        return got, swarm.settled(torrent)

    right, _ = whole(range(0))
    wrong, sent = whole(bad)
    lost = wrong.took - right.took
    vain = (sent - torrent.length) / torrent.piece_length
    return {
        "good": right.took,
        "bad": wrong.took,
        "gap": wrong.worst_gap(wrong.reads[0][0], wrong.reads[-1][0]),
        "vain": vain,
        "lost": lost,
        "each": lost / max(1.0, vain),
    }
