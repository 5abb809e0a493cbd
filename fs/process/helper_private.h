/* SPDX-License-Identifier: MIT */
/* helper_private.h: the inside of the helper's process: one thread, one loop. For helper*.c alone.
 */
#ifndef FS_HELPER_PRIVATE_H
#define FS_HELPER_PRIVATE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "process/helper.h"

/* The longest wait between two looks at things that have no file descriptor. */
enum { HELPER_LOOK_MS = 1000 };

/* ---- helper_sidecar.c: the sidecar that is started and watched ---- */

struct sidecar {
        /* set once */
        const struct helper_options *options;
        void (*tell)(void *arg, int err); /* it listens (0), or has ended */
        void *arg;
        pid_t self; /* this process */

        pid_t pid; /* 0: not running */
        bool wanted;
        bool listened; /* it has listened once: from then on it is started again and again */
        int said_fd;   /* what it says on stderr; -1: it has ours */
        char said[1024];
        size_t n_said;
        int ready_fd; /* it writes to the other end when it listens; -1 */
        uint64_t started_ms, restart_at_ms;
        unsigned delay_ms;
        uint64_t not_before_ms; /* no start before that */
};

void sidecar_init(struct sidecar *s, const struct helper_options *o,
                  void (*tell)(void *arg, int err), void *arg);
/* Starts it. again: it was up before, so a failure is no reason to give up. */
void sidecar_want(struct sidecar *s, bool again);
/* A signal came that may mean the end of all: not now, if it ends. */
void sidecar_hesitate(struct sidecar *s, uint64_t now_ms);
/* Its descriptors, for poll(); then what poll() said of them. */
void sidecar_fds(const struct sidecar *s, struct pollfd fds[2]);
void sidecar_look(struct sidecar *s, const struct pollfd fds[2]);
/* Starts it again when it is time to; returns the milliseconds until then, -1: not in sight. */
int sidecar_keep(struct sidecar *s, uint64_t now_ms);
/* A child has ended; false: it is not the sidecar. */
bool sidecar_reap(struct sidecar *s, pid_t pid, int status);
/* Asks it to end, and not to be started again. */
void sidecar_end(struct sidecar *s);

/* ---- helper_events.c: the commands of --on-event ---- */

enum { EVENTS_AT_ONCE = 16, EVENTS_QUEUED = 1024 };

struct event_command {
        pid_t pid; /* and its process group */
        uint64_t started_ms;
};

struct events {
        const char *command; /* NULL: none; set once */
        const char *mountpoint;
        struct event_command running[EVENTS_AT_ONCE];
        unsigned n_running;
        char *queue[EVENTS_QUEUED]; /* a ring of JSON lines */
        unsigned first, n_queued, n_dropped;
        uint64_t retry_at_ms; /* no fork before that: the last one failed */
};

/* Takes note of an event. Where too many wait it is dropped, and counted. */
void events_add(struct events *e, const char *json);
/* Starts what can be started and ends what runs too long; returns the milliseconds until it has to
 * be called again, -1: when a child ends. */
int events_keep(struct events *e, uint64_t now_ms);
/* A child has ended. */
void events_reap(struct events *e, pid_t pid);
/* Sends a signal to all that runs. */
void events_signal(struct events *e, int signum);

/* ---- helper_loop.c ---- */

/* The helper's whole life. fd: its end of the socket; zygote: its parent. */
_Noreturn void helper_loop(const struct helper_options *o, int fd, pid_t zygote);
/* A child of this process becomes a program: with signals as one expects them. */
void helper_become_child(void);
/* Log lines go to syslog from here on; stderr is somebody's that is not waited for any more. */
void helper_detach(void);

#endif
