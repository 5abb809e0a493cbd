"""The swarms: what their peers are like. Each is the same at every run."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Callable

LIBTORRENT, TRANSMISSION = "libtorrent", "transmission"


@dataclass(frozen=True)
class Cycle:
    """A peer is well for so many seconds, then ill for so many, and so on."""

    well_s: float
    ill_s: float
    phase_s: float  # it begins as if this much were over

    def is_well(self, at_s: float) -> bool:
        return (at_s + self.phase_s) % (self.well_s + self.ill_s) < self.well_s


@dataclass(frozen=True)
class Peer:
    rtt: float  # ms
    up: float  # Mbit/s
    jitter: float = 3  # ms
    loss: float = 0  # a fraction, in each direction
    down: float = 20  # Mbit/s
    client: str = LIBTORRENT
    partial: float = 1  # the share of the pieces that it has
    chokes: Cycle | None = None  # ill: it gives nothing
    closes: Cycle | None = None  # ill: it has closed its connections
    vanishes: Cycle | None = None  # ill: the network loses all its packets
    stops: Cycle | None = None  # ill: its process is stopped
    gives: float | None = None  # Mbit/s that TCP gets through its loss, measured with iperf3

    @property
    def steady(self) -> bool:
        return not (self.chokes or self.closes or self.vanishes or self.stops)


@dataclass(frozen=True)
class Profile:
    name: str
    what: str
    peers: tuple[Peer, ...]
    film: float = 6.0  # Mbit/s
    down: float = 50  # Mbit/s, the host's link
    up: float = 20
    queue: float = 100  # ms, of both

    @property
    def film_rate(self) -> float:
        """Bytes of film for each second of it."""
        return self.film * 1e6 / 8


def _healthy() -> tuple[Peer, ...]:
    chance = random.Random(101)
    return tuple(
        Peer(rtt=round(chance.uniform(20, 150)), up=round(chance.uniform(2, 10), 1))
        for _ in range(20)
    )


def _thin() -> tuple[Peer, ...]:
    peers = ((80, 2.0, 1.84), (120, 2.0, 1.52), (160, 1.6, 1.54), (250, 0.8, 0.76))
    return tuple(
        Peer(rtt=rtt, up=up, jitter=5, loss=0.005, gives=gives) for rtt, up, gives in peers
    )


def _mixed() -> tuple[Peer, ...]:
    chance = random.Random(103)
    peers = []
    for i in range(30):
        rtt, up = round(chance.uniform(20, 200)), round(chance.uniform(1, 8), 1)
        peer = Peer(rtt=rtt, up=up, jitter=5, loss=0.001)
        if i < 10:
            peer = replace(peer, partial=0.5)
        elif i < 15:
            peer = replace(peer, chokes=Cycle(10, 30, 10 + 7 * (i - 10)))
        elif i < 18:
            peer = replace(peer, closes=Cycle(20, 20, 7 * (i - 15)))
        elif i < 20:
            peer = replace(peer, vanishes=Cycle(20, 20, 11 * (i - 18)))
        elif i < 22:
            peer = replace(peer, stops=Cycle(8, 20, 5 * (i - 20)))
        peers.append(peer)
    return tuple(peers)


def _far() -> tuple[Peer, ...]:
    return (Peer(rtt=250, up=10, jitter=5),) * 8


def _rich() -> tuple[Peer, ...]:
    return (Peer(rtt=200, up=50), *(Peer(rtt=30, up=0.3),) * 20)


def _parts() -> tuple[Peer, ...]:
    chance = random.Random(109)
    return tuple(
        Peer(
            rtt=round(chance.uniform(20, 150)), up=round(chance.uniform(1, 6), 1), partial=0.4
        )
        for _ in range(24)
    )


def _clients() -> tuple[Peer, ...]:
    chance = random.Random(107)
    return tuple(
        Peer(
            rtt=round(chance.uniform(20, 150)),
            up=round(chance.uniform(2, 10), 1),
            client=TRANSMISSION if i % 2 else LIBTORRENT,
        )
        for i in range(8)
    )


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("healthy", "20 seeders, 20–150 ms, 2–10 Mbit/s each", _healthy()),
        Profile(
            "thin",
            "four seeders, 80–250 ms, which together give 1.3 times what the film takes; 0.5 % loss"
            " each way",
            _thin(),
            film=4.0,
        ),
        Profile(
            "mixed",
            "30 peers, 20–200 ms, 1–8 Mbit/s, 0.1 % loss each way: 10 have half of the pieces, 5"
            " choke for 30 of 40 s, 3 close for 20 of 40 s, 2 vanish for 20 of 40 s, 2 are stopped"
            " for 20 of 28 s",
            _mixed(),
        ),
        Profile("far", "eight seeders, 250 ms, 10 Mbit/s each", _far()),
        Profile(
            "rich",
            "one seeder of 50 Mbit/s, 200 ms away, and 20 near ones of 0.3 Mbit/s",
            _rich(),
            down=100,
        ),
        Profile(
            "parts",
            "24 peers, 20–150 ms, 1–6 Mbit/s, of which each has two fifths of the pieces",
            _parts(),
        ),
        Profile("alone", "the seeder of 50 Mbit/s, 200 ms away, and nobody else", _rich()[:1], down=100),
        Profile(
            "asym",
            "the seeders of healthy, and a host that sends 1 Mbit/s through a queue of 400 ms",
            _healthy(),
            up=1,
            queue=400,
        ),
        Profile(
            "clients",
            "eight seeders, 20–150 ms, 2–10 Mbit/s each: four of libtorrent, four"
            " transmission-daemon",
            _clients(),
        ),
    )
}

CONFIG_OF: dict[str, Callable[[Peer], float]] = {
    "rtt": lambda peer: peer.rtt,
    "jitter": lambda peer: peer.jitter,
    "up": lambda peer: peer.up,
    "down": lambda peer: peer.down,
    "loss": lambda peer: peer.loss,
}


def config(profile: Profile, addresses: list[str], seed: int) -> str:
    """What the emulator is told of it (wan.c)."""
    lines = [
        f"seed {seed}",
        f"host down={profile.down:g} up={profile.up:g} queue={profile.queue:g}",
        "default queue=250",
    ]
    for address, peer in zip(addresses, profile.peers):
        words = [f"{name}={value(peer):g}" for name, value in CONFIG_OF.items()]
        if peer.vanishes:
            cycle = peer.vanishes
            words.append(f"on={cycle.well_s:g} off={cycle.ill_s:g} phase={cycle.phase_s:g}")
        lines.append(f"peer {address} {' '.join(words)}")
    return "\n".join(lines) + "\n"
