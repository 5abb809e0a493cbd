"""The control directory, the mount's layout and what the mount refuses."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable

import pytest

from harness import waiting
from harness.mount import Magnetfs, errno_name, errno_of
from harness.reading import assert_same, read_exactly
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

NOBODY = "0123456789abcdef0123456789abcdef01234567"  # a torrent that nobody has


@pytest.fixture(scope="module")
def album(torrents: TorrentMaker) -> Torrent:
    files = [("cover.jpg", 30_000), ("disc 1/01.flac", 3 * MIB), ("disc 1/02.flac", 70_000)]
    return torrents.multi("album", files + [("notes.txt", 0)], seed=61, piece_length=64 * KIB)


@pytest.fixture(scope="module")
def second(torrents: TorrentMaker) -> Torrent:
    return torrents.single("second.bin", 500_000, seed=62, piece_length=64 * KIB)


# -- layout and modes ------------------------------------------------------------------------------


def test_the_root_lists_torrents_only_and_the_control_directory_is_found_by_name(
    fs: Magnetfs, album: Torrent
) -> None:
    assert os.listdir(fs.mountpoint) == []
    fs.add(album.metainfo)
    assert os.listdir(fs.mountpoint) == ["album"]
    names = set(os.listdir(fs.control))
    assert names == {
        "add", "add-temporary", "status", "events", "by-hash", "torrents", "session", "recall",
        "cache",
    }  # fmt: skip
    folder = fs.torrent_folder(album.info_hash)
    files = {"status", "files", "magnet", "torrent", "keep", "detail", "data", "by-name", "largest"}
    assert set(os.listdir(folder)) == files
    assert set(os.scandir(folder)) and {e.name for e in os.scandir(folder) if e.is_dir()} == {
        "data",
        "by-name",
    }
    assert album.info_hash in os.listdir(fs.control / "torrents")


def test_the_session_is_short_however_many_torrents_there_are(fs: Magnetfs) -> None:
    """What /healthz and monitors read each few seconds."""
    alone = json.loads((fs.control / "session").read_text())
    short = len((fs.control / "session").read_text())
    assert alone["torrentCount"] == 0 and "torrents" not in alone
    count = 300
    fs.add("\n".join(f"{number:040x}" for number in range(1, count + 1)))
    text = (fs.control / "session").read_text()
    session, status = json.loads(text), fs.status()
    assert session["torrentCount"] == len(status["torrents"]) == count
    assert session.keys() == status.keys() - {"torrents"}
    assert session["pid"] == status["pid"] and session["mountpoint"] == str(fs.mountpoint)
    assert len(text) - short < 64, "digits of counts"
    assert fs.web
    answer = fs.web.get("/healthz")
    assert answer.status == 200 and answer.json["torrents"] == count
    assert errno_name(errno_of((fs.control / "session").write_text, "x")) == "EROFS"


def test_modes_and_owners(fs: Magnetfs, album: Torrent) -> None:
    fs.add(album.metainfo)
    directory = fs.directory(album)

    def mode(path: Path) -> str:
        info = os.lstat(path)
        assert (info.st_uid, info.st_gid) == (os.getuid(), os.getgid()), path
        return stat.filemode(info.st_mode)

    assert mode(fs.mountpoint) == "drwxr-xr-x"
    assert mode(directory) == mode(directory / "disc 1") == "dr-xr-xr-x"
    assert mode(directory / "cover.jpg") == "-r--r--r--"
    for name in ("add", "add-temporary", "recall", "status", "events", "session", "cache"):
        assert mode(fs.control / name) == "-rw-------", name
    for name in ("status", "files", "magnet", "keep"):
        assert mode(fs.torrent_folder(album.info_hash) / name) == "-rw-------", name


def test_sizes_blocks_and_times_of_files(fs: Magnetfs, seeder: Seeder, album: Torrent) -> None:
    directory = fs.add_torrent(album, seeder.seed(album))
    path = directory / "disc 1" / "01.flac"
    before = os.stat(path)
    assert before.st_size == 3 * MIB
    assert before.st_blocks > 0, "0 would read as a file that is one hole"
    assert os.stat(directory / "notes.txt").st_size == 0
    assert_same(path, album, "disc 1/01.flac")

    def full() -> bool:
        return os.stat(path).st_blocks * 512 >= 3 * MIB

    waiting.until("st_blocks follows the store", full, timeout=15)
    after = os.stat(path)
    assert after.st_blocks * 512 < 4 * MIB
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    inodes = [os.stat(directory / file.path).st_ino for file in album.files]
    assert len(set(inodes)) == len(inodes)


def test_statfs_and_xattrs_answer(fs: Magnetfs, seeder: Seeder, album: Torrent) -> None:
    directory = fs.add_torrent(album, seeder.seed(album))
    space = os.statvfs(fs.mountpoint)
    assert space.f_namemax == 255 and space.f_blocks > 0
    path = directory / "disc 1" / "01.flac"

    def attribute(target: Path, name: str) -> str:
        return os.getxattr(target, f"user.magnetfs.{name}").decode()

    for target in (directory, path):
        # What changes is not listed, or `rsync -X` would send the file again; of directories nothing.
        listed = {"user.magnetfs.infohash", "user.magnetfs.kept"} if target == path else set()
        assert set(os.listxattr(target)) == listed
        assert attribute(target, "infohash") == album.info_hash
        assert attribute(target, "kept") == "1"
        assert attribute(target, "state") == "awake"
    assert attribute(path, "have_bytes") == "0"
    assert_same(path, album, "disc 1/01.flac")
    assert attribute(path, "have_bytes") == str(3 * MIB)
    assert float(attribute(path, "progress")) == 1
    assert int(attribute(directory, "peers")) >= 0
    assert errno_name(errno_of(os.getxattr, path, "user.other")) == "ENODATA"
    # "Never here", so that ls asks once, and not for each file.
    for name in ("security.selinux", "system.posix_acl_access"):
        assert errno_name(errno_of(os.getxattr, path, name)) in ("ENOTSUP", "EOPNOTSUPP")


def test_everything_else_that_would_change_something_is_refused(fs: Magnetfs, album: Torrent) -> None:
    fs.add(album.metainfo)
    top = fs.mountpoint
    directory = fs.directory(album)
    cover = directory / "cover.jpg"
    attempts: dict[str, Callable[[], Any]] = {
        "mkdir": lambda: os.mkdir(top / "new"),
        "mkdir in a torrent": lambda: os.mkdir(directory / "new"),
        "create": lambda: os.open(top / "new", os.O_CREAT | os.O_WRONLY),
        "create in a torrent": lambda: os.open(directory / "new", os.O_CREAT | os.O_WRONLY),
        "create in .magnetfs": lambda: os.open(fs.control / "new", os.O_CREAT | os.O_WRONLY),
        "open for writing": lambda: os.open(cover, os.O_WRONLY),
        "open read-write": lambda: os.open(cover, os.O_RDWR),
        "truncate": lambda: os.truncate(cover, 0),
        "unlink": lambda: os.unlink(cover),
        "unlink a control file": lambda: os.unlink(fs.control / "add"),
        "rename": lambda: os.rename(cover, directory / "other.jpg"),
        "rename a torrent": lambda: os.rename(directory, top / "other"),
        "chmod": lambda: os.chmod(cover, 0o600),
        "chown": lambda: os.chown(cover, 1, 1),
        "utime": lambda: os.utime(cover, (1, 1)),
        "symlink": lambda: os.symlink("x", top / "link"),
        "link": lambda: os.link(cover, directory / "hard"),
        "mknod": lambda: os.mknod(top / "fifo", stat.S_IFIFO | 0o600),
        "rmdir within a torrent": lambda: os.rmdir(directory / "disc 1"),
        "setxattr": lambda: os.setxattr(cover, "user.magnetfs.kept", b"0"),
        "removexattr": lambda: os.removexattr(cover, "user.magnetfs.kept"),
    }
    outcomes = {name: errno_name(errno_of(attempt)) for name, attempt in attempts.items()}
    if os.geteuid() == 0:
        assert outcomes == {name: "EROFS" for name in attempts}
    else:  # the kernel looks at owner and mode first
        assert {o for o in outcomes.values()} <= {"EROFS", "EACCES", "EPERM"}, outcomes
        assert outcomes["mkdir"] == outcomes["unlink a control file"] == "EROFS"
    assert os.listdir(top) == ["album"]
    assert stat.S_IMODE(cover.stat().st_mode) == 0o444


# -- add -------------------------------------------------------------------------------------------


def test_a_pending_magnet_has_its_directory_at_once(fs: Magnetfs) -> None:
    (answer,) = fs.add(f"magnet:?xt=urn:btih:{NOBODY}&dn=Some%20Name")
    assert answer == {"infoHash": NOBODY, "name": "Some Name", "error": None}
    assert os.listdir(fs.mountpoint) == ["Some Name"]
    assert os.listdir(fs.mountpoint / "Some Name") == []
    status = fs.torrent(NOBODY)
    assert (status["state"], status["error"], status["length"]) == ("pending", None, None)
    (answer,) = fs.add("f" * 40)
    assert answer["name"] == "f" * 40
    assert sorted(os.listdir(fs.mountpoint)) == ["Some Name", "f" * 40]


def test_a_pending_directory_takes_the_torrents_name_when_it_is_known(
    fs: Magnetfs, seeder: Seeder, album: Torrent
) -> None:
    uri = album.magnet(seeder.seed(album), name=False) + "&dn=a%20guess"
    with fs.events() as events:
        fs.add(uri)
        events.wait("ready", album.info_hash)
    assert os.listdir(fs.mountpoint) == ["album"]
    assert not (fs.mountpoint / "a guess").exists()


MALFORMED = {
    "text": b"hello\n",
    "no hash": b"magnet:?dn=x\n",
    "short hash": b"magnet:?xt=urn:btih:abc\n",
    "not hex": b"magnet:?xt=urn:btih:" + b"z" * 40 + b"\n",
    "bare, one digit short": b"a" * 39 + b"\n",
    "other scheme": b"http://example.org/x.torrent\n",
    "NUL inside": b"magnet:?xt=urn:btih:" + NOBODY.encode() + b"\0\n",
    "bencode that is no torrent": b"d3:foo3:bare",
    "torrent without pieces": b"d4:infod6:lengthi5e4:name1:xee",
}


@pytest.mark.parametrize("what", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_line_is_einval_and_nothing_is_added(fs: Magnetfs, what: bytes) -> None:
    for temporary in (False, True):
        number, answer = fs.refused(what, temporary)
        assert errno_name(number) == "EINVAL"
        assert answer["infoHash"] is None and answer["name"] is None
        assert answer["error"] and "\n" not in answer["error"]
    assert fs.status()["torrents"] == []
    assert os.listdir(fs.mountpoint) == []


def test_one_bad_line_among_good_ones_adds_nothing(fs: Magnetfs, second: Torrent) -> None:
    lines = f"{second.magnet()}\nnonsense\n{NOBODY}\n".encode()
    number, answer = fs.refused(lines)
    assert errno_name(number) == "EINVAL" and answer["error"]
    assert fs.status()["torrents"] == []


def test_several_lines_in_one_write_are_all_added(
    fs: Magnetfs, seeder: Seeder, album: Torrent, second: Torrent
) -> None:
    seeder.seed(album).seed(second)
    answers = fs.add("\n".join([album.magnet(seeder), second.magnet(seeder), NOBODY]))
    assert [a["infoHash"] for a in answers] == [album.info_hash, second.info_hash, NOBODY]
    assert all(a["error"] is None for a in answers)
    for torrent in (album, second):
        fs.files(torrent.info_hash)
    assert sorted(os.listdir(fs.mountpoint)) == sorted(["album", "second", NOBODY])


def test_a_line_may_come_in_pieces_and_the_last_one_without_newline_is_taken_at_close(
    fs: Magnetfs,
) -> None:
    fd = os.open(fs.control / "add", os.O_WRONLY)
    for part in (b"magnet:?xt=urn:", b"btih:" + NOBODY[:7].encode(), NOBODY[7:].encode()):
        os.write(fd, part)
    assert fs.status()["torrents"] == [], "the line has not ended yet"
    os.close(fd)
    assert [t["infoHash"] for t in fs.status()["torrents"]] == [NOBODY]


def test_shells_and_cp_can_write_the_control_files(
    fs: Magnetfs, album: Torrent, second: Torrent
) -> None:
    subprocess.run(
        f"echo '{second.magnet()}' > {fs.control}/add && printf %s {NOBODY} >> {fs.control}/add",
        shell=True,
        check=True,
        timeout=20,
    )
    subprocess.run(["cp", album.torrent_file, fs.control / "add-temporary"], check=True, timeout=20)
    kept = {t["infoHash"]: t["kept"] for t in fs.status()["torrents"]}
    assert kept == {second.info_hash: True, NOBODY: True, album.info_hash: False}


@pytest.mark.parametrize("form", ["magnet", "torrent"])
def test_nothing_is_downloaded_that_nobody_reads(
    fs: Magnetfs, seeder: Seeder, second: Torrent, form: str
) -> None:
    fs.add(second.magnet() if form == "magnet" else second.metainfo)
    seeder.seed(second).connect(second, fs.bt_port)
    fs.files(second.info_hash)
    waiting.until("a peer", lambda: fs.torrent(second.info_hash)["peers"] > 0)
    assert waiting.settled("what was sent", lambda: seeder.sent(second)) == 0
    assert fs.torrent(second.info_hash)["haveBytes"] == 0


def test_the_same_torrent_twice_is_one_directory(
    fs: Magnetfs, seeder: Seeder, album: Torrent
) -> None:
    seeder.seed(album)
    first = fs.add(album.magnet(seeder))
    again = fs.add(album.magnet(seeder) + "\n" + album.info_hash.upper())
    assert [a["infoHash"] for a in first + again] == [album.info_hash] * 3
    fs.files(album.info_hash)
    fs.add(album.metainfo)
    assert os.listdir(fs.mountpoint) == ["album"]
    assert len(fs.status()["torrents"]) == 1


def test_torrents_of_one_name_get_directories_of_their_own(
    fs: Magnetfs, torrents: TorrentMaker
) -> None:
    made = [torrents.single("same.bin", 100_000 + n, seed=70 + n) for n in range(3)]
    names = [fs.add(torrent.metainfo)[0]["name"] for torrent in made]
    assert len(set(names)) == 3 and names[0] == "same"
    for torrent, name in zip(made, names):
        (found,) = (fs.mountpoint / name).iterdir()
        assert (found.name, found.stat().st_size) == ("same.bin", torrent.length)


def test_a_torrent_named_like_the_control_directory_gets_another_name(
    fs: Magnetfs, torrents: TorrentMaker
) -> None:
    torrent = torrents.multi(".magnetfs", [("x", 10)], seed=75)
    (answer,) = fs.add(torrent.metainfo)
    assert answer["name"] != ".magnetfs"
    assert os.listdir(fs.mountpoint / answer["name"]) == ["x"]
    assert (fs.control / "status").is_file()


# -- largest, by-name ------------------------------------------------------------------------------

ONE, TWO = "\u00e9", "e\u0301"  # "é" as one character and taken apart


@pytest.fixture(scope="module")
def named(torrents: TorrentMaker) -> Torrent:
    files = [
        *(("a/same.srt", 100), ("same.srt/deep.iso", 9000), ("b/same.srt", 200), ("big.iso", 8000)),
        *(("b/film.mkv", 3000), (f"{TWO}/{TWO}.srt", 40), (f"{ONE}/x.txt", 50), ("b/film 2.mkv", 1)),
        *((f"b/{ONE}.srt", 70), (f"c{TWO}/{TWO}.vtt", 80)),
    ]
    return torrents.multi("named", files, seed=64, piece_length=16 * KIB)


def test_the_largest_is_a_link_to_the_largest_media_file(
    fs: Magnetfs, seeder: Seeder, named: Torrent
) -> None:
    fs.add(named.info_hash)
    folder = fs.torrent_folder(named.info_hash)
    assert "largest" not in os.listdir(folder), "nothing is known yet"
    assert errno_name(errno_of(os.readlink, folder / "largest")) == "ENOENT"
    with fs.events() as events:
        fs.add(named.magnet(seeder.seed(named)))
        events.wait("ready", named.info_hash)
    assert os.readlink(folder / "largest") == "data/b/film.mkv"
    info = os.lstat(folder / "largest")
    assert stat.S_ISLNK(info.st_mode) and info.st_size == len("data/b/film.mkv")
    assert "largest" in os.listdir(folder)
    assert (folder / "largest").read_bytes() == named.read("b/film.mkv")
    for name in ("largest", "by-name", "data"):
        assert errno_name(errno_of(os.unlink, folder / name)) in ("EROFS", "EISDIR"), name


def test_by_name_tells_the_paths_of_a_bare_name_and_lists_nothing(
    fs: Magnetfs, named: Torrent
) -> None:
    fs.add(named.metainfo)
    folder = fs.torrent_folder(named.info_hash) / "by-name"
    assert os.listdir(folder) == []
    for name, paths in {
        "film.mkv": ["b/film.mkv"],
        "same.srt": ["a/same.srt", "b/same.srt"],  # a folder is no file
        "deep.iso": ["same.srt/deep.iso"],
        "big.iso": ["big.iso"],
        f"{ONE}.srt": [f"b/{ONE}.srt"],  # as it is goes before alike
        f"{TWO}.srt": [f"{TWO}/{TWO}.srt"],
        f"{ONE}.vtt": [f"c{TWO}/{TWO}.vtt"],
    }.items():
        text = (folder / name).read_text()
        assert text.splitlines() == paths and text.endswith("\n"), name
        info = os.lstat(folder / name)
        assert stat.filemode(info.st_mode) == "-rw-------" and info.st_uid == os.getuid()
        assert errno_name(errno_of((folder / name).write_text, "x")) == "EROFS", name
    for none in ("film", "FILM.mkv", "b", "same.srt.", "nothing", "x" * 255):
        assert errno_name(errno_of((folder / none).read_text)) == "ENOENT", none
    assert errno_name(errno_of(os.listdir, folder / "film.mkv")) == "ENOTDIR"
    assert errno_name(errno_of(os.mkdir, folder / "new")) == "EROFS"


def test_data_finds_names_that_are_alike_and_the_torrents_own_directory_does_not(
    fs: Magnetfs, named: Torrent
) -> None:
    """RFC 3629 text in any form of UAX #15: macOS sends other forms than all others."""
    fs.add(named.metainfo)
    data, directory = fs.torrent_folder(named.info_hash) / "data", fs.directory(named)
    kept, asked = f"c{TWO}/{TWO}.vtt", f"c{ONE}/{ONE}.vtt"
    assert os.stat(data / asked).st_ino == os.stat(data / kept).st_ino
    assert os.stat(data / f"c{ONE}/{TWO}.vtt").st_ino == os.stat(data / kept).st_ino
    assert os.stat(data / f"{ONE}").st_ino != os.stat(data / f"{TWO}").st_ino, "both are there"
    assert errno_name(errno_of(os.stat, data / f"c{ONE}/{ONE}.srt")) == "ENOENT"
    assert os.listdir(data / f"c{ONE}") == [f"{TWO}.vtt"], "as the torrent has it"
    assert errno_name(errno_of(os.stat, directory / asked)) == "ENOENT"


def test_names_are_found_of_a_torrent_that_is_asleep(fs: Magnetfs, named: Torrent) -> None:
    """Its files are not in memory then."""
    fs.add(named.metainfo)
    fs.stop()
    fs.start()
    assert fs.torrent(named.info_hash)["state"] == "asleep"
    folder = fs.torrent_folder(named.info_hash)
    assert (folder / "by-name" / "film.mkv").read_text() == "b/film.mkv\n"
    assert os.readlink(folder / "largest") == "data/b/film.mkv"
    fs.stop()
    fs.start()
    assert os.readlink(folder / "largest") == "data/b/film.mkv"
    assert {entry.name for entry in os.scandir(folder)} >= {"largest", "by-name"}
    assert fs.torrent(named.info_hash)["state"] == "asleep"


# -- status, events, by-hash, files ----------------------------------------------------------------


def test_status_tells_the_session_the_cache_and_every_torrent(
    fs: Magnetfs, seeder: Seeder, album: Torrent
) -> None:
    directory = fs.add_torrent(album, seeder.seed(album))
    assert_same(directory / "cover.jpg", album, "cover.jpg")
    with open(directory / "cover.jpg", "rb"):
        status = fs.status()
    assert re.fullmatch(r"\d+\.\d+\.\d+", status["version"])
    assert status["mountpoint"] == str(fs.mountpoint)
    assert status["uptime"] >= 0 and 0 <= status["heartbeatAge"] < 5000
    assert set(status["session"]) >= {
        "listenPort",
        "downloadRate",
        "uploadRate",
        "peers",
        "dhtNodes",
    }
    assert status["session"]["listenPort"] > 0
    cache = status["cache"]
    assert cache["limitBytes"] == 20 << 30 and cache["minFreeBytes"] == 1 << 30
    assert 30_000 <= cache["usedBytes"] <= album.length + MIB
    assert status["openFiles"] >= 1 and status["parkedReads"] == 0
    (entry,) = status["torrents"]
    own = fs.torrent(album.info_hash)
    for key in ("infoHash", "name", "state", "kept", "addedAt", "length", "pieceLength", "pieces"):
        assert entry[key] == own[key], key
    assert (own["name"], own["state"], own["kept"]) == ("album", "awake", True)
    assert (own["length"], own["fileCount"]) == (album.length, len(album.files))
    assert own["pieceLength"] == album.piece_length
    assert own["pieces"] == -(-album.length // album.piece_length)
    assert 0 < own["progress"] < 1 and own["error"] is None and own["redundantBytes"] == 0
    assert entry["readers"] == 1 and own["readers"] == 0


def test_magnet_names_the_torrent_it_came_from(fs: Magnetfs, album: Torrent) -> None:
    fs.add(album.metainfo)
    text = (fs.torrent_folder(album.info_hash) / "magnet").read_text()
    assert text.startswith("magnet:?") and text.endswith("\n")
    assert f"urn:btih:{album.info_hash}" in text


def test_files_waits_for_the_metadata(fs: Magnetfs, seeder: Seeder, album: Torrent) -> None:
    fs.add(album.magnet())
    fd = os.open(fs.torrent_folder(album.info_hash) / "files", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert errno_name(errno_of(os.read, fd, 65536)) == "EAGAIN"
        assert not waiting.readable(fd, 0), "nobody has the metadata yet"
        seeder.seed(album).connect(album, fs.bt_port)
        assert waiting.readable(fd, 20)
        answer = json.loads(os.read(fd, 65536))
    finally:
        os.close(fd)
    assert (answer["infoHash"], answer["name"]) == (album.info_hash, "album")
    assert [(f["index"], f["name"], f["path"], f["length"]) for f in answer["files"]] == [
        (n, f.path.rpartition("/")[2], f.path, f.length) for n, f in enumerate(album.files)
    ]
    blocking = json.loads((fs.torrent_folder(album.info_hash) / "files").read_bytes())
    assert blocking == answer


def test_events_come_in_order(fs: Magnetfs, seeder: Seeder, album: Torrent) -> None:
    with fs.events() as events:
        assert events.next(0) is None
        path = fs.add_torrent(album, seeder.seed(album))
        assert events.wait("added", album.info_hash)["name"] == "album"
        assert events.wait("ready", album.info_hash)["name"] == "album"
        assert_same(path / "disc 1" / "01.flac", album, "disc 1/01.flac")
        events.wait("progress", album.info_hash)
        fs.remove(album.info_hash)
        events.wait("removed", album.info_hash)
        names = [event["event"] for event in events.seen]
        assert names[:2] == ["added", "ready"] and names[-1] == "removed", names


def test_a_reader_of_events_goes_on_behind_the_event_whose_id_it_writes(fs: Magnetfs) -> None:
    with fs.events() as events:
        fs.add("\n".join(f"{n:040x}" for n in range(1, 4)))
        seen = [events.next(5) for _ in range(3)]
    ids = [event["id"] for event in seen if event]
    assert ids == [ids[0], ids[0] + 1, ids[0] + 2]
    fd = os.open(fs.control / "events", os.O_RDWR | os.O_NONBLOCK)

    def lines() -> list[dict[str, Any]]:
        got = []
        with pytest.raises(BlockingIOError):
            while True:
                got.append(json.loads(os.read(fd, 65536)))
        return got

    try:
        assert lines() == []
        for text, expected in ((f"{ids[0]}\n", seen[1:]), (f"{ids[1]}", seen[2:]), (f"{ids[2]}", [])):
            assert os.write(fd, text.encode()) == len(text)
            assert lines() == expected
        for text in ("x", "-1", "1 2", "1\n2", "9" * 23, "9" * 4000, "\n"):
            assert errno_name(errno_of(os.write, fd, text.encode())) == "EINVAL", text
        for unknown in (0, ids[0] - 2, ids[2] + 1, 2**64 - 1):
            os.write(fd, str(unknown).encode())
            assert lines() == [{"event": "lost", "id": ids[2]}], unknown
    finally:
        os.close(fd)


def test_a_blocking_read_of_events_waits_for_the_next_one(fs: Magnetfs) -> None:
    reader = subprocess.Popen(
        ["head", "-n", "1", fs.control / "events"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        waiting.until("events is open", lambda: opened(reader.pid, fs.control / "events"))
        fs.add(NOBODY)
        out, _ = reader.communicate(timeout=10)
        assert json.loads(out)["event"] == "added"
    finally:
        reader.kill()
        reader.wait()


def opened(pid: int, path: Path) -> bool:
    """Whether a process has the file open."""
    try:
        return str(path) in [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False


def test_by_hash_links_lead_to_the_directory(
    fs: Magnetfs, torrents: TorrentMaker, album: Torrent
) -> None:
    hybrid = torrents.hybrid("hybrid.bin", MIB)
    fs.add(album.metainfo)
    fs.add(hybrid.metainfo)
    links = fs.control / "by-hash"
    assert os.readlink(links / album.info_hash) == "../../album"
    assert hybrid.info_hash_v2
    for name in (hybrid.info_hash, hybrid.info_hash_v2):
        assert os.readlink(links / name) == "../../hybrid"
        assert fs.torrent(name)["infoHashV2"] == hybrid.info_hash_v2
        assert os.listdir(links / name) == ["hybrid.bin"]
    assert len(fs.status()["torrents"]) == 2
    for name in (NOBODY, "x", "A" * 40):
        assert errno_name(errno_of(os.readlink, links / name)) == "ENOENT"
        assert errno_name(errno_of(os.stat, fs.torrent_folder(name))) == "ENOENT"


# -- data/ -----------------------------------------------------------------------------------------


def test_data_does_not_wait_with_o_nonblock_and_poll_tells(
    fs: Magnetfs, seeder: Seeder, second: Torrent
) -> None:
    fs.add(second.metainfo)
    path = fs.torrent_folder(second.info_hash) / "data" / "second.bin"
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert errno_name(errno_of(os.pread, fd, 4096, 300_000)) == "EAGAIN"
        assert not waiting.readable(fd, 0)
        seeder.seed(second).connect(second, fs.bt_port)
        assert waiting.readable(fd, 20)
        data = os.pread(fd, 4096, 300_000)
        assert data and data == second.read("second.bin", 300_000, len(data))
        got = b""
        while len(got) < second.length:
            try:
                part = os.pread(fd, 128 * KIB, len(got))
            except BlockingIOError:
                assert waiting.readable(fd, 20), f"nothing came after {len(got)} bytes"
                continue
            assert part, f"ended after {len(got)} bytes"
            got += part
        assert got == second.read("second.bin")
        assert os.pread(fd, 10, second.length) == b""
    finally:
        os.close(fd)


def test_user_paths_ignore_o_nonblock(fs: Magnetfs, seeder: Seeder, second: Torrent) -> None:
    path = fs.add_torrent(second, seeder.seed(second)) / "second.bin"
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert read_exactly(fd, 400_000, 50_000) == second.read("second.bin", 400_000, 50_000)
    finally:
        os.close(fd)


# -- keep, remove, idle ----------------------------------------------------------------------------


def test_keep_reads_and_writes(fs: Magnetfs, second: Torrent) -> None:
    fs.add(second.metainfo, temporary=True)
    keep = fs.torrent_folder(second.info_hash) / "keep"
    assert keep.read_text() == "0\n"
    keep.write_text("1\n")
    assert keep.read_text() == "1\n" and fs.torrent(second.info_hash)["kept"] is True
    fs.add(second.metainfo, temporary=True)
    assert keep.read_text() == "1\n", "an add never un-keeps"
    keep.write_text("0")
    assert keep.read_text() == "0\n"
    fs.add(second.magnet())
    assert keep.read_text() == "1\n"
    with open(keep, "wb", buffering=0) as stream:
        assert errno_name(errno_of(stream.write, b"maybe\n")) == "EINVAL"
    assert keep.read_text() == "1\n"


def test_rmdir_of_its_hash_removes_a_torrent_with_its_data(
    fs: Magnetfs, seeder: Seeder, album: Torrent, second: Torrent
) -> None:
    seeder.seed(album).seed(second)
    other = fs.add_torrent(second, seeder)
    directory = fs.add_torrent(album, seeder)
    assert_same(other / "second.bin", second, "second.bin")
    without = fs.store_blocks()
    assert_same(directory / "disc 1" / "01.flac", album, "disc 1/01.flac")
    assert fs.store_blocks() >= without + 3 * MIB
    fs.remove(album.info_hash)
    assert os.listdir(fs.mountpoint) == ["second"]
    assert not directory.exists() and not (directory / "disc 1" / "01.flac").exists()
    assert not fs.known(album.info_hash)
    waiting.until("the data are gone", lambda: fs.store_blocks() <= without + 64 * KIB)
    assert_same(other / "second.bin", second, "second.bin")


def test_a_parked_read_ends_when_its_torrent_is_removed(fs: Magnetfs, second: Torrent) -> None:
    fs.add(second.metainfo)
    path = fs.directory(second) / "second.bin"
    found: list[int] = []

    def read() -> None:
        with open(path, "rb", buffering=0) as stream:
            found.append(errno_of(stream.read, 100))

    thread = threading.Thread(target=read)
    thread.start()
    fs.wait_parked(1)
    fs.remove(second.info_hash)
    thread.join(10)
    assert not thread.is_alive() and len(found) == 1
    assert errno_name(found[0]) in ("EIO", "ENOENT", "ENODEV", "ESTALE"), errno_name(found[0])


def test_a_torrent_can_be_added_again_after_its_removal(
    fs: Magnetfs, seeder: Seeder, second: Torrent
) -> None:
    seeder.seed(second)
    for _ in range(3):
        directory = fs.add_torrent(second, seeder)
        assert_same(directory / "second.bin", second, "second.bin")
        fs.remove(second.info_hash)


def test_idle_temporary_torrents_go_with_their_data_and_kept_ones_stay(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, album: Torrent, second: Torrent
) -> None:
    fs = magnetfs("--read-timeout", "20", "--idle-timeout", "1")
    seeder.seed(album).seed(second)
    kept = fs.add_torrent(second, seeder)
    assert_same(kept / "second.bin", second, "second.bin")
    without = fs.store_blocks()
    with fs.events() as events:
        fs.add(album.magnet(seeder), temporary=True)
        events.wait("ready", album.info_hash)
        with open(fs.directory(album) / "disc 1" / "01.flac", "rb", buffering=0) as stream:
            assert stream.read(1000) == album.read("disc 1/01.flac", 0, 1000)
            while event := events.next(2.5):  # more than twice the idle time
                assert event["event"] != "removed", "an open handle is a use"
            assert stream.read(1000)
        events.wait("removed", album.info_hash, timeout=10)
    assert os.listdir(fs.mountpoint) == ["second"]
    assert not fs.known(album.info_hash)
    waiting.until("the data are gone", lambda: fs.store_blocks() <= without + 64 * KIB)
    assert_same(kept / "second.bin", second, "second.bin")


def test_a_film_larger_than_the_cache_is_read_within_the_bound(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    bound = 8 * MIB
    fs = magnetfs("--read-timeout", "20", "--cache-size", "8M")
    torrent = torrents.single("toolarge.bin", 24 * MIB, seed=81, piece_length=256 * KIB)
    path = fs.add_torrent(torrent, seeder.seed(torrent)) / "toolarge.bin"
    got = 0
    fd = os.open(path, os.O_RDONLY)
    try:
        while part := os.pread(fd, 128 * KIB, got):
            assert part == torrent.read("toolarge.bin", got, len(part))
            got += len(part)
            assert fs.store_blocks() <= bound
    finally:
        os.close(fd)
    assert got == torrent.length
    cache = fs.status()["cache"]
    assert cache["usedBytes"] <= bound
    assert cache["evictedBytes"] >= torrent.length - bound


def test_answers_that_nobody_can_read_are_not_kept(fs: Magnetfs) -> None:
    """Of a descriptor for writing alone: 30,000 refusals would be 3 MB."""

    def memory_kib() -> int:
        status = Path(f"/proc/{fs.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert found
        return int(found[1])

    fd = os.open(fs.control / "add", os.O_WRONLY)
    try:
        for count in (1000, 30_000):
            before = memory_kib()
            for _ in range(count):
                with pytest.raises(OSError):
                    os.write(fd, b"no magnet\n")
        assert memory_kib() - before < 1024
    finally:
        os.close(fd)


def test_detail_tells_what_of_each_file_is_there_and_who_reads_where(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    files = [("a/first.bin", 300 * KIB), ("empty", 0), ("film.mkv", 900 * KIB + 5)]
    album = torrents.multi("detail", files, seed=77, piece_length=64 * KIB)
    root = fs.add_torrent(album, seeder.seed(album))
    document = fs.torrent_folder(album.info_hash) / "detail"

    def told() -> tuple[dict, dict[str, dict]]:
        detail = json.loads(document.read_text())
        return detail, {f["path"]: f for f in detail["files"]}

    detail, by_path = told()
    assert {**fs.torrent(album.info_hash), "open": [], "files": detail["files"]}.keys() == detail.keys()
    assert [(f["path"], f["length"]) for f in detail["files"]] == files
    assert all(f["have"] == [] and f["haveBytes"] == 0 for f in detail["files"]), detail
    place = 500 * KIB
    with open(root / "film.mkv", "rb", buffering=0) as film:
        assert os.pread(film.fileno(), 10, place) == album.read("film.mkv", place, 10)
        detail, by_path = told()
        assert [o["path"] for o in detail["open"]] == ["film.mkv"]
        assert detail["open"][0]["position"] == place + 10
        assert detail["open"][0]["parkedReads"] == 0
    have = by_path["film.mkv"]["have"]
    assert any(first <= place and place + 9 <= last for first, last in have), have
    assert sum(last - first + 1 for first, last in have) == by_path["film.mkv"]["haveBytes"]
    # Stretches are apart, in order, and end where pieces do, or files.
    offset = album.file("film.mkv").offset
    for (_, last), (first, _) in zip(have, have[1:]):
        assert last + 1 < first, have
    for first, last in have:
        assert first == 0 or (offset + first) % (64 * KIB) == 0, have
        assert last + 1 == 900 * KIB + 5 or (offset + last + 1) % (64 * KIB) == 0, have
    assert (root / "film.mkv").read_bytes() == album.read("film.mkv")
    assert (root / "a/first.bin").read_bytes() == album.read("a/first.bin")
    detail, by_path = told()
    assert detail["open"] == []
    assert by_path["film.mkv"]["have"] == [[0, 900 * KIB + 4]]
    assert by_path["a/first.bin"]["have"] == [[0, 300 * KIB - 1]]
    assert by_path["empty"]["have"] == []


def test_detail_of_what_has_no_metadata_waits_for_nothing(fs: Magnetfs) -> None:
    info_hash = "0123456789abcdef0123456789abcdef01234567"
    fs.add(info_hash)
    detail = json.loads((fs.torrent_folder(info_hash) / "detail").read_text())
    assert (detail["state"], detail["open"], detail["files"]) == ("pending", [], None)
