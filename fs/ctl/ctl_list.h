/* SPDX-License-Identifier: MIT */
/* ctl_list.h: lists of sources: a text with a magnet, an info-hash or the path of a .torrent file a
 * line. Empty lines and those that begin with # count for nothing, as do blanks around a line, a
 * byte order mark and the line breaks of DOS. Pure. */
#ifndef FS_CTL_LIST_H
#define FS_CTL_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* What stands between a list and the numbers of its lines. */
struct ctl_list {
        char *rest;    /* what comes next; changed as it is read */
        size_t number; /* of the line that was read last, from 1 */
};

/* The limits of a list and of its lines: no magnet that magnetfs takes is longer. */
#define CTL_LIST_BYTES_MAX (64U << 20)
enum { CTL_LIST_LINE_MAX = 64 << 10 };

/* Whether it is a text: no byte of it is a control character other than a blank. */
bool ctl_list_is_text(const char *data, size_t len);

/* The text without the blanks around it, cut in place. */
char *ctl_list_trim(char *text);

/* The next line that counts, trimmed, a part of the text; NULL: there is none. */
char *ctl_list_next(struct ctl_list *l);

#endif
