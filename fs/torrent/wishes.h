/* SPDX-License-Identifier: MIT */
/* wishes.h: the wishes of a torrent's readers, joined with its store's room and told to its
 * session. All under torrent->lock; nothing blocks. */
#ifndef FS_WISHES_H
#define FS_WISHES_H

#include "torrent/torrent.h"

/* Changes one reader's wish for a piece from priority before to after. wishes_tell then tells the
 * session of it. -ENOMEM; -ENOSPC: the cache has no room for the piece. */
int wishes_change(struct torrent *t, uint32_t piece, uint8_t before, uint8_t after);
/* The order of the batches is what the session goes by, so they leave under the lock; it only
 * queues them. */
void wishes_tell(struct torrent *t);

/* The torrent goes on with what it fetches though nobody reads it; came: as a piece has come. */
void wishes_fill(struct torrent *t, bool came);
/* Whether there was no room for what it would fetch next. */
bool wishes_fill_waits(const struct torrent *t);
/* It fetches that, too. Takes f over; NULL is fine. */
void wishes_fill_with(struct torrent *t, struct filler *f);
/* It fetches that no more: its wishes are taken back, and f is freed. NULL is fine. */
void wishes_fill_no_more(struct torrent *t, struct filler *f);

#endif
