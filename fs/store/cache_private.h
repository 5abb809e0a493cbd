/* SPDX-License-Identifier: MIT */
/* cache_private.h: how stores ask the cache for room. For this folder alone. */
#ifndef FS_CACHE_PRIVATE_H
#define FS_CACHE_PRIVATE_H

#include <pthread.h>

#include "store/cache.h"

/* How the names of stores end. */
#define CACHE_SUFFIX ".pieces"

struct cache {
        /* set once */
        int dir_fd;
        bool sparse;
        uint64_t limit_bytes, min_free_bytes, block_bytes;

        /* under lock; taken after store.lock */
        pthread_mutex_t lock;
        uint64_t reserved_bytes;
        uint64_t pending_bytes; /* of these, not known to be on the disk yet */
        uint64_t free_bytes;    /* on the disk when it was last asked, less what came there since */
        uint64_t settled_bytes; /* all that ever ceased to be pending by coming there */
        struct statvfs said;    /* by the file system, then */
};

/* Any thread; no I/O. A store's lock may be held. -ENOSPC. */
int cache_take(struct cache *c, uint64_t bytes);
/* pending: so many of the bytes never came to the disk. */
void cache_give_back(struct cache *c, uint64_t bytes, uint64_t pending);
/* Pending bytes are on the disk now. */
void cache_settle(struct cache *c, uint64_t bytes);

#endif
