/* SPDX-License-Identifier: MIT */
/* evict.h: which pieces go so that others find room. Pure: knows no store, no lock, no clock. */
#ifndef FS_EVICT_H
#define FS_EVICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evict_piece {
        uint32_t owner, piece; /* the caller's */
        uint32_t used;         /* when it was last read; less is longer ago */
        bool end;              /* of a media file: goes last */
        uint64_t bytes;        /* what its going gives */
};

/* Puts the pieces that go so that bytes come free to the front of the n, by owner, then piece, so
 * that neighbours are punched together. Returns how many these are: as few as do, or all where all
 * give less; what goes beyond the bytes is less than the last one that was chosen gives.
 *
 * Ends of files stay longest: a player reads them before it plays. Then what was read longer ago
 * goes first. Of pieces that were read at the same time the higher one goes first: who reads on, or
 * starts anew with a film of which nobody was since, comes to the lower one sooner, and meanwhile
 * the rest is fetched. O(n log n); takes no memory; never fails. */
size_t evict_choose(struct evict_piece *p, size_t n, uint64_t bytes);

/* How much to evict at once where so many bytes are missing: those at least, and 64 MiB or 5 % of
 * the limit, whichever is larger, as each time costs a commit; but no more than an eighth of a
 * small cache for that. */
uint64_t evict_batch(uint64_t limit, uint64_t lacks);
/* Where less room than that is left a batch is to go beforehand, so that a reader rarely waits for
 * one. Less than a batch. */
uint64_t evict_low(uint64_t limit);

#endif
