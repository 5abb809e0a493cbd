/* SPDX-License-Identifier: MIT */
/* filling.h: what of a torrent is fetched though nobody reads it (--fill): a file from its first
 * read on, or all that its magnet asks for. That goes on when the files are closed, and over sleep
 * and restarts, until all of it has come; where nothing is to be fetched so it is only remembered.
 * Under torrent->lock where not said otherwise; nothing blocks. */
#ifndef FS_FILLING_H
#define FS_FILLING_H

#include "torrent/torrent.h"

/* The file of that node of the tree is fetched from here on, if it is not already. */
void filling_file(struct torrent *t, uint32_t node);
/* The torrent has content now: goes on with what is to be fetched, once it is awake. whole: what
 * the magnet asks for (filling_of_magnet), taken over; NULL: nothing. */
void filling_begin(struct torrent *t, struct filler *whole);
/* It has fallen asleep: nothing is wanted until it is awake again. It does not wake for that alone:
 * who sees to how many are awake wakes it (torrent_is_to_fill). */
void filling_rest(struct torrent *t);
/* Its content goes: nothing is wanted any more, but remembered to be. */
void filling_end(struct torrent *t);
/* A piece went to make room: it is fetched again when there is some. */
void filling_lost(struct torrent *t);
/* A piece has come, or time has passed: wants what is next, and forgets what has all come. */
void filling_run(struct torrent *t, bool came);
/* Others need so many bytes of room: what nobody else wants, and nothing was written of, is asked
 * for no more, until there is room for it. */
void filling_yield(struct torrent *t, uint64_t bytes);
/* Whether nobody else wants a piece of which something was written; then filling_give_up has it
 * wanted no more, and the next ones until they have so much room, those first of which nothing came
 * for longest. Returns how much room they have, until they are dropped (room_drop_unfinished). */
bool filling_has_begun(const struct torrent *t);
uint64_t filling_give_up(struct torrent *t, uint64_t bytes);
/* A piece could not be written, for the reason err (> 0): all is asked for again, but not soon, and
 * one piece first (fill_pause.h); of all torrents, or of this one where only its store fails. */
void filling_refused(struct torrent *t, int err);
/* Whether there was no room for what it would fetch next, or it must not ask for that. */
bool filling_waits(const struct torrent *t);

/* *ret: the pieces of the files that the magnet asks for; NULL: there are none. -ENOMEM. Needs no
 * lock. */
int filling_of_magnet(const struct bt_source *s, const struct listing *l, struct filler **ret);
/* With the last reference: frees all of it. */
void filling_free(struct torrent *t);

#endif
