/* SPDX-License-Identifier: MIT */
/* events.h: GET /events: what happens to torrents, as server-sent events (HTML standard §9.2). */
#ifndef HTTPD_EVENTS_H
#define HTTPD_EVENTS_H

#include "routes.h"

/* The handler; for routes.c. Goes on for as long as the client listens and takes what is sent.
 * Returns the status that was sent. */
int events_listen(struct request *rq, const struct route_match *match);

#endif
