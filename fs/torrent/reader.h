/* SPDX-License-Identifier: MIT */
/* reader.h: one open file: where it reads, which pieces it wants next. Pure: knows no FUSE, no
 * clock, no lock; the caller holds torrent->lock. Nothing here blocks or fails. */
#ifndef FS_READER_H
#define FS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        READER_PLACES = 3,
        /* the first piece of the read; one window or, coarser, several; what is needed soon */
        PLAN_RANGES_MAX = 2 + 3 * READER_PLACES,
        PRIORITY_NONE = 0,
        PRIORITY_LEAST = 1,
        PRIORITY_YIELDS = 1,  /* of one that yields: as the farther half of a player's window */
        PRIORITY_BLOCKED = 7, /* somebody waits for the piece now, or has less than his share */
};

/* What a reader wants: ranges of pieces in the torrent. Where some overlap the highest priority
 * counts. */
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

/* Where in the file the handle reads on. */
struct place {
        uint64_t position;     /* where the next read in a row would begin */
        uint64_t given;        /* the end of what was given of the row; its begin before that */
        uint64_t run_bytes;    /* read in a row so far */
        uint64_t rested_ms;    /* what it took between the reads of its row */
        bool playing;          /* else a probe: wants what it touches, and in a row a little more */
        uint64_t rate;         /* bytes per second it took, 0: not known yet */
        uint64_t sample_ms;    /* when the measurement of the rate began */
        uint64_t sample_bytes; /* bytes that were read since then */
        uint64_t left_at;      /* what read_bytes of the reader was when it was last read */
};

struct reader {
        /* The one read last comes first. A player of a film whose pictures and sound lie apart, or
         * two threads with one handle, read at several in turn. */
        struct place place[READER_PLACES];
        unsigned places;
        unsigned returns;    /* how often it has come back to a place since it went to a new one */
        uint64_t read_bytes; /* in all */
        bool playing;        /* at a place whose window is wanted */
        uint64_t rate;       /* bytes per second it took at the places that play */
        uint64_t window;     /* how far ahead of where it reads is wanted, in bytes */
        bool yields;         /* set by the caller: others play that have too little in hand */
        bool behind;         /* set by the caller, see reader_is_behind */
        bool returned;       /* its file was closed and opened again: returning.h */
        bool ahead;          /* wants pieces behind the read: the next read finds them asked for */
        bool presses;        /* the last range of the plan is what it needs soon */
        struct plan plan;
};

/* The pieces that hold [off, off + len) of the file; len > 0. */
void layout_pieces(const struct layout *l, uint64_t off, uint64_t len, uint32_t *first,
                   uint32_t *end);

/* What one reader may want ahead while so many play, itself among them; in bytes. All together may
 * want no more than 256 MiB: who plays on takes his share with his next read. */
uint64_t reader_window_max(unsigned playing);

/* Whether a reader that takes `rate` has less than its share when `playing` readers of its torrent,
 * itself among them, take `sum` bytes per second together. What such a reader plays next is as
 * urgent as what others wait for. Else a reader that takes whatever it gets (cp), and so always
 * waits, would get all there is. */
bool reader_is_behind(uint64_t rate, uint64_t sum, unsigned playing);

/* Takes note of a read of len > 0 bytes at off (both inside the file) at now_ms and renews r->plan.
 * rested_ms: for how long nothing was asked for since the answer to the read before.
 * window_max_bytes bounds what is wanted behind the read, and at the other places, in all.
 *
 * Going elsewhere drops the old window at once. Coming back to a place goes on with it as it was
 * left, and with the second time in a row the handle is known to read at several places: their
 * windows stand side by side until it goes to a new one. */
void reader_touch(struct reader *r, const struct layout *l, uint64_t off, uint64_t len,
                  uint64_t now_ms, uint64_t rested_ms, uint64_t window_max_bytes);

/* Whether a read at off goes on in the row of one of its places: the nearest of them, else NULL. */
const struct place *reader_goes_on(const struct reader *r, uint64_t off);

/* What it wants comes behind what others want, until it is touched again. */
void reader_yields(struct reader *r);

/* Takes note that the bytes [off, end) were given, of a read that reader_touch was told of. */
void reader_gave(struct reader *r, uint64_t off, uint64_t end);

/* Whether a read of [off, end) belongs to a row that reads on at `position`. */
bool reader_in_row(uint64_t position, uint64_t off, uint64_t end);

/* Whether it plays as one that shows what it reads, by its rests: not one that takes all it gets.
 */
bool reader_is_paced(const struct reader *r);

/* Whether it has read more in a row than most probes, and too little to say that it takes all it
 * gets. */
bool reader_may_play(const struct reader *r);

/* Up to which byte of the file it should find all there: the nearer half of its window, or all of
 * one that is as small as before it plays. */
uint64_t reader_needs(const struct reader *r);

/* Up to which byte of the file one that plays will have read in a moment; where it reads, for one
 * that does so at several places. */
uint64_t reader_needs_soon(const struct reader *r);

/* The piece is as urgent as what a read waits for, until the reader is touched again or relents. */
void reader_presses(struct reader *r, uint32_t piece);
void reader_relents(struct reader *r);

/* The priority the plan gives to a piece. */
uint8_t plan_priority(const struct plan *p, uint32_t piece);

/* Calls changed for each piece whose priority differs between before and after, in falling order of
 * its new priority, dropped pieces first. The cost is the number of such pieces and of ranges, not
 * the size of the windows. */
void plan_diff(const struct plan *before, const struct plan *after,
               void (*changed)(void *arg, uint32_t piece, uint8_t before, uint8_t after),
               void *arg);

#endif
