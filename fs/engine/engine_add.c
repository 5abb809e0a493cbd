/* SPDX-License-Identifier: MIT */
/* engine_add.c: what is asked of the engine by other threads: torrents are added, kept, dropped and
 * hurried. What is for its own thread is left there as a job. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "engine/engine_private.h"

/* The engine's thread takes t, which has ended, out of the session (bt, may be NULL) and out of the
 * line. Needs no memory. */
static void push_removed(struct engine *e, struct torrent *t, struct bt_torrent *bt)
{
        torrent_ref(t);
        t->removed_bt = bt;
        pthread_mutex_lock(&e->lock);
        t->next_removed = e->removed;
        e->removed = t;
        pthread_mutex_unlock(&e->lock);
        engine_wake(e);
}

/* Has what source says besides merged into t later. Takes it over. */
static void merge_later(struct engine *e, struct torrent *t, struct bt_source *source)
{
        if (source && engine_push(e, JOB_MERGE, t, source) < 0)
                bt_source_free(source);
}

struct bt_source *engine_recall(struct engine *e, const struct bt_hash *hash)
{
        return library_recall(e, hash);
}

int engine_add(struct engine *e, struct bt_source *source, bool kept, struct torrent **ret)
{
        struct bt_source *known = bt_source_meta(source)
                                          ? NULL
                                          : library_recall(e, bt_source_hash(source)),
                         *besides = known ? source : NULL;
        struct bt_meta *meta;
        struct content content = {0};
        struct torrent *t;
        int r;

        if (known)
                source = known;
        meta = bt_source_meta(source);
        r = registry_add(e->registry, &e->env, source, kept, &t);
        if (r == -EEXIST) {
                atomic_store(&t->last_used_ms, clock_ms());
                if (kept)
                        (void)library_put(e, t);
                merge_later(e, t, source);
                merge_later(e, t, besides);
                *ret = t;
                return 0;
        }
        if (r < 0) {
                bt_source_free(besides);
                return r;
        }
        if (meta)
                r = torrent_make_content(t, e->cache, meta, &content);
        if (r == 0 && content.listing) {
                r = torrent_set_content(t, &content);
                if (r < 0)
                        content_discard(&content);
        }
        /* Somebody has removed it already: it was added all the same. */
        if (r == -ESTALE)
                r = 0;
        if (r >= 0)
                r = library_add(e, t);
        if (r >= 0)
                r = engine_push(e, JOB_ADD, t, NULL);
        if (r >= 0)
                merge_later(e, t, besides);
        else
                bt_source_free(besides);
        if (r < 0) {
                engine_mark(e, t, DIRTY_GONE);
                (void)registry_remove(e->registry, t, false);
                (void)torrent_end(t, EIO);
                torrent_unref(t);
                return r;
        }
        *ret = t;
        return 0;
}

struct dropping {
        struct chore chore; /* first */
        struct engine *engine;
        char hex[BT_HEX_MAX];
};

static void run_drop(struct chore *c)
{
        struct dropping *d = (struct dropping *)c;

        (void)cache_discard_left(d->engine->cache, d->hex);
        free(d);
}

/* Of one that is asleep there is a file that no store has open. Behind a store's leaving, and
 * before anybody who adds it again has its content. */
static void drop_left(struct engine *e, struct torrent *t)
{
        struct store *store = torrent_store(t);
        struct dropping *d = store ? NULL : calloc(1, sizeof *d);

        store_unref(store);
        if (!d)
                return;
        *d = (struct dropping){.chore = {.run = run_drop}, .engine = e};
        memcpy(d->hex, t->hex, sizeof d->hex);
        if (!library_push(e, &d->chore))
                free(d); /* the next start does */
}

bool engine_drop(struct engine *e, struct torrent *t, bool unless_kept,
                 char name[NAME_BYTES_MAX + 1])
{
        bool returns = !t->forgotten && torrent_has_metadata(t);
        struct bt_torrent *bt;

        if (!registry_name(e->registry, t, name))
                return false;
        /* Before it is gone: who recalls it finds it here or there. */
        if (returns)
                library_retire(e, t);
        if (!registry_remove(e->registry, t, unless_kept)) {
                library_retire_not(e, t);
                return false;
        }
        bt = torrent_end(t, EIO);
        if (!t->forgotten)
                engine_mark(e, t, returns ? DIRTY_RETIRED : DIRTY_GONE);
        drop_left(e, t);
        push_removed(e, t, bt);
        engine_event(e, t, name, "removed");
        e->hooks.changed(t);
        e->hooks.gone(t->number);
        return true;
}

int engine_set_kept(struct engine *e, struct torrent *t, bool kept)
{
        bool before = t->kept;
        int r;

        char name[NAME_BYTES_MAX + 1];

        engine_begin(e);
        t->last_used_ms = clock_ms();
        registry_set_kept(e->registry, t, kept);
        (void)library_put(e, t);
        r = engine_commit(e);
        if (r == 0 && !registry_name(e->registry, t, name))
                r = -ENOENT; /* it went meanwhile */
        if (r < 0)
                registry_set_kept(e->registry, t, before);
        torrent_stir(t);
        return r;
}

void engine_touch(struct torrent *t)
{
        atomic_store(&t->last_used_ms, clock_ms());
}

static void hurried(struct engine_load *l, int r)
{
        struct torrent *t = l->torrent;
        struct listing *listing = torrent_listing(t);

        engine_of(t)->hooks.changed(t);
        free(l);
        /* It may have gone again before who waits for it looked. */
        if (r == 0 && !listing && torrent_ready(t) == 0)
                engine_hurry(engine_of(t), t);
        listing_unref(listing);
}

void engine_hurry(struct engine *e, struct torrent *t)
{
        struct engine_load *l;

        if (torrent_ready(t) < 0) {
                (void)engine_push(e, JOB_HURRY, t, NULL);
                return;
        }
        l = calloc(1, sizeof *l);
        if (!l)
                return;
        l->done = hurried;
        if (!engine_load(e, t, l))
                free(l);
}

bool engine_wake_up(struct engine *e, struct torrent *t)
{
        return engine_push(e, JOB_WAKE, t, NULL) == 0;
}

void engine_loaded(struct engine *e, struct torrent *t)
{
        (void)engine_push(e, JOB_LOADED, t, NULL); /* else it stays in memory */
}

void engine_stir(struct torrent *t)
{
        struct engine *e = engine_of(t);

        if (atomic_exchange(&t->stirred, true))
                return;
        torrent_ref(t);
        pthread_mutex_lock(&e->lock);
        t->next_stirred = e->stirred;
        e->stirred = t;
        pthread_mutex_unlock(&e->lock);
}
