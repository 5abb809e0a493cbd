/* SPDX-License-Identifier: MIT */
/* upkeep.c: what happens to torrents as time goes by. The rules are in fs/torrent (life, fetch,
 * dial, announce, writes), and pure; here is what they see, and what they have done. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "engine/engine_private.h"
#include "torrent/names.h"
#include "torrent/filling.h"
#include "torrent/parked.h"

/* Only the engine's thread removes from the session, so what it is given here stays valid for what
 * it does next. */
struct bt_torrent *engine_bt_of(struct torrent *t)
{
        struct bt_torrent *bt;

        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        pthread_mutex_unlock(&t->lock);
        return bt;
}

void upkeep_ready(struct engine *e, struct torrent *t, uint64_t now)
{
        atomic_store(&t->last_used_ms, now);
        engine_event_of(e, t, "ready");
        e->hooks.changed(t);
        helper_announce(e, t, now);
}

void upkeep_renamed(struct engine *e, struct torrent *t)
{
        char name[NAME_BYTES_MAX + 1];

        if (!torrent_has_metadata(t) || !registry_name(e->registry, t, name))
                return;
        log_debug("%s: is called %s now, as one that was added before it has its name", t->hex,
                  name);
        /* With the next tick, not at once: of many torrents of one name each may move many times.
         */
        announce_want(&t->announce);
        engine_look_after(e, t);
}

void upkeep_fail(struct engine *e, struct torrent *t, int err, const char *why, uint64_t now)
{
        char name[NAME_BYTES_MAX + 1];

        torrent_fail(t, err, why);
        atomic_store(&t->last_used_ms, now);
        fetch_failed(&t->fetch, err != -ETIMEDOUT, now);
        engine_look_after(e, t); /* a temporary one goes soon */
        if (registry_name(e->registry, t, name))
                log_info("%s (%s): %s", t->hex, name, why);
        engine_event_of(e, t, "failed");
        e->hooks.changed(t);
}

void upkeep_try_again(struct engine *e, struct torrent *t, uint64_t now)
{
        struct bt_torrent *bt = engine_bt_of(t);
        struct bt_source *source = torrent_source(t);

        if (bt) {
                bt_torrent_reannounce(bt);
                if (source)
                        bt_torrent_merge(bt, source); /* calls its x.pe peers again */
        } else {
                (void)engine_try_session(e, t);
        }
        bt_source_free(source);
        redial_at_once(&t->redial, now);
}

/* Nobody had the metadata in all tries. */
static void give_up(struct engine *e, struct torrent *t, const char *problem, uint64_t now)
{
        char why[512];

        snprintf(why, sizeof why, "nobody had the metadata in %u tries of %llu s%s%s",
                 t->fetch.tries, (unsigned long long)e->fetch_rules.timeout_ms / 1000,
                 problem[0] ? "; last: " : "", problem);
        upkeep_fail(e, t, -ETIMEDOUT, why, now);
}

static void check_metadata(struct engine *e, struct torrent *t, uint64_t now)
{
        struct torrent_status st;
        struct fetch_view view;

        if (torrent_has_metadata(t) || t->turn.place != TURN_SEATED)
                return;
        torrent_get_status(t, &st);
        view = (struct fetch_view){.known_peers = st.stats.known_peers,
                                   .kept = t->kept,
                                   .crowded = e->seats_missing > 0};
        pthread_mutex_lock(&t->lock);
        if (t->bt)
                view.bytes = bt_torrent_metadata_bytes(t->bt);
        pthread_mutex_unlock(&t->lock);
        switch (fetch_tick(&t->fetch, &e->fetch_rules, &view, now)) {
        case FETCH_NOTHING:
                break;
        case FETCH_TRY_ANEW:
                torrent_fail(t, 0, "");
                upkeep_try_again(e, t, now);
                break;
        case FETCH_TRY:
                upkeep_try_again(e, t, now);
                break;
        case FETCH_FORGIVE:
                torrent_fail(t, 0, "");
                break;
        case FETCH_GIVE_UP:
                give_up(e, t, st.problem, now);
                break;
        case FETCH_TO_THE_END:
                e->seats_missing--;
                engine_give_up_seat(e, t, 0);
                break;
        case FETCH_REST:
                e->seats_missing--;
                engine_give_up_seat(e, t, FETCH_REST_MS);
                break;
        case FETCH_LEAVE:
                e->seats_missing--;
                engine_give_up_seat(e, t, UINT64_MAX);
                break;
        }
}

/* A reader that has got nothing of its piece for so long is starved. */
enum { STARVED_MS = 1000 };

static void check_peers(struct engine *e, struct torrent *t, uint64_t now)
{
        struct torrent_status st;
        struct bt_torrent *bt;
        bool starves;

        torrent_get_status(t, &st);
        if (torrent_has_metadata(t))
                starves = (st.starved_ms > 0 && life_elapsed(st.starved_ms, now) >= STARVED_MS) ||
                          (st.stats.peers == 0 && torrent_is_filling(t) &&
                           life_elapsed(t->last_block_ms, now) >= STARVED_MS);
        else
                starves = st.stats.peers == 0 || fetch_starves(&t->fetch, now);
        starves &= !st.failed && st.stats.known_peers > st.stats.peers;
        if (!needy_tick(&t->needy, starves, now))
                return;
        bt = engine_bt_of(t);
        if (!bt || !second_try_join(&e->second_try, &t->needy, now))
                return;
        log_debug("%s: nothing comes from the peers it reaches, tries uTP", t->hex);
        bt_session_second_try(e->session, true); /* before the dials */
        bt_torrent_dial_anew(bt);
}

static void check_dials(struct torrent *t, uint64_t now)
{
        redial_need(&t->redial,
                    torrent_ready(t) == -EAGAIN && t->turn.place == TURN_SEATED &&
                            fetch_starves(&t->fetch, now),
                    now);
}

void upkeep_redial(struct torrent *t, uint64_t now)
{
        struct bt_torrent *bt = redial_due(&t->redial, now) ? engine_bt_of(t) : NULL;

        if (bt)
                bt_torrent_redial(bt);
}

static void check_writes(struct torrent *t, uint64_t now)
{
        struct bt_torrent *bt;
        int err;

        if (!writes_tick(&t->writes, atomic_exchange(&t->stopped, false)))
                return;
        err = atomic_exchange(&t->write_error, 0);
        if (err != 0) {
                if (writes_failed(&t->writes, t->last_block_ms, now))
                        log_info("%s: a piece could not be written: %s", t->hex, strerror(err));
                parked_release_all(t, err);
        }
        bt = engine_bt_of(t);
        if (bt)
                bt_torrent_resume_writes(bt);
}

/* Tells of what nobody reads and is to be fetched all the same: that it waits, and goes on. */
static void check_fill(struct torrent *t, uint64_t now)
{
        bool awake, waits;
        int err;

        pthread_mutex_lock(&t->lock);
        awake = t->state == TORRENT_AWAKE;
        waits = filling_waits(t);
        err = t->fill_error;
        t->fill_error = 0;
        pthread_mutex_unlock(&t->lock);
        if (!awake)
                return; /* when it wakes it waits on, or goes on */
        switch (fill_told_tick(&t->fill_told, waits, err != 0, now)) {
        case FILL_NO_NEWS:
                break;
        case FILL_WAITS:
                log_info("%s: what nobody reads waits for room (--fill)", t->hex);
                break;
        case FILL_REFUSED:
                log_info("%s: what nobody reads waits, as some could not be written: %s (--fill)",
                         t->hex, strerror(err));
                break;
        case FILL_GOES_ON:
                log_info("%s: what nobody reads is fetched again (--fill)", t->hex);
                break;
        }
}

/* Who reads a torrent that nobody gives tries again and again. */
enum { LATE_TOLD_MS = 60000 };
/* Of a file's path, in a line of the log. */
enum { PATH_SHOWN_MAX = 512 };

/* Tells of reads that timed out. */
static void check_late(struct engine *e, struct torrent *t, uint64_t now)
{
        char name[NAME_BYTES_MAX + 1] = "", path[PATH_SHOWN_MAX] = "";
        struct torrent_status st;
        struct listing *l;
        struct late late;

        if (t->late_told_ms > 0 && life_elapsed(t->late_told_ms, now) < LATE_TOLD_MS)
                return;
        pthread_mutex_lock(&t->lock);
        late = t->waiting.late;
        t->waiting.late.reads = 0;
        pthread_mutex_unlock(&t->lock);
        if (late.reads == 0)
                return;
        t->late_told_ms = now;
        torrent_get_status(t, &st);
        (void)registry_name(e->registry, t, name);
        l = torrent_listing(t);
        if (l)
                (void)tree_path(l->tree, late.node, path, sizeof path);
        listing_unref(l);
        log_info("%s (%s): %u read%s timed out: nothing came of piece %u (%s) for %" PRIu64
                 " s; %u peer%s connected",
                 t->hex, name, late.reads, late.reads == 1 ? "" : "s", late.piece, path,
                 late.waited_ms / 1000, st.stats.peers, st.stats.peers == 1 ? " is" : "s are");
}

static void check_progress(struct engine *e, struct torrent *t)
{
        uint64_t have = torrent_have_bytes(t);

        if (have == t->told_bytes)
                return;
        t->told_bytes = have;
        engine_event_of(e, t, "progress");
}

/* Which files are to be filled is remembered. */
static void check_files(struct engine *e, struct torrent *t)
{
        unsigned n;

        pthread_mutex_lock(&t->lock);
        n = t->n_changes;
        pthread_mutex_unlock(&t->lock);
        if (n != t->told_files)
                engine_mark(e, t, DIRTY_ROW);
        t->told_files = n;
}

/* The session had one of this hash that was about to be removed: by now it has gone, perhaps. */
static void check_session(struct engine *e, struct torrent *t, uint64_t now)
{
        if (t->refused && torrent_ready(t) == 0 && engine_try_session(e, t))
                upkeep_ready(e, t, now);
}

void upkeep_line(struct engine *e, uint64_t now)
{
        struct turn *turn;

        while ((turn = turns_rested(&e->turns, now))) {
                struct torrent *t = turn->owner;

                if (!fetch_rested(&t->fetch)) {
                        turns_rest(&e->turns, turn, now + FETCH_REST_MS);
                        continue;
                }
                torrent_fail(t, 0, "");
                turns_queue(&e->turns, turn, !t->kept);
        }
        e->seats_missing = turns_missing(&e->turns);
}

/* Whether its ticks have something to do: ask for room again, or forget who was closed. */
static bool needs_ticks(struct torrent *t)
{
        bool needs;

        pthread_mutex_lock(&t->lock);
        needs = (t->state == TORRENT_AWAKE && (filling_waits(t) || t->refills)) || t->returning ||
                t->waiting.taken > 0 || t->waiting.n_lingering > 0 || t->waiting.lacks_room;
        pthread_mutex_unlock(&t->lock);
        return needs;
}

/* Whether there is something to look after besides what stirs it. */
static bool needs_upkeep(struct torrent *t)
{
        const struct life_use use = engine_use_of(t);

        if (torrent_ready(t) == -ENOENT)
                return false;
        return t->turn.place == TURN_SEATED || use.handles > 0 ||
               t->announce.state != ANNOUNCE_NONE || t->stopped || t->writes.again || t->refused ||
               t->needy.is || t->falling || t->renew_due || t->renew_ms > 0 || t->away ||
               life_waits(&t->life, &use) || torrent_have_bytes(t) != t->told_bytes ||
               needs_ticks(t);
}

bool upkeep_torrent(struct engine *e, struct torrent *t, uint64_t now)
{
        check_session(e, t, now);
        check_metadata(e, t, now);
        check_peers(e, t, now);
        check_dials(t, now);
        check_writes(t, now);
        check_fill(t, now);
        check_late(e, t, now);
        check_progress(e, t);
        check_files(e, t);
        removal_check_idle(e, t, now);
        sleep_tick(e, t, now);
        helper_tick(e, t, now);
        return needs_upkeep(t);
}

void upkeep_session(struct engine *e, uint64_t now)
{
        helper_greet_again(e);
        sleep_bound(e, now);
        sleep_sweep(e, now);
        library_tick(e, now);
        bt_session_second_try(e->session, second_try_is_on(&e->second_try, now));
}
