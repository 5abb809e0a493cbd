/* SPDX-License-Identifier: MIT */
/* parked_tick.c: what time does to reads that wait: they time out, become urgent, and hear that
 * their thread is gone. */
#define HASH_NONFATAL_OOM 1
#include "torrent/parked.h"

#include <errno.h>

#include <utlist.h>

#include "common/clock.h"
#include "torrent/filling.h"
#include "torrent/linger.h"
#include "torrent/returning.h"
#include "torrent/room.h"
#include "torrent/wishes.h"

/* A reader that asks ahead finds its pieces asked for; when it has waited so long its piece gets a
 * deadline all the same. */
enum { OVERDUE_MS = 400 };
/* One that yields to those that play does so until they have enough in hand, or for so long; to
 * those that may play, for as long as it takes to tell. */
enum { YIELD_MS = 30000, YIELD_YOUNG_MS = 3000 };
/* Where the swarm has given nothing for so long nobody yields: the peers are judged by what is
 * waited for most. */
enum { QUIET_MS = 2000 };
/* Who plays reads again sooner. */
enum { PRESS_MS = 3000 };
/* A piece that is taken because it was offered is given up for another when nothing of it came for
 * so long. */
enum { OFFER_MS = 5000 };
/* A read that would not wait is told for want of room where there will be none; it waits so long
 * for that to be known. */
enum { FOR_ROOM_MS = 500 };
/* A read that fills the page cache for a thread of another PID namespace may be for one that is no
 * more: no word of that comes while the kernel reads ahead. After this time it is ended once. If
 * the thread lives the kernel asks again at once, for one page, and tells when it is killed from
 * then on. */
enum { TRY_MS = 1000 };
/* No word comes of the death of a thread that waits for a page which another read fills, or which
 * the kernel reads ahead: so often it is looked for. */
enum { CHECK_ALIVE_MS = 1000 };

/* A look may take long where many wait, and /proc itself may make it wait: no other torrent does
 * for that. */
static void look_in_proc(struct chore *c)
{
        struct torrent *t = (struct torrent *)((char *)c - offsetof(struct torrent, waiting.look));

        if (t->waiting.look_threads)
                parked_check_threads(t, t->waiting.look_alive);
        if (t->waiting.look_pages)
                pages_check(t, clock_ms());
        pthread_mutex_lock(&t->lock);
        t->waiting.looks = false;
        pthread_mutex_unlock(&t->lock);
        torrent_unref(t);
}

/* What p waits for is to come before everything else. */
static void hurry(struct torrent *t, struct parked *p, struct want *want)
{
        for (uint32_t i = p->wished; i < p->end && p->priority < PRIORITY_BLOCKED; i++)
                (void)wishes_change(t, i, p->priority, PRIORITY_BLOCKED);
        p->priority = PRIORITY_BLOCKED;
        wants_urgent(&t->wants, want, true);
}

/* How long it may have to yield to those who lack something; 0: nobody does, or the swarm gives
 * nothing. */
static uint64_t longest_yield(const struct torrent *t, const struct parked *p, uint64_t now)
{
        uint64_t half = t->env->read_timeout_ms / 2;
        enum shortage own = p->handle->shortage; /* of what it waits for itself */
        bool plays = t->playing_short > (own == SHORTAGE_PLAYS);
        bool young = t->young_short > (own == SHORTAGE_YOUNG);
        uint64_t most = plays ? YIELD_MS : young ? YIELD_YOUNG_MS : 0;

        if (now >= atomic_load(&t->last_block_ms) + QUIET_MS && t->stats.download_rate == 0)
                return 0;
        return half > 0 && half < most ? half : most;
}

bool parked_yields(const struct torrent *t, const struct reader *r)
{
        return !r->playing && (t->playing_short > 0 || (t->young_short > 0 && !reader_may_play(r)));
}

uint32_t parked_lacks_first(const struct handle *h, uint64_t off)
{
        uint64_t to = reader_needs(&h->reader);
        uint32_t first, end, missing;

        if (to > h->layout.size)
                to = h->layout.size;
        if (off >= to)
                return UINT32_MAX;
        layout_pieces(&h->layout, off, to - off, &first, &end);
        missing = store_first_missing(h->store, first, end);
        return missing < end ? missing : UINT32_MAX;
}

/* Whether p waits for what somebody plays next who is yielded to. */
static bool is_next_of_others(const struct torrent *t, const struct parked *p)
{
        const struct handle *h;

        DL_FOREACH (t->open, h)
                if (h != p->handle && h->shortage != SHORTAGE_NONE && !h->reader.yields &&
                    parked_lacks_first(h, handle_position(h)) == p->waits_for)
                        return true;
        return false;
}

bool parked_others_wait(const struct handle *h)
{
        const struct parked *p;

        DL_FOREACH (h->torrent->waiting.list, p)
                if (p->handle != h && p->priority == PRIORITY_BLOCKED)
                        return true;
        return false;
}

/* One that has paused needs nothing soon; and what the picture of another stands still for comes
 * first. */
static void check_press(struct torrent *t, struct handle *h, uint64_t now)
{
        const struct plan before = h->reader.plan;

        if (!h->reader.presses || (now < h->touched_ms + PRESS_MS && !parked_others_wait(h)))
                return;
        reader_relents(&h->reader);
        wishes_plan(t, &before, &h->reader.plan);
}

/* One that was asked for before somebody who plays ran short of what it plays next is to come
 * behind that, as if it came only then. A piece of 4 MiB takes a thin link 7 s: so long a scan
 * kept it from the film, which had to wait 7 s more for the next piece of its own. */
static bool is_to_yield(const struct torrent *t, const struct parked *p, const struct want *want,
                        uint64_t now)
{
        return p->priority == PRIORITY_BLOCKED && !p->whole && !p->for_room &&
               parked_yields(t, &p->handle->reader) &&
               now < p->asked_ms + longest_yield(t, p, now) && !parked_lacks_room(t, want) &&
               !is_next_of_others(t, p);
}

static void yield(struct torrent *t, struct parked *p, struct want *want)
{
        struct reader *r = &p->handle->reader;
        const struct plan before = r->plan;

        reader_yields(r);
        wishes_plan(t, &before, &r->plan);
        for (uint32_t i = p->wished; i < p->end; i++)
                (void)wishes_change(t, i, p->priority, PRIORITY_YIELDS);
        p->priority = PRIORITY_YIELDS;
        parked_calm(t, want);
}

/* One that yields does so until that has not been needed for a while: who plays may lack something
 * again in a moment. */
static bool is_overdue(const struct torrent *t, struct parked *p, uint64_t now)
{
        uint64_t yields_ms = longest_yield(t, p, now), since = p->since_ms;

        if (p->priority < PRIORITY_BLOCKED && yields_ms > 0) {
                p->yielded_ms = now;
                return now >= p->asked_ms + yields_ms;
        }
        if (p->priority < PRIORITY_BLOCKED && p->yielded_ms > since)
                since = p->yielded_ms;
        return now >= since + OVERDUE_MS;
}

/* Nothing came of its piece for as long as it may wait. Where that is for want of room, which a
 * poll hears of, too, it is no stall. */
static bool check_time(struct torrent *t, struct parked *p, const struct want *want, uint64_t now,
                       struct parked **answer)
{
        uint64_t since = p->request ? want->bounded_ms : want->waited_ms;
        bool no_room;

        if (want->last_block_ms > since)
                since = want->last_block_ms;
        if (t->env->read_timeout_ms == 0 || now < since + t->env->read_timeout_ms)
                return false;
        no_room = parked_lacks_room(t, want);
        if (!no_room && !p->request)
                return false;
        if (!no_room) {
                t->waiting.stalled_ms = now;
                t->waiting.late = (struct late){.reads = t->waiting.late.reads + 1,
                                                .node = p->handle->node,
                                                .piece = p->waits_for,
                                                .waited_ms = now - since};
                atomic_fetch_add(&t->env->timed_out_reads, 1);
        }
        parked_settle(t, p, no_room ? ENOSPC : EIO, answer);
        return true;
}

enum shortage parked_shortage(const struct handle *h, uint64_t off)
{
        bool paced = reader_is_paced(&h->reader);

        if (!paced && !reader_may_play(&h->reader))
                return SHORTAGE_NONE;
        if (parked_lacks_first(h, off) == UINT32_MAX)
                return SHORTAGE_NONE;
        return paced ? SHORTAGE_PLAYS : SHORTAGE_YOUNG;
}

/* One that has paused may have got what it lacked. */
static void check_short(struct torrent *t, uint64_t now)
{
        struct handle *h;

        DL_FOREACH (t->open, h) {
                check_press(t, h, now);
                if (h->shortage == SHORTAGE_NONE ||
                    parked_shortage(h, handle_position(h)) != SHORTAGE_NONE)
                        continue;
                t->playing_short -= h->shortage == SHORTAGE_PLAYS;
                t->young_short -= h->shortage == SHORTAGE_YOUNG;
                h->shortage = SHORTAGE_NONE;
        }
}

/* A seed that shows one piece at a time tells of another when this one was taken: one of them is
 * what somebody waits for. */
static void take_offer(struct torrent *t, uint64_t now)
{
        uint32_t offered = atomic_exchange(&t->offered, 0), *taken = &t->waiting.taken;

        if (*taken > 0) {
                const struct want *want = wants_find(&t->wants, *taken - 1);
                uint64_t since = want && want->last_block_ms > t->waiting.taken_ms
                                         ? want->last_block_ms
                                         : t->waiting.taken_ms;

                if (!want || t->waiting.count == 0 || store_has(t->content.store, *taken - 1) ||
                    now >= since + OFFER_MS) {
                        (void)wishes_change(t, *taken - 1, PRIORITY_LEAST, PRIORITY_NONE);
                        *taken = 0;
                }
        }
        if (offered == 0 || *taken > 0 || t->waiting.count == 0)
                return;
        if (wishes_change(t, offered - 1, PRIORITY_NONE, PRIORITY_LEAST) == 0) {
                *taken = offered;
                t->waiting.taken_ms = now;
        } else {
                (void)wishes_change(t, offered - 1, PRIORITY_LEAST, PRIORITY_NONE);
        }
}

void parked_take_offer(struct torrent *t)
{
        pthread_mutex_lock(&t->lock);
        take_offer(t, clock_ms());
        parked_unlock_and_answer(t, NULL);
}

void parked_tick(struct torrent *t, uint64_t now)
{
        struct parked *p, *tmp, *answer = NULL;
        uint32_t forgotten = UINT32_MAX;
        bool poked = false, whole = false, alive, look;

        (void)room_take(t);
        pthread_mutex_lock(&t->lock);
        linger_tick(t, now);
        returning_expire(t, now);
        filling_run(t, false);
        take_offer(t, now);
        if (t->playing_short > 0 || t->young_short > 0)
                check_short(t, now);
        parked_room_came(t, &answer);
        t->waiting.starved_ms = 0;
        DL_FOREACH_SAFE (t->waiting.list, p, tmp) {
                struct want *want = wants_find(&t->wants, p->waits_for);
                uint64_t since;

                poked |= p->poked;
                whole |= p->whole;
                if (!want)
                        continue;
                if (store_has(t->content.store, p->waits_for)) {
                        forgotten = p->waits_for; /* its passing could not be queued, or is on its
                                                     way */
                        continue;
                }
                since = want->last_block_ms > want->waited_ms ? want->last_block_ms
                                                              : want->waited_ms;
                if (p->priority == PRIORITY_BLOCKED &&
                    (t->waiting.starved_ms == 0 || since < t->waiting.starved_ms))
                        t->waiting.starved_ms = since;
                if (p->for_room && now >= p->asked_ms + FOR_ROOM_MS) {
                        parked_settle(t, p, EAGAIN, &answer);
                } else if (check_time(t, p, want, now, &answer)) {
                        continue;
                } else if (p->whole && p->tid <= 0 && !p->came_back &&
                           now >= p->asked_ms + TRY_MS) {
                        parked_try(t, p, now, &answer);
                } else if (is_to_yield(t, p, want, now)) {
                        yield(t, p, want);
                } else if ((p->priority < PRIORITY_BLOCKED || !want->urgent) &&
                           is_overdue(t, p, now)) {
                        hurry(t, p, want);
                }
        }
        alive = whole && !t->waiting.looks && now >= t->waiting.checked_alive_ms + CHECK_ALIVE_MS;
        if (alive)
                t->waiting.checked_alive_ms = now;
        look = !t->waiting.looks && (poked || alive || whole);
        if (look) {
                t->waiting.looks = true;
                t->waiting.look_threads = poked || alive;
                t->waiting.look_alive = alive;
                t->waiting.look_pages = whole;
        }
        parked_unlock_and_answer(t, answer);
        if (forgotten != UINT32_MAX)
                parked_piece_passed(t, forgotten);
        if (!look)
                return;
        torrent_ref(t);
        t->waiting.look.run = look_in_proc;
        /* Where there is no room for a thread it is looked at here. */
        if (t->env->looks_apart && !t->env->looks)
                (void)chores_new("looks", &t->env->looks);
        if (!t->env->looks || !chores_push(t->env->looks, &t->waiting.look))
                look_in_proc(&t->waiting.look);
}
