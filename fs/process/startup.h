/* SPDX-License-Identifier: MIT */
/* startup.h: what must be right before magnetfs mounts: the folders, their locks, the mountpoint,
 * the port. Each failure is one logged line that says what is wrong and what to do.
 * Single-threaded. */
#ifndef FS_STARTUP_H
#define FS_STARTUP_H

#include <stdbool.h>
#include <stdint.h>

/* Makes the folder (and those above it) with mode 0700 if it is missing, opens it and locks it for
 * this process: *dir_fd and *lock_fd, both to be kept. -EBUSY: another magnetfs has it; -EPERM: all
 * may write to it. what: "state" or "cache". */
int startup_folder(const char *path, const char *what, int *dir_fd, int *lock_fd);
/* Writes the process' number into the lock, for the message of a second magnetfs. Call again after
 * daemonising. */
void startup_sign(int lock_fd);
/* Checks the mountpoint, takes it for this process until it ends, and clears a stale mount of a
 * killed magnetfs from it. nonempty: it may hold files. *ret: its absolute path, malloc'ed. -EBUSY:
 * another magnetfs is mounted there or about to be. Blocks for up to 3 s while one there ends. */
int startup_mountpoint(const char *path, bool nonempty, char **ret);
/* /dev/fuse is there and may be used. */
int startup_fuse(void);
/* Lets this process have as many descriptors as the system allows it: connections to peers, and a
 * file for each torrent. Programs that it starts from then on inherit that. */
void startup_descriptors(void);
/* The sidecar's port is free. Blocks for up to 3 s while it is not: the sidecar of a killed
 * magnetfs may be on its way out. */
int startup_port(const char *addr, uint16_t port);
/* The kernel's own bound on FUSE requests in seconds, 0: none. When it is hit the kernel aborts the
 * whole mount, so reads must end before. */
uint64_t startup_request_timeout_s(void);

#endif
