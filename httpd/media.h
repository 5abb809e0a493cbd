/* SPDX-License-Identifier: MIT */
/* media.h: what a file is, by its name. Pure: no I/O. */
#ifndef HTTPD_MEDIA_H
#define HTTPD_MEDIA_H

#include <stdbool.h>
#include <stddef.h>
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

struct media_file {
        const char *name;
        uint64_t length; /* bytes */
};

/* Which file a player means when it names only the torrent: the largest video or audio; of a
 * torrent without any, the largest file. The first of equals. Returns its place in files, count if
 * there is none. */
size_t media_largest(const struct media_file *files, size_t count);

#endif
