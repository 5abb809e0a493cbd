/* SPDX-License-Identifier: MIT */
/* store_file.c: a store from its opening to its end: it is left or discarded. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void store_free(struct store *s)
{
        if (s->fd >= 0)
                close(s->fd);
        pthread_cond_destroy(&s->settled);
        pthread_mutex_destroy(&s->lock);
        pthread_mutex_destroy(&s->sync_lock);
        have_free(&s->have);
        have_free(&s->suspects);
        free(s->reserved);
        free(s->written);
        free(s->going);
        free(s->wanted_again);
        free(s->touched);
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
        s->judged = UINT32_MAX;
        pthread_mutex_init(&s->lock, NULL);
        pthread_mutex_init(&s->sync_lock, NULL);
        pthread_cond_init(&s->settled, NULL);
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

/* The name goes to another store. The one that has it goes on without, which it can only with a
 * descriptor. Gives one that is to be closed without the lock, or -1. Under cache->files_lock. */
static int lose_name(struct store *s)
{
        int fd;

        (void)store_fd_locked(s, false);
        fd = store_file_unlink(s);
        s->file = NULL;
        return fd;
}

/* Gives a descriptor as lose_name, which keeps the blocks until it is closed. */
static int unlink_left(struct cache *c, const char *name)
{
        int fd = openat(c->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

        (void)unlinkat(c->dir_fd, name, 0);
        return fd;
}

int store_open(struct cache *c, const struct store_options *o, struct store **ret)
{
        struct store *s = store_alloc(c, o);
        struct cache_file *f;
        char name[sizeof f->name];
        int lost = -1, r;

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
                if (f->store)
                        lost = lose_name(f->store);
                else if (f->closed && !o->have)
                        lost = unlink_left(c, name);
                f->store = NULL;
                r = o->have ? store_file_adopt(s, name, o) : store_file_create(s, name);
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
        if (lost >= 0)
                close(lost);
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
        pthread_cond_broadcast(&s->settled);
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
        int unopened = -1, fd;
        bool first;

        pthread_mutex_lock(&s->lock);
        s->discarded = true;
        pthread_cond_broadcast(&s->settled);
        first = !s->deleted;
        s->deleted = true;
        if (first)
                room = store_room_all(s, &pending);
        pthread_mutex_unlock(&s->lock);
        pthread_mutex_lock(&c->files_lock);
        if (s->file) {
                unopened = store_file_unlink(s);
                cache_file_forget(c, s->file);
                s->file = NULL;
        }
        pthread_mutex_unlock(&c->files_lock);
        /* Its blocks go now: open handles keep the file, or the descriptor was the last of it. */
        if (unopened >= 0)
                close(unopened);
        fd = s->fd;
        if (room > 0 && fd >= 0)
                (void)!ftruncate(fd, 0);
        if (room > 0) {
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
        uint64_t room, pending, gone = 0, gone_pending = 0;

        /* Of one that was never opened nothing was written; what is going there stays, and counts.
         */
        if (s->fd >= 0)
                store_punch_missing(s, s->fd);
        pthread_mutex_lock(&s->lock);
        room = store_room_all(s, &pending);
        for (uint32_t i = 0; i < s->have.pieces && c->sparse; i++) {
                bool going = store_is_going(s, i);

                if (!bit(s->reserved, i) || have_has(&s->have, i) || store_is_suspect(s, i) ||
                    (going && s->fd < 0))
                        continue;
                gone += store_piece_room(s, i);
                gone_pending += going ? 0 : store_piece_room(s, i);
        }
        if (!c->sparse)
                gone = gone_pending = pending;
        s->deleted = true;
        pthread_mutex_unlock(&s->lock);
        cache_give_back(c, gone, gone_pending);
        s->file->store = NULL;
        s->file->closed = true;
        s->file->room = room - gone;
        s->file->pending = pending - gone_pending;
        if (!s->there)
                cache_file_forget(c, s->file);
        s->file = NULL;
}

void store_leave(struct store *s)
{
        bool leaves;

        /* First, so that nothing is written any more. */
        pthread_mutex_lock(&s->lock);
        leaves = !s->discarded;
        s->discarded = true;
        pthread_cond_broadcast(&s->settled);
        while (leaves && (s->writers || s->punching.first < s->punching.end))
                pthread_cond_wait(&s->settled, &s->lock);
        if (leaves)
                s->punching.end = s->have.pieces; /* nobody else punches before it is done */
        pthread_mutex_unlock(&s->lock);
        if (!leaves)
                return;
        pthread_mutex_lock(&s->cache->files_lock);
        if (s->file)
                leave_file(s);
        pthread_mutex_unlock(&s->cache->files_lock);
        pthread_mutex_lock(&s->lock);
        store_punched(s);
        pthread_mutex_unlock(&s->lock);
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
