"""A thousand reads that wait for peers disturb nobody, and can themselves be left at any time."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness import waiting
from harness.mount import Magnetfs, errno_name, errno_of
from harness.reading import Parked, percentile, read_exactly, stat_times
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

PARKED = 1000
STAT_P99_S = 0.001  # More than where nobody waits, in the same moments.
ROUNDS = 5
INTERRUPT_S = 0.1


@pytest.fixture(scope="module")
def lonely(torrents: TorrentMaker) -> Torrent:
    """Its .torrent is known, its peers are not. Many files: each stat can ask for a new one."""
    files = [("big.bin", 128 * MIB)] + [(f"d{n % 50}/f{n}.bin", 10) for n in range(4000)]
    return torrents.multi("lonely", files, seed=41)


@pytest.fixture
def parked(fs: Magnetfs, lonely: Torrent) -> Iterator[Magnetfs]:
    """A magnetfs with a thousand reads parked."""
    fs.add(lonely.metainfo)
    with Parked(fs.directory(lonely) / "big.bin", PARKED, stride=128 * KIB):
        fs.wait_parked(PARKED, timeout=20)
        yield fs
    fs.wait_parked(0)


@pytest.fixture
def fs(magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    """Reads wait for ever: none of them may end by itself in these tests."""
    return magnetfs("--read-timeout", "0")


def test_stat_p99_is_below_a_millisecond_beside_1000_parked_reads(
    parked: Magnetfs, magnetfs: Callable[..., Magnetfs], lonely: Torrent
) -> None:
    idle = magnetfs("--read-timeout", "0", name="idle")
    idle.add(lonely.metainfo)
    new, beside = (  # never looked up before
        [f"{fs.directory(lonely)}/{file.path}" for file in lonely.files[1:]] for fs in (parked, idle)
    )
    assert len(new) >= 2000
    for what in ("never looked up", "looked up before"):
        over, told = [], []
        for n in range(ROUNDS):
            stats, others = stat_times(new[n::ROUNDS], beside[n::ROUNDS])
            over.append(percentile(stats, 0.99) - percentile(others, 0.99))
            told.append(
                f"p99 {percentile(stats, 0.99) * 1e3:.2f} ms, p50"
                f" {percentile(stats, 0.5) * 1e6:.0f} us, where nobody waits"
                f" {percentile(others, 0.99) * 1e3:.2f} ms"
            )
        assert statistics.median(over) <= STAT_P99_S, f"{what}: {told}"
    assert parked.status()["parkedReads"] == PARKED, "the reads must have been parked all the time"


def test_a_healthy_torrent_keeps_its_rate_beside_1000_parked_reads(
    fs: Magnetfs, seeders: Callable[[], Seeder], torrents: TorrentMaker, lonely: Torrent
) -> None:
    """The seeder's limit, far below what the machine can do, sets the rate in both runs."""
    limit = 6 * MIB

    def rate(torrent: Torrent) -> float:
        directory = fs.add_torrent(torrent, seeders().seed(torrent, upload_limit=limit))
        fd = os.open(directory / torrent.name, os.O_RDONLY)
        try:
            read_exactly(fd, 0, 4 * MIB)  # the connection is up, the window is open
            begin = time.monotonic()
            assert read_exactly(fd, 4 * MIB, 20 * MIB) == torrent.read(
                torrent.name, 4 * MIB, 20 * MIB
            )
            return 20 * MIB / (time.monotonic() - begin)
        finally:
            os.close(fd)

    alone = rate(torrents.single("healthy-1.bin", 28 * MIB, seed=42))
    fs.add(lonely.metainfo)
    with Parked(fs.directory(lonely) / "big.bin", PARKED, stride=128 * KIB):
        fs.wait_parked(PARKED, timeout=20)
        beside = rate(torrents.single("healthy-2.bin", 28 * MIB, seed=43))
        assert fs.status()["parkedReads"] >= PARKED
    assert beside >= 0.8 * alone, f"{beside / 1e6:.1f} MB/s beside, {alone / 1e6:.1f} MB/s alone"


def test_ctrl_c_ends_a_parked_cat_within_100_ms(fs: Magnetfs, lonely: Torrent) -> None:
    fs.add(lonely.metainfo)
    took = []
    for _ in range(10):
        cat = subprocess.Popen(
            ["cat", fs.directory(lonely) / "big.bin"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            fs.wait_parked(1)
            begin = time.monotonic()
            cat.send_signal(signal.SIGINT)
            assert waiting.ended(cat.pid, 5), "cat hangs"
            took.append(time.monotonic() - begin)
        finally:
            cat.kill()
            assert cat.wait() == -signal.SIGINT
        fs.wait_parked(0)
    assert max(took) <= INTERRUPT_S, [f"{seconds * 1e3:.0f} ms" for seconds in took]


def test_ctrl_c_ends_a_parked_cat_within_100_ms_beside_1000_others(
    parked: Magnetfs, lonely: Torrent
) -> None:
    cat = subprocess.Popen(
        ["cat", parked.directory(lonely) / "big.bin"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        parked.wait_parked(PARKED + 1)
        begin = time.monotonic()
        cat.send_signal(signal.SIGINT)
        assert waiting.ended(cat.pid, 5), "cat hangs"
        took = time.monotonic() - begin
    finally:
        cat.kill()
        cat.wait()
    assert took <= INTERRUPT_S, f"{took * 1e3:.0f} ms"
    parked.wait_parked(PARKED)


@pytest.mark.parametrize("action", ["dup", "fork", "spawn", "run"])
def test_a_flush_from_elsewhere_does_not_fail_a_parked_read(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker, action: str
) -> None:
    torrent = torrents.single("patient.bin", 4 * MIB, seed=44)
    seeder.seed(torrent)
    fs.add(torrent.metainfo)
    with Parked(fs.directory(torrent) / "patient.bin") as reader:
        fs.wait_parked(1)
        for _ in range(5):
            reader.do(action)
        assert fs.status()["parkedReads"] == 1
        assert reader.line(0.3) == "", "the read must still be waiting"
        seeder.connect(torrent, fs.bt_port)
        said = reader.line(20).split()
        assert said[:2] == ["read", str(64 * KIB)], said
        assert said[2] == sha256(torrent.read("patient.bin", 0, 64 * KIB))


def sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_a_sigkilled_reader_frees_its_read_and_its_handle(fs: Magnetfs, lonely: Torrent) -> None:
    fs.add(lonely.metainfo)
    with Parked(fs.directory(lonely) / "big.bin", 20, stride=MIB):
        fs.wait_parked(20)
        assert fs.torrent(lonely.info_hash)["readers"] == 20
    fs.wait_parked(0, timeout=2)
    waiting.until("no readers", lambda: fs.torrent(lonely.info_hash)["readers"] == 0, timeout=2)


def test_a_read_times_out_with_eio_then_fails_at_once_and_recovers_with_a_seeder(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    fs = magnetfs("--read-timeout", "2")
    torrent = torrents.single("late.bin", 4 * MIB, seed=45)
    fs.add(torrent.metainfo)
    fd = os.open(fs.directory(torrent) / "late.bin", os.O_RDONLY)
    try:
        begin = time.monotonic()
        assert errno_name(errno_of(os.pread, fd, 4096, 0)) == "EIO"
        waited = time.monotonic() - begin
        assert 1.8 <= waited <= 4, f"EIO after {waited:.1f} s with --read-timeout 2"
        begin = time.monotonic()
        assert errno_name(errno_of(os.pread, fd, 4096, 0)) == "EIO"
        assert time.monotonic() - begin <= 0.5, "the second read must fail at once"
        said = rf"{torrent.info_hash} \(late\): 1 read timed out: nothing came of piece 0 \(late.bin\)"
        line = re.compile(said + r" for [23] s; 0 peers are connected\n")
        waiting.until("the log tells of it", lambda: line.search(fs.stderr()))
        assert fs.status()["timedOutReads"] == 1
        seeder.seed(torrent).connect(torrent, fs.bt_port)

        def recovered() -> bytes:
            try:
                return os.pread(fd, 4096, 0)
            except OSError as problem:
                assert errno_name(problem.errno or 0) == "EIO"
                return b""

        data = waiting.until("bytes after the seeder came", recovered, timeout=20)
        assert data == torrent.read("late.bin", 0, 4096)
        assert read_exactly(fd, 0, torrent.length) == torrent.read("late.bin")
    finally:
        os.close(fd)


def test_unmounting_answers_parked_reads(fs: Magnetfs, lonely: Torrent) -> None:
    fs.add(lonely.metainfo)
    with Parked(fs.directory(lonely) / "big.bin", 3, stride=MIB) as reader:
        fs.wait_parked(3)
        fs.stop()
        said = [reader.line(2) for _ in range(3)]
        assert all(
            line in ("failed ENODEV", "failed ENOTCONN", "failed ECONNABORTED") for line in said
        ), said


def test_listing_and_lookup_never_wait_for_the_swarm(parked: Magnetfs, lonely: Torrent) -> None:
    directory: Path = parked.directory(lonely)
    begin = time.monotonic()
    assert sorted(os.listdir(directory)) == sorted(["big.bin"] + [f"d{n}" for n in range(50)])
    assert sum(len(names) for _, _, names in os.walk(directory)) == len(lonely.files)
    os.statvfs(parked.mountpoint)
    assert os.getxattr(directory / "big.bin", "user.magnetfs.have_bytes") == b"0"
    assert time.monotonic() - begin < 5, "thousands of look-ups take well under a second"
