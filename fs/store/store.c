/* SPDX-License-Identifier: MIT */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- room ---- */

int store_reserve(struct store *s, uint32_t piece)
{
        int r;

        pthread_mutex_lock(&s->lock);
        r = store_room_take(s, piece, true);
        pthread_mutex_unlock(&s->lock);
        return r;
}

void store_release(struct store *s, uint32_t piece)
{
        bool give_back = false;
        uint64_t room = 0;

        pthread_mutex_lock(&s->lock);
        /* What is being taken off the disk is given back after that. */
        if (store_is_going(s, piece))
                bit_clear(s->wanted_again, piece);
        else
                give_back = !s->discarded && bit(s->reserved, piece) && !bit(s->written, piece) &&
                            !store_has(s, piece);
        if (give_back)
                room = store_room_drop(s, piece);
        pthread_mutex_unlock(&s->lock);
        if (give_back)
                cache_give_back(s->cache, room, room);
}

/* ---- reading and writing ---- */

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
        struct store_writer w = {.piece = piece};
        bool deleted;
        int fd, r;

        if (piece >= s->have.pieces || offset + len > have_piece_bytes(&s->have, piece))
                return -EIO;
        /* First: the opening of the file takes off the disk what was not written by us. */
        fd = store_fd(s, true);
        if (fd < 0)
                return fd;
        /* A block that was asked for before its piece lost its room may still arrive. */
        pthread_mutex_lock(&s->lock);
        while (!s->discarded && store_is_barred(s, piece))
                pthread_cond_wait(&s->settled, &s->lock);
        /* Nothing goes for one that nobody wants any more. What was verified stays as it is,
         * whoever sends it once more. */
        r = store_is_suspect(s, piece)  ? -EBUSY
            : have_has(&s->have, piece) ? 1
                                        : store_room_take(s, piece, false);
        if (r == 0) {
                bit_set(s->written, piece);
                DL_APPEND(s->writers, &w);
        }
        pthread_mutex_unlock(&s->lock);
        if (r != 0)
                return r;
        r = pwrite_all(fd, data, len, (off_t)((uint64_t)piece * s->have.piece_length + offset));
        /* After the write: a store_sync that comes between the two need not know of it. */
        s->unsynced = true;
        if (r == 0 && !s->cache->sparse)
                store_room_grown(s, piece, (uint64_t)piece * s->have.piece_length + offset + len);
        pthread_mutex_lock(&s->lock);
        DL_DELETE(s->writers, &w); /* NOLINT(*NullDereference): it is in */
        deleted = s->deleted;
        pthread_cond_broadcast(&s->settled);
        pthread_mutex_unlock(&s->lock);
        /* Discarded meanwhile: nothing stays. (Who leaves it waits for us.) */
        if (deleted)
                (void)!ftruncate(fd, 0);
        return r;
}

void store_quota_met(struct store *s)
{
        (void)cache_refused(s->cache);
}

int store_read_raw(struct store *s, uint64_t offset, void *data, size_t len)
{
        char *p = data;
        int fd;

        if (s->discarded)
                return -ESTALE;
        fd = store_fd(s, false);
        if (fd == -ENOENT) { /* nothing was written yet: it is one hole */
                if (offset + len > s->have.size)
                        return -EIO;
                memset(p, 0, len);
                return 0;
        }
        if (fd < 0)
                return fd;
        while (len > 0) {
                ssize_t n = pread(fd, p, len, (off_t)offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0 && !s->cache->sparse && offset + len <= s->have.size) {
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

int store_read_piece(struct store *s, uint32_t piece, uint32_t offset, void *data, size_t len)
{
        if (piece >= s->have.pieces || offset + len > have_piece_bytes(&s->have, piece))
                return -EIO;
        return store_read_raw(s, (uint64_t)piece * s->have.piece_length + offset, data, len);
}

int store_read(struct store *s, uint64_t offset, void *data, size_t len)
{
        uint32_t first, end;
        unsigned generation;
        int r;

        if (len == 0)
                return 0;
        if (offset >= s->have.size || len > s->have.size - offset)
                return -EIO;
        first = (uint32_t)(offset / s->have.piece_length);
        end = (uint32_t)((offset + len - 1) / s->have.piece_length) + 1;
        /* Once more only where a piece of the store, of this range or not, went meanwhile. */
        do {
                generation = atomic_load(&s->have.generation);
                if (have_first_missing(&s->have, first, end) < end)
                        return s->discarded ? -ESTALE : -EAGAIN;
                r = store_read_raw(s, offset, data, len);
        } while (r == 0 && atomic_load(&s->have.generation) != generation);
        return r;
}

int store_give_piece(struct store *s, uint32_t piece, uint32_t offset, void *data, size_t len)
{
        if (piece >= s->have.pieces || offset + len > have_piece_bytes(&s->have, piece))
                return -EIO;
        return store_read(s, (uint64_t)piece * s->have.piece_length + offset, data, len);
}

/* ---- what is there ---- */

/* How much of a piece no user sees. */
static uint64_t hidden_bytes(const struct store *s, uint32_t piece)
{
        uint64_t start = (uint64_t)piece * s->have.piece_length,
                 end = start + have_piece_bytes(&s->have, piece);
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

uint64_t store_shown_bytes(const struct store *s, uint32_t piece)
{
        return have_piece_bytes(&s->have, piece) - hidden_bytes(s, piece);
}

bool store_set(struct store *s, uint32_t piece)
{
        bool pending, refused;

        if (piece >= s->have.pieces)
                return false;
        if (store_has(s, piece))
                return true;
        pthread_mutex_lock(&s->lock);
        /* What goes has none of its bytes any more, or soon. */
        refused = store_is_suspect(s, piece) || store_is_going(s, piece);
        /* Of a condemned one, too: store_discard counts as pending what is missing then. */
        pending = s->cache->sparse && !s->deleted && bit(s->reserved, piece) && !refused &&
                  !store_has(s, piece);
        if (!refused && have_set(&s->have, piece))
                atomic_fetch_add(&s->have_bytes, store_shown_bytes(s, piece));
        pthread_mutex_unlock(&s->lock);
        if (pending)
                cache_settle(s->cache, store_piece_room(s, piece));
        return !refused;
}

bool store_has(const struct store *s, uint32_t piece)
{
        return have_has(&s->have, piece);
}

uint32_t store_first_missing(const struct store *s, uint32_t first, uint32_t end)
{
        return have_first_missing(&s->have, first, end);
}

uint64_t store_have_in(const struct store *s, uint64_t offset, uint64_t len)
{
        return have_in(&s->have, offset, len);
}

uint64_t store_have_bytes(const struct store *s)
{
        return atomic_load(&s->have_bytes);
}

int store_bitmap(const struct store *s, uint8_t **ret, size_t *ret_len)
{
        size_t len = have_bitmap_bytes(s->have.pieces);
        uint8_t *map = malloc(len > 0 ? len : 1);

        if (!map)
                return -ENOMEM;
        have_to_bitmap(&s->have, map);
        *ret = map;
        *ret_len = len;
        return 0;
}
