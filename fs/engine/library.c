/* SPDX-License-Identifier: MIT */
/* library.c: what is remembered of the torrents, told to the catalog and had from it.
 *
 * Who adds, keeps or removes a torrent waits until the catalog has that on the disk. All else that
 * changes is told every SAVE_MS, by the disk thread, in this order: what was written to a store is
 * brought to the disk, then the claim that its pieces are there is committed. So a claim is never
 * ahead of the bytes, whenever magnetfs is killed or the power fails; a piece that came in the last
 * moments is fetched again. A torrent's row goes, durably, before its file is deleted: no start
 * finds a row whose data went. A file without a row is deleted by the next start. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"

/* A fact of the catalog. */
static const char fact_session[] = "session";

/* How often it is looked for what has been remembered for a day. */
enum { EXPIRE_S = 3600 };
/* So many torrents are told to the catalog at a time: adding waits for no more. */
enum { SAVE_AT_ONCE = 64 };

/* ---- rows ---- */

time_t engine_used_at(struct torrent *t)
{
        uint64_t last = t->last_used_ms;

        if (t->handles > 0)
                return time(NULL);
        if (last == 0)
                return t->used_at;
        return time(NULL) - (time_t)(life_elapsed(last, clock_ms()) / 1000);
}

static int put_row(struct engine *e, struct torrent *t)
{
        char name[NAME_BYTES_MAX + 1], claim[NAME_BYTES_MAX + 1];
        struct catalog_row row = {.number = t->number, .name = name, .claim = claim};
        struct summary known;

        _cleanup_free_ char *to_fill = NULL, *pins = NULL;

        if (!registry_describe(e->registry, t, name, claim, &row.index))
                return 0; /* it is going */
        to_fill = torrent_files_to_fill(t);
        row.to_fill = to_fill;
        pins = pins_save(t);
        if (!pins)
                return -ENOMEM;
        row.pins = pins;
        memcpy(row.hex, t->hex, sizeof row.hex);
        for (unsigned i = 0; i < 2; i++)
                registry_alias(e->registry, t, i, row.alias[i]);
        torrent_get_summary(t, &known);
        row.kept = t->kept;
        row.added_at = t->added_at;
        row.used_at = engine_used_at(t);
        row.metadata = known.known;
        row.length = known.length;
        row.have_bytes = known.have_bytes;
        row.piece_length = known.piece_length;
        row.pieces = known.pieces;
        row.files = known.files;
        row.directories = known.directories;
        return catalog_put(e->catalog, &row);
}

static int put_source(struct engine *e, uint32_t number, const struct bt_source *source)
{
        struct bt_bytes parts[BT_SOURCE_PARTS];
        void *owned;
        int r = bt_source_parts(source, parts, &owned);

        if (r < 0)
                return r;
        r = catalog_put_source_parts(e->catalog, number, parts, BT_SOURCE_PARTS);
        bt_free(owned);
        return r;
}

/* What numbers were given, and when the root last changed. */
static int put_numbers(struct engine *e)
{
        char text[64];
        int n = snprintf(text, sizeof text, "%u %lld", registry_next_number(e->registry),
                         (long long)registry_changed_at(e->registry));

        return catalog_put_fact(e->catalog, LIBRARY_NUMBERS, text, (size_t)n);
}

/* ---- what is waited for until it is on the disk ---- */

void engine_begin(struct engine *e)
{
        catalog_begin(e->catalog);
}

int library_add(struct engine *e, struct torrent *t)
{
        struct bt_source *source = torrent_source(t);
        size_t n = e->n_batch;
        int r = 0;

        if (n == e->room_batch) {
                size_t room = n ? 2 * n : 16;
                struct torrent **grown = reallocarray(e->batch, room, sizeof(struct torrent *));

                r = grown ? 0 : -ENOMEM;
                if (grown) {
                        e->batch = grown;
                        e->room_batch = room;
                }
        }
        if (r == 0) {
                e->batch[e->n_batch++] = torrent_ref(t);
                t->joining = true;
                /* What fails here engine_commit tells of. */
                (void)put_row(e, t);
                if (source)
                        (void)put_source(e, t->number, source);
        }
        bt_source_free(source);
        return r;
}

int engine_commit(struct engine *e)
{
        struct torrent **batch = e->batch;
        size_t n = e->n_batch;
        int r;

        e->batch = NULL;
        e->n_batch = e->room_batch = 0;
        if (n > 0)
                (void)put_numbers(e);
        r = catalog_commit(e->catalog);
        for (size_t i = 0; i < n; i++) {
                char name[NAME_BYTES_MAX + 1];

                if (r < 0)
                        batch[i]->forgotten = true;
                batch[i]->joining = false;
                if (r < 0) {
                        (void)engine_drop(e, batch[i], false, name);
                }
                torrent_unref(batch[i]);
        }
        free(batch);
        return r;
}

int library_remove(struct engine *e, struct torrent *t)
{
        int r;

        catalog_begin(e->catalog);
        library_forbid_return(e, t);
        (void)catalog_remove(e->catalog, t->number);
        (void)put_numbers(e);
        t->forgotten = true;
        r = catalog_commit(e->catalog);
        if (r < 0)
                t->forgotten = false;
        return r;
}

int library_put(struct engine *e, struct torrent *t)
{
        struct bt_source *source = t->forgotten ? NULL : torrent_source(t);
        int r = 0;

        if (!t->forgotten)
                r = put_row(e, t);
        /* Where the row says that its metadata is known, that goes with it. */
        if (source)
                (void)put_source(e, t->number, source);
        bt_source_free(source);
        return r;
}

/* ---- what is told now and then ---- */

void engine_mark(struct engine *e, struct torrent *t, unsigned dirty)
{
        pthread_mutex_lock(&e->lock);
        if (t->dirty == 0) {
                torrent_ref(t);
                t->next_dirty = e->dirty;
                e->dirty = t;
        }
        t->dirty |= dirty;
        pthread_mutex_unlock(&e->lock);
}

/* One torrent of a slice: what is to be told, as it was before its store came to the disk. */
struct saving {
        struct torrent *torrent; /* a reference */
        unsigned dirty;
        uint8_t *claims;
        size_t claims_len;
        bool checked;
};

static struct torrent *take_dirty(struct engine *e, unsigned *dirty)
{
        struct torrent *t;

        pthread_mutex_lock(&e->lock);
        t = e->dirty;
        if (t) {
                e->dirty = t->next_dirty;
                *dirty = t->dirty;
                t->dirty = 0;
                t->saving = true;
        }
        pthread_mutex_unlock(&e->lock);
        return t;
}

bool library_is_saved(struct engine *e, struct torrent *t)
{
        bool saved;

        pthread_mutex_lock(&e->lock);
        saved = t->dirty == 0 && !t->saving;
        pthread_mutex_unlock(&e->lock);
        return saved;
}

/* The bytes first, then the claim. */
static void sync_store(struct saving *s)
{
        struct store *store = s->dirty & DIRTY_HAVE ? torrent_store(s->torrent) : NULL;
        int r = 0;

        if (store)
                r = store_claims(store, &s->claims, &s->claims_len, &s->checked);
        if (store && r == 0)
                r = store_sync(store);
        if (r < 0) {
                log_debug("%s: its store could not be brought to the disk: %s", s->torrent->hex,
                          strerror(-r));
                free(s->claims);
                s->claims = NULL;
        }
        store_unref(store);
}

/* What it turned out to be is there before it is forgotten. */
static void put_successor(struct engine *e, struct torrent *t)
{
        struct torrent *other = torrent_successor(t);

        if (other) {
                pins_inherit(other, t);
                (void)library_put(e, other);
        }
        torrent_unref(other);
}

/* What has gone since its store came to the disk, to make room, is not claimed: the catalog was
 * told so in between. */
static void leave_out_gone(struct engine *e, struct saving *s)
{
        struct store *store = torrent_store(s->torrent);
        uint8_t *now = NULL;
        size_t len = 0;
        bool checked;

        if (store && store_claims(store, &now, &len, &checked) < 0) {
                free(s->claims);
                s->claims = NULL;
                engine_mark(e, s->torrent, DIRTY_HAVE); /* with the next save */
        }
        for (size_t i = 0; now && s->claims && len == s->claims_len && i < len; i++)
                s->claims[i] &= now[i];
        free(now);
        store_unref(store);
}

static void put_saving(struct engine *e, struct saving *s)
{
        struct torrent *t = s->torrent;
        struct bt_source *source;

        if (t->forgotten)
                return;
        if (t->joining) { /* it may not come to be */
                engine_mark(e, t, s->dirty);
                return;
        }
        source = s->dirty & DIRTY_SOURCE ? torrent_source(t) : NULL;
        if (source)
                (void)put_source(e, t->number, source);
        bt_source_free(source);
        if (s->dirty & DIRTY_GONE)
                put_successor(e, t);
        if (s->dirty & (DIRTY_GONE | DIRTY_RETIRED)) {
                if (s->dirty & DIRTY_GONE || library_may_not_return(e, t))
                        (void)catalog_remove(e->catalog, t->number);
                else
                        (void)catalog_retire(e->catalog, t->number, time(NULL) + RETIRED_S);
                t->forgotten = true;
                return;
        }
        (void)put_row(e, t);
        if (s->claims)
                leave_out_gone(e, s);
        if (s->claims)
                (void)catalog_put_have(e->catalog, t->number, s->claims, s->claims_len, s->checked);
}

void library_forget_gone(struct engine *e, struct torrent *t, struct store *store)
{
        _cleanup_free_ void *claimed = NULL;
        uint8_t *there = NULL, *map;
        size_t len, there_len;
        bool checked, ignored;

        if (!t->forgotten &&
            catalog_get_have(e->catalog, t->number, &claimed, &len, &checked) == 0 &&
            store_claims(store, &there, &there_len, &ignored) == 0 && len == there_len) {
                map = claimed;
                for (size_t i = 0; i < len; i++)
                        map[i] &= there[i];
                (void)catalog_put_have(e->catalog, t->number, map, len, checked);
        }
        free(there);
}

static void expire(struct engine *e)
{
        time_t now = time(NULL);

        if (now >= e->expired_at && now - e->expired_at < EXPIRE_S)
                return;
        e->expired_at = now;
        (void)catalog_expire(e->catalog, now);
}

/* Tells the catalog of so many torrents; how many there were. */
static size_t save_some(struct engine *e, int *result)
{
        struct saving list[SAVE_AT_ONCE];
        size_t n = 0;
        int r;

        for (; n < SAVE_AT_ONCE; n++) {
                struct saving *s = &list[n];

                *s = (struct saving){0};
                s->torrent = take_dirty(e, &s->dirty);
                if (!s->torrent)
                        break;
                sync_store(s);
        }
        if (n == 0)
                return 0;
        catalog_begin(e->catalog);
        for (size_t i = 0; i < n; i++)
                put_saving(e, &list[i]);
        (void)put_numbers(e);
        expire(e);
        r = catalog_commit(e->catalog);
        for (size_t i = 0; i < n; i++) {
                struct torrent *t = list[i].torrent;
                bool gone = list[i].dirty & (DIRTY_GONE | DIRTY_RETIRED);

                pthread_mutex_lock(&e->lock);
                t->saving = false;
                pthread_mutex_unlock(&e->lock);
                if (r < 0) {
                        if (gone)
                                t->forgotten = false;
                        engine_mark(e, t, list[i].dirty);
                } else if (gone) {
                        library_retire_not(e, t);
                }
                free(list[i].claims);
                torrent_unref(t);
        }
        *result = r;
        return n;
}

int library_save(struct engine *e)
{
        int r = 0;

        while (r == 0 && save_some(e, &r) > 0)
                ;
        if (r < 0 && !e->save_failed)
                log_error("The state folder cannot be written to: %s; it is tried again, and what "
                          "happens meanwhile is not remembered",
                          strerror(-r));
        if (r == 0 && e->save_failed)
                log_info("The state folder can be written to again");
        e->save_failed = r < 0;
        return r;
}

static void run_save(struct chore *c)
{
        struct engine *e = (struct engine *)((char *)c - offsetof(struct engine, save));

        (void)library_save(e);
        e->save_queued = false;
}

void library_tick(struct engine *e, uint64_t now)
{
        bool dirty;

        pthread_mutex_lock(&e->lock);
        dirty = e->dirty;
        pthread_mutex_unlock(&e->lock);
        if (!dirty || now < e->next_save_ms || e->save_queued)
                return;
        e->next_save_ms = now + SAVE_MS;
        e->save_queued = true;
        e->save.run = run_save;
        if (!chores_push(e->env.disk, &e->save))
                e->save_queued = false;
}

/* ---- the session's own state: the DHT's nodes ---- */

void *library_load_state(struct engine *e, size_t *len)
{
        void *data = NULL;

        *len = 0;
        if (catalog_get_fact(e->catalog, fact_session, &data, len) < 0)
                *len = 0;
        return data;
}

void library_save_state(struct engine *e)
{
        void *data;
        size_t len;

        if (bt_session_state_save(e->session, &data, &len) < 0)
                return;
        catalog_begin(e->catalog);
        (void)catalog_put_fact(e->catalog, fact_session, data, len);
        (void)catalog_commit(e->catalog);
        bt_free(data);
}

void library_close(struct engine *e, bool clean)
{
        struct torrent *t;
        unsigned dirty;

        while ((t = take_dirty(e, &dirty)))
                torrent_unref(t);
        while ((t = e->retiring))
                library_retire_not(e, t);
        catalog_close(e->catalog, clean);
        e->catalog = NULL;
}
