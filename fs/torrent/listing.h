/* SPDX-License-Identifier: MIT */
/* listing.h: what a torrent's metadata says of it: its files, as users see them, and its pieces.
 * Immutable and counted: who holds a reference goes on with it when the torrent drops its own. Any
 * thread; nothing here blocks or touches a disk but listing_store. */
#ifndef FS_LISTING_H
#define FS_LISTING_H

#include <stdatomic.h>
#include <stdint.h>

#include "bt.h"
#include "store/store.h"
#include "torrent/alike.h"
#include "torrent/tree.h"

struct listing {
        atomic_uint refs;
        struct bt_meta *meta; /* a reference */
        struct tree *tree;
        uint32_t piece_length, pieces;
        uint64_t size;    /* of all pieces */
        uint64_t shown;   /* of the files: without padding */
        uint32_t largest; /* the node of the largest media file (media.h); TREE_NONE: no file */

        /* atomic: made once somebody wants it, and then for good */
        _Atomic(struct alike *) alike;
        atomic_bool wants_alike;
};

/* Makes the listing of meta; *ret is the one reference to it. Takes long for a torrent of many
 * files. -ENOMEM, and what tree_new says. */
int listing_new(struct bt_meta *meta, struct listing **ret);
struct listing *listing_ref(struct listing *l);
void listing_unref(struct listing *l); /* NULL is fine */

/* The nodes by name. NULL: they are not sorted yet; whoever loads the torrent's content next does
 * it by listing_sort(). */
const struct alike *listing_alike(struct listing *l);
/* Sorts them if listing_alike() was asked for them. Takes long for many. -ENOMEM. */
int listing_sort(struct listing *l);

/* Opens the store of the torrent's pieces, of that name and number; *ret is the one reference to
 * it. have: the pieces that are there, as a bitmap; NULL: it is new and empty. suspect:
 * they are to be hashed before they are used. Blocking on the disk. As store_open. */
int listing_store(const struct listing *l, struct cache *cache, const char *name, uint32_t number,
                  const uint8_t *have, bool suspect, struct store **ret);

#endif
