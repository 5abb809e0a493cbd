"""A python-libtorrent seeder in a process of its own: it can be frozen, its CPU is not the test's.

One JSON object a line on stdin, one answer a line on stdout; ends with its stdin. It listens where
and when it is told to.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter
from typing import Any

import libtorrent as lt

READY_S = 10.0
CHECK_S = 18.0  # below what the asking side waits for an answer
# It seeds what magnetfs must refuse.
WITHOUT_LIMITS = {"max_buffer_size": 1 << 28, "max_pieces": 1 << 25, "max_decode_tokens": 1 << 24}


def open_session() -> lt.session:
    return lt.session(
        {
            "listen_interfaces": "",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "allow_multiple_connections_per_ip": True,
            # It answers uTP and dials TCP: over loopback uTP is many times slower.
            "enable_incoming_utp": True,
            "enable_outgoing_utp": False,
            "connections_limit": 1000,
            # Peers of many torrents dial at once; beyond this the kernel drops them.
            "listen_queue_size": 1000,
            "tick_interval": 100,
            "alert_mask": lt.alert.category_t.status_notification
            | lt.alert.category_t.peer_notification,
        }
    )


class Seeder:
    def __init__(self) -> None:
        self.session = open_session()
        self.alerts, wake = socket.socketpair()
        wake.setblocking(False)
        self.session.set_alert_fd(wake.detach())
        self.handles: dict[str, Any] = {}
        self.seen: Counter[str] = Counter()

    def _alerts(self) -> list[Any]:
        """Those that have come, counted."""
        alerts = self.session.pop_alerts()
        self.seen.update(type(alert).__name__ for alert in alerts)
        return alerts

    def add(
        self,
        info_hash: str,
        torrent: str,
        blob: str,
        upload_limit: int,
        announce: str | None,
        one_by_one: bool,
    ) -> dict[str, Any]:
        """Seeds the blob: all files of the torrent, mapped onto that one file, unchecked."""
        info = lt.torrent_info(torrent, WITHOUT_LIMITS)
        name = blob.rpartition("/")[2]
        if not info.info_hashes().has_v2():
            storage = lt.file_storage()
            storage.set_piece_length(info.piece_length())
            storage.add_file(name, info.total_size())
            info.remap_files(storage)
        params = lt.add_torrent_params()
        params.ti = info
        params.save_path = blob.rpartition("/")[0]
        params.flags |= lt.torrent_flags.seed_mode
        if one_by_one:
            params.flags |= lt.torrent_flags.super_seeding
        params.trackers = [announce] if announce else []
        params.flags &= ~lt.torrent_flags.auto_managed
        params.flags &= ~lt.torrent_flags.paused
        handle = self.session.add_torrent(params)
        handle.set_upload_limit(upload_limit)
        self.handles[info_hash] = handle
        self._wait_checked(handle, READY_S)
        return {}

    def leech(
        self, info_hash: str, torrent: str, folder: str, download_limit: int
    ) -> dict[str, Any]:
        """Has nothing of it, and fetches all into that folder. No peer tells it of others, nor it
        them (BEP 11)."""
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(torrent)
        params.save_path = folder
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        params.flags |= lt.torrent_flags.disable_pex
        params.download_limit = download_limit
        self.handles[info_hash] = self.session.add_torrent(params)
        self._wait_checked(self.handles[info_hash], READY_S)
        return {}

    def _wait_checked(self, handle: Any, seconds: float) -> None:
        """Until then it hangs up on peers, though its status says that it seeds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Not wait_for_alert: the alert that it gives moves as others come, and Python looks at
            # where it was.
            if select.select([self.alerts], [], [], 0.1)[0]:
                self.alerts.recv(4096)
            for alert in self._alerts():
                if isinstance(alert, lt.torrent_checked_alert) and alert.handle == handle:
                    return
        raise TimeoutError("the torrent does not get ready")

    def listen(self, address: str, port: int) -> dict[str, Any]:
        """port 0: any. The address is named: on 0.0.0.0 it could not reach peers on 127.0.0.1. It
        dials from there, too: transmission-daemon tells peers apart by their addresses alone."""
        self.session.apply_settings(
            {"listen_interfaces": f"{address}:{port}", "outgoing_interfaces": address.strip("[]")}
        )
        return {"port": self.session.listen_port()}

    def check(self, info_hash: str) -> dict[str, Any]:
        """Hashes all of it now. Unchecked, it does so piece by piece when it is first asked."""
        handle = self.handles[info_hash]
        self._alerts()
        handle.force_recheck()
        self._wait_checked(handle, CHECK_S)
        return self.stats(info_hash)

    def limit(self, info_hash: str, upload_limit: int) -> dict[str, Any]:
        self.handles[info_hash].set_upload_limit(upload_limit)
        return {}

    def connect(self, info_hash: str, port: int) -> dict[str, Any]:
        """Dials a peer, as a seed does that got its address from a tracker."""
        self.handles[info_hash].connect_peer(("127.0.0.1", port))
        return {}

    def announce(self, info_hash: str) -> dict[str, Any]:
        """Tells its trackers again, now."""
        self.handles[info_hash].force_reannounce()
        return {}

    def stats(self, info_hash: str) -> dict[str, Any]:
        status = self.handles[info_hash].status()
        self._alerts()
        return {
            "sent": status.total_payload_upload,
            "got": status.total_payload_download,
            "failed": status.total_failed_bytes,
            "failures": self.seen["hash_failed_alert"],
            "bans": self.seen["peer_ban_alert"],
            "peers": status.num_peers,
            "seeding": bool(status.is_seeding),
            "error": status.errc.message() if status.errc.value() else None,
        }


def main() -> None:
    seeder = Seeder()
    for line in sys.stdin:
        request = json.loads(line)
        command = request.pop("cmd")
        try:
            answer = {"ok": True, **getattr(seeder, command)(**request)}
        except Exception as problem:  # the test reports it, with the command it sent
            answer = {"ok": False, "error": repr(problem)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
