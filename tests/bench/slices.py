"""A player that asks for its film in many small requests, beside one that asks once."""

from __future__ import annotations

import time

from harness.torrents import MIB

from readers import play
from step import Samples, Step
from subjects import Stream

SLICES_LINK_MBIT = 8.0
SLICES_RATE = 6.1e6 / 8  # bytes/s
SLICES_PIECES = (1 * MIB, 4 * MIB)


def run_slices(step: Step) -> Samples:
    found: Samples = {}
    subject: Stream = step.subject()
    for piece in SLICES_PIECES:
        mib = piece // MIB
        length = round(SLICES_RATE * step.plan.slices_s)
        film = step.bench.torrents.single(f"slices{mib}.mp4", length, seed=4, piece_length=piece)
        swarm = step.swarm([film], SLICES_LINK_MBIT)
        began = time.monotonic()
        subject.add(film, swarm.magnet(film))
        got = play(step.reader(subject, film), 0, SLICES_RATE, film.length, began)
        found |= {
            f"start{mib}": got.start_s,
            f"stalls{mib}": len(got.stalls),
            f"stalled{mib}": sum(got.stalls),
            f"waste{mib}": 100.0 * (swarm.settled(film) / film.length - 1),
        }
    return found
