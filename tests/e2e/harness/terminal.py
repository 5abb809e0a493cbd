"""A program on a real pseudo-terminal: what it shows, at which width, and ^C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
import unicodedata
from pathlib import Path
from typing import Any, Callable, Sequence

from harness import waiting

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
HOME = "\x1b[H"  # a redraw begins in the upper left corner


def width(text: str) -> int:
    """The columns a terminal gives to a text."""
    return sum(
        0 if unicodedata.combining(c) or unicodedata.category(c) in ("Mn", "Me", "Cf")
        # wide and full-width; emoji are wide
        else 2 if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


class Terminal:
    """One program with its standard streams on a terminal of its own, which controls it."""

    def __init__(
        self, command: Sequence[str | Path], columns: int = 80, rows: int = 24, **environment: str
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        env = {"TERM": "xterm", "LC_ALL": "C.UTF-8", **environment}
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.shown = ""  # all it has written so far, line breaks as \n
        self._raw = b""
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**kept, **env},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def resize(self, columns: int, rows: int = 24) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """What a user types; "\\x03" is ^C."""
        os.write(self._master, text.encode())

    def _read(self, timeout: float) -> bool:
        """Takes in what comes; False at the end of the program's output."""
        if not waiting.readable(self._master, timeout):
            return True
        try:
            part = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self._raw += part
        self.shown = self._raw.decode(errors="replace").replace("\r\n", "\n")
        return bool(part)

    @property
    def screen(self) -> str:
        """The last whole picture of a program that redraws, without colours and erasures."""
        pictures = self.shown.split(HOME)
        last = pictures[-1] if pictures[-1].endswith("\x1b[J") else pictures[-2]
        return COLOUR.sub("", last).replace("\x1b[K", "").replace("\x1b[J", "")

    def until(self, what: str, check: Callable[[Terminal], Any], timeout: float = 10.0) -> None:
        """Waits until what is shown is as it should be."""
        end = time.monotonic() + timeout
        while not (self.shown and check(self)):
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise waiting.DeadlineExceeded(f"not shown: {what}; but:\n{self.shown!r}")

    def finish(self, timeout: float = 20.0) -> tuple[int, str]:
        """Waits for the end: the exit code, and all that was shown, without colours."""
        end = time.monotonic() + timeout
        while self._read(max(0.0, end - time.monotonic())):
            if time.monotonic() >= end:
                raise waiting.DeadlineExceeded(f"has not ended; shown:\n{self.shown}")
        return self._process.wait(timeout), COLOUR.sub("", self.shown)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
