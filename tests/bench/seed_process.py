"""The harness' seeder process with other settings.

libtorrent's defaults but for what finds peers by chance and what a seeder of hundreds of torrents
to one client needs.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import libtorrent as lt  # noqa: E402

from harness import seeder_process  # noqa: E402

CONNECTIONS = 2000
NO_LIMIT = -1


def open_session() -> lt.session:
    return lt.session(
        {
            "listen_interfaces": "",
            "listen_queue_size": CONNECTIONS,
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


if __name__ == "__main__":
    seeder_process.open_session = open_session
    seeder_process.main()
