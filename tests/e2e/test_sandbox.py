"""The sidecar is confined (httpd/sandbox.h): what the kernel says of the running one. That each
forbidden call is refused in there is test_sandbox.c's; that it serves all the same, test_http.py's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.mount import BIN, Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, Torrent, TorrentMaker
from harness.web import stream_target


def status(task: Path) -> dict[str, str]:
    lines = (task / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.fixture(scope="module")
def film(torrents: TorrentMaker) -> Torrent:
    return torrents.single("film.mp4", 200_000, seed=171, piece_length=64 * KIB)


def sanitized() -> bool:
    return b"__sanitizer" in (BIN / "magnetfs-httpd").read_bytes()


def test_each_thread_of_the_sidecar_is_confined(
    fs: Magnetfs, seeder: Seeder, film: Torrent
) -> None:
    assert fs.web
    fs.add_torrent(film, seeder.seed(film))
    assert fs.web.get(stream_target(film, "film.mp4")).body == film.read("film.mp4")
    sidecar = fs.sidecar()
    assert sidecar
    tasks = list(Path(f"/proc/{sidecar}/task").iterdir())
    assert len(tasks) > 1
    for task in tasks:
        told = status(task)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(told[name], 16) == 0, (task, name)
        if os.geteuid() == 0:
            assert int(told["CapBnd"], 16) == 0, task
        assert told["NoNewPrivs"] == "1", task
        assert told["Seccomp"] == ("0" if sanitized() else "2"), task
        mine = Path("/proc/self/status").read_text()
        assert f"Uid:\t{told['Uid']}" in mine and f"Gid:\t{told['Gid']}" in mine
    assert "Landlock" not in fs.stderr(), "this kernel has it"
