"""Measures the streaming engine in a private swarm and writes a Markdown table; see --help."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import levers  # noqa: E402
import report  # noqa: E402
from scenarios import SCENARIOS, Scenario, against  # noqa: E402
from step import Bench, Plan, Step  # noqa: E402
from subjects import BEFORE, EXPLAINED, OURS, unavailable  # noqa: E402
from swarm import join_network  # noqa: E402
from watchdog import Watchdog  # noqa: E402

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEAST_SIZE = 64 << 20
WAN = "--wan"
SUBJECTS = tuple(name for name in EXPLAINED if name != BEFORE)


def size(text: str) -> int:
    number, unit = text.upper().rstrip("IB"), ""
    if number and number[-1] in "KMG":
        number, unit = number[:-1], number[-1]
    value = int(number) * UNITS[unit]
    if value < LEAST_SIZE:
        raise argparse.ArgumentTypeError("at least 64M: seeks need room")
    return value


def names(known: tuple[str, ...]) -> object:
    def parse(text: str) -> list[str]:
        found = text.split(",")
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"no {name!r}; there are {', '.join(known)}")
        return found

    return parse


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures magnetfs beside plain libtorrent, and btfs and webtorrent-cli where"
        " they are installed, in a private swarm: two network namespaces as root, else loopback."
        " Nothing is asserted; it ends with 1 when something could not be measured.",
        epilog="Scenarios: " + ", ".join(s.name for s in SCENARIOS) + ".",
    )
    parser.add_argument("--runs", type=int, help="runs of each scenario (5)", metavar="N")
    parser.add_argument(
        "--only",
        type=names(tuple(s.name for s in SCENARIOS)),
        help="only these scenarios",
        metavar="SCENARIO,…",
    )
    parser.add_argument(
        "--subjects",
        type=names(SUBJECTS),
        help="only these of " + ", ".join(SUBJECTS),
        metavar="SUBJECT,…",
    )
    parser.add_argument(
        "--levers",
        action="store_true",
        help="instead: what each part of the engine and each setting gives, by leaving it out",
    )
    parser.add_argument(
        WAN,
        action="store_true",
        help="instead: emulated wide-area swarms, with options of their own (--wan --help)",
    )
    parser.add_argument("--size", type=size, help="of the big file (1G)")
    parser.add_argument(
        "--torrents",
        type=int,
        dest="library",
        help="of the library (10,000)",
        metavar="N",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one small run of all, some 3 minutes"
    )
    parser.add_argument(
        "--output", type=Path, default=report.ROOT / "build" / "bench.md", metavar="FILE"
    )
    parser.add_argument(
        "--bin",
        type=Path,
        default=report.ROOT / report.BUILT,
        metavar="DIR",
        help="magnetfs and its sidecar are here; nothing is built",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="only the mount, in turn with that of the build there, and the ratios",
    )
    parser.add_argument(
        "--tmp", type=Path, help="a folder on the disk to measure on ($TMPDIR or /tmp)"
    )
    chosen = parser.parse_args()
    if chosen.levers and chosen.subjects:
        parser.error("--levers measures the mount alone")
    if chosen.against and (chosen.levers or chosen.subjects):
        parser.error("--against measures the mounts of two builds")
    if chosen.against and chosen.only:
        able = [scenario.name for scenario in against(SCENARIOS)]
        for name in chosen.only:
            if name not in able:
                parser.error(f"--against: {name} is not of the mount; these are: " + ", ".join(able))
    if chosen.runs is not None and chosen.runs < 1:
        parser.error("--runs: at least 1")
    if chosen.library is not None and chosen.library < 1:
        parser.error("--torrents: at least 1")
    return chosen


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def brief(samples: dict) -> str:
    parts = []
    for key, value in samples.items():
        values = report.numbers(value)
        parts.append(f"{key} " + "/".join(f"{v:.3f}".rstrip("0").rstrip(".") for v in values))
    return ", ".join(parts)


class Run:
    """All of the chosen scenarios, round after round."""

    def __init__(self, bench: Bench, watchdog: Watchdog, results: report.Results) -> None:
        self._bench, self._watchdog, self._results = bench, watchdog, results

    def scenario(self, scenario: Scenario, subjects: list[str]) -> None:
        for number in range(self._bench.plan.runs):
            # Whoever runs second finds the machine as the first left it: take turns.
            for subject in subjects if number % 2 == 0 else reversed(subjects):
                self._step(scenario, subject, Step(self._bench, subject, number))

    def levers(self, scenario: Scenario) -> None:
        chosen = levers.variants(scenario.name)
        for number in range(self._bench.plan.runs):
            for name in chosen if number % 2 == 0 else reversed(chosen):
                if name == levers.NONE and number > 0:
                    continue  # it takes as long as it may
                step = Step(self._bench, "mount", number, chosen[name])
                self._step(scenario, name, step)

    def _step(self, scenario: Scenario, subject: str, step: Step) -> None:
        number = step.number
        what = f"{scenario.name}, {subject}, run {number + 1}"
        began = time.monotonic()
        samples = None
        try:
            with self._watchdog.bound(scenario.limit_s(self._bench.plan)), step:
                samples = scenario.run(step)
        except Exception as problem:
            text = f"{what}: {type(problem).__name__}: {problem}"
            say(text)
            ours = subject in (*OURS, BEFORE, "plain", levers.ALL)
            (self._results.problems if ours else self._results.notes).append(
                " ".join(text.split())[:600]
            )
        if samples is not None:
            self._results.add(scenario.name, subject, number, samples)
            self._results.add_usage(scenario.name, subject, step.processes)
            say(f"{what}: {brief(samples)} [{time.monotonic() - began:.1f} s]")


def prepare() -> None:
    """^C, SIGTERM and SIGHUP unwind; no proxy is asked for anything."""

    def end(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]


def make_plan(chosen: argparse.Namespace) -> Plan:
    plan = Plan.quick() if chosen.quick else Plan()
    if chosen.levers:
        plan = levers.plan(plan)
    changes = {name: getattr(chosen, name) for name in ("runs", "size", "library")}
    return dataclasses.replace(plan, **{k: v for k, v in changes.items() if v is not None})


def main() -> int:
    if WAN in sys.argv[1:]:
        from wan import bench as wan_bench  # only here: the others run without root

        prepare()
        return wan_bench.main([word for word in sys.argv[1:] if word != WAN])
    chosen = options()
    prepare()
    programs = chosen.bin.resolve()
    before = chosen.against.resolve() if chosen.against else None
    for build in filter(None, (programs, before)):
        for name in ("magnetfs", "magnetfs-httpd"):
            if not os.access(build / name, os.X_OK):
                say(f"{build / name} is not built")
                return 1
    plan = make_plan(chosen)
    about = report.machine(programs)
    shown = levers.scenarios() if chosen.levers else against(SCENARIOS) if before else SCENARIOS
    if before:
        about += report.machine(before)[:1]
    network, why = join_network()
    results = report.Results()
    if why:
        results.notes.append(f"The swarm is on loopback: {why}")
    missing = dict(unavailable(network))
    if chosen.quick and not chosen.subjects:
        missing.update(dict.fromkeys(("btfs", "webtorrent"), "left out by --quick"))
    results.notes += [f"{name} was not measured: {why}" for name, why in missing.items()]
    folder = Path(tempfile.mkdtemp(prefix="magnetfs-bench-", dir=chosen.tmp)).resolve()
    watchdog = Watchdog(folder)
    code = 0
    try:
        run = Run(Bench(plan, network, folder, programs, before), watchdog, results)
        for scenario in shown:
            if chosen.only and scenario.name not in chosen.only:
                continue
            if chosen.levers:
                run.levers(scenario)
                continue
            wanted = chosen.subjects or scenario.subjects
            run.scenario(
                scenario, [s for s in scenario.subjects if s in wanted and s not in missing]
            )
    except KeyboardInterrupt:
        say("ended by a signal; what was measured so far follows")
        code = 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        left = watchdog.left()
        results.problems += [f"left behind, ended now: {line}" for line in left]
        watchdog.close()
        text = report.markdown(results, plan, about, network.what, shown)
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text(text)
        print(text)
        say(f"the table is in {chosen.output}")
    return code or (1 if results.problems else 0)


if __name__ == "__main__":
    sys.exit(main())
