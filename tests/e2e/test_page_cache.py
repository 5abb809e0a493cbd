"""Reads that go through the kernel's page cache (sendfile, splice, mmap) of a file that arrives.

The kernel takes a short answer to such a read for the end of the file: whoever copies then ends
with success and a cut copy. And it keeps pages locked that such a read is to fill.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator
from urllib.parse import quote

import pytest

from harness import processes, waiting
from harness.mount import MAGNETFS, Magnetfs
from harness.ports import free_port
from harness.reading import Parked, read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

PROCESS = str(Path(__file__).parent / "harness" / "page_cache_process.py")
PIECE = 16 * KIB  # a request of the kernel's covers several
HALF = 11 * PIECE  # ends within such a request
TIMEOUT_S = 2
KILLED_S = 2  # what a SIGKILL takes at most, whatever is parked

WAYS = ["shutil", "sendfile", "splice", "busybox cp", "busybox cat", "nginx"]


def command(way: str, source: Path, target: Path) -> list[str]:
    if way == "busybox cp":
        return ["busybox", "cp", str(source), str(target)]
    if way == "busybox cat":
        return ["sh", "-c", 'exec busybox cat "$1" >"$2"', "sh", str(source), str(target)]
    return reading(way, source, target)


def fetch(url: str, target: Path) -> list[str]:
    return ["curl", "-sf", "-o", str(target), url]


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    assert waiting.ended(process.pid, KILLED_S), f"{process.args!r} outlives its SIGKILL"
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def fetch_half(fs: Magnetfs, seeder: Seeder, torrent: Torrent) -> Path:
    """Adds it, and reads its first pieces one by one. Nothing more is wanted then."""
    return fetch_half_from(fs, seeder.seed(torrent), torrent)


def fetch_half_from(fs: Magnetfs, seeder: Seeder, torrent: Torrent) -> Path:
    """The same from one that seeds it already."""
    path = fs.add_torrent(torrent, seeder) / torrent.name
    for begin in range(0, HALF, PIECE):
        fd = os.open(path, os.O_RDONLY)
        try:
            assert os.pread(fd, KIB, begin) == torrent.read(torrent.name, begin, KIB)
        finally:
            os.close(fd)
    have = fs.torrent(torrent.info_hash)["haveBytes"]
    assert HALF <= have <= HALF + 4 * PIECE
    return path


def assert_is_prefix(copy: Path, torrent: Torrent) -> None:
    got = copy.read_bytes() if copy.exists() else b""
    assert got == torrent.read(torrent.name, 0, len(got)), "the copy has wrong bytes"


@pytest.fixture
def nginx(folder: Path) -> Iterator[Callable[[Path], int]]:
    """nginx on loopback that serves a folder with sendfile."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(root: Path) -> int:
        port = free_port()
        config = folder / "nginx.conf"
        config.write_text(
            f"""daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; user root;
            worker_processes 1; events {{ }}
            http {{ access_log off; sendfile on; client_body_temp_path {folder}/t1;
            proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
            scgi_temp_path {folder}/t5; server {{ listen 127.0.0.1:{port}; root {root}; }} }}"""
        )
        running.append(start("nginx", "-p", str(folder), "-c", str(config)))
        waiting.until("nginx", lambda: answers(port))
        return port

    yield begin
    for process in running:
        process.terminate()
        assert waiting.ended(process.pid, 10)
        end(process)


def answers(port: int) -> bool:
    ask = ["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/"]
    return subprocess.run(ask).returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="nginx reads the mount as root")
def test_what_does_not_come_fails_every_copy_and_cuts_none(
    magnetfs: Callable[..., Magnetfs],
    nginx: Callable[[Path], int],
    seeder: Seeder,
    torrents: TorrentMaker,
    folder: Path,
) -> None:
    """All programs at once, each with a torrent of its own: each waits for its own time-out."""
    fs = magnetfs("--read-timeout", str(TIMEOUT_S))
    half = {
        way: torrents.single(f"half {n}.bin", MIB + 5, seed=101 + n, piece_length=PIECE)
        for n, way in enumerate((*WAYS, "map"))
    }
    paths = {way: fetch_half(fs, seeder, torrent) for way, torrent in half.items()}
    seeder.kill()
    port = nginx(fs.mountpoint)

    def words(way: str) -> list[str]:
        if way == "nginx":
            inside = quote(str(paths[way].relative_to(fs.mountpoint)))
            return fetch(f"http://127.0.0.1:{port}/{inside}", copies[way])
        return command(way, paths[way], copies[way])

    copies = {way: folder / way.replace(" ", "-") for way in half}
    running = {way: start(*words(way)) for way in half}
    try:
        for way, process in running.items():
            assert waiting.ended(process.pid, 15), f"{way} hangs"
            # curl says 18 when a body ends before its length.
            assert process.wait() != 0, f"{way}: a copy without its end must not be a success"
            assert_is_prefix(copies[way], half[way])
            assert os.stat(paths[way]).st_size == half[way].length, "the kernel's end is another"
        assert running["map"].stdout
        assert (running["map"].wait(), running["map"].stdout.read()) == (-signal.SIGBUS, b"")
    finally:
        for process in running.values():
            end(process)

    # The seeder is back: what was cached of the reads that failed is not taken for content.
    seeder.come_back()
    for torrent in half.values():
        fs.add(torrent.magnet(seeder))
    for way, torrent in half.items():
        copy_again = words(way)
        waiting.until(
            f"a whole copy by {way}",
            lambda again=copy_again: subprocess.run(again, capture_output=True).returncode == 0,
            timeout=30,
        )
        if way == "map":
            said = subprocess.run(copy_again, capture_output=True).stdout.decode().strip()
            assert said == hashlib.sha256(torrent.read(torrent.name)).hexdigest()
        else:
            assert copies[way].read_bytes() == torrent.read(torrent.name), way


@pytest.mark.parametrize("way", ["shutil", "map-then-read"])
def test_killing_one_reader_gives_another_no_wrong_byte(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker, folder: Path, way: str
) -> None:
    """Two read one file through the page cache, and so wait for each other's pages. Neither maps the
    file while the other waits for a page: that would end with SIGBUS for whoever waits."""
    for turn in range(4):
        torrent = torrents.single(f"{way}{turn}.bin", 3 * MIB, seed=120 + turn, piece_length=PIECE)
        seeder.seed(torrent, upload_limit=MIB)
        path = fs.add_torrent(torrent, seeder) / torrent.name
        fd = os.open(path, os.O_RDONLY)
        assert len(os.pread(fd, 1, 0)) == 1  # the seeder is connected
        os.close(fd)
        copies = [folder / f"copy{turn}.{n}" for n in range(2)]
        both = [start(sys.executable, PROCESS, way, str(path), str(copy)) for copy in copies]
        first, second = both
        try:
            if way == "map-then-read":
                for process in both:
                    assert process.stdout and process.stdout.readline(), "it maps the file"
                for process in both:
                    assert process.stdin
                    process.stdin.write(b"\n")
                    process.stdin.flush()
            waiting.until(
                "a third of it",
                lambda: fs.torrent(torrent.info_hash)["haveBytes"] >= torrent.length // 3,
            )
            end(first)
            assert second.stdout
            assert waiting.ended(second.pid, 30)
            assert second.wait() == 0
            if way == "map-then-read":
                digest = hashlib.sha256(torrent.read(torrent.name)).hexdigest()
                assert second.stdout.read().decode().strip() == digest
            else:
                assert copies[1].read_bytes() == torrent.read(torrent.name)
        finally:
            end(first)
            end(second)


def reading(way: str, source: Path, target: Path) -> list[str]:
    return [sys.executable, PROCESS, way, str(source), str(target)]


def wait_any_parked(fs: Magnetfs) -> None:
    """The kernel may read ahead in several requests."""
    waiting.until("a parked read", lambda: fs.status()["parkedReads"] > 0)


def timed(action: Callable[[], object]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def in_mmap(pid: int) -> bool:
    """Its first thread waits in mmap(2), on x86_64 and arm64."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in ("9", "222")


def readable(process: subprocess.Popen[bytes], timeout: float = 0) -> bool:
    """It says something, or has ended."""
    assert process.stdout
    return bool(waiting.readable(process.stdout.fileno(), timeout))


@pytest.mark.skipif(os.getuid() != 0, reason="looks into other processes")
@pytest.mark.parametrize("way", ["map", "map-random", "sendfile"])
def test_nobody_else_waits_beside_a_parked_page_cache_read(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    torrents: TorrentMaker,
    folder: Path,
    way: str,
) -> None:
    fs = magnetfs("--read-timeout", "0")
    torrent = torrents.single(f"held-{way}.bin", 2 * MIB, seed=140, piece_length=PIECE)
    path = fetch_half(fs, seeder, torrent)
    seeder.kill()
    reader = start(*reading(way, path, folder / "copy"))
    others: list[subprocess.Popen[bytes]] = []
    try:
        wait_any_parked(fs)

        def read_what_is_there() -> None:
            fd = os.open(path, os.O_RDONLY)
            assert read_exactly(fd, 0, PIECE) == torrent.read(torrent.name, 0, PIECE)
            os.close(fd)

        took = {
            "open, read": timed(read_what_is_there),
            "stat": timed(lambda: os.stat(path)),
            "ps": timed(lambda: subprocess.run(["ps", "auxww"], capture_output=True, timeout=9)),
        }
        # The kernel waits for the page before it maps the file; while it does, ps waits for it.
        mapper = start(sys.executable, PROCESS, "mapped", str(path))
        others.append(mapper)
        assert mapper.stdout
        begin = time.monotonic()
        waiting.until("the call of mmap", lambda: in_mmap(mapper.pid) or readable(mapper), 5)
        took["ps beside a second map"] = timed(
            lambda: subprocess.run(["ps", "auxww"], capture_output=True, timeout=9)
        )
        assert waiting.readable(mapper.stdout.fileno(), 9)
        took["second map"] = time.monotonic() - begin
        print(", ".join(f"{what} {seconds * 1e3:.0f} ms" for what, seconds in took.items()))
        assert max(took.pop("second map"), took.pop("ps beside a second map")) <= 2.5
        assert max(took.values()) <= 1.0, took
        # One that got its descriptor from a process that has gone.
        script = 'exec 3<"$2"; "$0" "$1" inherited 3 & exec 3<&-; wait'
        heir = start("sh", "-c", script, sys.executable, PROCESS, str(path))
        others.append(heir)
        assert heir.stdout
        assert waiting.readable(heir.stdout.fileno(), 4.5), "an inherited descriptor hangs"
        # And one that is killed while it waits for the page.
        other = start(sys.executable, PROCESS, "mapped", str(path))
        others.append(other)
        end(other)
        end(mapper)
        end(reader)
        fs.wait_parked(0, timeout=KILLED_S)
    finally:
        for process in (*others, reader):
            end(process)


WAITED_S = 1.2  # by a mapping, before somebody else maps the file
COMES_S = 1.0  # … after which its piece comes: before that one has waited for as long as it may


@pytest.mark.skipif(os.getuid() != 0, reason="looks into other processes")
@pytest.mark.parametrize("way", ["map", "map-random"])
def test_a_mapping_beside_another_gets_what_comes_while_that_may_wait(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker, way: str
) -> None:
    """How long it has waited before does not matter."""
    torrent = torrents.single(f"late-{way}.bin", 2 * MIB, seed=145, piece_length=PIECE)
    path = fetch_half(fs, seeder, torrent)
    seeder.freeze()
    reader = start(sys.executable, PROCESS, way, str(path))
    mapper = None
    try:
        wait_any_parked(fs)
        assert not readable(reader, WAITED_S), "it waits for its page"
        mapper = start(sys.executable, PROCESS, "mapped", str(path))
        waiting.until("the call of mmap", lambda: in_mmap(mapper.pid) or readable(mapper), 5)
        begin = time.monotonic()
        assert not readable(reader, COMES_S), "it has no SIGBUS"
        seeder.thaw()
        assert readable(mapper, 9)
        took = time.monotonic() - begin
        assert waiting.ended(reader.pid, 30)
        said = reader.stdout.read().decode().strip() if reader.stdout else ""
        assert (reader.wait(), said) == (0, hashlib.sha256(torrent.read(torrent.name)).hexdigest())
        assert took <= 2.5
    finally:
        seeder.thaw()
        for process in (mapper, reader):
            if process:
                end(process)


@pytest.mark.skipif(os.getuid() != 0, reason="looks into other processes")
def test_who_hangs_on_another_mount_ends_no_read_here(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Its file has the same inode number."""
    torrent = torrents.single("twice.bin", 2 * MIB, seed=146, piece_length=PIECE)
    mounts = [magnetfs("--read-timeout", "20", name=name, http=False) for name in ("a", "b")]
    seeder.seed(torrent)
    here, there = (fetch_half_from(fs, seeder, torrent) for fs in mounts)
    assert os.stat(here).st_ino == os.stat(there).st_ino
    seeder.freeze()
    readers = []
    try:
        for fs, path in zip(mounts, (here, there)):
            readers.append(start(sys.executable, PROCESS, "map-random", str(path)))
            wait_any_parked(fs)
        readers.append(start(sys.executable, PROCESS, "mapped", str(there)))
        assert readable(readers[2], 9)
        assert waiting.ended(readers[1].pid, 5) and readers[1].wait() == -signal.SIGBUS
        assert not readable(readers[0], 1), "it waits for its page"
        seeder.thaw()
        assert waiting.ended(readers[0].pid, 30)
        said = readers[0].stdout.read().decode().strip() if readers[0].stdout else ""
        assert said == hashlib.sha256(torrent.read(torrent.name)).hexdigest()
    finally:
        seeder.thaw()
        for process in readers:
            end(process)


@pytest.mark.parametrize("way", ["map", "sendfile"])
def test_a_killed_reader_of_the_page_cache_leaves_nothing_parked(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    torrents: TorrentMaker,
    folder: Path,
    way: str,
) -> None:
    fs = magnetfs("--read-timeout", "0")
    torrent = torrents.single(f"killed-{way}.bin", 2 * MIB, seed=150, piece_length=PIECE)
    path = fetch_half(fs, seeder, torrent)
    seeder.kill()
    reader = start(*reading(way, path, folder / "copy"))
    try:
        wait_any_parked(fs)
    finally:
        end(reader)
    fs.wait_parked(0, timeout=KILLED_S)
    waiting.until("no reader", lambda: fs.torrent(torrent.info_hash)["readers"] == 0, timeout=2)


# ---- signals ----


@pytest.fixture(scope="module")
def text(torrents: TorrentMaker) -> Torrent:
    return torrents.single("text.bin", MIB, seed=160, piece_length=PIECE)


PROGRAMS = {
    "cat": ["cat"],
    "md5sum": ["md5sum"],
    "sha256sum": ["sha256sum"],
    "od": ["od", "-An", "-tx1", "-v"],
    "gzip": ["gzip", "-cn"],
    "curl": ["curl", "-s"],
    "busybox": ["busybox", "cat"],
    "python": [sys.executable, "-c", "import sys; print(hash(open(sys.argv[1], 'rb').read()[:9]))"],
}


@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGTSTP], ids=["STOP", "TSTP"])
def test_stopped_and_continued_readers_get_all_bytes(
    fs: Magnetfs, seeder: Seeder, text: Torrent, stop: signal.Signals
) -> None:
    """All programs at once: ^Z and fg (SIGTSTP, SIGCONT) of each while it waits."""
    fs.add(text.metainfo)
    path = fs.directory(text) / text.name

    def words(program: str, file: Path) -> list[str]:
        return [*PROGRAMS[program], f"file://{file}" if program == "curl" else str(file)]

    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    running = {
        program: subprocess.Popen(
            words(program, path), stdout=subprocess.PIPE, start_new_session=True, env=environment
        )
        for program in PROGRAMS
    }
    try:
        fs.wait_parked(len(running))
        for process in running.values():
            process.send_signal(stop)
            process.send_signal(signal.SIGCONT)
        for process in running.values():
            process.send_signal(stop)
        # The kernel has told of the signals when it answers a later request of the same mount.
        os.stat(fs.mountpoint / ".magnetfs")
        seeder.seed(text).connect(text, fs.bt_port)
        for process in running.values():
            process.send_signal(signal.SIGCONT)
        for program, process in running.items():
            out, _ = process.communicate(timeout=20)
            local = subprocess.run(
                words(program, text.blob), capture_output=True, env=environment
            ).stdout.replace(str(text.blob).encode(), str(path).encode())
            assert (process.returncode, out == local) == (0, True), program
    finally:
        for process in running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


ALARMED = """
import os, signal, sys, time
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
fd = os.open(sys.argv[1], os.O_RDONLY)
begin = time.monotonic()
try:
    os.pread(fd, 4096, 0)
except OSError as problem:
    print(problem.errno, time.monotonic() - begin)
"""


def test_a_read_with_a_periodic_signal_times_out_as_any_other(
    magnetfs: Callable[..., Magnetfs], text: Torrent
) -> None:
    """Python, as git, calls read again after each EINTR; its timer is shorter than the time-out."""
    fs = magnetfs("--read-timeout", str(TIMEOUT_S))
    fs.add(text.metainfo)
    words = [sys.executable, "-c", ALARMED, str(fs.directory(text) / text.name)]
    said = subprocess.run(words, capture_output=True, timeout=15).stdout.split()
    assert int(said[0]) == 5, "EIO"
    assert TIMEOUT_S - 0.2 <= float(said[1]) <= TIMEOUT_S + 2


# ---- readers that magnetfs can't see ----

CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", MAGNETFS)


@pytest.fixture
def freed() -> Iterator[Callable[[Magnetfs, float], None]]:
    """Kills a magnetfs in a container after a time: what hangs behind a page, and whoever looks at
    such a process, this one too, is in a state that nothing else ends."""
    running: list[subprocess.Popen[bytes]] = []

    def after(fs: Magnetfs, seconds: float) -> None:
        (container,) = processes.named(fs.processes(), "unshare")
        script = 'read -t "$1" line || [ $? -le 128 ] || kill -9 "$2"'
        running.append(start("bash", "-c", script, "bash", str(seconds), str(container)))

    yield after
    for process in running:
        end(process)


def close_container(fs: Magnetfs) -> None:
    """unshare keeps SIGTERM to itself; an unmount ends magnetfs as well."""
    subprocess.run(["umount", str(fs.mountpoint)], check=True)
    assert fs.wait(10) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="a PID namespace takes root")
@pytest.mark.parametrize("action", ["dup", "fork", "spawn", "run"])
def test_a_flush_from_outside_the_pid_namespace_fails_no_read(
    magnetfs: Callable[..., Magnetfs], text: Torrent, seeder: Seeder, action: str
) -> None:
    """magnetfs in a container: all readers outside are the same to it."""
    fs = magnetfs("--read-timeout", "0", program=CONTAINER, http=False)
    fs.add(text.metainfo)
    with Parked(fs.directory(text) / text.name, 2) as reader:
        fs.wait_parked(2)
        for _ in range(3):
            reader.do(action)
        assert fs.status()["parkedReads"] == 2
        assert reader.line(0.3) == "", "the reads must still be waiting"
        seeder.seed(text).connect(text, fs.bt_port)
        digest = hashlib.sha256(text.read(text.name, 0, 64 * KIB)).hexdigest()
        for _ in range(2):
            assert reader.line(20).split() == ["read", str(64 * KIB), digest]
    fs.wait_parked(0)
    close_container(fs)


@pytest.mark.skipif(os.getuid() != 0, reason="a PID namespace takes root")
@pytest.mark.parametrize("way", ["map", "map-random", "sendfile"])
def test_nobody_waits_long_behind_a_reader_outside_the_pid_namespace(
    magnetfs: Callable[..., Magnetfs],
    freed: Callable[[Magnetfs, float], None],
    seeder: Seeder,
    torrents: TorrentMaker,
    folder: Path,
    way: str,
) -> None:
    """The same as for readers that magnetfs sees, with a time-out of reads that never comes."""
    fs = magnetfs("--read-timeout", "0", program=CONTAINER, http=False)
    freed(fs, 25)
    torrent = torrents.single(f"outside-{way}.bin", 2 * MIB, seed=170, piece_length=PIECE)
    path = fetch_half(fs, seeder, torrent)
    seeder.kill()
    # One that is alone waits for its page, and is gone when it is killed.
    reader = start(*reading(way, path, folder / "copy"))
    others: list[subprocess.Popen[bytes]] = []
    try:
        wait_any_parked(fs)
        assert not waiting.ended(reader.pid, 4), "nobody waits for it"
        end(reader)
        fs.wait_parked(0, timeout=KILLED_S)
        reader = start(*reading(way, path, folder / "copy"))
        wait_any_parked(fs)
        begin = time.monotonic()
        mapper = start(sys.executable, PROCESS, "mapped", str(path))
        others.append(mapper)
        waiting.until("the call of mmap", lambda: in_mmap(mapper.pid) or readable(mapper), 5)
        took = {
            "stat": timed(lambda: os.stat(path)),
            "ps": timed(lambda: subprocess.run(["ps", "auxww"], capture_output=True, timeout=9)),
        }
        assert readable(mapper, 9), "it hangs"
        took["second map"] = time.monotonic() - begin
        print(", ".join(f"{what} {seconds * 1e3:.0f} ms" for what, seconds in took.items()))
        assert took["stat"] <= 1.0 and max(took.values()) <= 2.5, took
        # One that is killed while it waits for the page, or for that of another.
        other = start(sys.executable, PROCESS, "mapped", str(path))
        others.append(other)
        end(other)
        end(mapper)
        end(reader)
        fs.wait_parked(0, timeout=KILLED_S)
    finally:
        for process in (*others, reader):
            end(process)
    close_container(fs)
