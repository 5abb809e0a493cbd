"""Every way to write a magnet (BEP 9, BEP 52, BEP 53), shown by what comes of it."""

from __future__ import annotations

import base64
import os
import socket
from pathlib import Path
from typing import Callable
from urllib.parse import quote

import pytest

from harness import waiting
from harness.kinds import HYBRID, V1, V2, Entry, KindMaker
from harness.mount import Magnetfs
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
    """Four files of two pieces each, so that no padding is counted among what is there."""
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
