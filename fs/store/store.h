/* SPDX-License-Identifier: MIT */
/* store.h: the sparse files that hold the torrents' pieces, and which of them are there.
 *
 * A byte of a torrent lies at its own offset in the store's file; missing ones are holes. Room for
 * a piece is reserved before the piece is wanted, so the cache can't exceed its bound however the
 * pieces arrive. */
#ifndef FS_STORE_H
#define FS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/cache.h"

struct store;

/* Makes an empty store for a torrent of size bytes in a file of that name. No other store of the
 * cache may have the name, and no discarded one either: the deletion of its file may still be under
 * way. -EFBIG: the file system can't hold such a file. -EEXIST: a file of that name is there, and
 * it is somebody else's. Else -errno. */
int store_new(struct cache *c, const char *name, uint64_t size, uint32_t piece_length,
              struct store **ret);
/* Bytes of the torrent, from offset on, that no user sees (BEP 47 padding). */
struct store_range {
        uint64_t offset, len;
};
/* Says which bytes store_have_bytes does not count: n ranges, in order and apart. Takes ranges
 * over, to be freed with the store. Before any piece is set. */
void store_set_hidden(struct store *s, struct store_range *ranges, size_t n);
/* Why store_new failed, and what to do, for an errno (> 0) of it. Lives until the thread's next
 * call. */
const char *store_new_error(int err);
/* Reads and writes fail with -ESTALE from here on. Any thread; no I/O. */
void store_condemn(struct store *s);
/* Condemns it, deletes its file and gives its room back. Any thread; blocking: the file system may
 * take its time for a large one. */
void store_discard(struct store *s);
/* Frees what store_discard left; no other call may run. Discards first if that was not done. */
void store_free(struct store *s);

/* Room for one piece: 0, also when it is reserved already; -ENOSPC at the bound or when the disk
 * was that full at the last cache_sample(). Any thread; no I/O. */
int store_reserve(struct store *s, uint32_t piece);
/* Gives room back, unless something of the piece was written since. Any thread; no I/O. */
void store_release(struct store *s, uint32_t piece);
/* Takes what was written of a piece that is not verified off the disk again; its room stays
 * reserved until store_release. Not at the same time as a write of that piece. Blocking. */
void store_clear(struct store *s, uint32_t piece);

/* Raw bytes of a piece. A write without room reserves it. -errno; -ENOSPC; -EIO past the end. Disk
 * threads; blocking. */
int store_write(struct store *s, uint32_t piece, uint32_t offset, const void *data, size_t len);
int store_read(struct store *s, uint64_t offset, void *data, size_t len);

/* Pieces that are there and verified. Lock-free, any thread: after store_has says yes the piece's
 * bytes can be read. */
void store_set(struct store *s, uint32_t piece);
bool store_has(const struct store *s, uint32_t piece);
/* The first piece of [first, end) that is missing, or end. */
uint32_t store_first_missing(const struct store *s, uint32_t first, uint32_t end);
/* Bytes of [offset, offset + len) of the torrent in pieces that are there. */
uint64_t store_have_in(const struct store *s, uint64_t offset, uint64_t len);
/* Bytes that users see in pieces that are there. */
uint64_t store_have_bytes(const struct store *s);

#endif
