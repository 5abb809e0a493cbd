/* SPDX-License-Identifier: MIT */
/* ctl_rows.h: the torrents of the control file `status`, as the tables need them. Pure. */
#ifndef FS_CTL_ROWS_H
#define FS_CTL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

/* A torrent; the strings are the JSON's. */
struct ctl_row {
        const char *hash, *name, *state; /* "-": not told */
        const char *error;               /* NULL: none */
        const char *kept;                /* "kept" or "temp" */
        bool has_length;                 /* the metadata is known */
        uint64_t length, have, down, up; /* bytes, bytes a second */
        uint64_t peers, seeds, readers, parked;
        unsigned progress; /* in 1/10000, rounded down: CTL_COMPLETE is complete */
        size_t index;      /* place in the JSON */
};
enum { CTL_COMPLETE = 10000 };

struct ctl_rows {
        struct ctl_row *row; /* free() it */
        size_t n;
};

/* -ENOMEM; -EBADMSG: not the JSON of `status`. */
int ctl_rows_new(const cJSON *status, struct ctl_rows *ret);

/* The torrents that something happens with come first, those that are read before all. */
void ctl_rows_sort_by_activity(struct ctl_rows *rows);

#endif
