"""One measurement: a world, its seeders, a program, and what a viewer gets of it.

Stdin has a Spec as JSON. The figures come as one line of JSON, however far it came; what went wrong
is in "failed". It needs root, and what it makes is gone with it.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Iterator

sys.path[0] = str(Path(__file__).resolve().parents[1])
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "e2e"))

from harness import waiting  # noqa: E402
from subjects import Mount, Place, Stream, Subject, Webtorrent  # noqa: E402

from wan import film, viewing  # noqa: E402
from wan.profiles import PROFILES  # noqa: E402
from wan.seeders import Seeders  # noqa: E402
from wan.world import World  # noqa: E402

# Each run finds the peers that are ill at times in another part of their cycles, which is the same
# for all subjects and builds.
RUN_SHIFT_S = 13.0


@dataclass(frozen=True)
class Spec:
    """What is measured."""

    profile: str
    piece_mib: int
    scenario: str  # tour, whole, viewers, scan
    subject: str
    programs: str  # magnetfs' bin
    settings: list[str]  # NAME=VALUE
    run: int
    play_s: float
    seeks: int
    whole_s: float
    limit_s: float
    film: str  # the folder
    emulator: str
    folder: str


def _subject(spec: Spec, place: Place) -> Subject:
    if spec.subject.startswith("lt-"):
        from wan import plain  # only here: magnetfs is measured without a second libtorrent

        kinds = {kind.name: kind for kind in (plain.Sequential, plain.Deadlines)}
        return kinds[spec.subject](place)
    if spec.subject == Webtorrent.name:
        return Webtorrent(place)
    options = [word for setting in spec.settings for word in ("--set", setting)]
    return {"mount": Mount, "stream": Stream}[spec.subject](place, *options)


@contextmanager
def _bound(seconds: float) -> Iterator[None]:
    """Raises DeadlineExceeded in here when it takes longer."""

    def late(_signum: int, _frame: FrameType | None) -> None:
        raise waiting.DeadlineExceeded(f"more than {seconds:.0f} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _measure(spec: Spec, figures: dict[str, Any]) -> None:
    profile = PROFILES[spec.profile]
    torrent = film.load(Path(spec.film), spec.piece_mib)
    folder = Path(tempfile.mkdtemp(prefix="world-", dir=spec.folder))
    shift_s = RUN_SHIFT_S * spec.run
    with ExitStack() as stack:
        world = World(profile, spec.run + 1, Path(spec.emulator), folder)
        stack.callback(world.close)
        tracker = world.tracker(folder / "tracker", torrent.info_hash)
        seeders = Seeders(world, profile, torrent, tracker.url, folder)
        stack.callback(seeders.close)
        original = film.Original(torrent)
        stack.callback(original.close)
        place = Place(world, folder, Path(spec.programs))
        subject = stack.enter_context(_subject(spec, place))
        magnet = torrent.magnet(*seeders.peers, trackers=[tracker.url])
        before = world.emulator.stats()
        world.emulator.begin(shift_s)
        seeders.begin(shift_s)
        began = time.monotonic()
        try:
            subject.add(torrent, magnet)
            reader = subject.reader(torrent, film.NAME)
            stack.callback(reader.close)
            viewer = viewing.Viewer(reader, original, profile.film_rate, began, figures)
            if spec.scenario == "tour":
                viewing.tour(viewer, spec.play_s, spec.seeks)
            elif spec.scenario == "vain":
                viewing.vain(viewer, spec.play_s, spec.seeks)
                if (sent := seeders.sent()) is not None:
                    figures["vain_pct"] = 100 * (sent / original.length - 1)
                if isinstance(subject, Mount):
                    told = subject.fs.torrent(torrent.info_hash)
                    if "redundantBytes" in told:  # builds before it have none
                        figures["twice_pct"] = 100 * told["redundantBytes"] / original.length
            elif spec.scenario == "whole":
                viewing.whole(viewer, spec.whole_s)
            else:
                beside = subject.reader(torrent, film.NAME)
                stack.callback(beside.close)
                other = viewing.Viewer(beside, original, profile.film_rate, began, {})
                what = viewing.scan if spec.scenario == "scan" else viewing.viewers
                what(viewer, other, spec.play_s)
        finally:
            _look(subject, world, before, figures)
        if not seeders.alive:
            raise OSError("a seeder has ended")


def _look(subject: Subject, world: World, before: dict[str, Any], figures: dict[str, Any]) -> None:
    """What it took, as far as that can still be seen."""
    after = world.emulator.stats()
    figures["net_mb"] = (after["host_down"]["bytes"] - before["host_down"]["bytes"]) / 1e6
    figures["emulator_cpu"] = after["cpu_s"] / after["seconds"]
    try:
        used = subject.usage().values()
        figures["cpu_s"] = sum(usage.cpu_s for usage in used)
        figures["peak_mb"] = sum(usage.peak_rss for usage in used) / 1e6
    except (OSError, LookupError):  # it has ended; the measurement failed for that reason already
        pass


def _end(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, _end)
    spec = Spec(**json.load(sys.stdin))
    figures: dict[str, Any] = {}
    try:
        with _bound(spec.limit_s):
            _measure(spec, figures)
    except KeyboardInterrupt:
        return 130
    except Exception as problem:
        figures["failed"] = " ".join(f"{type(problem).__name__}: {problem}".split())[:600]
    print(json.dumps(figures), flush=True)
    return 1 if "failed" in figures else 0


if __name__ == "__main__":
    sys.exit(main())
