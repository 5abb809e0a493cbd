"""What the programs' sanitizers have found, whichever process of whichever test it was in.

Each writes its report to a file, since not everybody's stderr is kept: a daemon's, the sidecar's or
that of a magnetctl which a test runs beside. Programs without sanitizers don't care.
"""

from __future__ import annotations

import os
from pathlib import Path

SUPPRESSIONS = Path(__file__).with_name("tsan.supp")
OPTIONS = {
    # abort_on_error: an exit code could be taken for one of the program's own
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "abort_on_error=1:halt_on_error=1:print_stacktrace=1",
    # ignore_noninstrumented_modules: of what the system's libraries do with their own memory it sees
    # a part, be it malloc and free; their locks it sees all the same.
    "TSAN_OPTIONS": "abort_on_error=1:halt_on_error=1:second_deadlock_stack=1"
    f':ignore_noninstrumented_modules=1:suppressions="{SUPPRESSIONS}"',
}
EXCERPT = 6000


def arm(folder: Path) -> None:
    """From here on all children write their reports to folder."""
    folder.mkdir(mode=0o700)
    folder.chmod(0o1777)  # programs run as another user too
    for variable, options in OPTIONS.items():
        os.environ[variable] = f"{options}:log_exe_name=1:log_path={folder}/report"


def _is_finding(report: str) -> bool:
    """LeakSanitizer says of threads that end while it stops them that it can't look at them."""
    return any("Unable to get registers from thread" not in line for line in report.splitlines())


def take(folder: Path) -> list[str]:
    """The reports that have come since the last time."""
    reports = []
    for path in sorted(folder.iterdir()):
        report = path.read_text(errors="replace")
        if _is_finding(report):
            reports.append(f"{path.name}:\n{report[:EXCERPT]}")
        path.unlink()
    return reports
