/* SPDX-License-Identifier: MIT */
/* dav.h: the handlers of /dav: all torrents as one tree of directories, by WebDAV, class 1 and
 * read-only (RFC 4918). For routes.c; each returns the status it sent.
 *
 * What writes is refused by its method, like everywhere (405). A GET or HEAD of a file is a use of
 * its torrent, as one of /stream; looking around is none, or file managers and scanners would keep
 * everything. */
#ifndef HTTPD_DAV_H
#define HTTPD_DAV_H

#include "routes.h"

int dav_options(struct request *rq, const struct route_match *match);
int dav_propfind(struct request *rq, const struct route_match *match);
/* GET, HEAD: a file, or a page that lists a directory. */
int dav_get(struct request *rq, const struct route_match *match);

#endif
