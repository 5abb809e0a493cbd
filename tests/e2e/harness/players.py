"""Players under a test's control: mpv by its socket, VLC by its rc interface, Chromium by its
debugging pipe. Each call waits for what the player itself says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

from harness import waiting
from harness.ports import free_port

ANSWER_S = 20.0


class Mpv:
    """mpv without a window or a sound. It keeps next to nothing, so that seeks are requests."""

    def __init__(self, folder: Path, *sources: str, options: tuple[str, ...] = ()) -> None:
        self.log = folder / "mpv.log"
        self._socket = folder / "mpv.socket"
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            ["mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal", "--idle=once"]
            + ["--demuxer-max-bytes=256KiB", "--demuxer-max-back-bytes=0", "--cache-secs=1"]
            + [f"--input-ipc-server={self._socket}", f"--log-file={self.log}"]
            + [*options, *sources],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )
        try:
            self._link = socket.socket(socket.AF_UNIX)
            waiting.until("mpv's socket", lambda: self._link.connect_ex(str(self._socket)) == 0)
        except BaseException:
            self.close()
            raise

    def _next(self, timeout: float) -> dict[str, Any] | None:
        """The next line that mpv says; None: it ended, or says nothing in time."""
        while b"\n" not in self._buffer:
            if not waiting.readable(self._link.fileno(), timeout):
                return None
            part = self._link.recv(65536)
            if not part:
                return None
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def ask(self, *command: object) -> Any:
        """Runs a command and returns its data, None where there is none yet."""
        self._number += 1
        asked = {"command": list(command), "request_id": self._number}
        self._link.sendall(json.dumps(asked).encode() + b"\n")
        while (said := self._next(ANSWER_S)) is not None:
            if said.get("request_id") == self._number and "error" in said:
                return said.get("data")
            self.events.append(said)
        raise waiting.DeadlineExceeded(f"mpv did not answer {command}")

    def wait(self, event: str) -> dict[str, Any]:
        """The next event of that name; those before it are passed over."""
        end = time.monotonic() + ANSWER_S
        while time.monotonic() < end:
            said = self.events.pop(0) if self.events else self._next(ANSWER_S)
            if said is None:
                break
            if said.get("event") == event:
                return said
        raise waiting.DeadlineExceeded(f"mpv: no {event}: {self.log.read_text()[-2000:]}")

    def seek(self, to: float) -> float:
        """Seeks, and returns where it plays then."""
        self.events.clear()
        self.ask("seek", to, "absolute+exact")
        self.wait("playback-restart")
        return float(self.ask("get_property", "time-pos"))

    def end(self) -> int:
        """Waits until it has ended by itself."""
        return self._process.wait(ANSWER_S)

    def errors(self) -> list[str]:
        """What it complained of, but for its own output that is none: it plays on over broken
        pictures and still says success."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [
            line
            for line in lines
            if ("][e][" in line or "][f][" in line) and "][ao/null]" not in line
        ]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._link.close()


class Vlc:
    """VLC without a window or a sound. It refuses to be root's."""

    def __init__(self, folder: Path, *sources: str) -> None:
        home = folder / "vlc"
        home.mkdir()
        home.chmod(0o777)
        self.log = folder / "vlc.log"
        port = free_port()
        command = ["cvlc", "--no-dbus", "--no-metadata-network-access", "--play-and-exit"]
        command += ["-I", "oldrc", "--rc-host", f"127.0.0.1:{port}", "--rc-fake-tty"]
        command += ["--vout=dummy", "--aout=dummy"]
        command += ["--network-caching=300", "-v", *sources]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
            )
        try:
            self._link = waiting.until("VLC's rc interface", lambda: self._connect(port), ANSWER_S)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _connect(self, port: int) -> socket.socket | None:
        assert self._process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
        except ConnectionRefusedError:
            return None

    def tell(self, command: str) -> None:
        self._link.sendall(command.encode() + b"\n")

    def position(self) -> int:
        """The second that it plays; -1: none yet, or VLC is about to end."""
        self.tell("get_time")
        line = b""
        while not line.endswith(b"\n"):
            part = self._link.recv(1)
            if not part:
                return -1
            line += part
        text = line.strip().lstrip(b"> ")
        return int(text) if text.isdigit() else -1

    def wait_position(self, first: int, last: int) -> None:
        waiting.until(
            f"VLC at {first} to {last} s", lambda: first <= self.position() <= last, ANSWER_S
        )

    def has_ended(self, within: float) -> bool:
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> int:
        return self._process.wait(ANSWER_S)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._link.close()


class Chromium:
    """A headless Chromium with one page."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "chromium"
        self._folder.mkdir()
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        self._buffer = b""
        self._number = 0
        # The pipe is descriptors 3 and 4 of the browser.
        pipes = f'exec 3<&{to_read} 4>&{to_write}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, "bash", "chromium", "--headless=new", "--no-sandbox"]
            + ["--remote-debugging-pipe", "--disable-gpu", "--mute-audio", "--no-first-run"]
            + ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
            + ["--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"]
            + [f"--user-data-dir={self._folder}/profile", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[to_read, to_write],
            start_new_session=True,
            env={
                **os.environ,
                **{name: str(self._folder) for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")},
            },
        )
        os.close(to_read)
        os.close(to_write)
        self._session: str | None = None
        try:
            pages = waiting.until("a page", self._pages, ANSWER_S)
            attached = self.call("Target.attachToTarget", targetId=pages[0], flatten=True)
            self._session = attached["sessionId"]
        except BaseException:
            self.close()
            raise

    def _pages(self) -> list[str]:
        targets = self.call("Target.getTargets")["targetInfos"]
        return [target["targetId"] for target in targets if target["type"] == "page"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not waiting.readable(self._from, ANSWER_S):
                raise waiting.DeadlineExceeded("Chromium says nothing")
            part = os.read(self._from, 1 << 20)
            assert part, "Chromium has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A method of its DevTools protocol."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        data = json.dumps(asked).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while (said := self._next()).get("id") != self._number:
            pass
        assert "error" not in said, said
        return said["result"]

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url: str, ready: Callable[[], Any]) -> None:
        """Goes to url and waits until ready() is true."""
        self.call("Page.navigate", url=url)
        waiting.until(f"{url} in Chromium", ready, ANSWER_S)

    def close(self) -> None:
        # It has a family of processes, which are of its session.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._folder, ignore_errors=True)
