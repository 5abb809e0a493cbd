/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/cache_private.h"

/* A block of the file system's own for so many pieces of a store. */
enum { PIECES_PER_MAP_BLOCK = 32 };

struct store {
        /* set once */
        struct cache *cache;
        int fd;
        char name[96];
        uint64_t size;
        uint32_t piece_length, pieces;
        struct store_range *hidden;
        size_t n_hidden;

        /* atomic: read without the lock on the fast path */
        _Atomic uint64_t *have;
        _Atomic uint64_t have_bytes;
        atomic_bool discarded; /* it is condemned: what it holds is nobody's any more */

        /* under lock; taken before cache.lock */
        pthread_mutex_t lock;
        uint64_t *reserved, *written; /* bitmaps */
        uint32_t n_reserved;
        bool deleted;
        /* under lock, where files are not sparse: the end of the furthest piece that has room, and
         * the end of what is on the disk */
        uint64_t top, grown;
};

static bool bit(const uint64_t *map, uint32_t i)
{
        return map[i / 64] >> (i % 64) & 1;
}

static void bit_set(uint64_t *map, uint32_t i)
{
        map[i / 64] |= 1ull << (i % 64);
}

static void bit_clear(uint64_t *map, uint32_t i)
{
        map[i / 64] &= ~(1ull << (i % 64));
}

static uint64_t piece_bytes(const struct store *s, uint32_t piece)
{
        uint64_t start = (uint64_t)piece * s->piece_length, left = s->size - start;

        return left < s->piece_length ? left : s->piece_length;
}

/* What a piece takes on the disk: the blocks of the file system that it lies in. Where pieces are
 * no whole number of blocks two of them count the block they share. */
static uint64_t piece_room(const struct store *s, uint32_t piece)
{
        uint64_t b = s->cache->block_bytes, start = (uint64_t)piece * s->piece_length;
        uint64_t end = start + piece_bytes(s, piece);

        return (end + b - 1) / b * b - start / b * b;
}

/* What the file system may take besides to find n pieces again: its map of extents. ext4 has 340 in
 * a block; a piece is one, or a few where it came in parts. */
static uint64_t map_room(const struct store *s, uint32_t n)
{
        return (uint64_t)((n + PIECES_PER_MAP_BLOCK - 1) / PIECES_PER_MAP_BLOCK) *
               s->cache->block_bytes;
}

int store_new(struct cache *c, const char *name, uint64_t size, uint32_t piece_length,
              struct store **ret)
{
        struct store *s = calloc(1, sizeof *s);
        size_t words;
        int r;

        if (!s)
                return -ENOMEM;
        s->cache = c;
        s->size = size;
        s->piece_length = piece_length;
        s->pieces = (uint32_t)((size + piece_length - 1) / piece_length);
        words = s->pieces / 64 + 1;
        s->have = calloc(words, sizeof *s->have);
        s->reserved = calloc(words, sizeof *s->reserved);
        s->written = calloc(words, sizeof *s->written);
        snprintf(s->name, sizeof s->name, "%s" CACHE_SUFFIX, name);
        s->fd = s->have && s->reserved && s->written
                        ? openat(c->dir_fd, s->name,
                                 O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)
                        : -1;
        /* Its whole length at once: the padding between files is never written and must read as
         * zeros. */
        if (s->fd < 0 || (c->sparse && ftruncate(s->fd, (off_t)size) < 0)) {
                r = s->have && s->reserved && s->written ? -errno : -ENOMEM;
                if (s->fd >= 0) {
                        close(s->fd);
                        (void)unlinkat(c->dir_fd, s->name, 0);
                }
                free(s->have);
                free(s->reserved);
                free(s->written);
                free(s);
                return r;
        }
        pthread_mutex_init(&s->lock, NULL);
        *ret = s;
        return 0;
}

void store_condemn(struct store *s)
{
        /* Under the lock: what is reserved and written from here on is nothing. */
        pthread_mutex_lock(&s->lock);
        s->discarded = true;
        pthread_mutex_unlock(&s->lock);
}

const char *store_new_error(int err)
{
        switch (err) {
        case EEXIST:
                return "a file of its store's name is in the cache folder, and not of this magnetfs; remove it, or choose another folder with --cache-dir";
        case EFBIG:
                return "a limit (ulimit -f) or the cache folder's file system allows no file of its size; choose another folder with --cache-dir";
        default:
                return strerror(err);
        }
}

void store_discard(struct store *s)
{
        uint64_t room = 0, pending = 0;
        bool first;

        pthread_mutex_lock(&s->lock);
        s->discarded = true;
        first = !s->deleted;
        s->deleted = true;
        if (first && !s->cache->sparse) {
                room = s->top;
                pending = s->top - s->grown;
        } else if (first) {
                for (uint32_t i = 0; i < s->pieces; i++) {
                        if (!bit(s->reserved, i))
                                continue;
                        room += piece_room(s, i);
                        if (!store_has(s, i))
                                pending += piece_room(s, i);
                }
                room += map_room(s, s->n_reserved);
                pending += map_room(s, s->n_reserved);
        }
        pthread_mutex_unlock(&s->lock);
        if (first)
                (void)unlinkat(s->cache->dir_fd, s->name, 0);
        if (room > 0) {
                /* Open handles keep the file; its blocks go now. */
                (void)!ftruncate(s->fd, 0);
                cache_give_back(s->cache, room, pending);
                cache_sample(s->cache);
        }
}

void store_free(struct store *s)
{
        if (!s)
                return;
        store_discard(s);
        close(s->fd);
        pthread_mutex_destroy(&s->lock);
        free(s->have);
        free(s->reserved);
        free(s->written);
        free(s->hidden);
        free(s);
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

        return ((uint64_t)piece * s->piece_length + piece_bytes(s, piece) + b - 1) / b * b;
}

/* What the next reserved piece takes. Under s->lock. */
static uint64_t reserve_step(const struct store *s, uint32_t piece)
{
        uint64_t top;

        if (s->cache->sparse)
                return piece_room(s, piece) + map_step(s, s->n_reserved);
        top = piece_top(s, piece);
        return top > s->top ? top - s->top : 0;
}

static int reserve_locked(struct store *s, uint32_t piece)
{
        uint64_t step;
        int r;

        if (s->discarded)
                return -ESTALE;
        if (bit(s->reserved, piece))
                return 0;
        step = reserve_step(s, piece);
        r = cache_take(s->cache, step);
        if (r == 0) {
                bit_set(s->reserved, piece);
                s->n_reserved++;
                s->top += s->cache->sparse ? 0 : step;
        }
        return r;
}

/* What becomes free with the reservation of a piece, which is gone. Under s->lock. */
static uint64_t release_step(struct store *s, uint32_t piece)
{
        uint64_t top = 0, freed;
        uint32_t words = piece / 64 + 1;

        if (s->cache->sparse)
                return piece_room(s, piece) + map_step(s, s->n_reserved);
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

/* Where files are not sparse: the file ends there now. */
static void grown_to(struct store *s, uint32_t piece, uint64_t end)
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

int store_reserve(struct store *s, uint32_t piece)
{
        int r;

        pthread_mutex_lock(&s->lock);
        r = reserve_locked(s, piece);
        pthread_mutex_unlock(&s->lock);
        return r;
}

void store_release(struct store *s, uint32_t piece)
{
        uint64_t room = 0;
        bool give_back;

        pthread_mutex_lock(&s->lock);
        give_back = !s->discarded && bit(s->reserved, piece) && !bit(s->written, piece) &&
                    !store_has(s, piece);
        if (give_back) {
                bit_clear(s->reserved, piece);
                s->n_reserved--;
                room = release_step(s, piece);
        }
        pthread_mutex_unlock(&s->lock);
        if (give_back)
                cache_give_back(s->cache, room, room);
}

void store_clear(struct store *s, uint32_t piece)
{
        bool clear;

        pthread_mutex_lock(&s->lock);
        clear = !s->discarded && piece < s->pieces && bit(s->written, piece) &&
                !store_has(s, piece);
        pthread_mutex_unlock(&s->lock);
        if (!clear || fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)piece * s->piece_length, (off_t)piece_bytes(s, piece)) < 0)
                return; /* no holes here: what is there keeps its room */
        pthread_mutex_lock(&s->lock);
        bit_clear(s->written, piece);
        pthread_mutex_unlock(&s->lock);
}

static int pwrite_all(int fd, const char *p, size_t len, off_t at)
{
        while (len > 0) {
                ssize_t n = pwrite(fd, p, len, at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -ENOSPC;
                p += n;
                len -= (size_t)n;
                at += n;
        }
        return 0;
}

int store_write(struct store *s, uint32_t piece, uint32_t offset, const void *data, size_t len)
{
        int r;

        if (piece >= s->pieces || offset + len > piece_bytes(s, piece))
                return -EIO;
        /* A block that was asked for before its piece lost its room may still arrive. */
        pthread_mutex_lock(&s->lock);
        r = reserve_locked(s, piece);
        if (r == 0)
                bit_set(s->written, piece);
        pthread_mutex_unlock(&s->lock);
        if (r < 0)
                return r;
        r = pwrite_all(s->fd, data, len, (off_t)((uint64_t)piece * s->piece_length + offset));
        if (r == 0 && !s->cache->sparse)
                grown_to(s, piece, (uint64_t)piece * s->piece_length + offset + len);
        if (r == 0 && s->discarded)
                (void)!ftruncate(s->fd, 0); /* discarded meanwhile: leave nothing */
        return r;
}

int store_read(struct store *s, uint64_t offset, void *data, size_t len)
{
        char *p = data;

        if (s->discarded)
                return -ESTALE;
        while (len > 0) {
                ssize_t n = pread(s->fd, p, len, (off_t)offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0 && !s->cache->sparse && offset + len <= s->size) {
                        memset(p, 0, len); /* padding at the end, which nobody writes */
                        break;
                }
                if (n == 0)
                        return s->discarded ? -ESTALE : -EIO;
                p += n;
                len -= (size_t)n;
                offset += (uint64_t)n;
        }
        /* Cut while it was read, and grown again by a late write: what came may be a hole. */
        return s->discarded ? -ESTALE : 0;
}

void store_set_hidden(struct store *s, struct store_range *ranges, size_t n)
{
        s->hidden = ranges;
        s->n_hidden = n;
}

/* How much of a piece no user sees. */
static uint64_t hidden_bytes(const struct store *s, uint32_t piece)
{
        uint64_t start = (uint64_t)piece * s->piece_length, end = start + piece_bytes(s, piece);
        size_t low = 0, high = s->n_hidden;
        uint64_t sum = 0;

        while (low < high) { /* the first one that ends behind start */
                size_t middle = low + (high - low) / 2;

                if (s->hidden[middle].offset + s->hidden[middle].len <= start)
                        low = middle + 1;
                else
                        high = middle;
        }
        for (; low < s->n_hidden && s->hidden[low].offset < end; low++) {
                uint64_t from = s->hidden[low].offset, to = from + s->hidden[low].len;

                sum += (to < end ? to : end) - (from > start ? from : start);
        }
        return sum;
}

void store_set(struct store *s, uint32_t piece)
{
        uint64_t mask = 1ull << (piece % 64);
        bool pending;

        if (piece >= s->pieces || store_has(s, piece))
                return;
        pthread_mutex_lock(&s->lock);
        /* Of a condemned one, too: store_discard counts as pending what is missing then. */
        pending =
                s->cache->sparse && !s->deleted && bit(s->reserved, piece) && !store_has(s, piece);
        if (!(atomic_fetch_or_explicit(&s->have[piece / 64], mask, memory_order_release) & mask))
                atomic_fetch_add(&s->have_bytes, piece_bytes(s, piece) - hidden_bytes(s, piece));
        pthread_mutex_unlock(&s->lock);
        if (pending)
                cache_settle(s->cache, piece_room(s, piece));
}

bool store_has(const struct store *s, uint32_t piece)
{
        return atomic_load_explicit(&s->have[piece / 64], memory_order_acquire) >> (piece % 64) & 1;
}

uint32_t store_first_missing(const struct store *s, uint32_t first, uint32_t end)
{
        uint32_t i = first;

        while (i < end) {
                uint64_t missing =
                        ~atomic_load_explicit(&s->have[i / 64], memory_order_acquire) >> (i % 64);

                if (missing) {
                        i += (uint32_t)__builtin_ctzll(missing);
                        return i < end ? i : end;
                }
                i = (i / 64 + 1) * 64;
        }
        return end;
}

uint64_t store_have_in(const struct store *s, uint64_t offset, uint64_t len)
{
        uint32_t first, last;
        uint64_t sum = 0;

        if (len == 0)
                return 0;
        first = (uint32_t)(offset / s->piece_length);
        last = (uint32_t)((offset + len - 1) / s->piece_length);
        if (first == last)
                return store_has(s, first) ? len : 0;
        if (store_has(s, first))
                sum += (uint64_t)(first + 1) * s->piece_length - offset;
        if (store_has(s, last))
                sum += offset + len - (uint64_t)last * s->piece_length;
        for (uint32_t i = first + 1; i < last;) {
                uint32_t n = 64 - i % 64 < last - i ? 64 - i % 64 : last - i;
                uint64_t word =
                        atomic_load_explicit(&s->have[i / 64], memory_order_acquire) >> (i % 64);

                if (n < 64)
                        word &= (1ull << n) - 1;
                sum += (uint64_t)__builtin_popcountll(word) * s->piece_length;
                i += n;
        }
        return sum;
}

uint64_t store_have_bytes(const struct store *s)
{
        return atomic_load(&s->have_bytes);
}
