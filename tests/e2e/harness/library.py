"""A library: many torrents, what a mount shows of them, and what a process takes."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

from harness import processes
from harness.kinds import KINDS, Entry, KindMaker
from harness.mount import Magnetfs
from harness.reading import read_exactly
from harness.torrents import KIB, Torrent, TorrentFile, odd_names

# What magnetfs says about a start after kill -9, and about a disk or catalog that a test damaged.
AFTER_KILL = r"stale|dead|killed|last time|did not end by itself"
PRINTF = r"%i %p %y %s %T@ %m\n"


def shown(fs: Magnetfs) -> list[str]:
    """Every file and directory of the torrents, with inode number, size, time and mode."""
    # For a second the kernel goes by the times of the root that it knows, unless it is told not to.
    subprocess.run(
        ["stat", "--cached=never", fs.mountpoint], stdout=subprocess.DEVNULL, check=True
    )
    command = ["find", ".", "-path", "./.magnetfs", "-prune", "-o", "-printf", PRINTF]
    done = subprocess.run(
        command, cwd=fs.mountpoint, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr.decode(errors="replace")
    return sorted(done.stdout.decode(errors="surrogateescape").splitlines())


def changes(before: list[str], after: list[str]) -> list[str]:
    """The first lines in which two listings differ, for a failure."""
    gone, come = set(before) - set(after), set(after) - set(before)
    return [f"-{line}" for line in sorted(gone)[:5]] + [f"+{line}" for line in sorted(come)[:5]]


def states(fs: Magnetfs) -> dict[str, str]:
    """The state of each torrent, by its info-hash."""
    return {each["infoHash"]: each["state"] for each in fs.status()["torrents"]}


def entries(number: int, rng: random.Random) -> list[Entry]:
    """A few files, in nested folders, with odd names and lengths."""
    names = rng.sample(odd_names(60), rng.randrange(2, 6))
    listed = [Entry(path, length % (15 * KIB)) for path, length in names]
    listed.append(Entry(f"s{number % 4}/d{number % 3}/e{number:03}.mkv", 1 + number))
    return listed


def make_library(maker: KindMaker, count: int) -> list[Torrent]:
    """count torrents of all kinds and several files without content, many of them of one name."""
    rng = random.Random(14)
    odd = [path.rpartition("/")[2] for path, _ in odd_names(16)]
    made = []
    for number in range(count):
        name = ("same", "Same", odd[number % len(odd)], f"show {number}")[number % 4]
        kind = KINDS[number % len(KINDS)]
        made.append(
            # What makes torrents of equal content differ.
            maker.multi(kind, name, entries(number, rng), hollow=True, source=f"test {number}")
        )
    return made


def dead_magnets(count: int) -> list[str]:
    """Magnets that nobody has, of both versions and some of one name."""
    return [
        f"magnet:?xt=urn:btih:{0xDEAD0000 + number:040x}&dn=dead%20{number % 7}"
        if number % 3
        else f"magnet:?xt=urn:btmh:1220{0xDEAD0000 + number:064x}"
        for number in range(count)
    ]


def store_file(fs: Magnetfs, torrent: Torrent) -> Path:
    """Where the pieces lie: each byte at its offset in the torrent, as in the blob."""
    (path,) = fs.cache.rglob(f"{torrent.info_hash}*.pieces")
    return path


def stores(fs: Magnetfs) -> list[str]:
    """The names of all stores."""
    return sorted(path.name for path in fs.cache.rglob("*.pieces"))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def pieces_of(torrent: Torrent, file: TorrentFile) -> range:
    """The pieces that have bytes of the file."""
    first = file.offset // torrent.piece_length
    return range(first, -(-(file.offset + file.length) // torrent.piece_length))


def open_stores(pid: int) -> list[str]:
    """The stores that the process has open."""
    found = []
    for entry in processes.listed(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue
        if ".pieces" in target:
            found.append(target)
    return found


def bytes_read(pid: int) -> int:
    """What the process has read so far by read(2) and the like, from files too."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"])


def cpu_s(pid: int) -> float:
    """The processor's seconds that the process took so far, in the kernel too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def read_at(fs: Magnetfs, torrent: Torrent, path: str, offset: int, length: int = 1000) -> None:
    """Reads a few bytes there, without what the kernel would read ahead, and compares them."""
    fd = os.open(fs.directory(torrent) / path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        assert read_exactly(fd, offset, length) == torrent.read(path, offset, length)
    finally:
        os.close(fd)
