/* SPDX-License-Identifier: MIT */
/* sleep.c: which torrents are with the session, and which have their content in memory. The rules
 * are in torrent/life.h; here is what they see, and what they have done.
 *
 * A torrent falls asleep in two steps. First the session says what it knows of it, its peers above
 * all, and lets it go. When the catalog has all that, and nobody has looked into its directory for
 * a moment, its tree and its store leave the memory, too. */
#include <errno.h>
#include <stdlib.h>

#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"

/* The content of one that is asleep stays so long after it was loaded; and no more than so many
 * do, the oldest go first. */
enum { LOADED_MS = 10000, LOADED_MAX = 256 };
/* So many are put to sleep a second at most, each found by looking at all. */
enum { SLEEP_AT_ONCE = 32 };
/* The session says what it knows within milliseconds; after that long it is asked once more. */
enum { FALLING_MS = 5000 };
/* One that is to be completed keeps its place so long without a block, from when it woke on, where
 * others want one. */
enum { DRY_MS = 60000 };
/* How often a torrent is looked for that is to be completed and has no place. */
enum { FILL_MS = 5000 };

/* ---- content ---- */

static void off_loaded(struct engine *e, struct torrent *t)
{
        DL_DELETE2(e->loaded, t, loaded_prev, loaded_next);
        t->loaded_ms = 0;
        e->n_loaded--;
        torrent_unref(t);
}

static void on_loaded(struct engine *e, struct torrent *t)
{
        if (t->loaded_ms > 0)
                off_loaded(e, t); /* behind the others again */
        torrent_ref(t);
        DL_APPEND2(e->loaded, t, loaded_prev, loaded_next); /* NOLINT(*NullDereference) */
        t->loaded_ms = clock_ms();
        e->n_loaded++;
}

struct leaving {
        struct chore chore;
        struct content content;
};

static void run_leave(struct chore *c)
{
        struct leaving *l = (struct leaving *)c; /* it is the first member */

        content_leave(&l->content);
        free(l);
}

/* By the thread that loads, so that it is out before it is loaded again. */
static bool drop_content(struct engine *e, struct torrent *t)
{
        struct leaving *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return false;
        l->chore.run = run_leave;
        r = torrent_drop_content(t, &l->content);
        if (r < 0) {
                free(l);
                return r != -EBUSY; /* else it has none any more */
        }
        if (!library_push(e, &l->chore))
                run_leave(&l->chore);
        return true;
}

void sleep_sweep(struct engine *e, uint64_t now)
{
        struct torrent *t, *next;

        DL_FOREACH_SAFE2 (e->loaded, t, next, loaded_next) {
                if (e->n_loaded <= LOADED_MAX && life_elapsed(t->loaded_ms, now) < LOADED_MS)
                        return; /* those behind are younger */
                if (t->handles > 0 || !library_is_saved(e, t))
                        continue;
                if (t->life.state != LIFE_ASLEEP || drop_content(e, t))
                        off_loaded(e, t);
        }
}

void sleep_loaded(struct engine *e, struct torrent *t)
{
        struct listing *l = torrent_listing(t);

        if (l && t->life.state == LIFE_ASLEEP)
                on_loaded(e, t);
        listing_unref(l);
        sleep_sweep(e, clock_ms());
}

/* ---- falling asleep ---- */

void sleep_begin(struct engine *e, struct torrent *t)
{
        struct bt_torrent *bt = engine_bt_of(t);

        t->falling = true;
        t->falling_ms = clock_ms();
        engine_look_after(e, t);
        if (bt)
                bt_torrent_save(bt);
        else
                sleep_go_on(e, t);
}

void sleep_tick(struct engine *e, struct torrent *t, uint64_t now)
{
        if (t->falling && life_elapsed(t->falling_ms, now) >= FALLING_MS)
                sleep_begin(e, t);
}

void sleep_go_on(struct engine *e, struct torrent *t)
{
        if (!t->falling)
                return;
        t->falling = false;
        /* Who has opened it since found it with the session, and has woken nobody. */
        if (t->handles > 0 && t->life.state == LIFE_ASLEEP) {
                (void)life_event(&t->life, LIFE_READ);
                atomic_store(&t->woken_ms, clock_ms());
        }
        if (t->life.state != LIFE_ASLEEP)
                return; /* it is wanted again */
        engine_leave_session(t);
        torrent_rest(t);
        t->refused = false;
        engine_mark(e, t, DIRTY_ROW | DIRTY_HAVE);
        on_loaded(e, t);
        log_debug("%s: asleep", t->hex);
        engine_event_of(e, t, "asleep");
}

/* ---- waking ---- */

static void content_for_waking(struct engine_load *l, int r)
{
        if (r == 0)
                (void)engine_wake_up(engine_of(l->torrent), l->torrent);
        else
                torrent_woken(l->torrent);
        free(l);
}

static void load_first(struct engine *e, struct torrent *t)
{
        struct engine_load *l = calloc(1, sizeof *l);

        if (!l)
                return;
        l->done = content_for_waking;
        if (!engine_load(e, t, l))
                free(l);
}

void sleep_wake(struct engine *e, struct torrent *t)
{
        struct listing *l;

        if (t->away) { /* it comes to the session in a moment, if it is not to sleep */
                atomic_store(&t->woken_ms, clock_ms());
                (void)life_event(&t->life, LIFE_READ);
                torrent_woken(t);
                return;
        }
        l = torrent_listing(t);
        if (l && torrent_ready(t) == 0 && (t->life.state == LIFE_ASLEEP || !engine_bt_of(t))) {
                /* Nobody used it for that: who reads has it open. */
                atomic_store(&t->woken_ms, clock_ms());
                (void)life_event(&t->life, LIFE_READ);
                if (engine_bt_of(t) || engine_enter_session(e, t)) {
                        log_debug("%s: awake", t->hex);
                        engine_event_of(e, t, "awake");
                }
                engine_look_after(e, t);
        }
        torrent_woken(t);
        if (!l && torrent_ready(t) == 0)
                load_first(e, t);
        listing_unref(l);
}

/* ---- how many are awake ---- */

uint64_t sleep_used_ms(const struct torrent *t)
{
        uint64_t used = t->last_used_ms, woken = t->woken_ms;

        return used > woken ? used : woken;
}

static bool is_dry(struct torrent *t, uint64_t now)
{
        uint64_t block = t->last_block_ms, used = sleep_used_ms(t);

        return life_elapsed(block > used ? block : used, now) >= DRY_MS;
}

static bool may_sleep(struct torrent *t, uint64_t now)
{
        return t->life.state == LIFE_AWAKE && t->kept && t->handles == 0 && !t->falling &&
               (!torrent_is_filling(t) || is_dry(t, now));
}

/* Likewise one that is fetched, and nobody reads. */
static bool may_be_cut_short(struct torrent *t, uint64_t now)
{
        (void)now;
        return t->life.state == LIFE_AWAKE && t->kept && t->handles == 0 && !t->falling;
}

/* The one of which that may be said that was used, or woke, longest ago; NULL: none. */
static struct torrent *oldest_of(struct engine *e, bool (*may)(struct torrent *t, uint64_t now),
                                 uint64_t now)
{
        struct torrent *t, *oldest = NULL;

        DL_FOREACH2 (e->busy, t, busy_next)
                if (may(t, now) && (!oldest || sleep_used_ms(t) < sleep_used_ms(oldest)))
                        oldest = t;
        return oldest;
}

static void put_to_sleep(struct engine *e, struct torrent *t)
{
        life_put_to_sleep(&t->life);
        sleep_begin(e, t);
}

/* A reference to the first one behind number n that sleeps and is to be completed; NULL: none. */
static struct torrent *next_to_fill(struct engine *e, uint32_t n)
{
        struct torrent *t;

        for (; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                if (t->life.state == LIFE_ASLEEP && !t->falling && torrent_is_to_fill(t))
                        break;
        }
        return t;
}

/* There is a place: one that is to be completed has it. Whether there is one. */
static bool complete_next(struct engine *e)
{
        struct torrent *t = next_to_fill(e, e->filled_number);
        bool found = t;

        e->filled_number = t ? t->number : 0; /* behind the last one, from the start again */
        if (t)
                sleep_wake(e, t);
        torrent_unref(t);
        return found;
}

/* Others would have no more room than one that waits for some; unless there is none for it alone.
 */
static bool may_give_way(struct torrent *t, uint64_t now)
{
        return may_sleep(t, now) && torrent_is_filling(t) && !torrent_fill_waits(t);
}

/* There is none: one that is to be completed, and that nobody gives, leaves its own to others that
 * are. */
static void give_way(struct engine *e, uint64_t now)
{
        struct torrent *dry = oldest_of(e, may_give_way, now);
        struct torrent *other = dry ? next_to_fill(e, 0) : NULL;

        if (other)
                put_to_sleep(e, dry);
        torrent_unref(other);
}

void sleep_bound(struct engine *e, uint64_t now)
{
        unsigned awake = 0, others = 0; /* that are read, or go when they are idle */
        struct torrent *t;

        DL_FOREACH2 (e->busy, t, busy_next) {
                awake += t->life.state == LIFE_AWAKE;
                others += t->life.state == LIFE_AWAKE && (t->handles > 0 || !t->kept);
        }
        if (e->env.fill != FILL_NONE && now >= e->next_fill_ms) {
                e->next_fill_ms = now + FILL_MS;
                if (awake < e->options.awake_max)
                        awake += complete_next(e);
                else if (awake == e->options.awake_max)
                        give_way(e, now);
        }
        e->n_awake = awake;
        for (unsigned i = 0; i < SLEEP_AT_ONCE && awake > e->options.awake_max; i++, awake--) {
                struct torrent *oldest = oldest_of(e, may_sleep, now);

                /* Others take no place from one that is fetched. When they are over there are no
                 * more of those than may be. */
                if (!oldest && awake - others > e->options.awake_max)
                        oldest = oldest_of(e, may_be_cut_short, now);
                if (!oldest)
                        return; /* all are read, or fetched */
                put_to_sleep(e, oldest);
        }
}

bool sleep_stays(const struct engine *e, struct torrent *t)
{
        struct summary known;

        switch (e->options.stay_awake) {
        case STAY_NONE:
                return false;
        case STAY_KEPT:
                return t->kept;
        case STAY_COMPLETE:
                torrent_get_summary(t, &known);
                return t->kept && known.known && known.have_bytes >= known.length;
        }
        return false;
}

bool sleep_has_place(struct engine *e)
{
        if (e->n_awake >= e->options.awake_max)
                return false;
        e->n_awake++;
        return true;
}

void sleep_at_once(struct engine *e, struct torrent *t)
{
        life_begin_asleep(&t->life);
        engine_leave_session(t); /* where it never was */
        torrent_rest(t);
        on_loaded(e, t);
        engine_look_after(e, t); /* it is announced, and a temporary one goes when it is idle */
}

void sleep_start(struct engine *e)
{
        unsigned awake = 0;
        struct torrent *t;

        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                if (torrent_ready(t) == -EAGAIN) {
                        (void)engine_begin_fetch(e, t);
                } else if (torrent_ready(t) == 0 && awake < e->options.awake_max &&
                           (sleep_stays(e, t) || torrent_is_to_fill(t))) {
                        awake += engine_wake_up(e, t);
                        e->filled_number = n; /* the next that has a place is one behind it */
                }
        }
}
