"""One running magnetfs: start, the control files, and an end that must be clean."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any, Iterable, Sequence

from harness import processes, waiting
from harness.ports import free_port
from harness.torrents import Torrent
from harness.web import Web

BIN = Path(
    os.environ.get(
        "MAGNETFS_BIN", Path(__file__).resolve().parents[3] / "build" / "release" / "bin"
    )
)
MAGNETFS = BIN / "magnetfs"
MAGNETCTL = BIN / "magnetctl"

START_S = 20.0
END_S = 2.0  # DESIGN.md: SIGINT and SIGTERM end everything within 2 s, whatever is parked

SUSPICIOUS = re.compile(r"error|warning|sanitizer|assert|corrupt|double free|leak", re.IGNORECASE)
# A path's random part may spell one of these words.
PATH = re.compile(r"/\S*")

# Loopback alone, nothing found by chance. TCP, since uTP is many times slower over loopback; the
# tests with transmission-daemon take ANY_TRANSPORT besides. OWN_TRANSPORT leaves it to magnetfs.
OWN_TRANSPORT = (
    "--allow-loopback-peers",
    *("--set", "listen_interfaces=127.0.0.1:0"),
    *("--set", "enable_dht=0"),
    *("--set", "enable_lsd=0"),
    *("--set", "enable_upnp=0"),
    *("--set", "enable_natpmp=0"),
    *("--set", "allow_multiple_connections_per_ip=1"),
)
SWARM_OPTIONS = (*OWN_TRANSPORT, *("--set", "enable_outgoing_utp=0"))
# As everybody has it but the tests, whose peers share an address.
ONE_AT_ADDRESS = ("--set", "allow_multiple_connections_per_ip=0")
ANY_TRANSPORT = ("--set", "enable_outgoing_utp=1")


class StartFailed(Exception):
    """magnetfs ended before it was ready."""

    def __init__(self, code: int, stderr: str) -> None:
        super().__init__(f"magnetfs ended with {code}:\n{stderr}")
        self.code = code
        self.stderr = stderr


class Events:
    """The control file `events`, read as it comes."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._buffer = b""
        self.seen: list[dict[str, Any]] = []

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next event, None when none comes in time."""
        end = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            try:
                self._buffer += os.read(self._fd, 65536)
            except BlockingIOError:
                left = end - time.monotonic()
                if left <= 0 or not waiting.readable(self._fd, left):
                    return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        event = json.loads(line)
        self.seen.append(event)
        return event

    def wait(self, name: str, info_hash: str, timeout: float = 10.0) -> dict[str, Any]:
        """Waits for that event of that torrent; others that come before are passed over."""
        end = time.monotonic() + timeout
        while event := self.next(max(0.0, end - time.monotonic())):
            if event["event"] == name and event["infoHash"] == info_hash:
                return event
        raise waiting.DeadlineExceeded(f"no event {name!r} of {info_hash}; seen: {self.seen}")

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Magnetfs:
    """A magnetfs with folders of its own beneath `folder`."""

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        *,
        http: bool = True,
        allow: Iterable[str] = (),
        swarm: Sequence[str] = SWARM_OPTIONS,
        program: Sequence[str | Path] = (MAGNETFS,),
    ) -> None:
        """allow: patterns of stderr lines the test expects; other errors and warnings fail it."""
        self.folder = folder
        self.mountpoint = folder / "mnt"
        self.state = folder / "state"
        self.cache = folder / "cache"
        self.control = self.mountpoint / ".magnetfs"
        self.options = list(options)
        self.allow = [re.compile(pattern) for pattern in allow]
        self.web = Web(free_port()) if http else None
        self.pid = 0
        self.program = [str(word) for word in program]
        self._swarm = list(swarm)
        self._process: subprocess.Popen[bytes] | None = None
        self._instance = uuid.uuid4().hex
        self._was_beneath: set[str] = set()
        self._log = folder / "stderr"
        for path in (folder, self.mountpoint):
            path.mkdir(parents=True, exist_ok=True)

    # -- start and end ---------------------------------------------------------------------------

    def command(self) -> list[str]:
        http = ["--http", f"127.0.0.1:{self.web.port}"] if self.web else ["--no-http"]
        return [
            *self.program,
            "-f",
            *("--state-dir", str(self.state)),
            *("--cache-dir", str(self.cache)),
            *http,
            *self._swarm,
            *self.options,
        ]

    def start(self, timeout: float = START_S) -> Magnetfs:
        """Returns when it is mounted and the sidecar listens; StartFailed when it gave up."""
        self.start_unseen(timeout)
        self.pid = self.status()["pid"]
        return self

    def start_unseen(self, timeout: float = START_S) -> None:
        """start() for a mount in a namespace that this process can't look into."""
        ready, theirs = os.pipe()
        self._was_beneath = self._beneath()
        self._instance = uuid.uuid4().hex
        environment = {**os.environ, processes.INSTANCE_TAG: self._instance}
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*self.command(), "--ready-fd", str(theirs), str(self.mountpoint)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)
        try:
            if not waiting.readable(ready, timeout):
                self.kill()
                raise waiting.DeadlineExceeded(f"not ready in {timeout:g} s:\n{self.stderr()}")
            if os.read(ready, 1) != b"\n":  # end-of-file: nobody is left who could write it
                code = self._process.wait(END_S + 5)
                self._process = None
                raise StartFailed(code, self.stderr())
        finally:
            os.close(ready)

    @property
    def running(self) -> bool:
        return self._process is not None

    def processes(self) -> list[int]:
        """magnetfs, its helper, the sidecar and whatever else they started."""
        found = set(processes.tagged(processes.INSTANCE_TAG, self._instance))
        if self._process and processes.alive(self._process.pid):
            found.add(self._process.pid)
            found.update(processes.descendants(self._process.pid))
        return sorted(found)

    def sidecar(self) -> int | None:
        found = processes.named(self.processes(), "magnetfs-httpd")
        return found[0] if found else None

    def stop(self, signum: int = signal.SIGTERM, within: float = END_S) -> None:
        """Ends it by a signal and checks that it goes in time, with 0, and leaves nothing."""
        assert self._process, "magnetfs does not run"
        known = self.processes()
        process, self._process = self._process, None
        begin = time.monotonic()
        process.send_signal(signum)
        in_time = waiting.ended(process.pid, within)
        took = time.monotonic() - begin

        def left() -> list[int]:
            found = set(processes.tagged(processes.INSTANCE_TAG, self._instance))
            found.update(pid for pid in known if pid != process.pid and processes.alive(pid))
            return sorted(found - {process.pid})

        while left() and time.monotonic() - begin < within:
            time.sleep(waiting.POLL_S)
        stayed = [processes.describe(pid) for pid in left()]
        mounted = processes.is_mounted(self.mountpoint)
        if not in_time:
            process.kill()
        code = process.wait()
        self._clean()
        problems = []
        if not in_time:
            problems.append(f"did not end within {within:g} s of signal {signum}")
        elif code != 0:
            problems.append(f"ended with {code} after {took:.2f} s")
        if left_there := self._beneath() - self._was_beneath:
            problems.append(f"left in the mountpoint: {left_there}")
        if stayed:
            problems.append(f"left behind after {within:g} s: {stayed}")
        if mounted:
            problems.append("still mounted after the end")
        problems += [f"unexpected line on stderr: {line}" for line in self.suspicious()]
        assert not problems, "magnetfs: " + "; ".join(problems)

    def _beneath(self) -> set[str]:
        """What is in the mountpoint itself: nothing while something is mounted there."""
        if processes.is_mounted(self.mountpoint):
            return set()
        try:
            return set(os.listdir(self.mountpoint))
        except OSError:
            return set()

    def kill(self) -> None:
        """SIGKILL to magnetfs alone; what it leaves is the test's subject."""
        assert self._process, "magnetfs does not run"
        self._process.kill()
        self._process.wait()
        self._process = None

    def wait(self, timeout: float) -> int:
        """Waits for an end that the test brought about in another way than by stop()."""
        assert self._process, "magnetfs does not run"
        if not waiting.ended(self._process.pid, timeout):
            raise waiting.DeadlineExceeded(f"magnetfs has not ended within {timeout:g} s")
        code = self._process.wait()
        self._process = None
        return code

    def _clean(self) -> None:
        processes.kill_all(processes.tagged(processes.INSTANCE_TAG, self._instance))
        for mountpoint in processes.mounts_beneath(self.mountpoint):
            processes.unmount_lazily(mountpoint)

    def close(self) -> None:
        """Teardown: stop() if it runs; else nothing of it may be left."""
        if self._process:
            self.stop()
            return
        left = processes.tagged(processes.INSTANCE_TAG, self._instance)
        stayed = [processes.describe(pid) for pid in left]
        mounted = processes.is_mounted(self.mountpoint)
        self._clean()
        assert not stayed, f"left behind: {stayed}"
        assert not mounted, f"{self.mountpoint} is still mounted"

    def stderr(self) -> str:
        try:
            return self._log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def suspicious(self) -> list[str]:
        return [
            line
            for line in self.stderr().splitlines()
            if SUSPICIOUS.search(PATH.sub("", line))
            and not any(known.search(line) for known in self.allow)
        ]

    # -- the control directory -------------------------------------------------------------------

    def add(self, what: str | bytes, temporary: bool = False) -> list[dict[str, Any]]:
        """Writes magnets (a line each) or a .torrent and returns the answers, one a torrent."""
        data = what if isinstance(what, bytes) else what.rstrip("\n").encode() + b"\n"
        fd = os.open(self.control / ("add-temporary" if temporary else "add"), os.O_RDWR)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            return self._answers(fd)
        finally:
            os.close(fd)

    def refused(self, what: bytes, temporary: bool = False) -> tuple[int, dict[str, Any]]:
        """Writes what must be refused: the errno and the answer that tells why."""
        fd = os.open(self.control / ("add-temporary" if temporary else "add"), os.O_RDWR)
        try:
            try:
                view = memoryview(what)
                while view:
                    view = view[os.write(fd, view) :]
            except OSError as problem:
                answers = self._answers(fd)
                assert len(answers) == 1, answers
                return problem.errno, answers[0]
            raise AssertionError(f"taken: {what[:200]!r}: {self._answers(fd)}")
        finally:
            os.close(fd)

    @staticmethod
    def _answers(fd: int) -> list[dict[str, Any]]:
        data = b""
        while part := os.read(fd, 65536):
            data += part
        return [json.loads(line) for line in data.splitlines()]

    def add_torrent(self, torrent: Torrent, *peers: object, temporary: bool = False) -> Path:
        """Adds by magnet, waits until its files are there and returns its directory."""
        answer = self.add(torrent.magnet(*peers), temporary)
        assert [a["infoHash"] for a in answer] == [torrent.info_hash], answer
        self.files(torrent.info_hash)
        return self.mountpoint / self.torrent(torrent.info_hash)["name"]

    def directory(self, torrent: Torrent) -> Path:
        """Its directory as the torrent names it; another torrent of that name may have come first."""
        return self.mountpoint / torrent.directory

    def status(self) -> dict[str, Any]:
        return json.loads((self.control / "status").read_bytes())

    def torrent_folder(self, info_hash: str) -> Path:
        return self.control / "torrents" / info_hash

    def torrent(self, info_hash: str) -> dict[str, Any]:
        return json.loads((self.torrent_folder(info_hash) / "status").read_bytes())

    def known(self, info_hash: str) -> bool:
        return self.torrent_folder(info_hash).exists()

    def files(self, info_hash: str, timeout: float = 20.0) -> list[dict[str, Any]]:
        """Waits for the metadata through the control file, without ever blocking in a read."""
        try:
            data = self.nonblocking(self.torrent_folder(info_hash) / "files", timeout)
        except waiting.DeadlineExceeded as late:
            raise waiting.DeadlineExceeded(f"{late}; {self.torrent(info_hash)}") from None
        return json.loads(data)["files"]

    @staticmethod
    def nonblocking(path: Path, timeout: float) -> bytes:
        """The whole control file by O_NONBLOCK and poll(2)."""
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        end = time.monotonic() + timeout
        parts = []
        try:
            while True:
                try:
                    part = os.read(fd, 1 << 20)
                except BlockingIOError:
                    left = end - time.monotonic()
                    if left <= 0 or not waiting.readable(fd, left):
                        raise waiting.DeadlineExceeded(
                            f"{path}: nothing in {timeout:g} s"
                        ) from None
                    continue
                if not part:
                    return b"".join(parts)
                parts.append(part)
        finally:
            os.close(fd)

    def remove(self, info_hash: str) -> None:
        """Removes a torrent with its data; done at the return."""
        os.rmdir(self.torrent_folder(info_hash))

    def events(self) -> Events:
        return Events(self.control / "events")

    @property
    def bt_port(self) -> int:
        """Where peers reach its session."""
        return waiting.until("a BitTorrent port", lambda: self.status()["session"]["listenPort"])

    def wait_parked(self, count: int, timeout: float = 10.0) -> None:
        """Waits until exactly that many reads are parked."""
        waiting.until(
            f"{count} parked reads", lambda: self.status()["parkedReads"] == count, timeout
        )

    def ctl(self, *arguments: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Runs magnetctl on this mount."""
        return subprocess.run(
            [MAGNETCTL, "-m", str(self.mountpoint), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def store_blocks(self) -> int:
        """Bytes the cache folder takes on disk."""
        total = 0
        for path in self.cache.rglob("*"):
            try:
                if path.is_file():
                    total += path.stat().st_blocks * 512
            except FileNotFoundError:
                continue
        return total


def errno_of(action: Any, *arguments: Any, **keywords: Any) -> int:
    """The errno a call failed with; a call that succeeds fails the test."""
    try:
        result = action(*arguments, **keywords)
    except OSError as problem:
        assert problem.errno
        return problem.errno
    raise AssertionError(f"{getattr(action, '__name__', action)}{arguments} succeeded: {result!r}")


def errno_name(number: int) -> str:
    return errno.errorcode.get(number, str(number))
