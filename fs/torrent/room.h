/* SPDX-License-Identifier: MIT */
/* room.h: which pieces of a torrent may go when the cache is full, and the pieces that wait for
 * room. Any thread, and without the lock where not said otherwise; nothing blocks. */
#ifndef FS_ROOM_H
#define FS_ROOM_H

#include "torrent/torrent.h"

/* What may go, each with what the one before it names: nothing that anybody has a use for; what was
 * wanted ahead by readers that have not read for a while; all but what a read waits for. */
enum room_use { ROOM_UNUSED, ROOM_RESTING, ROOM_UNAWAITED };

/* Of the room that a piece takes, what the file system needs to find it is that share at most, and
 * so much, taken amply: who frees too little has a reader wait once more. (handle.c, which refuses
 * by it, is strict.) */
enum { ROOM_MAP_SHARE = 256, ROOM_MAP_BYTES = 128 << 10 };

static inline uint64_t room_of_piece(uint64_t piece_bytes)
{
        return piece_bytes + piece_bytes / ROOM_MAP_SHARE + ROOM_MAP_BYTES;
}

/* A reference to its store, which stays the torrent's until room_end, or NULL: for who takes pieces
 * off its disk. */
struct store *room_begin(struct torrent *t);
void room_end(struct torrent *t);
/* A piece of that store goes: it is missing from here on, for readers and for peers, and for the
 * session where it can learn that: else who wants it again waits until that has the torrent anew.
 * store_punch_run of its store must follow, and then room_take.
 * -EBUSY: it is in use; -EPERM: it is pinned; -ENOENT: it is not there, or the torrent has no
 * store; -ENOMEM; else as store_unset. */
int room_unset(struct torrent *t, struct store *store, uint32_t piece, enum room_use use);
/* The session counts a piece as there that went, until it has the torrent anew. Any thread. */
void room_kept(struct torrent *t, uint32_t piece);
/* What was claimed, and nobody wants: taken off the disk, which blocks. As above. */
int room_unclaim(struct torrent *t, uint32_t piece);
/* Whether something was written of pieces that nobody wants any more: how much room they take. */
uint64_t room_unfinished(struct torrent *t);
/* Takes those off the disk. Only while the session does not have the torrent, which would take what
 * others go on to give of them for all of it. Blocking on the disk. */
void room_drop_unfinished(struct torrent *t);

/* filling_yield. Returns whether others than those that fill it want a piece that has its room, and
 * has not come yet. */
bool room_yield(struct torrent *t, uint64_t bytes);
/* filling_has_begun, and filling_give_up. */
bool room_has_begun(struct torrent *t);
uint64_t room_give_up(struct torrent *t, uint64_t bytes);
/* Whether a piece that others want than those that fill it has its room, and has not come yet. */
bool room_is_pending(struct torrent *t);
/* Asks for room once more for what is wanted and has none, first for what a read waits for. Returns
 * whether such a piece still has none. */
bool room_take(struct torrent *t);
/* There is no room, and will be none: reads that wait for some fail with ENOSPC. */
void room_refuse(struct torrent *t);

/* A piece is wanted: where the session counts it as there it is to have the torrent anew. Under
 * t->lock. */
void room_want(struct torrent *t, uint32_t piece);
/* The same for all that is wanted: some of it may have gone since room_have. */
void room_look(struct torrent *t);
/* The pieces that are there, for bt_torrent_add, which from here on counts no other as there. NULL:
 * none, or no memory. To be freed. */
uint8_t *room_have(struct torrent *t);

#endif
