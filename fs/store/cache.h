/* SPDX-License-Identifier: MIT */
/* cache.h: the folder of all stores, and the bound on what they take together. */
#ifndef FS_CACHE_H
#define FS_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/statvfs.h>

struct cache;

/* Opens the cache in folder dir_fd (borrowed; lives as long as the cache) and deletes what an
 * earlier run left there: what has a store's name and is this user's (or the folder's owner's, who
 * could delete it himself), but for what keep, which may be NULL, says of its info-hash. What stays
 * counts from here on for what it takes on the disk, as a store that was left does, and is not
 * opened; the bound may be exceeded by it. What is no regular file or somebody else's is left alone
 * and does not count. limit_bytes bounds all stores, min_free_bytes stays free on their disk.
 * Blocking. -errno. */
int cache_new(int dir_fd, uint64_t limit_bytes, uint64_t min_free_bytes,
              bool (*keep)(void *arg, const char *hex), void *arg, struct cache **ret);
void cache_free(struct cache *c);
/* Whether the folder's file system has sparse files. Where it has none a store takes all room up to
 * its furthest piece, and that is what counts. */
bool cache_is_sparse(const struct cache *c);

struct cache_stats {
        uint64_t used_bytes, limit_bytes, min_free_bytes;
        uint64_t reach_bytes; /* what all stores can take together, by the bound and by the disk */
        bool unsure; /* that is what a quota leaves, perhaps: a first piece that goes will show */
};
void cache_stats(struct cache *c, struct cache_stats *ret);

/* Changes the bound. It may be exceeded then, until enough was given back. */
void cache_set_limit(struct cache *c, uint64_t limit_bytes);
/* What else counts against the bound, beside the stores, whose are used_bytes: the catalog's files.
 */
void cache_set_others(struct cache *c, uint64_t bytes);
/* How much must be given back so that bytes more can be had, by the bound and by how full the disk
 * was at the last cache_sample(). 0: they can. No I/O. */
uint64_t cache_lacks(struct cache *c, uint64_t bytes);
/* How much must be given back though nothing is to come: by the bound, and by what is to be free on
 * the disk. What is reserved and has not come counts for the bound alone. Any thread; no I/O. */
uint64_t cache_exceeds(struct cache *c);
/* By how much what is on the disk could grow, by the bound, by what is to be free on the disk, and
 * by a quota that was met within the last hour; part of that may be reserved. Any thread; no I/O.
 */
uint64_t cache_vacant(struct cache *c);
/* f is called each time that room could not be had, and when what is given leaves less than so many
 * bytes. By who asks for room, with locks held: it must not block, nor ask the cache anything. */
void cache_on_short(struct cache *c, uint64_t low_bytes, void (*f)(void *arg), void *arg);

/* Deletes the file that the store of that name has left, if it has no store now, and gives its room
 * back; returns how much that was. Any thread; blocking. */
uint64_t cache_discard_left(struct cache *c, const char *name);

/* The same for files of which known says that no torrent has their hash, until so many bytes went
 * or none is left. Returns how many went; less than bytes: none is left. */
uint64_t cache_discard_strays(struct cache *c, uint64_t bytes,
                              bool (*known)(void *arg, const char *hex), void *arg);

/* Looks how much is free on the disk: room is given by the last look, so it is to be called a few
 * times a second. Any thread; blocking: with no lock held. */
void cache_sample(struct cache *c);
/* What the file system said of itself at the last look. Any thread; no I/O. */
void cache_statvfs(struct cache *c, struct statvfs *ret);

#endif
