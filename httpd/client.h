/* SPDX-License-Identifier: MIT */
/* client.h: the socket of one client: finding it, waiting with an eye on it, sending. Knows no HTTP
 * and no civetweb.
 *
 * civetweb hands out no descriptor and notices a client that left only when it writes. So a handler
 * finds the descriptor of its connection and from then on sends by itself; civetweb still owns and
 * closes it. No TLS here, so what is sent are plain bytes. */
#ifndef HTTPD_CLIENT_H
#define HTTPD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the waits and sends below end early; all are -errno. */
#define CLIENT_GONE     (-EPIPE)     /* it closed (FIN), reset or vanished */
#define CLIENT_STALLED  (-ETIMEDOUT) /* it took nothing for stall_ms */
#define CLIENT_STOPPING (-ESHUTDOWN) /* the sidecar is ending */

struct client {
        /* set once */
        int fd;            /* civetweb's; never closed here */
        int wake_fd;       /* readable once the sidecar ends; never read */
        uint64_t stall_ms; /* how long a send may stand still */

        /* by the handler's thread only */
        uint64_t stuck_since_ms; /* since when what is in the socket's buffer didn't change */
        int stuck_bytes;
        unsigned lease_ms; /* TCP_USER_TIMEOUT as last set */
};

/* Raises (or lowers) the limit of open files to what connections clients need; client_init() looks
 * through so many. Call once at the start. -errno. */
int client_limit_files(unsigned connections);

/* Finds the descriptor of the connection between the peer remote_addr:remote_port and our
 * local_port, and has the kernel watch it: a vanished peer is noticed within a minute. Costs some
 * system calls for each open file below it. -ENOTCONN: there is none (any more). Any thread;
 * doesn't block. */
int client_init(struct client *c, const char *remote_addr, uint16_t remote_port,
                uint16_t local_port, int wake_fd, uint64_t stall_ms);

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

/* Ends our direction and reads away what the client still sends, for a short time: closing a socket
 * with unread bytes resets it, and the answer would be lost on the way (RFC 9112 §9.6). */
void client_drain(struct client *c);

#endif
