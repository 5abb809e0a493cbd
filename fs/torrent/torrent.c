/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent/torrent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "common/clock.h"
#include "torrent/filling.h"
#include "torrent/names.h"
#include "torrent/parked.h"
#include "torrent/returning.h"
#include "torrent/room.h"
#include "torrent/wishes.h"

/* ---- life ---- */

static struct torrent *alloc(struct torrent_env *env, uint32_t number, bool kept)
{
        struct torrent *t = calloc(1, sizeof *t);

        if (!t)
                return NULL;
        t->env = env;
        t->number = number;
        t->refs = 1;
        t->kept = kept;
        t->waiting.next_id = 1;
        pthread_mutex_init(&t->lock, NULL);
        pthread_mutex_init(&t->content_lock, NULL);
        return t;
}

int torrent_new(struct torrent_env *env, uint32_t number, struct bt_source *source, bool kept,
                struct torrent **ret)
{
        struct torrent *t = alloc(env, number, kept);
        const struct bt_hash *hash = bt_source_hash(source);

        if (!t)
                return -ENOMEM;
        t->content.source = source;
        bt_hash_v1_hex(hash, t->alias[0]);
        bt_hash_v2_hex(hash, t->alias[1]);
        memcpy(t->hex, hash->has_v1 ? t->alias[0] : t->alias[1], sizeof t->hex);
        t->added_at = time(NULL);
        t->last_used_ms = clock_ms();
        *ret = t;
        return 0;
}

int torrent_new_past(struct torrent_env *env, const struct torrent_past *past, struct torrent **ret)
{
        struct torrent *t = alloc(env, past->number, past->kept);

        if (!t) {
                bt_source_free(past->source);
                return -ENOMEM;
        }
        t->content.source = past->source;
        t->summary = past->summary;
        t->state = past->summary.known ? TORRENT_ASLEEP : TORRENT_PENDING;
        snprintf(t->hex, sizeof t->hex, "%s", past->hex);
        for (unsigned i = 0; i < 2; i++)
                snprintf(t->alias[i], sizeof t->alias[i], "%s", past->alias[i]);
        t->added_at = past->added_at;
        t->used_at = past->used_at;
        /* Programs may have opened its files by this name. */
        t->opened = past->summary.known;
        *ret = t;
        return 0;
}

struct torrent *torrent_ref(struct torrent *t)
{
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
        return t;
}

void torrent_unref(struct torrent *t)
{
        if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
                return;
        returning_expire(t, UINT64_MAX);
        wants_clear(&t->wants);
        filling_free(t);
        pins_clear(&t->pins);
        content_unref(&t->content);
        for (unsigned i = 0; i < t->n_more; i++)
                bt_source_free(t->more[i]);
        free(t->more);
        free(t->stale);
        torrent_unref(t->successor);
        free(t->name);
        pthread_mutex_destroy(&t->lock);
        pthread_mutex_destroy(&t->content_lock);
        free(t);
}

void torrent_attach(struct torrent *t, struct bt_torrent *bt)
{
        pthread_mutex_lock(&t->lock);
        t->bt = bt;
        t->waking = false;
        if (t->state == TORRENT_ASLEEP)
                t->state = TORRENT_AWAKE;
        filling_run(t, false);
        wishes_retell(t);
        wishes_tell(t);
        room_look(t);
        if (t->content.store && t->env->check &&
            store_next_suspect(t->content.store, 0) < UINT32_MAX)
                t->env->check(t); /* what is claimed is given to peers, too, the next time */
        pthread_mutex_unlock(&t->lock);
}

struct bt_torrent *torrent_detach(struct torrent *t)
{
        struct bt_torrent *bt;

        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        t->bt = NULL;
        if (t->state == TORRENT_AWAKE)
                t->state = TORRENT_ASLEEP;
        /* What is wanted now was told to the session, which is to have it again. */
        wishes_retell(t);
        wishes_tell(t);
        pthread_mutex_unlock(&t->lock);
        return bt;
}

void torrent_rest(struct torrent *t)
{
        pthread_mutex_lock(&t->lock);
        if (t->state == TORRENT_ASLEEP) {
                filling_rest(t);
                wishes_tell(t);
        }
        pthread_mutex_unlock(&t->lock);
}

void torrent_woken(struct torrent *t)
{
        pthread_mutex_lock(&t->lock);
        t->waking = false;
        pthread_mutex_unlock(&t->lock);
}

void torrent_become(struct torrent *t, struct torrent *other)
{
        struct torrent *before = NULL;

        pthread_mutex_lock(&t->lock);
        if (!other) {
                before = t->successor;
                t->successor = NULL;
        } else if (!t->successor) {
                t->successor = torrent_ref(other);
        }
        pthread_mutex_unlock(&t->lock);
        torrent_unref(before);
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
            : t->summary.known       ? 0
            : t->failed              ? t->failed
                                     : -EAGAIN;
        pthread_mutex_unlock(&t->lock);
        return r;
}

uint32_t touch_time(void)
{
        return (uint32_t)(clock_ms() / 100);
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

/* For so long nobody hears that there is no room. */
enum { REFUSED_MS = 3000 };

/* Whether something goes so that what failed succeeds. */
static bool makes_room(const struct torrent *t, int err)
{
        return t->env->make_room && (err == EDQUOT || err == ENOSPC);
}

/* That takes a moment; then the block is asked for again. So is one that was late, for which there
 * was no room any more, and whose piece was wanted again and got some just now. */
static bool is_refused_a_while(struct torrent *t)
{
        uint64_t now = clock_ms(), since = atomic_load(&t->refused_ms);

        if (since == 0 || atomic_load(&t->last_block_ms) >= since) {
                atomic_store(&t->refused_ms, now);
                return false;
        }
        return now >= since + REFUSED_MS;
}

void torrent_write_failed(struct torrent *t, uint32_t piece, int err)
{
        const struct want *want;
        bool had_room;

        /* One that comes late, for a reader that went elsewhere or a torrent that was removed, has
         * no room any more. What nobody reads waits, and nothing goes for it. */
        pthread_mutex_lock(&t->lock);
        want = wants_find(&t->wants, piece);
        had_room = want && want->reserved && t->state != TORRENT_GONE;
        if (had_room && want->filled == want->total) {
                had_room = false;
                filling_refused(t, err);
                wishes_tell(t);
        }
        if (had_room && err == EDQUOT)
                store_quota_met(t->content.store);
        pthread_mutex_unlock(&t->lock);
        if (had_room && (!makes_room(t, err) || is_refused_a_while(t)))
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
        filling_end(t);
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

const char *torrent_state_name(enum torrent_state state)
{
        static const char *const names[] = {[TORRENT_PENDING] = "pending",
                                            [TORRENT_AWAKE] = "awake",
                                            [TORRENT_ASLEEP] = "asleep",
                                            [TORRENT_GONE] = "gone"};

        return names[state];
}

void torrent_leave(struct torrent *t, int err)
{
        struct store *store;

        parked_release_all(t, err);
        store = torrent_store(t);
        if (store)
                store_leave(store);
        store_unref(store);
}

void torrent_get_status(struct torrent *t, struct torrent_status *ret)
{
        *ret = (struct torrent_status){.readers = atomic_load(&t->handles)};
        pthread_mutex_lock(&t->lock);
        ret->length = t->summary.length;
        ret->have_bytes = torrent_have_bytes(t);
        ret->state = t->state;
        ret->failed = t->failed;
        memcpy(ret->problem, t->problem, sizeof ret->problem);
        ret->stats = t->stats;
        ret->parked_reads = t->waiting.count;
        ret->pinned = pins_of(t);
        ret->starved_ms = t->waiting.count > 0 ? t->waiting.starved_ms : 0;
        pthread_mutex_unlock(&t->lock);
}
