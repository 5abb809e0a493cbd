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
};
void cache_stats(struct cache *c, struct cache_stats *ret);

/* Deletes the file that the store of that name has left, if it has no store now, and gives its room
 * back. Any thread; blocking. */
void cache_discard_left(struct cache *c, const char *name);

/* Looks how much is free on the disk: room is given by the last look, so it is to be called a few
 * times a second. Any thread; blocking: with no lock held. */
void cache_sample(struct cache *c);
/* What the file system said of itself at the last look. Any thread; no I/O. */
void cache_statvfs(struct cache *c, struct statvfs *ret);

#endif
