/* SPDX-License-Identifier: MIT */
/* cache_private.h: how stores ask the cache for room. For this folder alone. */
#ifndef FS_CACHE_PRIVATE_H
#define FS_CACHE_PRIVATE_H

#include <pthread.h>
#include <sys/stat.h>

#include <uthash.h>

#include "store/cache.h"

/* How the names of stores end. */
#define CACHE_SUFFIX ".pieces"

/* A store's file, while its name is in the folder. */
struct cache_file {
        char name[96];
        uint32_t number;        /* of the torrent whose it is */
        struct store *store;    /* that has it open, not counted; NULL: none has */
        bool closed;            /* one had, in this run or an earlier one, and has left it there */
        uint64_t room, pending; /* what it goes on to count for then */
        UT_hash_handle hh;
};

struct cache {
        /* set once */
        int dir_fd;
        uid_t folder_uid;
        bool sparse;
        uint64_t min_free_bytes;
        uint64_t block_bytes; /* the least that a file takes on the disk */

        /* for the names in the folder: held over system calls, so only where it may block; taken
         * before all other locks of this folder */
        pthread_mutex_t files_lock;
        struct cache_file *files; /* (uthash) */

        /* under lock; taken after store.lock */
        pthread_mutex_t lock;
        uint64_t limit_bytes;
        uint64_t reserved_bytes, others_bytes;
        uint64_t pending_bytes; /* of these, not known to be on the disk yet */
        uint64_t free_bytes;    /* on the disk when it was last asked, less what came there since */
        uint64_t learned_bytes, learned_until_ms; /* until then the stores shall take no more */
        bool unsure;                              /* … and nothing has gone for that yet */
        uint64_t learn_from_ms;                   /* nothing is learned before */
        uint64_t met_bytes, met_until_ms;         /* what was reserved when a quota was met */
        uint64_t settled_bytes;      /* all that ever ceased to be pending by coming there */
        struct statvfs said;         /* by the file system, then */
        void (*on_short)(void *arg); /* NULL: nobody is told */
        void *short_arg;
        uint64_t low_bytes;
};

/* Any thread; no I/O. A store's lock may be held. tells: on_short is called, for room is to be
 * made. -ENOSPC. */
int cache_take(struct cache *c, uint64_t bytes, bool tells);
/* The same, and nobody is told, where so many bytes beside can be had, too, and where so many of
 * what is vacant (cache_vacant) are left besides. */
int cache_take_spare(struct cache *c, uint64_t bytes, uint64_t beside, uint64_t vacant);
/* pending: so many of the bytes never came to the disk. */
void cache_give_back(struct cache *c, uint64_t bytes, uint64_t pending);
/* Pending bytes are on the disk now. */
void cache_settle(struct cache *c, uint64_t bytes);
/* Counts bytes that are on the disk but for the pending ones, whatever the bound is. */
void cache_adopt(struct cache *c, uint64_t bytes, uint64_t pending);
/* What was pending, and settled, is off the disk again. */
void cache_unsettle(struct cache *c, uint64_t bytes);

/* Whether a file is one that this magnetfs may have made: a regular one, this user's or the
 * folder's owner's. */
bool cache_owns(const struct cache *c, const struct stat *st);
/* What a file takes on the disk. */
uint64_t cache_allocated(const struct cache *c, const struct stat *st);

/* Under files_lock. The file of that name, or a new one without a store. NULL: no memory. */
struct cache_file *cache_file(struct cache *c, const char *name);
/* Nobody knows it any more; what it counted for is given back. */
void cache_file_forget(struct cache *c, struct cache_file *f);

/* ---- cache_quota.c ---- */

/* What the stores may take together by what was learned. Under c->lock. */
uint64_t cache_learned(const struct cache *c);
/* What a quota leaves, at most, by what was met last, for cache_vacant: more than that is not there
 * meanwhile. Under c->lock. */
uint64_t cache_met(const struct cache *c, uint64_t there);
/* A write for a reader failed with EDQUOT: all stores together shall take less than they do now,
 * for a minute. Of a quota the file system says nothing else. Then they try again. false: nothing
 * that goes helps, as cache_punched has said. A store's lock may be held. */
bool cache_refused(struct cache *c);
/* Blocks were taken off the disk, or not: 0 or -errno. Some file systems refuse that, too, where a
 * quota is met (btrfs): then nothing is to go for it. */
void cache_punched(struct cache *c, int r);

#endif
