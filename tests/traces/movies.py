"""The films that are read for a trace: real media, some minutes long, made in seconds by ffmpeg."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Iterator

from harness import media

LOOPS = 60  # of the 8 s clip at 4 Mbit/s: 8 minutes, 240 MB


def film(folder: Path, name: str) -> Path:
    """The clip again and again: film.mp4 (its index behind the pictures), film.mkv, film.ts."""
    target = folder / name
    if not target.exists():
        clip = media.make_mp4(folder)
        subprocess.run(
            ["ffmpeg", "-nostdin", "-loglevel", "error", "-stream_loop", str(LOOPS - 1)]
            + ["-i", str(clip), "-c", "copy", str(target)],
            check=True,
            timeout=120,
        )
    return target


def split_film(folder: Path) -> Path:
    """film.mp4 with all its pictures first and then all its sound: a player that plays it reads at
    two places in turn."""
    target = folder / "split.mp4"
    if not target.exists():
        target.write_bytes(_split(film(folder, "film.mp4").read_bytes()))
    return target


# -- ISO 14496-12: boxes, and where the samples lie ------------------------------------------------


def _boxes(data: bytes | bytearray, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of [begin, end): type, where the body begins, where it ends."""
    while begin < end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        body = begin + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        yield bytes(kind), body, begin + size
        begin += size


def _find(data: bytes | bytearray, begin: int, end: int, *path: bytes) -> tuple[int, int]:
    for kind in path:
        begin, end = next((b, e) for k, b, e in _boxes(data, begin, end) if k == kind)
    return begin, end


def _table(data: bytes | bytearray, box: tuple[int, int], form: str, skip: int = 8) -> list[tuple]:
    return list(struct.iter_unpack(">" + form, data[box[0] + skip : box[1]]))


def _chunk_sizes(data: bytearray, samples: tuple[int, int], chunks: int) -> list[int]:
    """How many bytes each chunk of a track has (stsc: samples a chunk, stsz: bytes a sample)."""
    runs = _table(data, _find(data, *samples, b"stsc"), "III")
    sizes = iter([size for (size,) in _table(data, _find(data, *samples, b"stsz"), "I", 12)])
    last = [first for first, _, _ in runs[1:]] + [chunks + 1]
    found = []
    for (first, per_chunk, _), end in zip(runs, last):
        for _ in range(first, end):
            found.append(sum(next(sizes) for _ in range(per_chunk)))
    return found


def _split(source: bytes) -> bytes:
    data = bytearray(source)
    out = bytearray()
    mdat, _ = _find(data, 0, len(data), b"mdat")
    moov = _find(data, 0, len(data), b"moov")
    for kind, begin, end in _boxes(data, *moov):
        if kind != b"trak":
            continue
        samples = _find(data, begin, end, b"mdia", b"minf", b"stbl")
        box = _find(data, *samples, b"stco")  # 32 bits: the film has less than 4 GiB
        offsets = [offset for (offset,) in _table(data, box, "I")]
        for number, size in enumerate(_chunk_sizes(data, samples, len(offsets))):
            at = offsets[number]
            struct.pack_into(">I", data, box[0] + 8 + 4 * number, mdat + len(out))
            out += source[at : at + size]
    data[mdat : mdat + len(out)] = out
    return bytes(data)
