"""What nothing can beat: a fluid model of the swarm.

All seeders that are well at all times serve the bytes that are waited for at once, each in TCP's
slow start from ten segments, all through the host's link, and the bytes can be divided at will, or
are asked for in blocks of 16 KiB, as BEP 3 has it. After the add each begins when it is connected and
the metadata is there. Where peers have a part of the pieces, a single piece is with some of them:
what it takes is the mean over many draws of who has it.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from typing import Any

from harness.torrents import KIB, MIB

from wan.profiles import Peer, Profile

STEP_S = 0.005
WINDOW = 10 * 1460  # bytes; RFC 6928
PAYLOAD = 0.96  # of a packet, what is no header
TURNS = 3  # round trips until the nearest peer has given the metadata: TCP, handshake, metadata
CONNECTED = 2  # of them until a peer can be asked
HEAD = 64 * KIB
BLOCK = 16 * KIB
GIVE_UP_S = 3600.0
DRAWS = 64


def _whole_rate(peer: Peer) -> float:
    """Bytes a second of the pieces that it has; far enough ahead there are always some."""
    gives = peer.up * PAYLOAD if peer.gives is None else peer.gives
    return gives * 1e6 / 8


def _rate(peer: Peer) -> float:
    """Bytes a second of the pieces that somebody waits for."""
    return _whole_rate(peer) * peer.partial


def _steady(profile: Profile) -> list[Peer]:
    return [peer for peer in profile.peers if peer.steady]


def arrival_s(
    profile: Profile,
    length: int,
    warm: bool = False,
    dialled_s: float | None = None,
    block: int = 0,
) -> float:
    """From the requests to the last of so many bytes. warm: TCP's windows are open already.
    dialled_s: the peers were dialled so long before, and a far one is not connected yet. block: what
    a peer has not sent a whole block of is nothing yet."""
    link = profile.down * 1e6 / 8 * PAYLOAD
    peers = []
    for peer in _steady(profile):
        rtt = peer.rtt / 1e3
        later = 0.0 if dialled_s is None else max(0.0, CONNECTED * rtt - dialled_s)
        peers.append((rtt, later, _rate(peer)))
    sent = [0.0] * len(peers)
    at = got = 0.0
    while got < length and at < GIVE_UP_S:
        at += STEP_S
        rates = []
        for rtt, later, most in peers:
            since = at - later - rtt
            doubled = min(int(since / rtt), 30) if since >= 0 else 0
            now = most if warm else min(most, WINDOW * 2**doubled / rtt)
            rates.append(now if since >= 0 else 0.0)
        part = min(1.0, link / sum(rates)) if sum(rates) > 0 else 0.0
        sent = [had + rate * part * STEP_S for had, rate in zip(sent, rates)]
        got = sum(had // block * block if block else had for had in sent)
    return at


def _with_a_piece(profile: Profile) -> list[Profile]:
    """The profile with those of its peers that have a piece, for many pieces."""
    if all(peer.partial == 1 for peer in profile.peers):
        return [profile]
    chance = random.Random(0)
    return [
        replace(
            profile,
            peers=tuple(
                replace(peer, partial=1.0)
                for peer in profile.peers
                if chance.random() < peer.partial
            ),
        )
        for _ in range(DRAWS)
    ]


def _piece_s(profile: Profile, length: int, **how: Any) -> float:
    """arrival_s of a single piece, or of a part of one."""
    return statistics.mean(arrival_s(one, length, **how) for one in _with_a_piece(profile))


def _pieces(offset: int, length: int, piece: int) -> int:
    """How many bytes the pieces of that range have."""
    return ((offset + length - 1) // piece - offset // piece + 1) * piece


def limits(profile: Profile, piece_mib: int) -> dict[str, float]:
    """By the names of the figures."""
    piece = piece_mib * MIB
    nearest_s = TURNS * min(peer.rtt for peer in _steady(profile)) / 1e3
    second = round(profile.film_rate)
    head = _pieces(0, HEAD, piece)
    picture = _pieces(0, HEAD + second, piece) + piece  # and the tail's
    total = sum(_whole_rate(peer) for peer in _steady(profile))
    return {
        "first_s": nearest_s + _piece_s(profile, head, dialled_s=nearest_s),
        "tail_s": nearest_s + arrival_s(profile, head + piece, dialled_s=nearest_s),
        "picture_s": nearest_s + arrival_s(profile, picture, dialled_s=nearest_s),
        "seek_s": _piece_s(profile, piece, warm=True),
        "seek_cold_s": _piece_s(profile, piece),
        "seek_blocks_s": _piece_s(profile, piece, block=BLOCK),
        "first_blocks_s": nearest_s + _piece_s(profile, head, dialled_s=nearest_s, block=BLOCK),
        "mbit": min(total, profile.down * 1e6 / 8 * PAYLOAD) * 8 / 1e6,
    }
