/* SPDX-License-Identifier: MIT */
/* store_room.c: what a store's pieces take on the disk, and what is reserved for them. */
#include "store/store_private.h"

#include <errno.h>

/* A block of the file system's own for so many pieces of a store, and for so many bytes. */
enum { PIECES_PER_MAP_BLOCK = 32, BYTES_PER_MAP_BLOCK = 2 << 20 };

/* What a piece takes on the disk: the blocks of the file system that it lies in. Where pieces are
 * no whole number of blocks two of them count the block they share. */
uint64_t store_piece_room(const struct store *s, uint32_t piece)
{
        uint64_t b = s->cache->block_bytes, start = (uint64_t)piece * s->have.piece_length;
        uint64_t end = start + have_piece_bytes(&s->have, piece);

        return (end + b - 1) / b * b - start / b * b;
}

static uint64_t divided_up(uint64_t a, uint64_t b)
{
        return (a + b - 1) / b;
}

/* What the file system may take besides to find n pieces again: its map of extents. ext4 has 340 in
 * a block, or half as many where it was split; a piece is one, or as many as it has blocks of 16
 * KiB where these came in no order. */
static uint64_t map_room(const struct store *s, uint32_t n)
{
        uint64_t by_pieces = divided_up(n, PIECES_PER_MAP_BLOCK);
        uint64_t by_bytes = divided_up((uint64_t)n * s->have.piece_length, BYTES_PER_MAP_BLOCK);

        return (by_pieces > by_bytes ? by_pieces : by_bytes) * s->cache->block_bytes;
}

/* What the map grows by with the piece after n. */
static uint64_t map_step(const struct store *s, uint32_t n)
{
        return map_room(s, n + 1) - map_room(s, n);
}

/* Up to where a store without holes takes room for a piece. */
static uint64_t piece_top(const struct store *s, uint32_t piece)
{
        uint64_t b = s->cache->block_bytes;

        return ((uint64_t)piece * s->have.piece_length + have_piece_bytes(&s->have, piece) + b -
                1) /
               b * b;
}

/* What the next reserved piece takes. Under s->lock. */
static uint64_t reserve_step(const struct store *s, uint32_t piece)
{
        uint64_t top;

        if (s->cache->sparse)
                return store_piece_room(s, piece) + map_step(s, s->n_reserved);
        top = piece_top(s, piece);
        return top > s->top ? top - s->top : 0;
}

bool store_fits(struct store *s, uint32_t piece)
{
        struct cache_stats c;

        cache_stats(s->cache, &c);
        return store_piece_room(s, piece) + s->cache->block_bytes <= c.limit_bytes;
}

/* The piece has got its room, a step. Under s->lock. */
static void take(struct store *s, uint32_t piece, uint64_t step)
{
        bit_set(s->reserved, piece);
        s->n_reserved++;
        s->top += s->cache->sparse ? 0 : step;
}

int store_reserve_spare(struct store *s, uint32_t piece, uint64_t beside, uint64_t vacant)
{
        int r = 0;

        pthread_mutex_lock(&s->lock);
        if (s->discarded) {
                r = -ESTALE;
        } else if (store_is_going(s, piece)) {
                r = -ENOSPC;
        } else {
                bool has = bit(s->reserved, piece);
                uint64_t step = has ? 0 : reserve_step(s, piece);

                r = cache_take_spare(s->cache, step, beside, vacant);
                if (r == 0 && !has)
                        take(s, piece, step);
        }
        pthread_mutex_unlock(&s->lock);
        return r;
}

bool store_is_reserved(struct store *s, uint32_t piece)
{
        bool is;

        pthread_mutex_lock(&s->lock);
        is = bit(s->reserved, piece);
        pthread_mutex_unlock(&s->lock);
        return is;
}

int store_room_take(struct store *s, uint32_t piece, bool wanted)
{
        uint64_t step;
        int r;

        if (s->discarded)
                return -ESTALE;
        if (bit(s->reserved, piece)) {
                if (store_is_going(s, piece))
                        bit_set(s->wanted_again, piece);
                return 0;
        }
        step = reserve_step(s, piece);
        r = cache_take(s->cache, step, wanted);
        if (r == 0)
                take(s, piece, step);
        /* Padding that goes had no room; what goes counts as being on the disk until it is punched.
         */
        if (r == 0 && store_is_going(s, piece)) {
                bit_set(s->wanted_again, piece);
                cache_settle(s->cache, store_piece_room(s, piece));
        }
        return r;
}

/* What becomes free with the reservation of a piece, which is gone. Under s->lock. */
static uint64_t release_step(struct store *s, uint32_t piece)
{
        uint64_t top = 0, freed;
        uint32_t words = piece / 64 + 1;

        if (s->cache->sparse)
                return store_piece_room(s, piece) + map_step(s, s->n_reserved);
        if (piece_top(s, piece) < s->top)
                return 0; /* one behind it has room */
        while (words > 0 && s->reserved[words - 1] == 0)
                words--;
        if (words > 0)
                top = piece_top(s,
                                words * 64 - 1 - (uint32_t)__builtin_clzll(s->reserved[words - 1]));
        if (top < s->grown)
                top = s->grown;
        freed = s->top - top;
        s->top = top;
        return freed;
}

uint64_t store_room_drop(struct store *s, uint32_t piece)
{
        bit_clear(s->reserved, piece);
        s->n_reserved--;
        return release_step(s, piece);
}

uint64_t store_room_all(const struct store *s, uint64_t *pending)
{
        uint64_t room = 0;

        *pending = 0;
        if (!s->cache->sparse) {
                *pending = s->top - s->grown;
                return s->top;
        }
        for (uint32_t i = 0; i < s->have.pieces; i++) {
                if (!bit(s->reserved, i))
                        continue;
                room += store_piece_room(s, i);
                if (!have_has(&s->have, i) && !store_is_suspect(s, i) && !store_is_going(s, i))
                        *pending += store_piece_room(s, i);
        }
        *pending += map_room(s, s->n_reserved) + s->map_extra;
        return room + map_room(s, s->n_reserved) + s->map_extra;
}

uint64_t store_room_shrink_map(struct store *s, uint32_t n_before, uint64_t besides)
{
        uint64_t extra = s->map_extra, shrunk = map_room(s, n_before) - map_room(s, s->n_reserved);
        uint64_t one_each = s->n_reserved * s->cache->block_bytes, keep = extra + shrunk;

        if (keep > besides)
                keep = besides;
        if (keep > one_each)
                keep = one_each;
        s->map_extra = keep;
        return extra + shrunk - keep;
}

void store_room_adopt_map(struct store *s, uint64_t bytes)
{
        cache_adopt(s->cache, bytes, bytes);
        s->map_extra += bytes;
}

void store_room_adopt(struct store *s, uint32_t piece)
{
        uint64_t step = reserve_step(s, piece), on_disk = 0;

        if (s->cache->sparse) {
                on_disk = store_piece_room(s, piece);
        } else if (step > 0) {
                s->top += step;
                s->grown = s->top;
                on_disk = step;
        }
        cache_adopt(s->cache, step, step - on_disk);
        bit_set(s->reserved, piece);
        bit_set(s->written, piece);
        s->n_reserved++;
}

void store_room_grown(struct store *s, uint32_t piece, uint64_t end)
{
        uint64_t b = s->cache->block_bytes, settled = 0;

        end = (end + b - 1) / b * b;
        pthread_mutex_lock(&s->lock);
        if (!s->discarded && bit(s->reserved, piece) && end > s->grown) {
                settled = end - s->grown;
                s->grown = end;
        }
        pthread_mutex_unlock(&s->lock);
        if (settled > 0)
                cache_settle(s->cache, settled);
}
