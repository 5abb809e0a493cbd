/* SPDX-License-Identifier: MIT */
/* wants.h: which pieces of a torrent are wanted, by how many and how much. Pure: knows no FUSE, no
 * clock, no lock; the caller holds torrent->lock. A piece is in the table while somebody wants it
 * and it is not there yet. */
#ifndef FS_WANTS_H
#define FS_WANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uthash.h>

#include "bt.h"
#include "torrent/reader.h"

struct parked;

struct want {
        uint32_t piece;
        uint32_t count[PRIORITY_BLOCKED + 1]; /* how many want it with each priority */
        uint32_t total;
        uint32_t filled;        /* how many of them are fillers', with PRIORITY_LEAST */
        uint8_t told;           /* the priority that the session was last told */
        bool told_urgent;       /* the session was told of a deadline */
        bool reserved;          /* the store has room for it */
        bool there;             /* it is there, and its passing was not dealt with: not asked for */
        bool counted;           /* it is one of env->filling_bytes; wishes.c's */
        bool urgent;            /* it should have a deadline */
        uint64_t last_block_ms; /* when a block of it arrived; 0: none since it is wanted */
        uint64_t waited_ms;     /* since when reads wait for it; kept while they come back */
        uint64_t left_ms;       /* when the last of them left without it */
        unsigned bounded;       /* how many of those that wait are no poll's watch: they time out */
        uint64_t bounded_ms;    /* as waited_ms, for those alone */
        uint64_t bounded_left_ms;
        struct parked *parked; /* reads whose first missing piece it is (utlist) */
        UT_hash_handle hh;
};

struct wants {
        struct want *table;
        /* What the session is to be told, in order. */
        struct bt_want *batch;
        size_t n_batch, room_batch;
};

/* Changes one wish for piece from priority before to after (PRIORITY_NONE: no wish) and puts what
 * follows into the batch. A filler's, which the caller counts in filled, is taken off that before.
 * Who changes another takes none of theirs. Where a piece is newly wanted reserve is asked for
 * room; a piece without room stays in the table, not asked for, and reserve is asked again with
 * each further wish. The same for -EINPROGRESS, which says that the piece may be there already and
 * is looked at; that is no failure. release is called for pieces nobody wants any more, also for
 * those that have no room as far as is known here. -ENOMEM; -ENOSPC when there is no room. */
struct wants_room {
        int (*reserve)(void *arg, uint32_t piece);
        void (*release)(void *arg, uint32_t piece);
        void *arg;
};
int wants_change(struct wants *w, uint32_t piece, uint8_t before, uint8_t after,
                 const struct wants_room *room);

/* Asks for room once more where there was none. */
void wants_reserve(struct wants *w, struct want *want, const struct wants_room *room);

/* Takes its room away. */
void wants_release(struct wants *w, struct want *want, const struct wants_room *room);

struct want *wants_find(const struct wants *w, uint32_t piece);
/* The highest priority that somebody wants it with. */
uint8_t wants_priority(const struct want *want);
/* Asks for a deadline, or takes it back. */
void wants_urgent(struct wants *w, struct want *want, bool urgent);
/* The piece is there: forgets it. Its parked reads must have been taken off. */
void wants_done(struct wants *w, struct want *want);
/* Puts everything into the batch again: a new session torrent knows nothing yet. */
void wants_retell(struct wants *w);
/* Nobody was told of the batch: it is empty, and what it says is put there anew with the next
 * change. */
void wants_untold(struct wants *w);
void wants_clear(struct wants *w);

#endif
