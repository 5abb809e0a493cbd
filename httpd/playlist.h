/* SPDX-License-Identifier: MIT */
/* playlist.h: the handlers of /playlist: a torrent's files for a player, one after the other. For
 * routes.c. */
#ifndef HTTPD_PLAYLIST_H
#define HTTPD_PLAYLIST_H

#include "routes.h"

/* GET, HEAD /playlist/{hash}.m3u8 and .m3u: video and audio in natural order; with ?all=1 all
 * files. Waits for the metadata. Brings back a torrent that went within a day. */
int playlist_show(struct request *rq, const struct route_match *match);

#endif
