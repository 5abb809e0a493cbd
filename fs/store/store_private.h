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
        struct store_range *hidden;
        size_t n_hidden;

        struct have have;       /* changed under lock, read without */
        struct have suspects;   /* the same; without words where there never were any */
        atomic_uint n_suspects; /* the same */
        _Atomic uint64_t have_bytes;
        atomic_bool discarded; /* it is condemned: what it holds is nobody's any more */

        /* changed under cache->files_lock, once, and read without: -1: not opened yet */
        atomic_int fd;

        atomic_bool unsynced;      /* something was written since the last store_sync */
        atomic_bool unlisted;      /* nor is the file's name synced */
        pthread_mutex_t sync_lock; /* taken while no other lock is held, and none under it */
        int sync_error; /* under sync_lock: what the first fdatasync said that failed; 0: none has
                         */

        /* under cache->files_lock */
        struct cache_file *file; /* NULL: it has no name any more */
        bool there;              /* it has a file; else the first write makes it */
        bool clean; /* nothing lies in it but pieces that are there, and what this store wrote */
        bool complained; /* that it could not be opened */
        struct {
                dev_t dev;
                ino_t ino;
                int64_t born_ns;
                off_t size;
        } seen; /* the file when it was looked at; where there is no fd, that is to be opened */

        /* under lock; taken before cache.lock */
        pthread_mutex_t lock;
        uint64_t *reserved, *written; /* bitmaps */
        uint32_t n_reserved;
        bool deleted;
        uint32_t evicting; /* the piece that is being taken off the disk; UINT32_MAX: none */
        bool wanted_again; /* that one is reserved once more */
        uint32_t judged; /* the suspect piece that is being taken off the disk; UINT32_MAX: none */
        pthread_cond_t settled; /* evicting or judged has become UINT32_MAX */
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
/* Bytes of the torrent whether verified or not, across pieces. As store_read_piece. */
int store_read_raw(struct store *s, uint64_t offset, void *data, size_t len);

/* ---- store_fd.c: its file; all of it blocks ---- */

/* The descriptor of its file, which is opened now if it was not yet, and made with make. Takes
 * cache->files_lock. -ENOENT: it is not there yet; -ESTALE: the store is condemned, or its name is
 * another one's; -EIO: it can't be opened, or is not the one that was there, as is logged once;
 * what making it says. */
int store_fd(struct store *s, bool make);
/* Takes pieces [first, end) off the disk. As store_fd; -errno. */
int store_punch_pieces(struct store *s, uint32_t first, uint32_t end);
/* What lies in the file of pieces that are not there goes. Where that can't be done it stays, and
 * is written over some time. */
void store_punch_missing(const struct store *s, int fd);

/* Under cache->files_lock. */
int store_fd_locked(struct store *s, bool make);
/* A new file; -errno, and nothing is there. */
int store_file_create(struct store *s, const char *name);
/* The file that an earlier store has left, with the pieces of o->have; as store_open. */
int store_file_adopt(struct store *s, const char *name, const struct store_options *o);
/* Takes its name off the file, unless somebody else's has it. Returns -1, or a descriptor with
 * which the blocks of a file go that was not opened yet. */
int store_file_unlink(const struct store *s);

/* ---- store_suspect.c ---- */

/* While the store is made: the piece is claimed, and to be hashed. -ENOMEM, which only the first
 * one may give. */
int store_suspect_adopt(struct store *s, uint32_t piece);

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
