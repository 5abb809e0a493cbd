"""transmission-daemon as the second, independent kind of seeder."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
from pathlib import Path
from typing import Any, Sequence

from harness import waiting
from harness.ports import free_port
from harness.torrents import Torrent

DOWNLOADING = 4  # TR_STATUS_DOWNLOAD of its RPC
SEEDING = 6  # TR_STATUS_SEED


class Transmission:
    """A transmission-daemon with a folder of its own, everything at one address."""

    def __init__(
        self, folder: Path, address: str = "127.0.0.1", prefix: Sequence[str] = ()
    ) -> None:
        """prefix: words before the command that starts the process."""
        self._folder = folder
        self._address = address
        self._rpc_port = free_port()
        self.port = free_port()
        self._session_id = ""
        downloads = folder / "downloads"
        downloads.mkdir(parents=True)
        settings = {
            "bind-address-ipv4": address,
            "bind-address-ipv6": "::1",
            "dht-enabled": False,
            "download-dir": str(downloads),
            "lpd-enabled": False,
            "peer-port": self.port,
            "pex-enabled": False,
            "port-forwarding-enabled": False,
            "ratio-limit-enabled": False,
            "rpc-bind-address": address,
            "rpc-port": self._rpc_port,
            "rpc-whitelist-enabled": False,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        self._log = open(folder / "log", "wb")
        self._process = subprocess.Popen(
            [*prefix, "transmission-daemon", "--foreground", "--config-dir", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            waiting.until("transmission-daemon answers", self._answers, 20.0)
        except BaseException:
            self.close()
            raise

    @property
    def peer(self) -> str:
        return f"{self._address}:{self.port}"

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError((self._folder / "log").read_text(errors="replace"))
        try:
            self._rpc("session-get")
            return True
        except ConnectionError:
            return False

    def _rpc(self, method: str, **arguments: Any) -> dict[str, Any]:
        body = json.dumps({"method": method, "arguments": arguments})
        for _ in range(2):  # the first answer, 409, brings the session id
            connection = http.client.HTTPConnection(self._address, self._rpc_port, timeout=10)
            try:
                headers = {"X-Transmission-Session-Id": self._session_id}
                connection.request("POST", "/transmission/rpc", body, headers)
                response = connection.getresponse()
                text = response.read()
            finally:
                connection.close()
            if response.status != 409:
                break
            self._session_id = response.headers["X-Transmission-Session-Id"]
        answer = json.loads(text)
        if answer["result"] != "success":
            raise AssertionError(f"transmission-daemon: {method}: {answer['result']}")
        return answer["arguments"]

    def seed(self, torrent: Torrent, timeout: float = 30.0) -> Transmission:
        """Adds the torrent with its data in place and waits until it is verified.

        On disk it writes some characters otherwise than they are (? becomes _): avoid those.
        """
        downloads = self._folder / "downloads"
        torrent.lay_out(downloads)
        self.add(torrent.metainfo, downloads)
        waiting.until(
            f"transmission-daemon seeds {torrent.name}", lambda: self.seeds(torrent), timeout
        )
        return self

    def add(self, metainfo: bytes, folder: Path) -> None:
        """Adds a torrent whose data is in the folder."""
        self._rpc(
            "torrent-add",
            metainfo=base64.b64encode(metainfo).decode(),
            **{"download-dir": str(folder)},
        )

    def seeds(self, torrent: Torrent) -> bool:
        """Whether it has verified all of it."""
        found = self._rpc("torrent-get", fields=["hashString", "status", "percentDone"])
        for entry in found["torrents"]:
            if entry["hashString"] == torrent.info_hash:
                return entry["status"] == SEEDING and entry["percentDone"] == 1
        return False

    def leech(self, torrent: Torrent, folder: Path) -> Transmission:
        """Fetches all of it into folder, from whom dials it, which it can be at the return."""
        folder.mkdir(exist_ok=True)
        self.add(torrent.metainfo, folder)

        def ready() -> bool:
            found = self._rpc("torrent-get", fields=["hashString", "status"])["torrents"]
            return any(
                e["hashString"] == torrent.info_hash and e["status"] == DOWNLOADING for e in found
            )

        waiting.until(f"transmission-daemon wants {torrent.name}", ready)
        return self

    def stats(self, torrent: Torrent) -> dict[str, Any]:
        """As Seeder.stats, as far as it knows."""
        fields = ["hashString", "downloadedEver", "corruptEver", "uploadedEver", "percentDone"]
        found = self._rpc("torrent-get", fields=fields)["torrents"]
        each = next(e for e in found if e["hashString"] == torrent.info_hash)
        return {
            "sent": each["uploadedEver"],
            "got": each["downloadedEver"],
            "failed": each["corruptEver"],
            "seeding": each["percentDone"] == 1,
        }

    def fetch(self, torrent: Torrent) -> Transmission:
        """Adds the torrent by its info-hash alone."""
        self._rpc("torrent-add", filename=f"magnet:?xt=urn:btih:{torrent.info_hash}")
        return self

    def has_metadata(self, torrent: Torrent) -> bool:
        fields = ["hashString", "metadataPercentComplete"]
        for entry in self._rpc("torrent-get", fields=fields)["torrents"]:
            if entry["hashString"] == torrent.info_hash:
                return entry["metadataPercentComplete"] == 1
        return False

    def sent(self, torrent: Torrent) -> int:
        return self.stats(torrent)["sent"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        # What it takes away itself when it is not killed.
        Path(f"/tmp/tr_session_id_{self._session_id}").unlink(missing_ok=True)
        self._log.close()
