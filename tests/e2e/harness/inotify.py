"""inotify on a directory, as media servers use it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from harness import waiting


class Watch:
    """inotifywait on a directory, its events as (names, file) pairs."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            ["inotifywait", "--monitor", "--event", "create", "--event", "delete"]
            + ["--event", "moved_to", "--event", "moved_from", "--format", "%e|%f", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.seen: list[tuple[set[str], str]] = []
        self._buffer = b""
        assert self._process.stderr
        said = b""
        while b"Watches established" not in said:
            assert waiting.readable(self._process.stderr.fileno(), 10), said
            said += os.read(self._process.stderr.fileno(), 4096)

    def wait(self, event: str, name: str, timeout: float = 10.0) -> None:
        """Waits for that event of that name; others are kept in seen."""
        assert self._process.stdout
        end = time.monotonic() + timeout
        while True:
            while b"\n" in self._buffer:
                line, _, self._buffer = self._buffer.partition(b"\n")
                kinds, _, file = line.decode().partition("|")
                self.seen.append((set(kinds.split(",")), file))
                if event in self.seen[-1][0] and file == name:
                    assert "ISDIR" in self.seen[-1][0]
                    return
            left = end - time.monotonic()
            if left <= 0 or not waiting.readable(self._process.stdout.fileno(), left):
                raise waiting.DeadlineExceeded(f"no {event} of {name!r}; seen: {self.seen}")
            self._buffer += os.read(self._process.stdout.fileno(), 4096)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
