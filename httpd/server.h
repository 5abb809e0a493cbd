/* SPDX-License-Identifier: MIT */
/* server.h: the server and what all requests share. The door (door.h) has the connections, civetweb
 * (handover.h) reads heads and runs what is soon done, and what takes long runs in threads of its
 * own (aside.h); every answer is sent by us (client.h). */
#ifndef HTTPD_SERVER_H
#define HTTPD_SERVER_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guard.h"
#include "health.h"
#include "metrics.h"
#include "mountpoint.h"

/* Requests that wait for metadata, and so hold a thread for minutes. */
enum { SERVER_WAITS = 64 };
/* Requests whose body has yet to come; one that waits for metadata then waits among those. */
enum { SERVER_BODIES = 32 };
/* Clients that listen to events. */
enum { SERVER_LISTENERS = 32 };
/* Memory for long lists of files that are sorted, in places of 1 MiB: the longest has half a
 * million paths of 32 MiB in all, the most that the mount takes. They are read one at a time. */
enum { SERVER_LISTS = 40, SERVER_LIST_SHIFT = 20, SERVER_LONG_LISTS = 1 };
/* Reads of a torrent's files at a time, which the mount makes as they are read: others that ask it
 * for something wait behind no more of them. */
enum { SERVER_READS = 2 };
/* Threads of civetweb: for what is soon done, so that the API always answers. */
enum { SERVER_API_THREADS = 8 };
/* With fewer threads than this, one for the API and one for what takes long, there is no use in
 * serving. */
enum { SERVER_THREADS_MIN = 2 };

/* A count of what may run at the same time. */
struct slots {
        _Atomic unsigned used;
        _Atomic uint64_t wanted_ms; /* when one was last asked for while more than half were taken;
                                       0: never */
        unsigned limit;             /* set once */
        const char *name;           /* set once: what they are for, in the plural */
};

/* Takes one of the slots; false: none is left. Any thread; never blocks. */
bool slots_take(struct slots *s);
void slots_give(struct slots *s);

struct door;
struct request;

struct server {
        /* set once, before the server starts */
        struct mountpoint *mount;
        struct health *health;
        struct guard_rules guard;
        const char *token; /* whoever asks has to have it; NULL: nobody */
        uint32_t address;  /* host order */
        uint16_t port;     /* 0: the kernel chooses; server_start() puts in which. By the starting
                              thread only */
        uint64_t client_timeout_ms;
        sem_t reads; /* SERVER_READS; held for milliseconds, while no client is waited for */
        int wake_fd; /* eventfd: readable once the sidecar ends, never read */

        /* set by server_start() */
        struct door *door;

        /* atomic */
        struct metrics metrics;
        struct slots streams, waits, bodies, listeners;
        struct slots lists, long_lists; /* of which no thread comes */
        _Atomic unsigned active;        /* requests being handled */
        atomic_bool stopping;
};

/* Listens and serves from now on, which it has asked itself over a socket; port 0 is replaced by
 * the one the kernel chose. Where not all threads can be made it serves with fewer, and fewer
 * slots. s must stay. -EAGAIN: there is no room for threads; -EADDRINUSE and others: cannot listen;
 * *ret_reason (if not NULL; the caller frees it) says why. What was started stays: the process is
 * to end then. Blocking, seconds at most. */
int server_start(struct server *s, char **ret_reason);

/* Goes on with a request in a thread that may wait: run(data) ends it. -EAGAIN: there is no room
 * for a thread. Any thread; doesn't block. */
int server_aside(struct request *rq, void (*run)(void *data), void *data);

/* Ends a request: gives its connection back and frees it. By the thread that handles it. */
void server_end(struct request *rq);

/* Wakes every request that waits, and waits at most timeout_ms for all to end. Connections are cut
 * when the process ends, which it should do at once: civetweb's own stop takes seconds. */
void server_stop(struct server *s, unsigned timeout_ms);

#endif
