"""The private swarm: where the peers meet, how fast their link is, and the seeders.

As root two network namespaces joined by a veth pair; nothing else is in them, so nothing can leave.
They have no names: they are gone with the last process in them, however that ended. Otherwise all
meet on loopback and the seeders hold the rate down by themselves, which is coarser.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Sequence

from harness import seeder, waiting
from harness.mount import SWARM_OPTIONS
from harness.torrents import Torrent

import namespaces
from namespaces import run

STILL_S = 0.4  # a seeder that sent nothing for so long has nothing more to send

# As in the measurements of the peers: `tc … tbf rate R burst 32k latency 400ms`.
BURST = "32k"
BURST_BYTES = 32 * 1024
QUEUE = "400ms"

SEED_HOSTS = (1, 3, 4)  # 2 is the client

QUIET = (
    *("--set", "enable_dht=0"),
    *("--set", "enable_lsd=0"),
    *("--set", "enable_upnp=0"),
    *("--set", "enable_natpmp=0"),
)


class Network:
    """Where seeders and clients meet. This base is loopback."""

    what = (
        "loopback; rates are held by the seeders, who after a rest send a burst: where a rate is"
        " named (seek, jump, play, two-readers, frozen, torrents) the figures"
        " only compare with one another"
    )
    shapes = False  # can limit the link itself
    client = "127.0.0.1"
    magnetfs_options: Sequence[str] = SWARM_OPTIONS

    def seed_address(self, number: int) -> str:
        return f"127.0.0.{number + 1}"

    def seed_command(self) -> list[str]:
        """What is put before a command that is to run on the seeders' side."""
        return []

    def limit(self, mbit: float | None) -> None:
        """The rate of the link from the seeders to the client; None: as fast as it goes."""

    def link(self, up: bool) -> None:
        raise NotImplementedError("loopback has no link to take down")


class Namespaces(Network):
    """This process, and all it starts, is the client's side; the seeders are on the other."""

    what = "two network namespaces joined by a veth pair; rates by tc tbf, burst 32k, latency 400ms"
    shapes = True
    client = "10.77.0.2"
    magnetfs_options = QUIET

    def __init__(self) -> None:
        """Raises OSError or CalledProcessError where that can't be had; then nothing changed."""
        with namespaces.joined() as self._far:
            run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
            run("ip", "link", "set", "far", "netns", self._far.path)
            for number in range(len(SEED_HOSTS)):
                address = self.seed_address(number) + "/24"
                self._far.run("ip", "address", "add", address, "dev", "far")
            run("ip", "address", "add", self.client + "/24", "dev", "near")
            for device in ("lo", "near"):
                run("ip", "link", "set", device, "up")
            for device in ("lo", "far"):
                self._far.run("ip", "link", "set", device, "up")
            self.limit(1)  # a kernel without tbf: say so now
            self.limit(None)

    def seed_address(self, number: int) -> str:
        return f"10.77.0.{SEED_HOSTS[number]}"

    def seed_command(self) -> list[str]:
        return self._far.command()

    def limit(self, mbit: float | None) -> None:
        subprocess.run(
            [*self.seed_command(), "tc", "qdisc", "del", "dev", "far", "root"],
            stderr=subprocess.DEVNULL,
            check=False,  # there may be none
            timeout=10,
        )
        if mbit is not None:
            rate = ["rate", f"{round(mbit * 1e6)}bit", "burst", BURST, "latency", QUEUE]
            self._far.run("tc", "qdisc", "add", "dev", "far", "root", "tbf", *rate)

    def link(self, up: bool) -> None:
        self._far.run("ip", "link", "set", "far", "up" if up else "down")


def join_network() -> tuple[Network, str]:
    """The best network there is, and why it isn't the other one ("" if it is)."""
    if os.geteuid() != 0:
        return Network(), "not root"
    try:
        return Namespaces(), ""
    except (OSError, subprocess.SubprocessError) as problem:
        said = getattr(problem, "stderr", None) or problem
        return Network(), f"no namespaces: {said}".strip()


class Seeder(seeder.Seeder):
    """A seeder on the far side of the network."""

    def __init__(self, network: Network, number: int) -> None:
        super().__init__(
            network.seed_address(number),
            Path(__file__).with_name("seed_process.py"),
            network.seed_command(),
        )

    def rush(self, on: bool) -> None:
        """Whether it sends at full rate from the first block on, or after up to a second."""
        self._ask("rush", on=on)


class Swarm:
    """The seeders of one round."""

    def __init__(self, network: Network, count: int) -> None:
        self._network = network
        self._torrents: list[Torrent] = []
        self.seeders: list[Seeder] = []
        try:
            for number in range(count):
                self.seeders.append(Seeder(network, number))
        except BaseException:
            self.close()
            raise

    def seed(self, torrents: Sequence[Torrent], check: bool = True) -> None:
        for torrent in torrents:
            if torrent in self._torrents:
                continue
            for one in self.seeders:
                one.seed(torrent)
                if check:
                    one.check(torrent)
            self._torrents.append(torrent)

    def seed_spoilt(self, torrent: Torrent, copy: Path, pieces: Sequence[int]) -> None:
        """The last seeder sends garbage for these pieces, from a copy of the content made there."""
        for one in self.seeders[:-1]:
            one.seed(torrent).check(torrent)
        self.seeders[-1].seed_spoilt(torrent, copy, pieces)
        self._torrents.append(torrent)

    def limit(self, mbit: float | None) -> None:
        """Sets the rate of the link all seeders share. Where there is none (None) it is the client
        that is measured, so the seeders do their best from the start."""
        for one in self.seeders:
            one.rush(mbit is None)
        if self._network.shapes:
            self._network.limit(mbit)
            return
        each = 0 if mbit is None else mbit * 1e6 / 8 / len(self.seeders) / len(self._torrents)
        for torrent in self._torrents:
            for one in self.seeders:
                one.limit(torrent, round(each))

    def magnet(self, torrent: Torrent) -> str:
        return torrent.magnet(*self.seeders)

    def sent(self, torrent: Torrent) -> int:
        """Payload bytes all seeders have sent for it."""
        return sum(one.sent(torrent) for one in self.seeders)

    def settled(self, torrent: Torrent, timeout: float = 30.0) -> int:
        """sent(), once nothing more is on its way."""
        return waiting.settled("sent bytes", lambda: self.sent(torrent), STILL_S, timeout)

    def cut(self) -> None:
        """Takes the link down: nobody hears of it, packets are lost. Where it can be shaped only."""
        self._network.link(up=False)

    def mend(self) -> float:
        """The link is up again; when that was (monotonic)."""
        self._network.link(up=True)
        return time.monotonic()

    @property
    def alive(self) -> bool:
        return all(one.alive for one in self.seeders)

    def close(self) -> None:
        for one in self.seeders:
            one.close()
        self._network.limit(None)
