"""What is measured: magnetfs' mount, its /stream, plain libtorrent, and peers where installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import quote

from harness import processes, waiting
from harness.mount import Magnetfs
from harness.ports import free_port
from harness.slicing import SLICINGS, SliceReader
from harness.torrents import Torrent
from harness.web import stream_target

from process import Usage, usage
from readers import FileReader, HttpReader, Reader
from swarm import Network

REQUEST_S = 120.0  # bound on one answer over HTTP
METADATA_S = 60.0  # bound on a torrent's coming up
DOWNLOAD_S = 600.0  # bound on plain libtorrent's download
MOUNTED_S = 20.0

BEFORE = "before"
# What the names in the table stand for.
EXPLAINED = {
    "mount": "magnetfs, read through the mount",
    "stream": "magnetfs, read through the sidecar's /stream",
    "plain": "plain libtorrent 2.0 (python3-libtorrent), the whole torrent to disk over TCP",
    "btfs": "btfs (FUSE)",
    "webtorrent": "webtorrent-cli, its HTTP server",
    "fresh": "/stream in ranges of 64 KiB, each with a connection of its own",
    "kept": "the same on one connection, as long as it is kept",
    "two": "the same on two connections, a request on each at a time",
    "looking": "each on a connection of its own, a HEAD of the range before it",
    "proxy": "/stream in ranges of 1 MiB, three at a time, as proxies with slices ask",
    BEFORE: "the mount of the build of --against",
    "file": "the same bytes in a plain file on the same disk, in the page cache",
}


@dataclass
class Place:
    """Where a subject runs."""

    network: Network
    folder: Path
    programs: Path  # magnetfs' bin


class Subject:
    """A program that was started, given a torrent, and is read from. Use it as a context."""

    name = ""

    def __init__(self, place: Place, *options: str) -> None:
        self.place = place
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=place.folder))

    def start(self) -> None:
        """Everything that comes before the first torrent."""

    def add(self, torrent: Torrent, magnet: str) -> None:
        """Adds it and returns when its files are known."""
        raise NotImplementedError

    def reader(self, torrent: Torrent, path: str | None = None) -> Reader:
        """Opens a file of the torrent, the first one by default."""
        raise NotImplementedError

    def processes(self) -> dict[str, int]:
        """The processes that do the work: name and pid."""
        return {}

    def usage(self) -> dict[str, Usage]:
        return {name: usage(pid) for name, pid in self.processes().items()}

    def stop(self) -> None:
        pass

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            if not processes.mounts_beneath(self.folder):
                shutil.rmtree(self.folder, ignore_errors=True)


class Mount(Subject):
    """magnetfs, through the mount."""

    name = "mount"

    def start(self) -> None:
        self.fs = Magnetfs(
            self.folder,
            self.options,
            swarm=self.place.network.magnetfs_options,
            program=(self.place.programs / "magnetfs",),
        )
        self.fs.start()

    def add(self, torrent: Torrent, magnet: str, with_file: bool = False) -> None:
        """with_file: adds its .torrent besides, as no peer has the metadata."""
        self.fs.add(magnet)
        if with_file:
            self.fs.add(torrent.metainfo)
        self.fs.files(torrent.info_hash, METADATA_S)

    def path(self, torrent: Torrent, path: str | None = None) -> Path:
        return self.fs.directory(torrent) / (path or torrent.files[0].path)

    def reader(self, torrent: Torrent, path: str | None = None) -> Reader:
        return FileReader(self.path(torrent, path))

    def address(self, torrent: Torrent) -> str:
        """What a player is given to play its first file."""
        return str(self.path(torrent))

    def processes(self) -> dict[str, int]:
        return {"magnetfs": self.fs.pid}

    def stop(self) -> None:
        if self.fs.running:
            self.fs.stop(within=10)


class Stream(Mount):
    """magnetfs, through the sidecar."""

    name = "stream"

    def add(self, torrent: Torrent, magnet: str) -> None:
        assert self.fs.web
        answer = self.fs.web.add(magnet, timeout=METADATA_S)
        if answer.status != 200:
            raise OSError(f"/add: {answer.status} {answer.body[:300]!r}")

    def reader(self, torrent: Torrent, path: str | None = None) -> Reader:
        assert self.fs.web
        target = stream_target(torrent, path or torrent.files[0].path)
        return HttpReader(self.fs.web.port, target, REQUEST_S)

    def address(self, torrent: Torrent) -> str:
        assert self.fs.web
        return f"http://127.0.0.1:{self.fs.web.port}{stream_target(torrent, torrent.files[0].path)}"

    def processes(self) -> dict[str, int]:
        found = super().processes()
        sidecar = self.fs.sidecar()
        return {**found, "magnetfs-httpd": sidecar} if sidecar else found


class Sliced(Stream):
    """The same by many requests."""

    def reader(self, torrent: Torrent, path: str | None = None) -> Reader:
        assert self.fs.web
        file = torrent.file(path) if path else torrent.files[0]
        target = stream_target(torrent, file.path)
        return SliceReader(self.fs.web.port, target, file.length, SLICINGS[self.name], REQUEST_S)


class Plain(Subject):
    """Plain libtorrent: can only download the whole."""

    name = "plain"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("plain_process.py"))]
            + [f"{self.place.network.client}:0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._line(MOUNTED_S)

    def _line(self, timeout: float) -> str:
        assert self._process.stdout
        if not waiting.readable(self._process.stdout.fileno(), timeout):
            raise waiting.DeadlineExceeded(f"plain libtorrent: nothing in {timeout:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise OSError("plain libtorrent ended")
        return line

    def download(self, magnet: str, torrent_file: Path | None = None) -> dict[str, float]:
        """torrent_file: where no peer has the metadata."""
        assert self._process.stdin
        target = self.folder / "downloads"
        target.mkdir()
        self._process.stdin.write(f"{target} {magnet} {torrent_file or ''}\n")
        self._process.stdin.flush()
        return json.loads(self._line(DOWNLOAD_S))

    def path(self, torrent: Torrent) -> Path:
        """Its only file, downloaded."""
        return self.folder / "downloads" / torrent.files[0].path

    def stop(self) -> None:
        end_process(self._process)


def end_process(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Btfs(Subject):
    """btfs takes its magnet when it starts: adding is starting. It outlives unmount and SIGTERM."""

    name = "btfs"
    _process: subprocess.Popen[bytes] | None = None

    def add(self, torrent: Torrent, magnet: str) -> None:
        self._mountpoint = self.folder / "mnt"
        data = self.folder / "data"
        for path in (self._mountpoint, data):
            path.mkdir()
        self._process = subprocess.Popen(
            ["btfs", "-f", f"--data-directory={data}", magnet, str(self._mountpoint)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        path = self._mountpoint / torrent.files[0].path
        waiting.until("btfs' file", path.exists, METADATA_S)

    def reader(self, torrent: Torrent, path: str | None = None) -> Reader:
        return FileReader(self._mountpoint / (path or torrent.files[0].path))

    def processes(self) -> dict[str, int]:
        return {"btfs": self._process.pid} if self._process else {}

    def stop(self) -> None:
        if self._process:
            end_process(self._process)
        for mountpoint in processes.mounts_beneath(self.folder):
            processes.unmount_lazily(mountpoint)


class Webtorrent(Subject):
    """webtorrent-cli's server: adding is starting, too."""

    name = "webtorrent"
    _process: subprocess.Popen[bytes] | None = None
    _target = ""

    def add(self, torrent: Torrent, magnet: str) -> None:
        self._port = free_port()
        self._process = subprocess.Popen(
            ["webtorrent", "download", magnet, "--quiet", "--keep-seeding"]
            + ["--port", str(self._port), "--out", str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

        waiting.until("webtorrent's server", lambda: self._find(torrent), METADATA_S)

    def _find(self, torrent: Torrent) -> bool:
        """Since version 5 the path begins with /webtorrent and the hash, before with the number."""
        name = quote(torrent.files[0].path)
        for target in (f"/webtorrent/{torrent.info_hash}/{name}", f"/0/{name}"):
            reader = HttpReader(self._port, target, REQUEST_S)
            try:
                reader.at(0, 1)
                self._target = target
                return True
            except OSError:
                continue
            finally:
                reader.close()
        return False

    def reader(self, torrent: Torrent, path: str | None = None) -> Reader:
        return HttpReader(self._port, self._target, REQUEST_S)

    def processes(self) -> dict[str, int]:
        return {"webtorrent": self._process.pid} if self._process else {}

    def stop(self) -> None:
        if self._process:
            end_process(self._process)


OURS = ("mount", "stream")
KINDS: dict[str, type[Subject]] = {
    **{kind.name: kind for kind in (Plain, Mount, Stream, Btfs, Webtorrent)},
    **{name: type(name.title(), (Sliced,), {"name": name}) for name in SLICINGS},
}


def unavailable(network: Network) -> Iterator[tuple[str, str]]:
    """The subjects that can't be measured here, and why."""
    for name in ("btfs", "webtorrent"):
        if shutil.which(name) is None:
            yield name, "not installed"
        elif not network.shapes:
            yield name, "cannot be told to listen on loopback"
