"""The Markdown of what was measured in the emulated swarms."""

from __future__ import annotations

import statistics
from typing import Any, Sequence

import report

from wan.limit import limits
from wan.profiles import PROFILES

# The columns of each scenario: (figure, head, digits).
COLUMNS = {
    "tour": (
        ("first_s", "add to first 64 KiB, s", 2),
        ("tail_s", "tail, s", 2),
        ("picture_s", "picture, s", 2),
        ("stalls", "stalls", 0),
        ("stalled_s", "stalled, s", 1),
        ("seek_s", "seek, s", 2),
        ("seek_second_s", "a second of film after it, s", 2),
        ("net_mb", "received, MB", 1),
        ("cpu_s", "CPU, s", 2),
        ("peak_mb", "peak RSS, MB", 0),
    ),
    "whole": (
        ("first_s", "add to first 256 KiB, s", 2),
        ("mbit", "Mbit/s", 1),
        ("mbit_all", "from the add, Mbit/s", 1),
        ("gap_s", "worst gap, s", 2),
        ("read_mb", "read, MB", 1),
        ("net_mb", "received, MB", 1),
        ("cpu_s", "CPU, s", 2),
        ("peak_mb", "peak RSS, MB", 0),
    ),
    "vain": (
        ("vain_pct", "in vain, %", 2),
        ("twice_pct", "came twice, %", 2),
        ("all_s", "add to all, s", 1),
        ("stalls", "stalls", 0),
        ("stalled_s", "stalled, s", 1),
        ("net_mb", "received, MB", 1),
    ),
    "viewers": (
        ("picture_s", "picture, s", 2),
        ("stalls", "stalls", 0),
        ("stalled_s", "stalled, s", 1),
        ("other_picture_s", "the other's picture, s", 2),
        ("other_stalls", "stalls", 0),
        ("other_stalled_s", "stalled, s", 1),
        ("net_mb", "received, MB", 1),
    ),
    "scan": (
        ("picture_s", "picture, s", 2),
        ("stalls", "stalls", 0),
        ("stalled_s", "stalled, s", 1),
        ("reads", "reads of the scan", 0),
        ("file_s", "each, s", 2),
        ("net_mb", "received, MB", 1),
    ),
}
EXPLAINED = {
    "mount": "magnetfs, read through the mount",
    "stream": "magnetfs, read through the sidecar's /stream",
    "lt-seq": "plain libtorrent, sequential download, priority 7 for what is waited for",
    "lt-deadlines": "plain libtorrent, deadlines for ten pieces from the reader on",
    "webtorrent": "webtorrent-cli, its HTTP server",
}
LIMIT, RESTED, IN_BLOCKS = "limit", "limit after a rest", "limit after a rest, in blocks"

Sample = dict[str, Any]


def _values(samples: Sequence[Sample], figure: str) -> list[float]:
    return [v for s in samples if figure in s for v in report.numbers(s[figure])]


def _row(name: str, samples: Sequence[Sample], scenario: str) -> list[str]:
    return [
        name,
        *(report.cell(_values(samples, key), digits) for key, _, digits in COLUMNS[scenario]),
    ]


def _table(samples: Sequence[Sample], profile: str, piece_mib: int, scenario: str) -> list[str]:
    here = [
        s
        for s in samples
        if (s["profile"], s["piece_mib"], s["scenario"]) == (profile, piece_mib, scenario)
    ]
    if not here:
        return []
    order = list(EXPLAINED)
    here.sort(key=lambda s: (order.index(s["subject"]), s["build"]))
    rows = [
        _row(name, [s for s in here if s["label"] == name], scenario)
        for name in dict.fromkeys(s["label"] for s in here)
    ]
    nothing_beats = limits(PROFILES[profile], piece_mib)
    rows.append(_row(LIMIT, [nothing_beats], scenario))
    if scenario == "tour":
        rows.append(_row(RESTED, [{"seek_s": nothing_beats["seek_cold_s"]}], scenario))
        in_blocks = {f"{key}_s": nothing_beats[f"{key}_blocks_s"] for key in ("first", "seek")}
        rows.append(_row(IN_BLOCKS, [in_blocks], scenario))
    head = ["", *(head for _, head, _ in COLUMNS[scenario])]
    return ["", f"### {scenario}, {piece_mib} MiB", "", *report.table(head, rows)]


# What two builds are compared by: (scenario, figure, head). Less is better, but of Mbit/s.
COMPARED = (
    ("tour", "first_s", "first"),
    ("tour", "picture_s", "picture"),
    ("tour", "stalled_s", "stalled, s more"),
    ("tour", "seek_s", "seek"),
    ("whole", "mbit", "Mbit/s"),
)


def _ratio(new: list[float], old: list[float], figure: str) -> str:
    if not new or not old:
        return report.NOTHING
    a, b = statistics.median(new), statistics.median(old)
    if figure == "stalled_s":
        return f"{a - b:+.1f}"
    return f"{a / b:.2f}" if b > 0 else report.NOTHING


def _comparison(samples: Sequence[Sample]) -> list[str]:
    """The first build beside the others: ratios of medians."""
    groups = dict.fromkeys(
        (s["profile"], s["piece_mib"], s["subject"], s["build"]) for s in samples if s["build"] > 1
    )
    rows = []
    for profile, piece_mib, subject, build in sorted(groups):
        same = [
            s
            for s in samples
            if (s["profile"], s["piece_mib"], s["subject"]) == (profile, piece_mib, subject)
        ]
        row = [f"{profile}, {piece_mib} MiB, {subject}, build 1 / build {build}"]
        for scenario, figure, _ in COMPARED:
            new, old = (
                _values(
                    [s for s in same if (s["scenario"], s["build"]) == (scenario, number)], figure
                )
                for number in (1, build)
            )
            row.append(_ratio(new, old, figure))
        rows.append(row)
    if not rows:
        return []
    head = ["", *(head for _, _, head in COMPARED)]
    return ["", "## Builds", "", "These are ratios of the medians.", "", *report.table(head, rows)]


def markdown(samples: Sequence[Sample], about: Sequence[str], runs: int, film_mb: float) -> str:
    """The whole document. Each sample has its profile, piece_mib, scenario, subject, build and the
    label of its row."""
    used = {s["subject"] for s in samples}
    lines = [
        "# magnetfs: scripts/bench --wan",
        "",
        *(f"- {line}" for line in about),
        "- The swarm: two network namespaces with an emulator of a wide-area network between them.",
        f"- Figures are medians with least–greatest of {runs} run(s), and of all seeks."
        f" The film has {film_mb:,.0f} MB, and MB are 10⁶ bytes.",
        "- Tour: the first 64 KiB, the last 64 KiB, a second of film; then it is played, one second"
        " ahead of the picture; then 64 KiB and a second of film at far places.",
        "- Vain: a tour, and then all that is missing: what the seeders sent beyond the film, of its"
        " length, without headers. What they sent to nobody, when they closed or vanished, counts."
        " Came twice: what the mount got of that and had already, by its own count.",
        "- Whole: the film in order; Mbit/s are of the time after 8 s.",
        "- Viewers: the film is played from the beginning, and from the middle by another.",
        "- Scan: it is played while another reads the head and the tail of 32 parts of it.",
        f"- **{LIMIT}**: a fluid model of what nothing can beat; a seek with TCP's windows open."
        f" **{RESTED}**: with them closed, as they are once nothing has come for a while."
        f" **{IN_BLOCKS}**: where a peer has given nothing until a block is whole.",
        *(f"- **{name}**: {what}." for name, what in EXPLAINED.items() if name in used),
        *_comparison(samples),
    ]
    for name, profile in PROFILES.items():
        here = [s for s in samples if s["profile"] == name]
        if not here:
            continue
        lines += ["", f"## {name}", ""]
        lines.append(
            f"Peers: {profile.what}. The film has {profile.film:g} Mbit/s, the host"
            f" {profile.down:g} Mbit/s down and {profile.up:g} up."
        )
        for piece_mib in sorted({s["piece_mib"] for s in here}):
            for scenario in COLUMNS:
                lines += _table(here, name, piece_mib, scenario)
    problems = [f"{s['what']}: {s['failed']}" for s in samples if "failed" in s]
    if problems:
        lines += ["", "## What went wrong", "", *(f"- {text}" for text in problems)]
    return "\n".join(lines) + "\n"
