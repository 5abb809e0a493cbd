"""Plain libtorrent as a player's engine, without magnetfs: in order, or by deadlines."""

from __future__ import annotations

import os
import threading
from typing import Any

import libtorrent as lt

from harness.torrents import Torrent
from readers import Reader
from subjects import METADATA_S, Subject

from wan.world import LISTEN_PORT

ALERTS_WAIT_S = 0.2
WINDOW = 10  # pieces that have a deadline
DEADLINE_MS = 1000  # from one of them to the next
URGENT = 7  # the highest priority of a piece


class PlainReader:
    """Waits for pieces. What is in them libtorrent has checked by their hashes, so that nothing is
    read."""

    checked = False

    def __init__(self, plain: PlainStreamer) -> None:
        self._plain = plain

    def at(self, offset: int, length: int) -> bytes:
        self._plain.wait(offset, length)
        return bytes(length)

    def take(self, view: memoryview, offset: int) -> int:
        self._plain.wait(offset, len(view))
        return len(view)

    def close(self) -> None:
        pass


class PlainStreamer(Subject):
    """A session in this process."""

    flags: Any = 0

    def start(self) -> None:
        self._changed = threading.Condition()
        self._have: set[int] = set()  # under _changed
        self._info: Any = None  # under _changed
        self._ended = False  # under _changed
        self._told = threading.Event()
        self._session = lt.session(
            {
                "listen_interfaces": f"{self.place.network.client}:{LISTEN_PORT}",
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "alert_queue_size": 20000,
                "alert_mask": lt.alert.category_t.status_notification
                | lt.alert.category_t.progress_notification,
            }
        )
        self._session.set_alert_notify(self._told.set)

    def add(self, torrent: Torrent, magnet: str) -> None:
        params = lt.parse_magnet_uri(magnet)
        params.save_path = str(self.folder)
        params.flags |= self.flags
        self._handle = self._session.add_torrent(params)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._info is not None, METADATA_S):
                raise OSError("the metadata does not come")

    def _listen(self) -> None:
        while not self._ended:
            # Not wait_for_alert: the alert that it gives moves as others come, and Python looks at
            # it (the process ended by a signal in one of four runs).
            self._told.wait(ALERTS_WAIT_S)
            self._told.clear()
            alerts = self._session.pop_alerts()
            with self._changed:
                for alert in alerts:
                    if isinstance(alert, lt.piece_finished_alert):
                        self._have.add(alert.piece_index)
                    elif isinstance(alert, lt.metadata_received_alert):
                        self._info = self._handle.torrent_file()
                self._changed.notify_all()

    def wait(self, offset: int, length: int) -> None:
        size = self._info.piece_length()
        pieces = range(offset // size, (offset + length - 1) // size + 1)
        self.want(self._handle, pieces)
        with self._changed:
            # Without a bound of its own: the measurement has one, which breaks in as an exception.
            while not self._have.issuperset(pieces):
                self._changed.wait(1.0)

    def want(self, handle: Any, pieces: range) -> None:
        raise NotImplementedError

    def missing(self, pieces: range) -> list[int]:
        with self._changed:
            return [p for p in pieces if p < self._info.num_pieces() and p not in self._have]

    def reader(self, torrent: Torrent, path: str | None = None) -> Reader:
        return PlainReader(self)

    def processes(self) -> dict[str, int]:
        return {"libtorrent": os.getpid()}

    def stop(self) -> None:
        with self._changed:
            self._ended = True
        if hasattr(self, "_thread"):
            self._thread.join(5)


class Sequential(PlainStreamer):
    """Downloads in order; pieces that are waited for come first."""

    name = "lt-seq"
    flags = lt.torrent_flags.sequential_download

    def want(self, handle: Any, pieces: range) -> None:
        for piece in self.missing(pieces):
            handle.piece_priority(piece, URGENT)


class Deadlines(PlainStreamer):
    """Deadlines for the ten pieces from the reader's position on."""

    name = "lt-deadlines"
    _last: int | None = None

    def want(self, handle: Any, pieces: range) -> None:
        first = pieces[0]
        if first == self._last:
            return
        if self._last is None or first != self._last + 1:
            handle.clear_piece_deadlines()
        for piece in self.missing(range(first, first + WINDOW)):
            handle.set_piece_deadline(piece, (piece - first) * DEADLINE_MS)
        self._last = first
