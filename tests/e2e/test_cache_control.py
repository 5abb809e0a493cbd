"""The control file `cache`, magnetctl cache, evict, pin and unpin: what is there, and what goes."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from harness import waiting
from harness.kinds import HYBRID, Entry, KindMaker
from harness.library import AFTER_KILL, open_stores, states
from harness.mount import MAGNETCTL, Magnetfs, errno_name, errno_of
from harness.reading import assert_same
from harness.seeder import Seeder
from harness.terminal import Terminal
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

NOBODY = "0123456789abcdef0123456789abcdef01234567"  # a torrent that nobody has
IDLE = ("--idle-timeout", "2")
SLEEPS_S = 6.0
# When pieces were read is known in tenths of a second.
READS_APART_S = 0.3


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mkv", 3 * MIB, seed=1501, piece_length=64 * KIB)


@pytest.fixture(scope="module")
def show(torrents: TorrentMaker) -> Torrent:
    """Two of its files share a piece."""
    files = [("s1/e 1.mkv", 1_500_000), ("s1/e2.mkv", 600_000), ("notes.txt", 900)]
    return torrents.multi("show", [*files, ("none", 0)], seed=1502, piece_length=64 * KIB)


@pytest.fixture(scope="module")
def other(torrents: TorrentMaker) -> Torrent:
    return torrents.single("other.mkv", 8 * MIB, seed=1503, piece_length=256 * KIB)


@pytest.fixture(scope="module")
def third(torrents: TorrentMaker) -> Torrent:
    return torrents.single("third.mkv", 8 * MIB, seed=1504, piece_length=256 * KIB)


@pytest.fixture(scope="module")
def large(torrents: TorrentMaker) -> Torrent:
    return torrents.single("large.mkv", 12 * MIB, seed=1505, piece_length=256 * KIB)


def cache_of(fs: Magnetfs) -> dict[str, Any]:
    return json.loads((fs.control / "cache").read_bytes())


def here(fs: Magnetfs) -> dict[str, dict[str, Any]]:
    """What the cache says of its torrents, by info-hash."""
    return {each["infoHash"]: each for each in cache_of(fs)["torrents"]}


def tell(fs: Magnetfs, text: str | bytes) -> tuple[str, list[dict[str, Any]]]:
    """Writes that to the cache: the name of the errno or "", and the answers."""
    fd = os.open(fs.control / "cache", os.O_RDWR)
    try:
        data = text if isinstance(text, bytes) else text.encode()
        failed = ""
        try:
            assert os.write(fd, data) == len(data)
        except OSError as problem:
            failed = errno_name(problem.errno or 0)
        answers = b""
        while part := os.read(fd, 4096):
            answers += part
        return failed, [json.loads(line) for line in answers.splitlines()]
    finally:
        os.close(fd)


def pin(fs: Magnetfs, *lines: str) -> None:
    failed, answers = tell(fs, "".join(f"{line}\n" for line in lines))
    assert not failed, answers
    assert [answer["error"] for answer in answers] == [None] * len(lines)


def pinned(fs: Magnetfs, torrent: Torrent) -> bool | str:
    """What the status, the cache and the attributes say, which must agree."""
    said = fs.torrent(torrent.info_hash)["pinned"]
    assert said == here(fs).get(torrent.info_hash, {"pinned": False})["pinned"]
    attribute = os.getxattr(fs.directory(torrent), "user.magnetfs.pinned")
    assert attribute == (b"1" if said is True else b"0")
    return said


def pinned_files(fs: Magnetfs, torrent: Torrent) -> set[str]:
    directory = fs.directory(torrent)
    return {
        each.path
        for each in torrent.files
        if os.getxattr(directory / each.path, "user.magnetfs.pinned") == b"1"
    }


def read_all(fs: Magnetfs, torrent: Torrent) -> None:
    for each in torrent.files:
        assert_same(fs.directory(torrent) / each.path, torrent, each.path)


# -- what is there ---------------------------------------------------------------------------------


def test_the_cache_names_what_is_there_and_what_is_pinned(
    fs: Magnetfs, seeder: Seeder, film: Torrent, show: Torrent, other: Torrent
) -> None:
    before = int(time.time())
    fs.add_torrent(film, seeder.seed(film))
    fs.add(show.metainfo)
    fs.add(other.metainfo)
    assert cache_of(fs)["torrents"] == []
    read_all(fs, film)
    pin(fs, f"pin {show.info_hash}")
    said = cache_of(fs)
    assert said["next"] == [] or said["next"][0]["infoHash"] == film.info_hash
    assert [each["infoHash"] for each in said["torrents"]] == [film.info_hash, show.info_hash]
    first = dict(said["torrents"][0])
    assert before <= first.pop("usedAt") <= time.time()
    assert first == {
        **{"infoHash": film.info_hash, "name": "film", "state": "awake"},
        **{"haveBytes": film.length, "pinned": False},
    }
    assert said["torrents"][1]["haveBytes"] == 0 and said["torrents"][1]["pinned"] is True
    status = fs.status()["cache"]
    assert status.keys() == said.keys() - {"freeBytes", "torrents", "next"}
    assert said["limitBytes"] == status["limitBytes"] == 20 << 30
    assert film.length <= said["usedBytes"] <= film.length + 2 * MIB
    assert said["evictedBytes"] == said["evictedPieces"] == 0
    disk = os.statvfs(fs.cache)
    assert abs(said["freeBytes"] - disk.f_bavail * disk.f_frsize) < 1 << 30


def test_the_cache_of_many_torrents_is_whole(fs: Magnetfs) -> None:
    """It is made piece by piece as it is read."""
    hashes = [f"{number:040x}" for number in range(1, 801)]
    fs.add("\n".join(hashes))
    assert cache_of(fs)["torrents"] == []
    pin(fs, *(f"pin {each}" for each in hashes[::2]))
    assert sorted(here(fs)) == hashes[::2]


# -- pins ------------------------------------------------------------------------------------------


def test_a_torrent_a_folder_and_a_file_are_pinned(fs: Magnetfs, show: Torrent) -> None:
    fs.add(show.metainfo)
    everything = {each.path for each in show.files}
    assert pinned(fs, show) is False and pinned_files(fs, show) == set()
    pin(fs, f"pin {show.info_hash} s1/e 1.mkv")
    assert pinned(fs, show) == "part" and pinned_files(fs, show) == {"s1/e 1.mkv"}
    pin(fs, f"pin {show.info_hash} s1/", f"unpin {show.info_hash} s1/e 1.mkv")
    assert pinned(fs, show) == "part" and pinned_files(fs, show) == {"s1/e2.mkv"}
    pin(fs, f"pin {show.info_hash.upper()}")
    assert pinned(fs, show) is True and pinned_files(fs, show) == everything
    pin(fs, f"unpin {show.info_hash} notes.txt")
    assert pinned(fs, show) == "part" and pinned_files(fs, show) == {"s1/e 1.mkv", "s1/e2.mkv"}
    pin(fs, f"pin {show.info_hash} notes.txt")
    assert pinned(fs, show) is True
    pin(fs, f"unpin {show.info_hash}", f"unpin {show.info_hash} notes.txt")
    assert pinned(fs, show) is False and pinned_files(fs, show) == set()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_pins_outlive_a_restart_and_need_no_content(
    magnetfs: Callable[..., Magnetfs], film: Torrent, show: Torrent, end: str
) -> None:
    fs = magnetfs(allow=[AFTER_KILL])
    fs.add(film.metainfo)
    fs.add(show.metainfo)
    fs.add(NOBODY)
    pin(fs, f"pin {film.info_hash}", f"pin {show.info_hash} s1/e2.mkv", f"pin {NOBODY}")
    # At the return of the write it is remembered.
    if end == "kill":
        fs.kill()
    else:
        fs.stop()
    fs.start()
    assert states(fs) == {
        film.info_hash: "asleep",
        show.info_hash: "asleep",
        NOBODY: "pending",
    }
    assert not open_stores(fs.pid)
    said = {each["infoHash"]: each["pinned"] for each in fs.status()["torrents"]}
    assert said == {film.info_hash: True, show.info_hash: "part", NOBODY: True}
    assert {key: each["pinned"] for key, each in here(fs).items()} == said
    assert not open_stores(fs.pid), "that is known without their content"
    assert pinned_files(fs, show) == {"s1/e2.mkv"}
    pin(fs, f"unpin {film.info_hash}", f"unpin {show.info_hash} s1/e2.mkv")
    fs.stop()
    fs.start()
    assert (pinned(fs, film), pinned(fs, show)) == (False, False)


def test_a_file_of_a_torrent_that_sleeps_is_pinned(
    magnetfs: Callable[..., Magnetfs], film: Torrent, show: Torrent
) -> None:
    fs = magnetfs()
    fs.add(film.metainfo)
    fs.add(show.metainfo)
    fs.stop()
    fs.start()
    assert not open_stores(fs.pid)
    pin(fs, f"pin {film.info_hash} film.mkv", f"pin {show.info_hash} s1")
    assert set(states(fs).values()) == {"asleep"}, "its content was looked into, no more"
    assert (pinned(fs, film), pinned(fs, show)) == (True, "part")
    fs.stop()
    fs.start()
    failed, answers = tell(fs, f"unpin {show.info_hash} s1\nunpin {show.info_hash} s2\n")
    assert failed == "ENOENT" and "has no file 's2'" in answers[0]["error"]
    assert (pinned(fs, film), pinned(fs, show)) == (True, "part")


def test_a_pending_torrent_is_pinned_and_stays_so(
    fs: Magnetfs, seeder: Seeder, show: Torrent
) -> None:
    fs.add(show.magnet())
    failed, answers = tell(fs, f"pin {show.info_hash} notes.txt\n")
    assert failed == "ENOENT" and "not known yet" in answers[0]["error"]
    pin(fs, f"pin {show.info_hash}")
    fs.add_torrent(show, seeder.seed(show))
    assert pinned(fs, show) is True


def test_a_pin_of_one_hash_holds_for_the_torrent_of_two(
    fs: Magnetfs, seeder: Seeder, run_folder: Path
) -> None:
    """By both of its hashes it is two until the metadata says that these are one."""
    maker = KindMaker(run_folder / "pinned")
    hybrid = maker.multi(HYBRID, "hybrid", [Entry("a", 100_000), Entry("b", 5)])
    assert hybrid.info_hash_v2
    fs.add(hybrid.info_hash_v2)
    pin(fs, f"pin {hybrid.info_hash_v2}")
    fs.add(hybrid.magnet(seeder.seed(hybrid)))
    waiting.until("it is one", lambda: len(fs.status()["torrents"]) == 1, 20)
    waiting.until("it is pinned", lambda: fs.torrent(hybrid.info_hash)["pinned"] is True)
    assert pinned(fs, hybrid) is True
    fs.stop()
    fs.start()
    assert pinned(fs, hybrid) is True


def test_who_is_removed_or_forgotten_takes_its_pins_along(
    fs: Magnetfs, film: Torrent, show: Torrent
) -> None:
    fs.add(film.metainfo)
    pin(fs, f"pin {film.info_hash}")
    fs.remove(film.info_hash)
    assert cache_of(fs)["torrents"] == []
    fs.add(film.metainfo)
    assert pinned(fs, film) is False


# -- what is written -------------------------------------------------------------------------------


def test_a_write_that_is_wrong_does_nothing(fs: Magnetfs, film: Torrent, show: Torrent) -> None:
    fs.add(film.metainfo)
    fs.add(show.metainfo)
    good = f"pin {film.info_hash}\n"
    for failed, said, line in (
        ("EINVAL", "no command 'nonsense'", "nonsense"),
        ("EINVAL", "no command 'PIN'", f"PIN {film.info_hash}"),
        ("EINVAL", "no command ''", f" pin {film.info_hash}"),
        ("EINVAL", "pin takes an info-hash", "pin"),
        ("EINVAL", "evict takes an info-hash", "evict "),
        ("EINVAL", "'film' is no info-hash", "pin film"),
        ("EINVAL", "is no info-hash", f"pin {film.info_hash[:-1]}"),
        ("EINVAL", "is no info-hash", f"unpin {film.info_hash}0"),
        ("EINVAL", "nothing more", f"evict {film.info_hash} film.mkv"),
        ("EINVAL", "size takes a size", "size"),
        ("EINVAL", "not 'many'", "size many"),
        ("EINVAL", "not '-1'", "size -1"),
        ("EINVAL", "not '1048575'", "size 1048575"),
        ("EINVAL", "nothing more", "size 1 G"),
        ("EINVAL", "no text", "size 1G\0"),
        ("ENOENT", "no torrent", f"pin {NOBODY}"),
        ("ENOENT", "no torrent", f"evict {NOBODY}"),
        ("ENOENT", "no file 'film'", f"pin {film.info_hash} film"),
        ("ENOENT", "no file 'film.mkv/x'", f"pin {film.info_hash} film.mkv/x"),
        ("ENOENT", "no file '../film/film.mkv'", f"pin {film.info_hash} ../film/film.mkv"),
        ("E2BIG", "64 KiB", f"pin {show.info_hash} {'x' * 65536}"),
    ):
        for text in (f"{good}{line}\n", f"{line}\n{good}"):
            got, answers = tell(fs, text)
            assert got == failed, (text, answers)
            assert len(answers) == 1 and answers[0]["command"] is None
            assert said in answers[0]["error"], (text, answers)
            assert cache_of(fs)["torrents"] == [], text
    assert pinned(fs, film) is False


def test_what_was_written_is_answered_line_by_line(fs: Magnetfs, film: Torrent) -> None:
    fs.add(film.metainfo)
    failed, answers = tell(fs, f"\npin {film.info_hash} film.mkv\n\nunpin {film.info_hash}")
    about = {"infoHash": film.info_hash, "name": "film", "error": None}
    assert (failed, answers) == (
        "",
        [{"command": "pin", "path": "film.mkv", **about}, {"command": "unpin", **about}],
    )
    assert tell(fs, "\n") == ("", [])
    # As a shell does it; nobody reads the answers.
    (fs.control / "cache").write_text(f"pin {film.info_hash}\n")
    assert pinned(fs, film) is True
    wrong = (fs.control / "cache").write_text
    assert errno_name(errno_of(wrong, f"pin {NOBODY}\n")) == "ENOENT"


def test_a_descriptor_gives_the_cache_until_it_is_written_to(fs: Magnetfs, film: Torrent) -> None:
    fs.add(film.metainfo)
    fd = os.open(fs.control / "cache", os.O_RDWR)
    try:
        assert json.loads(os.read(fd, 1 << 16))["torrents"] == []
        assert os.read(fd, 1 << 16) == b""
        os.write(fd, f"pin {film.info_hash}\n".encode())
        assert json.loads(os.read(fd, 1 << 16))["command"] == "pin"
        assert os.read(fd, 1 << 16) == b"", "each answer is given once"
        os.write(fd, f"unpin {film.info_hash}\n".encode())
        assert json.loads(os.read(fd, 1 << 16))["command"] == "unpin"
    finally:
        os.close(fd)


# -- magnetctl -------------------------------------------------------------------------------------


def ctl(fs: Magnetfs, *arguments: str) -> str:
    done = fs.ctl(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_magnetctl_pins_by_name_hash_and_path(fs: Magnetfs, film: Torrent, show: Torrent) -> None:
    fs.add(film.metainfo)
    fs.add(show.metainfo)
    path = fs.directory(show)
    for what, state, files in (
        ("show", True, {each.path for each in show.files}),
        (show.info_hash[:8], True, {each.path for each in show.files}),
        (f"{path}/", True, {each.path for each in show.files}),
        (str(path / "s1/e 1.mkv"), "part", {"s1/e 1.mkv"}),
        (str(path / "s1"), "part", {"s1/e 1.mkv", "s1/e2.mkv"}),
        ("show/notes.txt", "part", {"notes.txt"}),
        (f"{show.info_hash}/notes.txt", "part", {"notes.txt"}),
    ):
        assert ctl(fs, "pin", what) == ""
        assert (pinned(fs, show), pinned_files(fs, show)) == (state, files), what
        assert ctl(fs, "unpin", what) == ""
        assert pinned(fs, show) is False, what
    ctl(fs, "pin", "film", "show/s1/e2.mkv")
    assert (pinned(fs, film), pinned(fs, show)) == (True, "part")
    for said, what in (
        ("show/s2: .* has no file 's2'", "show/s2"),
        ("no torrent 'shwo'.*did you mean 'show'", "shwo/notes.txt"),
        ("no such file", f"show/notes.txt\nunpin {film.info_hash}"),
        ("no torrent '/etc/passwd'", "/etc/passwd"),
    ):
        done = fs.ctl("unpin", what, "show/s1/e2.mkv")
        assert done.returncode == 1 and re.search(said, done.stderr), done
        assert (pinned(fs, film), pinned(fs, show)) == (True, False), "the others are done"
        ctl(fs, "pin", "show/s1/e2.mkv")


def test_magnetctl_shows_the_cache(
    fs: Magnetfs, seeder: Seeder, film: Torrent, show: Torrent, other: Torrent
) -> None:
    assert ctl(fs, "cache") == ""
    for torrent in (show, film, other):
        fs.add_torrent(torrent, seeder.seed(torrent))
    read_all(fs, show)
    read_all(fs, film)
    ctl(fs, "pin", "show/notes.txt", "other")
    lines = [line.split("\t") for line in ctl(fs, "cache").splitlines()]
    said = here(fs)
    assert [line[:2] + line[3:5] + line[6:] for line in lines] == [
        [film.info_hash, str(film.length), "-", "awake", "film"],
        [show.info_hash, str(show.length), "part", "awake", "show"],
        [other.info_hash, "0", "yes", "awake", "other"],
    ]
    assert [int(line[5]) for line in lines] == [said[line[0]]["usedAt"] for line in lines]
    assert json.loads(ctl(fs, "cache", "--json")).keys() == cache_of(fs).keys()
    with Terminal([MAGNETCTL, "-m", fs.mountpoint, "cache"], columns=100) as terminal:
        code, table = terminal.finish()
    rows = table.splitlines()
    assert code == 0 and rows[0].split() == ["HERE", "NEXT", "PINNED", "STATE", "USED", "NAME"]
    assert [row.split()[-1] for row in rows[1:4]] == ["film", "show", "other"]
    assert rows[1].split()[:2] == ["3.0", "MiB"] and rows[2].split()[-5] == "part", table
    assert " of 20.0 GiB used; " in rows[-1] and rows[-1].endswith("; 0 B evicted"), table
    assert max(map(len, rows)) <= 100


# -- the size, and what goes -----------------------------------------------------------------------


def test_the_size_is_changed_while_it_runs(fs: Magnetfs, torrents: TorrentMaker) -> None:
    limit = cache_of(fs)["limitBytes"]
    for text, size in (("300M", 300 << 20), ("2G", 2 << 30), ("1073741824", 1 << 30)):
        failed, answers = tell(fs, f"size {text}\n")
        assert (failed, answers) == ("", [{"command": "size", "bytes": size, "error": None}])
        assert fs.status()["cache"]["limitBytes"] == cache_of(fs)["limitBytes"] == size
    assert ctl(fs, "cache", "--size", "20G") == ""
    assert cache_of(fs)["limitBytes"] == 20 << 30 == limit
    assert json.loads(ctl(fs, "cache", "--size", "3G", "--json"))["limitBytes"] == 3 << 30
    # A torrent of which it holds less than two pieces says so; the others go on.
    coarse = torrents.single("coarse.mkv", 9 * MIB, seed=1506, piece_length=4 * MIB)
    fs.add(coarse.metainfo)
    assert tell(fs, "size 1M\n")[0] == ""
    path = fs.directory(coarse) / coarse.name
    assert errno_name(errno_of(os.open, path, os.O_RDONLY)) == "ENOSPC"
    assert "two of its pieces" in fs.torrent(coarse.info_hash)["problem"]
    # It is what the options say again after a restart.
    fs.stop()
    fs.start()
    assert cache_of(fs)["limitBytes"] == limit


def test_less_size_evicts_what_is_too_much(fs: Magnetfs, seeder: Seeder, other: Torrent) -> None:
    fs.add_torrent(other, seeder.seed(other))
    with fs.events() as events:
        read_all(fs, other)
        ctl(fs, "cache", "--size", "4M")
        event = events.wait("evicted", other.info_hash)
        assert event["name"] == "other" and event["haveBytes"] < other.length
        waiting.until("the bound holds", lambda: cache_of(fs)["usedBytes"] <= 4 * MIB)
    assert fs.store_blocks() <= 4 * MIB
    said = cache_of(fs)
    assert said["evictedBytes"] >= 4 * MIB and said["evictedPieces"] >= 16
    assert fs.status()["cache"]["evictedBytes"] == said["evictedBytes"]
    read_all(fs, other)


@pytest.mark.parametrize("state", ["awake", "asleep"])
def test_evict_frees_the_disk_and_the_torrent_reads_right_again(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent, other: Torrent, state: str
) -> None:
    fs = magnetfs("--read-timeout", "20", *(IDLE if state == "asleep" else ()))
    for torrent in (film, other):
        fs.add_torrent(torrent, seeder.seed(torrent))
        read_all(fs, torrent)
    waiting.until("its state", lambda: states(fs)[other.info_hash] == state, SLEEPS_S)
    before = fs.store_blocks()
    assert before >= film.length + other.length
    name = fs.directory(other).name
    fields = ctl(fs, "evict", name).rstrip("\n").split("\t")
    assert fields == [other.info_hash, str(other.length), name]
    assert fs.store_blocks() <= before - other.length
    assert fs.torrent(other.info_hash)["haveBytes"] == 0
    assert os.stat(fs.directory(other) / "other.mkv").st_blocks == 1
    assert list(here(fs)) == [film.info_hash]
    sent = seeder.sent(film)
    read_all(fs, other)
    read_all(fs, film)
    assert seeder.sent(film) == sent, "what was not asked for stays"


def test_evict_leaves_what_is_pinned(fs: Magnetfs, seeder: Seeder, show: Torrent) -> None:
    fs.add_torrent(show, seeder.seed(show))
    read_all(fs, show)
    ctl(fs, "pin", "show/s1/e2.mkv")
    failed, answers = tell(fs, f"evict {show.info_hash}\n")
    assert not failed and 0 < answers[0]["bytes"] < 1_500_000
    kept = os.getxattr(fs.directory(show) / "s1/e2.mkv", "user.magnetfs.have_bytes")
    assert kept == b"600000", "with the pieces that it shares"
    have = fs.torrent(show.info_hash)["haveBytes"]
    assert 600_000 <= have <= 600_000 + 2 * show.piece_length
    ctl(fs, "pin", "show")
    assert tell(fs, f"evict {show.info_hash}\n")[1][0]["bytes"] == 0
    done = fs.ctl("evict", "show")
    assert (done.returncode, done.stdout) == (0, f"{show.info_hash}\t0\tshow\n")
    assert done.stderr.startswith("magnetctl: show: it is pinned, so all of it stays; ")
    assert fs.torrent(show.info_hash)["haveBytes"] == have
    read_all(fs, show)


def test_a_pin_keeps_what_would_go_first(
    magnetfs: Callable[..., Magnetfs],
    seeder: Seeder,
    other: Torrent,
    third: Torrent,
    large: Torrent,
) -> None:
    fs = magnetfs("--read-timeout", "20", "--cache-size", "24M", "--min-free", "0")
    for torrent in (other, third):
        fs.add_torrent(torrent, seeder.seed(torrent))
        read_all(fs, torrent)
        time.sleep(READS_APART_S)
    assert [each["infoHash"] for each in cache_of(fs)["next"]][:1] == [other.info_hash]
    ctl(fs, "pin", "other")
    assert {each["infoHash"] for each in cache_of(fs)["next"]} == {third.info_hash}
    fs.add_torrent(large, seeder.seed(large))
    read_all(fs, large)
    assert fs.torrent(other.info_hash)["haveBytes"] == other.length
    assert fs.torrent(third.info_hash)["haveBytes"] < third.length
    sent = seeder.sent(other)
    read_all(fs, other)
    assert seeder.sent(other) == sent
    ctl(fs, "unpin", "other")
    read_all(fs, third)
    assert cache_of(fs)["usedBytes"] <= 24 * MIB
