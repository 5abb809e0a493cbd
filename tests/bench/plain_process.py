"""LISTEN: plain libtorrent, the whole of one torrent to disk: what magnetfs is compared with.

Says "ready" when its session is up, then takes a line "FOLDER MAGNET [TORRENT]" on stdin, downloads
and says a line of JSON: seconds from the add to the first verified piece and to the last, CPU
seconds of that time, and the peak of its memory (mapped pages of the files count).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import libtorrent as lt

sys.path.insert(0, str(Path(__file__).parent))

from process import usage  # noqa: E402

LOOK_S = 0.002  # between two looks at the progress


def main() -> None:
    session = lt.session(
        {
            "listen_interfaces": sys.argv[1],
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "alert_mask": 0,
        }
    )
    print("ready", flush=True)
    folder, magnet, *files = sys.stdin.readline().split()
    params = lt.parse_magnet_uri(magnet)
    for file in files:
        params.ti = lt.torrent_info(file)
    params.save_path = folder
    cpu = usage(os.getpid()).cpu_s
    began = time.monotonic()
    handle = session.add_torrent(params)
    first = None
    while not (status := handle.status()).is_seeding:
        if first is None and status.num_pieces > 0:
            first = time.monotonic() - began
        time.sleep(LOOK_S)
    done = time.monotonic() - began
    used = usage(os.getpid())
    said = {
        "first_s": first if first is not None else done,
        "done_s": done,
        "cpu_s": used.cpu_s - cpu,
        "peak_rss": used.peak_rss,
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
