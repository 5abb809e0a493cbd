/* SPDX-License-Identifier: MIT */
/* handover.h: civetweb, which is given one request after the other by the door (door.h).
 *
 * civetweb 1.15 gives each connection a thread from its first byte to its last, so a thousand
 * idle clients would need a thousand threads, and it has no call that takes a connection which
 * somebody else has accepted. But like every function that a library imports, its listen() and
 * accept() are looked up in the program first, and this program has them: the listening socket that
 * civetweb makes never listens and is replaced by the door's eventfd, and what it accepts is one
 * end of a pair of sockets in which a head lies and nothing else. So civetweb reads heads and runs
 * handlers, and never has a client's socket: its threads are free as soon as a handler returns,
 * nothing that it reads ahead is lost to the next request, and what it sends goes nowhere. Which
 * request it is it hears as the address that the connection comes from. */
#ifndef HTTPD_HANDOVER_H
#define HTTPD_HANDOVER_H

#include "door.h"

struct mg_request_info;

/* Handles a request, in one of civetweb's threads: to the end, or up to the point where another
 * thread goes on with it. The connection goes back to the door at the end; info and what it points
 * to is civetweb's, until the return. */
typedef void (*handover_handle)(void *data, struct conn *c, const struct mg_request_info *info);

/* Starts civetweb with so many threads for what the door has ready; once in a process. What
 * civetweb does not take, is refused through the door's function. -EAGAIN, -ENOMEM, or what
 * civetweb says; the process is to end then. */
int handover_start(struct door *d, unsigned threads, handover_handle handle, conn_refuse refuse,
                   void *data);

#endif
