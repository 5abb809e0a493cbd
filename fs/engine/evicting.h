/* SPDX-License-Identifier: MIT */
/* evicting.h: how evict.c finds what could go, and has it go; for this folder alone. Any thread. */
#ifndef FS_EVICTING_H
#define FS_EVICTING_H

#include "engine/engine.h"
#include "store/evict.h"
#include "torrent/room.h"

/* ---- evict_gather.c: what could go; blocking on no disk ---- */

/* As a piece: all of a torrent that is asleep and has no content. */
#define EVICT_ALL UINT32_MAX

struct evict_list {
        struct evict_piece *pieces;
        size_t n, room;
        struct torrent **owners; /* references; a piece's owner is the index of one */
        size_t n_owners, room_owners;
        uint64_t unfinished; /* bytes of pieces that were begun and that nobody wants any more */
        bool pending;        /* something that readers want has its room and has not come yet */
        bool begun;          /* something of what nobody reads was begun, and could be given up */
};

/* All that is on the disk, whoever uses it. false: no memory, and what there is so far is in l. To
 * be freed in any case. */
bool evict_gather(struct engine *e, struct evict_list *l);
/* Adds what is there of one torrent. */
bool evict_gather_of(struct evict_list *l, struct torrent *t);
void evict_list_free(struct evict_list *l);
/* What `used` of a piece means, as a time of day. */
time_t evict_time(uint32_t used);

/* ---- eviction.c: what goes ---- */

struct eviction_part;

/* Pieces that go together, and what became of those before: all zero at first. list is to be freed
 * at the end. */
struct eviction {
        struct eviction_part *list;
        size_t n, room;
        uint64_t bytes; /* what has gone */
        uint64_t aside; /* what is missing, and not off the disk yet */
        bool refused;   /* the disk lets nothing be taken off, for want of room */
        bool failed;    /* the last time something could not be taken off, and nothing was */
        bool busy;      /* something could go but for those that use it */
};

/* The n pieces, all of one torrent, are missing from here on, but for those that are in use; of
 * what was only claimed to be there nothing is left on the disk, for which this blocks. */
void eviction_unset(struct eviction *b, struct torrent *t, const struct evict_piece *p, size_t n,
                    enum room_use use);
/* The catalog forgets those that are missing now, durably; then they are taken off the disk, as far
 * as it lets them go, and the rest is there again. Blocking on the disk. */
void eviction_finish(struct engine *e, struct eviction *b);

#endif
