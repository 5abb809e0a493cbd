/* SPDX-License-Identifier: MIT */
/* reader.h: one open file: where it reads, which pieces it wants next. Pure: knows no FUSE, no
 * clock, no lock; the caller holds torrent->lock. Nothing here blocks or fails. */
#ifndef FS_READER_H
#define FS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        PLAN_RANGES_MAX = 9,
        PRIORITY_NONE = 0,
        PRIORITY_LEAST = 1,
        PRIORITY_BLOCKED = 7, /* somebody waits for the piece now */
};

/* What a reader wants: ranges of pieces in the torrent, without overlap, most urgent first. */
struct plan {
        unsigned n;
        struct plan_range {
                uint32_t first, end; /* [first, end) */
                uint8_t priority;
        } range[PLAN_RANGES_MAX];
};

/* Where the file lies. */
struct layout {
        uint64_t offset, size; /* of the file, in the torrent's byte stream */
        uint32_t piece_length;
};

struct reader {
        uint64_t position;  /* where the next read in a row would begin */
        uint64_t run_bytes; /* read in a row so far */
        bool playing;       /* else a probe: wants what it touches, and in a row a little more */
        bool ahead;         /* wants pieces behind the read: the next read finds them asked for */
        uint64_t rate;      /* bytes per second it took, 0: not known yet */
        uint64_t sample_ms; /* since when … */
        uint64_t sample_bytes; /* … so many bytes were read */
        struct plan plan;
};

/* The pieces that hold [off, off + len) of the file; len > 0. */
void layout_pieces(const struct layout *l, uint64_t off, uint64_t len, uint32_t *first,
                   uint32_t *end);

/* Takes note of a read of len > 0 bytes at off (both inside the file) at now_ms and renews r->plan.
 * window_max_bytes bounds what is wanted behind the read; fill: the rest of the file too, with the
 * least priority. */
void reader_touch(struct reader *r, const struct layout *l, uint64_t off, uint64_t len,
                  uint64_t now_ms, uint64_t window_max_bytes, bool fill);

/* The priority the plan gives to a piece. */
uint8_t plan_priority(const struct plan *p, uint32_t piece);

/* Calls changed for each piece whose priority differs between before and after, in falling order of
 * its new priority, dropped pieces first. The cost is the number of such pieces and of ranges, not
 * the size of the windows. */
void plan_diff(const struct plan *before, const struct plan *after,
               void (*changed)(void *arg, uint32_t piece, uint8_t before, uint8_t after),
               void *arg);

#endif
