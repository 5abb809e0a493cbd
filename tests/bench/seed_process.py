"""The harness' seeder process with other settings.

libtorrent's defaults but for what finds peers by chance and what a seeder of hundreds of torrents
to one client needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import libtorrent as lt  # noqa: E402

from harness import seeder_process  # noqa: E402

CONNECTIONS = 2000
NO_LIMIT = -1
# libtorrent's defaults, bytes. It reads ahead of what it sends by half a second of what it sent in
# the last whole second of its clock, between these two.
READ_AHEAD_MIN, READ_AHEAD_MAX = 10 * 1024, 500 * 1024


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


class Seeder(seeder_process.Seeder):
    def rush(self, on: bool) -> dict[str, Any]:
        """From its first block on it sends as fast as it can. It would begin at a third of that, a
        block at a time, for as long as its clock takes to the next whole second: by chance nothing
        or a third of the time of a file of 1 GiB."""
        low = READ_AHEAD_MAX if on else READ_AHEAD_MIN
        self.session.apply_settings({"send_buffer_low_watermark": low})
        return {}


if __name__ == "__main__":
    seeder_process.Seeder = Seeder
    seeder_process.open_session = open_session
    seeder_process.main()
