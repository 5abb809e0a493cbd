/* SPDX-License-Identifier: MIT */
/* pins.h: what of a torrent is pinned: all of it, or some of its files. That is never evicted to
 * make room. Each pinned file is known with its pieces, so that it is pinned also while the torrent
 * is asleep and has no content. */
#ifndef FS_PINS_H
#define FS_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct listing;
struct torrent;

/* So many files of a torrent are pinned one by one. */
enum { PINS_MAX = 1024 };

struct pin {
        uint32_t node;       /* the file's, in the tree */
        uint32_t first, end; /* its pieces: [first, end) */
};

/* Written under torrent->lock and by who may write to the catalog: either is enough to read. */
struct pins {
        bool whole;
        struct pin
                *files; /* in the torrent's order, unless whole; those without bytes are not in */
        size_t n_files;
};

enum pinned { PINNED_NOT, PINNED_PART, PINNED_WHOLE };

/* ---- pure ---- */

/* Writes to *ret, for pins_clear, what p is once that node is pinned too, or is not: a file, a
 * directory with all beneath it, or TREE_ROOT, for which l may be NULL. With the last of its files
 * the torrent is pinned as a whole. O(nodes of the tree). -ENOENT: there is no such node; -E2BIG:
 * more than PINS_MAX files; -ENOMEM. */
int pins_change(const struct pins *p, const struct listing *l, uint32_t node, bool pinned,
                struct pins *ret);
/* Frees what is in it: nothing is pinned. */
void pins_clear(struct pins *p);

/* ---- under torrent->lock ---- */

/* Whether the piece belongs to a file that is pinned, or the torrent is. O(log n). */
bool pins_has(const struct torrent *t, uint32_t piece);
/* Whether the file of that node is, or the torrent; of a directory: whether the torrent is. */
bool pins_has_node(const struct torrent *t, uint32_t node);
enum pinned pins_of(const struct torrent *t);

/* ---- they take the lock ---- */

/* The torrent's pins are what p was, and p what they were. By who may write to the catalog. */
void pins_exchange(struct torrent *t, struct pins *p);
/* What was pinned as a whole, and turned out to be t, is so as t. By who may write to the catalog.
 */
void pins_inherit(struct torrent *t, struct torrent *from);
/* As text for the catalog, to be freed: "all", or NODE:FIRST-END of each file. NULL: no memory. */
char *pins_save(struct torrent *t);
/* From that, up to what is no such thing. Before others know the torrent. */
void pins_load(struct torrent *t, const char *text);

#endif
