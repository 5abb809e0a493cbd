/* stream.h: the handlers of /stream: a file of a torrent over HTTP, while it is being downloaded.
 * For routes.c; each runs in a thread of civetweb and returns the status it sent. */
#pragma once

#include "routes.h"

/* GET, HEAD /stream/{hash}: the largest media file. */
int stream_largest(struct request *rq, const struct route_match *match);

/* GET, HEAD /stream/{hash}/{path}. */
int stream_file(struct request *rq, const struct route_match *match);
