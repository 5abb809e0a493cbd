"""Reverse proxies before the sidecar, as the README shows them: nginx, Caddy and HAProxy with their
own health checks, ranges through each, and a slow client that must not make one fetch it all."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.ports import free_port
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import Web, stream_target

NAME = "media.example"
LENGTH = 96 * MIB

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        server_name media.example;
        location / {{
            proxy_pass http://127.0.0.1:{sidecar};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""

CADDY = """
{{
    admin off
    auto_https off
}}
http://media.example:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{sidecar}
}}
"""

# As the README has it, with a certificate of its own.
CADDY_TLS = """
{{
    admin off
    skip_install_trust
    auto_https disable_redirects
}}
https://media.example:{port} {{
    bind 127.0.0.1
    tls internal
    reverse_proxy 127.0.0.1:{sidecar}
}}
"""

# Both kinds of plain check: OPTIONS / HTTP/1.0 is option httpchk's own, without a Host.
HAPROXY = """
global
    stats socket {folder}/admin mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend web
    bind 127.0.0.1:{port}
    default_backend plain
backend plain
    option httpchk
    server sidecar 127.0.0.1:{sidecar} check inter 100ms fall 1 rise 1
backend healthz
    option httpchk GET /healthz
    server sidecar 127.0.0.1:{sidecar} check inter 100ms fall 1 rise 1
"""

RUN_CADDY = ["caddy", "run", "--adapter", "caddyfile", "--config", "{config}"]
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "nginx": (NGINX, ["nginx", "-e", "stderr", "-p", "{folder}", "-c", "{config}"]),
    "caddy": (CADDY, RUN_CADDY),
    "haproxy": (HAPROXY, ["haproxy", "-db", "-q", "-f", "{config}"]),
    "caddy with TLS": (CADDY_TLS, RUN_CADDY),
}
PLAIN = ["nginx", "caddy", "haproxy"]


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mkv", LENGTH, seed=181, piece_length=256 * KIB)


@pytest.fixture
def served(magnetfs: Callable[..., Magnetfs], seeder: Seeder, film: Torrent) -> Magnetfs:
    fs = magnetfs("--allowed-host", NAME, "--read-timeout", "20")
    fs.add_torrent(film, seeder.seed(film))
    return fs


@contextmanager
def proxy(kind: str, folder: Path, sidecar: int) -> Iterator[Web]:
    """One of them, from when it takes connections on."""
    web = Web(free_port())
    place = folder / kind
    place.mkdir()
    config = place / "config"
    text, command = COMMANDS[kind]
    config.write_text(text.format(folder=place, port=web.port, sidecar=sidecar))
    words = [word.format(folder=place, config=config) for word in command]
    home = {"HOME": str(place), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=home)
    try:

        def listens() -> bool:
            assert process.poll() is None, (place / "log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", web.port)) == 0

        waiting.until(f"{kind} listens", listens, timeout=15)
        yield web
    finally:
        process.terminate()
        process.wait(15)


@pytest.mark.parametrize("kind", PLAIN)
def test_ranges_and_changes_go_through(
    served: Magnetfs, film: Torrent, folder: Path, kind: str
) -> None:
    assert shutil.which(kind), f"{kind} is not installed"
    assert served.web
    stream = stream_target(film, "film.mkv")
    with proxy(kind, folder, served.web.port) as web:
        named = {"Host": f"{NAME}:{web.port}"}
        for first, last in ((0, 0), (0, 999), (5_000_000, 6_000_000), (LENGTH - 10, LENGTH - 1)):
            headers = {**named, "Range": f"bytes={first}-{last}"}
            answer = web.request("GET", stream, headers)
            assert answer.status == 206, answer.body[:200]
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{LENGTH}"
            assert answer.body == film.read("film.mkv", first, last - first + 1)
        beyond = web.request("GET", stream, {**named, "Range": f"bytes={LENGTH}-"})
        assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{LENGTH}")
        links = web.request("GET", f"/playlist/{film.info_hash}.m3u8", named).body.decode()
        assert f"http://{named['Host']}{stream}\n" in links
        head = web.request("HEAD", stream, named)
        assert (head.status, head.headers["Content-Length"]) == (200, str(LENGTH))
        # The page's own origin, as a browser names it for a proxy that speaks TLS.
        keep = f"/torrents/{film.info_hash}/keep"
        assert web.request("PUT", keep, {**named, "Origin": f"https://{named['Host']}"}).status == 204
        evil = {**named, "Origin": "https://evil.example"}
        assert web.request("PUT", keep, evil).status == 403
        web.request("PUT", keep, named).problem(403)


def trusted(port: int, root: Path) -> bool:
    """Whether a handshake under our name succeeds: Caddy listens, and has its root on the disk, before
    it has the certificate that the root signs."""
    try:
        context = ssl.create_default_context(cafile=str(root))
        with socket.create_connection(("127.0.0.1", port), 5) as link:
            with context.wrap_socket(link, server_hostname=NAME):
                return True
    except OSError:  # ssl.SSLError and FileNotFoundError are among its kinds.
        return False


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_caddy_with_tls_as_curl_sees_it(
    served: Magnetfs, film: Torrent, folder: Path, version: str
) -> None:
    assert served.web
    with proxy("caddy with TLS", folder, served.web.port) as web:
        place = f"{NAME}:{web.port}"
        root = folder / "caddy with TLS/.local/share/caddy/pki/authorities/local/root.crt"
        waiting.until("Caddy shows its certificate", lambda: trusted(web.port, root), timeout=30)

        def ask(target: str, *options: str) -> tuple[str, bytes]:
            """The version of HTTP with the status, and the body."""
            done = subprocess.run(
                ["curl", "-sS", "--noproxy", "*", f"--http{version}", "--cacert", str(root)]
                + ["--resolve", f"{place}:127.0.0.1", "-w", "%{stderr}%{http_version} %{http_code}"]
                + [*options, f"https://{place}{target}"],
                capture_output=True,
                timeout=60,
                check=True,
            )
            return done.stderr.decode(), done.stdout

        stream, keep = stream_target(film, "film.mkv"), f"/torrents/{film.info_hash}/keep"
        first, last = 5_000_000, 6_000_000
        got = ask(stream, "-r", f"{first}-{last}")
        assert got == (f"{version} 206", film.read("film.mkv", first, last - first + 1))
        several = ask(stream, "-r", "0-99,1000-1099")
        assert several[0] == f"{version} 206" and film.read("film.mkv", 1000, 100) in several[1]
        put = ["-X", "PUT", "-H"]
        assert ask(keep, *put, f"Origin: https://{place}")[0] == f"{version} 204"
        assert ask(keep, *put, "Origin: https://evil.example")[0] == f"{version} 403"
        playlist = ask(f"/playlist/{film.info_hash}.m3u8")[1].decode()
        assert stream in playlist and "http://" not in playlist


def test_haproxys_plain_checks_find_it_alive(served: Magnetfs, folder: Path) -> None:
    assert served.web
    with proxy("haproxy", folder, served.web.port):

        def states() -> dict[str, tuple[str, str]]:
            with socket.socket(socket.AF_UNIX) as admin:
                admin.settimeout(5)
                admin.connect(str(folder / "haproxy" / "admin"))
                admin.sendall(b"show stat\n")
                lines = admin.makefile().read().splitlines()
            names = lines[0].lstrip("# ").split(",")
            rows = [dict(zip(names, line.split(","))) for line in lines[1:] if line]
            return {
                row["pxname"]: (row["status"], row["check_status"])
                for row in rows
                if row["svname"] == "sidecar"
            }

        def checked() -> bool:
            return all(check[1].startswith("L7") for check in states().values())

        def answers() -> bool:
            with socket.socket(socket.AF_UNIX) as admin:
                return admin.connect_ex(str(folder / "haproxy" / "admin")) == 0

        # It is there after the port is open.
        waiting.until("its admin socket", answers, timeout=10)
        waiting.until("both checks were made", checked, timeout=10)
        assert states() == {"plain": ("UP", "L7OK"), "healthz": ("UP", "L7OK")}


SLOW = 700_000  # bytes a second
SLOW_S = 6.0
# The window ahead of a reader is 32 MiB. What sockets hold on the way depends on how nginx and this
# test get the processor: 4 to 13 MiB were seen, and there may be more. All would be 96.
AHEAD = 64 * MIB


def test_nginx_does_not_fetch_the_film_for_a_slow_client(
    served: Magnetfs, film: Torrent, folder: Path
) -> None:
    """With proxy_buffering on, which it is by default, nginx would: the sidecar tells it not to."""
    assert served.web
    with proxy("nginx", folder, served.web.port) as web:
        connection = web.connection()
        connection.request("GET", stream_target(film, "film.mkv"), headers={"Host": NAME})
        response = connection.getresponse()
        begin = time.monotonic()
        got = hashlib.sha256()
        taken = 0
        while (elapsed := time.monotonic() - begin) < SLOW_S:
            if taken > elapsed * SLOW:
                time.sleep(taken / SLOW - elapsed)
                continue
            data = response.read(64 * KIB)
            got.update(data)
            taken += len(data)
        have = served.status()["torrents"][0]["haveBytes"]
        connection.close()
    assert got.hexdigest() == hashlib.sha256(film.read("film.mkv", 0, taken)).hexdigest()
    assert have < AHEAD, f"{have} bytes fetched for {taken}"
