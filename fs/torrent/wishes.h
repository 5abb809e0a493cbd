/* SPDX-License-Identifier: MIT */
/* wishes.h: the wishes of a torrent's readers, joined with its store's room and told to its
 * session. All under torrent->lock; nothing blocks. */
#ifndef FS_WISHES_H
#define FS_WISHES_H

#include "torrent/torrent.h"

/* Changes one reader's wish for a piece from priority before to after. wishes_tell then tells the
 * session of it. A piece that has no room waits for some, where that can be; one that fillers alone
 * want from here on has its room only where there is some for them, or something of it was written.
 * -ENOMEM; -ENOSPC: the cache can't hold the piece. */
int wishes_change(struct torrent *t, uint32_t piece, uint8_t before, uint8_t after);
/* The same for all in which a reader's plan is not what it was before. */
void wishes_plan(struct torrent *t, const struct plan *before, const struct plan *after);
/* The same for what nobody reads, with the least priority: wanted or not any more, which is to
 * follow once for each time that it was. Nothing goes from the cache for it, and it has nothing of
 * the room that was made for readers. -ENOSPC, -ENOMEM; -EAGAIN: the torrent is asleep, and does
 * not wake for it: it is not wanted; 1: it is not any more, but another wants it. */
int wishes_fill(struct torrent *t, uint32_t piece, bool wanted);
/* Whether a piece of the torrent could have room for that if others left all that they have, and
 * its own store has not refused what came last. */
bool wishes_may_fill(const struct torrent *t);
/* The piece is there: forgets who wanted it. Its parked reads must have been taken off. */
void wishes_done(struct torrent *t, struct want *want);
/* Asks once more for room for a piece that is wanted. */
void wishes_reserve(struct torrent *t, struct want *want);
/* Likewise for one that turned out not to be there: what room it had is still its own. */
void wishes_reserve_again(struct torrent *t, struct want *want);
/* All is to be told anew, to a session torrent that knows nothing yet; but not what has come since
 * that was told what is there: it would be fetched again. */
void wishes_retell(struct torrent *t);
/* The order of the batches is what the session goes by, so they leave under the lock; it only
 * queues them. One that is asleep wakes for what readers ask for. */
void wishes_tell(struct torrent *t);

#endif
