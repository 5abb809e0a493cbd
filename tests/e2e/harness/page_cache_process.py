"""WAY FILE [TO]: reads a file in a way that goes through the kernel's page cache.

    sendfile, splice, copy_file_range   copy it to TO with that call, and nothing else
    shutil                              shutil.copyfile
    map                                 print its SHA-256, read through a private mapping
    map-then-read                       the same in two steps: map it, say so, wait for a line on
                                        stdin, print its SHA-256
    map-random, map-random-then-read    the same with MADV_RANDOM: nothing is read ahead
    mapped                              map it, say so, and wait for the end of stdin
    inherited                           the same with a descriptor, which FILE is; it ends then

Ends with the error of the system call as a traceback; a page of a mapping that can't be had is
SIGBUS. Those that map say a line.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import sys

CHUNK = 1 << 20


def copy(way: str, source: int, target: int) -> None:
    if way == "splice":
        reader, writer = os.pipe()
        while moved := os.splice(source, writer, CHUNK):
            while moved:
                moved -= os.splice(reader, target, moved)
        return
    while True:
        if way == "sendfile":
            moved = os.sendfile(target, source, None, CHUNK)
        else:
            moved = os.copy_file_range(source, target, CHUNK)
        if moved == 0:
            return


def mapping(fd: int, random: bool = False) -> mmap.mmap:
    held = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    if random:
        held.madvise(mmap.MADV_RANDOM)
    return held


def main() -> None:
    way, name = sys.argv[1:3]
    if way == "shutil":
        shutil.copyfile(name, sys.argv[3])
        return
    if way == "inherited":
        print(len(mapping(int(name))), flush=True)
        return
    fd = os.open(name, os.O_RDONLY)
    random = way.startswith("map-random")
    if way in ("map", "map-random"):
        print(hashlib.sha256(mapping(fd, random)).hexdigest(), flush=True)
    elif way in ("map-then-read", "map-random-then-read"):
        held = mapping(fd, random)
        print(len(held), flush=True)
        sys.stdin.readline()
        print(hashlib.sha256(held).hexdigest(), flush=True)
    elif way == "mapped":
        held = mapping(fd)
        print(len(held), flush=True)
        sys.stdin.read()
    else:
        target = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        copy(way, fd, target)


if __name__ == "__main__":
    main()
