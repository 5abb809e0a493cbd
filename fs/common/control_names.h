/* SPDX-License-Identifier: MIT */
/* control_names.h: the names in the mount that all programs know: the control directory and what is
 * in it. Macros, so that paths can be put together of them. */
#ifndef FS_CONTROL_NAMES_H
#define FS_CONTROL_NAMES_H

#define NAME_CONTROL ".magnetfs" /* in the root */

/* in the control directory */
#define NAME_ADD           "add"
#define NAME_ADD_TEMPORARY "add-temporary"
#define NAME_RECALL        "recall"
#define NAME_CACHE         "cache"
#define NAME_STATUS        "status" /* of a torrent, too */
#define NAME_SESSION       "session"
#define NAME_EVENTS        "events"
#define NAME_BY_HASH       "by-hash"
#define NAME_TORRENTS      "torrents"

/* in torrents/INFO-HASH */
#define NAME_FILES   "files"
#define NAME_MAGNET  "magnet"
#define NAME_TORRENT "torrent"
#define NAME_KEEP    "keep"
#define NAME_DETAIL  "detail"
#define NAME_DATA    "data"
#define NAME_LARGEST "largest"
#define NAME_BY_NAME "by-name"

#endif
