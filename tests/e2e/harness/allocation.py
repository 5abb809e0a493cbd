"""What a magnetfs takes of the disk, sampled by a process (see allocation_process.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import waiting
from harness.mount import Magnetfs

PERIOD_MS = 10
SHARE = 0.2  # of the samples, on a machine that does other things
ANSWER_S = 20.0


@dataclass(frozen=True)
class Taken:
    """What allocation_process.py says."""

    count: int
    seconds: float
    longest: float
    highest: int
    files: dict[str, int]
    least_free: int

    def assert_sampled(self) -> None:
        """There were enough samples to mean something."""
        assert self.count >= SHARE * self.seconds * 1000 / PERIOD_MS, self


class Allocation:
    """Samples as long as the context lasts; then it knows what was taken."""

    def __init__(self, fs: Magnetfs) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("allocation_process.py"))]
            + [str(fs.cache), str(fs.state), str(PERIOD_MS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._taken: Taken | None = None

    @property
    def taken(self) -> Taken:
        assert self._taken, "it still samples"
        return self._taken

    def _line(self) -> bytes:
        assert self._process.stdout
        assert waiting.readable(self._process.stdout.fileno(), ANSWER_S), "the sampler hangs"
        return self._process.stdout.readline()

    def __enter__(self) -> Allocation:
        assert self._line() == b"looks\n"
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.close()
            self._taken = Taken(**json.loads(self._line()))
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
