/* SPDX-License-Identifier: MIT */
/* ctl_source.h: what `add` is given: what it is, and what to call it. What is no file may be a
 * magnet or an info-hash: that is magnetfs' to judge. */
#ifndef FS_CTL_SOURCE_H
#define FS_CTL_SOURCE_H

#include <limits.h>

#include "ctl/ctl.h"

/* An argument, or a line of a list. */
struct ctl_source {
        const char *list; /* what the list is called; NULL: an argument */
        size_t line;      /* of it */
        int folder;       /* what a path is relative to: for openat() */
        char *text;
};

enum ctl_kind { CTL_LINK, CTL_TORRENT, CTL_LIST };

/* What it turned out to be. */
struct ctl_loaded {
        enum ctl_kind kind;
        char *link; /* without blanks around it; the source's own text */
        char *data; /* of a file, len bytes and a NUL; the caller frees it */
        size_t len;
        bool piped; /* the file is no ordinary one: there is no folder around it */
};

/* What it is called in messages: a magnet with its trackers would bury the reason. */
#define CTL_LABEL_MAX (PATH_MAX + 256)
void ctl_source_label(const struct ctl_source *s, char label[CTL_LABEL_MAX]);

/* Finds out, and reads a file, "-" being the standard input. 0, or -EINVAL: complained. Blocks for
 * a pipe; a line of a list names none. */
int ctl_source_load(struct ctl *c, const struct ctl_source *s, struct ctl_loaded *ret);

/* Says why magnetfs did not take a link (a single one) with -EINVAL, where it is meant as something
 * else; false: it is meant as a magnet, and the answer says why. */
bool ctl_source_complain(struct ctl *c, const struct ctl_source *s, const char *link);

#endif
