/* SPDX-License-Identifier: MIT */
/* stream.h: the handlers of /stream: a file of a torrent over HTTP, while it is being downloaded.
 * For routes.c; each runs in a thread of civetweb and returns the status it sent.
 *
 * Each request, also a HEAD or one that is refused for its range, is a use of the torrent and
 * starts its idle time anew. A temporary torrent that went within a day comes back for it. */
#ifndef HTTPD_STREAM_H
#define HTTPD_STREAM_H

#include "routes.h"

/* GET, HEAD /stream/{hash}: the largest media file. */
int stream_largest(struct request *rq, const struct route_match *match);

/* GET, HEAD /stream/{hash}/{path}. */
int stream_file(struct request *rq, const struct route_match *match);

#endif
