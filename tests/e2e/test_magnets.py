"""Every way to write a magnet (BEP 9, BEP 52, BEP 53), shown by what comes of it."""

from __future__ import annotations

import base64
import errno
import json
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote

import pytest

from harness import waiting
from harness.kinds import HYBRID, V1, V2, Entry, KindMaker
from harness.mount import MAGNETCTL, Magnetfs
from harness.ports import free_port
from harness.reading import assert_same
from harness.scripted_peer import ScriptedPeer
from harness.seeder import Seeder
from harness.torrents import KIB, Torrent
from harness.tracker import HangingTracker, OpenTracker

MOST = 100  # of trackers, and of peers, that are taken from a magnet


@pytest.fixture(scope="module")
def maker(run_folder: Path) -> KindMaker:
    return KindMaker(run_folder / "magnets")


def base32(info_hash: str) -> str:
    return base64.b32encode(bytes.fromhex(info_hash)).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "hex": lambda h: f"magnet:?xt=urn:btih:{h}",
    "hex of capitals": lambda h: f"magnet:?xt=urn:btih:{h.upper()}",
    "hex of both": lambda h: f"magnet:?xt=urn:btih:{h[:20].upper()}{h[20:]}",
    "base32": lambda h: f"magnet:?xt=urn:btih:{base32(h)}",
    "base32 of small letters": lambda h: f"magnet:?xt=urn:btih:{base32(h).lower()}",
    "numbered": lambda h: f"magnet:?xt.1=urn:btih:{h}",
    "percent-encoded": lambda h: f"magnet:?xt=urn%3Abtih%3A{h}",
    "another network's beside it": lambda h: f"magnet:?xt=urn:sha1:{base32(h)}&xt=urn:btih:{h}",
    "with what nobody knows": lambda h: f"magnet:?xl=5&xt=urn:btih:{h}&kt=a+b&mt=&&x.y=1",
    "the hash alone": lambda h: h,
    "the hash alone, of capitals": str.upper,
    "the hash alone, in base32": base32,
    "v2": lambda h: f"magnet:?xt=urn:btmh:1220{h}",
    "v2 of capitals": lambda h: f"magnet:?xt=urn:btmh:1220{h.upper()}",
    "v2, the hash alone": lambda h: h,
    "v2, the hash alone, of capitals": str.upper,
}


def test_every_form_of_a_hash_is_the_same_torrent(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker
) -> None:
    """Alone it is pending; a peer is named beside it, or else by a magnet of the usual form."""
    assert fs.web
    torrents = {kind: maker.single(kind, f"{kind}.bin", 200_000) for kind in (V1, V2)}
    for torrent in torrents.values():
        seeder.seed(torrent)
    for name, form in FORMS.items():
        torrent = torrents[V2 if name.startswith("v2") else V1]
        written = form(torrent.info_hash)
        is_bare = not written.startswith("magnet:")
        [answer] = fs.add(written + ("" if is_bare else f"&x.pe={seeder.peer}"))
        assert (answer["infoHash"], answer["error"]) == (torrent.info_hash, None), name
        if is_bare:
            fs.add(torrent.magnet(seeder))
        for target in (written, quote(written, safe="")):
            assert fs.web.get("/add/" + target).json["infoHash"] == torrent.info_hash, name
        assert len(fs.status()["torrents"]) == 1, name
        assert_same(fs.directory(torrent) / torrent.name, torrent, torrent.name)
        fs.remove(torrent.info_hash)


def test_a_magnet_with_both_hashes_is_one_torrent(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker
) -> None:
    hybrid = maker.single(HYBRID, "both.bin", 200_000)
    magnet = f"{hybrid.magnet(seeder.seed(hybrid))}&xt=urn:btmh:1220{hybrid.info_hash_v2}"
    [answer] = fs.add(magnet)
    assert answer["infoHash"] == hybrid.info_hash
    assert fs.torrent(hybrid.info_hash_v2 or "")["state"] in ("pending", "awake")
    fs.files(hybrid.info_hash)
    assert_same(fs.directory(hybrid) / "both.bin", hybrid, "both.bin")


@pytest.mark.parametrize(
    "written, shown",
    [
        ("dn=plain", "plain"),
        ("dn=percent%20encoded%26%C3%A9", "percent encoded&é"),
        ("dn=with+plus%2B", "with plus+"),
        ("dn=日本 raw", "日本 raw"),
        ("dn=%2e%2e%2fx", ".._x"),
        ("dn=", None),
    ],
)
def test_dn_is_the_name_of_a_pending_torrent(fs: Magnetfs, written: str, shown: str | None) -> None:
    info_hash = "0123456789abcdef0123456789abcdef01234567"
    fs.add(f"magnet:?xt=urn:btih:{info_hash}&{written}")
    assert os.listdir(fs.mountpoint) == [shown or info_hash]


# -- one list of spellings, and four doors ---------------------------------------------------------

H = "0123456789abcdef0123456789abcdef01234567"
M = f"magnet:?xt=urn:btih:{H}"
TR = "&tr=udp://127.0.0.1:9/a"


@dataclass
class Spelling:
    """A text that people give, and what it means: its name (None: it has none) and trackers."""

    text: str
    name: str | None = None
    trackers: int = 0


SPELLINGS = {
    "plain": Spelling(f"{M}&dn=x{TR}", "x", 1),
    "capitals": Spelling(f"MAGNET:?XT=URN:BTIH:{H.upper()}&DN=x&TR=udp://127.0.0.1:9", "x", 1),
    "three slashes": Spelling(f"magnet:///?xt=urn:btih:{H}"),
    "two slashes": Spelling(f"magnet://?xt=urn:btih:{H}{TR}", trackers=1),
    "a fragment": Spelling(f"{M}#fragment"),
    "a fragment behind a name": Spelling(f"{M}{TR}&dn=x#fragment", "x", 1),
    "a '#' in a name": Spelling(f"{M}&dn=Movie #1{TR}", "Movie #1", 1),
    "a '%' that escapes nothing": Spelling(f"{M}&dn=100% real{TR}", "100% real", 1),
    "… at the end": Spelling(f"{M}{TR}&dn=100%", "100%", 1),
    "raw blanks": Spelling(f"{M}&dn=Tom and Jerry{TR}", "Tom and Jerry", 1),
    "a raw tab": Spelling(f"{M}&dn=Tom\tJerry", "Tom_Jerry"),
    "a raw '&' in a name": Spelling(f"{M}&dn=Tom&Jerry{TR}", "Tom&Jerry", 1),
    "… between blanks": Spelling(f"{M}&dn=Tom & Jerry{TR}", "Tom & Jerry", 1),
    "a parameter without '=' first": Spelling(f"magnet:?&xt=urn:btih:{H}&dn=x", "x"),
    "… in the middle": Spelling(f"{M}&x{TR}&y&dn=z", "z", 1),
    "HTML's &amp;": Spelling(f"{M}&amp;dn=x&amp;tr=udp://127.0.0.1:9", "x", 1),
    "all percent-encoded": Spelling(quote(f"{M}&dn=a b", safe=""), "a b"),
    "blanks around": Spelling(f" \t{M}&dn=x \t", "x"),
    "line breaks around": Spelling(f"\n{M}&dn=x\r\n", "x"),
    "quotes around": Spelling(f'"{M}&dn=x"', "x"),
    "brackets around": Spelling(f"<{M}&dn=x>", "x"),
    "blanks of Unicode around": Spelling(f"\u00a0\u200b{M}&dn=x\ufeff", "x"),
    "a bare hash": Spelling(H),
    "a bare hash in quotes": Spelling(f"'{H}'"),
    "a tracker that is none": Spelling(f"{M}&tr=&tr=x&tr=%{TR}", trackers=1),
}

NO_MAGNETS = {
    "a word": "hello",
    "no hash": "magnet:?dn=x",
    "the hash in the fragment": f"magnet:?dn=x#xt=urn:btih:{H}",
    "a host": f"magnet://x?xt=urn:btih:{H}",
    "no '?'": f"magnet:xt=urn:btih:{H}",
    "a digit too few": M[:-1],
    "no hex": f"{M[:-1]}g",
    "no hex, percent-encoded": f"magnet:?xt=urn%3Abtih%3A{H[:-1]}g",
    "a hash cut by '&'": f"{M[:-5]}&{M[-5:]}",
    "another network's": "magnet:?xt=urn:sha1:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C",
    "quotes alone": '""',
    "an address": f"http://127.0.0.1/{H}",
    "the beginning of a .torrent": "d8:announce3:abc",
}


class Door:
    """One way to add: the hash that was taken, or None."""

    def __init__(self, fs: Magnetfs, name: str) -> None:
        self.name = name
        self._fs = fs

    def add(self, text: str) -> str | None:
        return {
            "add": self._add,
            "magnetctl": self._magnetctl,
            "GET": self._get,
            "POST": self._post,
        }[self.name](text)

    def _add(self, text: str) -> str | None:
        try:
            [answer] = self._fs.add(text.encode() + b"\n")
        except OSError as problem:  # of the write, or of a .torrent that is cut, of the close
            assert problem.errno == errno.EINVAL
            return None
        return answer["infoHash"]

    def _magnetctl(self, text: str) -> str | None:
        done = self._fs.ctl("add", text)
        if done.returncode == 0:
            return done.stdout.split("\t")[0]
        assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1, done
        return None

    def curl(self, *arguments: str, body: str = "") -> str | None:
        """No metadata comes, so what was taken is not answered; what is refused is, with 400."""
        command = ["curl", "-sS", "-w", "\n%{http_code}", "--max-time", "20", *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin and process.stdout
            process.stdin.write(body.encode())
            process.stdin.close()

            def taken() -> list[dict[str, Any]]:
                return self._fs.status()["torrents"]

            waiting.until("a torrent or an answer", lambda: process.poll() is not None or taken())
            if torrents := taken():
                assert process.poll() is None
                process.terminate()
                return torrents[0]["infoHash"]
            answer, _, status = process.stdout.read().decode().rpartition("\n")
        assert status == "400" and json.loads(answer)["error"], (status, answer)
        return None

    def _get(self, text: str) -> str | None:
        assert self._fs.web
        return self.curl(f"{self._fs.web.base}/add/{quote(text, safe='')}")

    def _post(self, text: str) -> str | None:
        assert self._fs.web
        plain = ["-H", "Content-Type: text/plain", "--data-binary", "@-"]
        return self.curl(f"{self._fs.web.base}/torrents", *plain, body=text)


@pytest.mark.parametrize("way", ["add", "magnetctl", "GET", "POST"])
def test_every_door_takes_the_same_spellings(fs: Magnetfs, way: str) -> None:
    door = Door(fs, way)
    for label, spelling in SPELLINGS.items():
        assert door.add(spelling.text) == H, label
        assert os.listdir(fs.mountpoint) == [spelling.name or H], label
        line = (fs.torrent_folder(H) / "magnet").read_text()
        assert line.count("&tr=") == spelling.trackers, (label, line)
        remove(fs, H)
    for label, text in NO_MAGNETS.items():
        assert door.add(text) is None, label
        assert os.listdir(fs.mountpoint) == [], label


def test_get_takes_a_raw_magnet_as_it_takes_an_encoded_one(fs: Magnetfs) -> None:
    """What a shell's user types behind /add/; curl sends it as it is."""
    assert fs.web
    for label in ("plain", "capitals", "three slashes", "a raw '&' in a name", "… at the end"):
        spelling = SPELLINGS[label]
        assert Door(fs, "GET").curl(f"{fs.web.base}/add/{spelling.text}") == H, label
        assert os.listdir(fs.mountpoint) == [spelling.name or H], label
        remove(fs, H)


@pytest.mark.parametrize("around", ["%s", "\n%s", " \r\n%s", "\ufeff%s", "%s\n", "%sjunk\n<p>"])
def test_every_door_takes_the_same_torrent_files(
    fs: Magnetfs, maker: KindMaker, folder: Path, around: str
) -> None:
    """What is before and behind the dictionary of a .torrent counts for nothing."""
    assert fs.web
    torrent = maker.single(V1, "around.bin", 100_000)
    before, behind = (part.encode() for part in around.split("%s"))
    data = before + torrent.metainfo + behind + (b"\0d1:x" if behind else b"")
    file = folder / "around.torrent"
    file.write_bytes(data)
    binary = ["-H", "Content-Type: application/x-bittorrent", "--data-binary", f"@{file}"]
    for command in (
        ["cp", file, fs.control / "add"],
        ["dd", f"if={file}", f"of={fs.control / 'add'}", "bs=7", "conv=notrunc", "status=none"],
        [MAGNETCTL, "-m", fs.mountpoint, "add", file],
        ["curl", "-sS", "--fail", *binary, f"{fs.web.base}/torrents"],
    ):
        subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)
        [only] = fs.status()["torrents"]
        assert only["infoHash"] == torrent.info_hash, command
        remove(fs, torrent.info_hash)


def remove(fs: Magnetfs, info_hash: str) -> None:
    assert fs.ctl("remove", info_hash).returncode == 0


def test_a_hundred_trackers_are_asked_and_no_more(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker, opentracker: Callable[[list[str]], OpenTracker]
) -> None:
    """The last of the hundred is the one that knows a peer."""
    torrent = maker.single(V1, "tracked.bin", 200_000)
    real = opentracker([torrent.info_hash])
    seeder.seed(torrent, announce=real.url)
    real.wait_for_seed(torrent.info_hash, lambda: seeder.announce(torrent))
    others = HangingTracker(answers=1000)
    try:
        urls = [f"{others.url}{number}" for number in range(MOST - 1)]
        more = [f"{others.url}-more{number}" for number in range(50)]
        fs.add(torrent.magnet(trackers=[*urls, real.url, *more]))
        fs.files(torrent.info_hash)
        assert_same(fs.directory(torrent) / torrent.name, torrent, torrent.name)
        asked = {f"/announce{number}" for number in range(MOST - 1)}
        waiting.until("all are asked", lambda: others.paths() >= asked)
        assert others.paths() == asked
        line = (fs.torrent_folder(torrent.info_hash) / "magnet").read_text()
        assert line.count("&tr=") == MOST
    finally:
        others.close()


def test_a_hundred_peers_are_called_and_no_more(
    fs: Magnetfs, seeder: Seeder, maker: KindMaker
) -> None:
    """The last of the hundred is the one that has it."""
    torrent = maker.single(V1, "peers.bin", 200_000)
    beyond = ScriptedPeer()
    try:
        port = free_port()
        dead = [f"127.0.1.{number}:{port}" for number in range(1, MOST)]
        fs.add(torrent.magnet(*dead, seeder.seed(torrent), beyond))
        fs.files(torrent.info_hash)
        assert_same(fs.directory(torrent) / torrent.name, torrent, torrent.name)
        assert not beyond.dials()
    finally:
        beyond.close()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_a_peer_may_have_an_ipv6_address(
    magnetfs: Callable[..., Magnetfs], maker: KindMaker
) -> None:
    fs = magnetfs("--set", "listen_interfaces=127.0.0.1:0,[::1]:0")
    torrent = maker.single(V1, "six.bin", 200_000)
    seeder = Seeder("[::1]")
    try:
        fs.add(torrent.magnet(seeder.seed(torrent)))
        assert "x.pe=[::1]:" in torrent.magnet(seeder)
        fs.files(torrent.info_hash)
        assert_same(fs.directory(torrent) / torrent.name, torrent, torrent.name)
    finally:
        seeder.close()


# -- so: which files ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[V1, HYBRID])
def four(request: pytest.FixtureRequest, maker: KindMaker) -> Torrent:
    """Four files of two pieces each."""
    entries = [Entry(name, 128 * KIB) for name in "abcd"]
    return maker.multi(request.param, "four", entries, 64 * KIB)


def test_files_that_a_magnet_names_are_what_fill_fetches(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, four: Torrent
) -> None:
    """Three of four; the other one is fetched when somebody reads it."""
    fs = magnetfs("--fill", "torrent")
    fs.add(four.magnet(seeder.seed(four)) + "&so=0,2-3")
    fs.files(four.info_hash)

    def have() -> int:
        return int(fs.torrent(four.info_hash)["haveBytes"])

    waiting.until("three files are there", lambda: have() >= 3 * 128 * KIB)
    assert waiting.settled("what is there", have) == 3 * 128 * KIB
    assert_same(fs.directory(four) / "b", four, "b")
    assert have() == four.length


def test_without_fill_naming_files_changes_nothing(
    fs: Magnetfs, seeder: Seeder, four: Torrent
) -> None:
    fs.add(four.magnet(seeder.seed(four)) + "&so=1")
    assert len(fs.files(four.info_hash)) == 4
    for name in "dcba":
        assert_same(fs.directory(four) / name, four, name)
