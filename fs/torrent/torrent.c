/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent/torrent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "common/clock.h"
#include "torrent/names.h"
#include "torrent/parked.h"
#include "torrent/returning.h"
#include "torrent/wishes.h"

/* ---- life ---- */

int torrent_new(struct torrent_env *env, uint32_t number, struct bt_source *source, bool kept,
                struct torrent **ret)
{
        struct torrent *t = calloc(1, sizeof *t);
        const struct bt_hash *hash = bt_source_hash(source);

        if (!t)
                return -ENOMEM;
        t->env = env;
        t->number = number;
        t->source = source;
        bt_hash_v1_hex(hash, t->alias[0]);
        bt_hash_v2_hex(hash, t->alias[1]);
        memcpy(t->hex, hash->has_v1 ? t->alias[0] : t->alias[1], sizeof t->hex);
        t->added_at = time(NULL);
        t->refs = 1;
        t->kept = kept;
        t->last_used_ms = clock_ms();
        t->waiting.next_id = 1;
        pthread_mutex_init(&t->lock, NULL);
        pthread_mutex_init(&t->content_lock, NULL);
        *ret = t;
        return 0;
}

struct torrent *torrent_ref(struct torrent *t)
{
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
        return t;
}

static void content_unref(struct content *c)
{
        listing_unref(c->listing);
        store_unref(c->store);
        *c = (struct content){0};
}

static void fillers_free(struct torrent *t)
{
        struct filler *f, *next;

        DL_FOREACH_SAFE2 (t->fillers, f, next, after)
                filler_free(f);
}

void torrent_unref(struct torrent *t)
{
        if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
                return;
        returning_expire(t, UINT64_MAX);
        wants_clear(&t->wants);
        fillers_free(t);
        content_unref(&t->content);
        bt_source_free(t->source);
        for (unsigned i = 0; i < t->n_more; i++)
                bt_source_free(t->more[i]);
        free(t->more);
        torrent_unref(t->successor);
        free(t->name);
        pthread_mutex_destroy(&t->lock);
        pthread_mutex_destroy(&t->content_lock);
        free(t);
}

struct listing *torrent_listing(struct torrent *t)
{
        struct listing *l;

        pthread_mutex_lock(&t->content_lock);
        l = t->content.listing ? listing_ref(t->content.listing) : NULL;
        pthread_mutex_unlock(&t->content_lock);
        return l;
}

struct store *torrent_store(struct torrent *t)
{
        struct store *s;

        pthread_mutex_lock(&t->content_lock);
        s = t->content.store ? store_ref(t->content.store) : NULL;
        pthread_mutex_unlock(&t->content_lock);
        return s;
}

bool torrent_has_content(struct torrent *t)
{
        bool has;

        pthread_mutex_lock(&t->content_lock);
        has = t->content.listing;
        pthread_mutex_unlock(&t->content_lock);
        return has;
}

uint64_t torrent_have_bytes(struct torrent *t)
{
        uint64_t have;

        pthread_mutex_lock(&t->content_lock);
        have = t->content.store ? store_have_bytes(t->content.store) : 0;
        pthread_mutex_unlock(&t->content_lock);
        return have;
}

/* Under t->lock; gives back what it was. */
static struct content exchange_content(struct torrent *t, struct content c)
{
        struct content before;

        pthread_mutex_lock(&t->content_lock);
        before = t->content;
        t->content = c;
        pthread_mutex_unlock(&t->content_lock);
        return before;
}

void content_leave(struct content *c)
{
        store_leave(c->store);
        content_unref(c);
}

void content_discard(struct content *c)
{
        if (c->store)
                store_discard(c->store);
        content_unref(c);
}

/* ---- its content ---- */

/* The pieces of the files that the magnet asks for. NULL: there are none, or no memory. */
static struct filler *filler_of_magnet(const struct torrent *t, const struct listing *l)
{
        struct filler_range *ranges = NULL;
        size_t n = 0, room = 0;

        for (uint32_t i = 0; i < bt_meta_files(l->meta); i++) {
                struct bt_file f;
                uint32_t first, end;

                bt_meta_file(l->meta, i, &f);
                if (f.pad || f.size == 0 || !bt_source_selects(t->source, i))
                        continue;
                first = (uint32_t)(f.offset / l->piece_length);
                end = (uint32_t)((f.offset + f.size - 1) / l->piece_length) + 1;
                if (n > 0 && first <= ranges[n - 1].end) {
                        ranges[n - 1].end = end;
                        continue;
                }
                if (n == room) {
                        struct filler_range *grown;

                        room = room ? 2 * room : 16;
                        grown = reallocarray(ranges, room, sizeof *grown);
                        if (!grown)
                                break; /* the rest is not filled */
                        ranges = grown;
                }
                ranges[n++] = (struct filler_range){first, end};
        }
        if (n > 0)
                return filler_new(ranges, n, l->piece_length);
        free(ranges);
        return NULL;
}

int torrent_make_content(struct torrent *t, struct cache *cache, struct bt_meta *meta,
                         struct content *ret)
{
        struct content c = {0};
        int r = listing_new(meta, &c.listing);

        if (r >= 0)
                r = listing_store(c.listing, cache, t->hex, t->number, NULL, false, &c.store);
        if (r < 0) {
                content_unref(&c);
                return r;
        }
        *ret = c;
        return 0;
}

int torrent_set_content(struct torrent *t, const struct content *content)
{
        struct filler *filler = NULL;

        if (t->env->fill == FILL_TORRENT)
                filler = filler_of_magnet(t, content->listing);
        pthread_mutex_lock(&t->lock);
        if (t->content.listing || t->state == TORRENT_GONE) {
                pthread_mutex_unlock(&t->lock);
                filler_free(filler);
                return -ESTALE;
        }
        (void)exchange_content(t, *content);
        t->state = TORRENT_AWAKE;
        t->failed = 0;
        t->problem[0] = '\0';
        wishes_fill_with(t, filler);
        wishes_tell(t);
        pthread_mutex_unlock(&t->lock);
        return 0;
}

int torrent_drop_content(struct torrent *t, struct content *ret)
{
        int r = 0;

        pthread_mutex_lock(&t->lock);
        if (!t->content.listing || t->state == TORRENT_GONE)
                r = -ENOENT;
        else if (t->open || t->bt)
                r = -EBUSY;
        if (r == 0) {
                while (t->fillers)
                        wishes_fill_no_more(t, t->fillers);
                returning_expire(t, UINT64_MAX);
                if (t->waiting.taken > 0)
                        (void)wishes_change(t, t->waiting.taken - 1, PRIORITY_LEAST, PRIORITY_NONE);
                t->waiting.taken = 0;
                atomic_store(&t->offered, 0);
                wants_clear(&t->wants);
                *ret = exchange_content(t, (struct content){0});
                t->state = TORRENT_ASLEEP;
        }
        pthread_mutex_unlock(&t->lock);
        return r;
}

/* Whether somebody reads the piece or is about to. Under t->lock. */
static bool is_needed(struct torrent *t, uint32_t piece)
{
        const struct handle *h;
        const struct parked *p;
        const struct filler *f;

        if (wants_find(&t->wants, piece))
                return true;
        DL_FOREACH2 (t->fillers, f, after)
                if (filler_wished(f, piece))
                        return true;
        DL_FOREACH (t->open, h)
                if (plan_priority(&h->reader.plan, piece) != PRIORITY_NONE)
                        return true;
        DL_FOREACH (t->waiting.list, p)
                if (piece >= p->first && piece < p->end)
                        return true;
        return false;
}

int torrent_evict(struct torrent *t, uint32_t piece)
{
        struct store *store = NULL;
        int r = -ENOENT;

        /* Under the lock, so that nobody comes to need it between the look and its going. */
        pthread_mutex_lock(&t->lock);
        if (t->content.store)
                r = is_needed(t, piece) ? -EBUSY : store_unset(t->content.store, piece);
        if (r == 0)
                store = store_ref(t->content.store);
        pthread_mutex_unlock(&t->lock);
        if (r == 0)
                r = store_punch(store, piece);
        store_unref(store);
        return r;
}

void torrent_attach(struct torrent *t, struct bt_torrent *bt)
{
        pthread_mutex_lock(&t->lock);
        t->bt = bt;
        wants_retell(&t->wants);
        wishes_tell(t);
        pthread_mutex_unlock(&t->lock);
}

struct bt_torrent *torrent_detach(struct torrent *t)
{
        struct bt_torrent *bt;

        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        t->bt = NULL;
        pthread_mutex_unlock(&t->lock);
        return bt;
}

void torrent_become(struct torrent *t, struct torrent *other)
{
        pthread_mutex_lock(&t->lock);
        if (!t->successor)
                t->successor = torrent_ref(other);
        pthread_mutex_unlock(&t->lock);
}

struct torrent *torrent_successor(struct torrent *t)
{
        struct torrent *other;

        pthread_mutex_lock(&t->lock);
        other = t->successor ? torrent_ref(t->successor) : NULL;
        pthread_mutex_unlock(&t->lock);
        return other;
}

void torrent_fail(struct torrent *t, int err, const char *why)
{
        pthread_mutex_lock(&t->lock);
        t->failed = err;
        name_clean_text(why, t->problem, sizeof t->problem);
        pthread_mutex_unlock(&t->lock);
}

void torrent_problem(struct torrent *t, const char *text)
{
        pthread_mutex_lock(&t->lock);
        if (t->failed == 0)
                name_clean_text(text, t->problem, sizeof t->problem);
        pthread_mutex_unlock(&t->lock);
}

void torrent_set_stats(struct torrent *t, const struct bt_stats *stats)
{
        pthread_mutex_lock(&t->lock);
        t->stats = *stats;
        pthread_mutex_unlock(&t->lock);
}

int torrent_ready(struct torrent *t)
{
        int r;

        pthread_mutex_lock(&t->lock);
        r = t->state == TORRENT_GONE ? -ENOENT
            : t->content.listing     ? 0
            : t->failed              ? t->failed
                                     : -EAGAIN;
        pthread_mutex_unlock(&t->lock);
        return r;
}

void torrent_block_written(struct torrent *t, uint32_t piece)
{
        uint64_t now = clock_ms();
        struct want *want;

        atomic_store_explicit(&t->last_block_ms, now, memory_order_relaxed);
        pthread_mutex_lock(&t->lock);
        want = wants_find(&t->wants, piece);
        if (want)
                want->last_block_ms = now;
        t->waiting.stalled_ms = 0;
        pthread_mutex_unlock(&t->lock);
}

void torrent_write_failed(struct torrent *t, uint32_t piece, int err)
{
        const struct want *want;
        bool had_room;

        /* One that comes late, for a reader that went elsewhere, has no room any more. */
        pthread_mutex_lock(&t->lock);
        want = wants_find(&t->wants, piece);
        had_room = want && want->reserved;
        pthread_mutex_unlock(&t->lock);
        if (had_room)
                atomic_store(&t->write_error, err == ENOSPC || err == EDQUOT ? ENOSPC : EIO);
        atomic_store(&t->stopped, true);
}

void torrent_piece_cleared(struct torrent *t, uint32_t piece)
{
        struct store *store = torrent_store(t);
        struct want *want;

        if (!store)
                return;
        store_clear(store, piece);
        /* The room of a piece goes with its last wish; that may have gone before. */
        pthread_mutex_lock(&t->lock);
        want = wants_find(&t->wants, piece);
        if (!want || !want->reserved)
                store_release(store, piece);
        pthread_mutex_unlock(&t->lock);
        store_unref(store);
}

static void discard(struct chore *c)
{
        struct torrent *t = (struct torrent *)((char *)c - offsetof(struct torrent, discarding));

        store_discard(t->discarded_store);
        store_unref(t->discarded_store);
        torrent_unref(t);
}

struct bt_torrent *torrent_end(struct torrent *t, int err)
{
        struct parked *answer = NULL;
        struct bt_torrent *bt;
        struct store *store;
        bool again;

        pthread_mutex_lock(&t->lock);
        again = t->state == TORRENT_GONE;
        t->state = TORRENT_GONE;
        bt = t->bt;
        t->bt = NULL;
        store = t->content.store;
        parked_release(t, err, &answer);
        parked_unlock_and_answer(t, answer);
        /* Once it is gone its content stays what it is. */
        if (!store || again)
                return bt;
        store_condemn(store);
        t->discarded_store = store_ref(store);
        t->discarding.run = discard;
        torrent_ref(t);
        if (!t->env->disk || !chores_push(t->env->disk, &t->discarding))
                discard(&t->discarding);
        return bt;
}

void torrent_get_status(struct torrent *t, struct torrent_status *ret)
{
        *ret = (struct torrent_status){.readers = atomic_load(&t->handles)};
        pthread_mutex_lock(&t->lock);
        if (t->content.listing)
                ret->length = t->content.listing->shown;
        if (t->content.store)
                ret->have_bytes = store_have_bytes(t->content.store);
        ret->state = t->state;
        ret->failed = t->failed;
        memcpy(ret->problem, t->problem, sizeof ret->problem);
        ret->stats = t->stats;
        ret->parked_reads = t->waiting.count;
        ret->starved_ms = t->waiting.count > 0 ? t->waiting.starved_ms : 0;
        pthread_mutex_unlock(&t->lock);
}
