"""One file of one torrent over a link: how soon, how fast, and what a player sees of it."""

from __future__ import annotations

import random
import time

from harness.torrents import KIB, MIB, Torrent

from readers import play, read_on, sweep
from step import Samples, Step, join
from subjects import OURS, Plain
from swarm import BURST_BYTES

SEEK_BYTES = 64 * KIB
SEEK_LINK_MBIT = 16.0
FAR_PIECES = 24  # a new place is at least so far from all that was touched
PLAY_RATE = 6.1e6 / 8  # bytes/s
PLAY_LINK_MBIT = 8.0
PLAY_PIECE = 64 * KIB  # what torrents of some 45 MB have
JUMP_RATE = 6.0e6 / 8
FRAME, SEGMENT = 1514, 1448  # bytes of a full frame and of the payload in it (TCP with timestamps)
SEED = 20240229


def big(step: Step) -> Torrent:
    return step.bench.torrents.single("big.bin", step.plan.size, seed=1, piece_length=MIB)


def film(step: Step) -> Torrent:
    length = round(PLAY_RATE * step.plan.play_s)
    return step.bench.torrents.single("film.mp4", length, seed=2, piece_length=PLAY_PIECE)


def same(torrent: Torrent, offset: int, data: bytes) -> None:
    """A fast wrong answer is none."""
    if data != torrent.read(torrent.files[0].path, offset, len(data)):
        raise OSError(f"wrong bytes at {offset}")


# -- open and whole --------------------------------------------------------------------------------


def run_open(step: Step) -> Samples:
    torrent = big(step)
    swarm = step.swarm([torrent], None)
    subject = step.subject()
    if isinstance(subject, Plain):
        return {"first": subject.download(swarm.magnet(torrent))["first_s"]}
    began = time.monotonic()
    subject.add(torrent, swarm.magnet(torrent))
    known = time.monotonic() - began
    data = step.reader(subject, torrent).at(0, SEEK_BYTES)
    first = time.monotonic() - began
    same(torrent, 0, data)
    return {"first": first, "known": known}


def run_whole(step: Step) -> Samples:
    torrent = big(step)
    swarm = step.swarm([torrent], None)
    subject = step.subject()
    if isinstance(subject, Plain):
        got = subject.download(swarm.magnet(torrent))
        took, cpu, peak = got["done_s"], got["cpu_s"], got["peak_rss"]
    else:
        before = subject.usage()
        began = time.monotonic()
        subject.add(torrent, swarm.magnet(torrent))
        read_on(step.reader(subject, torrent), torrent.length)
        took = time.monotonic() - began
        after = subject.usage()
        cpu = sum(
            used.cpu_s - before[name].cpu_s if name in before else used.cpu_s
            for name, used in after.items()
        )
        peak = next(iter(after.values())).peak_rss if after else 0
    sent = swarm.settled(torrent)
    return {
        "rate": torrent.length / took / 1e6,
        "cpu": cpu,
        "peak": peak / 1e6,
        "waste": 100.0 * (sent / torrent.length - 1),
    }


# -- seek and jump ---------------------------------------------------------------------------------


class FarPlaces:
    """Places far from all that was touched; the same ones for each subject of a run."""

    def __init__(self, torrent: Torrent, number: int) -> None:
        self._random = random.Random(SEED + number)
        self._torrent = torrent
        self._far = min(FAR_PIECES * torrent.piece_length, torrent.length // 32)
        self._touched: list[tuple[int, int]] = []

    def touch(self, offset: int, length: int) -> None:
        self._touched.append((offset, offset + length))

    def next(self) -> int:
        for _ in range(10_000):
            offset = self._random.randrange(0, self._torrent.length - SEEK_BYTES)
            if all(offset + self._far < a or offset > b + self._far for a, b in self._touched):
                self.touch(offset, SEEK_BYTES)
                return offset
        raise ValueError("the file is too small for so many places")


def pieces_of(torrent: Torrent, offset: int, length: int) -> int:
    return (offset + length - 1) // torrent.piece_length - offset // torrent.piece_length + 1


def run_seek(step: Step) -> Samples:
    torrent = big(step)
    swarm = step.swarm([torrent], SEEK_LINK_MBIT)
    subject = step.subject()
    subject.add(torrent, swarm.magnet(torrent))
    reader = step.reader(subject, torrent)
    reader.at(0, SEEK_BYTES)
    places = FarPlaces(torrent, step.number)
    places.touch(0, SEEK_BYTES)
    took, one, two = [], [], []
    for _ in range(step.plan.seeks):
        if step.kind in OURS:  # others never rest
            swarm.settled(torrent)
        offset = places.next()
        began = time.monotonic()
        data = reader.at(offset, SEEK_BYTES)
        took.append(time.monotonic() - began)
        same(torrent, offset, data)
        (one if pieces_of(torrent, offset, SEEK_BYTES) == 1 else two).append(took[-1])
    found: Samples = {"took": took, "worst": max(took)}
    if two:
        found["straddle"] = two
    if step.kind in OURS:
        touched = sum(pieces_of(torrent, a, b - a) for a, b in places._touched)
        found["waste"] = 100.0 * (swarm.settled(torrent) / (touched * torrent.piece_length) - 1)
    return found


def run_jump(step: Step) -> Samples:
    torrent = big(step)
    swarm = step.swarm([torrent], SEEK_LINK_MBIT)
    subject = step.subject()
    subject.add(torrent, swarm.magnet(torrent))
    places = FarPlaces(torrent, step.number)
    span = round(JUMP_RATE * step.plan.jump_play_s)
    took, vain = [], []
    offset = 0
    view = memoryview(bytearray(SEEK_BYTES))
    for _ in range(step.plan.jumps):
        reader = subject.reader(torrent)
        try:
            # What is ahead of the player when it jumps counts as touched.
            places.touch(offset, span + 32 * MIB)
            play(reader, offset, JUMP_RATE, span, time.monotonic())
            target = places.next()
            sent = swarm.sent(torrent)
            began = time.monotonic()
            reader.take(view, target)
            took.append(time.monotonic() - began)
            same(torrent, target, bytes(view))
        finally:
            reader.close()
        needed = pieces_of(torrent, target, SEEK_BYTES) * torrent.piece_length
        if step.kind in OURS:
            vain.append((swarm.settled(torrent) - sent - needed) / 1e6)
        offset = places.next() // torrent.piece_length * torrent.piece_length
        offset = min(offset, torrent.length - span - 1)
    return {"took": took, "worst": max(took), **({"vain": vain} if vain else {})}


# -- playing ---------------------------------------------------------------------------------------


def play_floor_s(play_s: float) -> float:
    """What the link takes for the pieces of the tail and of the first second, in frames of
    Ethernet and less what it lets pass at once."""
    length = round(PLAY_RATE * play_s)
    tail = length - (length - SEEK_BYTES) // PLAY_PIECE * PLAY_PIECE
    head = -(-round(PLAY_RATE) // PLAY_PIECE) * PLAY_PIECE
    return ((tail + head) * FRAME / SEGMENT - BURST_BYTES) * 8 / 1e6 / PLAY_LINK_MBIT


def run_play(step: Step) -> Samples:
    movie = film(step)
    swarm = step.swarm([movie], PLAY_LINK_MBIT)
    subject = step.subject()
    began = time.monotonic()
    subject.add(movie, swarm.magnet(movie))
    reader = step.reader(subject, movie)
    tail = movie.length - SEEK_BYTES
    same(movie, tail, reader.at(tail, SEEK_BYTES))
    ended = time.monotonic() - began
    got = play(reader, 0, PLAY_RATE, movie.length, began)
    return {
        "tail": ended,
        "head": got.first_s,
        "start": got.start_s,
        "stalls": len(got.stalls),
        "stalled": sum(got.stalls),
        "worst": max(got.stalls, default=0.0),
        "waste": 100.0 * (swarm.settled(movie) / movie.length - 1),
    }


def run_two_readers(step: Step) -> Samples:
    torrent = big(step)
    swarm = step.swarm([torrent], SEEK_LINK_MBIT)
    subject = step.subject()
    subject.add(torrent, swarm.magnet(torrent))
    rates = [0.0, 0.0]
    problems: list[BaseException] = []
    readers = [step.reader(subject, torrent) for _ in range(2)]
    until = time.monotonic() + step.plan.two_s

    def read(number: int) -> None:
        offset = number * (torrent.length // 2)
        got = 0

        def note(now: float, total: int) -> None:
            nonlocal got
            if now <= until:
                got = total

        try:
            sweep(readers[number], offset, torrent.length // 2, until, each=note)
            rates[number] = got * 8 / 1e6 / step.plan.two_s
        except BaseException as problem:
            problems.append(problem)

    join([step.thread(lambda n=n: read(n)) for n in range(2)], problems)
    return {
        "first": rates[0],
        "second": rates[1],
        "slower": min(rates) / max(rates),
        "sum": sum(rates),
    }
