/* SPDX-License-Identifier: MIT */
/* helper.h: the process that may touch the mount.
 *
 * A daemon that is killed with a system call on its own mount pending hangs in D state and holds
 * the mount. So magnetfs makes none: a helper, forked before any thread, session or mount exists,
 * announces new torrents by mkdir, removes by rmdir, lets the kernel read further ahead, starts and
 * watches the sidecar and runs the --on-event command. It ends when magnetfs does, however that
 * ends. */
#ifndef FS_HELPER_H
#define FS_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "names.h"

struct helper_options {
        const char *mountpoint;
        char *const *sidecar; /* argv of the sidecar, NULL: none; "--ready-fd N" is added */
        const char *on_event; /* a shell command, or NULL */
        bool detaches;        /* HELPER_DETACH will come: what the sidecar says goes through here */
};

/* Messages over a SOCK_SEQPACKET pair. An answer has the type and number of what it answers. */
enum helper_type {
        HELPER_ANNOUNCE = 'A', /* mkdir name; answer: err */
        HELPER_REMOVE = 'R',   /* rmdir name; answer: err */
        HELPER_SIDECAR = 'S',  /* start it; answer: err 0 once it listens */
        HELPER_EVENT = 'E',    /* run on_event; name is the JSON line; no answer */
        HELPER_DETACH = 'D',   /* stderr is no longer ours: log to syslog; no answer */
        HELPER_AHEAD = 'H',    /* of complete files more is read ahead, if we may; no answer */
        HELPER_QUIT = 'Q',     /* end, the sidecar first */
};
enum { HELPER_TEXT_MAX = 2048 };

struct helper_message {
        uint8_t type;
        uint32_t number;
        int32_t err; /* > 0: an errno */
        char text[HELPER_TEXT_MAX];
};

/* Forks the helper. Single-threaded caller only. Returns its end of the socket (non-blocking) and
 * its pid. -errno. */
int helper_start(const struct helper_options *o, int *fd_ret, pid_t *pid_ret);
/* Non-blocking; -EAGAIN when the helper is behind, -EPIPE when it is gone. text is cut to
 * HELPER_TEXT_MAX - 1. */
int helper_send(int fd, enum helper_type type, uint32_t number, const char *text);
/* Non-blocking; -EAGAIN: nothing there; -EPIPE: it is gone. */
int helper_receive(int fd, struct helper_message *ret);
/* Waits at most timeout_ms for the helper to end, then kills it. Blocking. */
void helper_stop(int fd, pid_t pid, unsigned timeout_ms);

#endif
