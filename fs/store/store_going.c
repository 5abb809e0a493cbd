/* SPDX-License-Identifier: MIT */
/* store_going.c: how pieces go, and when they were last read.
 *
 * One that is there goes in two steps: store_unset makes it missing, so that nobody begins to read
 * it, and whoever is reading it notices (struct have's generation); store_punch_run takes it off
 * the disk. Between the two the caller makes sure that the next start won't take it for there. Its
 * bytes count as being on the disk until they are punched. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- taking blocks off the disk ---- */

struct store_range store_blocks_of(const struct store *s, uint32_t first, uint32_t end,
                                   uint32_t *bar_first, uint32_t *bar_end)
{
        uint64_t b = s->cache->block_bytes, length = s->have.piece_length;
        uint64_t from = first * length,
                 to = (end - 1) * length + have_piece_bytes(&s->have, end - 1);
        uint64_t block_from = from / b * b, block_to = (to + b - 1) / b * b;
        uint32_t low = first, high = end;

        while (low > 0 && low * length > block_from && !bit(s->written, low - 1))
                low--;
        while (high < s->have.pieces && high * length < block_to && !bit(s->written, high))
                high++;
        /* Behind the last piece the block is nobody's. */
        if (low * length <= block_from) {
                from = block_from;
                *bar_first = low;
        } else {
                *bar_first = first;
        }
        if (high == s->have.pieces || high * length >= block_to) {
                to = block_to;
                *bar_end = high;
        } else {
                *bar_end = end;
        }
        return (struct store_range){from, to - from};
}

/* Under s->lock. */
static bool is_written_to(const struct store *s, uint32_t first, uint32_t end)
{
        const struct store_writer *w;

        DL_FOREACH (s->writers, w)
                if (w->piece >= first && w->piece < end)
                        return true;
        return false;
}

int store_punch_pieces(struct store *s, uint32_t first, uint32_t end)
{
        struct store_range blocks;
        bool deleted;
        int fd;

        pthread_mutex_lock(&s->lock);
        while (s->punching.first < s->punching.end || is_written_to(s, first, end))
                pthread_cond_wait(&s->settled, &s->lock);
        blocks = store_blocks_of(s, first, end, &s->punching.first, &s->punching.end);
        deleted = s->deleted;
        pthread_mutex_unlock(&s->lock);
        /* Left, its file may be another store's by now, and have the piece. */
        if (deleted)
                return 0;
        fd = store_fd(s, false);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)blocks.offset,
                      (off_t)blocks.len) < 0)
                return -errno;
        return 0;
}

void store_punched(struct store *s)
{
        s->punching.first = s->punching.end = 0;
        pthread_cond_broadcast(&s->settled);
}

void store_clear(struct store *s, uint32_t piece)
{
        bool clear;
        int r;

        pthread_mutex_lock(&s->lock);
        clear = s->cache->sparse && !s->discarded && piece < s->have.pieces &&
                !store_is_going(s, piece) && bit(s->written, piece) && !store_has(s, piece) &&
                !store_is_suspect(s, piece);
        pthread_mutex_unlock(&s->lock);
        if (!clear)
                return; /* no holes here: what is there keeps its room */
        r = store_punch_pieces(s, piece, piece + 1);
        pthread_mutex_lock(&s->lock);
        if (r == 0)
                bit_clear(s->written, piece);
        store_punched(s);
        pthread_mutex_unlock(&s->lock);
}

/* ---- pieces that are there ---- */

/* Under s->lock. */
static int make_bitmaps(struct store *s)
{
        size_t words = s->have.pieces / 64 + 1;

        if (!s->wanted_again)
                s->wanted_again = calloc(words, sizeof *s->wanted_again);
        if (!s->going && s->wanted_again)
                s->going = calloc(words, sizeof *s->going);
        return s->going ? 0 : -ENOMEM;
}

int store_unset(struct store *s, uint32_t piece)
{
        int r = 0;

        if (!s->cache->sparse)
                return -EOPNOTSUPP;
        pthread_mutex_lock(&s->lock);
        if (s->discarded)
                r = -ESTALE;
        else if (store_is_going(s, piece))
                r = -EBUSY;
        else if (piece >= s->have.pieces || !have_has(&s->have, piece))
                r = -ENOENT;
        else
                r = make_bitmaps(s);
        if (r == 0) {
                /* First: who sees that it is missing may be about to write it. */
                bit_set(s->going, piece);
                bit_clear(s->wanted_again, piece);
                (void)have_clear(&s->have, piece);
                atomic_fetch_sub(&s->have_bytes, store_shown_bytes(s, piece));
        }
        pthread_mutex_unlock(&s->lock);
        return r;
}

int store_unset_unfinished(struct store *s, uint32_t piece)
{
        int r = 0;

        if (!s->cache->sparse)
                return -EOPNOTSUPP;
        pthread_mutex_lock(&s->lock);
        if (s->discarded)
                r = -ESTALE;
        else if (piece >= s->have.pieces || !bit(s->written, piece) || !bit(s->reserved, piece) ||
                 have_has(&s->have, piece) || store_is_suspect(s, piece) ||
                 store_is_going(s, piece))
                r = -ENOENT;
        else
                r = make_bitmaps(s);
        if (r == 0) {
                bit_set(s->going, piece);
                bit_clear(s->wanted_again, piece);
                cache_settle(s->cache, store_piece_room(s, piece)); /* until it is punched */
        }
        pthread_mutex_unlock(&s->lock);
        return r;
}

/* What the file takes besides the bytes of pieces that are there: at least its map. First what is
 * there, all of which is in the file then. */
static uint64_t taken_besides(const struct store *s)
{
        uint64_t there = store_have_bytes(s), all;
        int fd = s->fd;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return UINT64_MAX;
        all = cache_allocated(s->cache, &st);
        return all > there ? all - there : 0;
}

/* What is to be given back for one that went, its map's part apart. Under s->lock. */
static uint64_t gone(struct store *s, uint32_t piece, bool punched)
{
        uint64_t on_disk = store_piece_room(s, piece);

        if (punched)
                bit_clear(s->written, piece);
        /* Of padding alone it never had room. */
        if (!bit(s->reserved, piece))
                return 0;
        if (!punched || bit(s->wanted_again, piece)) {
                cache_unsettle(s->cache, on_disk);
                return 0;
        }
        (void)store_room_drop(s, piece);
        return on_disk;
}

int store_punch_run(struct store *s, uint32_t first, uint32_t end)
{
        uint64_t room = 0, map = 0, besides;
        uint32_t n_before;
        bool all_go = first < end && end <= s->have.pieces;
        int r;

        pthread_mutex_lock(&s->lock);
        for (uint32_t i = first; i < end && all_go; i++)
                all_go = store_is_going(s, i);
        pthread_mutex_unlock(&s->lock);
        if (!all_go)
                return -EINVAL;
        r = store_punch_pieces(s, first, end);
        cache_punched(s->cache, r);
        besides = taken_besides(s);
        pthread_mutex_lock(&s->lock);
        n_before = s->n_reserved;
        for (uint32_t i = first; i < end && r == 0; i++) {
                if (!s->deleted)
                        room += gone(s, i, true);
                bit_clear(s->going, i);
        }
        if (room > 0)
                map = store_room_shrink_map(s, n_before, besides);
        store_punched(s);
        pthread_mutex_unlock(&s->lock);
        if (room > 0)
                cache_give_back(s->cache, room + map, map);
        return r;
}

void store_keep(struct store *s, uint32_t piece, bool right)
{
        pthread_mutex_lock(&s->lock);
        if (store_is_going(s, piece)) {
                bool kept = right && !bit(s->wanted_again, piece);

                if (kept && !s->deleted && have_set(&s->have, piece))
                        atomic_fetch_add(&s->have_bytes, store_shown_bytes(s, piece));
                else if (!kept && !s->deleted)
                        (void)gone(s, piece, false);
                bit_clear(s->going, piece);
                pthread_cond_broadcast(&s->settled);
        }
        pthread_mutex_unlock(&s->lock);
}

int store_punch(struct store *s, uint32_t piece)
{
        int r = store_punch_run(s, piece, piece + 1);

        if (r < 0)
                store_keep(s, piece, false); /* nothing, if it was not going */
        return r;
}

bool store_goes(struct store *s, uint32_t piece)
{
        bool goes;

        pthread_mutex_lock(&s->lock);
        goes = store_is_going(s, piece);
        pthread_mutex_unlock(&s->lock);
        return goes;
}

/* ---- which they are ---- */

/* Under s->lock. */
static bool is_unfinished(const struct store *s, uint32_t piece)
{
        return bit(s->written, piece) && !have_has(&s->have, piece) &&
               !store_is_suspect(s, piece) && !store_is_going(s, piece);
}

bool store_is_unfinished(struct store *s, uint32_t piece)
{
        bool is;

        pthread_mutex_lock(&s->lock);
        is = is_unfinished(s, piece);
        pthread_mutex_unlock(&s->lock);
        return is;
}

uint32_t store_next_unfinished(struct store *s, uint32_t from)
{
        uint32_t piece = UINT32_MAX;

        pthread_mutex_lock(&s->lock);
        for (uint32_t i = from; i < s->have.pieces && piece == UINT32_MAX; i++) {
                if (i % 64 == 0 && s->written[i / 64] == 0)
                        i += 63;
                else if (is_unfinished(s, i))
                        piece = i;
        }
        pthread_mutex_unlock(&s->lock);
        return piece;
}

void store_touch(struct store *s, uint32_t first, uint32_t end, uint32_t now)
{
        _Atomic uint32_t *touched = atomic_load(&s->touched), *none = NULL;

        if (!touched) {
                touched = calloc(s->have.pieces + 1, sizeof *touched);
                if (!touched)
                        return; /* they go as if they had not been read */
                if (!atomic_compare_exchange_strong(&s->touched, &none, touched)) {
                        free(touched);
                        touched = none;
                }
        }
        for (uint32_t i = first; i < end && i < s->have.pieces; i++)
                atomic_store_explicit(&touched[i], now, memory_order_relaxed);
}

uint32_t store_touched(const struct store *s, uint32_t piece)
{
        const _Atomic uint32_t *touched = atomic_load(&s->touched);

        if (!touched || piece >= s->have.pieces)
                return 0;
        return atomic_load_explicit(&touched[piece], memory_order_relaxed);
}
