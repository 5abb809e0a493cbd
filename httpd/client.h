/* SPDX-License-Identifier: MIT */
/* client.h: the socket of one client while its request is handled: waiting with an eye on it,
 * sending. Knows no HTTP and no civetweb. No TLS here, so what is sent are plain bytes.
 *
 * A client that leaves closes its socket, and one that just has nothing more to say may end its
 * direction (nc): both send a FIN. The next bytes we send tell: they are acknowledged, or answered
 * with a reset. Before the answer begins there is something that may always be sent, the probe. So
 * a FIN means leaving only where nothing can tell: in the middle of an answer of which nothing is
 * on its way, and for a client that takes no probe if the FIN did not come with the request, or its
 * place is wanted. */
#ifndef HTTPD_CLIENT_H
#define HTTPD_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the waits and sends below end early; all are -errno. */
#define CLIENT_GONE     (-EPIPE)     /* it closed (FIN), reset or vanished */
#define CLIENT_STALLED  (-ETIMEDOUT) /* it took nothing for stall_ms */
#define CLIENT_STOPPING (-ESHUTDOWN) /* the sidecar is ending */

struct client {
        /* set once */
        int fd;            /* never closed here */
        int wake_fd;       /* readable once the sidecar ends; never read */
        uint64_t stall_ms; /* how long a send may stand still */

        /* by the handler's thread only */
        uint64_t stuck_since_ms; /* since when what is in the socket's buffer didn't change */
        int stuck_bytes;
        unsigned lease_ms;   /* TCP_USER_TIMEOUT as last set */
        uint64_t began_ms;   /* when the request was there */
        const char *probe;   /* what may be sent to see whether a client is there; NULL: nothing */
        uint64_t sent_bytes; /* by client_send(), since then */
        bool has_ended;      /* it sent a FIN, and yet listens as far as we know */
        uint64_t doubt_ms;   /* from when on that is doubted if nothing was sent; 0: it is not */
        const _Atomic uint64_t *wanted_ms; /* when others last wanted what it has a place of, and
                                              few were left; NULL: nobody does */
};

/* Has the kernel watch all connections that a listening socket will have: a vanished peer is
 * noticed within a minute. Any thread; never fails. */
void client_set_options(int listener);

/* Takes the socket of a request that was there at began_ms. */
void client_init(struct client *c, int fd, int wake_fd, uint64_t stall_ms, uint64_t began_ms);

/* Sends as much of buf as the client takes at once; *ret_sent says how much. 0 or CLIENT_GONE. */
int client_send_some(struct client *c, const void *buf, size_t len, size_t *ret_sent);

/* Leaves the socket as client_init() found it, for the next request. */
void client_done(struct client *c);

/* Waits until poll(fd) gives any of events, POLLERR or POLLHUP: 0. Else CLIENT_GONE,
 * CLIENT_STOPPING, or -ETIMEDOUT after timeout_ms (negative: none). fd may be negative: then only
 * the client is watched. */
int client_wait(struct client *c, int fd, short events, int64_t timeout_ms);

/* Sends all of buf. Blocks while the client doesn't take it, at most stall_ms at a stretch.
 * 0, CLIENT_GONE, CLIENT_STALLED, CLIENT_STOPPING. */
int client_send(struct client *c, const void *buf, size_t len);

/* Waits until the client's kernel has taken everything sent, so that a player paused at the end of
 * a file gets it all: a closed socket is not kept for long by the kernel. Errors as client_send().
 */
int client_flush(struct client *c);

#endif
