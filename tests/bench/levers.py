"""What each part of the engine and each setting gives: scenarios with one of them left out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Sequence

from harness.torrents import MIB

from scenarios import SCENARIOS, Scenario
from step import Plan

ALL = "as it is"
NONE = "without any"  # once


@dataclass(frozen=True)
class Lever:
    name: str
    settings: tuple[str, ...]  # --set: the part left out, or libtorrent's default
    scenarios: tuple[str, ...]  # where it is meant to show

    @property
    def options(self) -> list[str]:
        return [word for setting in self.settings for word in ("--set", setting)]


LEVERS = (
    Lever("anchor", ("engine_anchor=0",), ("seek", "jump")),
    Lever("connect at once", ("engine_boost=0",), ("open",)),
    Lever("call again at once", ("engine_call_again=0",), ("gone",)),
    Lever("take requests back", ("engine_cancel=0",), ("jump",)),
    Lever("falling priorities", ("engine_falling=0",), ("jump", "play")),
    Lever("interest at once", ("engine_interest=0",), ("open",)),
    Lever("make way", ("engine_make_way=0",), ("seek", "jump", "frozen")),
    Lever("queues by rate", ("engine_queues=0",), ("open", "seek", "jump")),
    Lever("spares", ("engine_spares=0",), ("jump", "frozen")),
    Lever("watch on peers", ("engine_watch=0",), ("frozen",)),
    Lever("tick_interval", ("tick_interval=500",), ("open",)),
    Lever("initial_picker_threshold", ("initial_picker_threshold=4",), ("open", "seek", "play")),
    Lever("auto_sequential", ("auto_sequential=1",), ("jump", "play")),
    Lever("time-outs of requests", ("piece_timeout=20", "request_timeout=60"), ("frozen",)),
    Lever(
        "idle connections kept",
        ("close_redundant_connections=1", "seeding_outgoing_connections=1"),
        ("seek",),
    ),
    Lever("min_reconnect_time", ("min_reconnect_time=60",), ("gone",)),
    Lever("TCP first", ("enable_outgoing_utp=1",), ("open", "whole")),
)
# Of the scenarios' figures those that a lever may move.
FIGURES = {
    "open": ("first",),
    "whole": ("rate", "cpu"),
    "seek": ("took", "worst", "waste"),
    "jump": ("took", "worst", "vain"),
    "play": ("head", "start", "stalls", "waste"),
    "frozen": ("after", "rate"),
    "gone": ("short", "long", "cut", "after_eio"),
}


def plan(plan: Plan) -> Plan:
    """Many variants: less of each than when the engine itself is measured."""
    return dataclasses.replace(
        plan, seeks=min(plan.seeks, 8), jump_play_s=min(plan.jump_play_s, 6.0),
        jumps=min(plan.jumps, 2), play_s=min(plan.play_s, 15.0),
        freeze_after_s=min(plan.freeze_after_s, 3.0), freeze_s=min(plan.freeze_s, 8.0),
        gone_long_s=min(plan.gone_long_s, 8.0), size=min(plan.size, 256 * MIB),
    )  # fmt: skip


def variants(scenario: str) -> dict[str, list[str]]:
    """What is measured in it: name and magnetfs' options."""
    there = [lever for lever in LEVERS if scenario in lever.scenarios]
    found: dict[str, list[str]] = {ALL: []}
    found.update({f"without: {lever.name}": lever.options for lever in there})
    if there:
        found[NONE] = [word for lever in LEVERS for word in lever.options]
    return found


def scenarios() -> Sequence[Scenario]:
    """Each with its variants as subjects and their figures as multiples of the engine's as it is."""
    found = []
    for scenario in SCENARIOS:
        if scenario.name not in FIGURES:
            continue
        figures = [
            dataclasses.replace(figure, ratio=False)
            for figure in scenario.figures
            if figure.key in FIGURES[scenario.name]
        ]
        found.append(
            dataclasses.replace(
                scenario,
                subjects=tuple(variants(scenario.name)),
                figures=tuple(figures),
                reference="",
            )
        )
    return found
