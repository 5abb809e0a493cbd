/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent/torrent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "torrent/names.h"
#include "torrent/parked.h"

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
        t->next_id = 1;
        pthread_mutex_init(&t->lock, NULL);
        *ret = t;
        return 0;
}

struct torrent *torrent_ref(struct torrent *t)
{
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
        return t;
}

static void content_free(struct content *c)
{
        if (!c)
                return;
        store_free(c->store);
        tree_free(c->tree);
        bt_meta_unref(c->meta);
        free(c);
}

void torrent_unref(struct torrent *t)
{
        if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
                return;
        wants_clear(&t->wants);
        content_free(t->content);
        bt_source_free(t->source);
        for (unsigned i = 0; i < t->n_more; i++)
                bt_source_free(t->more[i]);
        free(t->more);
        torrent_unref(t->successor);
        free(t->name);
        pthread_mutex_destroy(&t->lock);
        free(t);
}

static int make_tree(const struct bt_meta *meta, struct tree **ret)
{
        uint32_t n = bt_meta_files(meta), k = 0;
        struct tree_file *files = calloc(n, sizeof *files);
        int r;

        if (!files)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                struct bt_file f;

                bt_meta_file(meta, i, &f);
                if (!f.pad && !f.symlink)
                        files[k++] = (struct tree_file){
                                .path = f.path, .index = i, .offset = f.offset, .size = f.size};
        }
        r = tree_new(files, k, ret);
        free(files);
        return r;
}

/* Says what of the torrent users see: its length, and to the store what it does not count. */
static int hide_padding(struct content *c)
{
        uint32_t n = bt_meta_files(c->meta);
        struct store_range *hidden;
        size_t k = 0;

        for (uint32_t i = 0; i < n; i++) {
                struct bt_file f;

                bt_meta_file(c->meta, i, &f);
                if (f.pad || f.symlink)
                        k++;
                else
                        c->shown += f.size;
        }
        if (k == 0)
                return 0;
        hidden = calloc(k, sizeof *hidden);
        if (!hidden)
                return -ENOMEM;
        k = 0;
        for (uint32_t i = 0; i < n; i++) {
                struct bt_file f;

                bt_meta_file(c->meta, i, &f);
                if ((f.pad || f.symlink) && f.size > 0)
                        hidden[k++] = (struct store_range){f.offset, f.size};
        }
        store_set_hidden(c->store, hidden, k);
        return 0;
}

struct content *torrent_content(struct torrent *t)
{
        return atomic_load_explicit(&t->content, memory_order_acquire);
}

/* ---- wants; all under t->lock ---- */

static int room_reserve(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        return store_reserve(t->content->store, piece);
}

static void room_release(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        store_release(t->content->store, piece);
}

int torrent_want(struct torrent *t, uint32_t piece, uint8_t before, uint8_t after)
{
        const struct wants_room room = {room_reserve, room_release, t};

        /* A piece that is there has no entry, or has one until its passing is dealt with; while it
         * has, wishes are counted: each one is taken back some time. */
        if (after != PRIORITY_NONE && store_has(t->content->store, piece) &&
            !wants_find(&t->wants, piece))
                return 0;
        return wants_change(&t->wants, piece, before, after, &room);
}

void torrent_tell(struct torrent *t)
{
        if (t->bt && t->wants.n_batch > 0)
                bt_torrent_want(t->bt, t->wants.batch, t->wants.n_batch);
        t->wants.n_batch = 0;
}

/* Wants what the magnet asks for, piece by piece, each once. Under lock. */
static void want_all(struct torrent *t, const struct content *c)
{
        uint32_t next = 0;

        for (uint32_t i = 0; i < bt_meta_files(c->meta); i++) {
                struct bt_file f;
                uint32_t first, end;

                bt_meta_file(c->meta, i, &f);
                if (f.pad || f.size == 0 || !bt_source_selects(t->source, i))
                        continue;
                first = (uint32_t)(f.offset / c->piece_length);
                end = (uint32_t)((f.offset + f.size - 1) / c->piece_length) + 1;
                for (next = first > next ? first : next; next < end; next++)
                        (void)torrent_want(t, next, PRIORITY_NONE, PRIORITY_LEAST);
        }
}

int torrent_set_content(struct torrent *t, struct cache *cache, struct bt_meta *meta)
{
        struct content *c = calloc(1, sizeof *c);
        char name[BT_HEX_MAX + 16];
        int r;

        if (!c)
                return -ENOMEM;
        c->meta = bt_meta_ref(meta);
        c->size = bt_meta_size(meta);
        c->piece_length = bt_meta_piece_length(meta);
        c->pieces = bt_meta_pieces(meta);
        r = make_tree(meta, &c->tree);
        /* Removed and added again it has another number: nothing of the old one may be in its way.
         */
        snprintf(name, sizeof name, "%s-%u", t->hex, t->number);
        if (r >= 0)
                r = store_new(cache, name, c->size, c->piece_length, &c->store);
        if (r >= 0)
                r = hide_padding(c);
        if (r < 0) {
                content_free(c);
                return r;
        }
        pthread_mutex_lock(&t->lock);
        if (t->content || t->state == TORRENT_GONE) {
                pthread_mutex_unlock(&t->lock);
                content_free(c);
                return -ESTALE;
        }
        atomic_store_explicit(&t->content, c, memory_order_release);
        t->state = TORRENT_AWAKE;
        t->failed = 0;
        t->problem[0] = '\0';
        if (t->env->fill == FILL_TORRENT) {
                want_all(t, c);
                torrent_tell(t);
        }
        pthread_mutex_unlock(&t->lock);
        return 0;
}

void torrent_attach(struct torrent *t, struct bt_torrent *bt)
{
        pthread_mutex_lock(&t->lock);
        t->bt = bt;
        wants_retell(&t->wants);
        torrent_tell(t);
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
        r = t->state == TORRENT_GONE ? -ENOENT : t->content ? 0 : t->failed ? t->failed : -EAGAIN;
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
        t->stalled_ms = 0;
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
        struct content *c = torrent_content(t);
        struct want *want;

        if (!c)
                return;
        store_clear(c->store, piece);
        /* The room of a piece goes with its last wish; that may have gone before. */
        pthread_mutex_lock(&t->lock);
        want = wants_find(&t->wants, piece);
        if (!want || !want->reserved)
                store_release(c->store, piece);
        pthread_mutex_unlock(&t->lock);
}

static void discard(struct chore *c)
{
        struct torrent *t = (struct torrent *)((char *)c - offsetof(struct torrent, discarding));

        store_discard(t->content->store);
        torrent_unref(t);
}

struct bt_torrent *torrent_end(struct torrent *t, int err)
{
        struct parked *answer = NULL;
        struct bt_torrent *bt;
        struct content *c;
        bool again;

        pthread_mutex_lock(&t->lock);
        again = t->state == TORRENT_GONE;
        t->state = TORRENT_GONE;
        bt = t->bt;
        t->bt = NULL;
        c = t->content;
        parked_release(t, err, &answer);
        parked_unlock_and_answer(t, answer);
        if (!c || again)
                return bt;
        store_condemn(c->store);
        t->discarding.run = discard;
        torrent_ref(t);
        if (!t->env->disk || !chores_push(t->env->disk, &t->discarding))
                discard(&t->discarding);
        return bt;
}

void torrent_get_status(struct torrent *t, struct torrent_status *ret)
{
        struct content *c = torrent_content(t);

        *ret = (struct torrent_status){.readers = atomic_load(&t->handles)};
        if (c) {
                ret->length = c->shown;
                ret->have_bytes = store_have_bytes(c->store);
        }
        pthread_mutex_lock(&t->lock);
        ret->state = t->state;
        ret->failed = t->failed;
        memcpy(ret->problem, t->problem, sizeof ret->problem);
        ret->stats = t->stats;
        ret->parked_reads = t->parked_count;
        pthread_mutex_unlock(&t->lock);
}
