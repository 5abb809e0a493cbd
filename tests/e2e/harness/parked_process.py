"""PATH COUNT STRIDE: COUNT threads with a descriptor each read 64 KiB, STRIDE bytes apart.

Says a line for each read that ends: "read LENGTH SHA256" or "failed ERRNO". Takes words on stdin
and does, while the reads are parked, what makes the kernel send FLUSH for a descriptor in use:
    dup    close(dup(fd))             fork   fork, then _exit in the child
    spawn  posix_spawn of true        run    a shell through subprocess (vfork and exec)
"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading

BLOCK = 64 * 1024
_say_lock = threading.Lock()


def say(line: str) -> None:
    with _say_lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def read(fd: int, offset: int) -> None:
    try:
        data = os.pread(fd, BLOCK, offset)
        say(f"read {len(data)} {hashlib.sha256(data).hexdigest()}")
    except OSError as problem:
        say(f"failed {errno.errorcode[problem.errno or 0]}")


def disturb(action: str, fd: int) -> None:
    if action == "dup":
        os.close(os.dup(fd))
    elif action == "fork":
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    elif action == "spawn":
        child = os.posix_spawn("/bin/true", ["true"], os.environ)
        os.waitpid(child, 0)
    elif action == "run":
        subprocess.run(["/bin/sh", "-c", ":"], check=True, close_fds=True)
    say(f"did {action}")


def main() -> None:
    path, count, stride = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    threading.stack_size(128 * 1024)
    descriptors = [os.open(path, os.O_RDONLY) for _ in range(count)]
    for number, fd in enumerate(descriptors):
        threading.Thread(target=read, args=(fd, number * stride), daemon=True).start()
    for line in sys.stdin:
        disturb(line.strip(), descriptors[0])


if __name__ == "__main__":
    main()
