/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent/parked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
/* One that yields to those that play does so until they have enough in hand, or for so long. */
enum { YIELD_MS = 30000 };
/* A piece that is taken because it was offered is given up for another when nothing of it came for
 * so long. */
enum { OFFER_MS = 5000 };
/* A read that fills the page cache for a thread of which nothing can be known, and which has a
 * signal, is answered after this time: the signal may be a deadly one. */
enum { UNSEEN_MS = 1500 };
/* No word comes of the death of a thread that waits for a page which another read fills, or which
 * the kernel reads ahead: so often it is looked for. */
enum { CHECK_ALIVE_MS = 1000 };

/* Bytes that could be given now. Under t->lock or not: what is there may go again at any time, and
 * handle_fetch tells. */
static size_t in_hand(const struct parked *p)
{
        const struct handle *h = p->handle;
        uint32_t missing = store_first_missing(h->store, p->first, p->end);
        uint64_t start = h->layout.offset + p->off, at = (uint64_t)missing * h->layout.piece_length;

        if (missing == p->end)
                return p->len;
        return at > start ? (size_t)(at - start) : 0;
}

/* Time-outs count by piece, whatever the reads that wait for it do. */
static void wait_for(struct want *want, struct parked *p, uint64_t now)
{
        if (!want->parked && (want->waited_ms == 0 || now > want->left_ms + LINGER_MS))
                want->waited_ms = now;
        p->waits_for = want->piece;
        p->since_ms = now;
        DL_APPEND2(want->parked, p, pprev, pnext);
}

/* ---- the life of a parked read ---- */

static void leave_piece(struct torrent *t, struct parked *p)
{
        struct want *want = wants_find(&t->wants, p->waits_for);

        if (!want)
                return;
        DL_DELETE2(want->parked, p, pprev, pnext);
        if (want->parked)
                return;
        want->left_ms = clock_ms();
        if (want->urgent && !linger_has(t, p->waits_for))
                wants_urgent(&t->wants, want, false);
}

void parked_remove(struct torrent *t, struct parked *p)
{
        leave_piece(t, p);
        for (uint32_t i = p->wished; i < p->end; i++)
                (void)wishes_change(t, i, p->priority, PRIORITY_NONE);
        DL_DELETE(t->waiting.list, p);
        if (p == p->handle->watch)
                p->handle->watch = NULL;
        else
                DL_DELETE2(p->handle->parked, p, hprev, hnext);
        HASH_DELETE(hh, t->waiting.by_id, p);
        t->waiting.count--;
        if (p->request)
                atomic_fetch_sub(&t->env->parked_reads, 1);
}

void parked_settle(struct torrent *t, struct parked *p, int outcome, struct parked **answer)
{
        if (p->request && !p->armed) {
                if (p->outcome == 0)
                        p->outcome = outcome;
                return;
        }
        if (!p->request && outcome != OUTCOME_DATA)
                p->handle->error = outcome;
        p->outcome = outcome;
        p->handle->answered_ms = clock_ms();
        parked_remove(t, p);
        DL_APPEND2(*answer, p, pprev, pnext);
}

/* Whether p has had its answer; else a piece went meanwhile, and it is to wait again. */
static bool answer_read(struct torrent_env *env, struct parked *p)
{
        size_t n = p->outcome == OUTCOME_DATA ? p->len : 0;
        void *data;
        int r;

        /* Time-out and interrupt give what is in hand: a short read is better than none. But not to
         * the page cache: the kernel would take the file to end there, and fill up with zeros. */
        if (!p->whole && (p->outcome == EIO || p->outcome == EINTR))
                n = in_hand(p);
        if (n == 0) {
                env->reply.error(p->request, p->outcome);
                return true;
        }
        data = malloc(n);
        r = data ? store_read(p->handle->store, p->handle->layout.offset + p->off, data, n)
                 : -ENOMEM;
        if (r == -EAGAIN && p->outcome != OUTCOME_DATA)
                r = -p->outcome;
        if (r == 0)
                env->reply.data(p->request, data, n);
        else if (r != -EAGAIN)
                env->reply.error(p->request, r == -ESTALE ? EIO : -r);
        free(data);
        return r != -EAGAIN;
}

static void wait_again(struct torrent *t, struct parked *p);

/* Without the lock. A read's handle lives until its answer; a watch's poll handle was taken off
 * under the lock. */
static void answer_all(struct torrent *t, struct parked *answer)
{
        struct parked *p, *tmp;

        DL_FOREACH_SAFE2 (answer, p, tmp, pnext) {
                if (!p->request || answer_read(t->env, p))
                        free(p);
                else
                        wait_again(t, p);
        }
}

/* Watches among the settled: their poll handles, to be woken without the lock. */
struct wakes {
        void *small[8];
        void **list;
        size_t n, room;
};

static void take_wakes(struct parked *answer, struct wakes *w)
{
        struct parked *p;

        *w = (struct wakes){.room = sizeof w->small / sizeof *w->small};
        DL_FOREACH2 (answer, p, pnext) {
                void **to;

                if (p->request || !p->handle->poll_handle)
                        continue;
                if (w->n == w->room) {
                        void **grown = reallocarray(w->list, 2 * w->room, sizeof *grown);
                        if (!grown)
                                continue; /* the poller asks again by itself */
                        if (!w->list)
                                memcpy(grown, w->small, sizeof w->small);
                        w->list = grown;
                        w->room *= 2;
                }
                to = w->list ? w->list : w->small;
                to[w->n++] = p->handle->poll_handle;
                p->handle->poll_handle = NULL;
        }
}

void parked_unlock_and_answer(struct torrent *t, struct parked *answer)
{
        struct torrent_env *env = t->env;
        struct wakes wakes;

        wishes_tell(t);
        take_wakes(answer, &wakes);
        pthread_mutex_unlock(&t->lock);
        answer_all(t, answer);
        for (size_t i = 0; i < wakes.n; i++)
                env->reply.poll_wake(wakes.list ? wakes.list[i] : wakes.small[i]);
        free(wakes.list);
}

static int by_id(const struct parked *a, const struct parked *b)
{
        return a->id < b->id ? -1 : a->id > b->id;
}

static void add_to_handle(struct handle *h, struct parked *p)
{
        struct parked *next = h->parked;

        if (!next || next->hprev->id < p->id) {
                DL_APPEND2(h->parked, p, hprev, hnext);
                return;
        }
        while (by_id(next, p) < 0)
                next = next->hnext;
        DL_PREPEND_ELEM2(h->parked, next, p, hprev, hnext);
}

/* Puts p, whose first missing piece is `missing`, into every list. Under t->lock. -ENOMEM, -ENOSPC:
 * it is in none. The same for -EAGAIN: that piece has just come. */
static int enter(struct torrent *t, struct parked *p, uint32_t missing)
{
        struct want *want;
        int r = 0;

        p->wished = missing;
        for (uint32_t i = missing; i < p->end; i++) {
                int q = wishes_change(t, i, PRIORITY_NONE, p->priority);
                r = i == missing ? q : r;
        }
        want = wants_find(&t->wants, missing);
        if (r == 0 && want) {
                HASH_ADD(hh, t->waiting.by_id, id, sizeof p->id, p);
                if (!p->hh.tbl)
                        r = -ENOMEM;
        }
        if (r < 0 || !want) {
                for (uint32_t i = missing; i < p->end; i++)
                        (void)wishes_change(t, i, p->priority, PRIORITY_NONE);
                if (r == 0)
                        r = store_has(t->content.store, missing) ? -EAGAIN : -ENOMEM;
                return r;
        }
        wait_for(want, p, clock_ms());
        /* Ids rise along the lists; only one that waits again is not the last. */
        if (!t->waiting.list || t->waiting.list->prev->id < p->id)
                DL_APPEND(t->waiting.list, p);
        else
                DL_INSERT_INORDER(t->waiting.list, p, by_id);
        t->waiting.count++;
        if (p->request) {
                add_to_handle(p->handle, p);
                atomic_fetch_add(&t->env->parked_reads, 1);
        } else {
                p->handle->watch = p;
        }
        return 0;
}

/* A piece that p was to be answered with has gone before it was read: p waits for it anew, as a
 * request that comes now would. */
static void wait_again(struct torrent *t, struct parked *p)
{
        int r;

        do {
                uint32_t missing;

                pthread_mutex_lock(&t->lock);
                missing = store_first_missing(p->handle->store, p->first, p->end);
                if (missing == p->end)
                        r = -EAGAIN; /* it has come again */
                else if (atomic_load(&t->env->stopping))
                        r = -ENODEV;
                else if (t->state == TORRENT_GONE)
                        r = -EIO;
                else
                        r = enter(t, p, missing);
                /* An interrupt that came meanwhile found nothing, and no other comes: its thread is
                 * looked at for a signal. */
                if (r == 0 && p->tid > 0)
                        p->poked = true;
                p->outcome = r == -EAGAIN ? OUTCOME_DATA : -r;
                wishes_tell(t);
                pthread_mutex_unlock(&t->lock);
        } while (r < 0 && !answer_read(t->env, p));
        if (r < 0)
                free(p);
}

int parked_add(struct handle *h, uint64_t off, size_t len, bool whole, uint32_t first, uint32_t end,
               uint32_t missing, void *request, pid_t tid, struct parked **ret)
{
        struct torrent *t = h->torrent;
        struct parked *p = calloc(1, sizeof *p);
        int r;

        if (!p)
                return -ENOMEM;
        *p = (struct parked){.id = t->waiting.next_id++,
                             .request = request,
                             .tid = tid,
                             .handle = h,
                             .priority = h->reader.yields && !whole ? PRIORITY_YIELDS
                                                                    : PRIORITY_BLOCKED,
                             .off = off,
                             .len = len,
                             .first = first,
                             .end = end,
                             .whole = whole,
                             .asked_ms = clock_ms()};
        r = enter(t, p, missing);
        if (r < 0) {
                free(p);
                return r;
        }
        *ret = p;
        return 0;
}

void parked_arm(struct torrent *t, uint64_t id)
{
        struct parked *p, *answer = NULL;

        pthread_mutex_lock(&t->lock);
        HASH_FIND(hh, t->waiting.by_id, &id, sizeof id, p);
        if (p) {
                p->armed = true;
                if (p->outcome != 0)
                        parked_settle(t, p, p->outcome, &answer);
        }
        parked_unlock_and_answer(t, answer);
}

/* One that is claimed gets its room when it turns out not to be what it should be; that may have
 * been a moment ago. */
static bool lacks_room(struct torrent *t, struct want *want)
{
        if (want->reserved || store_is_suspect(t->content.store, want->piece))
                return false;
        wishes_reserve(t, want);
        return !want->reserved && !(t->env->make_room && store_fits(t->content.store, want->piece));
}

void parked_piece_passed(struct torrent *t, uint32_t piece)
{
        struct parked *p, *tmp, *answer = NULL;
        struct want *want;

        pthread_mutex_lock(&t->lock);
        t->waiting.stalled_ms = 0;
        want = wants_find(&t->wants, piece);
        /* One that went again before this was dealt with is still waited for. */
        if (want && store_has(t->content.store, piece)) {
                struct parked *waiting = want->parked;
                uint64_t now = clock_ms();

                want->parked = NULL;
                DL_FOREACH_SAFE2 (waiting, p, tmp, pnext) {
                        uint32_t missing = store_first_missing(t->content.store, p->first, p->end);
                        struct want *next =
                                missing < p->end ? wants_find(&t->wants, missing) : NULL;

                        if (!next) {
                                p->waits_for = UINT32_MAX;
                                parked_settle(t, p, missing < p->end ? ENOMEM : OUTCOME_DATA,
                                              &answer);
                                continue;
                        }
                        wait_for(next, p, now);
                        if (lacks_room(t, next))
                                parked_settle(t, p, ENOSPC, &answer);
                }
                linger_passed(t, piece);
                /* If nobody but those who waited wanted it, it went with the last of them. */
                want = wants_find(&t->wants, piece);
                if (want)
                        wants_done(&t->wants, want);
        }
        filling_run(t, true);
        parked_unlock_and_answer(t, answer);
}

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

static bool is_overdue(const struct torrent *t, const struct parked *p, uint64_t now)
{
        uint64_t half = t->env->read_timeout_ms / 2;

        if (p->priority == PRIORITY_BLOCKED || t->playing_short == 0)
                return now >= p->since_ms + OVERDUE_MS;
        return now >= p->asked_ms + (half > 0 && half < YIELD_MS ? half : YIELD_MS);
}

bool parked_is_short(const struct handle *h, uint64_t off)
{
        uint64_t rest = h->layout.size > off ? h->layout.size - off : 0;
        uint64_t half = h->reader.window / 2;
        uint32_t first, end;

        if (!reader_is_paced(&h->reader) || half == 0 || rest == 0)
                return false;
        layout_pieces(&h->layout, off, half < rest ? half : rest, &first, &end);
        return store_first_missing(h->store, first, end) < end;
}

/* One that has paused may have got what it lacked. */
static void check_short(struct torrent *t)
{
        struct handle *h;

        DL_FOREACH (t->open, h) {
                if (!h->is_short || parked_is_short(h, h->reader.place[0].position))
                        continue;
                h->is_short = false;
                t->playing_short--;
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
        if (t->playing_short > 0 && t->waiting.count > 0)
                check_short(t);
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
                if (t->env->read_timeout_ms > 0 && now >= since + t->env->read_timeout_ms) {
                        bool no_room = t->env->make_room && !want->reserved &&
                                       !store_is_suspect(t->content.store, want->piece);

                        if (!no_room)
                                t->waiting.stalled_ms = now;
                        parked_settle(t, p, no_room ? ENOSPC : EIO, &answer);
                } else if (p->whole && p->poked && p->tid <= 0 && now >= p->asked_ms + UNSEEN_MS) {
                        linger_read(t, p);
                        parked_settle(t, p, EINTR, &answer);
                } else if (!want->urgent && is_overdue(t, p, now)) {
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

void parked_release(struct torrent *t, int err, struct parked **answer)
{
        struct parked *p, *tmp;

        DL_FOREACH_SAFE (t->waiting.list, p, tmp) {
                parked_settle(t, p, err, answer);
        }
        linger_end(t);
}

void parked_release_all(struct torrent *t, int err)
{
        struct parked *answer = NULL;

        pthread_mutex_lock(&t->lock);
        parked_release(t, err, &answer);
        parked_unlock_and_answer(t, answer);
}
