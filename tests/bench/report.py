"""The samples of a run and the Markdown made of them."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Sequence

from process import Usage
from scenarios import SCENARIOS, Figure, Scenario
from step import Plan
from subjects import BEFORE, EXPLAINED, OURS

ROOT = Path(__file__).resolve().parents[2]
BUILT = "build/release/bin"
MB = 1e6
NOTHING = "–"


def _said(*command: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout.strip()


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "?"
    return next((x.partition(":")[2].strip() for x in lines if x.startswith(name)), "?")


def _commit() -> str:
    commit = _said("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    return commit + (" with changes" if _said("git", "status", "--porcelain") else "")


def machine(programs: Path) -> list[str]:
    """What has to be known to compare the figures with others."""
    memory = int(_field("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    program = programs / "magnetfs"
    built = time.strftime("%Y-%m-%d %H:%M", time.localtime(program.stat().st_mtime))
    # Programs from elsewhere need not be what these sources make.
    sources = f"commit {_commit()}" if programs == ROOT / BUILT else f"from {programs}"
    return [
        f"{_said(str(program), '--version').splitlines()[0]}, built {built}, {sources};"
        f" measured {time.strftime('%Y-%m-%d %H:%M %Z')}",
        f"{len(os.sched_getaffinity(0))} cores ({_field('/proc/cpuinfo', 'model name')}),"
        f" {memory:.1f} GiB, Linux {platform.release()}; load before it began: {load}",
    ]


def numbers(value: Any) -> list[float]:
    return [float(v) for v in value] if isinstance(value, list) else [float(value)]


def cell(values: Sequence[float], digits: int) -> str:
    """The median, and with more than one value the least and the greatest."""
    if not values:
        return NOTHING
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


@dataclass
class Results:
    """Samples by scenario, subject, figure and round, and what went wrong."""

    samples: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    usages: dict[tuple[str, str, str], list[Usage]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, scenario: str, subject: str, round_: int, samples: dict[str, Any]) -> None:
        self.samples.setdefault((scenario, subject), []).append((round_, samples))

    def add_usage(self, scenario: str, subject: str, used: dict[str, Usage]) -> None:
        for program, usage in used.items():
            self.usages.setdefault((scenario, subject, program), []).append(usage)

    def values(self, scenario: str, subject: str, figure: str) -> list[float]:
        """All samples of all rounds."""
        rounds = self.samples.get((scenario, subject), [])
        return [v for _, found in rounds if figure in found for v in numbers(found[figure])]

    def ratios(self, scenario: str, subject: str, reference: str, figure: str) -> list[float]:
        """The figure as a multiple of the reference's in the same round."""
        base = {
            number: statistics.median(numbers(found[figure]))
            for number, found in self.samples.get((scenario, reference), [])
            if figure in found and numbers(found[figure])
        }
        return [
            statistics.median(numbers(found[figure])) / base[number]
            for number, found in self.samples.get((scenario, subject), [])
            if figure in found and numbers(found[figure]) and base.get(number)
        ]


def _columns(scenario: Scenario, results: Results, subjects: Sequence[str]) -> list[Figure]:
    """The figures somebody has."""
    return [
        figure
        for figure in scenario.figures
        if any(results.values(scenario.name, subject, figure.key) for subject in subjects)
    ]


def _limits(figures: Sequence[Figure]) -> list[list[str]]:
    """What the medians are not to exceed or fall below, as a row; none where there is no such."""
    if all(figure.limit is None and figure.least is None for figure in figures):
        return []
    row = ["limit"]
    for figure in figures:
        most = "" if figure.limit is None else f"≤ {figure.limit:g}"
        least = "" if figure.least is None else f"≥ {figure.least:g}"
        row.append(" ".join(filter(None, (least, most))) or NOTHING)
        if figure.ratio:
            row.append(NOTHING)
    return [row]


def _scenario(scenario: Scenario, results: Results) -> list[str]:
    subjects = [name for name in scenario.subjects if (scenario.name, name) in results.samples]
    if not subjects:
        return []
    figures = _columns(scenario, results, subjects)
    head = [""]
    for figure in figures:
        head.append(figure.head)
        if figure.ratio:
            head.append(f"× {scenario.reference}")
    rows = []
    for subject in subjects:
        row = [subject]
        for figure in figures:
            row.append(cell(results.values(scenario.name, subject, figure.key), figure.digits))
            if figure.ratio:
                same = subject == scenario.reference
                ratios = results.ratios(scenario.name, subject, scenario.reference, figure.key)
                row.append(NOTHING if same else cell(ratios, 2))
        rows.append(row)
    rows += _limits(figures)
    return ["", f"## {scenario.name}", "", scenario.what, "", *table(head, rows)]


# The columns of the first table: (scenario, figure, head, digits).
GLANCE = (
    ("open", "first", "add to first 64 KiB, s", 3),
    ("whole", "rate", "whole file, MB/s", 0),
    ("whole", "cpu", "CPU, s", 2),
    ("whole", "peak", "peak RSS, MB", 0),
    ("seek", "took", "seek, s", 3),
    ("jump", "took", "jump, s", 3),
    ("play", "head", "play: head, s", 2),
    ("play", "start", "start, s", 2),
    ("play", "stalls", "stalls", 0),
)


def _glance(results: Results) -> list[str]:
    columns = [c for c in GLANCE if any(name == c[0] for name, _ in results.samples)]
    subjects = [
        name
        for name in EXPLAINED
        if any(results.values(scenario, name, figure) for scenario, figure, _, _ in columns)
    ]
    if not subjects:
        return []
    rows = [
        [name, *(cell(results.values(scen, name, fig), digits) for scen, fig, _, digits in columns)]
        for name in subjects
    ]
    return ["", *table(["", *(column[2] for column in columns)], rows)]


def _usages(results: Results) -> list[str]:
    rows = []
    for (scenario, subject, program), usages in results.usages.items():
        if subject not in (*OURS, BEFORE):
            continue
        rows.append(
            [
                f"{scenario}, {subject}",
                program,
                cell([u.rss / MB for u in usages], 0),
                cell([u.peak_rss / MB for u in usages], 0),
                cell([u.cpu_s for u in usages], 2),
                cell([u.threads for u in usages], 0),
                cell([u.fds for u in usages], 0),
            ]
        )
    if not rows:
        return []
    head = ["", "program", "RSS, MB", "peak RSS, MB", "CPU, s", "threads", "descriptors"]
    return ["", "## Processes at the end of a run", "", *table(head, rows)]


def markdown(
    results: Results,
    plan: Plan,
    about: Sequence[str],
    network: str,
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> str:
    """The whole document."""
    used = {subject for _, subject in results.samples}
    lines = [
        "# magnetfs: scripts/bench",
        "",
        *(f"- {line}" for line in about),
        f"- The swarm: {network}.",
        f"- Figures are medians with least–greatest of {plan.runs} run(s), of all there are"
        " where a run has several (seeks, jumps, hot);"
        f" ratios are taken within a run. MB are 10⁶ bytes; big file: {plan.size / MB:,.0f} MB.",
        *(f"- **{name}**: {what}." for name, what in EXPLAINED.items() if name in used),
        *(f"- {note}." for note in results.notes),
        *_glance(results),
    ]
    for scenario in scenarios:
        lines += _scenario(scenario, results)
    lines += _usages(results)
    if results.problems:
        lines += ["", "## What went wrong", "", *(f"- {text}" for text in results.problems)]
    return "\n".join(lines) + "\n"
