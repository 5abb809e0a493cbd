/* SPDX-License-Identifier: MIT */
/* renew.c: the session gets a torrent anew, where it could not learn otherwise that a piece it has
 * is not there any more (bt_torrent_lose), or that what was begun of one is not. All pieces that
 * went since it last got it are wanted from peers again then, and what was begun of pieces that
 * nobody wants goes. Readers wait for as long as it takes to connect again; the peers are those
 * that it had. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"
#include "torrent/room.h"

/* Not more often: each time its trackers and the DHT are asked, too. Where nothing came since the
 * last time the next is twice as long after it, up to the most: peers of other programs unchoke in
 * rounds of ten seconds (Transmission). */
enum { APART_MS = 1000, APART_MOST_MS = 15000, APART_TO_DROP_MS = 5000 };
/* So long nobody is dialled: who has not noticed yet that the connection before has ended refuses a
 * second one. */
enum { PAUSE_MS = 100 };
/* The session says which peers it has within milliseconds; else it goes on without. */
enum { SAYS_MS = 2000 };

struct dropping {
        struct chore chore;
        struct torrent *torrent; /* a reference */
};

static void run_drop(struct chore *c)
{
        struct dropping *d = (struct dropping *)c; /* it is the first member */
        struct engine *e = engine_of(d->torrent);

        room_drop_unfinished(d->torrent);
        if (engine_push(e, JOB_ENTER, d->torrent, NULL) < 0)
                d->torrent->drop_queued = false;
        e->room_made = true;
        torrent_unref(d->torrent);
        free(d);
}

void renew_drop(struct engine *e, struct torrent *t)
{
        /* By the thread that may wait for the disk. */
        struct dropping *d = e->evictor ? calloc(1, sizeof *d) : NULL;

        if (d) {
                *d = (struct dropping){.chore = {.run = run_drop}, .torrent = torrent_ref(t)};
                if (chores_push(e->evictor, &d->chore))
                        return;
                torrent_unref(t);
        }
        free(d);
        renew_enter(t);
}

void renew_released(struct torrent *t)
{
        if (!t->drop_released)
                return;
        /* First, so that renew_tick sees one of the two. */
        t->drop_queued = true;
        if (atomic_exchange(&t->drop_released, false) &&
            engine_push(engine_of(t), JOB_DROP, t, NULL) < 0)
                t->drop_queued = false;
}

static uint32_t next_apart(const struct torrent *t)
{
        uint32_t twice = 2 * t->renew_apart_ms;

        if (t->renewed_ms == 0 || t->last_block_ms > t->renewed_ms)
                return APART_MS;
        return twice < APART_MOST_MS ? twice : APART_MOST_MS;
}

/* Whether what was begun goes: it was asked for, and what was begun is not a reader's again. */
static bool drops(struct torrent *t)
{
        if (t->drop_unfinished == DROP_WHILE_CLOSED && t->env->open_files > 0)
                t->drop_unfinished = DROP_NOTHING;
        return t->drop_unfinished != DROP_NOTHING;
}

/* Whether the session is to have it anew, for that or as it counts as there what went. */
static bool is_wanted(struct torrent *t)
{
        bool renewing;

        pthread_mutex_lock(&t->lock);
        renewing = t->renewing;
        pthread_mutex_unlock(&t->lock);
        return drops(t) || renewing;
}

void renew_go_on(struct torrent *t)
{
        bool drop;

        if (t->renew_ms == 0)
                return;
        t->renew_ms = 0;
        if (t->falling || t->life.state != LIFE_AWAKE) {
                t->renew_due = true; /* unless it leaves the session anyway */
                return;
        }
        if (!is_wanted(t))
                return; /* who reads would wait for nothing */
        drop = atomic_exchange(&t->drop_unfinished, DROP_NOTHING) != DROP_NOTHING;
        log_debug("%s: the session gets it anew", t->hex);
        t->renew_apart_ms = next_apart(t);
        t->renewed_ms = clock_ms();
        /* What was asked for comes until the session has nothing of it any more. */
        t->away = true;
        t->drop_released = drop;
        t->enter_ms = drop ? 0 : t->renewed_ms + PAUSE_MS;
        engine_leave_session(t);
}

void renew_enter(struct torrent *t)
{
        t->drop_queued = false;
        t->enter_ms = t->renewed_ms + PAUSE_MS;
}

void renew_begin(struct engine *e, struct torrent *t)
{
        struct bt_torrent *bt = engine_bt_of(t);
        uint64_t now = clock_ms(), apart = t->renew_apart_ms;

        t->renew_due = false;
        if (bt && t->renew_ms > 0)
                return;
        if (!bt || !is_wanted(t)) {
                t->drop_unfinished = DROP_NOTHING; /* else it would go with the next one */
                return;
        }
        engine_look_after(e, t);
        if (drops(t) && apart < APART_TO_DROP_MS)
                apart = APART_TO_DROP_MS;
        t->renew_due = t->falling || (t->renewed_ms > 0 && now < t->renewed_ms + apart);
        if (t->renew_due)
                return;
        t->renew_ms = now;
        bt_torrent_save(bt);
}

void renew_tick(struct engine *e, struct torrent *t, uint64_t now)
{
        bool waits = t->drop_released || t->drop_queued;

        /* Out of memory it may not have been told that what was begun has gone. */
        if (t->away && (t->enter_ms > 0 ? now >= t->enter_ms
                                        : !waits && life_elapsed(t->renewed_ms, now) >= SAYS_MS)) {
                t->away = false;
                if (t->life.state == LIFE_AWAKE && !engine_bt_of(t))
                        (void)engine_enter_session(e, t);
        } else if (t->renew_ms > 0 && life_elapsed(t->renew_ms, now) >= SAYS_MS) {
                renew_go_on(t);
        } else if (t->renew_due && now >= t->renewed_ms + t->renew_apart_ms) {
                renew_begin(e, t);
        }
}

/* env->renew. */
void engine_renew(struct torrent *t)
{
        if (t->env->stopping || engine_push(engine_of(t), JOB_RENEW, t, NULL) < 0)
                t->renewing = false; /* with the next wish */
}
