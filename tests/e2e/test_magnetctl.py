"""magnetctl: on a terminal a table with progress bars, on a pipe plain fields; JSON; its errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import quote

import pytest

from harness import waiting
from harness.mount import MAGNETCTL, Magnetfs
from harness.reading import Parked
from harness.seeder import Seeder
from harness.terminal import HOME, Terminal, width
from harness.torrents import KIB, MIB, Torrent, TorrentMaker

NOBODY = "0123456789abcdef0123456789abcdef01234567"  # a torrent that nobody has
DONE, FAILED, USAGE, TIMED_OUT = 0, 1, 2, 3  # exit codes

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces, mounts: root only")


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mkv", 12 * MIB, seed=181, piece_length=64 * KIB)


@pytest.fixture(scope="module")
def album(torrents: TorrentMaker) -> Torrent:
    files = [("cover.jpg", 30_000), ("disc 1/01.flac", MIB), ("\U0001f600 \u65e5\u672c.srt", 700)]
    return torrents.multi("album", files, seed=182)


def on_terminal(fs: Magnetfs, *arguments: str, **keywords: Any) -> tuple[int, str]:
    """magnetctl of this mount on a terminal: its exit code and what it shows, without colours."""
    with Terminal([MAGNETCTL, "-m", fs.mountpoint, *arguments], **keywords) as terminal:
        return terminal.finish()


def rows(table: str) -> list[dict[str, str]]:
    """The lines of the table of `status`, by the titles above their columns."""
    lines = table.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("NAME"))
    found = []
    for line in lines[head + 1 : -1]:
        match = re.match(
            r"(?P<NAME>.+?) +(?P<SIZE>-|\d+(\.\d)? \w+)  \[(?P<PROGRESS>.{8})\]"
            r" +(?P<PERCENT>\d+%|-) +(?P<DOWN>-|\S+ \w+/s) +(?P<UP>-|\S+ \w+/s)"
            r" +(?P<PEERS>\d+) +(?P<SEEDS>\d+) +(?P<READ>\d+) +(?P<WAIT>\d+)"
            r"  (?P<KEPT>kept|temp)  (?P<STATE>\w+)$",
            line,
        )
        assert match, f"no row of the table: {line!r}"
        found.append(match.groupdict())
    return found


def row(fs: Magnetfs) -> dict[str, str]:
    """The one row of a table wide enough for all columns."""
    code, table = on_terminal(fs, "status", columns=160)
    assert code == DONE, table
    (only,) = rows(table)
    return only


# -- the table -------------------------------------------------------------------------------------


def test_progress_rate_peers_and_readers_while_a_slow_seeder_delivers(
    fs: Magnetfs, seeder: Seeder, film: Torrent
) -> None:
    directory = fs.add_torrent(film, seeder.seed(film, upload_limit=MIB))
    assert row(fs) | {"PEERS": "", "SEEDS": "", "UP": ""} == {
        **{"NAME": "film", "SIZE": "12.0 MiB", "PROGRESS": " " * 8, "PERCENT": "0%", "DOWN": "-"},
        **{"UP": "", "PEERS": "", "SEEDS": "", "READ": "0", "WAIT": "0"},
        **{"KEPT": "kept", "STATE": "awake"},
    }
    reader = subprocess.Popen(["cat", directory / "film.mkv"], stdout=subprocess.DEVNULL)
    try:
        seen = waiting.until(
            "progress and a rate",
            lambda: (now := row(fs)) and now["DOWN"] != "-" and now["PROGRESS"].strip() and now,
        )
        assert 0 < int(seen["PERCENT"][:-1]) < 100
        assert re.fullmatch(r"\u2588*[\u2589-\u258f]? *", seen["PROGRESS"])
        number, unit = seen["DOWN"].split()
        assert unit in ("B/s", "KiB/s", "MiB/s") and (unit != "MiB/s" or float(number) < 4), seen
        assert (seen["PEERS"], seen["SEEDS"], seen["READ"]) == ("1", "1", "1")
        seeder.limit(film, 0)
        assert reader.wait(20) == 0
    finally:
        reader.kill()
        reader.wait()
    end = waiting.until("the end", lambda: (now := row(fs))["PERCENT"] == "100%" and now)
    assert (end["PROGRESS"], end["READ"], end["WAIT"]) == ("\u2588" * 8, "0", "0")


def test_a_parked_read_is_counted_while_it_waits(fs: Magnetfs, film: Torrent) -> None:
    fs.add(film.metainfo)
    with Parked(fs.directory(film) / "film.mkv", count=3, stride=64 * KIB):
        fs.wait_parked(3)
        seen = row(fs)
        assert (seen["READ"], seen["WAIT"], seen["PERCENT"]) == ("3", "3", "0%")
        plain = fs.ctl("status").stdout.rstrip("\n").split("\t")
        assert plain[11:13] == ["3", "3"]
        assert "3 open, 3 waiting" in on_terminal(fs, "status")[1]
    fs.wait_parked(0)
    seen = waiting.until("nobody reads", lambda: (now := row(fs))["READ"] == "0" and now)
    assert seen["WAIT"] == "0"


ODD_NAMES = [
    "plain",
    "\u65e5\u672c\u8a9e\u306e\u6620\u753b",  # wide
    "film \U0001f3ac\U0001f600",  # emoji
    "e\u0301te\u0301",  # combining marks
    "\u0301mark first",
    "\u05e9\u05dc\u05d5\u05dd",  # right to left
    "a\x1b[31mred\x07\x9bm\x7f",  # control characters, C1 among them
    "over\u202egnp.exe",  # a right-to-left override
    "line\u2028break",
    "bad\udcff\udcfebytes",
    "tab\there",
    "x" * 200,
]


@pytest.fixture
def odd(fs: Magnetfs) -> Magnetfs:
    """A mount with torrents of all those names, of which the metadata never comes."""
    for number, name in enumerate(ODD_NAMES):
        dn = quote(name.encode(errors="surrogateescape"), safe="")
        fs.add(f"magnet:?xt=urn:btih:{number + 1:040x}&dn={dn}")
    return fs


def assert_clean(text: str) -> None:
    """Nothing but line breaks (and the tabs between fields) is a control character."""
    bad = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffd]", text)
    assert not bad, text


def test_columns_line_up_behind_names_of_every_kind(odd: Magnetfs) -> None:
    for columns in (30, 60, 80, 120, 300):
        code, table = on_terminal(odd, "status", columns=columns)
        assert code == DONE
        assert_clean(table)
        lines = table.splitlines()
        assert all(width(line) <= columns for line in lines), (columns, table)
        assert lines[0].startswith("NAME") and len(lines) == len(ODD_NAMES) + 2
        pending = [line for line in lines[1:-1] if "pending" in line]
        states = {width(line[: line.rindex("pending")]) for line in pending}
        shown = lines[0].rstrip().endswith("STATE")
        assert len(states) == (1 if shown else 0), (columns, table)
    assert len(rows(table)) == len(ODD_NAMES)
    for name in ODD_NAMES[:4]:
        assert f"\n{name} " in table


def test_an_ascii_locale_gets_ascii_alone(odd: Magnetfs, film: Torrent, seeder: Seeder) -> None:
    path = odd.add_torrent(film, seeder.seed(film)) / "film.mkv"
    with open(path, "rb") as stream:
        stream.read(4 * MIB)
    waiting.until("progress", lambda: odd.torrent(film.info_hash)["progress"] > 0.3)
    for command in ("status", "list"):
        code, table = on_terminal(odd, command, columns=160, LC_ALL="C")
        assert code == DONE and table.isascii()
        assert_clean(table)
    code, table = on_terminal(odd, "status", columns=160, LC_ALL="C")
    assert re.search(r"^film .*\[##[#.]{6}\] ", table, re.M), table
    code, table = on_terminal(odd, "status", columns=160)
    assert re.search("^film .*\\[\u2588\u2588", table, re.M), table


def test_the_width_is_what_columns_says_else_the_terminal(odd: Magnetfs) -> None:
    def widest(**keywords: Any) -> int:
        return max(width(line) for line in on_terminal(odd, "status", **keywords)[1].splitlines())

    assert widest(columns=60) <= 60 < widest(columns=160) <= 160
    assert widest(columns=160, COLUMNS="50") <= 50
    assert widest(columns=40, COLUMNS="150") > 80
    assert widest(columns=60, COLUMNS="nonsense") <= 60
    assert widest(columns=0) <= 80, "a terminal that does not know"


def test_colours_are_for_terminals_that_have_them(
    fs: Magnetfs, seeder: Seeder, album: Torrent
) -> None:
    fs.add_torrent(album, seeder.seed(album))
    for environment in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with Terminal([MAGNETCTL, "-m", fs.mountpoint, "status"], **environment) as terminal:
            terminal.finish()
            assert ("\x1b" in terminal.shown) is (environment == {}), environment
    assert "\x1b" not in fs.ctl("status").stdout


def test_list_and_files_have_headers_on_a_terminal(
    fs: Magnetfs, seeder: Seeder, album: Torrent
) -> None:
    assert "magnetctl add" in on_terminal(fs, "list")[1] and fs.ctl("list").stdout == ""
    assert "magnetctl add" in on_terminal(fs, "status")[1] and fs.ctl("status").stdout == ""
    fs.add_torrent(album, seeder.seed(album))
    assert [line.split() for line in on_terminal(fs, "list")[1].splitlines()] == [
        ["HASH", "KEPT", "SIZE", "NAME"],
        [album.info_hash, "kept", "1.0", "MiB", "album"],
    ]
    listed = on_terminal(fs, "files", "album")[1].splitlines()
    assert listed[0].split() == ["INDEX", "SIZE", "PATH"]
    assert listed[2] == "    1   1.0 MiB  disc 1/01.flac"
    assert listed[3] == "    2     700 B  \U0001f600 \u65e5\u672c.srt"


def test_watch_draws_again_until_interrupted(fs: Magnetfs, film: Torrent) -> None:
    fs.add("\n".join(f"{number + 1:040x}" for number in range(40)))
    fs.add(film.metainfo)
    command = [MAGNETCTL, "-m", fs.mountpoint, "status", "--watch"]
    with Terminal(command, columns=120, rows=12) as terminal:
        terminal.until("a picture", lambda t: t.shown.endswith("\x1b[J"))
        first = terminal.screen.splitlines()
        assert len(first) <= 11 and re.match(r"and \d+ more", first[-2]), first
        with Parked(fs.directory(film) / "film.mkv"):
            terminal.until(
                "the read", lambda t: HOME in t.shown and "1 open, 1 waiting" in t.screen
            )
            assert terminal.screen.splitlines()[1].startswith("film "), "what is read comes first"
            terminal.resize(60, 12)
            terminal.until(
                "the new width", lambda t: max(map(width, t.screen.splitlines())) <= 60
            )
        terminal.type("\x03")
        code, shown = terminal.finish()
        assert code == -signal.SIGINT
        assert "magnetctl:" not in shown


def test_watch_on_a_pipe_puts_an_empty_line_behind_each_picture(fs: Magnetfs) -> None:
    fs.add(NOBODY)
    watch = subprocess.Popen(
        [MAGNETCTL, "-m", fs.mountpoint, "status", "--watch", NOBODY[:8]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout
        assert watch.stdout.readline().startswith(NOBODY + "\t")
        assert watch.stdout.readline() == "\n"
        fs.ctl("remove", NOBODY)
        out, problem = watch.communicate(timeout=10)
        assert watch.returncode == DONE and "gone" in problem
    finally:
        watch.kill()
        watch.wait()


# -- on a pipe, and as JSON ------------------------------------------------------------------------


def test_fields_on_a_pipe(odd: Magnetfs, seeder: Seeder, album: Torrent) -> None:
    odd.add_torrent(album, seeder.seed(album))
    status, listed = odd.ctl("status"), odd.ctl("list")
    assert status.returncode == listed.returncode == DONE
    for line in status.stdout.splitlines():
        fields = line.split("\t")
        assert len(fields) == 14, line
        assert re.fullmatch("[0-9a-f]{40}", fields[0]) and fields[2] in ("pending", "awake")
        assert fields[3] == "kept" and re.fullmatch(r"[01]\.\d{4}", fields[6])
        assert_clean(line)
    names = [torrent["name"] for torrent in odd.status()["torrents"]]
    for text, place in ((status.stdout, 1), (listed.stdout, 3)):
        assert [line.split("\t")[place] for line in text.splitlines()] == names
    album_line = listed.stdout.splitlines()[-1]
    assert album_line == f"{album.info_hash}\tkept\t{album.length}\talbum"
    assert odd.ctl("files", "album").stdout.splitlines() == [
        f"{n}\t{file.length}\t{file.path}" for n, file in enumerate(album.files)
    ]
    waited = odd.ctl("wait", "album")
    assert (waited.returncode, waited.stdout) == (DONE, f"{album.info_hash}\talbum\n")


def test_json_is_what_magnetfs_says(odd: Magnetfs, seeder: Seeder, album: Torrent) -> None:
    odd.add_torrent(album, seeder.seed(album))
    told = odd.status()

    def parsed(*arguments: str) -> Any:
        done = odd.ctl(*arguments, "--json")
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (DONE, "", 1)
        return json.loads(done.stdout)

    status = parsed("status")
    assert list(status) == list(told) and list(status["torrents"][0]) == list(told["torrents"][0])
    keys = ("infoHash", "name", "kept", "length")
    of = [{key: torrent[key] for key in keys} for torrent in told["torrents"]]
    assert [{key: torrent[key] for key in keys} for torrent in status["torrents"]] == of
    assert parsed("list") == {"torrents": of}
    files = parsed("files", "album")
    assert (files["infoHash"], files["name"]) == (album.info_hash, "album")
    assert [(f["index"], f["path"], f["length"]) for f in files["files"]] == [
        (n, file.path, file.length) for n, file in enumerate(album.files)
    ]
    assert [t["name"] for t in parsed("status", "album")["torrents"]] == ["album"]
    # A terminal of another character set gets the same, escaped.
    code, shown = on_terminal(odd, "list", "--json", LC_ALL="C")
    assert code == DONE and shown.isascii() and json.loads(shown) == {"torrents": of}


def test_json_of_nothing(fs: Magnetfs) -> None:
    assert fs.ctl("list", "--json").stdout == '{"torrents":[]}\n'
    assert json.loads(fs.ctl("status", "--json").stdout)["torrents"] == []


# -- which torrent is meant ------------------------------------------------------------------------


def test_a_torrent_is_called_by_hash_prefix_name_or_path(
    fs: Magnetfs, torrents: TorrentMaker
) -> None:
    hybrid = torrents.hybrid("hybrid two.bin", 100_000)
    fs.add(hybrid.metainfo)
    fs.add("abcdef" + "0" * 33 + "1\nabcdef" + "0" * 33 + "2")
    assert hybrid.info_hash_v2
    for name in (
        hybrid.info_hash,
        hybrid.info_hash.upper(),
        hybrid.info_hash[:6],
        hybrid.info_hash_v2,
        hybrid.info_hash_v2[:10],
        "hybrid two",
        f"{fs.mountpoint}/hybrid two",
        f"{fs.mountpoint}/hybrid two/",
    ):
        done = fs.ctl("status", name)
        assert done.returncode == DONE and done.stdout.count("\n") == 1, (name, done)
        assert done.stdout.startswith(hybrid.info_hash)
    both = fs.ctl("status", "hybrid two", hybrid.info_hash, hybrid.info_hash_v2)
    assert both.stdout.count("\n") == 1, "one torrent, however often it is called"
    ambiguous = fs.ctl("status", "abcdef")
    assert ambiguous.returncode == FAILED and "2 torrents" in ambiguous.stderr
    # One that is not there does not keep the others from being done.
    done = fs.ctl("remove", "nothing", "abcdef" + "0" * 33 + "1", "hybrid two")
    assert done.returncode == FAILED and done.stderr.count("\n") == 1
    assert [t["infoHash"] for t in fs.status()["torrents"]] == ["abcdef" + "0" * 33 + "2"]


def test_keep_and_temporary(fs: Magnetfs, film: Torrent, album: Torrent) -> None:
    assert fs.ctl("add", "--temporary", str(film.torrent_file)).returncode == DONE
    assert fs.ctl("add", str(album.torrent_file)).stdout == f"{album.info_hash}\talbum\n"

    def kept() -> dict[str, str]:
        fields = [line.split("\t") for line in fs.ctl("list").stdout.splitlines()]
        return {name: kind for _hash, kind, _size, name in fields}

    assert kept() == {"film": "temp", "album": "kept"}
    assert fs.ctl("keep", "film", "album").returncode == DONE
    assert kept() == {"film": "kept", "album": "kept"}
    assert fs.ctl("keep", "--off", "film", "album").returncode == DONE
    assert kept() == {"film": "temp", "album": "temp"}


def test_add_waits_for_several_and_tells_of_each(
    fs: Magnetfs, seeder: Seeder, film: Torrent, album: Torrent
) -> None:
    seeder.seed(film).seed(album)
    magnets = [torrent.magnet(seeder, name=False) for torrent in (film, album)]
    done = fs.ctl("add", "--wait", "--timeout", "3", magnets[0], "nonsense", magnets[1], NOBODY)
    assert sorted(done.stdout.splitlines()) == sorted(
        [f"{film.info_hash}\tfilm", f"{album.info_hash}\talbum"]
    )
    assert done.returncode == FAILED, "the worst outcome"
    assert len(done.stderr.splitlines()) == 2
    assert "nonsense" in done.stderr and f"{NOBODY}: no metadata within 3 s" in done.stderr


# -- lists and export ------------------------------------------------------------------------------


def numbered(number: int) -> str:
    return f"{number:040x}"


def hashes(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def test_a_list_of_every_kind_of_source(
    fs: Magnetfs, film: Torrent, album: Torrent, folder: Path
) -> None:
    """In their order; a path is relative to the list, whatever the working directory is."""
    (folder / "sub" / "files").mkdir(parents=True)
    (folder / "sub" / "files" / "a b.torrent").write_bytes(film.metainfo)
    (folder / "sub" / "list").write_bytes(
        b"\xef\xbb\xbf# a comment\r\n\r\n"
        + f"  {album.magnet()}\r\n\t\r\n {numbered(1)} \r\n".encode()
        + b"files/a b.torrent\r\n#magnet:?xt=urn:btih:"
        + f"{numbered(2)}\r\n{'A' * 31}B\n{album.torrent_file}\nmagnet:?xt=".encode()
        + f"urn:btih:{numbered(3)}".encode()
    )
    done = fs.ctl("add", "--temporary", str(folder / "sub" / "list"), numbered(4))
    base32 = "0" * 39 + "1"
    assert (done.returncode, done.stderr) == (DONE, "")
    assert hashes(done) == [
        *(album.info_hash, numbered(1), film.info_hash, base32, album.info_hash),
        *(numbered(3), numbered(4)),
    ]
    assert {torrent["kept"] for torrent in fs.status()["torrents"]} == {False}
    assert fs.ctl("add", str(folder / "sub" / "list")).returncode == DONE
    assert not fs.torrent(numbered(4))["kept"] and fs.torrent(film.info_hash)["kept"]
    # What a pipe gives is relative to the working directory.
    (folder / "here").write_text("sub/files/a b.torrent\n")
    for arguments, stdin in ((("-",), (folder / "here").open()), (("/dev/stdin",), None)):
        done = subprocess.run(
            [MAGNETCTL, "-m", fs.mountpoint, "add", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            **({"stdin": stdin} if stdin else {"input": (folder / "here").read_text()}),
        )
        assert (done.returncode, done.stdout) == (DONE, f"{film.info_hash}\tfilm\n"), done


def test_a_bad_line_is_told_by_its_number_and_the_others_are_added(
    fs: Magnetfs, film: Torrent, folder: Path
) -> None:
    (folder / "text").write_text("text")
    (folder / "cut").write_bytes(film.metainfo[:-9])
    os.mkfifo(folder / "fifo")
    bad = {
        3: ("nonsense", "no such file"),
        4: ("magnet:?xt=urn:btih:123", "bad magnet"),
        70: ("text", "not a .torrent file"),
        71: ("cut", "not complete"),
        72: ("fifo", "not an ordinary file"),
        73: (".", "Is a directory"),
        74: ("list", "not a .torrent file"),
        100: ("magnet:?xt=urn:btih:" + NOBODY + "&dn=" + "x" * 65536, "has 65600 bytes"),
        101: ("d8:announce", "no such file"),
        300: ("a" * 39, "39 hex digits"),
        2999: ("magnet:?dn=x", "bad magnet"),
    }
    lines = [bad[n][0] if n in bad else numbered(n) for n in range(1, 3000)]
    (folder / "list").write_text("\n".join(lines))
    done = fs.ctl("add", str(folder / "list"))
    assert hashes(done) == [numbered(n) for n in range(1, 3000) if n not in bad]
    assert done.returncode == FAILED
    told = {}
    for line in done.stderr.splitlines():
        match = re.fullmatch(r"magnetctl: \S*/list:(\d+): (.*)", line)
        assert match and len(line) < 400, line
        told[int(match[1])] = match[2]
    assert sorted(told) == sorted(bad)
    for number, (_line, said) in bad.items():
        assert said in told[number], told[number]


def test_ten_thousand_lines_are_a_few_writes(fs: Magnetfs, folder: Path) -> None:
    (folder / "list").write_text("".join(f"{numbered(n)}\n" for n in range(1, 10_001)))
    begin = time.monotonic()
    done = fs.ctl("add", str(folder / "list"))
    assert time.monotonic() - begin < 10
    assert hashes(done) == [numbered(n) for n in range(1, 10_001)]


def test_add_waits_for_a_list(
    fs: Magnetfs, seeder: Seeder, film: Torrent, album: Torrent, folder: Path
) -> None:
    seeder.seed(film).seed(album)
    magnets = [torrent.magnet(seeder, name=False) for torrent in (film, album)]
    (folder / "list").write_text("\n".join((magnets[0], NOBODY, magnets[1])))
    done = fs.ctl("add", "--wait", "--timeout", "3", str(folder / "list"))
    assert sorted(done.stdout.splitlines()) == sorted(
        [f"{film.info_hash}\tfilm", f"{album.info_hash}\talbum"]
    )
    assert done.returncode == TIMED_OUT
    assert f"{NOBODY}: no metadata within 3 s" in done.stderr


def test_an_empty_list_is_no_error(fs: Magnetfs, folder: Path) -> None:
    fails_not = fs.ctl("export", str(folder / "list"))
    assert (fails_not.returncode, fails_not.stdout, fails_not.stderr) == (DONE, "", "")
    for arguments in (("-",), (str(folder / "list"),)):
        done = fs.ctl("add", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (DONE, "", "")


def test_export_of_magnets_reads_back(magnetfs: Callable[..., Magnetfs], folder: Path) -> None:
    one, two = magnetfs(name="one"), magnetfs(name="two")
    tracker = "&tr=udp%3A%2F%2F127.0.0.1%3A9%2Fannounce"
    one.add("".join(f"magnet:?xt=urn:btih:{numbered(n)}&dn=n{n}{tracker}\n" for n in (1, 2)))
    one.add(numbered(3), temporary=True)
    lists = {}
    for name, arguments in (("kept", ()), ("# all", ("--all",))):
        done = one.ctl("export", *arguments, str(folder / name))
        assert (done.returncode, done.stdout, done.stderr) == (DONE, "", "")
        text = (folder / name).read_text()
        assert text.startswith("# ") and "magnetctl add FILE" in text.splitlines()[0]
        assert (folder / name).stat().st_mode & 0o777 == 0o600
        assert one.ctl("export", *arguments, "-").stdout == text
        lists[name] = [line for line in text.splitlines() if not line.startswith("#")]
    assert sorted(path.name for path in folder.iterdir()) == ["# all", "kept", "one", "two"]
    assert len(lists["# all"]) == 3 and lists["# all"][:2] == lists["kept"]
    assert hashes(two.ctl("add", str(folder / "kept"))) == [numbered(1), numbered(2)]
    assert two.ctl("export", "-").stdout == (folder / "kept").read_text(), "nothing is lost"
    assert hashes(two.ctl("add", str(folder / "# all"))) == [numbered(n) for n in (1, 2, 3)]
    one.remove(numbered(2))
    assert one.ctl("export", str(folder / "kept")).returncode == DONE
    assert numbered(2) not in (folder / "kept").read_text()


def test_magnets_say_the_same_after_a_restart(
    fs: Magnetfs, seeder: Seeder, album: Torrent, film: Torrent
) -> None:
    fs.add(f"{album.magnet(seeder.seed(album), name=False)}&so=0,2&x.pe=127.0.0.1:9\n")
    fs.add(film.metainfo)
    assert fs.ctl("wait", album.info_hash).returncode == DONE
    before = fs.ctl("export", "-").stdout
    named = f"x.pe={seeder.peer}"
    for part in ("&dn=album", "&dn=film.mkv", named, "x.pe=127.0.0.1:9", "&so=0,2"):
        assert before.count(part) == 1, (part, before)
    for _ in range(2):
        fs.stop()
        fs.start()
        assert fs.ctl("export", "-").stdout == before
        assert "info: 2 torrents are as they were\n" in fs.stderr()
    fs.remove(film.info_hash)
    fs.stop()
    fs.start()
    assert "info: 1 torrent is as it was\n" in fs.stderr()


def test_export_replaces_nothing_but_an_ordinary_file(fs: Magnetfs, folder: Path) -> None:
    fs.add(NOBODY)
    os.mkfifo(folder / "fifo")
    (folder / "target").write_text("theirs")
    (folder / "link").symlink_to("target")
    (folder / "dangling").symlink_to("nowhere")
    before = sorted(folder.iterdir())
    for said, name in (
        ("not an ordinary file", folder),
        ("Is a directory", f"{folder}/"),
        ("not an ordinary file", folder / "fifo"),
        ("not an ordinary file", folder / "link"),
        ("not an ordinary file", folder / "dangling"),
        ("not an ordinary file", "/dev/stdout"),
        ("No such file", folder / "missing" / "list"),
        ("Not a directory", folder / "target" / "list"),
        ("Read-only file system", fs.mountpoint / "list"),
        ("control characters", folder / "a\nb"),
        ("name too long", folder / ("x" * 255)),
        ("is empty", ""),
    ):
        fails(fs, FAILED, said, "export", str(name))
    assert (folder / "target").read_text() == "theirs" and sorted(folder.iterdir()) == before


# -- errors ----------------------------------------------------------------------------------------


def fails(fs: Magnetfs, code: int, said: str, *arguments: str) -> None:
    """One clear line, nothing on stdout, that exit code."""
    done = fs.ctl(*arguments)
    assert (done.returncode, done.stdout) == (code, ""), (arguments, done)
    assert re.fullmatch(rf"magnetctl: .*{said}.*\n", done.stderr), (arguments, done.stderr)
    assert_clean(done.stderr)


def test_a_wrong_command_line_is_2_and_says_what_is_right(fs: Magnetfs) -> None:
    for said, *arguments in (
        ("--help",),
        ("did you mean status\\?", "stauts"),
        ("there are: add, list", "rm"),
        ("no option --colour", "list", "--colour"),
        ("no option -x", "list", "-x"),
        ("--watch is no option of list", "list", "--watch"),
        ("behind its command", "--json", "status"),
        ("-m needs a value", "list", "-m"),
        ("takes seconds", "wait", "--timeout", "soon", "x"),
        ("takes seconds", "wait", "--timeout", "-1", "x"),
        ("goes with --wait", "add", "--timeout", "3", NOBODY),
        ("usage: magnetctl add SOURCE", "add"),
        ("usage: magnetctl remove TORRENT", "remove"),
        ("usage: magnetctl export FILE", "export"),
        ("usage: magnetctl pin TORRENT\\|FILE", "pin"),
        ("takes a size such as 20G", "cache", "--size", "many"),
        ("not less than 1M", "cache", "--size", "1048575"),
        ("--size is no option of evict", "evict", "--size", "1G", NOBODY),
        ("takes no argument, not 1", "cache", NOBODY),
        ("--all is no option of add", "add", "--all", NOBODY),
        ("takes one argument, not 2", "files", "a", "b"),
        ("takes no argument, not 1", "list", "a"),
        (r"no command \?\[31mred", "\x1b[31mred"),
    ):
        fails(fs, USAGE, said, *arguments)


def test_each_command_has_help() -> None:
    commands = ["add", "list", "status", "keep", "remove", "files", "wait", "export"]
    for command in [*commands, "cache", "evict", "pin", "unpin"]:
        texts = [
            subprocess.run(
                [MAGNETCTL, *arguments], capture_output=True, text=True, timeout=10, check=True
            ).stdout
            for arguments in ([command, "--help"], ["help", command], [command, "a", "-h"])
        ]
        assert texts[0] == texts[1] == texts[2]
        assert texts[0].startswith(f"Usage: magnetctl [-m DIR] {command} ")
        assert "Exit status" in texts[0] and max(map(len, texts[0].splitlines())) <= 90
        assert ("--json" in texts[0]) is (command in ("list", "status", "files", "cache"))
        assert ("--watch" in texts[0]) is (command == "status")


def test_a_torrent_that_is_not_there(fs: Magnetfs, film: Torrent) -> None:
    fs.add(film.metainfo)
    for command in ("status", "keep", "remove", "files", "wait", "evict", "pin", "unpin"):
        fails(fs, FAILED, "no torrent 'flim'.*did you mean 'film'\\?", command, "flim")
        fails(fs, FAILED, f"no torrent '{NOBODY}'.*magnetctl list", command, NOBODY)
    fails(fs, FAILED, "at least 6 digits", "remove", film.info_hash[:5])
    fails(fs, FAILED, "not by a magnet", "remove", film.magnet())
    fails(fs, FAILED, r"no torrent '\?\]0;title\?'", "remove", "\x1b]0;title\x07")
    assert fs.known(film.info_hash)


def test_a_source_that_is_none(fs: Magnetfs, film: Torrent, folder: Path) -> None:
    (folder / "text.torrent").write_text("not bencoded\n")
    (folder / "empty.torrent").write_bytes(b"")
    (folder / "cut.torrent").write_bytes(film.metainfo[: len(film.metainfo) // 2])
    with open(folder / "huge.torrent", "wb") as huge:
        huge.write(b"d4:info")
        huge.truncate(34 * MIB)
    (folder / "film").write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    with open(folder / "larger", "wb") as larger:
        larger.truncate(1 << 40)
    (folder / "large").write_bytes(b"#\n" * (33 * MIB))
    (folder / "empty").write_bytes(b"")
    (folder / "blank").write_text(" \n\n")
    for said, source in (
        ("the file is empty", str(folder / "empty")),
        ("the file is empty", str(folder / "blank")),
        ("no such file", "missing.torrent"),
        ("no such file", "x" * 5000),
        ("Is a directory", str(folder)),
        ("not a .torrent file", str(folder / "text.torrent")),
        ("not a .torrent file", str(folder / "empty.torrent")),
        ("not complete", str(folder / "cut.torrent")),
        (r"too large for a .torrent file \(over 33 MiB\)", str(folder / "huge.torrent")),
        ("39 hex digits, not 40 or 64", "a" * 39),
        ("web addresses are not fetched", "https://127.0.0.1/x.torrent"),
        ("magnet:\\?", f"xt=urn:btih:{NOBODY}"),
        ("magnet:\\?xt=urn:btih:123: ", "magnet:?xt=urn:btih:123"),
        ("no line breaks", f"magnet:?xt=urn:btih:{NOBODY}\nmagnet:?xt=urn:btih:{NOBODY}"),
        ("empty", ""),
        ("neither a .torrent file nor a text", str(folder / "film")),
        ("neither a .torrent file nor a text", str(folder / "larger")),
        ("neither a .torrent file nor a text", "/dev/zero"),
        (r"too large for a list of sources \(over 64 MiB\)", str(folder / "large")),
    ):
        fails(fs, FAILED, said, "add", source)
    assert fs.status()["torrents"] == []


@needs_root
def test_a_torrent_file_that_may_not_be_read_and_another_users_mount(
    fs: Magnetfs, film: Torrent, folder: Path
) -> None:
    program = folder / "magnetctl"
    shutil.copy(MAGNETCTL, program)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    done = subprocess.run(
        [*nobody, program, "-m", fs.mountpoint, "list"], capture_output=True, text=True, timeout=10
    )
    assert done.returncode == FAILED and done.stderr.count("\n") == 1
    assert f"{fs.mountpoint} belongs to another user" in done.stderr
    # Root without the right to read everything is told so too.
    secret = folder / "secret.torrent"
    secret.write_bytes(film.metainfo)
    secret.chmod(0)
    bounded = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    done = subprocess.run(
        [*bounded, program, "-m", fs.mountpoint, "add", secret],
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert (done.returncode, done.stderr) == (
        FAILED,
        f"magnetctl: {secret}: cannot read the file: Permission denied\n",
    )


@needs_root
def test_without_m_it_takes_the_only_mount(magnetfs: Callable[..., Magnetfs]) -> None:
    """In mount namespaces where there are none, one, or two of them."""
    one, two = magnetfs(name="one"), magnetfs(name="two words")

    def run(*mounts: Magnetfs) -> subprocess.CompletedProcess[str]:
        script = (
            "while read -r _ _ _ _ dir rest; do case $rest in *' fuse.magnetfs '*)\n"
            '    dir=$(printf %b "$dir"); keep=\n'
            '    for m; do [ "$m" != "$dir" ] || keep=1; done\n'
            '    [ "$keep" ] || umount -l "$dir";;\n'
            "esac; done </proc/self/mountinfo\n"
            f"exec {MAGNETCTL} list --json"
        )
        points = [str(mount.mountpoint) for mount in mounts]
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *points],
            capture_output=True,
            text=True,
            timeout=20,
        )

    none = run()
    assert none.returncode == FAILED
    assert none.stderr == (
        "magnetctl: No magnetfs is mounted here; start one with: magnetfs MOUNTPOINT\n"
    )
    for mount in (one, two):
        only = run(mount)
        assert (only.returncode, only.stdout) == (DONE, '{"torrents":[]}\n'), only
    several = run(one, two)
    assert several.returncode == FAILED and "choose one with -m" in several.stderr
    assert f"'{one.mountpoint}'" in several.stderr and f"'{two.mountpoint}'" in several.stderr


def test_a_path_names_its_torrent_and_its_mount(
    magnetfs: Callable[..., Magnetfs], film: Torrent, album: Torrent, folder: Path
) -> None:
    one, two = magnetfs(name="one"), magnetfs(name="two words")
    one.add(album.metainfo)
    for fs in (one, two):
        fs.add(film.metainfo)
    inside = one.directory(album)
    (folder / "link").symlink_to(inside / "disc 1" / "01.flac")

    def run(cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MAGNETCTL, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=10
        )

    relative = inside.relative_to(folder)
    by_hash = one.control / "by-hash" / album.info_hash
    for cwd, arguments in (
        (folder, (inside, relative, f"./{relative}/", relative / "cover.jpg", "link", by_hash)),
        (one.mountpoint, ("album", "./album", "album/", "album/disc 1", album.info_hash[:8])),
        (inside, (".", "./", "cover.jpg", "disc 1/", "../album", "album", "../../mnt/album")),
        (inside / "disc 1", (".", "..", "01.flac", "../cover.jpg")),
    ):
        for argument in arguments:
            done = run(cwd, "status", argument)
            assert done.returncode == DONE, (cwd, argument, done.stderr)
            assert hashes(done) == [album.info_hash], (cwd, argument)
    assert len(run(folder, "files", relative).stdout.splitlines()) == len(album.files)
    assert hashes(run(folder, "status", two.directory(film))) == [film.info_hash]
    assert hashes(run(two.mountpoint, "status")) == [film.info_hash]

    for cwd, said, *arguments in (
        (folder, "choose one with -m", "album"),
        (folder, "of several mounts", relative, two.directory(film)),
        (folder, "no torrent '.*'.*did you mean 'album'", inside.with_name("albun")),
        (inside, "no torrent './none'", "./none"),
        (inside, "no torrent 'none'", "none"),
        (inside, "is all of the mount", ".."),
        (inside, r"no torrent '\.\./none/\.\.'", "../none/.."),
        (folder, "no torrent", "-m", two.mountpoint, inside),
    ):
        done = run(cwd, "status", *arguments)
        assert (done.returncode, done.stdout) == (FAILED, ""), arguments
        assert re.fullmatch(f"magnetctl: .*{said}.*\n", done.stderr), done.stderr

    def pinned() -> list[str]:
        lines = one.ctl("cache").stdout.splitlines()
        return [fields[3] for fields in map(str.split, lines) if fields[0] == album.info_hash]

    assert run(inside / "disc 1", "pin", "01.flac").returncode == DONE and pinned() == ["part"]
    assert run(inside, "unpin", "disc 1").returncode == DONE and pinned() == []
    assert run(inside, "pin", ".").returncode == DONE and pinned() == ["yes"]
    done = run(inside, "remove", "cover.jpg", inside / "disc 1")
    assert done.returncode == FAILED and done.stderr.count("only a part of the torrent 'album'") == 2
    assert run(inside, "remove", ".").returncode == DONE
    assert not one.known(album.info_hash) and two.known(film.info_hash)


def test_what_is_no_magnetfs(folder: Path) -> None:
    (folder / "file").write_text("")
    for said, mount in (
        ("is no magnetfs mount", folder),
        ("No such file or directory; is -m right\\?", folder / "missing"),
        ("Not a directory", folder / "file"),
    ):
        done = subprocess.run(
            [MAGNETCTL, "-m", mount, "status"], capture_output=True, text=True, timeout=10
        )
        assert (done.returncode, done.stdout) == (FAILED, "")
        assert re.fullmatch(f"magnetctl: .*{mount}.*{said}.*\n", done.stderr), done.stderr


def test_a_magnetfs_that_died(fs: Magnetfs) -> None:
    fs.add(NOBODY)
    command = [MAGNETCTL, "-m", fs.mountpoint, "wait", NOBODY]
    waits = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watches = subprocess.Popen(
        [MAGNETCTL, "-m", fs.mountpoint, "status", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watches.stdout and watches.stdout.readline()
        waiting.until("it waits", lambda: has_open(waits.pid, fs.control / "torrents"))
        fs.kill()
        for process in (waits, watches):
            problem = process.communicate(timeout=10)[1]
            assert process.returncode == FAILED
            assert "is gone; start it again there" in problem and problem.count("\n") == 1
        for command in (("list",), ("status",), ("add", NOBODY)):
            fails(fs, FAILED, "is gone; start it again there", *command)
    finally:
        for process in (waits, watches):
            process.kill()
            process.wait()
    fs.start()
    assert fs.ctl("list").returncode == DONE


def has_open(pid: int, beneath: Path) -> bool:
    """Whether a process, or a child of it, has a file open there."""
    try:
        family = [str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return any(
            os.readlink(entry).startswith(str(beneath))
            for member in family
            for entry in Path(f"/proc/{member}/fd").iterdir()
        )
    except OSError:
        return False


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk with room for a dozen files."""
    path = folder / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M,nr_inodes=12", "none", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@needs_root
def test_a_full_disk_is_told_with_what_to_do(
    disk: Path, magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent, album: Torrent
) -> None:
    fs = magnetfs("--min-free", "0", start=False)
    fs.cache = disk / "cache"
    fs.start()
    with pytest.raises(OSError, match="No space left"):
        for number in range(100):
            (disk / str(number)).touch()
    said = "no room on the disk of the cache or of the state folder; remove torrents"
    fails(fs, FAILED, said, "add", str(film.torrent_file))
    assert not fs.known(film.info_hash)
    fs.add(album.magnet(seeder.seed(album)))
    fails(fs, FAILED, said, "wait", album.info_hash)
    (disk / "0").unlink()
    assert fs.ctl("add", str(film.torrent_file)).returncode == DONE


@needs_root
def test_an_export_that_fails_leaves_what_was_there(disk: Path, fs: Magnetfs) -> None:
    fs.add(NOBODY)
    path = disk / "list"
    assert fs.ctl("export", str(path)).returncode == DONE
    before = path.read_text()
    fs.add("".join(f"magnet:?xt=urn:btih:{numbered(n)}&dn={'x' * 200}\n" for n in range(1, 200)))
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"), open(filler, "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    said = "No space left on device; the one that is there is untouched"
    fails(fs, FAILED, said, "export", str(path))
    assert path.read_text() == before and sorted(disk.iterdir()) == [filler, path]
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    fails(fs, FAILED, "Read-only file system; the one that is there", "export", str(path))
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    fs.kill()
    fails(fs, FAILED, "is gone; start it again there", "export", str(path))
    assert path.read_text() == before and list(disk.iterdir()) == [path]
    fs.start()
    assert fs.ctl("export", str(path)).returncode == DONE


def test_time_outs_are_3(fs: Magnetfs, seeder: Seeder, film: Torrent) -> None:
    fs.add(NOBODY)
    for arguments in (
        ("files", NOBODY, "--timeout", "0"),
        ("wait", NOBODY, "--timeout", "1"),
        ("add", "--wait", "--timeout", "1", NOBODY),
    ):
        fails(fs, TIMED_OUT, r"no metadata within \d s; magnetfs goes on looking", *arguments)
    fs.add_torrent(film, seeder.seed(film))
    some = fs.ctl("wait", "--timeout", "0", NOBODY, "film")
    assert (some.returncode, some.stdout) == (TIMED_OUT, f"{film.info_hash}\tfilm\n")


def test_output_that_cannot_be_written(odd: Magnetfs) -> None:
    command = [MAGNETCTL, "-m", odd.mountpoint, "list"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=10)
    assert done.returncode == FAILED and "Cannot write the output: No space left" in done.stderr
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, timeout=10
    )
    assert closed.returncode == FAILED and "Cannot write the output" in closed.stderr
    reads, writes = os.pipe()
    os.close(reads)
    try:
        piped = subprocess.run(
            command, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=10
        )
    finally:
        os.close(writes)
    assert (piped.returncode, piped.stderr) == (-signal.SIGPIPE, "")
