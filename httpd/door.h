/* SPDX-License-Identifier: MIT */
/* door.h: the listening socket, and all connections whose request is not being handled: those that
 * say nothing, those in the middle of a head, those that take the rest of an answer, and those that
 * are being closed. One thread looks after them all, so that waiting costs a connection no thread.
 *
 * A request's head is taken from the socket to its last byte and not further; its body and the next
 * request stay there until they are asked for. So whoever has the connection reads the body from
 * the socket, and gives the connection back for the next request. */
#ifndef HTTPD_DOOR_H
#define HTTPD_DOOR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"

struct door;

/* Listens; *port 0 is replaced by the one that the kernel chose. Connections are left waiting until
 * door_start(). At most max connections are kept. -EADDRINUSE, -EACCES, -EADDRNOTAVAIL and others
 * of bind(). */
int door_open(struct in_addr address, uint16_t *port, unsigned max, struct door **ret);

/* Starts the thread, which never ends; it calls refuse. -EAGAIN: there is no room for it. */
int door_start(struct door *d, conn_refuse refuse, void *data);

/* Readable (poll) while door_next() has something; never to be read. */
int door_ready_fd(const struct door *d);

/* The connection that has waited longest with a whole head, NULL: none. Any thread; doesn't block.
 */
struct conn *door_next(struct door *d);

/* Puts a socket to the others as if it had been accepted; it belongs to the door then. For a
 * request that we send ourselves. -ENOMEM. Any thread. */
int door_put(struct door *d, int fd);

/* Gives a connection back after its request. The rest of the answer (NULL: none; from malloc, freed
 * by the door) is sent first: rest_length bytes from rest_at. persists: the next request may be
 * read, as this one was read and answered whole; else the connection is closed once the client had
 * time to read what was sent. Any thread; doesn't block. */
void door_back(struct door *d, struct conn *c, bool persists, char *rest, size_t rest_at,
               size_t rest_length);

/* Bytes of answers that wait in the door for clients to take them. Any thread. */
size_t door_rests(const struct door *d);

#endif
