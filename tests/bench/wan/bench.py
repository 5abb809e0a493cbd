"""Measures magnetfs in emulated wide-area swarms; see --help. Started by ../bench.py."""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Sequence

import report as bench_report
from harness import processes
from harness.torrents import MIB
from watchdog import Watchdog

from wan import film, report, world
from wan.measure_process import Spec
from wan.profiles import PROFILES, TRANSMISSION

PROGRAM = Path(__file__).with_name("measure_process.py")
SCENARIOS = ("tour", "whole", "vain", "viewers", "scan")
OURS = ("mount", "stream")
PEERS = ("webtorrent",)  # measured where it is installed
PROGRAMS = ("magnetfs", "magnetfs-httpd")
PIECES = (1, 4)
NOT_HERE = 77  # the exit code when this machine can't emulate it
SIZE_MIN_MIB = 64
# What a measurement may take beyond its time, until it counts as hung: the swarm's start, a play
# that stalls, and each seek.
LIMIT_S, PLAY_TIMES, SEEK_S = 150.0, 2.0, 30.0
ALL_S = 3.0  # … and each MiB of the film, where all of it is read
GRACE_S = 30.0  # from its own bound to its end by force
END_S = 10.0  # from SIGTERM to its end by force
LOOK_S = 1.0


def _list_of(known: Sequence[Any], kind: Callable[[str], Any] = str) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        found = []
        for word in text.split(","):
            if word not in [str(name) for name in known]:
                there = ", ".join(map(str, known))
                raise argparse.ArgumentTypeError(f"no {word!r}; there are {there}")
            found.append(kind(word))
        return found

    return parse


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench --wan",
        description="Measures magnetfs in emulated wide-area swarms. It needs root and"
        " /dev/net/tun, and ends with 77 where these are missing, with 1 when something could not"
        " be measured.",
        epilog="Profiles: " + "; ".join(f"{p.name}: {p.what}" for p in PROFILES.values()) + ".",
    )
    parser.add_argument(
        "--profiles", type=_list_of(list(PROFILES)), default=list(PROFILES), metavar="PROFILE,…"
    )
    parser.add_argument(
        "--pieces", type=_list_of(PIECES, int), default=list(PIECES), help="1,4 (MiB)"
    )
    parser.add_argument(
        "--only", type=_list_of(SCENARIOS), default=list(SCENARIOS), help=",".join(SCENARIOS)
    )
    parser.add_argument(
        "--subjects",
        type=_list_of(list(report.EXPLAINED)),
        default=[name for name in report.EXPLAINED if name not in PEERS or shutil.which(name)],
        metavar="SUBJECT,…",
        help="only these of " + ", ".join(report.EXPLAINED),
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    parser.add_argument("--play", type=float, default=60.0, metavar="S", help="seconds (60)")
    parser.add_argument("--seeks", type=int, default=7, metavar="N")
    parser.add_argument(
        "--whole", type=float, default=30.0, metavar="S", help="seconds of reading in order (30)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="worlds at a time (1)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of magnetfs; may be there several times",
    )
    parser.add_argument(
        "--bin",
        type=Path,
        action="append",
        metavar="DIR",
        help="magnetfs and its sidecar are here; several are compared; nothing is built",
    )
    parser.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="compares with the programs of that build",
    )
    parser.add_argument(
        "--most-vain",
        type=float,
        metavar="PERCENT",
        help="fails where vain shows that more of the film was sent in vain",
    )
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="of the film (512)")
    parser.add_argument(
        "--others",
        type=int,
        default=0,
        metavar="N",
        help="files of 300 kB beside the film; for mount and stream, without Transmission (0)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=bench_report.ROOT / "build" / "bench-wan.md",
        metavar="FILE",
        help="the table; beside it is a .jsonl with each measurement",
    )
    parser.add_argument(
        "--tmp", type=Path, help="a folder on the disk to measure on ($TMPDIR or /tmp)"
    )
    chosen = parser.parse_args(arguments)
    if min(chosen.runs, chosen.jobs, chosen.seeks) < 1:
        parser.error("--runs, --jobs and --seeks: at least 1")
    if chosen.size < SIZE_MIN_MIB:
        parser.error(f"--size: at least {SIZE_MIN_MIB}: seeks need room")
    if chosen.others and not set(chosen.subjects) <= set(OURS):
        parser.error("--others: --subjects mount, stream")
    if not 0 <= chosen.others <= chosen.size:
        parser.error("--others: one for each MiB of the film at most")
    chosen.builds = [
        path.resolve()
        for path in (chosen.bin or [bench_report.ROOT / bench_report.BUILT]) + chosen.against
    ]
    return chosen


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _obstacle(chosen: argparse.Namespace) -> str:
    """Why there can be no emulated swarm here; "" if there can be."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as problem:
        return f"/dev/net/tun: {problem.strerror}"
    programs = ["cc", "ip", "nsenter", "opentracker"]
    peers = [peer for name in chosen.profiles for peer in PROFILES[name].peers]
    if any(peer.client == TRANSMISSION for peer in peers):
        programs.append("transmission-daemon")
    programs += [name for name in PEERS if name in chosen.subjects]
    missing = [name for name in programs if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def _brief(figures: dict[str, Any]) -> str:
    parts = []
    for key, value in figures.items():
        if key != "failed":
            values = bench_report.numbers(value)
            parts.append(f"{key} " + "/".join(f"{v:.2f}" for v in values))
    return ", ".join(parts)


@dataclass
class Job:
    """One measurement to make."""

    spec: Spec
    build: int  # from 1
    builds: list[Path]

    @property
    def label(self) -> str:
        """The row's."""
        named = len(self.builds) > 1 and self.spec.subject in OURS
        return self.spec.subject + (f", build {self.build}" if named else "")

    @property
    def what(self) -> str:
        spec = self.spec
        return (
            f"{spec.profile}, {spec.piece_mib} MiB, {spec.scenario}, {self.label},"
            f" run {spec.run + 1}"
        )


class Running:
    """A measurement under way, in a process of its own."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.began = time.monotonic()
        Path(job.spec.folder).mkdir(parents=True)
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(asdict(job.spec)))
        self._process.stdin.close()
        self.fd = self._process.stdout.fileno()

    @property
    def hangs(self) -> bool:
        return time.monotonic() > self.began + self.job.spec.limit_s + GRACE_S

    def result(self) -> dict[str, Any]:
        """What it said. It has closed its end."""
        assert self._process.stdout
        said = self._process.stdout.read()
        self.end()
        try:
            return json.loads(said)
        except ValueError:
            return {"failed": f"the measurement ended with {self._process.returncode}"}

    def end(self) -> None:
        """Ends it, and what it started."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                started = processes.descendants(self._process.pid)
                processes.kill_all([self._process.pid, *started])
                self._process.wait()
        for mountpoint in processes.mounts_beneath(self.job.spec.folder):
            processes.unmount_lazily(mountpoint)
        shutil.rmtree(self.job.spec.folder, ignore_errors=True)


def _copies(builds: Sequence[Path], folder: Path) -> list[Path]:
    """The programs as they are now: a run takes hours, in which they may be built again."""
    copies = []
    for number, programs in enumerate(builds, 1):
        copy = folder / f"build-{number}"
        copy.mkdir()
        for name in PROGRAMS:
            shutil.copy2(programs / name, copy / name)
        copies.append(copy)
    return copies


def _jobs(chosen: argparse.Namespace, folder: Path, emulator: Path) -> list[Job]:
    """In the order of their making: builds and subjects side by side, and the first of them last in
    the next run."""
    copies = _copies(chosen.builds, folder)
    jobs = []
    for run in range(chosen.runs):
        for profile in chosen.profiles:
            for piece_mib in chosen.pieces:
                for scenario in chosen.only:
                    kinds = [
                        (subject, build)
                        for subject in chosen.subjects
                        for build in range(1, len(chosen.builds) + 1)
                        if build == 1 or subject in OURS
                    ]
                    extra_s = chosen.play * PLAY_TIMES + chosen.seeks * SEEK_S
                    if scenario == "whole":
                        extra_s = chosen.whole
                    elif scenario == "vain":
                        extra_s += chosen.size * ALL_S
                    for subject, build in kinds if run % 2 == 0 else reversed(kinds):
                        spec = Spec(
                            profile=profile,
                            piece_mib=piece_mib,
                            scenario=scenario,
                            subject=subject,
                            programs=str(copies[build - 1]),
                            settings=chosen.set,
                            run=run,
                            play_s=chosen.play,
                            seeks=chosen.seeks,
                            whole_s=chosen.whole,
                            limit_s=LIMIT_S + extra_s,
                            film=str(folder / "film"),
                            emulator=str(emulator),
                            folder=str(folder / f"job-{len(jobs)}"),
                        )
                        jobs.append(Job(spec, build, chosen.builds))
    return jobs


class Runner:
    """Makes the measurements, some at a time."""

    def __init__(self, at_a_time: int, lines: Path) -> None:
        self._at_a_time = at_a_time
        self._lines = lines
        self._running: dict[int, Running] = {}  # by file descriptor
        self.samples: list[dict[str, Any]] = []

    def run(self, jobs: Sequence[Job]) -> None:
        waiting = deque(jobs)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._at_a_time:
                    running = Running(waiting.popleft())
                    self._running[running.fd] = running
                for fd in select.select(list(self._running), [], [], LOOK_S)[0]:
                    running = self._running.pop(fd)
                    self._take(running, running.result())
                for running in [one for one in self._running.values() if one.hangs]:
                    del self._running[running.fd]
                    running.end()
                    self._take(running, {"failed": "it hung"})
        finally:
            for running in self._running.values():
                running.end()

    def _take(self, running: Running, figures: dict[str, Any]) -> None:
        job, spec = running.job, running.job.spec
        took = time.monotonic() - running.began
        sample = {
            "what": job.what,
            "label": job.label,
            "profile": spec.profile,
            "piece_mib": spec.piece_mib,
            "scenario": spec.scenario,
            "subject": spec.subject,
            "build": job.build,
            "programs": str(job.builds[job.build - 1]),
            "settings": spec.settings,
            "run": spec.run + 1,
            "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **figures,
        }
        self.samples.append(sample)
        with open(self._lines, "a") as stream:
            stream.write(json.dumps(sample) + "\n")
        _say(f"{job.what}: {figures.get('failed', '')} {_brief(figures)} [{took:.1f} s]")


def _about(chosen: argparse.Namespace) -> list[str]:
    lines = []
    for number, programs in enumerate(chosen.builds, 1):
        program, machine = bench_report.machine(programs)
        name = f"Build {number}: " if len(chosen.builds) > 1 else ""
        lines.append(name + program)
    lines.append(machine)
    if chosen.set:
        lines.append(f"Settings: {', '.join(chosen.set)}")
    if chosen.jobs > 1:
        lines.append(f"{chosen.jobs} worlds at a time")
    return [f"{line}." for line in lines]


def main(arguments: Sequence[str]) -> int:
    """The caller has seen to signals and proxies."""
    chosen = _options(arguments)
    for programs in chosen.builds:
        for name in PROGRAMS:
            if not os.access(programs / name, os.X_OK):
                _say(f"{programs / name} is not built")
                return 1
    why = _obstacle(chosen)
    if why:
        _say(f"no wide-area swarm can be emulated here: {why}")
        return NOT_HERE
    about = _about(chosen)
    folder = Path(tempfile.mkdtemp(prefix="magnetfs-bench-", dir=chosen.tmp)).resolve()
    watchdog = Watchdog(folder)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    lines = chosen.output.with_suffix(".jsonl")
    lines.write_text("")
    runner = Runner(chosen.jobs, lines)
    code = 0
    left: list[str] = []
    try:
        emulator = world.compile_emulator(folder)
        film.make(folder / "film", chosen.size * MIB, chosen.pieces, chosen.others)
        runner.run(_jobs(chosen, folder, emulator))
    except KeyboardInterrupt:
        _say("ended by a signal; what was measured so far follows")
        code = 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        left = watchdog.left()
        watchdog.close()
    text = report.markdown(runner.samples, about, chosen.runs, chosen.size * MIB / 1e6)
    chosen.output.write_text(text)
    print(text)
    for line in left:
        _say(f"left behind, ended now: {line}")
    _say(f"the table is in {chosen.output}")
    most = chosen.most_vain
    for sample in runner.samples:
        if most is not None and sample.get("vain_pct", 0) > most:
            sample["failed"] = f"{sample['vain_pct']:.1f} % in vain"
            _say(f"{sample['what']}: {sample['failed']}, {most:g} at most")
    failed = left or any("failed" in sample for sample in runner.samples)
    return code or (1 if failed else 0)
