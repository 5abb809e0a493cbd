"""What programs read of the sidecar: playlists, metrics."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import media as media_files
from harness import waiting
from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import stream_target


@pytest.fixture(scope="module")
def season(torrents: TorrentMaker, tmp_path_factory: pytest.TempPathFactory) -> Torrent:
    folder = tmp_path_factory.mktemp("season")
    mp4, mkv = media_files.make_mp4(folder, seconds=2), media_files.make_mkv(folder)
    notes = folder / "notes.txt"
    notes.write_text("hello")
    return torrents.from_files(
        "Season",
        {"S01/E10.mkv": mkv, "S01/E2 é#?.mp4": mp4, "S01/notes.txt": notes},
        piece_length=64 * KIB,
    )


# -- playlists -------------------------------------------------------------------------------------


def entries(text: str) -> list[tuple[str, str]]:
    """Titles and locations of a playlist, which must have nothing else in it."""
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U"
    assert lines[1].startswith("#PLAYLIST:")
    titles, urls = lines[2::2], lines[3::2]
    assert all(title.startswith("#EXTINF:-1,") for title in titles), titles
    return [(t.removeprefix("#EXTINF:-1,"), u) for t, u in zip(titles, urls, strict=True)]


def test_a_playlist_has_video_and_audio_in_natural_order(
    fs: Magnetfs, seeder: Seeder, season: Torrent
) -> None:
    fs.add_torrent(season, seeder.seed(season))
    assert fs.web
    base = f"{fs.web.base}/stream/{season.info_hash}"
    two = ("E2 é#?.mp4", f"{base}/S01/E2%20%C3%A9%23%3F.mp4")
    ten = ("E10.mkv", f"{base}/S01/E10.mkv")
    for name in ("m3u8", "m3u"):
        answer = fs.web.get(f"/playlist/{season.info_hash}.{name}")
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"] == "audio/x-mpegurl; charset=utf-8"
        assert entries(answer.body.decode()) == [two, ten]
    whole = fs.web.get(f"/playlist/{season.info_hash}.m3u8?all=1").body.decode()
    assert entries(whole) == [two, ten, ("notes.txt", f"{base}/S01/notes.txt")]
    for _, url in entries(whole):
        target = url.removeprefix(fs.web.base)
        assert fs.web.request("HEAD", target).status == 200, target


def test_a_playlist_s_urls_are_where_the_client_came(
    fs: Magnetfs, seeder: Seeder, season: Torrent
) -> None:
    fs.add_torrent(season, seeder.seed(season))
    assert fs.web
    target = f"/playlist/{season.info_hash}.m3u8"
    host = f"localhost:{fs.web.port}"
    for headers, base in (
        ({"Host": host}, f"http://{host}/"),
        ({"Host": host, "X-Forwarded-Proto": "https"}, f"https://{host}/"),
        ({"Host": host, "X-Forwarded-Proto": "https, http"}, f"http://{host}/"),
    ):
        text = fs.web.request("GET", target, headers).body.decode()
        assert all(url.startswith(base) for _, url in entries(text)), (headers, text)


def test_a_playlist_of_what_is_not_here(fs: Magnetfs) -> None:
    assert fs.web
    fs.web.get(f"/playlist/{'1' * 40}.m3u8").problem(404)
    fs.web.get(f"/playlist/{'0' * 40}.m3u8").problem(404)
    fs.web.get("/playlist/nonsense.m3u8").problem(404)
    fs.web.get(f"/playlist/{'1' * 40}.pls").problem(404)
    fs.web.get(f"/playlist/{'1' * 40}").problem(404)


def test_mpv_plays_a_playlist_to_its_end(
    fs: Magnetfs, seeder: Seeder, season: Torrent, tmp_path: Path
) -> None:
    fs.add_torrent(season, seeder.seed(season))
    assert fs.web
    log = tmp_path / "mpv.log"
    done = subprocess.run(
        ["mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal", "--speed=4"]
        + [f"--log-file={log}", f"{fs.web.base}/playlist/{season.info_hash}.m3u8"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    text = log.read_text(errors="replace")
    assert done.returncode == 0, text[-3000:]
    played = re.findall(r"Opening done: \S*/(\S+)", text)
    assert played[-2:] == ["E2%20%C3%A9%23%3F.mp4", "E10.mkv"], played
    assert len(re.findall("finished playback, success", text)) >= 2, text[-3000:]


# -- metrics ---------------------------------------------------------------------------------------


def metrics(fs: Magnetfs) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels, as Prometheus' own parser reads them; none comes twice."""
    assert fs.web
    answer = fs.web.get("/metrics")
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        assert family.documentation and family.type != "unknown", family
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def test_metrics_count_what_happens(fs: Magnetfs, seeder: Seeder, season: Torrent) -> None:
    fs.add_torrent(season, seeder.seed(season))
    assert fs.web
    target = stream_target(season, "S01/E10.mkv")
    length = season.file("S01/E10.mkv").length
    before = metrics(fs)
    assert fs.web.get(target).status == 200
    assert fs.web.range(target, "bytes=1000-1999").status == 206
    assert fs.web.range(target, f"bytes={length}-").status == 416
    assert fs.web.request("HEAD", target).status == 200
    assert fs.web.get("/nothing").status == 404
    after = metrics(fs)

    def more(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0) - before.get(key, 0)

    route = {"method": "GET", "route": "/stream/{hash}/*"}
    assert more("magnetfs_http_requests_total", **route, status="2xx") == 2
    assert more("magnetfs_http_requests_total", **route, status="4xx") == 1
    assert more("magnetfs_http_requests_total", **{**route, "method": "HEAD"}, status="2xx") == 1
    assert more("magnetfs_http_requests_total", method="", route="", status="4xx") == 1
    assert more("magnetfs_http_stream_bytes_total") == length + 1000
    assert more("magnetfs_http_stream_first_byte_seconds_count") == 1
    assert more("magnetfs_http_stream_seek_seconds_count") == 1
    for kind in ("first_byte", "seek"):
        buckets = [
            (float(dict(labels)["le"]), value)
            for (name, labels), value in after.items()
            if name == f"magnetfs_http_stream_{kind}_seconds_bucket"
        ]
        assert sorted(buckets) == sorted(buckets, key=lambda b: (b[1], b[0])), buckets
        assert max(buckets) == (float("inf"), 1), buckets
    assert after["magnetfs_torrents", (("state", "awake"),)] == 1
    assert after["magnetfs_http_slots_limit", (("kind", "streams"),)] == 256
    assert after["magnetfs_http_slots_used", (("kind", "streams"),)] == 0
    assert after["magnetfs_cache_bytes", ()] > length
    assert after["magnetfs_cache_limit_bytes", ()] > 0
    waiting.until("the seeder is counted", lambda: metrics(fs)["magnetfs_peers", ()] >= 1)


def test_metrics_tell_of_stalls(fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker) -> None:
    film = torrents.single("film.mkv", 2 * MIB, seed=8, piece_length=64 * KIB)
    seeder.seed(film, upload_limit=400 * KIB)
    fs.add_torrent(film, seeder)
    assert fs.web
    assert fs.web.get(stream_target(film, "film.mkv"), timeout=60).status == 200
    found = metrics(fs)
    stalls = found["magnetfs_http_stream_stalls_total", ()]
    seconds = found["magnetfs_http_stream_stall_seconds_total", ()]
    assert stalls >= 1
    assert seconds >= 0.1 * stalls


# -- one torrent -----------------------------------------------------------------------------------


def test_one_torrent_is_told_with_its_files_and_readers(
    fs: Magnetfs, seeder: Seeder, season: Torrent
) -> None:
    fs.add_torrent(season, seeder.seed(season))
    assert fs.web
    length = season.file("S01/E10.mkv").length
    assert fs.web.range(stream_target(season, "S01/E10.mkv"), "bytes=0-99").status == 206
    told = fs.web.get(f"/torrents/{season.info_hash}")
    assert told.status == 200 and told.headers["Content-Type"] == "application/json"
    assert told.json["infoHash"] == season.info_hash
    assert {"state", "downloadRate", "uploadRate", "peers", "progress"} <= told.json.keys()
    film = next(f for f in told.json["files"] if f["path"] == "S01/E10.mkv")
    assert film["length"] == length and film["have"][0][0] == 0, film
    assert isinstance(told.json["open"], list)
    fs.web.get(f"/torrents/{'1' * 40}").problem(404)


def wait_parked(fs: Magnetfs, torrent: Torrent, count: int) -> None:
    waiting.until(
        f"{count} parked reads", lambda: fs.torrent(torrent.info_hash)["parkedReads"] == count
    )


def test_a_stream_that_waits_is_told_where_it_waits_in_all_places(
    fs: Magnetfs, torrents: TorrentMaker
) -> None:
    """It polls, and has been given nothing: it is where a plain read of the mount would be."""
    lonely = torrents.single("lonely.mkv", 16 * MIB, seed=9, piece_length=256 * KIB)
    fs.add(lonely.metainfo)
    assert fs.web
    host = f"Host: 127.0.0.1:{fs.web.port}"
    target = stream_target(lonely, "lonely.mkv")

    def told() -> list[tuple[int, int]]:
        assert fs.web
        readers = fs.web.get(f"/torrents/{lonely.info_hash}").json["open"]
        return sorted((r["position"], r["parkedReads"]) for r in readers)

    def counted() -> tuple[int, int, float, str]:
        *_, wait, _error = fs.ctl("status", lonely.info_hash).stdout.split("\t")
        return (
            fs.status()["parkedReads"],
            fs.torrent(lonely.info_hash)["parkedReads"],
            metrics(fs)["magnetfs_parked_reads", ()],
            wait,
        )

    places = [1_000_000, 5_000_001, 9_999_999]
    clients = []
    try:
        for n, place in enumerate(places, start=1):
            request = f"GET {target} HTTP/1.1\n{host}\nRange: bytes={place}-\n\n"
            clients.append(fs.web.raw(request))
            wait_parked(fs, lonely, n)
            assert counted() == (n, n, n, str(n))
            assert told() == [(at, 1) for at in places[:n]]
    finally:
        for client in clients:
            client.close()
    wait_parked(fs, lonely, 0)
    assert counted() == (0, 0, 0, "0")


def test_a_stream_that_was_given_a_part_is_told_behind_it(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    """Its first piece is here, the rest nobody has any more."""
    film = torrents.single("part.mkv", 4 * MIB, seed=10, piece_length=64 * KIB)
    fs.add_torrent(film, seeder.seed(film))
    assert fs.web
    target = stream_target(film, "part.mkv")
    assert fs.web.range(target, "bytes=0-65535").status == 206
    seeder.kill()
    waiting.until("no peer", lambda: fs.torrent(film.info_hash)["peers"] == 0)
    first, last = fs.web.get(f"/torrents/{film.info_hash}").json["files"][0]["have"][0]
    assert first == 0 and last < film.length - 1
    with fs.web.raw(f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n"):
        wait_parked(fs, film, 1)
        [reader] = fs.web.get(f"/torrents/{film.info_hash}").json["open"]
        assert (reader["position"], reader["parkedReads"]) == (last + 1, 1)
