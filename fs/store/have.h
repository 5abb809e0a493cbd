/* SPDX-License-Identifier: MIT */
/* have.h: which pieces of a torrent are there, as a bitmap that any thread reads without a lock.
 * Changing it (have_set, have_clear) is for one thread at a time. Pure: knows no file. */
#ifndef FS_HAVE_H
#define FS_HAVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct have {
        uint64_t size;
        uint32_t piece_length, pieces;
        _Atomic uint64_t *words;
        /* It rises each time that pieces are about to go. Who reads bytes looks at it before and
         * after: if it rose between, the bytes may be of a piece that has gone, and come again. */
        atomic_uint generation;
};

/* No piece of a torrent of size bytes is there. -ENOMEM. */
int have_init(struct have *h, uint64_t size, uint32_t piece_length);
void have_free(struct have *h);

/* Bytes of a piece: the last one may be shorter than the others. */
uint64_t have_piece_bytes(const struct have *h, uint32_t piece);

/* Changes one piece; false: it was so before. What was written before have_set is seen by whoever
 * sees the piece after it; whoever does not see the generation of have_clear has read before it. */
bool have_set(struct have *h, uint32_t piece);
bool have_clear(struct have *h, uint32_t piece);

bool have_has(const struct have *h, uint32_t piece);
/* The first piece of [first, end) that is missing, or end. */
uint32_t have_first_missing(const struct have *h, uint32_t first, uint32_t end);
/* The first piece of [first, end) that is there, or end. */
uint32_t have_first_there(const struct have *h, uint32_t first, uint32_t end);
/* Bytes of [offset, offset + len) of the torrent in pieces that are there. */
uint64_t have_in(const struct have *h, uint64_t offset, uint64_t len);

/* As a bitmap for the disk and for bt_torrent_add: piece 0 is the lowest bit of byte 0, bits behind
 * the last piece are 0. out: have_bitmap_bytes(pieces) bytes. */
size_t have_bitmap_bytes(uint32_t pieces);
void have_to_bitmap(const struct have *h, uint8_t *out);

#endif
