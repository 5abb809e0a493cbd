/* SPDX-License-Identifier: MIT */
/* helper.h: the process that may touch the mount.
 *
 * A daemon that is killed with a system call on its own mount pending hangs in D state and holds
 * the mount. So magnetfs makes none: a helper announces new torrents by mkdir, removes by rmdir,
 * lets the kernel read further ahead, starts and watches the sidecar and runs the --on-event
 * command. It ends when magnetfs does, however that ends.
 *
 * Between the two stands the zygote: forked before any thread, session or mount exists, it does
 * nothing but fork the helper, and fork it anew should it be killed. It shares the helper's end of
 * the socket, so that what was sent waits for the next helper, and it is the one that has to be
 * gone at the end: it ends what the helper has left. */
#ifndef FS_HELPER_H
#define FS_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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
        HELPER_SIDECAR = 'S',  /* start it; number 1: not for the first time, so go on trying.
                                  Answers: err 0 whenever it listens, > 0 whenever it has ended */
        HELPER_EVENT = 'E',    /* run on_event; name is the JSON line; no answer */
        HELPER_DETACH = 'D',   /* stderr is no longer ours: log to syslog; no answer */
        HELPER_AHEAD = 'H',    /* of complete files more is read ahead, if we may; no answer */
        HELPER_QUIT = 'Q',     /* end, the sidecar first */

        /* Of the zygote, unasked: */
        HELPER_GONE = 'G', /* the helper was killed: what was asked of it may not be answered */
        HELPER_BACK = 'B', /* number: the pid of a helper that does nothing on the mount yet, as it
                              is not known there; also of the first one */
        /* … which is told by this that it is; what was asked of the one before it forgets, but for
         * events. */
        HELPER_KNOWN = 'K',
};
enum { HELPER_TEXT_MAX = 2048 };

struct helper_message {
        uint8_t type;
        uint32_t number;
        int32_t err; /* > 0: an errno */
        char text[HELPER_TEXT_MAX];
};

/* Forks the zygote, and that the helper. Single-threaded caller only. Returns its end of the socket
 * (non-blocking) and the zygote's pid. -errno. */
int helper_start(const struct helper_options *o, int *fd_ret, pid_t *pid_ret);
/* Non-blocking; -EAGAIN when the helper is behind, -EPIPE when it is gone for good. text is cut to
 * HELPER_TEXT_MAX - 1. */
int helper_send(int fd, enum helper_type type, uint32_t number, const char *text);
/* Non-blocking; -EAGAIN: nothing there; -EPIPE: helper and zygote are gone. */
int helper_receive(int fd, struct helper_message *ret);
/* Waits at most timeout_ms for the helper and all it started to end, then kills zygote and helper
 * (helper: its pid, or -1). Blocking. */
void helper_stop(int fd, pid_t zygote, pid_t helper, unsigned timeout_ms);

#endif
