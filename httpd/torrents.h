/* SPDX-License-Identifier: MIT */
/* torrents.h: the handlers of /add and /torrents. For routes.c; each runs in a thread of civetweb
 * and returns the status it sent. */
#ifndef HTTPD_TORRENTS_H
#define HTTPD_TORRENTS_H

#include "routes.h"

int torrents_add_link(struct request *rq, const struct route_match *match);
int torrents_add_body(struct request *rq, const struct route_match *match);
int torrents_list(struct request *rq, const struct route_match *match);
int torrents_show(struct request *rq, const struct route_match *match);
int torrents_remove(struct request *rq, const struct route_match *match);
int torrents_keep(struct request *rq, const struct route_match *match);
int torrents_unkeep(struct request *rq, const struct route_match *match);

/* Reads the file list of a torrent, waiting for its metadata while the client stays. The caller
 * frees it with files_free(). On failure the error was already answered; then its status is
 * returned, else 0. */
struct file_list;
int torrents_read_files(struct request *rq, const char *hash, struct file_list *ret);

/* Waits for a torrent's metadata while the client stays, and reads nothing of it. Likewise. */
int torrents_wait(struct request *rq, const char *hash);

#endif
