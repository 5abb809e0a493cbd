/* SPDX-License-Identifier: MIT */
/* upkeep.c: what happens to torrents as time goes by. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"
#include "engine/helper_link.h"
#include "torrent/names.h"
#include "torrent/parked.h"

/* A kept torrent whose metadata nobody had is asked for again after this. */
enum { RETRY_KEPT_MS = 10 * 60 * 1000 };
/* A torrent that somebody waits for and that reaches none of the peers it knows for so long tries
 * uTP too. The session can only try it for all torrents at once, which slows down others that
 * connect meanwhile: so for a moment, and not often. */
enum { STARVING_MS = 2000, SECOND_TRY_MS = 3000, SECOND_TRY_REST_MS = 30000 };
/* Where others wait for their turn, one that has found no peer at all in so long gives it to them.
 */
enum { TURN_MS = 10000 };
/* The helper answers within a moment; should an answer get lost, it is asked again. */
enum { HELPER_ANSWER_MS = 30000 };
/* Each time that nobody had the metadata the next pause is twice as long, up to so many doublings.
 */
enum { RETRY_DOUBLINGS = 4 };
/* So often the helper is asked for its mkdir. */
enum { ANNOUNCE_TRIES = 20 };

/* The torrent is complete in the tree: lets inotify see it. */
static void announce(struct engine *e, struct torrent *t)
{
        char name[NAME_BYTES_MAX + 1];

        if (e->options.helper_fd < 0 || e->options.read_only || e->helper == ENGINE_HELPER_LOST ||
            !registry_name(e->registry, t, name)) {
                t->announce = ANNOUNCE_NONE;
                return;
        }
        if (e->helper == ENGINE_HELPER_AWAY) {
                t->announce = ANNOUNCE_WANTED;
                return;
        }
        t->announcing = true;
        if (helper_send(e->options.helper_fd, HELPER_ANNOUNCE, t->number, name) == 0) {
                t->announce = ANNOUNCE_SENT;
                t->asked_helper_ms = clock_ms();
                t->announce_tries++;
        } else {
                t->announcing = false;
                t->announce = ANNOUNCE_WANTED;
        }
}

void upkeep_ready(struct engine *e, struct torrent *t)
{
        atomic_store(&t->last_used_ms, clock_ms());
        engine_event_of(e, t, "ready");
        e->hooks.changed(t);
        announce(e, t);
}

void upkeep_renamed(struct engine *e, struct torrent *t)
{
        char name[NAME_BYTES_MAX + 1];

        if (!torrent_has_content(t) || !registry_name(e->registry, t, name))
                return;
        log_debug("%s: is called %s now, as one that was added before it has its name", t->hex,
                  name);
        /* With the next tick, not at once: of many torrents of one name each may move many times.
         */
        t->announce = ANNOUNCE_WANTED;
        engine_look_after(e, t);
}

static uint64_t pause_of(const struct torrent *t)
{
        return (uint64_t)RETRY_KEPT_MS
               << (t->failures < RETRY_DOUBLINGS ? t->failures : RETRY_DOUBLINGS);
}

void upkeep_fail(struct engine *e, struct torrent *t, int err, const char *why)
{
        char name[NAME_BYTES_MAX + 1];

        torrent_fail(t, err, why);
        atomic_store(&t->last_used_ms, clock_ms());
        t->try_since_ms = 0;
        t->next_try_ms = clock_ms() + pause_of(t);
        t->failures++;
        engine_look_after(e, t); /* a temporary one goes soon */
        if (registry_name(e->registry, t, name))
                log_info("%s (%s): %s", t->hex, name, why);
        engine_event_of(e, t, "failed");
        e->hooks.changed(t);
}

void upkeep_try_again(struct engine *e, struct torrent *t)
{
        struct bt_torrent *bt;

        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        pthread_mutex_unlock(&t->lock);
        /* Only this thread removes from the session, so bt stays valid here. */
        if (bt) {
                bt_torrent_reannounce(bt);
                bt_torrent_merge(bt, t->source); /* calls its x.pe peers again */
        } else {
                (void)engine_try_session(e, t);
        }
        t->try_since_ms = t->next_redial_ms = clock_ms();
        t->redials = 0;
}

/* Whether more of the metadata has come. Less than this at a time is no progress. */
enum { PROGRESS_BYTES = 1024 };

static bool metadata_arrives(struct torrent *t, uint64_t now)
{
        uint64_t kib = 0;

        pthread_mutex_lock(&t->lock);
        if (t->bt)
                kib = bt_torrent_metadata_bytes(t->bt) / PROGRESS_BYTES;
        pthread_mutex_unlock(&t->lock);
        if (kib <= t->metadata_kib)
                return false;
        t->metadata_kib = kib;
        t->arrived_ms = now;
        return true;
}

static void check_metadata(struct engine *e, struct torrent *t, uint64_t now)
{
        struct torrent_status st;
        uint64_t timeout_ms = e->options.metadata_timeout_ms;
        char why[512];
        bool arrives;

        if (torrent_has_content(t) || t->found || t->turn.place != TURN_SEATED)
                return;
        arrives = metadata_arrives(t, now);
        torrent_get_status(t, &st);
        if (st.failed) {
                if (arrives && st.failed == -ETIMEDOUT) {
                        torrent_fail(t, 0, "");
                        t->tries = 1;
                        t->try_since_ms = now;
                } else if (e->seats_missing > 0) {
                        e->seats_missing--;
                        t->rests = 1u << (t->failures < RETRY_DOUBLINGS ? t->failures - 1
                                                                        : RETRY_DOUBLINGS);
                        engine_give_up_seat(e, t,
                                            t->kept && st.failed == -ETIMEDOUT ? RETRY_KEPT_MS
                                                                               : UINT64_MAX);
                } else if (t->kept && st.failed == -ETIMEDOUT && t->next_try_ms > 0 &&
                           now >= t->next_try_ms) {
                        torrent_fail(t, 0, "");
                        t->tries = 1;
                        upkeep_try_again(e, t);
                }
                return;
        }
        if (arrives) {
                /* A slow peer is no dead one. */
                t->try_since_ms = now;
                return;
        }
        if (t->try_since_ms == 0) {
                if (now >= t->next_try_ms) {
                        t->tries++;
                        upkeep_try_again(e, t);
                }
                return;
        }
        if (e->seats_missing > 0 && st.stats.known_peers == 0 && timeout_ms > TURN_MS)
                timeout_ms = TURN_MS;
        if (now - t->try_since_ms < timeout_ms)
                return;
        if (t->tries <= e->options.retries && e->seats_missing > 0) {
                e->seats_missing--;
                engine_give_up_seat(e, t, 0);
                return;
        }
        if (t->tries <= e->options.retries) {
                t->try_since_ms = 0;
                t->next_try_ms = now + e->options.retry_delay_ms;
                return;
        }
        snprintf(why, sizeof why, "nobody had the metadata in %u tries of %llu s%s%s", t->tries,
                 (unsigned long long)e->options.metadata_timeout_ms / 1000,
                 st.problem[0] ? "; last: " : "", st.problem);
        upkeep_fail(e, t, -ETIMEDOUT, why);
}

static void check_peers(struct engine *e, struct torrent *t, uint64_t now)
{
        struct torrent_status st;

        torrent_get_status(t, &st);
        if (st.stats.peers > 0 || st.stats.known_peers == 0 || st.failed ||
            (torrent_has_content(t) && st.parked_reads == 0)) {
                t->needy_ms = 0;
                return;
        }
        if (t->needy_ms == 0)
                t->needy_ms = now;
        if (now - t->needy_ms >= STARVING_MS &&
            (e->second_try_ms == 0 || now - e->second_try_ms >= SECOND_TRY_REST_MS)) {
                e->second_try_ms = now;
                log_debug("%s: reaches no peer, tries uTP", t->hex);
        }
}

/* Nothing of the metadata comes: peers may have been busy, or not up yet, when they were dialled.
 */
static void check_dials(struct torrent *t, uint64_t now)
{
        if (torrent_ready(t) != -EAGAIN || t->turn.place != TURN_SEATED ||
            now - t->arrived_ms < STARVING_MS) {
                t->next_redial_ms = 0;
                t->redials = 0;
        } else if (t->next_redial_ms == 0) {
                t->next_redial_ms = now + REDIAL_MS;
        }
}

void upkeep_redial(struct torrent *t, uint64_t now)
{
        uint64_t pause_ms;
        struct bt_torrent *bt;

        if (t->next_redial_ms == 0 || now < t->next_redial_ms)
                return;
        pause_ms = (uint64_t)REDIAL_MS << ++t->redials;
        if (pause_ms >= REDIAL_MAX_MS) {
                pause_ms = REDIAL_MAX_MS;
                t->redials--;
        }
        t->next_redial_ms = now + pause_ms;
        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        pthread_mutex_unlock(&t->lock);
        /* Only this thread removes from the session, so bt stays valid here. */
        if (bt)
                bt_torrent_redial(bt);
}

/* After a failed write the session asks for nothing more of the torrent until it is told to go on.
 * It is told so in two rounds: it may hear of the failure only after the first. */
static void check_writes(struct torrent *t)
{
        struct bt_torrent *bt;
        bool stopped = atomic_exchange(&t->stopped, false), again = t->stopped_before;
        int err;

        t->stopped_before = stopped;
        if (!stopped && !again)
                return;
        err = atomic_exchange(&t->write_error, 0);
        if (err != 0) {
                if (t->last_block_ms >= t->write_failed_ms) /* else it was said before */
                        log_info("%s: a piece could not be written: %s", t->hex, strerror(err));
                t->write_failed_ms = clock_ms();
                parked_release_all(t, err);
        }
        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        pthread_mutex_unlock(&t->lock);
        if (bt)
                bt_torrent_resume_writes(bt);
}

static void check_progress(struct engine *e, struct torrent *t)
{
        uint64_t have = torrent_have_bytes(t);

        if (have == t->told_bytes)
                return;
        t->told_bytes = have;
        engine_event_of(e, t, "progress");
}

/* What was asked of the helper may not be answered: it will be asked again. */
static void helper_gone(struct engine *e, enum engine_helper state)
{
        struct torrent *t;

        e->helper = state;
        e->helper_pid = -1;
        e->hooks.helper(-1);
        if (e->sidecar_wanted)
                e->sidecar = ENGINE_SIDECAR_DOWN;
        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                t->announcing = false;
                t->removing = false;
                if (t->announce == ANNOUNCE_SENT)
                        t->announce = ANNOUNCE_WANTED;
        }
        removal_ask_again(e);
}

/* Tells the helper that the mount knows it. Where there is no room for that among what was asked of
 * the one before it, it is told with the next tick. */
static void greet_helper(struct engine *e)
{
        int fd = e->options.helper_fd;

        if (helper_send(fd, HELPER_KNOWN, (uint32_t)e->helper_pid, NULL) == 0 &&
            (!e->sidecar_wanted || helper_send(fd, HELPER_SIDECAR, e->sidecar_told, NULL) == 0))
                e->helper = ENGINE_HELPER_RUNS;
}

/* The mount has to know the new helper before that does anything there. */
static void helper_back(struct engine *e, pid_t pid)
{
        helper_gone(e, ENGINE_HELPER_AWAY);
        e->helper_pid = pid;
        e->hooks.helper(pid);
        greet_helper(e);
}

static void sidecar_says(struct engine *e, int err)
{
        e->sidecar = err == 0 ? ENGINE_SIDECAR_LISTENS : ENGINE_SIDECAR_DOWN;
        if (!e->sidecar_told)
                e->hooks.sidecar(err);
        e->sidecar_told = true;
}

static void announced(struct engine *e, uint32_t number, int err)
{
        struct torrent *t = registry_by_number(e->registry, number);

        if (!t)
                return;
        t->announcing = false;
        t->announce = ANNOUNCE_NONE;
        if (err == EEXIST && t->announce_tries < ANNOUNCE_TRIES)
                announce(e, t);
        else if (err != 0)
                log_debug("%s: could not be announced: %s", t->hex, strerror(err));
        torrent_unref(t);
}

void upkeep_helper(struct engine *e)
{
        struct helper_message m;
        int r;

        while ((r = helper_receive(e->options.helper_fd, &m)) == 0) {
                switch (m.type) {
                case HELPER_SIDECAR:
                        sidecar_says(e, m.err);
                        break;
                case HELPER_GONE:
                        helper_gone(e, ENGINE_HELPER_AWAY);
                        break;
                case HELPER_BACK:
                        helper_back(e, (pid_t)m.number);
                        break;
                case HELPER_REMOVE:
                        removal_answered(e, m.number, m.err);
                        break;
                case HELPER_ANNOUNCE:
                        announced(e, m.number, m.err);
                        break;
                default:
                        break;
                }
        }
        if (r == -EAGAIN)
                return;
        helper_gone(e, ENGINE_HELPER_LOST);
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, e->options.helper_fd, NULL);
        if (!e->env.stopping)
                log_warning("The helper is gone: no sidecar, no inotify events for new torrents");
}

/* One whose announcement was not answered is announced again: until then the helper, and it alone,
 * does not find it by its name. */
static void check_announced(struct engine *e, struct torrent *t, uint64_t now)
{
        if (t->announce == ANNOUNCE_SENT && now - t->asked_helper_ms >= HELPER_ANSWER_MS) {
                t->announcing = false;
                t->announce = t->announce_tries < ANNOUNCE_TRIES ? ANNOUNCE_WANTED : ANNOUNCE_NONE;
        }
        if (t->announce == ANNOUNCE_WANTED)
                announce(e, t);
}

void upkeep_line(struct engine *e, uint64_t now)
{
        struct turn *turn;

        while ((turn = turns_rested(&e->turns, now))) {
                struct torrent *t = turn->owner;

                if (--t->rests > 0) {
                        turns_rest(&e->turns, turn, now + RETRY_KEPT_MS);
                        continue;
                }
                torrent_fail(t, 0, "");
                t->tries = 0;
                turns_queue(&e->turns, turn, !t->kept);
        }
        e->seats_missing = turns_missing(&e->turns);
}

/* Whether there is something to look after besides what stirs it. */
static bool needs_upkeep(struct torrent *t)
{
        if (torrent_ready(t) == -ENOENT)
                return false;
        return t->turn.place == TURN_SEATED || t->handles > 0 || t->announce != ANNOUNCE_NONE ||
               t->stopped || t->stopped_before || t->refused || t->removing || t->needy_ms > 0 ||
               (!t->kept && (torrent_has_content(t) || t->turn.place == TURN_NONE)) ||
               torrent_have_bytes(t) != t->told_bytes;
}

/* The session had one of this hash that was about to be removed: by now it has gone, perhaps. */
static void check_session(struct engine *e, struct torrent *t)
{
        if (t->refused && torrent_ready(t) == 0 && engine_try_session(e, t))
                upkeep_ready(e, t);
}

bool upkeep_torrent(struct engine *e, struct torrent *t, uint64_t now)
{
        check_session(e, t);
        check_metadata(e, t, now);
        check_peers(e, t, now);
        check_dials(t, now);
        check_writes(t);
        check_progress(e, t);
        removal_check_idle(e, t, now);
        check_announced(e, t, now);
        return needs_upkeep(t);
}

void upkeep_session(struct engine *e, uint64_t now)
{
        if (e->helper == ENGINE_HELPER_AWAY && e->helper_pid > 0)
                greet_helper(e);
        bt_session_second_try(e->session,
                              e->second_try_ms > 0 && now - e->second_try_ms < SECOND_TRY_MS);
}
