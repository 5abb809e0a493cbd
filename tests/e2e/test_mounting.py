"""Mounting as mount(8) and fstab(5) do it, by handle, several at once, under limits and in odd folders."""

from __future__ import annotations

import base64
import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from harness import processes, waiting
from harness.mount import BIN, MAGNETFS, SWARM_OPTIONS, Magnetfs, StartFailed, errno_name, errno_of
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts as root does: root only")
NOBODY = "d" * 40


@pytest.fixture(scope="module")
def album(torrents: TorrentMaker) -> Torrent:
    return torrents.multi("album", [("a/b/c/deep.bin", 200_000), ("top.bin", 100_000)], seed=201)


# -- by handle -------------------------------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)
HANDLE_BYTES = 128


def handle_of(path: Path) -> bytes:
    """name_to_handle_at(2)."""
    handle = ctypes.create_string_buffer(8 + HANDLE_BYTES)
    ctypes.c_uint.from_buffer(handle).value = HANDLE_BYTES
    mount_id = ctypes.c_int()
    at_fdcwd = -100
    if libc.name_to_handle_at(at_fdcwd, os.fsencode(path), handle, ctypes.byref(mount_id), 0) != 0:
        raise OSError(ctypes.get_errno(), "name_to_handle_at", str(path))
    return handle.raw


def open_handle(mount_fd: int, handle: bytes, flags: int) -> int:
    fd = libc.open_by_handle_at(mount_fd, ctypes.create_string_buffer(handle), flags)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "open_by_handle_at")
    return fd


def forget_everything() -> None:
    Path("/proc/sys/vm/drop_caches").write_text("2")


@needs_root
def test_handles_of_nested_directories_stay_good(fs: Magnetfs, album: Torrent) -> None:
    """What the kernel's NFS server does: it walks up by `..` from a handle."""
    fs.add(album.metainfo)
    top = fs.directory(album)
    paths = [top, top / "a", top / "a" / "b", top / "a" / "b" / "c"]
    handles = [handle_of(path) for path in paths]
    file = handle_of(top / "a" / "b" / "c" / "deep.bin")
    inodes = [path.stat().st_ino for path in paths]
    mount_fd = os.open(fs.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for order in (range(4), range(3, -1, -1)):
            for n in order:
                forget_everything()
                fd = open_handle(mount_fd, handles[n], os.O_RDONLY | os.O_DIRECTORY)
                assert os.fstat(fd).st_ino == inodes[n]
                assert os.readlink(f"/proc/self/fd/{fd}") == str(paths[n])
                os.close(fd)
        forget_everything()
        os.close(open_handle(mount_fd, file, os.O_RDONLY))
        fs.remove(album.info_hash)
        assert errno_name(errno_of(open_handle, mount_fd, handles[2], os.O_RDONLY)) == "ESTALE"
    finally:
        os.close(mount_fd)


# -- SOURCE ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["magnet", "hash", "base32", "file"])
def test_source_is_added_and_kept(
    magnetfs: Callable[..., Magnetfs], folder: Path, album: Torrent, seeder: Seeder, kind: str
) -> None:
    path = folder / "an album.torrent"
    path.write_bytes(album.metainfo)
    source = {
        "magnet": album.magnet(seeder.seed(album)),
        "hash": album.info_hash,
        "base32": base64.b32encode(bytes.fromhex(album.info_hash)).decode(),
        "file": str(path),
    }[kind]
    fs = magnetfs(source, http=False)
    assert fs.torrent(album.info_hash)["kept"] is True
    assert mount_source(fs.mountpoint) == source
    if kind == "magnet":
        fs.files(album.info_hash)
        assert_same(fs.directory(album) / "top.bin", album, "top.bin")


def mount_source(mountpoint: Path) -> str:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[4] == str(mountpoint).replace(" ", "\\040"):
            return re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), after.split()[1])
    raise AssertionError(f"nothing is mounted at {mountpoint}")


BAD_SOURCES = {
    "a magnet without a hash": "magnet:?dn=x",
    "a short hash in a magnet": "magnet:?xt=urn:btih:abc",
    "a hash, one digit short": "a" * 39,
    "a URL": "http://example.org/x.torrent",
    "a file that is missing": "/nonexistent/x.torrent",
    "a file that is no .torrent": "/etc/passwd",
    "a folder": "/etc/",
    "no word": "two words",
}


@pytest.mark.parametrize("source", BAD_SOURCES.values(), ids=BAD_SOURCES.keys())
def test_a_bad_source_ends_the_start_before_it_mounts(
    magnetfs: Callable[..., Magnetfs], source: str
) -> None:
    fs = magnetfs(source, start=False, http=False)
    with pytest.raises(StartFailed) as failed:
        fs.start()
    assert failed.value.code == 1
    (line,) = failed.value.stderr.splitlines()
    assert "error: Cannot" in line and source in line
    assert not fs.state.exists(), "nothing was made"


@pytest.mark.parametrize("word", ["none", "magnetfs", "my-torrents_2.0"])
def test_a_plain_word_is_but_a_name(magnetfs: Callable[..., Magnetfs], word: str) -> None:
    fs = magnetfs(word, http=False)
    assert fs.status()["torrents"] == []
    assert mount_source(fs.mountpoint) == word


def test_a_source_with_commas_and_blanks_is_shown_as_it_is(magnetfs: Callable[..., Magnetfs]) -> None:
    source = f"magnet:?xt=urn:btih:{NOBODY}&dn=a,b\\c%20d,allow_other"
    fs = magnetfs(source, http=False)
    assert mount_source(fs.mountpoint) == source
    source_of_any_length = f"magnet:?xt=urn:btih:{NOBODY}&dn={'x' * 6000}"
    long = magnetfs(source_of_any_length, http=False, name="long")
    assert source_of_any_length.startswith(mount_source(long.mountpoint))


# -- mount(8) --------------------------------------------------------------------------------------


# mount(8) gives its helpers no PATH of the caller's: the programs must be where sh looks by itself.
MOUNT_A = r"""
mount --bind "$1" /usr/local/sbin
for round in 1 2 3; do mount -T "$2" -a || echo "exit code $?"; done
grep -F " $3 " /proc/self/mountinfo
echo "listed: $(ls "$3")"
umount "$3"
"""


def mount_a(fstab: Path, mountpoint: Path) -> tuple[list[str], str]:
    """Runs `mount -a` three times in a mount namespace: what it showed there, and stderr."""
    tag = uuid.uuid4().hex
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private"]
        + ["sh", "-c", MOUNT_A, "sh", str(BIN), str(fstab), str(mountpoint)],
        env={**os.environ, processes.INSTANCE_TAG: tag},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    waiting.until("magnetfs has ended", lambda: not processes.tagged(processes.INSTANCE_TAG, tag))
    return done.stdout.splitlines(), done.stderr


def options_for_fstab(folder: Path, *more: str) -> str:
    """Without blanks, as they can't be in fstab. State and cache are the folder's."""
    swarm = [f"set={word}" for word in SWARM_OPTIONS if "=" in word]
    own = [f"state_dir={folder}/state", f"cache_dir={folder}/cache", "no_http"]
    return ",".join([*own, "allow_loopback_peers", *swarm, *more])


MOUNT_OPTIONS = "uid=1234,gid=5678,umask=027,nonempty,lazytime,max_read=65536,noatime,nofail,_netdev"


@needs_root
@pytest.mark.parametrize("source", ["none", f"magnet:?xt=urn:btih:{NOBODY}&dn=in%20fstab"])
def test_mount_a_mounts_what_fstab_has_and_only_once(folder: Path, source: str) -> None:
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    (mountpoint / "hidden").write_text("nonempty")
    fstab = folder / "fstab"
    options = options_for_fstab(folder, MOUNT_OPTIONS)
    fstab.write_text(f"{source} {mountpoint} fuse.magnetfs {options} 0 0\n")
    lines, said = mount_a(fstab, mountpoint)
    mounted, listed = lines
    assert mounted.partition(" - ")[2].split()[:2] == ["fuse.magnetfs", source]
    assert listed == ("listed: " if source == "none" else "listed: in fstab")
    assert not re.search("error|warning|fuse:", said), said


@needs_root
def test_uid_gid_and_umask_are_of_the_torrents_files(
    magnetfs: Callable[..., Magnetfs], album: Torrent, seeder: Seeder
) -> None:
    """The root and .magnetfs stay the mounter's."""
    fs = magnetfs("-o", f"allow_other,{MOUNT_OPTIONS}")
    fs.add(album.magnet(seeder.seed(album)))
    fs.files(album.info_hash)
    top = fs.directory(album)

    def seen(path: Path) -> tuple[int, int, int]:
        st = path.stat()
        return st.st_uid, st.st_gid, st.st_mode & 0o7777

    assert seen(top) == seen(top / "a" / "b") == (1234, 5678, 0o550)
    assert seen(top / "top.bin") == (1234, 5678, 0o440)
    assert seen(fs.mountpoint) == (0, 0, 0o755)
    assert seen(fs.control) == (0, 0, 0o700) and seen(fs.control / "add") == (0, 0, 0o600)

    def copy(uid: int, gid: int) -> int:
        return subprocess.run(
            ["cp", top / "top.bin", "/dev/null"],
            user=uid,
            group=gid,
            extra_groups=[],
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode

    assert [copy(1234, 1), copy(1, 5678), copy(1, 1)] == [0, 0, 1]
    assert_same(top / "a" / "b" / "c" / "deep.bin", album, "a/b/c/deep.bin")
    assert fs.web
    assert fs.web.get(f"/stream/{album.info_hash}/top.bin").body == album.read("top.bin", 0, 100_000)


def test_mount_options_with_wrong_values_are_wrong_usage(folder: Path) -> None:
    for option in ("uid=alice", "gid=-1", "umask=8", "umask=1777", "max_read=1", "uid=", "remount"):
        done = subprocess.run(
            [MAGNETFS, "-o", option, folder], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, (option, done)
        assert processes.mounts_beneath(folder) == []


# -- limits ----------------------------------------------------------------------------------------


def test_a_limit_on_file_sizes_is_an_error_and_no_end(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """RLIMIT_FSIZE: its signal would end magnetfs with all that is mounted."""
    small = torrents.single("small.bin", 512 * KIB, seed=210)
    large = torrents.single("large.bin", 4 * MIB, seed=211)
    program = ["sh", "-c", 'ulimit -f 2048; exec "$@"', "sh", MAGNETFS]
    fs = magnetfs("--read-timeout", "20", program=program)
    seeder.seed(small).seed(large)
    number, answer = fs.refused(large.metainfo)
    assert errno_name(number) == "EFBIG" and "ulimit -f" in answer["error"], answer
    with fs.events() as events:
        fs.add(large.magnet(seeder))
        events.wait("failed", large.info_hash)
    assert "ulimit -f" in fs.torrent(large.info_hash)["error"]
    assert_same(fs.add_torrent(small, seeder) / "small.bin", small, "small.bin")


def test_a_write_over_that_limit_fails_its_read(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("halves.bin", 4 * MIB, seed=212, piece_length=256 * KIB)
    fs = magnetfs("--read-timeout", "20", allow=["could not be written: Input/output error"])
    path = fs.add_torrent(torrent, seeder.seed(torrent)) / "halves.bin"
    unlimited = resource.prlimit(fs.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(fs.pid, resource.RLIMIT_FSIZE, (2 * MIB, unlimited[1]))
    with open(path, "rb", buffering=0) as stream:
        assert stream.read(256 * KIB)
        assert errno_name(errno_of(os.pread, stream.fileno(), KIB, 3 * MIB)) == "EIO"
        resource.prlimit(fs.pid, resource.RLIMIT_FSIZE, unlimited)
        waiting.until("it is written again", lambda: readable(stream.fileno(), 3 * MIB), 20)
    assert_same(path, torrent, "halves.bin")


def readable(fd: int, offset: int) -> bool:
    try:
        return len(os.pread(fd, KIB, offset)) == KIB
    except OSError:
        return False


# -- programs that copy attributes -----------------------------------------------------------------


def test_rsync_and_cp_keep_nothing_that_changes(
    fs: Magnetfs, seeder: Seeder, album: Torrent, folder: Path
) -> None:
    """rsync -X takes a file with another attribute for another file."""
    source = fs.add_torrent(album, seeder.seed(album))
    copy, copied = folder / "rsync", folder / "cp"
    rsync = ["rsync", "-aX", "--itemize-changes", f"{source}/", copy]
    try:
        first = subprocess.run(rsync, stdout=subprocess.PIPE, text=True, check=True).stdout
        assert "deep.bin" in first and "top.bin" in first
        assert (copy / "top.bin").read_bytes() == album.read("top.bin", 0, 100_000)
        second = subprocess.run(rsync, stdout=subprocess.PIPE, text=True, check=True).stdout
        assert second == "", second
        subprocess.run(["cp", "-a", source, copied], check=True)
        names = set(os.listxattr(copied / "top.bin"))
        assert names <= {"user.magnetfs.infohash", "user.magnetfs.kept"}
    finally:  # copied with their modes, directories are 0555
        for path in (copy, copied):
            subprocess.run(["chmod", "--recursive", "--silent", "u+w", path], check=False)


# -- folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["state", "cache"])
def test_a_folder_that_everybody_may_write_to_is_refused(
    magnetfs: Callable[..., Magnetfs], which: str
) -> None:
    fs = magnetfs(start=False, http=False)
    path = fs.state if which == "state" else fs.cache
    for mode in (0o777, 0o1777, 0o703):
        path.mkdir(exist_ok=True)
        path.chmod(mode)
        with pytest.raises(StartFailed) as failed:
            fs.start()
        assert failed.value.code == 1
        line = failed.value.stderr.splitlines()[-1]
        assert "Everybody may write" in line and str(path) in line and f"--{which}-dir" in line
        assert os.listdir(path) == []
    path.chmod(0o775)
    fs.allow = [re.compile("Everybody may write")]
    fs.start()


@needs_root
def test_a_folder_whose_name_spells_leak_is_no_leak(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs(name="error-leak")
    assert str(fs.mountpoint) in fs.stderr()
    fs.stop()


def test_a_folder_of_another_user_is_told_about(magnetfs: Callable[..., Magnetfs]) -> None:
    fs = magnetfs(start=False, http=False, allow=["another user's"])
    fs.cache.mkdir()
    os.chown(fs.cache, 1234, 1234)
    fs.start()
    assert "another user's (1234)" in fs.stderr()


def test_a_file_in_the_stores_place_is_not_taken(
    magnetfs: Callable[..., Magnetfs], album: Torrent, seeder: Seeder, folder: Path
) -> None:
    """By a file, a link to one, and a folder; what is there is left as it is."""
    fs = magnetfs("--read-timeout", "20")
    elsewhere = folder / "elsewhere"
    elsewhere.write_text("precious")
    path = fs.cache / f"{album.info_hash}.pieces"
    ways: list[tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]] = [
        (lambda: path.write_text("foreign"), lambda: path.read_text() == "foreign", path.unlink),
        (lambda: path.symlink_to(elsewhere), path.is_symlink, path.unlink),
        (path.mkdir, path.is_dir, path.rmdir),
    ]
    for make, is_there, remove in ways:
        make()
        number, answer = fs.refused(album.metainfo)
        assert errno_name(number) == "EEXIST" and "remove it" in answer["error"], answer
        assert is_there() and elsewhere.read_text() == "precious"
        remove()
    fs.add(album.magnet(seeder.seed(album)))
    fs.files(album.info_hash)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert_same(fs.directory(album) / "top.bin", album, "top.bin")


def test_what_a_killed_magnetfs_left_is_no_hindrance(
    magnetfs: Callable[..., Magnetfs], album: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "20")
    fs.add(album.metainfo, temporary=True)
    left = fs.cache / f"{album.info_hash}.pieces"
    nobodys = fs.cache / ("ab" * 20 + ".pieces")
    nobodys.write_text("of no torrent that is known")
    assert left.exists()
    fs.kill()
    waiting.until("its helper and sidecar have ended", lambda: not fs.processes())
    fs.start()
    assert not left.exists() and not nobodys.exists()
    fs.add(album.metainfo)
    assert left.exists()


@pytest.fixture
def exfat(folder: Path) -> Iterator[Path]:
    """A file system without sparse files: exFAT, on a loop device."""
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this machine has no loop devices")
    image, path = folder / "exfat.img", folder / "exfat"
    path.mkdir()
    with open(image, "wb") as stream:
        stream.truncate(128 * MIB)
    subprocess.run(["mkfs.exfat", image], stdout=subprocess.DEVNULL, check=True)
    device = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        subprocess.run(
            ["mount.exfat-fuse", "-o", "umask=077", device, path],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        yield path
        subprocess.run(["umount", path], check=True)
    finally:
        waiting.until(
            "the loop device is free",
            lambda: subprocess.run(["losetup", "--detach", device], check=False).returncode == 0,
        )
        image.unlink()


@needs_root
def test_where_nothing_is_sparse_the_bound_counts_what_is_allocated(
    exfat: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("holes.bin", 48 * MIB, seed=220, piece_length=256 * KIB)
    other = torrents.single("other.bin", 8 * MIB, seed=221, piece_length=256 * KIB)
    options = ("--read-timeout", "20", "--cache-size", "40M", "--min-free", "0")
    fs = magnetfs(*options, start=False, allow=["no sparse files"])
    fs.cache = exfat / "cache"
    fs.start()
    assert "has no sparse files" in fs.stderr()
    path = fs.add_torrent(torrent, seeder.seed(torrent).seed(other)) / "holes.bin"
    assert fs.status()["cache"]["usedBytes"] == 0 and fs.store_blocks() <= 64 * KIB
    with open(path, "rb", buffering=0) as stream:
        for offset, top in ((0, 256 * KIB), (30 * MIB, 30 * MIB + 256 * KIB)):
            assert os.pread(stream.fileno(), KIB, offset) == torrent.read("holes.bin", offset, KIB)
            used = fs.status()["cache"]["usedBytes"]
            assert top <= used <= top + 2 * MIB
            assert top <= fs.store_blocks() <= used + 64 * KIB
        far = errno_name(errno_of(os.pread, stream.fileno(), KIB, 47 * MIB))
        assert far == "ENOSPC", "all before it would be taken too"
        assert os.pread(stream.fileno(), KIB, 20 * MIB) == torrent.read("holes.bin", 20 * MIB, KIB)
    assert fs.status()["cache"]["usedBytes"] <= 32 * MIB
    second = fs.add_torrent(other, seeder)
    assert_same(second / "other.bin", other, "other.bin")
    assert fs.status()["cache"]["usedBytes"] <= 40 * MIB
    fs.remove(torrent.info_hash)
    fs.remove(other.info_hash)
    waiting.until("nothing counts", lambda: fs.status()["cache"]["usedBytes"] == 0)
    waiting.until("the room is free", lambda: fs.store_blocks() <= 64 * KIB)


# -- several at once -------------------------------------------------------------------------------

ROUNDS, AT_ONCE = 20, 5


def start_at_once(folder: Path, mountpoint: Path, tag: str) -> list[subprocess.Popen[str]]:
    """AT_ONCE magnetfs for one mountpoint, each with folders of its own, held at a line until all
    are there."""
    gate, opener = os.pipe()
    started = []
    for n in range(AT_ONCE):
        command = [MAGNETFS, "-f", "--no-http", "--state-dir", folder / f"s{n}"]
        command += ["--cache-dir", folder / f"c{n}", *SWARM_OPTIONS, mountpoint]
        started.append(
            subprocess.Popen(
                ["sh", "-c", 'read -r _ && exec "$@"', "sh", *map(str, command)],
                stdin=gate,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, processes.INSTANCE_TAG: tag},
            )
        )
    os.write(opener, b"go\n" * AT_ONCE)
    os.close(opener)
    os.close(gate)
    return started


@pytest.mark.deadline(150)
def test_of_several_starts_at_one_mountpoint_one_wins(folder: Path) -> None:
    """Also where a killed one has left a dead mount, which all of them want to clear."""
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    tag = uuid.uuid4().hex
    for number in range(ROUNDS):
        started = start_at_once(folder, mountpoint, tag)
        losers: list[subprocess.Popen[str]] = []

        def ended() -> bool:
            losers[:] = [process for process in started if process.poll() is not None]
            return len(losers) >= AT_ONCE - 1

        waiting.until("all but one have ended", ended, 30)
        (winner,) = [process for process in started if process not in losers]
        assert processes.mounts_beneath(folder) == [str(mountpoint)], f"round {number}"
        waiting.until("it serves", lambda: (mountpoint / ".magnetfs" / "status").exists())
        for loser in losers:
            assert loser.stderr
            said = loser.stderr.read()
            assert loser.returncode == 1, said
            assert re.search(f"magnetfs is (about to be )?mounted at {mountpoint}", said), said
        if number % 2:
            winner.send_signal(signal.SIGTERM)
            assert winner.wait(10) == 0
        else:
            winner.kill()
            winner.wait()
        waiting.until("no process is left", lambda: not processes.tagged(processes.INSTANCE_TAG, tag))
        for process in started:
            assert process.stderr
            process.stderr.close()
    for path in processes.mounts_beneath(folder):
        processes.unmount_lazily(path)
    shutil.rmtree(folder / "s0")
