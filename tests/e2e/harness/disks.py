"""Small disks of their own, to be filled. Root only."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

from harness import waiting
from harness.torrents import KIB, MIB

LEAST_BTRFS = 128 * MIB


@contextlib.contextmanager
def tmpfs(path: Path, size: int) -> Iterator[Path]:
    """In memory: full to the last page."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@contextlib.contextmanager
def _image(path: Path, size: int, *mkfs: str) -> Iterator[Path]:
    """A file system on a loop device, which goes with the mount."""
    image = path.with_suffix(".img")
    path.mkdir()
    with open(image, "wb") as stream:
        stream.truncate(size)
    subprocess.run([*mkfs, image], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["mount", "-o", "loop", image, path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)
        image.unlink()


@contextlib.contextmanager
def ext4(path: Path, size: int) -> Iterator[Path]:
    """With a journal, and blocks that are given when they are written back; none is root's."""
    with _image(path, size, "mkfs.ext4", "-q", "-m", "0") as disk:
        shutil.rmtree(disk / "lost+found")
        yield disk


@contextlib.contextmanager
def with_quota(path: Path, quota: int) -> Iterator[Path]:
    """A folder that may take so much of its disk, which has more: a quota group of btrfs."""
    with _image(path, LEAST_BTRFS, "mkfs.btrfs", "-q") as disk:
        folder = disk / "user"
        subprocess.run(["btrfs", "-q", "quota", "enable", disk], check=True)
        subprocess.run(["btrfs", "-q", "subvolume", "create", folder], check=True)
        set_quota(folder, quota)
        yield folder


def set_quota(folder: Path, quota: int) -> None:
    """By way of the disk: with_quota's folder itself may have no room for the change."""
    found = subprocess.run(
        ["btrfs", "inspect-internal", "rootid", folder], capture_output=True, text=True, check=True
    )
    group = f"0/{found.stdout.strip()}"
    subprocess.run(
        ["btrfs", "-q", "qgroup", "limit", str(quota), group, folder.parent], check=True
    )


DISKS = {"tmpfs": tmpfs, "ext4": ext4}


def resize(disk: Path, size: int) -> None:
    """A tmpfs takes more, or less, from now on."""
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """A file that takes all that is left but for so much; with 0 to the last block."""
    path = disk / "filler"
    with open(path, "ab", buffering=0) as stream:
        for size in (64 * KIB, 4 * KIB):
            try:
                while free(disk) >= leave + size or not leave:
                    if stream.write(bytes(size)) < size:
                        break
            except OSError as problem:
                assert problem.errno == errno.ENOSPC
    return path


def free(disk: Path) -> int:
    known = os.statvfs(disk)
    return known.f_bavail * known.f_frsize


def until_free(disk: Path, least: int, timeout: float = 10.0) -> None:
    waiting.until(f"{least} bytes are free", lambda: free(disk) >= least, timeout)
