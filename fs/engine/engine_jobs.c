/* SPDX-License-Identifier: MIT */
/* engine_jobs.c: what other threads leave for the engine's to do, and which torrents are with the
 * session. All of it is done in slices of time, so that a reader never waits for however many
 * torrents are added or removed at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"
#include "torrent/parked.h"
#include "torrent/room.h"

/* A slice. What a reader of another torrent waits for then is done first again. */
enum { SLICE_MS = 5 };
/* Sources that a torrent without metadata was added by besides its first. */
enum { MORE_MAX = 16 };

/* ---- from other threads ---- */

void engine_push_job(struct engine *e, struct job *j)
{
        j->next = NULL;
        pthread_mutex_lock(&e->lock);
        *e->jobs_end = j;
        e->jobs_end = &j->next;
        pthread_mutex_unlock(&e->lock);
        engine_wake(e);
}

int engine_push(struct engine *e, enum job_type type, struct torrent *t, struct bt_source *source)
{
        struct job *j = calloc(1, sizeof *j);

        if (!j)
                return -ENOMEM;
        *j = (struct job){.type = type, .torrent = torrent_ref(t), .source = source};
        engine_push_job(e, j);
        return 0;
}

/* ---- the engine's thread: in the session or not ---- */

/* A place in line or a seat is a reference. */
static void queue(struct engine *e, struct torrent *t, bool urgent)
{
        t->turn.owner = t;
        if (t->turn.place == TURN_NONE)
                torrent_ref(t);
        turns_queue(&e->turns, &t->turn, urgent);
}

void engine_leave_line(struct engine *e, struct torrent *t)
{
        if (t->turn.place == TURN_NONE)
                return;
        turns_leave(&e->turns, &t->turn);
        torrent_unref(t);
}

void engine_begin_fetch(struct engine *e, struct torrent *t)
{
        queue(e, t, !t->kept);
}

void engine_leave_session(struct torrent *t)
{
        struct bt_torrent *bt = torrent_detach(t);

        if (bt)
                bt_torrent_remove(bt);
        torrent_set_stats(t, &(struct bt_stats){0});
        t->needy = (struct needy){0};
        redial_end(&t->redial);
}

void engine_give_up_seat(struct engine *e, struct torrent *t, uint64_t rest_ms)
{
        engine_leave_session(t);
        if (rest_ms == UINT64_MAX)
                engine_leave_line(e, t);
        else if (rest_ms > 0)
                turns_rest(&e->turns, &t->turn, clock_ms() + rest_ms);
        else
                queue(e, t, !t->kept);
}

bool engine_try_session(struct engine *e, struct torrent *t)
{
        struct bt_source *source = torrent_source(t);
        _cleanup_free_ uint8_t *have = room_have(t);
        struct bt_torrent *bt;
        struct bt_error err = {0};
        bool gone;
        int r;

        if (!source)
                return false; /* it has just fallen asleep */
        atomic_fetch_add(&t->with_session, 1);
        r = bt_torrent_add(e->session, source, have, torrent_ref(t), &bt, &err);
        bt_source_free(source);
        t->refused = r == -EEXIST && torrent_has_metadata(t);
        if (r < 0) {
                atomic_fetch_sub(&t->with_session, 1);
                torrent_unref(t);
                /* A torrent of the session has this hash besides its own: its metadata, which says
                 * so, is on its way here, and then the two become one. Should it not come, the next
                 * try comes here again. */
                if (r != -EEXIST)
                        upkeep_fail(e, t, r, err.text, clock_ms());
                return false;
        }
        t->renew_due = false;
        fetch_joined(&t->fetch);
        torrent_attach(t, bt);
        /* Removed meanwhile: nobody else will tell the session. */
        pthread_mutex_lock(&t->lock);
        gone = t->state == TORRENT_GONE && t->bt == bt;
        if (gone)
                t->bt = NULL;
        pthread_mutex_unlock(&t->lock);
        if (gone) {
                bt_torrent_remove(bt);
                return false;
        }
        for (unsigned i = 0; i < t->n_more; i++)
                bt_torrent_merge(bt, t->more[i]);
        return true;
}

/* t has got a seat, or needs none. Whether it is with the session. */
bool engine_enter_session(struct engine *e, struct torrent *t)
{
        uint64_t now = clock_ms();

        if (torrent_ready(t) == -ENOENT) {
                engine_leave_line(e, t);
                return false;
        }
        fetch_start(&t->fetch, now);
        redial_begin(&t->redial, now);
        if (!torrent_has_metadata(t))
                torrent_fail(t, 0, ""); /* it may have been hurried out of its rest */
        engine_look_after(e, t);
        return engine_try_session(e, t);
}

static void start_torrent(struct engine *e, struct torrent *t)
{
        if (torrent_ready(t) == -ENOENT)
                return;
        engine_event_of(e, t, "added");
        if (!torrent_has_metadata(t)) {
                queue(e, t, !t->kept);
                return;
        }
        if (!sleep_has_place(e)) {
                sleep_at_once(e, t);
                upkeep_ready(e, t, clock_ms());
                return;
        }
        (void)life_event(&t->life, LIFE_METADATA);
        if (engine_enter_session(e, t))
                upkeep_ready(e, t, clock_ms());
}

/* Keeps source, which it takes over, for when t is with the session; again and again perhaps, so
 * not twice the same. */
static void remember(struct torrent *t, struct bt_source *source)
{
        const char *text = bt_source_magnet(source);
        struct bt_source *first = torrent_source(t), **grown = NULL;
        bool known = first && strcmp(text, bt_source_magnet(first)) == 0;

        bt_source_free(first);

        for (unsigned i = 0; i < t->n_more && !known; i++)
                known = strcmp(text, bt_source_magnet(t->more[i])) == 0;
        if (!known && t->n_more < MORE_MAX)
                grown = reallocarray(t->more, t->n_more + 1, sizeof(struct bt_source *));
        if (!grown) {
                bt_source_free(source);
                return;
        }
        t->more = grown;
        t->more[t->n_more++] = source;
}

/* Added once more: takes over what else the new source knows, and tries again if the old one has
 * failed. Takes source over. */
static void merge(struct engine *e, struct torrent *t, struct bt_source *source)
{
        int r = torrent_ready(t);
        struct bt_torrent *bt;

        if (!t->kept)
                engine_look_after(e, t);
        /* Added again is used; what is new is remembered when it falls asleep. Where too many are
         * awake it waits for its next read. */
        if (t->life.state == LIFE_ASLEEP && sleep_has_place(e))
                sleep_wake(e, t);
        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        pthread_mutex_unlock(&t->lock);
        /* Only this thread removes from the session, so bt stays valid here. */
        if (bt)
                bt_torrent_merge(bt, source);
        /* Metadata that came and was refused would be refused again. */
        if (r == -ETIMEDOUT) {
                torrent_fail(t, 0, "");
                if (bt) {
                        fetch_start_anew(&t->fetch, clock_ms());
                        upkeep_try_again(e, t, clock_ms());
                } else {
                        fetch_queue(&t->fetch);
                        queue(e, t, !t->kept);
                }
                r = -EAGAIN;
        }
        if (!bt && r == -EAGAIN && bt_source_meta(source) && t->turn.place != TURN_NONE) {
                /* There is nothing to wait for. */
                turns_seat(&e->turns, &t->turn);
                (void)engine_enter_session(e, t);
                pthread_mutex_lock(&t->lock);
                bt = t->bt;
                pthread_mutex_unlock(&t->lock);
                if (bt)
                        bt_torrent_merge(bt, source);
        }
        /* What the session was told of is wanted again only to fetch the metadata anew. */
        if (bt && torrent_has_metadata(t))
                bt_source_free(source);
        else
                remember(t, source);
}

/* ---- the engine's thread: slices ---- */

static struct torrent *take_removed(struct engine *e)
{
        struct torrent *t;

        pthread_mutex_lock(&e->lock);
        t = e->removed;
        if (t)
                e->removed = t->next_removed;
        pthread_mutex_unlock(&e->lock);
        return t;
}

static struct job *take_job(struct engine *e)
{
        struct job *j;

        pthread_mutex_lock(&e->lock);
        j = e->jobs;
        if (j) {
                e->jobs = j->next;
                if (!e->jobs)
                        e->jobs_end = &e->jobs;
        }
        pthread_mutex_unlock(&e->lock);
        return j;
}

static void run_job(struct engine *e, struct job *j)
{
        switch (j->type) {
        case JOB_ADD:
                start_torrent(e, j->torrent);
                break;
        case JOB_MERGE:
                merge(e, j->torrent, j->source);
                break;
        case JOB_HURRY:
                turns_hurry(&e->turns, &j->torrent->turn);
                break;
        case JOB_WAKE:
                sleep_wake(e, j->torrent);
                break;
        case JOB_FETCH:
                life_begin_anew(&j->torrent->life);
                engine_begin_fetch(e, j->torrent);
                engine_mark(e, j->torrent, DIRTY_ROW);
                break;
        case JOB_RENEW:
                renew_begin(e, j->torrent);
                break;
        case JOB_DROP:
                renew_drop(e, j->torrent);
                break;
        case JOB_ENTER:
                renew_enter(j->torrent);
                break;
        case JOB_LOADED:
                sleep_loaded(e, j->torrent);
                break;
        case JOB_OFFERED:
                parked_take_offer(j->torrent);
                break;
        case JOB_FOUND:
                engine_found(e, (struct found_job *)j);
                engine_found_drop((struct found_job *)j);
                break;
        }
        torrent_unref(j->torrent);
        free(j);
}

static bool had_longest(const struct engine *e, struct torrent *t)
{
        struct summary known;

        torrent_get_summary(t, &known);
        return known.piece_length >= e->env.piece_bytes;
}

/* One thing to do: true if there was one. A torrent that was added again has been removed before,
 * so removals go first. */
static bool do_one(struct engine *e)
{
        struct torrent *t = take_removed(e);
        struct turn *turn;
        struct job *j;

        if (t) {
                (void)life_event(&t->life, LIFE_REMOVED);
                if (t->removed_bt)
                        bt_torrent_remove(t->removed_bt);
                engine_leave_line(e, t);
                e->longest_gone = e->longest_gone || had_longest(e, t);
                torrent_unref(t);
                return true;
        }
        j = take_job(e);
        if (j) {
                run_job(e, j);
                return true;
        }
        turn = turns_next(&e->turns);
        if (turn)
                (void)engine_enter_session(e, turn->owner);
        return turn != NULL;
}

bool engine_run_jobs(struct engine *e)
{
        uint64_t end = clock_ms() + SLICE_MS;

        do
                if (!do_one(e))
                        return false;
        while (clock_ms() < end && !e->stop);
        return true;
}

void engine_drop_line(struct engine *e)
{
        struct turns *ts = &e->turns;

        for (struct turn *t; (t = ts->urgent    ? ts->urgent
                                  : ts->waiting ? ts->waiting
                                                : ts->resting);)
                engine_leave_line(e, t->owner);
}

void engine_drop_jobs(struct engine *e)
{
        struct torrent *t;
        struct job *j;

        while ((j = take_job(e))) {
                torrent_unref(j->torrent);
                bt_source_free(j->source);
                /* Its store may be one that an earlier run has left. */
                if (j->type == JOB_FOUND) {
                        content_leave(&((struct found_job *)j)->content);
                        engine_found_drop((struct found_job *)j);
                }
                free(j);
        }
        while ((t = take_removed(e)))
                torrent_unref(t);
}
