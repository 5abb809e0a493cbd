/* SPDX-License-Identifier: MIT */
/* fill_pause.h: what follows for those that fetch what nobody reads (--fill) when it can't be
 * written. Where the cache knows that there is no room they ask for nothing; of a quota, or of what
 * a file system lacks for itself, it knows nothing, and all that came would come in vain. That is
 * so for all torrents; what else a store may fail for, for its own alone. Pure: knows no clock. */
#ifndef FS_FILL_PAUSE_H
#define FS_FILL_PAUSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One for all torrents, and one for each; zeroed at first. Any thread, without a lock. */
struct fill_pause {
        _Atomic uint64_t until_ms;
        atomic_uint refusals; /* in a row, but for those within a pause */
};

/* Whether a write that failed with err (> 0) would for the others, too. */
bool fill_pause_is_for_all(int err);
/* A write was refused: nothing is to be asked for from here on for a while, each time for twice as
 * long, up to a minute. */
void fill_pause_begin(struct fill_pause *p, uint64_t now_ms);
/* A piece has come whole: they may ask for all again. (A block is not enough: what there was of a
 * piece goes where one of its blocks is refused, so that there is always room for the first. Nor is
 * one that came before the pause was over.) */
void fill_pause_end(struct fill_pause *p, uint64_t now_ms);
/* Whether nothing is to be asked for; and whether but one piece of a torrent at a time, to see if
 * it can be written. Where neither is known after a while, as nobody gives it, that ends, too. */
bool fill_pause_rests(const struct fill_pause *p, uint64_t now_ms);
bool fill_pause_tries(const struct fill_pause *p, uint64_t now_ms);

/* What was said of one torrent; zeroed at first. */
struct fill_told {
        bool waits;         /* that it does */
        uint64_t waits_ms;  /* since when it does; 0: it does not */
        uint64_t waited_ms; /* when it was last said that it does */
};

enum fill_news { FILL_NO_NEWS, FILL_WAITS, FILL_REFUSED, FILL_GOES_ON };

/* waits: it would fetch something and has no room for it, or must not ask for it; refused: a write
 * was, since the last tick. What is to be said: once that it waits, and why, when that is no matter
 * of a moment, and once that it goes on. */
enum fill_news fill_told_tick(struct fill_told *told, bool waits, bool refused, uint64_t now_ms);

#endif
