"""Asleep and awake: who nobody reads costs nothing, and a read of what is missing wakes it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Callable, Sequence

import pytest

from harness import processes, waiting
from harness.kinds import KINDS, Entry, KindMaker
from harness.library import (
    AFTER_KILL,
    cpu_s,
    open_stores,
    read_at,
    shown,
    states,
    stores,
    threads,
)
from harness.mount import Magnetfs, errno_name, errno_of
from harness.reading import Parked, assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

IDLE = ("--idle-timeout", "2")
IDLE_S = 2.0
SLEEPS_S = IDLE_S + 4  # asleep by then
STAYS_S = IDLE_S + 3  # who is awake then stays so
RIGHT_AWAY_S = 1.0
SLEEPERS = 2000
WATCHED_S = 5.0
CPU_SHARE = 0.02


@pytest.fixture(scope="module")
def kinds(run_folder: Path) -> KindMaker:
    return KindMaker(run_folder / "sleep")


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.multi(
        "film", [("a.mkv", 3 * MIB), ("sub/b.mkv", 2 * MIB)], seed=1401, piece_length=256 * KIB
    )


@pytest.fixture(scope="module")
def other(torrents: TorrentMaker) -> Torrent:
    return torrents.single("other.mkv", MIB, seed=1402, piece_length=64 * KIB)


def wait_state(fs: Magnetfs, torrent: Torrent, state: str, timeout: float = SLEEPS_S) -> None:
    waiting.until(
        f"{torrent.name} is {state}",
        lambda: fs.torrent(torrent.info_hash)["state"] == state,
        timeout,
    )


def assert_stays(fs: Magnetfs, torrents: Sequence[Torrent], state: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        known = states(fs)
        assert {known[torrent.info_hash] for torrent in torrents} == {state}
        time.sleep(waiting.POLL_S)


# -- asleep ----------------------------------------------------------------------------------------


def test_an_idle_torrent_sleeps_and_only_a_read_of_what_is_missing_wakes_it(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "20", *IDLE)
    with fs.events() as events:
        fs.add_torrent(film, seeder.seed(film))
        assert_same(fs.directory(film) / "a.mkv", film, "a.mkv")
        before = shown(fs)
        events.wait("asleep", film.info_hash, SLEEPS_S)
        assert fs.torrent(film.info_hash)["state"] == "asleep"
        waiting.until("its peer sees it go", lambda: seeder.stats(film)["peers"] == 0)
        # Its content leaves the memory, and the file is closed, when nobody has looked for a while.
        waiting.until("its file is closed", lambda: not open_stores(fs.pid), 20)

        assert shown(fs) == before
        subprocess.run(["ls", "-lR", fs.mountpoint], check=True, stdout=subprocess.DEVNULL)
        for path in ("a.mkv", "sub/b.mkv"):
            with open(fs.directory(film) / path, "rb"):
                pass
        assert len(fs.files(film.info_hash)) == 2
        had = fs.torrent(film.info_hash)["progress"]
        assert_same(fs.directory(film) / "a.mkv", film, "a.mkv")
        assert fs.torrent(film.info_hash)["state"] == "asleep"
        assert fs.torrent(film.info_hash)["progress"] == had < 1
        assert not any(e["event"] == "awake" for e in events.seen)
        assert events.next(0.5) is None, "nothing has happened"

        sent = seeder.sent(film)
        assert_same(fs.directory(film) / "sub/b.mkv", film, "sub/b.mkv")
        events.wait("awake", film.info_hash, 1)
        assert fs.torrent(film.info_hash)["state"] == "awake"
        assert seeder.sent(film) - sent <= 2 * MIB + 512 * KIB, "what was there is not fetched"
        assert shown(fs) == before
        events.wait("asleep", film.info_hash, SLEEPS_S)


def test_after_a_start_all_sleep_and_a_read_wakes_with_the_peers_of_before(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent, other: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "20", *IDLE)
    for torrent in (film, other):
        fs.add_torrent(torrent, seeder.seed(torrent))
    read_at(fs, film, "a.mkv", 0)
    wait_state(fs, film, "asleep")
    fs.stop()
    fs.start()
    assert set(states(fs).values()) == {"asleep"}
    read_at(fs, film, "a.mkv", 0)
    assert set(states(fs).values()) == {"asleep"}
    with fs.events() as events:
        read_at(fs, film, "a.mkv", 2 * MIB)
        events.wait("awake", film.info_hash, 1)
    assert states(fs) == {film.info_hash: "awake", other.info_hash: "asleep"}
    # One that was awake at the end had peers, too.
    fs.stop()
    fs.start()
    read_at(fs, film, "sub/b.mkv", MIB)
    read_at(fs, other, "other.mkv", MIB // 2)


def test_after_kill_9_a_sleeping_torrent_finds_its_peers_again(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "20", *IDLE, allow=[AFTER_KILL])
    fs.add_torrent(film, seeder.seed(film))
    read_at(fs, film, "a.mkv", 0)
    wait_state(fs, film, "asleep")
    time.sleep(3)  # it is told to the catalog by then
    fs.kill()
    fs.start()
    read_at(fs, film, "a.mkv", 2 * MIB)


def test_a_pending_torrent_and_one_with_readers_do_not_sleep(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "20", *IDLE)
    fs.add("d" * 40)
    path = fs.add_torrent(film, seeder.seed(film)) / "a.mkv"
    with open(path, "rb", buffering=0) as stream:
        assert stream.read(1000) == film.read("a.mkv", 0, 1000)
        assert_stays(fs, [film], "awake", STAYS_S)
        assert states(fs)["d" * 40] == "pending"
    wait_state(fs, film, "asleep")
    # An open file that is not read holds nothing awake that slept before.
    with open(path, "rb"):
        assert_stays(fs, [film], "asleep", 1.0)


# -- how many are awake ----------------------------------------------------------------------------


def test_no_more_than_awake_max_are_awake_and_those_read_last(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    most = 3
    fs = magnetfs("--read-timeout", "20", "--awake-max", str(most))
    made = [torrents.single(f"turn{n}.bin", MIB, seed=1410 + n) for n in range(8)]
    for torrent in made:
        fs.add_torrent(torrent, seeder.seed(torrent))
    for rounds, order in enumerate((made, made[::-1])):
        for torrent in order:
            read_at(fs, torrent, torrent.name, rounds * MIB // 2)
        expected = {torrent.info_hash for torrent in order[-most:]}

        def awake() -> set[str]:
            return {info_hash for info_hash, state in states(fs).items() if state == "awake"}

        waiting.until("but the last are asleep", lambda: awake() == expected, 5)
    # Who is read stays, though there are more of them.
    opened = [os.open(fs.directory(torrent) / torrent.name, os.O_RDONLY) for torrent in made[:5]]
    try:
        for fd in opened:
            assert len(os.pread(fd, 1000, MIB - 1000)) == 1000
        assert_stays(fs, made[:5], "awake", 2)
    finally:
        for fd in opened:
            os.close(fd)
    waiting.until("three are awake", lambda: len(awake()) == most, 5)


@pytest.mark.parametrize("stay", ["none", "kept", "complete"])
def test_who_is_told_to_stay_awake_seeds_after_a_restart(
    magnetfs: Callable[..., Magnetfs],
    seeders: Callable[[], Seeder],
    folder: Path,
    film: Torrent,
    other: Torrent,
    stay: str,
) -> None:
    """other is complete, film is not."""
    fs = magnetfs("--read-timeout", "20", *IDLE, "--stay-awake", stay)
    seeder = seeders().seed(film).seed(other)
    for torrent in (film, other):
        fs.add_torrent(torrent, seeder)
    assert_same(fs.directory(other) / "other.mkv", other, "other.mkv")
    read_at(fs, film, "a.mkv", 0)
    awake = {"none": [], "kept": [film, other], "complete": [other]}[stay]
    asleep = [torrent for torrent in (film, other) if torrent not in awake]
    for torrent in asleep:
        wait_state(fs, torrent, "asleep")
    assert_stays(fs, awake, "awake", STAYS_S) if awake else None
    fs.stop()
    seeder.kill()
    fs.start()
    for torrent in awake:
        wait_state(fs, torrent, "awake", 2)
    assert {torrent.info_hash: "asleep" for torrent in asleep}.items() <= states(fs).items()
    assert_stays(fs, awake, "awake", STAYS_S) if awake else None

    client = seeders().leech(other, folder)
    client.connect(other, fs.bt_port)
    if other in awake:
        waiting.until("it is seeded", lambda: client.stats(other)["seeding"], 20)
        assert (folder / "other.mkv").read_bytes() == other.read("other.mkv")
    else:
        assert client.stats(other)["peers"] == 0 and states(fs)[other.info_hash] == "asleep"


# -- removed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["rmdir", "magnetctl"])
def test_a_removal_ends_who_waits_and_takes_the_data(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent, way: str
) -> None:
    fs = magnetfs("--read-timeout", "0")
    fs.add_torrent(film, seeder.seed(film))
    assert_same(fs.directory(film) / "a.mkv", film, "a.mkv")
    seeder.kill()
    assert fs.store_blocks() >= 3 * MIB
    with Parked(fs.directory(film) / "sub/b.mkv") as reader:
        fs.wait_parked(1)
        if way == "rmdir":
            fs.remove(film.info_hash)
        else:
            assert fs.ctl("remove", film.info_hash).returncode == 0
        assert reader.line(RIGHT_AWAY_S) == "failed EIO"
        waiting.until("its data is gone", lambda: fs.store_blocks() < 64 * KIB, RIGHT_AWAY_S)
    assert not stores(fs)


@pytest.mark.parametrize("loaded", [True, False], ids=["looked at", "never looked at"])
def test_one_that_sleeps_is_removed_with_its_data(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent, loaded: bool
) -> None:
    fs = magnetfs("--read-timeout", "20", *IDLE)
    fs.add_torrent(film, seeder.seed(film))
    assert_same(fs.directory(film) / "a.mkv", film, "a.mkv")
    wait_state(fs, film, "asleep")
    fs.stop()
    fs.start()
    assert fs.store_blocks() >= 3 * MIB
    fd = -1
    if loaded:
        fd = os.open(fs.directory(film) / "a.mkv", os.O_RDONLY)
        assert len(os.pread(fd, 1000, 0)) == 1000
    assert fs.torrent(film.info_hash)["state"] == "asleep"
    fs.remove(film.info_hash)
    waiting.until("its data is gone", lambda: fs.store_blocks() < 64 * KIB, RIGHT_AWAY_S)
    if loaded:
        assert errno_name(errno_of(os.pread, fd, 1000, 2 * MIB)) == "EIO"
        os.close(fd)
    assert not stores(fs)
    waiting.until("its room is free", lambda: fs.status()["cache"]["usedBytes"] == 0, RIGHT_AWAY_S)
    fs.stop()
    fs.start()
    assert not os.listdir(fs.mountpoint)


# -- what sleepers cost ----------------------------------------------------------------------------


@pytest.mark.deadline(180)
def test_sleeping_torrents_take_no_processor_and_no_thread(
    magnetfs: Callable[..., Magnetfs], kinds: KindMaker
) -> None:
    fs = magnetfs()

    def add_and_restart(first: int, end: int) -> int:
        """Adds so many; how many threads there are when they sleep and were looked at."""
        for number in range(first, end):
            entries = [Entry(f"e{n}.mkv", 1000 + number) for n in range(3)]
            fs.add(kinds.multi(KINDS[number % 3], f"t{number}", entries, hollow=True).metainfo)
        fs.stop()
        fs.start()
        assert set(states(fs).values()) == {"asleep"}
        assert len(shown(fs)) == 1 + end * 4
        return waiting.settled("threads", lambda: threads(fs.pid))

    of_one = add_and_restart(0, 1)
    assert add_and_restart(1, SLEEPERS) <= of_one
    waiting.settled("the start's own work", lambda: round(cpu_s(fs.pid), 1), still_s=2)
    began, at = cpu_s(fs.pid), time.monotonic()
    time.sleep(WATCHED_S)  # how long it is watched
    took, seconds = cpu_s(fs.pid) - began, time.monotonic() - at
    assert took <= CPU_SHARE * seconds, f"{took:.2f} s of {seconds:.1f}"
    assert threads(fs.pid) <= of_one
    assert not open_stores(fs.pid)
    assert processes.alive(fs.pid)
