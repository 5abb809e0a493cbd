"""A disk as a power cut may leave it, made of a record of what was done to it.

The record is what tests/crash/recorder.c has written, with marks of the test between. What a sync
has brought to the disk is on it. Of the rest each disk keeps something else, by chance:

- of the changes of a folder's names, and of the cuts and holes of a file, the first few: file
  systems have them in a journal, in their order. One folder's or file's has nothing to do with
  another's, and a file's name is on the disk when the folder was synced, not the file;
- of the writes any, or single sectors of one. Where a hole or a cut was not kept, what was written
  there later was not, either: it lies in blocks that the file has got since.
"""

from __future__ import annotations

import json
import os
import random
import struct
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Iterator

SECTORS = (512, 4096)  # what a disk writes whole
BLOCK = 4096  # of the file system


class What(IntEnum):
    """As in recorder.c."""

    OPENED = 1
    MADE = 2
    WRITTEN = 3
    CUT = 4
    PUNCHED = 5
    SYNC_BEGINS = 6
    SYNC_ENDS = 7
    UNLINKED = 8
    RENAMED = 9
    FOLDER_MADE = 10
    MARK = 100  # the test's: JSON


HEAD = struct.Struct("=IIQQQ")


class Kept(Enum):
    """What is kept where nothing is left to chance."""

    ALL = 1  # as if the power had not failed
    SYNCED = 2  # nothing else


Chance = random.Random | Kept


class Recorder:
    """What makes a magnetfs write its record, and the marks between."""

    def __init__(self, library: Path, log: Path, folders: list[Path]) -> None:
        self.log = log
        self._environment = [
            f"LD_PRELOAD={library}",
            f"RECORD_LOG={log}",
            "RECORD_FOLDERS=" + ":".join(str(folder.resolve()) for folder in folders),
        ]

    def program(self, program: Path) -> list[str | Path]:
        return ["env", *self._environment, program]

    def mark(self, **what: Any) -> None:
        """Behind all that has been done by now."""
        payload = json.dumps(what).encode()
        with open(self.log, "ab", buffering=0) as log:
            log.write(HEAD.pack(What.MARK, len(payload), 0, 0, 0) + payload)


@dataclass
class Change:
    """Of a file's bytes."""

    at: int  # where it stands in the record
    what: What
    begin: int
    end: int
    data: memoryview | None = None

    def is_hit_by(self, other: Change) -> bool:
        return self.begin < other.end and other.begin < self.end


@dataclass
class Naming:
    """A change of a folder's names."""

    at: int
    name: str
    file: File | None  # None: the name is gone


@dataclass
class Synced:
    """What stands before begin is on the disk for who stands behind end."""

    begin: int
    end: int


@dataclass(eq=False)
class File:
    changes: list[Change] = field(default_factory=list)
    syncs: list[Synced] = field(default_factory=list)


@dataclass(eq=False)
class Folder:
    namings: list[Naming] = field(default_factory=list)
    syncs: list[Synced] = field(default_factory=list)


def _on_disk(syncs: list[Synced], prefix: int) -> int:
    """What stands before it in the record is on the disk, should the power fail at prefix."""
    return max((sync.begin for sync in syncs if sync.end < prefix), default=0)


def _entries(data: memoryview) -> Iterator[tuple[What, int, int, int, memoryview]]:
    at = 0
    while at < len(data):
        what, payload, file, offset, length = HEAD.unpack_from(data, at)
        at += HEAD.size
        yield What(what), file, offset, length, data[at : at + payload]
        at += payload


def _path_of(payload: memoryview) -> str:
    return os.fsdecode(bytes(payload))


def _name_of(payload: memoryview) -> str:
    return os.path.basename(_path_of(payload))


class Record:
    """A record that was read. A prefix of it is a number of its entries."""

    def __init__(self, log: Path) -> None:
        self.folders: dict[str, Folder] = {}  # by their names
        self.marks: list[tuple[int, dict[str, Any]]] = []
        self.length = 0
        self._files: dict[int, File] = {}  # by the recorder's numbers
        self._names: dict[str, File] = {}  # as they are at the end
        begun: dict[int, tuple[int, File | Folder]] = {}
        for what, number, offset, length, payload in _entries(memoryview(log.read_bytes())):
            at = self.length
            self.length += 1
            if what == What.MARK:
                self.marks.append((at, json.loads(bytes(payload))))
            elif what == What.FOLDER_MADE:
                self.folders.setdefault(_name_of(payload), Folder())
            elif what == What.OPENED:
                self._files[number] = self._names[_path_of(payload)]
            elif what == What.MADE:
                self._files[number] = File()
                self._name(at, _path_of(payload), self._files[number])
            elif what == What.UNLINKED:
                self._name(at, _path_of(payload), None)
            elif what == What.RENAMED:
                source, target = _path_of(payload).split("\0")[:2]
                file = self._names[source]
                assert os.path.dirname(source) == os.path.dirname(target)
                self._name(at, target, file)
                self._name(at, source, None)
            elif what == What.SYNC_BEGINS:
                synced = self.folders[_name_of(payload)] if payload else None
                begun[offset] = (at, synced or self._files[number])
            elif what == What.SYNC_ENDS:
                begin, of = begun.pop(offset)
                of.syncs.append(Synced(begin, at))
            else:
                end = {What.WRITTEN: offset + len(payload), What.PUNCHED: offset + length}
                first = length if what == What.CUT else offset
                change = Change(at, what, first, end.get(what, 1 << 62), payload)
                self._files[number].changes.append(change)

    def _name(self, at: int, path: str, file: File | None) -> None:
        folder, name = os.path.split(path)
        self.folders[os.path.basename(folder)].namings.append(Naming(at, name, file))
        if file:
            self._names[path] = file
        else:
            del self._names[path]

    def marked(self, prefix: int) -> list[dict[str, Any]]:
        return [mark for at, mark in self.marks if at < prefix]

    def write_whole(self, targets: dict[str, Path]) -> None:
        """All that was done, as if the power had not failed; targets: where each folder goes, by
        its name."""
        self._write(targets, self.length, Kept.ALL)

    def write_synced(self, targets: dict[str, Path], prefix: int) -> None:
        """The least that is left when the power fails at that prefix."""
        self._write(targets, prefix, Kept.SYNCED)

    def write_left(self, targets: dict[str, Path], prefix: int, rng: random.Random) -> None:
        """What may be left when the power fails at that prefix."""
        self._write(targets, prefix, rng)

    def _write(self, targets: dict[str, Path], prefix: int, chance: Chance) -> None:
        for name, target in targets.items():
            target.mkdir(parents=True)
            folder = self.folders.get(name, Folder())
            for file, changes in sorted(_names_left(folder, prefix, chance).items()):
                if not file.endswith("-shm"):  # see recorder.c
                    _Image(changes, prefix, chance).write(target / file)


def _first_few(count: int, certain: int, chance: Chance) -> int:
    """How many of count changes in their order were kept; so many at least."""
    if isinstance(chance, Kept):
        return count if chance == Kept.ALL else certain
    return chance.choice((count, certain, chance.randint(certain, count)))


def _names_left(folder: Folder, prefix: int, chance: Chance) -> dict[str, File]:
    done = [naming for naming in folder.namings if naming.at < prefix]
    certain = sum(naming.at < _on_disk(folder.syncs, prefix) for naming in done)
    left: dict[str, File] = {}
    kept = done[: _first_few(len(done), certain, chance)]
    for naming in done:
        # The two halves of a rename have one place in the record, and are kept or not as one.
        if not kept or naming.at > kept[-1].at:
            break
        if naming.file:
            left[naming.name] = naming.file
        else:
            left.pop(naming.name, None)
    return left


def _fates(chance: Chance) -> tuple[str, ...]:
    """What may become of a file's writes. Most of the time they share one fate: so one file's may
    all be there while none of another's are."""
    if isinstance(chance, Kept):
        return ("kept",) if chance == Kept.ALL else ("lost",)
    return chance.choice((("kept",), ("lost",), ("kept", "lost", "torn")))


class _Image:
    """A file's bytes, and which blocks it has."""

    def __init__(self, file: File, prefix: int, chance: Chance) -> None:
        self._data = bytearray()
        self._blocks: set[int] = set()
        self._chance = chance
        certain = _on_disk(file.syncs, prefix)
        done = [change for change in file.changes if change.at < prefix]
        ordered = [change for change in done if change.what != What.WRITTEN]
        kept = _first_few(len(ordered), sum(change.at < certain for change in ordered), chance)
        lost = ordered[kept:]
        fates = _fates(chance)
        for change in done:
            if change.what != What.WRITTEN:
                if change not in lost:
                    self._reorder(change)
                continue
            fate = "kept" if change.at < certain else self._one_of(fates)
            if any(other.at < change.at and change.is_hit_by(other) for other in lost):
                fate = "lost"
            if fate != "lost":
                self._keep(change, torn=fate == "torn")

    def _one_of(self, fates: tuple[str, ...]) -> str:
        return fates[0] if isinstance(self._chance, Kept) else self._chance.choice(fates)

    def _reorder(self, change: Change) -> None:
        if change.what == What.CUT:
            del self._data[change.begin :]
            self._data.extend(bytes(change.begin - len(self._data)))
        end = min(change.end, len(self._data))
        if change.what == What.PUNCHED and change.begin < end:
            self._data[change.begin : end] = bytes(end - change.begin)
        self._blocks = {
            block
            for block in self._blocks
            if block * BLOCK < change.begin or (block + 1) * BLOCK > change.end
        }

    def _keep(self, change: Change, torn: bool) -> None:
        assert change.data is not None
        if not torn or isinstance(self._chance, Kept):
            self._put(change.begin, change.data)
            return
        sector = self._chance.choice(SECTORS)
        at = change.begin
        while at < change.end:
            end = min(change.end, at - at % sector + sector)
            if self._chance.random() < 0.5:
                self._put(at, change.data[at - change.begin : end - change.begin])
            at = end

    def _put(self, at: int, data: memoryview) -> None:
        end = at + len(data)
        self._data.extend(bytes(max(0, end - len(self._data))))
        self._data[at:end] = data
        self._blocks.update(range(at // BLOCK, -(-end // BLOCK)))

    def write(self, path: Path) -> None:
        with open(path, "wb", buffering=0) as stream:
            os.fchmod(stream.fileno(), 0o600)
            for block in sorted(self._blocks):
                at = block * BLOCK
                os.pwrite(stream.fileno(), self._data[at : at + BLOCK], at)
            stream.truncate(len(self._data))
