"""Other clients as the only seeder: a file read whole, and the gaps of one that jumps and reopens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Protocol

from harness import processes, waiting
from harness.ports import free_port
from harness.torrents import KIB, MIB, Torrent
from harness.transmission import Transmission

from readers import read_on
from step import Samples, Step
from streaming import FRAME, SEGMENT, same
from subjects import Plain, end_process
from swarm import BURST_BYTES, Network, Seeder

CLIENT_LINK_MBIT = 100.0
CLIENT_FILE = 64 * MIB
PIECE = MIB
# A player begins, jumps, and plays a little at each place; with every other one its file is opened
# anew.
PLACES = (0.0, 0.75, 0.25, 0.9, 0.5, 0.1)
PLAYED = 4 * MIB
READY_S = 60.0


def clients_floor_s() -> float:
    """What the link takes for the file."""
    return (CLIENT_FILE * FRAME / SEGMENT - BURST_BYTES) * 8 / 1e6 / CLIENT_LINK_MBIT


class Client(Protocol):
    peer: str

    def close(self) -> None:
        ...


@dataclass
class Seeding:
    """What one client is to seed, and where."""

    folder: Path  # its own, with the content in it
    metainfo: Path
    address: str
    port: int


def _aria2(s: Seeding) -> list[str]:
    return [
        *("aria2c", "--no-conf", "-q", f"--dir={s.folder}", "--enable-dht=false"),
        *("--bt-enable-lpd=false", "--enable-peer-exchange=false", f"--listen-port={s.port}"),
        *("--seed-ratio=0", "--check-integrity=true", "--file-allocation=none", str(s.metainfo)),
    ]


def _ctorrent(s: Seeding) -> list[str]:
    name = next(path.name for path in s.folder.iterdir() if path != s.metainfo and path.name != "log")
    return ["ctorrent", "-i", s.address, "-p", str(s.port), "-s", name, str(s.metainfo)]


def _deluge(s: Seeding) -> list[str]:
    settings = {
        "listen_ports": [s.port, s.port],
        "random_port": False,
        "dht": False,
        "lsd": False,
        "upnp": False,
        "natpmp": False,
        "utpex": False,
        "daemon_port": free_port(),
    }
    head = json.dumps({"file": 1, "format": 1})  # of its files
    (s.folder / "core.conf").write_text(head + json.dumps(settings))
    said = f"connect 127.0.0.1:{settings['daemon_port']}; add -p {s.folder} {s.metainfo}"
    # The console ends with 0 also where the daemon is not up yet.
    adds = f"deluge-console -c {s.folder} '{said}' | tee -a log | grep -q 'Torrent added'"
    return ["sh", "-c", f"until {adds}; do sleep 0.2; done & exec deluged -d -c {s.folder}"]


def _lftp(s: Seeding) -> list[str]:
    settings = {
        "torrent:port-range": f"{s.port}-{s.port}",
        "torrent:use-dht": "no",
        "torrent:stop-on-ratio": "1000",
        "torrent:seed-max-time": "1d",
        "torrent:seed-min-peers": "1000",
        "cmd:fail-exit": "yes",
    }
    said = [f"set {name} {value}" for name, value in settings.items()]
    return ["lftp", "--norc", "-c", "; ".join([*said, f"torrent -O {s.folder} {s.metainfo}"])]


def _qbittorrent(s: Seeding) -> list[str]:
    settings = [
        "[BitTorrent]",
        *(f"Session\\{what}Enabled=false" for what in ("DHT", "LSD", "PeX")),
        "Session\\IgnoreLimitsOnLAN=true",
        "[LegalNotice]",
        "Accepted=true",
        "[Network]",
        "PortForwardingEnabled=false",
    ]
    file = s.folder / "qBittorrent" / "config" / "qBittorrent.conf"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join([*settings, ""]))
    return [
        *("qbittorrent-nox", f"--profile={s.folder}", f"--torrenting-port={s.port}"),
        *(f"--webui-port={free_port()}", f"--save-path={s.folder}", "--skip-dialog=true"),
        *("--add-paused=false", str(s.metainfo)),
    ]


def _rtorrent(s: Seeding) -> list[str]:
    settings = {
        "system.daemon.set": "true",
        "network.port_range.set": f"{s.port}-{s.port}",
        "network.bind_address.set": s.address,
        "directory.default.set": str(s.folder),
        "dht.mode.set": "disable",
        "protocol.pex.set": "no",
        "trackers.use_udp.set": "no",
    }
    said = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    return ["rtorrent", "-n", *said, str(s.metainfo)]


def _webtorrent(s: Seeding) -> list[str]:
    return [
        *("webtorrent", "download", str(s.metainfo), "--out", str(s.folder), "--keep-seeding"),
        *("--quiet", "--torrent-port", str(s.port)),
    ]


class Program:
    """A client with a command line, which looks at what is there and seeds it. Raises AssertionError
    when it has not said within READY_S that it has all."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        torrent: Torrent,
        command: Callable[[Seeding], list[str]],
    ) -> None:
        torrent.lay_out(folder)
        self._folder = folder
        s = Seeding(
            folder=folder,
            metainfo=folder / "metainfo.torrent",
            address=network.seed_address(0),
            port=free_port(),
        )
        # rtorrent takes no torrent that has no tracker.
        tracker = b"http://127.0.0.1:9/announce"
        announce = b"8:announce%d:%s" % (len(tracker), tracker)
        s.metainfo.write_bytes(b"d" + announce + torrent.metainfo.removeprefix(b"d"))
        self.peer = f"{s.address}:{s.port}"
        self._log = open(folder / "log", "wb")
        self._process = subprocess.Popen(
            [*network.seed_command(), *command(s)],
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            waiting.until(
                f"{command.__name__} seeds", lambda: _has_all(s.address, s.port, torrent), READY_S
            )
        except BaseException:
            print((folder / "log").read_text(errors="replace")[-2000:])
            self.close()
            raise

    def close(self) -> None:
        end_process(self._process)
        for pid in processes.tagged("HOME", str(self._folder)):  # lftp goes on in the background
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._log.close()


def _has_all(address: str, port: int, torrent: Torrent) -> bool:
    """Whether the peer there says so: the bitfield of BEP 3, which is what it begins with."""
    handshake_bytes, bitfield = 68, 5
    ours = b"\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(torrent.info_hash)
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            connection.sendall(ours + b"-MB0001-" + os.urandom(12))
            stream = connection.makefile("rb")
            if len(stream.read(handshake_bytes)) < handshake_bytes:
                return False
            length, kind = struct.unpack("!IB", stream.read(5))
            said = int.from_bytes(stream.read(length - 1), "big")
            pieces = -(-torrent.length // torrent.piece_length)
            return kind == bitfield and bin(said).count("1") == pieces
    except (OSError, struct.error):
        return False


def _libtorrent(network: Network, _folder: Path, torrent: Torrent) -> Client:
    seeder = Seeder(network, 0)
    try:
        seeder.seed(torrent).check(torrent)
    except BaseException:
        seeder.close()
        raise
    return seeder


def _transmission(network: Network, folder: Path, torrent: Torrent) -> Client:
    client = Transmission(folder, network.seed_address(0), network.seed_command())
    try:
        client.seed(torrent, READY_S)
    except BaseException:
        client.close()
        raise
    return client


Start = Callable[[Network, Path, Torrent], Client]


def _program(command: Callable[[Seeding], list[str]]) -> Start:
    return lambda network, folder, torrent: Program(network, folder, torrent, command)


# By name: what has to be installed, and how it is started.
CLIENTS: dict[str, tuple[str, Start]] = {
    "libtorrent": ("python3", _libtorrent),
    "transmission": ("transmission-daemon", _transmission),
    "aria2": ("aria2c", _program(_aria2)),
    "ctorrent": ("ctorrent", _program(_ctorrent)),
    "deluge": ("deluge-console", _program(_deluge)),
    "qbittorrent": ("qbittorrent-nox", _program(_qbittorrent)),
    "rtorrent": ("rtorrent", _program(_rtorrent)),
    "lftp": ("lftp", _program(_lftp)),
    "webtorrent": ("webtorrent", _program(_webtorrent)),
}
WITHOUT_METADATA = ("ctorrent",)  # for magnets (BEP 9): who reads has a .torrent


def run_clients(step: Step) -> Samples:
    make = step.bench.torrents.single
    whole = make("client.bin", CLIENT_FILE, seed=81, piece_length=PIECE)
    jumps = make("client-jumps.bin", 4 * CLIENT_FILE, seed=82, piece_length=PIECE)
    found: Samples = {}
    for name, (program, start) in CLIENTS.items():
        if shutil.which(program) is None:
            continue
        with ExitStack() as stack:
            stack.callback(step.bench.network.limit, None)
            subject = step.subject()
            stack.callback(subject.stop)
            with_file = name in WITHOUT_METADATA
            magnet = stack.enter_context(_seeded(step, name, start, whole))
            if isinstance(subject, Plain):
                said = subject.download(magnet, whole.torrent_file if with_file else None)
                found[name] = said["done_s"]
                continue
            began = time.monotonic()
            subject.add(whole, magnet, with_file)
            reader = stack.enter_context(_Open(subject, whole))
            read_on(reader.now, whole.length)
            found[name] = time.monotonic() - began
            same(whole, 0, reader.now.at(0, 64 * KIB))
            magnet = stack.enter_context(_seeded(step, name, start, jumps))
            subject.add(jumps, magnet, with_file)
            found[f"{name}_gap"] = _worst_gap(stack.enter_context(_Open(subject, jumps)), jumps)
    return found


@contextmanager
def _seeded(step: Step, name: str, start: Start, torrent: Torrent) -> Iterator[str]:
    """A client that seeds it over the link; its magnet."""
    folder = step.folder / name / torrent.name
    folder.mkdir(parents=True)
    step.bench.network.limit(None)
    client = start(step.bench.network, folder, torrent)
    try:
        step.bench.network.limit(CLIENT_LINK_MBIT)
        yield torrent.magnet(client)
    finally:
        client.close()
        shutil.rmtree(folder, ignore_errors=True)


class _Open:
    """A reader that can be opened anew; a context."""

    def __init__(self, subject: Any, torrent: Torrent) -> None:
        self._open = lambda: subject.reader(torrent)
        self.now = self._open()

    def again(self) -> None:
        self.now.close()
        self.now = self._open()

    def __enter__(self) -> _Open:
        return self

    def __exit__(self, *_: object) -> None:
        self.now.close()


def _worst_gap(reader: _Open, torrent: Torrent) -> float:
    """The longest that 64 KiB took, of what is read after the first bytes were there."""
    gaps = []
    for number, place in enumerate(PLACES):
        if number % 2:
            reader.again()
        offset = int(place * torrent.length) // PIECE * PIECE
        for at in range(offset, offset + PLAYED, 64 * KIB):
            began = time.monotonic()
            data = reader.now.at(at, 64 * KIB)
            gaps.append(time.monotonic() - began)
            same(torrent, at, data)
    return max(gaps[1:])
