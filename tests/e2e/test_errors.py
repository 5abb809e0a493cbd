"""What goes wrong gets one clear line: what is wrong, and what to do; and nothing is lost by it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Callable, Sequence

import pytest

from harness import processes, waiting
from harness.mount import BIN, MAGNETFS, Magnetfs, StartFailed, errno_name, errno_of
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.torrents import MIB, Torrent, TorrentMaker
from harness.tracker import HangingTracker

NOBODY = "0123456789abcdef0123456789abcdef01234567"
HASTY = ("--metadata-timeout", "1", "--retries", "1", "--retry-delay", "1")
RUN_TIME, USAGE = 1, 2  # exit codes

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes mount namespaces: root only")


@pytest.fixture(scope="module")
def torrent(torrents: TorrentMaker) -> Torrent:
    return torrents.single("fine.bin", MIB, seed=101)


def failure(fs: Magnetfs, code: int = RUN_TIME) -> str:
    """Starts what must not start: checks the exit code, and returns its one line."""
    with pytest.raises(StartFailed) as caught:
        fs.start()
    assert caught.value.code == code, caught.value.stderr
    lines = caught.value.stderr.splitlines()
    said = [line for line in lines if line.strip() and ": info: " not in line]
    assert len(said) == 1, f"not one line: {said}"
    level = "" if code == USAGE else "error: "  # what is wrong with the command line is no log line
    found = re.match(rf"magnetfs(\[\d+\])?: {level}(\S.*)", said[0])
    assert found, said[0]
    assert not processes.is_mounted(fs.mountpoint)
    return found[2]


# -- at start --------------------------------------------------------------------------------------


def test_the_http_port_in_use(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs(start=False, allow=[r"--http"])
    assert fs.web
    with socket.create_server(("127.0.0.1", fs.web.port)):
        line = failure(fs)
    assert str(fs.web.port) in line and re.search("in use|taken|listens", line)
    assert "--http" in line or "--no-http" in line, "what to do: another port"
    fs.start()


def test_the_bittorrent_port_in_use_is_no_error(magnetfs: Callable[..., Magnetfs]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fs = magnetfs("--set", f"listen_interfaces=127.0.0.1:{port}", allow=[r"port|listen"])
        assert fs.bt_port not in (0, port)


@pytest.mark.parametrize("shared", ["state", "cache"])
def test_a_second_magnetfs_on_the_same_folder_names_the_first(
    magnetfs: Callable[..., Magnetfs], shared: str
) -> None:
    first = magnetfs(name="first")
    second = magnetfs(name="second", start=False)
    setattr(second, shared, getattr(first, shared))
    line = failure(second)
    assert str(first.pid) in line, "which process has it"
    assert str(getattr(first, shared)) in line
    assert first.web and first.web.get("/healthz").status == 200, "the first goes on"


def test_a_missing_mountpoint(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs(start=False)
    fs.mountpoint.rmdir()
    line = failure(fs)
    assert str(fs.mountpoint) in line and re.search(r"no such|not exist|missing", line, re.I)
    assert "mkdir" in line or "create" in line.lower() or "make" in line.lower(), "what to do"


def test_a_mountpoint_that_is_a_file(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs(start=False)
    fs.mountpoint.rmdir()
    fs.mountpoint.write_text("")
    line = failure(fs)
    assert str(fs.mountpoint) in line and "directory" in line.lower()


def test_a_mountpoint_that_is_not_empty(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs(start=False)
    (fs.mountpoint / "precious").write_text("mine")
    line = failure(fs)
    assert str(fs.mountpoint) in line and "empty" in line
    assert (fs.mountpoint / "precious").read_text() == "mine"


def test_a_mountpoint_that_is_mounted_already(magnetfs: Callable[..., Magnetfs]) -> None:
    first = magnetfs(name="first")
    second = magnetfs(name="second", start=False)
    second.mountpoint = first.mountpoint
    with pytest.raises(StartFailed) as caught:
        second.start()
    assert caught.value.code == RUN_TIME
    assert re.search(r"error: .*already.*mount|error: .*mount.*already", caught.value.stderr)
    assert str(first.mountpoint) in caught.value.stderr
    assert len(processes.mounts_beneath(first.mountpoint)) == 1
    second.mountpoint = second.folder / "mnt"  # so that its teardown looks at its own
    assert first.status()["pid"] == first.pid


@pytest.mark.parametrize("which", ["state", "cache"])
def test_a_folder_that_cannot_be_written(magnetfs: Callable[..., Magnetfs], which: str) -> None:
    """A file stands where the folder should be: not even root can write there."""
    fs = magnetfs(start=False)
    blocker = fs.folder / "blocker"
    blocker.write_text("")
    setattr(fs, which, blocker / which)
    line = failure(fs)
    assert str(blocker / which) in line
    assert f"--{which}-dir" in line, "what to do: another folder"


@needs_root
@pytest.mark.parametrize("which", ["state", "cache"])
def test_a_folder_on_a_read_only_file_system(magnetfs: Callable[..., Magnetfs], which: str) -> None:
    fs = magnetfs(start=False)
    target = getattr(fs, which)
    target.mkdir()
    fs.program = in_namespace(
        f"mount --bind {target} {target} && mount -o remount,bind,ro {target}", [str(MAGNETFS)]
    )
    line = failure(fs)
    assert str(target) in line and re.search(r"read-only|not writable|cannot write", line, re.I)


def in_namespace(prepare: str, command: Sequence[str]) -> list[str]:
    """A command line that runs command in a mount namespace of its own after prepare."""
    script = f'set -e; {prepare}; exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command]


EMPTY_DEV = "mount -t tmpfs -o dev none /dev; for n in null:3 zero:5 random:8 urandom:9; do " + (
    "mknod -m 666 /dev/${n%:*} c 1 ${n#*:}; done"
)


@needs_root
def test_no_dev_fuse(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs(start=False, program=in_namespace(EMPTY_DEV, [str(MAGNETFS)]))
    line = failure(fs)
    assert "/dev/fuse" in line and re.search(r"modprobe|--device|load|module", line), line


@pytest.fixture
def unprivileged(folder: Path) -> Path:
    """The programs where a user without rights can reach them, and a folder of that user's."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("magnetfs", "magnetfs-httpd", "magnetctl"):
        shutil.copy(BIN / name, programs / name)
    return programs


def as_nobody(programs: Path, mode: str) -> list[str]:
    """magnetfs as nobody, with a /dev/fuse of that mode."""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    prepare = f"{EMPTY_DEV}; mknod /dev/fuse c 10 229; chmod {mode} /dev/fuse"
    return in_namespace(prepare, [*user, str(programs / "magnetfs")])


@needs_root
def test_no_rights_on_dev_fuse(magnetfs: Callable[..., Magnetfs], unprivileged: Path) -> None:
    fs = magnetfs(start=False, program=as_nobody(unprivileged, "600"))
    for path in (fs.folder, fs.mountpoint):
        os.chown(path, 65534, 65534)
    line = failure(fs)
    assert "/dev/fuse" in line and re.search(r"permission|not permitted|rights|may not", line, re.I)


@needs_root
def test_a_user_without_rights_mounts_through_fusermount3(
    magnetfs: Callable[..., Magnetfs], unprivileged: Path, seeder: Seeder, torrent: Torrent
) -> None:
    """The user nobody, where /dev/fuse is open to all; the sidecar serves from in there."""
    fs = magnetfs(start=False, program=as_nobody(unprivileged, "666"))
    for path in (fs.folder, fs.mountpoint):
        os.chown(path, 65534, 65534)
    fs.start_unseen()
    assert fs.web
    answer = fs.web.add(torrent.magnet(seeder.seed(torrent)))
    assert answer.status == 200, answer.body
    body = fs.web.get(f"/stream/{torrent.info_hash}/fine.bin")
    assert (body.status, body.body) == (200, torrent.read("fine.bin"))


BAD_OPTIONS = {
    "unknown setting": (["--set", "no_such_setting=1"], "no_such_setting"),
    "bad value of a setting": (["--set", "connections_limit=many"], "connections_limit"),
    "setting without a value": (["--set", "connections_limit"], "connections_limit"),
    "unknown option": (["--no-such-option"], "--no-such-option"),
    "bad number": (["--read-timeout", "soon"], "read-timeout"),
    "negative number": (["--idle-timeout", "-1"], "idle-timeout"),
    "bad size": (["--cache-size", "20Q"], "cache-size"),
    "too small a size": (["--cache-size", "5"], "not less than 1M"),
    "mount option that is none": (["-o", "cach_size=5G"], "`-o cach_size=5G'"),
    "bad fill": (["--fill", "everything"], "fill"),
    "bad log level": (["--log-level", "loud"], "log-level"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_bad_options_are_usage_errors(
    magnetfs: Callable[..., Magnetfs], case: tuple[list[str], str]
) -> None:
    options, named = case
    line = failure(magnetfs(*options, start=False), USAGE)
    assert named in line


def test_an_http_address_that_is_none(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs("--http", "nonsense", start=False, http=True)
    assert "nonsense" in failure(fs, USAGE)


def test_no_mountpoint_at_all_is_a_usage_error() -> None:
    done = subprocess.run(
        [MAGNETFS, "-f"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
    )
    assert done.returncode == USAGE
    assert "MOUNTPOINT" in done.stderr or "mountpoint" in done.stderr


def test_help_and_version_are_answers() -> None:
    for program in ("magnetfs", "magnetfs-httpd", "magnetctl"):
        for option in ("--help", "--version"):
            done = subprocess.run(
                [BIN / program, option],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=10,
            )
            assert (done.returncode, done.stderr) == (0, ""), (program, option, done)
            assert done.stdout.strip(), (program, option)
    usage = subprocess.run([MAGNETFS, "--help"], capture_output=True, text=True, timeout=10).stdout
    for option in (
        *("--state-dir", "--cache-dir", "--cache-size", "--min-free", "--http", "--no-http"),
        *("--read-timeout", "--metadata-timeout", "--retries", "--retry-delay", "--idle-timeout"),
        *("--fill", "--set", "--allow-loopback-peers", "--log-level", "--ready-fd", "-f"),
    ):
        assert option in usage, option


# -- while it runs ---------------------------------------------------------------------------------


def test_a_magnet_nobody_answers_is_504_and_leaves_nothing_when_added_over_http(
    magnetfs: Callable[..., Magnetfs],
) -> None:
    fs = magnetfs(*HASTY, allow=[r"metadata"])
    assert fs.web
    answer = fs.web.add(f"magnet:?xt=urn:btih:{NOBODY}&dn=dead")
    problem = answer.problem(504)
    assert NOBODY in str(problem) or "metadata" in problem["error"]
    assert int(answer.headers["Retry-After"]) >= 1
    waiting.until("the temporary one is dropped", lambda: not fs.known(NOBODY), timeout=10)
    assert os.listdir(fs.mountpoint) == []


def test_a_magnet_nobody_answers_shows_its_error_in_status_when_kept(
    magnetfs: Callable[..., Magnetfs],
) -> None:
    fs = magnetfs(*HASTY, allow=[r"metadata"])
    with fs.events() as events:
        fs.add(NOBODY)
        begin = fs.torrent(NOBODY)
        assert (begin["state"], begin["error"]) == ("pending", None)
        events.wait("failed", NOBODY, timeout=15)
    error = fs.torrent(NOBODY)["error"]
    assert error and "\n" not in error
    assert fs.torrent(NOBODY)["state"] == "pending" and fs.known(NOBODY)
    path = fs.torrent_folder(NOBODY) / "files"
    assert errno_name(errno_of(path.read_bytes)) == "ETIMEDOUT"
    status = fs.ctl("status")
    assert status.returncode == 0 and error in status.stdout, status
    waited = fs.ctl("wait", NOBODY)
    assert waited.returncode == 3 and waited.stderr.count("\n") == 1, waited  # 3: timed out


def test_one_dead_magnet_delays_no_other(fs: Magnetfs, seeder: Seeder, torrent: Torrent) -> None:
    fs.add("\n".join(f"{number:040x}" for number in range(1, 31)))
    directory = fs.add_torrent(torrent, seeder.seed(torrent))
    assert_same(directory / "fine.bin", torrent, "fine.bin")


def test_dead_trackers_lose_nothing(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    torrent: Torrent,
    hanging_tracker: HangingTracker,
) -> None:
    """One refuses the connection, one has no address, one hangs."""
    fs = magnetfs("--read-timeout", "20", allow=[r"tracker"])
    trackers = [
        "http://127.0.0.1:1/announce",
        "udp://127.0.0.1:1/announce",
        "http://tracker.invalid/announce",
        hanging_tracker.url,
    ]
    fs.add(torrent.magnet(seeder.seed(torrent), trackers=trackers))
    fs.files(torrent.info_hash)
    assert_same(fs.directory(torrent) / "fine.bin", torrent, "fine.bin")


def test_a_dead_tracker_is_named_in_the_error_when_nobody_else_knows_a_peer(
    magnetfs: Callable[..., Magnetfs],
) -> None:
    fs = magnetfs(*HASTY, allow=[r"tracker|metadata"])
    with fs.events() as events:
        fs.add(f"magnet:?xt=urn:btih:{NOBODY}&tr=http%3A%2F%2F127.0.0.1%3A1%2Fannounce")
        events.wait("failed", NOBODY, timeout=15)
    assert "tracker" in fs.torrent(NOBODY)["error"]


BAD_TORRENTS = {
    "cut off": lambda good: good[: len(good) // 2],
    "pieces of odd length": lambda good: good.replace(b"6:pieces80:", b"6:pieces79:")[:-3] + b"ee",
    "no bencode": lambda good: b"this is no torrent",
    "empty": lambda good: b"",
}


@pytest.mark.parametrize("spoil", BAD_TORRENTS.values(), ids=BAD_TORRENTS.keys())
def test_a_bad_torrent_is_400(
    fs: Magnetfs, torrent: Torrent, spoil: Callable[[bytes], bytes]
) -> None:
    assert fs.web
    problem = fs.web.post_torrent(spoil(torrent.metainfo)).problem(400)
    assert "\n" not in problem["error"]
    assert fs.status()["torrents"] == []


def test_a_bad_torrent_file_by_cp_fails(fs: Magnetfs, torrent: Torrent, folder: Path) -> None:
    bad = folder / "bad.torrent"
    bad.write_bytes(b"d4:infod4:name1:x12:piece lengthi16384e6:pieces3:abcee")
    done = subprocess.run(
        ["cp", bad, fs.control / "add"], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1 and "Invalid argument" in done.stderr
    ctl = fs.ctl("add", str(bad))
    assert ctl.returncode == 1 and ctl.stderr.count("\n") == 1, ctl
    assert fs.status()["torrents"] == []


@pytest.mark.parametrize("bad", ["nonsense", "magnet:?dn=x", "magnet:?xt=urn:btih:123", "a" * 39])
def test_a_malformed_magnet_is_400_and_a_clear_line_of_magnetctl(fs: Magnetfs, bad: str) -> None:
    assert fs.web
    problem = fs.web.add(bad).problem(400)
    assert "\n" not in problem["error"]
    done = fs.ctl("add", bad)
    assert done.returncode == 1, done
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("magnetctl: "), done
    assert fs.status()["torrents"] == []


def test_an_unknown_hash_or_file_is_404(fs: Magnetfs, torrent: Torrent) -> None:
    assert fs.web
    fs.add(torrent.metainfo)
    for target in (
        f"/stream/{NOBODY}/x.mp4",
        f"/stream/{NOBODY}",
        f"/stream/{torrent.info_hash}/other.bin",
        f"/torrents/{NOBODY}",
        "/nothing/here",
    ):
        fs.web.get(target).problem(404)
    fs.web.request("DELETE", f"/torrents/{NOBODY}").problem(404)
    for arguments in (("remove", NOBODY), ("files", NOBODY), ("wait", NOBODY)):
        done = fs.ctl(*arguments)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    assert errno_name(errno_of(os.stat, fs.directory(torrent) / "other.bin")) == "ENOENT"


def test_magnetctl_without_a_mount_says_so(folder: Path) -> None:
    done = subprocess.run(
        [BIN / "magnetctl", "-m", folder, "list"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert str(folder) in done.stderr
