"""A file that is many times larger than the cache, read in order."""

from __future__ import annotations

import time
from contextlib import closing

from harness.torrents import MIB, Torrent

from readers import read_on
from step import Samples, Step
from subjects import Mount
from swarm import Swarm

TIMES = 10  # the cache goes into the file
SEEDERS = 3
AMPLE = 4  # a cache of so many times the file evicts nothing


def _read(step: Step, swarm: Swarm, torrent: Torrent, cache: int) -> tuple[float, int]:
    """The rate in MB/s, from the add on, and the bytes evicted."""
    mount: Mount = step.subject("--cache-size", str(cache), "--min-free", "0")
    began = time.monotonic()
    mount.add(torrent, swarm.magnet(torrent))
    with closing(mount.reader(torrent)) as reader:
        read_on(reader, torrent.length)
    took = time.monotonic() - began
    evicted = mount.fs.status()["cache"]["evictedBytes"]
    step.processes = mount.usage()
    mount.stop()
    return torrent.length / took / 1e6, evicted


def run_evict(step: Step) -> Samples:
    torrent = step.bench.torrents.single("evict.bin", step.plan.evict, seed=60, piece_length=MIB)
    swarm = step.swarm([torrent], None, SEEDERS)
    small, large = torrent.length // TIMES, AMPLE * torrent.length
    found = {}
    # Whoever reads second finds the machine as the first left it: they take turns.
    for cache in (small, large) if step.number % 2 == 0 else (large, small):
        found[cache] = _read(step, swarm, torrent, cache)
    (beside, evicted), (alone, kept) = found[small], found[large]
    if kept > 0 or evicted < torrent.length - small:
        raise OSError(f"{evicted} bytes were evicted, and of the large cache {kept}")
    return {"alone": alone, "beside": beside, "share": beside / alone, "evicted": evicted / 1e6}
