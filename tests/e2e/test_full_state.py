"""A state folder whose disk is full or read-only: it is said, and nothing is lost."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness import processes, waiting
from harness.library import AFTER_KILL, shown, states
from harness.mount import Magnetfs, StartFailed, errno_name
from harness.reading import assert_same, read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk: root only")

DISK = 6 * MIB
SAVED_S = 3.0  # the catalog is told of what changed every 2 s
NEW = "a" * 40


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mkv", 2 * MIB, seed=1451)


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A small disk; torn down after the magnetfs that uses it."""
    path = folder / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


def lived(
    magnetfs: Callable[..., Magnetfs], disk: Path, film: Torrent, allow: list[str]
) -> tuple[Magnetfs, list[str]]:
    """One with its state on the disk and two torrents, that ended well; and what it showed."""
    fs = magnetfs(http=False, start=False, allow=allow)
    fs.state = disk / "state"
    fs.start()
    fs.add(film.metainfo)
    fs.add(NEW)
    before = shown(fs)
    fs.stop()
    return fs, before


def test_a_read_only_state_folder_is_named(
    disk: Path, magnetfs: Callable[..., Magnetfs], film: Torrent
) -> None:
    fs, before = lived(magnetfs, disk, film, allow=["[Rr]ead-only"])
    remount(disk, "ro")
    with pytest.raises(StartFailed) as failed:
        fs.start()
    said = failed.value.stderr
    assert failed.value.code != 0 and not processes.is_mounted(fs.mountpoint)
    assert str(fs.state) in said and re.search("[Rr]ead-only", said), said
    remount(disk, "rw")
    fs.start()
    assert shown(fs) == before


def test_a_full_state_folder_refuses_and_loses_nothing(
    disk: Path, magnetfs: Callable[..., Magnetfs], film: Torrent, seeder: Seeder
) -> None:
    fs = magnetfs(
        "--read-timeout", "20", http=False, start=False, allow=["state folder|catalog", AFTER_KILL]
    )
    fs.state = disk / "state"
    fs.start()
    fs.add(film.metainfo)
    fs.add(film.magnet(seeder.seed(film)))
    before = set(states(fs))
    path = fs.directory(film) / film.name
    with open(path, "rb", buffering=0) as stream:
        assert stream.read(1000) == film.read(film.name, 0, 1000)

    filler = fill(disk)
    number = 0
    while True:
        number += 1
        assert number < 10_000, "it never gets full"
        try:
            fs.add(f"{number:040x}")
        except OSError as problem:
            assert errno_name(problem.errno or 0) == "ENOSPC"
            break
        before.add(f"{number:040x}")
    # What was refused is not there, and the answer says why.
    assert set(states(fs)) == before
    number, answer = fs.refused(f"{'c' * 40}\n".encode())
    assert errno_name(number) == "ENOSPC" and "state folder" in answer["error"], answer
    done = fs.ctl("add", "d" * 40)
    assert done.returncode != 0 and "state folder" in done.stderr, done.stderr
    assert set(states(fs)) == before
    # Nor can be removed or kept what would be there again after the next start.
    victim = f"{1:040x}" if f"{1:040x}" in before else film.info_hash
    try:
        fs.remove(victim)
        before.discard(victim)
    except OSError as problem:
        assert errno_name(problem.errno or 0) == "ENOSPC"
    assert set(states(fs)) == before
    # Nor is pinned, or not any more, what would be so after the next start.
    kept = max(before)
    pinned = False
    for _ in range(20):
        try:
            (fs.control / "cache").write_text(f"{'unpin' if pinned else 'pin'} {kept}\n")
            pinned = not pinned
        except OSError as problem:
            assert errno_name(problem.errno or 0) == "ENOSPC"
        assert fs.torrent(kept)["pinned"] is pinned
    # Reads go on.
    if film.info_hash in before:
        assert_same(path, film, film.name)
    fs.kill()
    filler.unlink()
    fs.start()
    assert set(states(fs)) == before
    assert fs.torrent(kept)["pinned"] is pinned
    fs.add(NEW)
    fs.stop()
    fs.start()
    assert set(states(fs)) == before | {NEW}


def fill(disk: Path) -> Path:
    """A file that takes all that is left, to the last block."""
    path = disk / "filler"
    with open(path, "wb", buffering=0) as stream:
        for size in (64 * KIB, 4 * KIB):
            try:
                while stream.write(bytes(size)) == size:
                    pass
            except OSError as problem:
                assert errno_name(problem.errno or 0) == "ENOSPC"
    return path


def test_when_there_is_room_again_the_state_is_written_without_a_restart(
    disk: Path, magnetfs: Callable[..., Magnetfs], film: Torrent, seeder: Seeder
) -> None:
    fs = magnetfs(
        "--read-timeout", "20", http=False, start=False, allow=["state folder", AFTER_KILL]
    )
    fs.state = disk / "state"
    fs.start()
    fs.add(film.metainfo)
    fs.add(film.magnet(seeder.seed(film)))
    filler = fill(disk)
    assert_same(fs.directory(film) / film.name, film, film.name)
    for _ in range(200):
        try:
            fs.add(os.urandom(20).hex())
        except OSError:
            break
    waiting.until("it is said", lambda: "state folder cannot be written" in fs.stderr(), 10)
    assert fs.stderr().count("state folder cannot be written") == 1
    filler.unlink()
    waiting.until("it is written", lambda: "can be written to again" in fs.stderr(), 10)
    fs.kill()
    seeder.kill()
    fs.start()
    assert_same(fs.directory(film) / film.name, film, film.name)


def test_what_is_evicted_beside_a_full_state_folder_is_not_taken_for_there(
    disk: Path, magnetfs: Callable[..., Magnetfs], torrents: TorrentMaker, seeder: Seeder
) -> None:
    """The catalog can't be told of it; then comes a kill. What it claims is looked at first."""
    fs = magnetfs(
        *("--read-timeout", "20", "--cache-size", "16M", "--min-free", "0"),
        http=False,
        start=False,
        allow=["state folder|catalog", AFTER_KILL],
    )
    fs.state = disk / "state"
    fs.start()
    long = torrents.single("long.mkv", 48 * MIB, seed=1452)
    path = fs.add_torrent(long, seeder.seed(long)) / long.name
    with open(path, "rb", buffering=0) as stream:
        assert read_exactly(stream.fileno(), 0, 8 * MIB) == long.read(long.name, 0, 8 * MIB)
    time.sleep(SAVED_S)  # now the catalog claims those
    filler = fill(disk)
    assert_same(path, long, long.name)
    assert fs.status()["cache"]["evictedBytes"] >= 24 * MIB
    assert fs.stderr().count("state folder cannot be written") <= 1
    fs.kill()
    filler.unlink()
    fs.start()
    assert_same(path, long, long.name)


def test_a_start_with_a_full_state_folder_says_so(
    disk: Path, magnetfs: Callable[..., Magnetfs], film: Torrent
) -> None:
    """Or it manages all the same; nothing is lost either way."""
    fs, before = lived(magnetfs, disk, film, allow=["state folder|catalog|space"])
    filler = fill(disk)
    try:
        fs.start()
    except StartFailed as failed:
        assert failed.code != 0 and "No space left" in failed.stderr, failed.stderr
        assert str(fs.state) in failed.stderr
    else:
        assert shown(fs) == before
        fs.stop()
    filler.unlink()
    fs.start()
    assert shown(fs) == before
