/* SPDX-License-Identifier: MIT */
/* engine_session.c: the engine's side of the BitTorrent session: what the session calls. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"
#include "torrent/names.h"
#include "torrent/room.h"

/* ---- what the session calls; see bt.h for the threads ---- */

static int on_write(void *user, uint32_t piece, uint32_t offset, const void *data, size_t len)
{
        struct torrent *t = user;
        struct store *store = torrent_store(t);
        int r = store ? store_write(store, piece, offset, data, len) : -EIO;

        if (r >= 0) {
                torrent_block_written(t, piece);
        } else {
                torrent_write_failed(t, piece, -r);
                torrent_stir(t);
        }
        store_unref(store);
        return r;
}

static int on_read(void *user, uint32_t piece, uint32_t offset, void *data, size_t len)
{
        struct store *store = torrent_store(user);
        int r = store ? store_read_piece(store, piece, offset, data, len) : -EIO;

        store_unref(store);
        return r;
}

static int on_give(void *user, uint32_t piece, uint32_t offset, void *data, size_t len)
{
        struct store *store = torrent_store(user);
        int r = store ? store_give_piece(store, piece, offset, data, len) : -EIO;

        store_unref(store);
        return r;
}

/* The piece is there: the engine's thread deals with that. bytes: its part of passing_bytes. */
static void pass(struct engine *e, struct torrent *t, uint32_t piece, uint64_t bytes)
{
        bool first;

        pthread_mutex_lock(&e->lock);
        if (e->n_passed == e->room_passed) {
                size_t room = e->room_passed ? 2 * e->room_passed : 256;
                struct passed *grown = reallocarray(e->passed, room, sizeof *grown);

                if (!grown) {
                        /* parked_tick finds the piece by itself. */
                        pthread_mutex_unlock(&e->lock);
                        e->passing_bytes -= bytes;
                        return;
                }
                e->passed = grown;
                e->room_passed = room;
        }
        first = e->n_passed == 0;
        e->passed[e->n_passed++] = (struct passed){torrent_ref(t), piece, bytes};
        pthread_mutex_unlock(&e->lock);
        if (first)
                engine_wake(e);
}

static void on_piece_passed(void *user, uint32_t piece)
{
        struct torrent *t = user;
        struct store *store = torrent_store(t);
        struct engine *e = engine_of(t);
        struct summary known;

        if (!store)
                return;
        torrent_get_summary(t, &known);
        e->passing_bytes += known.piece_length; /* before it is on the disk */
        if (!store_set(store, piece))
                room_kept(t, piece); /* which the session has from here on, unlike the store */
        store_touch(store, piece, piece + 1, touch_time());
        store_unref(store);
        pass(e, t, piece, known.piece_length);
}

void engine_piece_passed(struct engine *e, struct torrent *t, uint32_t piece)
{
        pass(e, t, piece, 0);
}

static void on_piece_failed(void *user, uint32_t piece)
{
        struct torrent *t = user;

        log_info("%s: piece %u came with a wrong hash and is fetched again", t->hex, piece);
}

static void on_offered(void *user, uint32_t piece)
{
        struct torrent *t = user;

        /* Else the job that is there already takes it, or parked_tick. */
        if (atomic_exchange(&t->offered, piece + 1) == 0)
                (void)engine_push(engine_of(t), JOB_OFFERED, t, NULL);
}

static void on_piece_cleared(void *user, uint32_t piece)
{
        torrent_piece_cleared(user, piece);
}

static void on_kept(void *user, uint32_t piece)
{
        room_kept(user, piece);
}

static void on_released(void *user)
{
        struct torrent *t = user;

        if (atomic_fetch_sub(&t->with_session, 1) == 1)
                renew_released(t);
        torrent_unref(user);
}

static void on_stats(void *user, const struct bt_stats *stats)
{
        torrent_set_stats(user, stats);
}

/* What the session knows of it by now: its peers above all. */
static void on_saved(void *user, struct bt_source *source)
{
        struct torrent *t = user;
        struct engine *e = engine_of(t);

        if (source && torrent_has_metadata(t)) {
                torrent_set_source(t, source);
                engine_mark(e, t, DIRTY_SOURCE);
        } else {
                bt_source_free(source);
        }
        renew_go_on(t);
        sleep_go_on(e, t);
}

static void on_problem(void *user, const char *text)
{
        struct torrent *t = user;

        log_debug("%s: %s", t->hex, text);
        torrent_problem(t, text);
}

static void on_log(enum bt_log_level level, const char *text)
{
        static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO,
                                                LOG_LEVEL_DEBUG};

        log_message(levels[level], "%s", text);
}

/* ---- metadata has come; the engine's thread ---- */

/* Other is t, which has the metadata now, by its other hash: its wishes, its sources and who waits
 * for it move to t, and t takes its name from the metadata; *renamed as registry_rename gives it.
 */
static void take_over(struct engine *e, struct torrent *t, struct torrent *other,
                      const struct bt_meta *meta, struct renamed **renamed)
{
        char name[NAME_BYTES_MAX + 1];
        struct torrent *third = NULL;
        struct bt_source *source;
        struct bt_torrent *bt;
        bool named;
        int r;

        /* Before it goes, so that whoever finds it gone finds this one. */
        torrent_become(other, t);
        r = registry_merge(e->registry, t, other, meta, renamed, &named, name, &third);
        torrent_unref(third);
        if (r < 0) {
                torrent_become(other, NULL); /* t was removed meanwhile, or there is no memory */
                return;
        }
        (void)life_event(&other->life, LIFE_REMOVED);
        engine_mark(e, other, DIRTY_GONE);
        engine_leave_line(e, other);
        bt = torrent_end(other, EIO);
        if (bt)
                bt_torrent_remove(bt);
        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        pthread_mutex_unlock(&t->lock);
        /* Only this thread removes from the session, so bt stays valid here. */
        source = torrent_source(other);
        if (bt && source)
                bt_torrent_merge(bt, source);
        bt_source_free(source);
        if (named)
                engine_event(e, other, name, "removed");
        e->hooks.changed(other);
}

void engine_found_drop(struct found_job *f)
{
        if (f->found)
                bt_found_free(f->found);
        bt_meta_unref(f->meta);
        content_discard(&f->content);
}

void engine_found(struct engine *e, struct found_job *f)
{
        struct torrent *t = f->job.torrent, *other = NULL;
        struct renamed *renamed = NULL;

        t->fetch.looked_at = false;
        engine_look_after(e, t);
        if (!f->meta) {
                upkeep_fail(e, t, -EBADMSG, f->err.text, clock_ms());
                return;
        }
        if (f->result < 0) {
                char why[240];

                snprintf(why, sizeof why, "cannot make its store: %s",
                         store_open_error(-f->result));
                upkeep_fail(e, t, f->result, why, clock_ms());
                return;
        }
        engine_leave_line(e, t);
        fetch_found(&t->fetch);
        if (registry_rename(e->registry, t, f->meta, &renamed, &other) == -EEXIST) {
                take_over(e, t, other, f->meta, &renamed);
                torrent_unref(other);
        }
        for (const struct renamed *m = renamed; m; m = m->next)
                if (m->torrent != t) {
                        engine_mark(e, m->torrent, DIRTY_ROW);
                        upkeep_renamed(e, m->torrent);
                }
        renamed_free(renamed);
        /* Only now, so that nobody sees the files below another name. */
        if (torrent_set_content(t, &f->content) < 0)
                return; /* it is gone, or was added again with its metadata */
        f->content = (struct content){0};
        (void)life_event(&t->life, LIFE_METADATA);
        upkeep_ready(e, t, clock_ms());
        engine_mark(e, t, DIRTY_ROW | DIRTY_SOURCE);
}

static void look_at(struct chore *c)
{
        struct found_job *f = (struct found_job *)((char *)c - offsetof(struct found_job, chore));
        struct torrent *t = f->job.torrent;
        struct engine *e = engine_of(t);

        if (e->env.stopping)
                snprintf(f->err.text, sizeof f->err.text, "magnetfs is ending");
        else if (bt_found_meta(f->found, &f->meta, &f->err) == 0)
                f->result = torrent_make_content(t, e->cache, f->meta, &f->content);
        bt_found_free(f->found);
        f->found = NULL;
        engine_push_job(e, &f->job);
}

static void on_found(void *user, struct bt_found *found)
{
        struct torrent *t = user;
        struct engine *e = engine_of(t);
        struct found_job *f = calloc(1, sizeof *f);

        if (!f) {
                bt_found_free(found);
                upkeep_fail(e, t, -ENOMEM, "out of memory", clock_ms());
                return;
        }
        *f = (struct found_job){.job = {.type = JOB_FOUND, .torrent = torrent_ref(t)},
                                .chore = {.run = look_at},
                                .found = found};
        t->fetch.looked_at = true;
        if (chores_push(e->env.chores, &f->chore))
                return;
        engine_found_drop(f);
        torrent_unref(t);
        free(f);
}

/* It was refused before anybody looked at it. */
static void on_metadata(void *user, struct bt_meta *meta, const struct bt_error *err)
{
        struct torrent *t = user;

        (void)meta;
        upkeep_fail(engine_of(t), t, -EBADMSG, err->text, clock_ms());
}

const struct bt_callbacks engine_callbacks = {
        .write = on_write,
        .read = on_read,
        .give = on_give,
        .piece_passed = on_piece_passed,
        .piece_failed = on_piece_failed,
        .offered = on_offered,
        .piece_cleared = on_piece_cleared,
        .kept = on_kept,
        .released = on_released,
        .metadata = on_metadata,
        .found = on_found,
        .stats = on_stats,
        .saved = on_saved,
        .problem = on_problem,
        .log = on_log,
};
