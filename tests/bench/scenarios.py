"""The scenarios: what is measured, with whom, and which figures come of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Sequence

from harness.slicing import SLICINGS
from harness.torrents import MIB

from clients import (
    CLIENT_FILE,
    CLIENT_LINK_MBIT,
    CLIENTS,
    PLACES,
    clients_floor_s,
    run_clients,
)
from evicting import SEEDERS, TIMES, run_evict
from faults import BAD_EACH, FAULT_LINK_MBIT, run_bad, run_frozen, run_gone
from http_rates import MANY, ROUNDS, run_http
from player import PLAYER_LINK_MBIT, PLAYER_RATE_MBIT, run_player
from library import FEW, FILES, run_library, run_wake
from scale import TORRENTS_LINK_MBIT, run_hot, run_parked, run_pieces, run_torrents
from slices import SLICES_LINK_MBIT, SLICES_PIECES, SLICES_RATE, run_slices
from step import Plan, Samples, Step
from streaming import (
    JUMP_RATE,
    PLAY_LINK_MBIT,
    PLAY_RATE,
    SEEK_LINK_MBIT,
    play_floor_s,
    run_jump,
    run_open,
    run_play,
    run_seek,
    run_two_readers,
    run_whole,
)
from subjects import BEFORE, OURS


@dataclass(frozen=True)
class Figure:
    key: str
    head: str  # the column's
    digits: int = 2
    ratio: bool = False  # also as a multiple of the reference's figure in the same round
    most: bool = False  # the maximum of all is what counts, not the median
    limit: float | None = None  # what the median is not to exceed
    least: float | None = None  # what it is not to fall below


@dataclass(frozen=True)
class Scenario:
    name: str
    what: str
    run: Callable[[Step], Samples]
    subjects: tuple[str, ...]
    figures: tuple[Figure, ...]
    limit_s: Callable[[Plan], float]  # what one step may take before it counts as hung
    reference: str = ""


def against(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """Those that the mount can do, with it and another build's in turn, and the ratios."""
    return tuple(
        replace(
            scenario,
            subjects=(BEFORE, "mount"),
            reference=BEFORE,
            figures=tuple(replace(figure, ratio=True) for figure in scenario.figures),
        )
        for scenario in scenarios
        if "mount" in scenario.subjects
    )


ALL = ("plain", "mount", "stream", "btfs", "webtorrent")
STREAMERS = ALL[1:]
SLOW = 12.0  # how many times as long as it should take a step may take, for the slow peers

SCENARIOS = (
    Scenario(
        "open",
        "From the add of a magnet to its first 64 KiB; one seeder, the link as fast as it goes,"
        " 1 MiB pieces. plain: to its first verified piece. btfs, webtorrent: from the"
        " program's start.",
        run_open,
        ALL,
        (
            Figure("first", "add to first 64 KiB, s", 3, ratio=True),
            Figure("known", "of that until the files are known, s", 3),
        ),
        lambda plan: 60 + plan.size / 5e6,
        "plain",
    ),
    Scenario(
        "whole",
        "The whole file in order, from the add to the last byte. CPU and peak memory of magnetfs"
        " (stream: CPU with the sidecar's); waste: what the seeder sent beyond the file's length.",
        run_whole,
        ALL,
        (
            Figure("rate", "MB/s", 0, ratio=True),
            Figure("cpu", "CPU s", 2, ratio=True),
            Figure("peak", "peak RSS, MB", 0),
            Figure("waste", "waste, %", 2),
        ),
        lambda plan: 90 + plan.size / 2e6,
        "plain",
    ),
    Scenario(
        "seek",
        f"64 KiB at far places, never touched before, {SEEK_LINK_MBIT:g} Mbit/s, from an idle"
        " reader: nothing is on its way when it seeks. Physical limit: 0.55 s for a piece, 1.08 s"
        " for two.",
        run_seek,
        STREAMERS,
        (
            Figure("took", "seek, s", 3),
            Figure("worst", "worst of a run, s", 3),
            Figure("straddle", "of two pieces, s", 3),
            Figure("waste", "waste, %", 2),
        ),
        lambda plan: 60 + SLOW * plan.seeks,
    ),
    Scenario(
        "jump",
        f"The same after playing for some seconds at {JUMP_RATE * 8 / 1e6:g} Mbit/s over"
        f" {SEEK_LINK_MBIT:g} Mbit/s. In vain: what the seeder sent from the jump on that the jump"
        " did not ask for (stream: with what the sidecar read on before the connection closed).",
        run_jump,
        STREAMERS,
        (
            Figure("took", "jump, s", 3),
            Figure("worst", "worst of a run, s", 3),
            Figure("vain", "in vain, MB", 2),
        ),
        lambda plan: 60 + (plan.jump_play_s * 4 + 30) * plan.jumps,
    ),
    Scenario(
        "play",
        f"A paced reader: the last 64 KiB, then from the head on at {PLAY_RATE * 8 / 1e6:g} Mbit/s"
        f" with one second in hand, over {PLAY_LINK_MBIT:g} Mbit/s, 64 KiB pieces. Head: add to the"
        " first 64 KiB after the tail, when a player can begin. Start: add to first second of data;"
        f" the link alone takes {play_floor_s(Plan.play_s):.2f} s for their pieces and the tail's.",
        run_play,
        STREAMERS,
        (
            Figure("tail", "add to tail, s", 3),
            Figure("head", "head, s", 3),
            Figure("start", "start, s", 3),
            Figure("stalls", "stalls", 0),
            Figure("stalled", "stalled in all, s", 2),
            Figure("worst", "longest, s", 2),
            Figure("waste", "waste, %", 2),
        ),
        lambda plan: 120 + plan.play_s * 3,
    ),
    Scenario(
        "player",
        f"mpv plays an mp4 of {PLAYER_RATE_MBIT:g} Mbit/s, its index at the end, over"
        f" {PLAYER_LINK_MBIT:g} Mbit/s, 64 KiB pieces. Start: from the add to the first picture, mpv's"
        " own start included; file: a complete file on the disk. Runs on: until it has the second of"
        " film in hand that it waits for when nothing comes right behind the first picture.",
        run_player,
        ("file", *OURS),
        (
            Figure("start", "add to first picture, s", 3),
            Figure("runs_on", "runs on, s", 2),
            Figure("stalls", "stalls", 0),
            Figure("stalled", "stalled in all, s", 2),
            Figure("waste", "waste, %", 2),
        ),
        lambda plan: 200 + plan.player_s * 3,
    ),
    Scenario(
        "slices",
        f"A film of {SLICES_RATE * 8 / 1e6:g} Mbit/s over {SLICES_LINK_MBIT:g} Mbit/s, played with one"
        " second in hand, asked for once (stream) and in many small requests; pieces of 1 and 4 MiB."
        " Start: add to first second of data.",
        run_slices,
        ("stream", *SLICINGS),
        tuple(
            Figure(f"{key}{piece // MIB}", f"{piece // MIB} MiB: {head}", digits, ratio, limit=limit)
            for piece in SLICES_PIECES
            for key, head, digits, ratio, limit in (
                ("start", "start, s", 2, True, None),
                ("stalls", "stalls", 0, False, 0.0),
                ("stalled", "stalled, s", 2, False, None),
                ("waste", "waste, %", 2, False, 3.0),
            )
        ),
        lambda plan: 240 + plan.slices_s * 4,
        "stream",
    ),
    Scenario(
        "two-readers",
        f"Two readers as fast as they get bytes, at the head and in the middle of one file, over"
        f" {SEEK_LINK_MBIT:g} Mbit/s.",
        run_two_readers,
        OURS,
        (
            Figure("first", "head, Mbit/s", 2),
            Figure("second", "middle, Mbit/s", 2),
            Figure("slower", "slower / faster", 2),
            Figure("sum", "both, Mbit/s", 2),
        ),
        lambda plan: 90 + plan.two_s * 3,
    ),
    Scenario(
        "frozen",
        f"Two seeders share {FAULT_LINK_MBIT:g} Mbit/s; one of them is stopped (SIGSTOP) while a"
        " reader takes all it gets. Gap: the longest time without the end of a read.",
        run_frozen,
        OURS,
        (
            Figure("before", "worst gap before, s", 2),
            Figure("after", "worst gap after, s", 2),
            Figure("rate", "rate after, Mbit/s", 1),
            Figure("share", "sent by the one that froze, %", 0),
        ),
        lambda plan: 150 + plan.freeze_after_s + plan.freeze_s,
    ),
    Scenario(
        "gone",
        f"The only seeder, over {FAULT_LINK_MBIT:g} Mbit/s, is killed while a reader takes all it"
        f" gets, and is back at its address and port after {Plan.gone_short_s:g} s, later after"
        f" {Plan.gone_long_s:g} s (--quick: less): from its return, when it listens, to the next"
        f" 64 KiB. Then the link is taken down for {Plan.gone_long_s:g} s, of which nobody is told, and"
        f" up again. The same with --read-timeout {Plan.gone_timeout_s}, back"
        f" {Plan.gone_eio_s:g} s after that; a read that fails is tried again.",
        run_gone,
        OURS,
        (
            Figure("short", "short absence: next bytes, s", 2),
            Figure("long", "long absence, s", 2),
            Figure("cut", "link down as long, s", 2),
            Figure("eio", "time-out: kill to EIO, s", 2),
            Figure("at_once", "slowest EIO from then on, ms", 1),
            Figure("after_eio", "next bytes after the return, s", 2),
            Figure("late", "EIO after those", 0),
        ),
        lambda plan: 300 + plan.gone_long_s,
    ),
    Scenario(
        "bad",
        f"The whole file from two seeders that share {FAULT_LINK_MBIT:g} Mbit/s; one of them sends"
        f" garbage for every {BAD_EACH}th piece of 1 MiB. Lost: against two that are right. In vain:"
        " what both sent beyond the file's length. Every byte read is compared.",
        run_bad,
        OURS,
        (
            Figure("good", "both right, s", 2),
            Figure("bad", "one bad, s", 2),
            Figure("lost", "lost, s", 2),
            Figure("vain", "pieces in vain", 1),
            Figure("each", "lost for each, s", 2),
            Figure("gap", "worst gap, s", 2),
        ),
        lambda plan: 300,
    ),
    Scenario(
        "clients",
        "Each client that is installed as the only seeder, 1 MiB pieces: a file of"
        f" {CLIENT_FILE // MIB} MiB whole, from the add on, over {CLIENT_LINK_MBIT:g} Mbit/s, of"
        f" which the link takes {clients_floor_s():.2f} s; and the longest that 64 KiB take while"
        f" another file is read at {len(PLACES)} far places in turn, with every other one opened"
        " anew.",
        run_clients,
        ("plain", "mount"),
        (
            *(Figure(name, f"{name}: whole, s", 2) for name in CLIENTS),
            *(Figure(f"{name}_gap", f"{name}: worst gap, s", 2, limit=2.0) for name in CLIENTS),
        ),
        lambda plan: 120.0 + 240 * len(CLIENTS),
    ),
    Scenario(
        "parked",
        "Reads of a torrent nobody has, each parked; stat of names never looked up before, and"
        " another torrent read whole beside them and alone (as fast as it goes).",
        run_parked,
        ("mount",),
        (
            Figure("parked", "parked reads", 0),
            Figure("took", "to park them, s", 1),
            Figure("grown", "RSS growth, MB", 1),
            Figure("calm", "stat p99 before, µs", 0),
            Figure("stat", "stat p99 beside, µs", 0),
            Figure("alone", "other torrent alone, MB/s", 0),
            Figure("beside", "beside, MB/s", 0),
            Figure("share", "beside / alone", 2),
            Figure("gone", "to be rid of them, s", 2),
        ),
        lambda plan: 240,
    ),
    Scenario(
        "pieces",
        "CPU time of magnetfs for each piece of 16 KiB, of which none was there, in a torrent of"
        f" {Plan.pieces_few:,} pieces and in one of {Plan.pieces_many:,} (--quick: less); scattered"
        " single reads, and the last pieces of the file in order; as fast as the link goes.",
        run_pieces,
        ("mount",),
        (
            Figure("scattered_few", "scattered, few pieces, µs", 0),
            Figure("scattered_many", "many, µs", 0),
            Figure("scattered_ratio", "many / few", 2),
            Figure("in_order_few", "in order, few, µs", 0),
            Figure("in_order_many", "many, µs", 0),
            Figure("in_order_ratio", "many / few", 2),
        ),
        lambda plan: 240,
    ),
    Scenario(
        "torrents",
        f"Many torrents awake, each read by one reader at once, over {TORRENTS_LINK_MBIT:g} Mbit/s"
        " from one seeder; rates over the whole time, the wait for the first byte included.",
        run_torrents,
        ("mount",),
        (
            Figure("known", "all their files known, s", 2),
            Figure("first", "last first 64 KiB, s", 2),
            Figure("sum", "all, MB/s", 1),
            Figure("mean", "mean, kB/s", 0),
            Figure("slowest", "slowest, kB/s", 0),
            Figure("share", "slowest / mean", 2),
        ),
        lambda plan: 180,
    ),
    Scenario(
        "hot",
        "A file that is complete. Cold: not in the page cache, so all through the daemon; hot: all"
        " in it. As multiples of the hot read of a copy of it. plain: the file that plain libtorrent"
        " downloaded, as it left it. stream has no page cache of its own. Small pages: the copy on"
        " tmpfs, in pages of 4 KiB, which FUSE has, too; a file system with larger ones is quicker.",
        run_hot,
        ("file", "plain", *OURS),
        (
            Figure("cold", "cold, MB/s", 0, ratio=True),
            Figure("hot", "hot, MB/s", 0, ratio=True),
            Figure("small", "hot, small pages, MB/s", 0),
        ),
        lambda plan: 120 + plan.hot / 5e6,
        "file",
    ),
    Scenario(
        "http",
        f"A complete file over HTTP, by one client and by {MANY} at once: the sidecar, and nginx with"
        f" sendfile that serves the same file of the same mount, {ROUNDS} times in turn. nginx has it in"
        " the page cache. Clients read all that comes.",
        run_http,
        ("stream",),
        (
            Figure("one", "one client, MB/s", 0),
            Figure("one_nginx", "nginx", 0),
            Figure("one_share", "sidecar / nginx", 2, least=0.8),
            Figure("many", f"{MANY} clients, MB/s", 0),
            Figure("many_nginx", "nginx", 0),
            Figure("many_share", "sidecar / nginx", 2, least=0.8),
        ),
        lambda plan: 120 + plan.hot * (MANY + 1) * 2 * ROUNDS / 100e6,
    ),
    Scenario(
        "library",
        f"{Plan.library:,} kept torrents of {FILES} files (--torrents and --quick: fewer) that nobody"
        " reads, after a start: mounted: from exec to the root's names; ls -l of the root, then find over"
        " all, both for the first time; RSS before and after those. The add of one more .torrent, beside"
        f" the same with {FEW} there.",
        run_library,
        ("mount",),
        (
            Figure("mounted", "mounted, s", 2, limit=3),
            Figure("ls", "ls -l, s", 2, limit=0.5),
            Figure("find", "find, s", 2, limit=5),
            Figure("fresh", "RSS before, MB", 0),
            Figure("rss", "after, MB", 0, limit=150),
            Figure("session", "session, ms", 2, limit=1),
            Figure("status", "status, s", 3, limit=0.5),
            Figure("add", "one more add, ms", 1),
            Figure("add_few", f"to {FEW}, ms", 1),
            Figure("add_ratio", "many / few", 2),
            Figure("idle", "idle CPU, %", 2, limit=1),
            Figure("stop", "stop, s", 2, limit=2),
        ),
        lambda plan: 240 + plan.library / 10,
    ),
    Scenario(
        "wake",
        "Torrents that are asleep after a start: the first 64 KiB of a missing piece of 256 KiB that a"
        " live peer has, its own time (another such piece of the torrent, awake), and what waking takes"
        " beyond that; 64 KiB of what is in the store, which wakes nothing. Then a stop with all of"
        f" {Plan.awake} awake (--quick: fewer), a read parked in each and the seeder stopped: after the next"
        " start all is there.",
        run_wake,
        ("mount",),
        (
            Figure("woken", "from asleep, s", 3),
            Figure("own", "awake, s", 3),
            Figure("beyond", "beyond, s", 3, limit=0.3),
            Figure("stored", "in the store, ms", 2, limit=5),
            Figure("awake", "torrents awake", 0),
            Figure("stop", "stop, s", 2, limit=2),
        ),
        lambda plan: 240,
    ),
    Scenario(
        "evict",
        f"A file of {TIMES} times the cache, read in order as fast as it goes, from {SEEDERS} seeders,"
        " 1 MiB pieces; and the same with a cache that evicts nothing. Rates from the add on.",
        run_evict,
        ("mount",),
        (
            Figure("alone", "large cache, MB/s", 0),
            Figure("beside", "evicting, MB/s", 0),
            Figure("share", "evicting / large", 2, least=0.9),
            Figure("evicted", "evicted, MB", 0),
        ),
        lambda plan: 120 + plan.evict / 2e6,
    ),
)
