"""Peers that stop, go away or send garbage: a reader gets the right bytes, or an error in time."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Callable, Iterator

import pytest

from harness import sockets, waiting
from harness.kinds import V2, Entry, KindMaker
from harness.library import cpu_s
from harness.mount import Magnetfs, errno_name, errno_of
from harness.reading import Parked, read_exactly
from harness.rogue import RoguePeer, Rogues
from harness.scripted_peer import Peers
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, TorrentMaker
from harness.tracker import HangingTracker, OpenTracker
from harness.transmission import Transmission

PIECE = 256 * KIB
SOON_S = 10.0  # generous: what scripts/bench measures is well below 2 s
# Of one that rejects each: what comes between two looks at it, twice.
HASH_REQUESTS_MAX = 8000
READ_TIMEOUT_S = 2


@pytest.fixture
def two(run_folder: Path) -> Iterator[list[Seeder]]:
    """Two seeders, each at an address of its own, as those of a real swarm are."""
    pair = [Seeder("127.0.0.2"), Seeder("127.0.0.3")]
    yield pair
    for one in pair:
        one.close()


@pytest.fixture
def hasty(magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    return magnetfs("--read-timeout", str(READ_TIMEOUT_S))


def opened(path: Path, request: pytest.FixtureRequest) -> int:
    fd = os.open(path, os.O_RDONLY)
    request.addfinalizer(lambda: os.close(fd))
    return fd


def fails_with_eio(fd: int, offset: int) -> float:
    """Seconds a read takes that must fail."""
    began = time.monotonic()
    assert errno_name(errno_of(os.pread, fd, 4 * KIB, offset)) == "EIO"
    return time.monotonic() - began


def read_in_time(fd: int, offset: int, length: int) -> bytes:
    """As a program that tries again after EIO; SOON_S for all of it."""

    def again() -> bytes:
        try:
            return read_exactly(fd, offset, length)
        except OSError as problem:
            assert errno_name(problem.errno or 0) == "EIO"
            return b""

    return waiting.until("bytes from the peer that is back", again, SOON_S)


def test_one_of_two_seeders_freezes(
    fs: Magnetfs, two: list[Seeder], torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    torrent = torrents.single("freezing.bin", 10 * MIB, seed=61, piece_length=PIECE)
    for one in two:
        one.seed(torrent, upload_limit=2 * MIB)
    fd = opened(fs.add_torrent(torrent, *two) / torrent.name, request)
    block = 128 * KIB
    worst = 0.0
    for offset in range(0, torrent.length, block):
        if offset == 3 * MIB:
            sent = [one.sent(torrent) for one in two]
            assert min(sent) > 0, f"both must take part: {sent}"
            two[0].freeze()
        began = time.monotonic()
        data = read_exactly(fd, offset, block)
        worst = max(worst, time.monotonic() - began)
        assert data == torrent.read(torrent.name, offset, block), f"wrong bytes at {offset}"
    assert worst <= SOON_S, f"a read took {worst:.1f} s"


def connections_to(peer: str) -> set[str]:
    """Local ends of this machine's established TCP connections to that address and port."""
    host, _, port = peer.partition(":")
    number = int.from_bytes(socket.inet_aton(host), "little")
    remote = f"{number:08X}:{int(port):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[1] for line in lines if line[2] == remote and line[3] == "01"}


def test_the_only_seeder_is_called_anew_when_it_is_silent(
    fs: Magnetfs, two: list[Seeder], torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """What is lost while a network is away TCP sends again later and later: better a new call."""
    torrent = torrents.single("silent.bin", 4 * MIB, seed=66, piece_length=PIECE)
    only = two[0]
    only.seed(torrent)
    path = fs.add_torrent(torrent, only) / torrent.name
    fd = opened(path, request)
    assert read_exactly(fd, 0, 64 * KIB) == torrent.read(torrent.name, 0, 64 * KIB)
    before = connections_to(only.peer)
    assert len(before) == 1, "magnetfs has called it"
    only.freeze()
    with Parked(path, 2, stride=2 * MIB + PIECE) as readers:
        assert readers.line(SOON_S).startswith("read "), "the head is there already"
        fs.wait_parked(1)
        # Its kernel still takes the call.
        waiting.until(
            "a new connection", lambda: connections_to(only.peer) - before, 2 * SOON_S
        )
        assert not before & connections_to(only.peer), "the old one is given up"
        only.thaw()
        assert readers.line(SOON_S).split()[:2] == ["read", str(64 * KIB)]
    assert read_exactly(fd, 0, torrent.length) == torrent.read(torrent.name)


def test_a_parked_read_ends_when_the_only_peers_are_back(
    fs: Magnetfs, two: list[Seeder], torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """Killed, and back at the same addresses and ports: nothing has to be done by hand."""
    torrent = torrents.single("gone.bin", 4 * MIB, seed=62, piece_length=PIECE)
    for one in two:
        one.seed(torrent)
    path = fs.add_torrent(torrent, *two) / torrent.name
    fd = opened(path, request)
    assert read_exactly(fd, 0, 64 * KIB) == torrent.read(torrent.name, 0, 64 * KIB)
    for one in two:
        one.kill()
    with Parked(path, 2, stride=2 * MIB + PIECE) as readers:
        assert readers.line(SOON_S).startswith("read "), "the head is there already"
        fs.wait_parked(1)
        assert readers.line(1.0) == "", "nobody can have sent anything"
        back = [one.come_back() for one in two]
        said = readers.line(SOON_S).split()
        took = time.monotonic() - min(back)
        assert said[:2] == ["read", str(64 * KIB)], f"{said} after {took:.1f} s"
    assert read_exactly(fd, 0, torrent.length) == torrent.read(torrent.name)


def test_after_a_time_out_reads_fail_at_once_until_the_peer_is_back(
    hasty: Magnetfs, seeder: Seeder, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    torrent = torrents.single("away.bin", 4 * MIB, seed=63, piece_length=PIECE)
    fd = opened(hasty.add_torrent(torrent, seeder.seed(torrent)) / torrent.name, request)
    assert read_exactly(fd, 0, 64 * KIB) == torrent.read(torrent.name, 0, 64 * KIB)
    seeder.kill()
    took = fails_with_eio(fd, 2 * MIB)
    assert READ_TIMEOUT_S - 0.1 <= took <= READ_TIMEOUT_S + 3, f"EIO after {took:.1f} s"
    for offset in (2 * MIB, 3 * MIB):
        assert fails_with_eio(fd, offset) <= 0.5, "a read after the time-out waits anew"
    assert os.pread(fd, 4 * KIB, 0) == torrent.read(torrent.name, 0, 4 * KIB), "what is there"
    seeder.come_back()
    length = 64 * KIB
    assert read_in_time(fd, 2 * MIB, length) == torrent.read(torrent.name, 2 * MIB, length)
    assert read_exactly(fd, 0, torrent.length) == torrent.read(torrent.name)


def test_one_of_two_seeders_sends_garbage(
    fs: Magnetfs,
    two: list[Seeder],
    torrents: TorrentMaker,
    folder: Path,
    request: pytest.FixtureRequest,
) -> None:
    torrent = torrents.single("spoilt.bin", 6 * MIB, seed=64, piece_length=PIECE)
    good, bad = two
    good.seed(torrent, upload_limit=2 * MIB)
    spoilt = range(1, torrent.length // PIECE, 2)
    bad.seed_spoilt(torrent, folder / "spoilt.bin", spoilt, upload_limit=2 * MIB)
    fd = opened(fs.add_torrent(torrent, *two) / torrent.name, request)
    block = 64 * KIB
    for offset in range(0, torrent.length, block):
        data = read_exactly(fd, offset, block)
        assert data == torrent.read(torrent.name, offset, block), f"wrong bytes at {offset}"
    sent = good.sent(torrent) + bad.sent(torrent)
    assert sent > torrent.length, "no garbage was sent: this has shown nothing"
    assert fs.torrent(torrent.info_hash)["haveBytes"] == torrent.length


def test_garbage_from_the_only_seeder_is_never_read(
    hasty: Magnetfs,
    two: list[Seeder],
    torrents: TorrentMaker,
    folder: Path,
    request: pytest.FixtureRequest,
) -> None:
    torrent = torrents.single("lies.bin", 2 * MIB, seed=65, piece_length=PIECE)
    good, bad = two
    bad.seed_spoilt(torrent, folder / "lies.bin", [4])
    fd = opened(hasty.add_torrent(torrent, bad) / torrent.name, request)
    assert read_exactly(fd, 0, PIECE) == torrent.read(torrent.name, 0, PIECE), "a right piece"
    took = fails_with_eio(fd, 4 * PIECE)
    assert READ_TIMEOUT_S - 0.1 <= took <= SOON_S, f"EIO after {took:.1f} s"
    assert bad.sent(torrent) >= 2 * PIECE, "no garbage was sent: this has shown nothing"
    assert fails_with_eio(fd, 4 * PIECE) <= 0.5
    good.seed(torrent).connect(torrent, hasty.bt_port)
    assert read_in_time(fd, 4 * PIECE, PIECE) == torrent.read(torrent.name, 4 * PIECE, PIECE)
    assert read_exactly(fd, 0, torrent.length) == torrent.read(torrent.name)


def test_a_piece_that_was_left_in_the_middle_blames_nobody(
    fs: Magnetfs, two: list[Seeder], torrents: TorrentMaker
) -> None:
    """Its reader goes and comes again, each time when some blocks of the only piece have come."""
    torrent = torrents.single("left.bin", 4 * MIB, seed=66, piece_length=4 * MIB)
    seeder = two[0].seed(torrent, upload_limit=512 * KIB)
    path = fs.add_torrent(torrent, seeder) / torrent.name
    for _ in range(5):  # four wrong pieces, and libtorrent bans who gave something of them
        before = seeder.sent(torrent)
        with Parked(path):
            waiting.until(
                "some blocks", lambda: seeder.sent(torrent) >= before + 64 * KIB, 2 * SOON_S
            )
    assert seeder.sent(torrent) < torrent.length, "the piece was there: this has shown nothing"
    seeder.limit(torrent, 0)
    with open(path, "rb", buffering=0) as file:
        assert read_exactly(file.fileno(), 0, torrent.length) == torrent.read(torrent.name)
    assert "wrong hash" not in fs.stderr()
    assert seeder.sent(torrent) < 1.5 * torrent.length, "what had come was thrown away"


def test_seeds_that_never_answer_hold_nothing_up(
    fs: Magnetfs, rogues: Rogues, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """They look far away, unchoke, and take what they are asked for. One that is honest has all."""
    torrent = torrents.single("unanswered.bin", 64 * MIB, seed=73, piece_length=MIB)
    silent = [rogues(torrent, f"127.0.0.{70 + number}", gives=0, away=0.2) for number in range(12)]
    path = fs.add_torrent(torrent, *silent, seeder.seed(torrent, upload_limit=4 * MIB))
    for one in silent:
        waiting.until("it is there", lambda peer=one: peer.done()["open"] > 0, SOON_S)
    took = []
    with open(path / torrent.name, "rb", buffering=0) as stream:
        for offset in range(0, 60 * MIB, 12 * MIB):
            began = time.monotonic()
            data = read_exactly(stream.fileno(), offset, MIB)
            took.append(round(time.monotonic() - began, 2))
            assert data == torrent.read(torrent.name, offset, MIB)
    print(took)
    assert all(one.done()["asked"] for one in silent), "nobody asked them: this tries nothing"
    assert max(took) <= 3.0, took


# -- peers that lie --------------------------------------------------------------------------------


WIRE = 20 * MIB  # bytes/s of all honest peers: what a busy machine of two cores carries
RATE_KEPT = 0.7  # of the rate without the one that lies
ROUNDS, ROUNDS_MAX = 2, 6  # more where the machine has been busy in some


@pytest.mark.parametrize("honest", [1, 4, 20])
def test_one_that_lies_takes_little_of_the_rate_and_gets_nobody_banned(
    fs: Magnetfs,
    rogues: Rogues,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
    honest: int,
) -> None:
    """Each seeder is at an address of its own. The rates are of neighbouring reads: the machine may
    be another one in the next minute."""
    files = [("poisoned.bin", 16 * MIB), ("rest.bin", 4 * PIECE)]
    torrent = torrents.multi("poisoned", files, seed=67, piece_length=PIECE)
    seeders = []
    for number in range(honest):
        one = Seeder(f"127.0.0.{number + 2}")
        request.addfinalizer(one.close)
        seeders.append(one.seed(torrent, upload_limit=WIRE // honest))

    def all_are_there() -> None:
        there = lambda: all(connections_to(one.peer) for one in seeders)
        waiting.until("all honest peers are there", there, SOON_S)

    def takes(*rogue: RoguePeer, called: bool = False) -> float:
        """Seconds until the file is read whole, of a torrent that is new each time."""
        path = fs.add_torrent(torrent, *rogue, *seeders)
        if called:
            waiting.until("the rogue is called", lambda: rogue[0].done()["connections"], SOON_S)
        began = time.monotonic()
        assert (path / "poisoned.bin").read_bytes() == torrent.read("poisoned.bin")
        took = time.monotonic() - began
        # With all of a torrent seeds hang up on seeds.
        all_are_there()
        assert (path / "rest.bin").read_bytes() == torrent.read("rest.bin")
        if rogue:
            assert rogue[0].done()["garbage"] > 0, "no garbage was sent: this has shown nothing"
            waiting.until("the rogue is out", lambda: rogue[0].done()["open"] == 0, SOON_S)
        fs.remove(torrent.info_hash)
        return took

    takes()  # the seeders begin slowly
    kept: dict[str, list[float]] = {"floods": [], "lies when asked": []}
    for number in range(ROUNDS_MAX):
        if number >= ROUNDS and min(map(median, kept.values())) >= RATE_KEPT:
            break
        alone = takes()
        for how, shares in kept.items():
            floods = how == "floods"
            rogue = rogues(torrent, "127.0.0.66", floods=floods)
            shares.append(alone / takes(rogue, called=not floods))
            rogue.close()
    figures = {how: [round(share, 2) for share in shares] for how, shares in kept.items()}
    print(f"{honest} honest: {figures}")
    assert min(map(median, kept.values())) >= RATE_KEPT, figures


def test_the_only_peer_is_called_again_though_it_has_lied(
    fs: Magnetfs, rogues: Rogues, peers: Peers, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """One wrong block may have been an accident; nobody else has anything of the file."""
    torrent = torrents.single("alone.bin", 2 * MIB, seed=68, piece_length=PIECE)
    rogue = rogues(torrent, lies=1)
    fd = opened(fs.add_torrent(torrent, peers(torrent.info), rogue) / torrent.name, request)
    assert read_exactly(fd, 0, torrent.length) == torrent.read(torrent.name)
    done = rogue.done()
    assert done["garbage"] == 1 and done["connections"] >= 2, done


def test_what_comes_twice_is_told(
    fs: Magnetfs, rogues: Rogues, peers: Peers, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    torrent = torrents.single("twice.bin", 2 * MIB, seed=69, piece_length=PIECE)
    rogue = rogues(torrent, garbage=0.0, repeats=True)
    fd = opened(fs.add_torrent(torrent, peers(torrent.info), rogue) / torrent.name, request)
    assert read_exactly(fd, 0, torrent.length) == torrent.read(torrent.name)
    again = rogue.done()["repeated"] * 16 * KIB
    assert again >= torrent.length // PIECE * 16 * KIB

    def told() -> int:
        return int(fs.torrent(torrent.info_hash)["redundantBytes"])

    waiting.until("all that came twice is told", lambda: told() == again, SOON_S)


@pytest.mark.parametrize("who_calls", ["magnetfs", "the peer"])
def test_what_is_said_to_a_peer_waits_for_no_acknowledgement(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker, who_calls: str
) -> None:
    """Nagle's algorithm held requests back for a round trip and 40 ms."""
    torrent = torrents.single(f"{who_calls}.bin", MIB, seed=70, piece_length=PIECE)
    seeder.seed(torrent)
    if who_calls == "magnetfs":
        path = fs.add_torrent(torrent, seeder) / torrent.name
        port = seeder.port
    else:
        fs.add(torrent.magnet())
        port = fs.bt_port
        seeder.connect(torrent, port)
        fs.files(torrent.info_hash)
        path = fs.directory(torrent) / torrent.name
    assert path.read_bytes() == torrent.read(torrent.name)
    assert sockets.tcp_option(fs.pid, port, socket.TCP_NODELAY) == [1]


def test_transmission_is_asked_for_no_more_than_it_takes(
    fs: Magnetfs, transmission: Transmission, torrents: TorrentMaker
) -> None:
    """It says that it takes 512 requests, and drops the 512th: 14 s until it is asked for again.

    It unchokes each ten seconds, so what comes before the first block is no gap.
    """
    torrent = torrents.single("fast.bin", 96 * MIB, seed=231, piece_length=MIB)
    transmission.seed(torrent)
    path = fs.add_torrent(torrent, transmission) / torrent.name
    longest = 0.0
    with open(path, "rb", buffering=0) as stream:
        assert read_exactly(stream.fileno(), 0, KIB) == torrent.read(torrent.name, 0, KIB)
        for offset in range(0, torrent.length, 256 * KIB):
            began = time.monotonic()
            data = read_exactly(stream.fileno(), offset, 256 * KIB)
            longest = max(longest, time.monotonic() - began)
            assert data == torrent.read(torrent.name, offset, 256 * KIB)
    assert longest <= 2.0, f"a gap of {longest:.1f} s"


def test_the_only_seeder_shows_one_piece_at_a_time(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """BEP 16: it tells of another piece when it has seen that the one before was taken."""
    torrent = torrents.single("shown.bin", 2 * MIB, seed=233, piece_length=PIECE)
    path = fs.add_torrent(torrent, seeder.seed(torrent, one_by_one=True)) / torrent.name
    with open(path, "rb", buffering=0) as stream:
        began = time.monotonic()
        there = read_exactly(stream.fileno(), 5 * PIECE, 4 * KIB)
        assert there == torrent.read(torrent.name, 5 * PIECE, 4 * KIB)
        assert read_exactly(stream.fileno(), 0, 2 * MIB) == torrent.read(torrent.name)
        assert time.monotonic() - began <= 2 * SOON_S


def test_a_seed_that_shows_one_piece_at_a_time_is_not_told_of_no_interest_between_two(
    hasty: Magnetfs, rogues: Rogues, peers: Peers, torrents: TorrentMaker
) -> None:
    """rtorrent chokes who says so, and thinks again each 30 s. After each piece that a read took it
    had none of interest to show for a moment."""
    torrent = torrents.single("one.bin", 2 * MIB, seed=234, piece_length=PIECE)
    rogue = rogues(torrent, garbage=0.0, shows=True)
    path = hasty.add_torrent(torrent, peers(torrent.info), rogue) / torrent.name
    with open(path, "rb", buffering=0) as stream:
        for offset, length in ((0, KIB), (5 * PIECE, KIB), (0, 2 * MIB)):
            there = read_exactly(stream.fileno(), offset, length)
            assert there == torrent.read(torrent.name, offset, length)
    # Who has all says so.
    waiting.until("it is of no interest any more", lambda: rogue.done()["choked"] == 1, SOON_S)


@pytest.mark.parametrize("other", [False, True], ids=["alone", "beside another"])
def test_a_peer_that_rejects_what_it_says_it_has_is_not_asked_without_end(
    fs: Magnetfs, rogues: Rogues, torrents: TorrentMaker, other: bool
) -> None:
    """libtorrent asks again at once: forty thousand times a second, which took most of a core. What
    it rejected comes when it gives it after all."""
    torrent = torrents.single(f"rejected-{other}.bin", 8 * MIB, seed=236, piece_length=MIB)
    rejecting = rogues(torrent, garbage=0.0, gives=70, rejects=True)
    honest = rogues(torrent, garbage=0.0, rate=MIB) if other else None
    fs.add(torrent.metainfo)
    fs.add(torrent.magnet(*(peer for peer in (rejecting, honest) if peer)))
    fs.files(torrent.info_hash)
    path = fs.directory(torrent) / torrent.name
    began, before = time.monotonic(), cpu_s(fs.pid)
    with open(path, "rb", buffering=0) as stream, ThreadPoolExecutor(1) as pool:
        whole = pool.submit(read_exactly, stream.fileno(), 0, torrent.length)
        if not honest:
            waiting.until("it has rejected some", lambda: rejecting.done()["asked"] >= 75, SOON_S)
            time.sleep(3)  # so long it could have been asked without end
            assert not whole.done()
            rejecting.give()
        assert whole.result(20) == torrent.read(torrent.name)
    took, used = time.monotonic() - began, cpu_s(fs.pid) - before
    assert rejecting.done()["asked"] <= 512 + (200 if honest else 100) * took
    assert used <= 1.0 + 0.2 * took, f"{used:.2f} s of the processor in {took:.1f} s"


@pytest.mark.parametrize("fast", [False, True], ids=["without-fast", "with-fast"])
def test_a_peer_that_does_not_answer_a_cancel_goes_on(
    fs: Magnetfs, rogues: Rogues, torrents: TorrentMaker, fast: bool
) -> None:
    """Without BEP 6 it need not, and is not hung up on for that. With it libtorrent would wait for
    each answer for ever: what is wanted is asked for once more, and nothing is cancelled any more.
    Where it owes nothing else it is called anew, once."""
    torrent = torrents.single(f"seeks-{fast}.bin", 200 * MIB, seed=232, piece_length=PIECE)
    rogue = rogues(torrent, rate=2 * MIB, garbage=0.0, fast=fast)
    fs.add(torrent.metainfo)
    fs.add(torrent.magnet(rogue))
    fs.files(torrent.info_hash)
    gaps = []
    with open(fs.directory(torrent) / torrent.name, "rb", buffering=0) as stream:
        for place in (0, 100, 20, 140, 60, 180, 120, 40):  # sixteen seconds
            for offset in range(place * MIB, (place + 4) * MIB, PIECE):
                began = time.monotonic()
                data = read_exactly(stream.fileno(), offset, PIECE)
                gaps.append(time.monotonic() - began)
                assert data == torrent.read(torrent.name, offset, PIECE)
    done = rogue.done()
    assert done["cancelled"] > 0, "nothing was taken back: this tries nothing"
    assert done["connections"] <= 1 + fast, done
    assert max(gaps[1:]) <= 2.0, f"a gap of {max(gaps[1:]):.1f} s"


def test_a_peer_that_does_not_answer_a_cancel_is_known_though_nothing_else_is_asked_of_it(
    fs: Magnetfs, rogues: Rogues, torrents: TorrentMaker
) -> None:
    """It was fast and is slow: libtorrent asks for less at a time than what a seek takes back, and
    for nothing more until that is answered."""
    torrent = torrents.single("slowed.bin", 200 * MIB, seed=234, piece_length=PIECE)
    fast, slow = 2 * MIB, 256 * KIB
    rogue = rogues(torrent, rate=fast, garbage=0.0)
    fs.add(torrent.metainfo)
    fs.add(torrent.magnet(rogue))
    fs.files(torrent.info_hash)
    gaps = []
    with open(fs.directory(torrent) / torrent.name, "rb", buffering=0) as stream:
        for place, length, rate in ((0, 6, fast), (6, 2, slow), (100, 2, fast), (20, 2, fast)):
            rogue.limit(rate)
            for offset in range(place * MIB, (place + length) * MIB, PIECE):
                began = time.monotonic()
                data = read_exactly(stream.fileno(), offset, PIECE)
                gaps.append(time.monotonic() - began)
                assert data == torrent.read(torrent.name, offset, PIECE)
    done = rogue.done()
    assert done["cancelled"] > 0, "nothing was taken back: this tries nothing"
    assert done["connections"] <= 2, done
    assert max(gaps[1:]) <= 8.0, f"a gap of {max(gaps[1:]):.1f} s"


@pytest.mark.parametrize("rejects", [False, True], ids=["silent", "rejects"])
def test_hashes_of_v2_come_from_another_peer(
    fs: Magnetfs,
    seeder: Seeder,
    peers: Peers,
    rogues: Rogues,
    folder: Path,
    request: pytest.FixtureRequest,
    rejects: bool,
) -> None:
    """BEP 52: a magnet's metadata has no hashes of pieces. The first peer that is asked gives the
    content and never a hash; the honest one comes when it has been asked."""
    files = [Entry("rest.bin", 2 * MIB), Entry("unhashed.bin", 2 * MIB)]
    torrent = KindMaker(folder / "kinds").multi(V2, "unhashed", files)
    begin, end = torrent.metainfo.index(b"4:info") + 6, torrent.metainfo.index(b"12:piece layers")
    rogue = rogues(torrent, "127.0.0.66", garbage=0.0, rejects_hashes=rejects)
    fs.add(torrent.magnet(rogue, peers(torrent.metainfo[begin:end])))
    path = fs.directory(torrent)
    waiting.until("the metadata", (path / "rest.bin").exists, SOON_S)
    waiting.until("a request for hashes", lambda: rogue.done()["hash_requests"], SOON_S)
    seeder.seed(torrent).connect(torrent, fs.bt_port)
    fd = opened(path / "unhashed.bin", request)
    began = time.monotonic()
    assert read_exactly(fd, 0, 2 * MIB) == torrent.read("unhashed.bin")
    took = time.monotonic() - began
    assert took <= SOON_S, f"{took:.1f} s"
    if rejects:
        # Of its own accord nobody leaves as long as hashes and content are missing.
        waiting.until("it is out", lambda: rogue.done()["open"] == 0, SOON_S)
        # libtorrent by itself asks again at each reject, thousands of times a second.
        assert rogue.done()["hash_requests"] <= HASH_REQUESTS_MAX
    assert (path / "rest.bin").read_bytes() == torrent.read("rest.bin")


def test_a_tracker_that_refuses_is_quoted(
    fs: Magnetfs,
    torrents: TorrentMaker,
    opentracker: Callable[[list[str]], OpenTracker],
) -> None:
    """BEP 3's "failure reason": what a real one says, and one that can't be shown as it is."""
    said = b"No \x1b[2Jway\r\n\xff, " + 300 * b"x"
    nasty = HangingTracker(answers=100, body=b"d14:failure reason%d:%se" % (len(said), said))
    try:
        for number, tracker, words in (
            (1, opentracker(["00" * 20]), "not authorized"),
            (2, nasty, "No _[2Jway___, xxx"),
        ):
            torrent = torrents.single(f"refused{number}.bin", 100, seed=number)
            fs.add(torrent.magnet(trackers=[tracker.url]))
            waiting.until(
                "its words",
                lambda h=torrent.info_hash, w=words: w in fs.torrent(h).get("problem", ""),
                SOON_S,
            )
            problem = fs.torrent(torrent.info_hash)["problem"]
            assert problem.isprintable() and len(problem) < 240, problem
    finally:
        nasty.close()
