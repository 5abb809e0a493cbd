"""Bounds on what is done, and the end of what outlives it: the harness' janitor, for the bench."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Iterator

from harness import janitor, processes, waiting

GRACE_S = 20  # from the exception in here to the janitor's killing what was started


class Watchdog:
    """Owns the run's folder and the tag all processes of the run carry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tag = uuid.uuid4().hex
        self._janitor = subprocess.Popen(
            [sys.executable, janitor.__file__, self._tag, str(folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        os.environ[processes.RUN_TAG] = self._tag

    def _tell(self, line: str) -> None:
        assert self._janitor.stdin
        self._janitor.stdin.write(line.encode() + b"\n")
        self._janitor.stdin.flush()

    @contextmanager
    def bound(self, seconds: float) -> Iterator[None]:
        """Raises DeadlineExceeded in here when it takes longer; what hangs even then is killed."""

        def late(_signum: int, _frame: FrameType | None) -> None:
            raise waiting.DeadlineExceeded(f"more than {seconds:.0f} s")

        self._tell(f"arm {seconds + GRACE_S}")
        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            self._tell("disarm")

    def left(self) -> list[str]:
        """The processes and mounts of the run there still are."""
        pids = processes.tagged(processes.RUN_TAG, self._tag)
        return [processes.describe(pid) for pid in pids] + processes.mounts_beneath(self.folder)

    def close(self) -> None:
        """Ends all that is left, and the folder."""
        assert self._janitor.stdin
        if not self.left():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._janitor.stdin.close()
        self._janitor.wait(60)
