/* SPDX-License-Identifier: MIT */
/* store_file.c: a store's file: made, adopted, left or deleted. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void store_free(struct store *s)
{
        if (s->fd >= 0)
                close(s->fd);
        pthread_cond_destroy(&s->evicted);
        pthread_mutex_destroy(&s->lock);
        have_free(&s->have);
        free(s->reserved);
        free(s->written);
        free(s->hidden);
        free(s);
}

static struct store *store_alloc(struct cache *c, const struct store_options *o)
{
        struct store *s = calloc(1, sizeof *s);
        size_t words;

        if (!s) {
                free(o->hidden);
                return NULL;
        }
        s->refs = 1;
        s->cache = c;
        s->fd = -1;
        s->hidden = o->hidden;
        s->n_hidden = o->n_hidden;
        s->evicting = UINT32_MAX;
        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->evicted, NULL);
        if (have_init(&s->have, o->size, o->piece_length) == 0) {
                words = s->have.pieces / 64 + 1;
                s->reserved = calloc(words, sizeof *s->reserved);
                s->written = calloc(words, sizeof *s->written);
        }
        if (s->reserved && s->written)
                return s;
        store_free(s);
        return NULL;
}

int store_punch_pieces(const struct store *s, uint32_t first, uint32_t end)
{
        uint64_t from = (uint64_t)first * s->have.piece_length,
                 to = (uint64_t)(end - 1) * s->have.piece_length +
                      have_piece_bytes(&s->have, end - 1);

        if (first < end && fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                                     (off_t)(to - from)) < 0)
                return -errno;
        return 0;
}

/* What lies in the file of pieces that are not there goes. Where that can't be done it stays, and
 * is written over some time. */
static void punch_missing(const struct store *s)
{
        uint32_t first = 0;

        while (s->cache->sparse && first < s->have.pieces) {
                uint32_t end = first;

                while (end < s->have.pieces && !have_has(&s->have, end))
                        end++;
                if (end > first)
                        (void)store_punch_pieces(s, first, end);
                first = end + 1;
        }
}

/* A new file; -errno. */
static int create_file(struct store *s, const char *name)
{
        int dir_fd = s->cache->dir_fd, r;

        s->fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (s->fd < 0)
                return -errno;
        /* Its whole length at once: the padding between files is never written and must read as
         * zeros. */
        if (!s->cache->sparse || ftruncate(s->fd, (off_t)s->have.size) == 0)
                return 0;
        r = -errno;
        (void)unlinkat(dir_fd, name, 0);
        return r;
}

/* The file that an earlier store has left, with the pieces of the bitmap; -errno. */
static int adopt_file(struct store *s, const char *name, const uint8_t *have)
{
        struct stat st;

        s->fd = openat(s->cache->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (s->fd < 0)
                return -errno;
        if (fstat(s->fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EEXIST;
        if (s->cache->sparse && (uint64_t)st.st_size != s->have.size &&
            ftruncate(s->fd, (off_t)s->have.size) < 0)
                return -errno;
        for (uint32_t i = 0; i < s->have.pieces; i++) {
                uint64_t end = (uint64_t)i * s->have.piece_length + have_piece_bytes(&s->have, i);

                if (!(have[i / 8] >> (i % 8) & 1) || end > (uint64_t)st.st_size)
                        continue;
                store_room_adopt(s, i);
                (void)have_set(&s->have, i);
                s->have_bytes += store_shown_bytes(s, i);
        }
        punch_missing(s);
        /* Where there are no holes what lies behind the last piece goes. */
        if (!s->cache->sparse && (uint64_t)st.st_size > s->top)
                (void)!ftruncate(s->fd, (off_t)s->top);
        return 0;
}

int store_open(struct cache *c, const struct store_options *o, struct store **ret)
{
        struct store *s = store_alloc(c, o);
        struct cache_file *f;
        char name[sizeof f->name];
        int r;

        if (!s)
                return -ENOMEM;
        snprintf(name, sizeof name, "%s" CACHE_SUFFIX, o->name);
        pthread_mutex_lock(&c->files_lock);
        f = cache_file(c, name);
        if (!f) {
                r = -ENOMEM;
        } else if (f->number > o->number) {
                r = -ESTALE;
        } else if (f->store && f->number == o->number && o->have) {
                r = -EBUSY;
        } else {
                if (f->store || (f->closed && !o->have))
                        (void)unlinkat(c->dir_fd, name, 0);
                if (f->store)
                        f->store->file = NULL;
                f->store = NULL;
                r = o->have ? adopt_file(s, name, o->have) : create_file(s, name);
                /* Only now, so that nobody takes its room meanwhile; one that could not be adopted
                 * is still there, and counts. */
                if (r == 0 || r == -ENOENT || !o->have) {
                        cache_give_back(c, f->room, f->pending);
                        f->room = f->pending = 0;
                        f->closed = false;
                }
        }
        if (r == 0) {
                f->store = s;
                f->number = o->number;
                s->file = f;
        } else if (f && !f->store && !f->closed) {
                cache_file_forget(c, f);
        }
        pthread_mutex_unlock(&c->files_lock);
        if (r < 0)
                store_free(s);
        else
                *ret = s;
        return r;
}

void store_condemn(struct store *s)
{
        /* Under the lock: what is reserved and written from here on is nothing. */
        pthread_mutex_lock(&s->lock);
        s->discarded = true;
        pthread_mutex_unlock(&s->lock);
}

const char *store_open_error(int err)
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
        struct cache *c = s->cache;
        uint64_t room = 0, pending = 0;
        bool first;

        pthread_mutex_lock(&s->lock);
        s->discarded = true;
        first = !s->deleted;
        s->deleted = true;
        if (first)
                room = store_room_all(s, &pending);
        pthread_mutex_unlock(&s->lock);
        pthread_mutex_lock(&c->files_lock);
        if (s->file) {
                (void)unlinkat(c->dir_fd, s->file->name, 0);
                cache_file_forget(c, s->file);
                s->file = NULL;
        }
        pthread_mutex_unlock(&c->files_lock);
        if (room > 0) {
                /* Open handles keep the file; its blocks go now. */
                (void)!ftruncate(s->fd, 0);
                cache_give_back(c, room, pending);
                cache_sample(c);
        }
}

struct store *store_ref(struct store *s)
{
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
        return s;
}

/* It stays, and what is there goes on to count. Under cache->files_lock. */
static void leave_file(struct store *s)
{
        struct cache *c = s->cache;
        uint64_t room, pending, unfinished = 0;

        punch_missing(s);
        pthread_mutex_lock(&s->lock);
        room = store_room_all(s, &pending);
        for (uint32_t i = 0; i < s->have.pieces && c->sparse; i++)
                if (bit(s->reserved, i) && !have_has(&s->have, i))
                        unfinished += store_piece_room(s, i);
        if (!c->sparse)
                unfinished = pending;
        s->deleted = true;
        pthread_mutex_unlock(&s->lock);
        cache_give_back(c, unfinished, unfinished);
        s->file->store = NULL;
        s->file->closed = true;
        s->file->room = room - unfinished;
        s->file->pending = pending - unfinished;
        s->file = NULL;
}

void store_leave(struct store *s)
{
        bool leaves;

        /* First, so that nothing is written any more. */
        pthread_mutex_lock(&s->lock);
        leaves = !s->discarded;
        s->discarded = true;
        pthread_mutex_unlock(&s->lock);
        if (!leaves)
                return;
        pthread_mutex_lock(&s->cache->files_lock);
        if (s->file)
                leave_file(s);
        pthread_mutex_unlock(&s->cache->files_lock);
}

void store_unref(struct store *s)
{
        if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
                return;
        store_leave(s);
        /* Of one that has no name nothing is left with the last descriptor. */
        if (!s->deleted)
                store_discard(s);
        store_free(s);
}
