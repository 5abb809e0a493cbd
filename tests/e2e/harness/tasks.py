"""A bound on the number of tasks, as containers have one: the pids controller of the kernel."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from harness import processes, waiting


class TaskBound:
    """A control group; processes that are put into it, and their children, share one bound."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def program(self, *command: str | Path) -> list[str]:
        """The command with itself put into the group first."""
        script = 'echo $$ >"$0" && exec "$@"'
        return ["sh", "-c", script, str(self._folder / "cgroup.procs"), *map(str, command)]

    def set(self, most: int | None) -> None:
        (self._folder / "pids.max").write_text("max" if most is None else str(most))

    def used(self) -> int:
        return int((self._folder / "pids.current").read_text())

    def close(self) -> None:
        def empty() -> bool:
            return not (self._folder / "cgroup.procs").read_text().split()

        processes.kill_all([int(p) for p in (self._folder / "cgroup.procs").read_text().split()])
        waiting.until("nothing is left in the group", empty)
        self._folder.rmdir()


def parents() -> list[Path]:
    """Where groups with that controller may be made, under either version of cgroups."""
    unified = Path("/sys/fs/cgroup")
    found = [unified / "pids"]
    try:
        if "pids" in (unified / "cgroup.subtree_control").read_text().split():
            found.append(unified)
    except OSError:
        pass
    return [path for path in found if path.is_dir() and os.access(path, os.W_OK)]


def make_bound() -> TaskBound | None:
    """A bound of its own; None where the controller is not ours to use."""
    for parent in parents():
        folder = parent / f"magnetfs-e2e-{uuid.uuid4().hex}"
        try:
            folder.mkdir()
        except OSError:
            continue
        return TaskBound(folder)
    return None
