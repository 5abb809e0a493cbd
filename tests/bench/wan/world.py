"""An emulated wide-area network: two network namespaces with the emulator (wan.c) between them."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import namespaces
from harness import waiting
from harness.tracker import OpenTracker
from swarm import QUIET, Network

from wan import profiles
from wan.profiles import Profile

SOURCE = Path(__file__).with_name("wan.c")
COMPILE_S = 60.0
ANSWER_S = 10.0

DEVICE = "wan"  # as wan.c calls it
MTU = "1500"
QUEUE_PACKETS = "5000"  # the emulator drops, the device must not
# RFC 2544's networks for benchmarks: 10/8 is local to libtorrent, which neither chokes nor limits
# local peers.
HOST = "198.18.1.1"
SWARM_NETWORK = "198.18.0.0/24"
TRACKER = "198.18.0.200"
TRACKER_PORT = 6969
TRACKER_LINE = f"peer {TRACKER} rtt=60 up=50 down=50\n"
LISTEN_PORT = 6881


def compile_emulator(folder: Path) -> Path:
    """Raises OSError with what the compiler said."""
    program = folder / "wan"
    done = subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-o", str(program), str(SOURCE)],
        capture_output=True,
        text=True,
        timeout=COMPILE_S,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(f"{SOURCE.name} does not compile: {done.stderr}")
    return program


class Emulator:
    """A running wan.c."""

    def __init__(self, program: Path, config: Path, host_fd: int, swarm_fd: int) -> None:
        self._process = subprocess.Popen(
            [str(program), str(config), str(host_fd), str(swarm_fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[host_fd, swarm_fd],
            start_new_session=True,
        )
        try:
            self._line()
        except BaseException:
            self.close()
            raise

    def _line(self) -> str:
        assert self._process.stdout
        if not waiting.readable(self._process.stdout.fileno(), ANSWER_S):
            raise waiting.DeadlineExceeded("the emulator does not answer")
        line = self._process.stdout.readline()
        if not line:
            raise OSError("the emulator ended")
        return line

    def _tell(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def begin(self, ran_s: float) -> None:
        """From now on peers vanish, as if that had gone on for so long."""
        self._tell(f"begin {ran_s:g}")

    def stats(self) -> dict[str, Any]:
        self._tell("stats")
        return json.loads(self._line())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


class World(Network):
    """This process, and all it starts, is the host; the seeders are on the other side."""

    what = "two network namespaces with an emulator of a wide-area network between them"
    shapes = True
    client = HOST
    magnetfs_options = (*QUIET, "--set", f"listen_interfaces={HOST}:{LISTEN_PORT}")

    def __init__(self, profile: Profile, seed: int, program: Path, folder: Path) -> None:
        self.addresses = [f"198.18.0.{number + 1}" for number in range(len(profile.peers))]
        self._stack = ExitStack()
        config = folder / "wan.conf"
        config.write_text(profiles.config(profile, self.addresses, seed) + TRACKER_LINE)
        with namespaces.joined() as self._far:
            own = os.open(namespaces.OWN, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.emulator = Emulator(program, config, own, self._far.fd)
            finally:
                os.close(own)
            self._stack.callback(self.emulator.close)
            try:
                self._set_up()
            except BaseException:
                self.close()
                raise

    def _set_up(self) -> None:
        up = f"link set lo up\nlink set {DEVICE} up mtu {MTU} txqueuelen {QUEUE_PACKETS}\n"
        near = [f"address add {HOST}/32 dev {DEVICE}"]
        near += [f"route add {SWARM_NETWORK} dev {DEVICE} src {HOST}"]
        far = [f"address add {a}/32 dev {DEVICE}" for a in (*self.addresses, TRACKER)]
        far += [f"route add {HOST}/32 dev {DEVICE} congctl cubic"]
        namespaces.run("ip", "-batch", "-", given=up + "\n".join(near) + "\n")
        self._far.run("ip", "-batch", "-", given=up + "\n".join(far) + "\n")
        _forget_metrics()
        with self._far.visited():
            _forget_metrics()

    def seed_command(self) -> list[str]:
        return self._far.command()

    def tracker(self, folder: Path, info_hash: str) -> OpenTracker:
        """A tracker that this torrent may be announced to."""
        tracker = OpenTracker(folder, [info_hash], TRACKER, TRACKER_PORT, self.seed_command())
        self._stack.callback(tracker.close)
        tracker.wait_known(info_hash)
        return tracker

    def close(self) -> None:
        self._stack.close()


def _forget_metrics() -> None:
    """A connection begins without what the kernel learnt from those before it."""
    Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text("1")
