/* SPDX-License-Identifier: MIT */
/* media.h: what a file is, by its name. Pure; any thread. */
#ifndef FS_MEDIA_H
#define FS_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

enum media_class {
        MEDIA_OTHER,
        MEDIA_VIDEO,
        MEDIA_AUDIO,
        MEDIA_ACTIVE, /* a browser would run or render what is in it: only as an attachment, in a
                         sandbox */
};

/* Content type by extension, any case; "application/octet-stream" if unknown. A static string. */
const char *media_type(const char *name);

/* Its class; MEDIA_OTHER if unknown. */
enum media_class media_class(const char *name);

/* Whether it is a video or audio. */
bool media_plays(const char *name);

/* The best of the files that were looked at; all zero: of none. */
struct media_best {
        uint64_t length; /* bytes */
        bool any, plays; /* there is one; it is a video or audio */
};

/* Looks at the next file of a torrent, in its order. Returns whether it is from now on the one that
 * a player means when it names only the torrent: the largest video or audio; of a torrent without
 * any, the largest file. The first of equals. */
bool media_is_better(struct media_best *best, const char *name, uint64_t length);

#endif
