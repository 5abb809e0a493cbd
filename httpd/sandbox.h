/* SPDX-License-Identifier: MIT */
/* sandbox.h: what is left to the sidecar, should anybody make it do what it is not for. In two
 * steps, as it looks around before it serves:
 *
 * sandbox_enter() before any thread: no new privileges, no capability, and of all files those of
 * the mount (Landlock). Two capabilities stay where root could not work without: reading what root
 * has no permission for, if the mount or a folder above it is closed to it, and
 * CAP_NET_BIND_SERVICE for a port below 1024, which is worth nothing once bind(2) is refused.
 *
 * sandbox_close() when all that is opened once is open: no call but what serving takes (seccomp).
 * What is known to be of use to an intruder (connect, socket, bind, listen, exec, fork, ptrace,
 * mount and the like) is refused with EPERM, whatever else is not listed with ENOSYS: so a newer C
 * library that tries a newer call goes back to the one before. Nothing is killed for a call: the
 * sidecar is to serve, and its threads have no use for what is refused.
 *
 * Where the kernel lacks one of these it is told, and the rest holds. With sanitizers, which read
 * /proc, trace threads and write reports, there is neither Landlock nor seccomp. */
#ifndef HTTPD_SANDBOX_H
#define HTTPD_SANDBOX_H

#include <stdint.h>

/* mountpoint: what may be opened lies beneath it; it is not looked into by this process, so that
 * one that hangs holds up at most a child, for two seconds. port: where it is going to listen.
 * Failures are logged. The only thread. */
void sandbox_enter(const char *mountpoint, uint16_t port);

/* For all threads, also those that are there. Failures are logged. */
void sandbox_close(void);

#endif
