"""What is done with the film: a player's tour of it, playing it beside others, reading it in order."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable

from harness.torrents import KIB, MIB
from readers import Reader

from wan.film import Original

BLOCK = 64 * KIB
LATE_S = 0.04  # a delay below this no player shows
SEEK_REST_S = 2.0  # between two seeks
WHOLE_BLOCK = 256 * KIB
WARM_S = 8.0  # of reading in order: the connections get going
SEEKS_SEED = 7
ALIGNED = 4 * KIB
# A stall that does not end: so much later than it should the play is over anyway.
PLAY_LATE_S = 60.0

# A library's scan: the head and the tail of so many files, as if the film were those.
SCANNED = 32
OTHER_END_S = 60.0  # until who reads beside the viewer has ended, too

Figures = dict[str, Any]


@dataclass
class Viewer:
    """Reads the film and compares what it gets. The figures are there as far as it came."""

    reader: Reader
    original: Original
    rate: float  # bytes of film for each second of it
    began: float  # monotonic, when the magnet was added
    figures: Figures

    def __post_init__(self) -> None:
        self._checked = getattr(self.reader, "checked", True)
        self._view = memoryview(bytearray(WHOLE_BLOCK))

    def read(self, offset: int, length: int) -> None:
        while length > 0:
            view = self._view[: min(length, len(self._view))]
            got = self.reader.take(view, offset)
            if got < len(view):
                raise OSError(f"the film ends at {offset + got}")
            if self._checked:
                self.original.check(offset, view)
            offset += got
            length -= got

    def since_add(self) -> float:
        return time.monotonic() - self.began


def tour(viewer: Viewer, play_s: float, seeks: int) -> None:
    """As a player does: the index at both ends, the first picture, some playing, some seeking."""
    figures, second = viewer.figures, round(viewer.rate)
    viewer.read(0, BLOCK)
    figures["first_s"] = viewer.since_add()
    viewer.read(viewer.original.length - BLOCK, BLOCK)
    figures["tail_s"] = viewer.since_add()
    viewer.read(BLOCK, second)
    figures["picture_s"] = viewer.since_add()
    _play(viewer, BLOCK, second, play_s)
    _seek(viewer, second, seeks)


def vain(viewer: Viewer, play_s: float, seeks: int) -> None:
    """A tour, and then all that is not there yet: what was sent beyond the film was in vain."""
    tour(viewer, play_s, seeks)
    viewer.read(0, viewer.original.length)
    viewer.figures["all_s"] = viewer.since_add()


def _play(viewer: Viewer, begin: int, second: int, play_s: float) -> None:
    """Plays from begin on, of which a second is there. The reader stays one second ahead of the
    picture. Where the picture stands still it goes on when a second is there again."""
    figures, rate = viewer.figures, viewer.rate
    figures.update(stalls=0, stalled_s=0.0, played_s=0.0)
    offset = begin + second
    clock = time.monotonic()  # when the byte at begin is shown; a stall moves it
    end = clock + play_s + PLAY_LATE_S
    while figures["played_s"] < play_s and time.monotonic() < end:
        spare = clock + (offset - begin) / rate - 1.0 - time.monotonic()
        if spare > 0:
            time.sleep(spare)
        shown = clock + (offset - begin) / rate
        viewer.read(offset, BLOCK)
        offset += BLOCK
        if time.monotonic() - shown > LATE_S:
            viewer.read(offset, second)
            offset += second
            late = time.monotonic() - shown
            clock += late
            figures["stalls"] += 1
            figures["stalled_s"] += late
        figures["played_s"] = (offset - begin) / rate - 1.0


def viewers(viewer: Viewer, other: Viewer, play_s: float) -> None:
    """Both play, from the beginning and from the middle on."""

    def watch(one: Viewer, begin: int) -> None:
        second = round(one.rate)
        one.read(begin, BLOCK + second)
        one.figures["picture_s"] = one.since_add()
        _play(one, begin, second, play_s)

    middle = viewer.original.length // 2 // ALIGNED * ALIGNED
    with _Beside(lambda: watch(other, middle)):
        watch(viewer, 0)
    viewer.figures.update({f"other_{key}": value for key, value in other.figures.items()})


def scan(viewer: Viewer, other: Viewer, play_s: float) -> None:
    """The film is played, and a scan goes through the torrent meanwhile."""
    second = round(viewer.rate)
    over = threading.Event()
    files = viewer.figures["file_s"] = []

    def look() -> None:
        length = other.original.length // SCANNED // ALIGNED * ALIGNED
        for number in range(SCANNED):
            for offset in (number * length, (number + 1) * length - BLOCK):
                if over.is_set():
                    return
                began = time.monotonic()
                other.read(offset, BLOCK)
                files.append(time.monotonic() - began)

    viewer.read(0, BLOCK + second)
    viewer.figures["picture_s"] = viewer.since_add()
    with _Beside(look):
        _play(viewer, 0, second, play_s)
        over.set()
    viewer.figures["reads"] = len(files)


class _Beside:
    """Does something while the block runs, and waits for its end. What it raises, this raises."""

    def __init__(self, what: Callable[[], None]) -> None:
        self._what = what
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._what()
        except BaseException as problem:  # the measurement's
            self._problem = problem

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(OTHER_END_S)
        if self._thread.is_alive():
            raise OSError("who reads beside the viewer does not end")
        if self._problem:
            raise self._problem


def _seek(viewer: Viewer, second: int, seeks: int) -> None:
    chance = random.Random(SEEKS_SEED)
    length = viewer.original.length
    figures = viewer.figures
    figures.update(seek_s=[], seek_second_s=[])
    for number in range(seeks):
        if number > 0:
            time.sleep(SEEK_REST_S)
        offset = chance.randrange(length // 4, length - 8 * MIB) // ALIGNED * ALIGNED
        began = time.monotonic()
        viewer.read(offset, BLOCK)
        there = time.monotonic()
        figures["seek_s"].append(there - began)
        viewer.read(offset + BLOCK, second)
        figures["seek_second_s"].append(time.monotonic() - there)


def whole(viewer: Viewer, seconds: float) -> None:
    """In order from the add on, for so long or to the end."""
    figures = viewer.figures
    offset = 0
    warm: tuple[float, int] | None = None
    gap = before = 0.0
    while (at := viewer.since_add()) < seconds and offset < viewer.original.length:
        length = min(WHOLE_BLOCK, viewer.original.length - offset)
        viewer.read(offset, length)
        offset += length
        at = viewer.since_add()
        figures.setdefault("first_s", at)
        if offset > length:
            gap = max(gap, at - before)
        before = at
        figures.update(read_mb=offset / 1e6, mbit_all=offset * 8e-6 / at, gap_s=gap)
        if warm and at > warm[0]:
            figures["mbit"] = (offset - warm[1]) * 8e-6 / (at - warm[0])
        elif not warm and at >= min(WARM_S, seconds / 2):
            warm = (at, offset)
