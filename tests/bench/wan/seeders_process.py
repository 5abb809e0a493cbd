"""Peers of the swarm: sessions of libtorrent, each at an address of its own.

The first line of stdin is JSON: the torrent's file, the file with its content, the tracker, and the
peers, each with its address, its port and those fields of profiles.Peer that the session sees to.
When all are up it says "ready". Then a line "begin SECONDS" begins the times in which they are ill,
as if these ran for so long. A line "sent" is answered by the bytes of pieces that all have sent. It
ends with stdin.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

import libtorrent as lt  # noqa: E402

from wan.profiles import Cycle  # noqa: E402

LOOK_S = 0.1  # between two looks at who is ill
READY_S = 30.0
UNCHOKED = 8  # libtorrent's default
FOR_ONE = 4  # libtorrent's default priority of a piece


class Peer:
    def __init__(self, what: dict[str, Any], torrent: str, blob: Path, tracker: str) -> None:
        address = what["address"]
        self._chokes = Cycle(*what["chokes"]) if what["chokes"] else None
        self._closes = Cycle(*what["closes"]) if what["closes"] else None
        self._well: dict[str, bool] = {}
        self.session = lt.session(
            {
                "listen_interfaces": f"{address}:{what['port']}",
                "outgoing_interfaces": address,
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "allow_multiple_connections_per_ip": True,
                "aio_threads": 1,
                "hashing_threads": 1,
                "unchoke_interval": 1 if self._chokes else 15,
                "unchoke_slots_limit": UNCHOKED,
                "alert_mask": lt.alert.category_t.status_notification,
            }
        )
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(torrent)
        storage = lt.file_storage()  # also where they are several files
        storage.set_piece_length(params.ti.piece_length())
        storage.add_file(blob.name, params.ti.total_size())
        params.ti.remap_files(storage)
        params.save_path = str(blob.parent)
        params.trackers = [tracker]
        params.flags = lt.torrent_flags.seed_mode
        if what["partial"] < 1:
            chance = random.Random(f"{address} {params.ti.piece_length()}")
            there = [chance.random() < what["partial"] for _ in range(params.ti.num_pieces())]
            params.flags = lt.torrent_flags.no_verify_files
            params.have_pieces = there
            params.piece_priorities = [FOR_ONE if have else 0 for have in there]
        self.session.add_torrent(params)
        self.ready = False

    def look_ready(self) -> bool:
        """Until its torrent is checked it hangs up on those who come."""
        alerts = self.session.pop_alerts()
        self.ready |= any(isinstance(alert, lt.torrent_checked_alert) for alert in alerts)
        return self.ready

    def _turns(self, cycle: Cycle | None, name: str, at_s: float) -> bool | None:
        """Whether it is well from now on; None: nothing changes."""
        well = cycle.is_well(at_s) if cycle else True
        if self._well.get(name, True) == well:
            return None
        self._well[name] = well
        return well

    def look(self, at_s: float) -> None:
        unchokes = self._turns(self._chokes, "chokes", at_s)
        if unchokes is not None:
            self.session.apply_settings({"unchoke_slots_limit": UNCHOKED if unchokes else 0})
        opens = self._turns(self._closes, "closes", at_s)
        if opens is not None:
            (self.session.resume if opens else self.session.pause)()
        self.session.pop_alerts()

    def sent(self) -> int:
        # What the torrent's status calls total begins anew each time the session is paused.
        return sum(t.status().all_time_upload for t in self.session.get_torrents())


def main() -> None:
    given = json.loads(sys.stdin.readline())
    peers = [
        Peer(what, given["torrent"], Path(given["blob"]), given["tracker"])
        for what in given["peers"]
    ]
    end = time.monotonic() + READY_S
    while not all([peer.look_ready() for peer in peers]):
        if time.monotonic() > end:
            raise TimeoutError("a peer's torrent does not get ready")
        time.sleep(LOOK_S)
    print("ready", flush=True)
    began: float | None = None
    while True:
        if select.select([sys.stdin], [], [], LOOK_S)[0]:
            line = sys.stdin.readline().split()
            if not line:
                os._exit(0)  # nobody waits for the sessions' farewells
            if line[0] == "sent":
                print(sum(peer.sent() for peer in peers), flush=True)
            else:
                began = time.monotonic() - float(line[1])
        if began is not None:
            for peer in peers:
                peer.look(time.monotonic() - began)


if __name__ == "__main__":
    main()
