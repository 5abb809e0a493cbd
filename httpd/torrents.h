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

/* Reads the file list of a torrent (files.h), waiting for its metadata while the client stays. As
 * mountpoint_document_read() and files_read(). */
struct files_taker;
int torrents_read_files(struct request *rq, const char *hash, const struct files_taker *taker);

/* Answers why a torrent's files cannot be told, by an error of the above. Returns the status. */
int torrents_no_files(struct request *rq, const char *hash, int error);

/* Takes a torrent as used: it stays for the idle time from now on. One that went as nobody used it
 * comes back: a player that paused, or a playlist, does not know that. That adds it, which no page
 * of another site may have done. -ENOENT: it is not here, and does not come back. */
int torrents_use(struct request *rq, const char *hash);

/* Waits for a torrent's metadata while the client stays, and reads nothing of it. On failure the
 * error was already answered; then its status is returned, else 0. */
int torrents_wait(struct request *rq, const char *hash);

#endif
