/* SPDX-License-Identifier: MIT */
/* evicting.h: how evict.c finds what could go; for this folder alone. Blocking on no disk; any
 * thread. */
#ifndef FS_EVICTING_H
#define FS_EVICTING_H

#include "engine/engine.h"
#include "store/evict.h"

/* As a piece: all of a torrent that is asleep and has no content. */
#define EVICT_ALL UINT32_MAX

struct evict_list {
        struct evict_piece *pieces;
        size_t n, room;
        struct torrent **owners; /* references; a piece's owner is the index of one */
        size_t n_owners, room_owners;
        uint64_t unfinished; /* bytes of pieces that were begun and that nobody wants any more */
        bool pending;        /* something that is wanted has its room and has not come yet */
};

/* All that is on the disk, whoever uses it. false: no memory, and what there is so far is in l. To
 * be freed in any case. */
bool evict_gather(struct engine *e, struct evict_list *l);
/* Adds what is there of one torrent. */
bool evict_gather_of(struct evict_list *l, struct torrent *t);
void evict_list_free(struct evict_list *l);
/* What `used` of a piece means, as a time of day. */
time_t evict_time(uint32_t used);

#endif
