"""Other clients as the only seeder: a file read whole, and the gaps of one that jumps and reopens."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Protocol, Sequence

from harness import waiting
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


class Aria2:
    """aria2c, which seeds what it finds complete. Raises what waiting raises."""

    def __init__(self, network: Network, folder: Path, torrents: Sequence[Torrent]) -> None:
        address, self._rpc_port, port = network.seed_address(0), free_port(), free_port()
        self.peer = f"{address}:{port}"
        self._address = address
        files = []
        for torrent in torrents:
            torrent.lay_out(folder)
            files.append(folder / f"{torrent.info_hash}.torrent")
            files[-1].write_bytes(torrent.metainfo)
        self._process = subprocess.Popen(
            [*network.seed_command(), "aria2c", "--no-conf", "-q", f"--dir={folder}"]
            + ["--enable-dht=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false"]
            + [f"--listen-port={port}", "--seed-ratio=0", "--check-integrity=true"]
            + ["--file-allocation=none", "--enable-rpc", "--rpc-listen-all"]
            + [f"--rpc-listen-port={self._rpc_port}", *map(str, files)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            waiting.until("aria2 seeds", lambda: self._seeding() == len(torrents), READY_S)
        except BaseException:
            self.close()
            raise

    def _seeding(self) -> int:
        call = {"jsonrpc": "2.0", "id": 1, "method": "aria2.tellActive", "params": [["seeder"]]}
        connection = http.client.HTTPConnection(self._address, self._rpc_port, timeout=5)
        try:
            connection.request("POST", "/jsonrpc", json.dumps(call))
            found = json.loads(connection.getresponse().read())["result"]
        except ConnectionError:
            return 0
        finally:
            connection.close()
        return sum(each.get("seeder") == "true" for each in found)

    def close(self) -> None:
        end_process(self._process)


def _libtorrent(network: Network, _folder: Path, torrents: Sequence[Torrent]) -> Client:
    seeder = Seeder(network, 0)
    try:
        for torrent in torrents:
            seeder.seed(torrent).check(torrent)
    except BaseException:
        seeder.close()
        raise
    return seeder


def _transmission(network: Network, folder: Path, torrents: Sequence[Torrent]) -> Client:
    client = Transmission(folder, network.seed_address(0), network.seed_command())
    try:
        for torrent in torrents:
            client.seed(torrent, READY_S)
    except BaseException:
        client.close()
        raise
    return client


# By name: what has to be installed, and how it is started.
CLIENTS: dict[str, tuple[str, Callable[[Network, Path, Sequence[Torrent]], Client]]] = {
    "libtorrent": ("python3", _libtorrent),
    "transmission": ("transmission-daemon", _transmission),
    "aria2": ("aria2c", Aria2),
}


def run_clients(step: Step) -> Samples:
    make = step.bench.torrents.single
    whole = make("client.bin", CLIENT_FILE, seed=81, piece_length=PIECE)
    jumps = make("client-jumps.bin", 4 * CLIENT_FILE, seed=82, piece_length=PIECE)
    found: Samples = {}
    for name, (program, start) in CLIENTS.items():
        if shutil.which(program) is None:
            continue
        folder = step.folder / name
        folder.mkdir()
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.callback(step.bench.network.limit, None)
            client = start(step.bench.network, folder, (whole, jumps))
            stack.callback(client.close)
            step.bench.network.limit(CLIENT_LINK_MBIT)
            subject = step.subject()
            stack.callback(subject.stop)
            if isinstance(subject, Plain):
                found[name] = subject.download(whole.magnet(client))["done_s"]
                continue
            began = time.monotonic()
            subject.add(whole, whole.magnet(client))
            reader = stack.enter_context(_Open(subject, whole))
            read_on(reader.now, whole.length)
            found[name] = time.monotonic() - began
            same(whole, 0, reader.now.at(0, 64 * KIB))
            subject.add(jumps, jumps.magnet(client))
            found[f"{name}_gap"] = _worst_gap(stack.enter_context(_Open(subject, jumps)), jumps)
    return found


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
