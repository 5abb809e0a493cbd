/* SPDX-License-Identifier: MIT */
/* store_private.h: the inside of a store, for this folder alone. */
#ifndef FS_STORE_PRIVATE_H
#define FS_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/cache_private.h"
#include "store/have.h"
#include "store/store.h"

struct store {
        atomic_uint refs;

        /* set once */
        struct cache *cache;
        int fd;
        struct store_range *hidden;
        size_t n_hidden;

        struct have have; /* changed under lock, read without */
        _Atomic uint64_t have_bytes;
        atomic_bool discarded; /* it is condemned: what it holds is nobody's any more */

        struct cache_file *file; /* under cache->files_lock; NULL: it has no name any more */

        /* under lock; taken before cache.lock */
        pthread_mutex_t lock;
        uint64_t *reserved, *written; /* bitmaps */
        uint32_t n_reserved;
        bool deleted;
        uint32_t evicting; /* the piece that is being taken off the disk; UINT32_MAX: none */
        bool wanted_again; /* that one is reserved once more */
        pthread_cond_t evicted;
        /* under lock, where files are not sparse: the end of the furthest piece that has room, and
         * the end of what is on the disk */
        uint64_t top, grown;
};

static inline bool bit(const uint64_t *map, uint32_t i)
{
        return map[i / 64] >> (i % 64) & 1;
}

static inline void bit_set(uint64_t *map, uint32_t i)
{
        map[i / 64] |= 1ull << (i % 64);
}

static inline void bit_clear(uint64_t *map, uint32_t i)
{
        map[i / 64] &= ~(1ull << (i % 64));
}

/* How much of a piece users see. */
uint64_t store_shown_bytes(const struct store *s, uint32_t piece);
/* Takes pieces [first, end) off the disk. Blocking. -errno. */
int store_punch_pieces(const struct store *s, uint32_t first, uint32_t end);
/* Bytes of the torrent whether verified or not, across pieces. As store_read_piece. */
int store_read_raw(struct store *s, uint64_t offset, void *data, size_t len);

/* ---- store_room.c: what pieces take, and what is reserved for them; under s->lock ---- */

/* What a piece takes on the disk. */
uint64_t store_piece_room(const struct store *s, uint32_t piece);
/* Reserves room for a piece, if it has none. -ENOSPC; -ESTALE: the store is condemned. */
int store_room_take(struct store *s, uint32_t piece);
/* The piece has no room from here on; what is to be given back for it. */
uint64_t store_room_drop(struct store *s, uint32_t piece);
/* All that is reserved; *pending: how much of it is not known to be on the disk. */
uint64_t store_room_all(const struct store *s, uint64_t *pending);
/* A piece that an earlier store has left has its room, whatever the bound is. */
void store_room_adopt(struct store *s, uint32_t piece);
/* Where files are not sparse: the file ends there now. Takes s->lock. */
void store_room_grown(struct store *s, uint32_t piece, uint64_t end);

#endif
