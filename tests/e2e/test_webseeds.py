"""Web seeds (BEP 19): HTTP servers that give a torrent's files, alone and with peers beside."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import quote

import pytest

from harness import waiting
from harness.kinds import BLOCK, V2, KindMaker
from harness.mount import SWARM_OPTIONS, Magnetfs, errno_name, errno_of
from harness.ports import free_port
from harness.reading import Parked, assert_same, read_exactly
from harness.rogue import Rogues
from harness.seeder import Seeder
from harness.torrents import (
    KIB,
    MIB,
    Pattern,
    Torrent,
    TorrentFile,
    TorrentMaker,
    bencode,
)
from harness.web_seed import WebSeed

PIECE = 256 * KIB
QUICK_S = 1.0  # a first byte over loopback: nobody may wait for a tick of a second
SOON_S = 8.0  # a web seed that failed once is asked again after five seconds
REST_S = 20  # after so long web seeds are left alone
MOST = 30  # connections to the web seeds of one torrent


@pytest.fixture
def web_seeds(run_folder: Path) -> Iterator[Callable[[], WebSeed]]:
    """Starts web servers."""
    started: list[WebSeed] = []

    def begin() -> WebSeed:
        started.append(WebSeed())
        return started[-1]

    yield begin
    for instance in started:
        instance.close()


@pytest.fixture
def web_seed(web_seeds: Callable[[], WebSeed]) -> WebSeed:
    return web_seeds()


@pytest.fixture(scope="module")
def fs(run_folder: Path) -> Iterator[Magnetfs]:
    """One for all tests that need no options of their own: each has its own torrent."""
    instance = Magnetfs(run_folder / "shared", ["--read-timeout", "20"], http=False).start()
    yield instance
    instance.close()


@pytest.fixture(scope="module", autouse=True)
def resting(
    run_folder: Path, torrents: TorrentMaker
) -> Iterator[tuple[Magnetfs, WebSeed, Torrent]]:
    """A torrent with a web seed of which a little was read; nobody reads while other tests run."""
    torrent = torrents.single("resting.bin", 2 * MIB, seed=500, piece_length=PIECE)
    seed = WebSeed()
    fs = Magnetfs(run_folder / "resting", http=False).start()
    try:
        fd = os.open(added(fs, torrent, seed.serve(torrent)) / torrent.name, os.O_RDONLY)
        timed(fd, torrent, 0, 4 * KIB)
        os.close(fd)
        yield fs, seed, torrent
    finally:
        fs.close()
        seed.close()


def with_url_list(torrent: Torrent, *urls: str) -> bytes:
    """Its .torrent with web seeds (BEP 19)."""
    info = torrent.metainfo[len(b"d4:info") : -1]
    return b"d4:info" + info + bencode("url-list") + bencode(list(urls)) + b"e"


def added(fs: Magnetfs, torrent: Torrent, *urls: str) -> Path:
    """Adds its .torrent with these web seeds; its directory."""
    answers = fs.add(with_url_list(torrent, *urls))
    assert [a["infoHash"] for a in answers] == [torrent.info_hash]
    return fs.mountpoint / answers[0]["name"]


def padded(folder: Path, name: str, lengths: dict[str, int], seed: int) -> Torrent:
    """A torrent in which every file begins with a piece, for the padding before it (BEP 47)."""
    piece_length = 64 * KIB
    pattern = Pattern(seed)
    content = b""
    files, info_files = [], []
    for path, length in lengths.items():
        if pad := -len(content) % piece_length:
            info_files.append({"length": pad, "path": [".pad", str(pad)], "attr": "p"})
            content += bytes(pad)
        files.append(TorrentFile(path, length, len(content)))
        info_files.append({"length": length, "path": [path]})
        content += pattern.read(len(content), length)
    pieces = [
        hashlib.sha1(content[start : start + piece_length]).digest()
        for start in range(0, len(content), piece_length)
    ]
    info = {
        "name": name,
        "piece length": piece_length,
        "pieces": b"".join(pieces),
        "files": info_files,
    }
    blob = folder / "padded.blob"
    blob.write_bytes(content)
    info_hash = hashlib.sha1(bencode(info)).hexdigest()
    return Torrent(name, name, files, piece_length, bencode({"info": info}), info_hash, blob)


def magnet(torrent: Torrent, *peers: object, seeds: tuple[str, ...]) -> str:
    return torrent.magnet(*peers) + "".join("&ws=" + quote(url, safe="") for url in seeds)


def opened(path: Path, request: pytest.FixtureRequest) -> int:
    fd = os.open(path, os.O_RDONLY)
    request.addfinalizer(lambda: os.close(fd))
    return fd


def timed(fd: int, torrent: Torrent, offset: int, length: int) -> float:
    """Seconds until the right bytes of the single file are there."""
    began = time.monotonic()
    data = read_exactly(fd, offset, length)
    took = time.monotonic() - began
    assert data == torrent.read(torrent.name, offset, length), f"wrong bytes at {offset}"
    return took


class Usage:
    """What a process takes more than it did at first."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._at_first = (self._resident(), self._processor_s())

    def _resident(self) -> int:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
        raise AssertionError("it has no memory")

    def _processor_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Bytes, at the worst."""
        return self._resident() - self._at_first[0]

    def processor_s(self) -> float:
        return self._processor_s() - self._at_first[1]


def problem(fs: Magnetfs, torrent: Torrent, *words: str) -> str:
    """Waits until the torrent's status complains with all these words."""

    def look() -> str:
        text = fs.torrent(torrent.info_hash).get("problem") or ""
        return text if all(word in text for word in words) else ""

    return waiting.until(f"a problem with {words}", look)


# -- what web seeds are asked for ------------------------------------------------------------------


def test_a_single_file_from_a_web_seed_alone(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """The URL is the file's. No tracker, no peer; and nothing is asked for that nobody reads."""
    torrent = torrents.single("one file #1.bin", 6 * MIB + 77, seed=501, piece_length=PIECE)
    directory = added(fs, torrent, web_seed.serve(torrent))
    fd = opened(directory / torrent.name, request)
    assert timed(fd, torrent, 3 * MIB, 64 * KIB) <= QUICK_S, "the first byte"
    waiting.until("a peer in status", lambda: fs.torrent(torrent.info_hash)["peers"] == 1)
    assert fs.torrent(torrent.info_hash)["seeds"] == 1
    (asked,) = web_seed.asked()
    assert asked.target == "/files/one%20file%20%231.bin"
    assert (asked.first, asked.last, asked.status) == (3 * MIB, 3 * MIB + PIECE - 1, 206)
    assert_same(directory / torrent.name, torrent, torrent.name)
    assert web_seed.sent() == torrent.length, "no byte comes twice"
    assert web_seed.connections() == 1


def test_the_url_of_a_folder_for_a_single_file(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker
) -> None:
    """BEP 19: a URL that ends in a slash is completed by the name."""
    torrent = torrents.single("in a folder.bin", 300 * KIB, seed=502)
    web_seed.serve(torrent, "/deep/er/")
    directory = added(fs, torrent, web_seed.url("/deep/er/"))
    assert_same(directory / torrent.name, torrent, torrent.name)
    assert {asked.target for asked in web_seed.asked()} == {"/deep/er/in%20a%20folder.bin"}


NAMES = [
    "number #1.txt",
    "what?.txt",
    "100% sure%20.txt",
    "plus+and&amp;=;,@:$!'()*[]~`.txt",
    "  spaces  ",
    'quote".txt',
    "\u65e5\u672c\u8a9e.srt",
    "emoji \U0001f3ac.mkv",
    "50%/what?/\U0001f4c1/deep.bin",
]


def test_files_of_any_name_and_pieces_that_span_them(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker
) -> None:
    """And what lies behind the files that are read is not asked for."""
    files = [(name, 50_000 + 1_001 * number) for number, name in enumerate(NAMES)]
    files += [("empty", 0), ("large.bin", 3 * MIB)]
    torrent = torrents.multi("an album #\u00e9", files, seed=503, piece_length=64 * KIB)
    directory = added(fs, torrent, web_seed.serve(torrent))
    for name, length in files[:-1]:
        if length:
            assert_same(directory / name, torrent, name)
    asked = web_seed.asked()
    assert {a.path.removeprefix("/files/" + torrent.name + "/") for a in asked} >= set(NAMES)
    assert {a.status for a in asked} == {206}
    assert web_seed.sent() <= sum(length for _, length in files[:-1]) + 64 * KIB
    assert_same(directory / "large.bin", torrent, "large.bin")
    assert web_seed.sent() == torrent.length


def test_names_that_the_mount_shows_otherwise(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker
) -> None:
    """They are asked for as the torrent has them: long ones, and with characters that are replaced."""
    names = {"l" * 246 + ".bin": "", "turn\u202eed.bin": "turn_ed.bin", "tab\there.bin": "tab_here.bin"}
    torrent = torrents.multi("otherwise", [(name, 100_000) for name in names], seed=513)
    directory = added(fs, torrent, web_seed.serve(torrent))
    for name, shown in names.items():
        assert_same(directory / (shown or name), torrent, name)
    assert {asked.path for asked in web_seed.asked()} == {
        f"/files/otherwise/{name}" for name in names
    }
    assert {asked.status for asked in web_seed.asked()} == {206}


def test_padding_is_not_asked_for(fs: Magnetfs, web_seed: WebSeed, folder: Path) -> None:
    torrent = padded(folder, "padded", {"a.bin": 100_000, "b.bin": 70_001}, seed=504)
    directory = added(fs, torrent, web_seed.serve(torrent))
    for name in ("a.bin", "b.bin"):
        assert_same(directory / name, torrent, name)
    assert {a.path for a in web_seed.asked()} == {"/files/padded/a.bin", "/files/padded/b.bin"}
    assert web_seed.sent() == 170_001


def test_a_folder_of_one_file(fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker) -> None:
    """Not the same as a single file (libtorrent 2.0.8 asks for the folder itself)."""
    torrent = torrents.multi("just one", [("sub dir/the #file?.bin", MIB)], seed=505)
    directory = added(fs, torrent, web_seed.serve(torrent))
    assert_same(directory / "sub dir/the #file?.bin", torrent, "sub dir/the #file?.bin")
    assert web_seed.sent() == torrent.length


def test_a_hybrid(fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker) -> None:
    torrent = torrents.hybrid("both kinds.bin", 2 * MIB + 5, seed=506)
    url = web_seed.serve(torrent)
    metainfo = torrent.metainfo
    assert metainfo.endswith(b"e") and b"8:url-list" not in metainfo
    fs.add(metainfo[:-1] + bencode("url-list") + bencode(url) + b"e")
    path = fs.directory(torrent) / torrent.name
    assert_same(path, torrent, torrent.name)
    assert web_seed.sent() == torrent.length


def test_a_magnet_with_metadata_from_a_peer(
    fs: Magnetfs, web_seed: WebSeed, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """The peer gives the metadata and goes; the web seed of the magnet gives the rest."""
    torrent = torrents.single("ws magnet.bin", 2 * MIB, seed=507)
    url = web_seed.serve(torrent)
    seeder.seed(torrent)
    fs.add(magnet(torrent, seeder, seeds=(url,)))
    fs.files(torrent.info_hash)
    seeder.kill()
    assert_same(fs.directory(torrent) / torrent.name, torrent, torrent.name)
    assert web_seed.sent() >= torrent.length - PIECE


def test_a_web_seed_that_is_added_later(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """The read that waits for it ends by itself."""
    torrent = torrents.single("later.bin", MIB, seed=508)
    fs.add(torrent.metainfo)
    with Parked(fs.directory(torrent) / torrent.name) as reader:
        fs.wait_parked(1)
        fs.add(magnet(torrent, seeds=(web_seed.serve(torrent),)))
        assert reader.line(SOON_S).startswith("read ")


def test_a_seek_is_quick_and_little_comes_in_vain(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """What was asked of a web seed can't be cancelled: of a player's window of some MiB a
    seek would wait for seconds."""
    torrent = torrents.single("film.bin", 48 * MIB, seed=509, piece_length=PIECE)
    length = 2 * MIB + PIECE  # a handle plays after 2 MiB
    web_seed.misbehave(rate=3 * MIB)
    fd = opened(added(fs, torrent, web_seed.serve(torrent)) / torrent.name, request)
    took = []
    read = 0
    for offset in (0, 30 * MIB, 12 * MIB):
        took.append(timed(fd, torrent, offset, 64 * KIB))
        timed(fd, torrent, offset, length)
        read += length
    assert max(took) <= 2.0, f"seeks took {took}"
    sent = web_seed.sent()
    assert sent <= read + 3 * MIB, f"{(sent - read) / MIB:.1f} MiB came in vain"


def test_who_closes_a_file_ends_what_it_was_asked_for(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker
) -> None:
    torrent = torrents.single("closed.bin", 32 * MIB, seed=510, piece_length=PIECE)
    web_seed.misbehave(rate=3 * MIB)
    fd = os.open(added(fs, torrent, web_seed.serve(torrent)) / torrent.name, os.O_RDONLY)
    timed(fd, torrent, 0, 3 * MIB)
    os.close(fd)
    sent = waiting.settled("bytes sent", web_seed.sent, still_s=0.7)
    assert sent <= 5 * MIB, "the window of a reader that is gone was sent"


def test_the_session_s_proxy_and_limit_are_heeded(
    magnetfs: Callable[..., Magnetfs],
    web_seed: WebSeed,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
) -> None:
    """A proxy is asked for the whole URL (RFC 9112 §3.2.2), and looks the name up itself."""
    torrent = torrents.single("proxied.bin", 3 * MIB, seed=514, piece_length=PIECE)
    url = "http://far.example/files/"
    web_seed.serve(torrent, url)
    settings = {
        "proxy_type": 4,  # libtorrent's for HTTP
        "proxy_hostname": "127.0.0.1",
        "proxy_port": web_seed.port,
        "download_rate_limit": MIB,
    }
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    fs = magnetfs(*options)
    fd = opened(added(fs, torrent, url + torrent.name) / torrent.name, request)
    took = timed(fd, torrent, 0, torrent.length)
    assert {asked.target for asked in web_seed.asked()} == {url + torrent.name}
    assert took >= 1.5, f"3 MiB in {took:.1f} s"


# -- beside peers ----------------------------------------------------------------------------------


def test_peers_and_a_web_seed_deliver_together(
    fs: Magnetfs,
    web_seed: WebSeed,
    seeder: Seeder,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
) -> None:
    """Then the peer freezes, and the web seed goes on alone."""
    torrent = torrents.single("together.bin", 8 * MIB, seed=511, piece_length=PIECE)
    web_seed.misbehave(rate=3 * MIB)
    url = web_seed.serve(torrent)
    seeder.seed(torrent, upload_limit=3 * MIB)
    fs.add(magnet(torrent, seeder, seeds=(url,)))
    fs.files(torrent.info_hash)
    fd = opened(fs.directory(torrent) / torrent.name, request)
    worst = 0.0
    for offset in range(0, torrent.length, 512 * KIB):
        if offset == 4 * MIB:
            assert min(seeder.sent(torrent), web_seed.sent()) > 0, "both must take part"
            seeder.freeze()
        worst = max(worst, timed(fd, torrent, offset, 512 * KIB))
    assert worst <= SOON_S, f"a read took {worst:.1f} s"


@pytest.mark.parametrize("how", ["frozen", "silent", "gone"])
def test_a_web_seed_that_is_of_no_use_holds_up_nobody(
    fs: Magnetfs,
    web_seed: WebSeed,
    seeder: Seeder,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
    how: str,
) -> None:
    torrent = torrents.single(f"{how}.bin", 32 * MIB, seed=512, piece_length=PIECE)
    url = web_seed.serve(torrent)
    web_seed.misbehave(rate=3 * MIB, silent=how == "silent")
    seeder.seed(torrent, upload_limit=6 * MIB)
    fs.add(magnet(torrent, seeder, seeds=(url,)))
    fs.files(torrent.info_hash)
    fd = opened(fs.directory(torrent) / torrent.name, request)
    worst = 0.0
    words = {"frozen": "timed out", "gone": "refused"}.get(how, "")
    for offset in range(0, torrent.length, 512 * KIB):
        if offset >= 6 * MIB:  # until it was noticed
            text = fs.torrent(torrent.info_hash).get("problem") or ""
            if how == "silent" or words in text:
                break
        if offset == 3 * MIB:
            assert web_seed.asked(), "the web seed must take part"
            if how == "frozen":
                web_seed.freeze()
            elif how == "gone":
                web_seed.kill()
        worst = max(worst, timed(fd, torrent, offset, 512 * KIB))
    assert worst <= 4.0, f"a read took {worst:.1f} s"
    if how != "silent":
        problem(fs, torrent, "web seed", words)


# -- web seeds that fail ---------------------------------------------------------------------------


@pytest.fixture
def hasty(magnetfs: Callable[..., Magnetfs]) -> Magnetfs:
    return magnetfs("--read-timeout", "1")


def fails(fd: int, offset: int) -> None:
    assert errno_name(errno_of(os.pread, fd, 4 * KIB, offset)) == "EIO"


def test_wrong_bytes_are_never_read(
    hasty: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    """And who sent them is asked for nothing more."""
    torrent = torrents.single("wrong.bin", 4 * MIB, seed=521, piece_length=PIECE)
    fd = opened(added(hasty, torrent, web_seed.serve(torrent)) / torrent.name, request)
    timed(fd, torrent, 0, 4 * KIB)
    web_seed.misbehave(wrong=True)
    fails(fd, 2 * MIB)
    assert web_seed.sent() >= 2 * PIECE, "nothing wrong was sent: this has shown nothing"
    problem(hasty, torrent, "web seed", "wrong bytes")
    web_seed.misbehave()
    asked = len(web_seed.asked())
    fails(fd, 3 * MIB)
    assert len(web_seed.asked()) == asked
    assert hasty.torrent(torrent.info_hash)["haveBytes"] == PIECE


@pytest.mark.parametrize(
    "fault, words", [({"wrong": True}, "wrong bytes"), ({"status": 404}, "404")]
)
def test_a_mirror_without_one_of_the_files(
    hasty: Magnetfs,
    web_seed: WebSeed,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
    fault: dict[str, Any],
    words: str,
) -> None:
    """Or with another edition of it: the others are still had from there."""
    files = [("old.bin", 2 * MIB), ("right.bin", MIB)]
    torrent = torrents.multi("mirror", files, seed=522, piece_length=PIECE)
    directory = added(hasty, torrent, web_seed.serve(torrent))
    web_seed.misbehave(**fault)
    fd = opened(directory / "old.bin", request)
    fails(fd, 0)
    problem(hasty, torrent, "web seed", words)
    web_seed.misbehave(rate=MIB)

    def again() -> bool:
        try:
            assert_same(directory / "right.bin", torrent, "right.bin")
        except OSError as late:  # for a while reads fail at once, until something comes
            assert errno_name(late.errno or 0) == "EIO"
            return False
        return True

    waiting.until("the other file", again, 20)
    asked = web_seed.asked()
    assert len(asked) <= 8, f"requests were taken back again and again: {asked}"


@pytest.mark.parametrize(
    "fault",
    [{"wrong": True}, {"status": 404}, {"whole": True}],
    ids=["wrong bytes", "404", "no ranges"],
)
def test_one_of_two_is_of_no_use(
    fs: Magnetfs,
    web_seeds: Callable[[], WebSeed],
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
    fault: dict[str, Any],
) -> None:
    """It is asked for nothing more when it has shown that; all comes from the other one. Of pieces
    to which both gave something nobody knows who was wrong, so that may be after a while."""
    name = f"without {next(iter(fault))}.bin"
    torrent = torrents.single(name, 32 * MIB, seed=523, piece_length=PIECE)
    good, bad = web_seeds(), web_seeds()
    good.misbehave(rate=8 * MIB)
    bad.misbehave(**fault)
    directory = added(fs, torrent, bad.serve(torrent), good.serve(torrent))
    fd = opened(directory / torrent.name, request)
    asked = None
    for offset in range(0, torrent.length, MIB):
        timed(fd, torrent, offset, MIB)
        if asked is None and str(bad.port) in (fs.torrent(torrent.info_hash).get("problem") or ""):
            good.misbehave()
            asked = bad.asked()
    assert asked, "it has shown nothing, nor has this"
    assert len(bad.asked()) == len(asked), "it is asked again"


def test_what_was_cut_is_asked_for_again(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker
) -> None:
    """In the middle of a block; nothing that came is asked for twice."""
    torrent = torrents.single("cut.bin", 2 * MIB, seed=524, piece_length=PIECE)
    directory = added(fs, torrent, web_seed.serve(torrent))
    web_seed.misbehave(cut=100_000, times=2)
    assert_same(directory / torrent.name, torrent, torrent.name)
    assert web_seed.connections() == 3
    assert web_seed.sent() <= torrent.length + 2 * 32 * KIB


def test_redirects(
    fs: Magnetfs, web_seeds: Callable[[], WebSeed], torrents: TorrentMaker
) -> None:
    """To another server, of one file and of each of many; and to another path of the same one."""
    single = torrents.single("redirected.bin", MIB, seed=525, piece_length=PIECE)
    same = torrents.single("moved.bin", MIB, seed=526, piece_length=PIECE)
    many = torrents.multi("redirected", [("a.bin", MIB), ("b.bin", MIB)], 527, PIECE)
    first, second, there = web_seeds(), web_seeds(), web_seeds()
    first.misbehave(status=301, location=there.url("{target}"))
    second.serve(same, "/new/")
    second.misbehave(status=302, location=f"/new/{same.name}", times=1)
    for torrent in (single, many):
        there.serve(torrent)
    cases = [
        (single, first.serve(single)),
        (many, first.serve(many)),
        (same, second.url("/old/moved.bin")),
    ]

    def read(torrent: Torrent, url: str) -> None:
        directory = added(fs, torrent, url)
        for file in torrent.files:
            assert_same(directory / file.path, torrent, file.path)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for reading in [pool.submit(read, *case) for case in cases]:
            reading.result()
    assert (first.sent(), there.sent()) == (0, single.length + many.length)
    assert second.sent() == same.length


def test_a_read_goes_on_by_itself_when_the_web_seed_is_back(
    fs: Magnetfs, web_seeds: Callable[[], WebSeed], torrents: TorrentMaker
) -> None:
    """Overloaded, broken, gone, frozen, or redirected to a server that is gone."""
    faults = ("503", "500", "gone", "frozen", "redirect", "many files")
    readers = {}
    for number, fault in enumerate(faults):
        name = f"back {fault}.bin"
        seed = web_seeds()
        if fault == "many files":
            torrent = torrents.multi(name, [("a", MIB), ("b", MIB)], 530, PIECE)
        else:
            torrent = torrents.single(name, 2 * MIB, seed=531 + number, piece_length=PIECE)
        directory = added(fs, torrent, seed.serve(torrent))
        path = directory / ("a" if fault == "many files" else torrent.name)
        with open(path, "rb", buffering=0) as file:  # there is a connection from here on
            file.seek(-4 * KIB, os.SEEK_END)
            assert len(file.read()) == 4 * KIB
        assert seed.open() == 1
        if fault in ("503", "many files"):
            seed.misbehave(status=503, retry_after=1)
        elif fault == "500":
            seed.misbehave(status=500)
        elif fault == "gone":
            seed.kill()
        elif fault == "frozen":
            seed.freeze()
        else:
            nobody = f"http://127.0.0.1:{free_port()}"
            seed.misbehave(status=302, location=nobody + "{target}")
        readers[fault] = (seed, torrent, Parked(path))
    try:
        fs.wait_parked(len(faults))
        for fault in ("503", "500", "redirect", "many files"):
            seed = readers[fault][0]
            waiting.until(f"{fault}: asked", lambda seed=seed: len(seed.asked()) > 1)
        for fault, words in {"503": ("503",), "500": ("500",), "redirect": ("refused",)}.items():
            problem(fs, readers[fault][1], "web seed", *words)
        for fault, (seed, _, _) in readers.items():
            if fault == "gone":
                seed.come_back()
            elif fault == "frozen":
                seed.thaw()
            else:
                seed.misbehave()
        back = time.monotonic()
        for fault, (_, _, reader) in readers.items():
            said = reader.line(SOON_S).split()
            took = time.monotonic() - back
            assert said[:2] == ["read", str(64 * KIB)], f"{fault}: {said} after {took:.1f} s"
    finally:
        for _, _, reader in readers.values():
            reader.kill()


# -- hostile web seeds ------------------------------------------------------------------------------

DROPPED = {
    "endless_head": "has no end",
    "endless_interim": "has no end",
    "endless_chunks": "more than it is asked for",
    "endless_without_length": "more than it is asked for",
    "gzipped": "encoding",
    "gzipped_transfer": "encoding",
    "wrong_range": "range that it is asked for",
    "no_range": "range that it is asked for",
    "longer": "range that it is asked for",
    "shorter": "range that it is asked for",
    "redirect_to_a_file": "no web address",
}
TRIED_AGAIN = {
    "endless_line": "",
    "negative_chunk": "",
    "nothing": "ended the connection early",
    "hangs_up": "ended the connection early",
    "no_http": "",
    "other_size": "a file of",
    "redirect_loop": "redirects again and again",
}
ONLY_SLOW = ("drip",)
GIVES_ALL_THE_SAME = ("endless_body", "endless_chunks", "endless_trailers", "endless_without_length")
HOSTILE = sorted({*DROPPED, *TRIED_AGAIN, *ONLY_SLOW, *GIVES_ALL_THE_SAME})
TRIES = 4  # in a minute
REDIRECTS = 5


@pytest.fixture(scope="module")
def hasty_one(run_folder: Path) -> Iterator[Magnetfs]:
    instance = Magnetfs(run_folder / "hasty", ["--read-timeout", "1"], http=False).start()
    yield instance
    instance.close()


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_web_seed(
    hasty_one: Magnetfs,
    web_seed: WebSeed,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
    how: str,
) -> None:
    """Its bytes are taken if they are right; it does no harm, and is told by name in the status."""
    torrent = torrents.single(f"{how}.bin", MIB, seed=560, piece_length=PIECE)
    web_seed.misbehave(hostile=how)
    fd = opened(added(hasty_one, torrent, web_seed.serve(torrent)) / torrent.name, request)
    if how in GIVES_ALL_THE_SAME:
        timed(fd, torrent, 0, 4 * KIB)
    else:
        fails(fd, 0)
    if how in DROPPED or how in TRIED_AGAIN:
        words = DROPPED.get(how, TRIED_AGAIN.get(how, ""))
        problem(hasty_one, torrent, "web seed", str(web_seed.port), words)
    asked = len(web_seed.asked())
    most = 1 if how in DROPPED else TRIES
    assert asked <= most * (1 + REDIRECTS if how == "redirect_loop" else 1)


def test_hostile_web_seeds_harm_nobody(
    magnetfs: Callable[..., Magnetfs],
    web_seeds: Callable[[], WebSeed],
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
) -> None:
    """All of them at once, ten of each, and readers that wait for them: another torrent is read at
    its own rate, little memory is taken, nobody is asked all the time; and SIGTERM ends it."""
    fs = magnetfs()
    good = web_seeds()
    rate = 4 * MIB
    good.misbehave(rate=rate)
    healthy = torrents.single("healthy.bin", 16 * MIB, seed=570, piece_length=PIECE)
    fd = os.open(added(fs, healthy, good.serve(healthy)) / healthy.name, os.O_RDONLY)
    timed(fd, healthy, 0, 64 * KIB)
    usage = Usage(fs.pid)
    readers, hostile = [], {}
    try:
        for number, how in enumerate(HOSTILE):
            torrent = torrents.single(f"all {how}.bin", MIB, seed=571 + number, piece_length=PIECE)
            hostile[how] = web_seeds()
            hostile[how].misbehave(hostile=how)
            urls = [hostile[how].serve(torrent, f"/{n}/") for n in range(10)]
            path = added(fs, torrent, *urls) / torrent.name
            readers.append(Parked(path))
        began = time.monotonic()
        worst = 0.0
        for offset in range(0, healthy.length, 512 * KIB):
            worst = max(worst, timed(fd, healthy, offset, 512 * KIB))
        took = time.monotonic() - began
        assert took <= 1.5 * healthy.length / rate, f"the healthy torrent took {took:.1f} s"
        assert worst <= 1.0, f"one of its reads took {worst:.1f} s"
        assert usage.resident() <= 64 * MIB, "memory"
        assert usage.processor_s() <= 0.5 * (time.monotonic() - began), "processor time"
        for how, seed in hostile.items():
            tries = seed.asked()
            most = 10 * TRIES * (1 + REDIRECTS if how == "redirect_loop" else 1)
            assert 1 <= len(tries) <= most, f"{how}: asked {len(tries)} times"
            assert seed.most_open() <= MOST
        fs.stop()
    finally:
        with contextlib.suppress(OSError):  # what it is of is gone
            os.close(fd)
        for reader in readers:
            reader.kill()


def test_retry_after_is_heeded(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker
) -> None:
    """RFC 9110 §10.2.3. The read that waits goes on by itself then."""
    torrent = torrents.single("retry.bin", MIB, seed=561, piece_length=PIECE)
    web_seed.misbehave(status=503, retry_after=4, times=1)
    with Parked(added(fs, torrent, web_seed.serve(torrent)) / torrent.name) as reader:
        assert reader.line(SOON_S).startswith("read ")
    first, second = web_seed.asked()[:2]
    assert 4.0 <= second.at - first.at <= 5.0


def test_an_honest_web_seed_is_not_blamed_for_what_peers_gave(
    fs: Magnetfs, web_seed: WebSeed, rogues: Rogues, folder: Path, request: pytest.FixtureRequest
) -> None:
    """Of v2 alone no piece is hashed before libtorrent has it, with blocks that others gave."""
    torrent = KindMaker(folder / "kinds").single(V2, "honest.bin", 8 * MIB)
    wrong = torrent.piece_length // BLOCK - 1  # and no whole piece: that would show who lied
    rogue = rogues(torrent, "127.0.0.66", garbage=1.0, gives=wrong)
    fs.add(torrent.metainfo)
    fs.add(torrent.magnet(rogue))
    path = fs.directory(torrent) / torrent.name
    fd = opened(path, request)
    with Parked(path):
        waiting.until("wrong blocks", lambda: rogue.done()["garbage"] == wrong, SOON_S)
        fs.add(with_url_list(torrent, web_seed.serve(torrent)))
        assert read_exactly(fd, 0, torrent.length) == torrent.read(torrent.name)
    assert f"{torrent.info_hash}: piece" in fs.stderr(), "none was wrong: this has shown nothing"


# -- bounds ----------------------------------------------------------------------------------------


def test_thirty_connections_at_most(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker, request: pytest.FixtureRequest
) -> None:
    torrent = torrents.single("many.bin", 40 * MIB, seed=541, piece_length=64 * KIB)
    urls = []
    for number in range(40):
        urls.append(web_seed.serve(torrent, f"/{number}/"))
    web_seed.misbehave(rate=MIB)
    fd = opened(added(fs, torrent, *urls) / torrent.name, request)
    timed(fd, torrent, 0, 4 * MIB)
    waiting.settled("connections", web_seed.open, still_s=1.2)
    assert web_seed.most_open() == MOST
    assert len({asked.path for asked in web_seed.asked()}) > 1, "one alone was asked"


def test_no_web_seed_on_this_host(
    magnetfs: Callable[..., Magnetfs],
    web_seed: WebSeed,
    torrents: TorrentMaker,
    request: pytest.FixtureRequest,
) -> None:
    """As with x.pe: neither a magnet nor a .torrent makes this machine ask itself for something,
    however the address is written. 127.1 is looked up as a name is."""
    strict = [word for word in SWARM_OPTIONS if word != "--allow-loopback-peers"]
    fs = magnetfs("--read-timeout", "1", swarm=strict)
    torrent = torrents.single("here.bin", MIB, seed=542)
    web_seed.serve(torrent)
    hosts = ("127.0.0.1", "127.9.9.9", "localhost", "a.LOCALHOST.", "[::1]", "[::ffff:127.0.0.1]")
    urls = [f"http://{host}:{web_seed.port}/files/here.bin" for host in (*hosts, "0.0.0.0")]
    directory = added(fs, torrent, *urls)
    fs.add(magnet(torrent, seeds=tuple(urls)))
    fd = opened(directory / torrent.name, request)
    fails(fd, 0)
    assert web_seed.connections() == 0
    fs.add(magnet(torrent, seeds=(f"http://127.1:{web_seed.port}/files/here.bin",)))
    fails(fd, 0)
    problem(fs, torrent, "web seed", "on this host")
    assert web_seed.asked() == []


def test_no_questions_on_the_local_network(
    fs: Magnetfs, web_seed: WebSeed, torrents: TorrentMaker
) -> None:
    """A magnet makes no machine nearby do something: no web seed there has a ? in its URL, nor
    does a redirect lead to one."""
    torrent = torrents.single("asking.bin", MIB, seed=543)
    url = web_seed.serve(torrent)
    moved = torrents.single("moved to asking.bin", MIB, seed=544)
    with Parked(added(fs, torrent, url + "?reboot=1") / torrent.name):
        problem(fs, torrent, "web seed", "question mark")
        assert web_seed.asked() == []
    url = web_seed.serve(moved)
    web_seed.misbehave(status=302, location="{target}?reboot=1")
    with Parked(added(fs, moved, url) / moved.name):
        problem(fs, moved, "web seed", "question mark")
    assert all("?" not in asked.target for asked in web_seed.asked())


def test_web_seeds_rest_when_nobody_reads(resting: tuple[Magnetfs, WebSeed, Torrent]) -> None:
    """Servers hang up on connections without requests. Nobody calls them again for nothing; the
    next read does."""
    fs, seed, torrent = resting
    waiting.until("the connection is closed", lambda: seed.open() == 0, REST_S + 5)
    waiting.settled("connections", seed.connections, still_s=1.5)
    assert (seed.connections(), len(seed.asked())) == (1, 1)
    fd = os.open(fs.directory(torrent) / torrent.name, os.O_RDONLY)
    try:
        assert timed(fd, torrent, MIB, 4 * KIB) <= 2.0
    finally:
        os.close(fd)
    assert (seed.connections(), len(seed.asked())) == (2, 2)
