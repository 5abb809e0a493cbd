"""ADDRESS: the harness' seeder process, listening on one address of the bench's network.

libtorrent's defaults but for what finds peers by chance and what a seeder of hundreds of torrents
to one client needs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import libtorrent as lt  # noqa: E402

from harness import seeder_process  # noqa: E402

CONNECTIONS = 2000
NO_LIMIT = -1
CHECK_S = 18.0  # below what the asking side waits for an answer


def open_session() -> lt.session:
    return lt.session(
        {
            "listen_interfaces": f"{sys.argv[1]}:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "allow_multiple_connections_per_ip": True,
            "connections_limit": CONNECTIONS,
            "unchoke_slots_limit": NO_LIMIT,
            "alert_mask": lt.alert.category_t.status_notification,
        }
    )


class Seeder(seeder_process.Seeder):
    def check(self, info_hash: str) -> dict[str, Any]:
        """Hashes all of it, so that no run pays for that while it is measured."""
        handle = self.handles[info_hash]
        self.session.pop_alerts()
        handle.force_recheck()
        end = time.monotonic() + CHECK_S
        while time.monotonic() < end:
            self.session.wait_for_alert(100)
            for alert in self.session.pop_alerts():
                if isinstance(alert, lt.torrent_checked_alert) and alert.handle == handle:
                    return self.stats(info_hash)
        raise TimeoutError("the torrent is not checked")


if __name__ == "__main__":
    seeder_process.open_session = open_session
    seeder_process.Seeder = Seeder
    seeder_process.main()
