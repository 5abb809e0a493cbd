"""A film over HTTP in many small requests: one reader to the engine, whoever asks and however."""

from __future__ import annotations

import threading
import time
from typing import Callable

import pytest

from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.slicing import SLICINGS, SliceReader
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target

RATE = 6.1e6 / 8  # of the film, bytes/s
LINK = 1_000_000  # of its seeder, bytes/s
PIECE = 4 * MIB
PLAYED_S = 15
STEP = 64 * KIB
STALLED_S = 0.5  # of all that time; the next piece asked for late is some seconds


def played(reader: SliceReader, film: Torrent, seconds: float) -> float:
    """Plays so much of it with a second in hand, and compares it: how long the picture stood
    still."""
    position, stalled = 0, 0.0
    view = memoryview(bytearray(STEP))

    def more() -> None:
        nonlocal position
        assert reader.take(view, position) == STEP
        assert view == film.read(film.name, position, STEP), f"wrong bytes at {position}"
        position += STEP

    while position < RATE:
        more()
    shown = time.monotonic()
    while position < RATE * seconds:
        time.sleep(max(0.0, shown + position / RATE - 1 - time.monotonic()))
        more()
        late = time.monotonic() - (shown + position / RATE)
        if late > 0:
            stalled += late
            shown += late
    return stalled


@pytest.mark.deadline(120)
def test_a_film_in_large_pieces_does_not_stall(
    fs: Magnetfs, seeders: Callable[[], Seeder], torrents: TorrentMaker
) -> None:
    """However it is asked for; each way has a film and a seeder of its own, all at a time."""
    assert fs.web
    stalled: dict[str, float] = {}
    problems: list[BaseException] = []

    def play(name: str, film: Torrent) -> None:
        assert fs.web
        reader = SliceReader(
            fs.web.port, stream_target(film, film.name), film.length, SLICINGS[name], 30
        )
        try:
            stalled[name] = played(reader, film, PLAYED_S)
        except BaseException as problem:  # a thread's failure is the test's
            problems.append(problem)
        finally:
            reader.close()

    threads = []
    sent: dict[str, tuple[Seeder, Torrent]] = {}
    for number, name in enumerate(SLICINGS):
        film = torrents.single(
            f"sliced-{name}.mkv", 6 * PIECE, seed=1610 + number, piece_length=PIECE
        )
        seeder = seeders().seed(film, upload_limit=LINK)
        fs.add_torrent(film, seeder)
        sent[name] = (seeder, film)
        threads.append(threading.Thread(target=play, args=(name, film)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems
    assert all(late <= STALLED_S for late in stalled.values()), stalled
    for name, (seeder, film) in sent.items():
        assert seeder.sent(film) <= 1.03 * film.length, name
