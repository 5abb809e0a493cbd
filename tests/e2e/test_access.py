"""Who may ask the sidecar: pages of other origins (CORS), the token, proxies that speak TLS, and
programs that send no Host."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from pathlib import Path
from typing import Callable, Iterator
from urllib.parse import quote

import pytest

from harness import waiting
from harness.mount import BIN, MAGNETFS, Magnetfs, StartFailed
from harness.ports import free_port
from harness.seeder import Seeder
from harness.torrents import KIB, Torrent, TorrentMaker
from harness.web import Web, stream_target

LENGTH = 300_001
APP = "https://app.example"
EVIL = "https://evil.example"
TOKEN = "a-token.of_22~letters"
GRANT = "Access-Control-Allow-Origin"


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mp4", LENGTH, seed=161, piece_length=64 * KIB)


@pytest.fixture
def token_file(folder: Path) -> Path:
    path = folder / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


Begin = Callable[..., Magnetfs]

# -- CORS (Fetch standard) -------------------------------------------------------------------------


def answers(film: Torrent) -> list[tuple[str, str, dict[str, str], int]]:
    stream = stream_target(film, "film.mp4")
    return [
        ("GET", stream, {}, 200),
        ("HEAD", stream, {}, 200),
        ("GET", stream, {"Range": "bytes=0-9"}, 206),
        ("GET", stream, {"Range": "bytes=999999999-"}, 416),
        ("GET", "/stream/" + "1" * 40 + "/x", {}, 404),
        ("GET", "/torrents", {}, 200),
        ("GET", "/nothing", {}, 404),
        ("PUT", "/torrents", {}, 405),
        ("GET", "/torrents", {"Host": "evil.example"}, 421),
    ]


def test_each_answer_says_to_a_listed_page_that_it_may_read_it(
    magnetfs: Begin, seeder: Seeder, film: Torrent
) -> None:
    fs = magnetfs("--cors", APP, "--cors", "http://localhost:5173", "--read-timeout", "20")
    assert fs.web
    fs.add_torrent(film, seeder.seed(film))
    for method, target, headers, status in answers(film):
        for origin, granted in ((APP, APP), (EVIL, None), (None, None), (f"{APP}:444", None)):
            more = {"Origin": origin} if origin else {}
            answer = fs.web.request(method, target, {**headers, **more})
            case = (method, target, origin)
            assert (answer.status, answer.headers[GRANT]) == (status, granted), case
            assert "Origin" in answer.headers["Vary"], case
            assert answer.headers["Access-Control-Allow-Credentials"] is None
            exposed = answer.headers["Access-Control-Expose-Headers"]
            assert (exposed is not None) == (granted is not None), case
            for name in ("Content-Range", "Accept-Ranges", "ETag") if exposed else ():
                assert name in exposed


PREFLIGHT = "Access-Control-Request-Method"


def test_preflights_of_listed_pages_alone_are_granted(magnetfs: Begin, film: Torrent) -> None:
    fs = magnetfs("--cors", APP)
    assert fs.web
    stream = stream_target(film, "film.mp4")
    network = {"Access-Control-Request-Private-Network": "true"}
    for target, method in (
        (stream, "GET"),
        ("/torrents", "POST"),
        (f"/torrents/{film.info_hash}", "DELETE"),
        (f"/torrents/{film.info_hash}/keep", "PUT"),
        ("/dav/film/", "PROPFIND"),
    ):
        asks = {PREFLIGHT: method, "Access-Control-Request-Headers": "range, x-requested-with"}
        answer = fs.web.request("OPTIONS", target, {"Origin": APP, **asks})
        assert (answer.status, answer.body) == (204, b""), target
        assert answer.headers[GRANT] == APP
        assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
        for name in ("Range", "If-Range", "Content-Type", "Authorization", "X-Requested-With", "Depth"):
            assert name in answer.headers["Access-Control-Allow-Headers"].split(", ")
        assert answer.headers["Access-Control-Max-Age"] == "600"
        assert answer.headers["Access-Control-Allow-Private-Network"] is None
        public = fs.web.request("OPTIONS", target, {"Origin": APP, **asks, **network})
        assert public.headers["Access-Control-Allow-Private-Network"] == "true"
        for origin in (EVIL, "null", f"{APP}.evil.example", "http://app.example"):
            refused = fs.web.request("OPTIONS", target, {"Origin": origin, **asks, **network})
            refused.problem(403)
            assert not [name for name in refused.headers if name.startswith("Access-Control")]
    # What is no preflight is an OPTIONS as before (RFC 9110 section 9.3.7).
    allow = fs.web.request("OPTIONS", "/torrents", {}).headers["Allow"]
    assert set(allow.split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


def test_cors_for_all_opens_files_and_nothing_else(
    magnetfs: Begin, seeder: Seeder, film: Torrent
) -> None:
    fs = magnetfs("--cors", "*", "--read-timeout", "20")
    assert fs.web
    fs.add_torrent(film, seeder.seed(film))
    page = {"Origin": EVIL}
    stream = stream_target(film, "film.mp4")
    part = fs.web.request("GET", stream, {**page, "Range": "bytes=0-9"})
    assert (part.status, part.headers[GRANT]) == (206, "*")
    assert part.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    lists = ("/dav/", "/dav/film/", f"/playlist/{film.info_hash}.m3u8", "/metrics", "/events")
    for target in ("/torrents", f"/torrents/{film.info_hash}", "/", "/healthz", *lists):
        answer = fs.web.request("HEAD", target, page)
        assert (answer.status, answer.headers[GRANT]) == (200, None), target
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    fs.web.request("DELETE", f"/torrents/{film.info_hash}", page).problem(403)
    fs.web.request("GET", f"/add/{film.info_hash}", page).problem(403)
    asks = fs.web.request("OPTIONS", stream, {**page, PREFLIGHT: "GET"})
    assert (asks.status, asks.headers[GRANT]) == (204, "*")
    assert "X-Requested-With" not in asks.headers["Access-Control-Allow-Headers"]
    fs.web.request("OPTIONS", "/torrents", {**page, PREFLIGHT: "POST"}).problem(403)
    fs.web.request("OPTIONS", "/dav/", {**page, PREFLIGHT: "PROPFIND"}).problem(403)
    assert fs.known(film.info_hash)


def test_without_cors_nothing_is_granted(magnetfs: Begin, film: Torrent) -> None:
    fs = magnetfs()
    assert fs.web
    fs.add(film.metainfo)
    answer = fs.web.request("GET", "/torrents", {"Origin": APP})
    assert answer.headers[GRANT] is None and answer.headers["Vary"] is None


# -- cross-site requests ---------------------------------------------------------------------------

# Each is a page of another site, by what some browser sends for it.
PAGES: list[dict[str, str]] = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": ""},
    {"Referer": f"{EVIL}/page"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://media.lan.evil.example"},
    {"Origin": "https://media.lan:8443"},
    {"Origin": "https://other.lan"},
    {"Origin": "http://127.0.0.1:1"},
    {"Referer": "https://media.lan@evil.example/"},
]


def test_no_page_of_another_site_changes_anything(magnetfs: Begin, film: Torrent) -> None:
    """Each request that changes something, by loopback and by an allowed name, also where it has
    what else shows a program."""
    fs = magnetfs("--allowed-host", "media.lan", "--allowed-host", "other.lan", "--cors", APP)
    assert fs.web
    fs.add(film.metainfo)
    magnet = quote(film.magnet(), safe="")
    changes: list[tuple[str, str, dict[str, str], str | None]] = [
        ("GET", f"/add/{magnet}", {}, None),
        ("GET", f"/add/{film.info_hash}?keep=1", {}, None),
        ("POST", "/torrents", {"Content-Type": "text/plain"}, film.info_hash),
        ("POST", "/torrents", {"Content-Type": "application/json"}, "{}"),
        ("DELETE", f"/torrents/{film.info_hash}", {}, None),
        ("PUT", f"/torrents/{film.info_hash}/keep", {}, None),
        ("DELETE", f"/torrents/{film.info_hash}/keep", {}, None),
    ]
    hosts: list[dict[str, str]] = [{}, {"Host": "media.lan"}]
    signs: list[dict[str, str]] = [{}, {"X-Requested-With": "x"}]
    before = fs.status()["torrents"][0]
    for change, page, host, sign in itertools.product(changes, PAGES, hosts, signs):
        method, target, headers, body = change
        fs.web.request(method, target, {**headers, **page, **host, **sign}, body).problem(403)
    after = fs.status()["torrents"][0]
    assert (after["infoHash"], after["kept"]) == (before["infoHash"], before["kept"])


def test_behind_a_proxy_that_speaks_tls_the_own_page_may_change_things(
    magnetfs: Begin, film: Torrent
) -> None:
    fs = magnetfs("--allowed-host", "media.example", "--allowed-host", "box.example:8443")
    assert fs.web
    fs.add(film.metainfo)
    for host, origin, status in (
        ("media.example", "https://media.example", 204),
        ("media.example", "http://media.example", 204),
        ("box.example:8443", "https://box.example:8443", 204),
        ("media.example", "https://media.example:8443", 403),
        ("box.example:8443", "https://box.example", 403),
        (f"127.0.0.1:{fs.web.port}", f"https://127.0.0.1:{fs.web.port}", 403),
    ):
        headers = {"Host": host, "Origin": origin}
        answer = fs.web.request("PUT", f"/torrents/{film.info_hash}/keep", headers)
        assert answer.status == status, (host, origin)


def raw(web: Web, head: str) -> bytes:
    with web.raw(head) as connection:
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


def test_http_1_0_needs_no_host(magnetfs: Begin, film: Torrent) -> None:
    """Health checks, as HAProxy's; what no browser sends (RFC 9112 section 3.2)."""
    fs = magnetfs()
    assert fs.web
    fs.add(film.metainfo)
    keep = f"PUT /torrents/{film.info_hash}/keep HTTP/1."
    for head, status in (
        ("GET /healthz HTTP/1.0\n\n", 200),
        ("OPTIONS / HTTP/1.0\n\n", 204),
        ("GET /torrents HTTP/1.0\n\n", 200),
        ("GET /healthz HTTP/1.1\nConnection: close\n\n", 400),
        ("GET /healthz HTTP/1.0\nHost: evil.example\n\n", 421),
        ("GET /healthz HTTP/1.0\nReferer: http://evil.example/\n\n", 400),
        ("GET /torrents HTTP/1.0\nSec-Fetch-Site: none\n\n", 400),
        (f"GET /add/{film.info_hash} HTTP/1.0\n\n", 403),
        (f"{keep}0\n\n", 403),
        (f"{keep}0\nOrigin: http://127.0.0.1:{fs.web.port}\n\n", 400),
        (f"{keep}0\nX-Requested-With: x\n\n", 204),
    ):
        answer = raw(fs.web, head)
        assert int(answer.split()[1]) == status, (head, answer)


# -- the token -------------------------------------------------------------------------------------


def with_token(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_with_a_token_nothing_is_answered_without_it(
    magnetfs: Begin, seeder: Seeder, film: Torrent, token_file: Path
) -> None:
    fs = magnetfs("--token-file", str(token_file), "--read-timeout", "20", "--cors", APP)
    assert fs.web
    fs.add_torrent(film, seeder.seed(film))
    stream = stream_target(film, "film.mp4")
    requests = [
        ("GET", "/torrents", 200),
        ("GET", f"/torrents/{film.info_hash}", 200),
        ("GET", stream, 200),
        ("HEAD", stream, 200),
        ("GET", f"/stream/{film.info_hash}", 200),
        ("GET", "/", 200),
        ("GET", f"/add/{film.info_hash}", 200),
        ("PUT", f"/torrents/{film.info_hash}/keep", 204),
        ("DELETE", f"/torrents/{film.info_hash}/keep", 204),
    ]
    wrong = ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), TOKEN.replace("a", "b"))
    for method, target, status in requests:
        for headers in ({}, *map(with_token, wrong), {"Authorization": f"Basic {TOKEN}"}):
            answer = fs.web.request(method, target, headers)
            assert answer.status == 401, (method, target, headers)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        for value in wrong:
            query = f"?token={value}"
            assert fs.web.request(method, target + query).status == 401, (target, value)
        for headers, query in (
            (with_token(TOKEN), ""),
            ({"Authorization": f"bearer  {TOKEN}"}, ""),
            ({}, f"?token={TOKEN}"),
            ({}, f"?x=1&token={TOKEN}"),
            ({}, f"?token=wrong&token={TOKEN}"),
            ({}, "?token=" + TOKEN.replace("~", "%7E").replace("a", "%61")),
            ({"Authorization": "Basic eA=="}, f"?token={TOKEN}"),
        ):
            answer = fs.web.request(method, target + query, headers)
            assert answer.status == status, (method, target + query, headers)
    fs.web.request("GET", "/torrents").problem(401)
    # A page of another site does not get further with it, and one that is listed asks without it.
    evil = {"Origin": EVIL, **with_token(TOKEN)}
    fs.web.request("DELETE", f"/torrents/{film.info_hash}", evil).problem(403)
    asks = {"Origin": APP, PREFLIGHT: "DELETE"}
    assert fs.web.request("OPTIONS", f"/torrents/{film.info_hash}", asks).status == 204
    refused = fs.web.request("GET", "/torrents", {"Origin": APP})
    assert (refused.status, refused.headers[GRANT]) == (401, APP)


def test_a_health_check_needs_no_token_and_learns_nothing_else(
    magnetfs: Begin, token_file: Path
) -> None:
    fs = magnetfs("--token-file", str(token_file))
    assert fs.web
    assert fs.web.get("/healthz").json == {"status": "ok"}
    assert "torrents" in fs.web.request("GET", "/healthz", with_token(TOKEN)).json


def test_a_raw_magnet_may_have_the_token_behind_it(
    magnetfs: Begin, seeder: Seeder, film: Torrent, token_file: Path
) -> None:
    fs = magnetfs("--token-file", str(token_file), "--read-timeout", "20")
    assert fs.web
    fs.add_torrent(film, seeder.seed(film), temporary=True)
    magnet = f"magnet:?xt=urn:btih:{film.info_hash}"
    for tail, kept in (
        (f"&token={TOKEN}", False),
        (f"&token={TOKEN}&dn=x", False),
        (f"&keep=1&token={TOKEN}", True),
    ):
        answer = fs.web.request("GET", f"/add/{magnet}{tail}")
        assert answer.status == 200 and answer.json["infoHash"] == film.info_hash, tail
        assert fs.status()["torrents"][0]["kept"] == kept, tail
    fs.web.request("GET", f"/add/{magnet}&token=wrong").problem(401)


def test_the_token_is_in_no_command_line_no_environment_and_no_log(
    magnetfs: Begin, film: Torrent, token_file: Path
) -> None:
    fs = magnetfs("--token-file", str(token_file), "--log-level", "debug", allow=[r"."])
    assert fs.web
    fs.add(film.metainfo)
    for target in ("/torrents", "/nothing", f"/add/{film.info_hash}x", "/stream/x/y", "/add/magnet:"):
        fs.web.request("GET", f"{target}?token={TOKEN}")
        fs.web.request("GET", f"{target}?xt=urn:btih:x&token={TOKEN}&tr=x")
        fs.web.request("GET", target, with_token(TOKEN))
    assert "debug" in fs.stderr()
    assert TOKEN not in fs.stderr()
    seen = 0
    for pid in fs.processes():
        for name in ("cmdline", "environ"):
            assert TOKEN.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
            seen += 1
    assert seen >= 6, "magnetfs, its helpers and the sidecar"


def test_links_lead_on_for_who_came_with_the_token_in_the_query(
    magnetfs: Begin, film: Torrent, token_file: Path
) -> None:
    fs = magnetfs("--token-file", str(token_file))
    assert fs.web
    fs.add(film.metainfo)
    for target in (f"/add/{film.info_hash}", f"/playlist/{film.info_hash}.m3u8"):
        plain = fs.web.request("GET", target, with_token(TOKEN)).body.decode()
        links = re.findall(r"/stream/[^\s\"]+", plain)
        assert links and TOKEN not in plain, plain
        text = fs.web.get(f"{target}?token={TOKEN}").body.decode()
        assert re.findall(r"/stream/[^\s\"]+", text) == [f"{link}?token={TOKEN}" for link in links]
        for link in links:
            assert fs.web.request("HEAD", link).status == 401
            assert fs.web.request("HEAD", f"{link}?token={TOKEN}").status == 200


def test_the_links_of_a_page_lead_on_with_the_token(
    magnetfs: Begin, film: Torrent, token_file: Path
) -> None:
    fs = magnetfs("--token-file", str(token_file))
    assert fs.web
    fs.add(film.metainfo)
    target = f"/dav/?token={TOKEN}"
    for _ in range(2):
        answer = fs.web.get(target)
        assert answer.status == 200, (target, answer.body)
        (target,) = set(re.findall(r'href="([^"]*film[^"]*)"', answer.body.decode()))
        assert target.endswith(f"?token={TOKEN}"), target
    assert fs.web.request("HEAD", target).status == 200


def test_token_auto_prints_one_that_works_and_a_new_one_each_time(magnetfs: Begin) -> None:
    tokens = set()
    for name in ("first", "second"):
        fs = magnetfs("--token", "auto", name=name)
        assert fs.web
        found = re.findall(rf"http://127.0.0.1:{fs.web.port}/\?token=([0-9a-f]{{32}})\n", fs.stderr())
        assert len(found) == 1
        tokens.add(found[0])
        assert fs.web.get("/torrents").status == 401
        assert fs.web.request("GET", "/torrents", with_token(found[0])).status == 200
    assert len(tokens) == 2


def test_on_all_addresses_the_printed_url_leads_to_localhost(
    magnetfs: Begin, network: list[str]
) -> None:
    port = free_port()
    fs = magnetfs(
        *("--http", f"0.0.0.0:{port}", "--token", "auto"), program=[*network, MAGNETFS], http=True
    )
    found = re.findall(rf"http://localhost:{port}/\?token=[0-9a-f]{{32}}\n", fs.stderr())
    assert len(found) == 1
    curl = [*network, "curl", "-sSf", "--noproxy", "*", found[0].strip()]
    done = subprocess.run(curl, capture_output=True, timeout=30, check=True)
    assert b"/torrents" in done.stdout


def test_a_token_outlives_the_sidecar(magnetfs: Begin, token_file: Path) -> None:
    fs = magnetfs("--token-file", str(token_file), allow=[r"httpd|sidecar"])
    assert fs.web
    before = fs.sidecar()
    assert before
    token_file.unlink()  # it was read once
    os.kill(before, 9)

    def again() -> bool:
        try:
            return fs.web is not None and fs.web.get("/torrents").status == 401
        except OSError:
            return False

    waiting.until("a new sidecar answers", again, timeout=10)
    assert fs.web.request("GET", "/torrents", with_token(TOKEN)).status == 200


def test_bad_tokens_and_open_addresses_are_refused_at_start(
    magnetfs: Begin, folder: Path, token_file: Path
) -> None:
    short, open_to_all = folder / "short", folder / "open"
    short.write_text("short\n")
    short.chmod(0o600)
    open_to_all.write_text(TOKEN)
    open_to_all.chmod(0o644)
    for options, code, why in (
        (("--http", "0.0.0.0:3999"), 2, "--token-file"),
        (("--http", "192.0.2.1:3999"), 2, "--token-file"),
        (("--token", "secret-on-a-command-line"), 2, "auto"),
        (("--token", "auto", "--token-file", str(token_file)), 2, "auto"),
        (("--token-file", str(short)), 1, "16 to 256"),
        (("--token-file", str(open_to_all)), 1, "chmod 600"),
        (("--token-file", str(folder / "none")), 1, "No such file"),
    ):
        with pytest.raises(StartFailed) as failed:
            magnetfs(*options, name="x" + str(len(os.listdir(folder))))
        assert failed.value.code == code and why in failed.value.stderr, options


def test_the_sidecar_alone_tells_what_is_wrong_with_a_token_file(folder: Path) -> None:
    short = folder / "short"
    short.write_text("too-short\n")
    short.chmod(0o600)
    open_to_all = folder / "open"
    open_to_all.write_text(TOKEN)
    open_to_all.chmod(0o644)
    for path, why in ((short, "16 to 256"), (open_to_all, "chmod 600"), (folder / "none", "No such")):
        done = subprocess.run(
            [BIN / "magnetfs-httpd", "--mount", folder, "--listen", "127.0.0.1:1"]
            + ["--token-file", path],
            capture_output=True,
            text=True,
            timeout=10,
        )
        assert done.returncode == 2 and why in done.stderr, done.stderr


# -- another address than loopback -----------------------------------------------------------------

ADDRESS = "10.87.65.43"


@pytest.fixture
def network() -> Iterator[list[str]]:
    """A network namespace with an address that is no loopback one; what enters it."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", f"ip link set lo up && ip addr add {ADDRESS}/32 dev lo && "
         "echo && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.read(1) == b"\n"
        yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        holder.stdin.close()


def test_on_another_address_only_its_own_address_is_a_host(
    magnetfs: Begin, network: list[str], token_file: Path, film: Torrent
) -> None:
    port = free_port()
    fs = magnetfs(
        *("--http", f"0.0.0.0:{port}", "--token-file", str(token_file)),
        program=[*network, MAGNETFS],
        http=True,
    )
    fs.add(film.metainfo)

    def ask(host: str, address: str, *options: str) -> int:
        done = subprocess.run(
            [*network, "curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}"]
            + ["-H", f"Host: {host}", *options, f"http://{address}:{port}/add/{film.info_hash}"],
            capture_output=True,
            timeout=30,
            check=True,
        )
        return int(done.stdout)

    token = ["-H", f"Authorization: Bearer {TOKEN}"]
    assert ask(f"{ADDRESS}:{port}", ADDRESS, *token) == 200
    assert ask(f"127.0.0.1:{port}", "127.0.0.1", *token) == 200
    assert ask(f"{ADDRESS}:{port}", ADDRESS) == 401
    assert ask(f"evil.example:{port}", ADDRESS, *token) == 421
    assert ask(f"10.87.65.44:{port}", ADDRESS, *token) == 421
    assert ask(f"{ADDRESS}:{port}", ADDRESS, *token, "-H", f"Origin: {EVIL}") == 403
    assert ask(f"{ADDRESS}:{port}", "127.0.0.1", *token) == 421
