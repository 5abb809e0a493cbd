/* SPDX-License-Identifier: MIT */
/* store_private.h: the inside of a store, for this folder alone. */
#ifndef FS_STORE_PRIVATE_H
#define FS_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <utlist.h>

#include "store/cache_private.h"
#include "store/have.h"
#include "store/store.h"

/* A write under way: its piece is not taken off the disk before it is done. */
struct store_writer {
        uint32_t piece;
        struct store_writer *prev, *next;
};

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
        /* when each was last read, made by who touches the first one; NULL: none was */
        _Atomic(_Atomic uint32_t *) touched;
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
        uint64_t
                map_extra; /* reserved for the file system's map, beside what so many pieces need */
        bool deleted;
        /* bitmaps, made by the first store_unset; NULL: none ever was */
        uint64_t *going;        /* they are missing, and still to be taken off the disk */
        uint64_t *wanted_again; /* of these, what is reserved once more */
        /* the pieces whose blocks are being taken off the disk, and those that share one with them
         * and have nothing in it; first == end: none */
        struct {
                uint32_t first, end;
        } punching;
        struct store_writer *writers; /* (utlist) */
        uint32_t judged; /* the suspect piece that is being taken off the disk; UINT32_MAX: none */
        /* one is going no more, punching or judged has become none, a writer is done, or the store
         * is condemned */
        pthread_cond_t settled;
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
/* What lies in the file of pieces that are not there goes. Where that can't be done it stays, and
 * is written over some time. Takes s->lock. */
void store_punch_missing(struct store *s, int fd);

/* Under cache->files_lock. */
int store_fd_locked(struct store *s, bool make);
/* A new file; -errno, and nothing is there. */
int store_file_create(struct store *s, const char *name);
/* The file that an earlier store has left, with the pieces of o->have; as store_open. */
int store_file_adopt(struct store *s, const char *name, const struct store_options *o);
/* Takes its name off the file, unless somebody else's has it. Returns -1, or a descriptor with
 * which the blocks of a file go that was not opened yet. */
int store_file_unlink(const struct store *s);

/* ---- store_going.c: how pieces go ---- */

/* Takes pieces [first, end), of which nothing may be there, off the disk with all blocks in which
 * no other piece has something; waits for what is written to them, and for another call. The caller
 * says store_punched() afterwards, whatever comes of it, in one go under s->lock with what became
 * of the pieces. As store_fd; -errno. */
int store_punch_pieces(struct store *s, uint32_t first, uint32_t end);
void store_punched(struct store *s);
/* The bytes that go with [first, end): whole blocks, but for those in which a piece besides has
 * something. *bar_first, *bar_end: [first, end) with those that have a part in these blocks and
 * nothing in them. Under s->lock. */
struct store_range store_blocks_of(const struct store *s, uint32_t first, uint32_t end,
                                   uint32_t *bar_first, uint32_t *bar_end);

/* Under s->lock. */
static inline bool store_is_going(const struct store *s, uint32_t piece)
{
        return s->going && piece < s->have.pieces && bit(s->going, piece);
}

/* Whether nothing may be written to it now. Under s->lock. */
static inline bool store_is_barred(const struct store *s, uint32_t piece)
{
        return store_is_going(s, piece) || (piece >= s->punching.first && piece < s->punching.end);
}

/* ---- store_suspect.c ---- */

/* While the store is made: the piece is claimed, and to be hashed. -ENOMEM, which only the first
 * one may give. */
int store_suspect_adopt(struct store *s, uint32_t piece);

/* ---- store_room.c: what pieces take, and what is reserved for them; under s->lock ---- */

/* What a piece takes on the disk. */
uint64_t store_piece_room(const struct store *s, uint32_t piece);
/* Reserves room for a piece, if it has none. wanted: where it is short more is to be made. -ENOSPC;
 * -ESTALE: the store is condemned. */
int store_room_take(struct store *s, uint32_t piece, bool wanted);
/* The piece has no room from here on; what is to be given back for it. */
uint64_t store_room_drop(struct store *s, uint32_t piece);
/* Pieces that had something in the file have lost their room, since n_before had some; now it takes
 * so many bytes besides those of pieces that are there. Its map may be about as large as before: a
 * block of it goes with the last extent that it tells of. So what store_room_drop gave for the map
 * is kept as far as that may be so: no more than what was measured, nor than a block for each piece
 * that stays. (What these need that are not on the disk yet is theirs anyway.) Returns what of it,
 * and of what was kept earlier, is to be given back. */
uint64_t store_room_shrink_map(struct store *s, uint32_t n_before, uint64_t besides);
/* The file that an earlier store has left takes so many bytes more than its pieces need. */
void store_room_adopt_map(struct store *s, uint64_t bytes);
/* All that is reserved; *pending: how much of it is not known to be on the disk. */
uint64_t store_room_all(const struct store *s, uint64_t *pending);
/* A piece that an earlier store has left has its room, whatever the bound is. */
void store_room_adopt(struct store *s, uint32_t piece);
/* Where files are not sparse: the file ends there now. Takes s->lock. */
void store_room_grown(struct store *s, uint32_t piece, uint64_t end);

#endif
