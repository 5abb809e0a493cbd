/* SPDX-License-Identifier: MIT */
/* helper_link.h: the messages between the engine and the helper's process (process/helper.h). Any
 * thread; each call is one system call. */
#ifndef FS_HELPER_LINK_H
#define FS_HELPER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
        /* To the helper: the mount knows its pid now. It forgets what the helper before it was
         * asked for, but for events. */
        HELPER_KNOWN = 'K',
};
enum { HELPER_TEXT_MAX = 2048 };

struct helper_message {
        uint8_t type;
        uint32_t number;
        int32_t err; /* > 0: an errno */
        char text[HELPER_TEXT_MAX];
};

/* Non-blocking; -EAGAIN when the helper is behind, -EPIPE when it is gone for good. text is cut to
 * HELPER_TEXT_MAX - 1. */
int helper_send(int fd, enum helper_type type, uint32_t number, const char *text);
/* Non-blocking; -EAGAIN: nothing there; -EPIPE: helper and zygote are gone. */
int helper_receive(int fd, struct helper_message *ret);
/* Sends a message. wait: until there is room for it, else -EAGAIN. -EPIPE: magnetfs is gone. */
int helper_say(int fd, enum helper_type type, uint32_t number, int err, bool wait);

#endif
