/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent/parked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "common/clock.h"
#include "torrent/filling.h"
#include "torrent/linger.h"
#include "torrent/wishes.h"

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

/* Time-outs count by piece, whatever the reads that wait for it do. Polls don't time out: who polls
 * can leave when it likes, and so a stream goes on after an outage of hours. Nor does a read that
 * comes later inherit the time of their wait. */
static void wait_for(struct want *want, struct parked *p, uint64_t now)
{
        if (!want->parked && (want->waited_ms == 0 || now > want->left_ms + LINGER_MS))
                want->waited_ms = now;
        if (p->request && want->bounded++ == 0 &&
            (want->bounded_ms == 0 || now > want->bounded_left_ms + LINGER_MS))
                want->bounded_ms = now;
        p->waits_for = want->piece;
        p->since_ms = now;
        DL_APPEND2(want->parked, p, pprev, pnext);
}

/* ---- the life of a parked read ---- */

void parked_calm(struct torrent *t, struct want *want)
{
        const struct parked *p;

        if (!want->urgent || linger_has(t, want->piece))
                return;
        DL_FOREACH2 (want->parked, p, pnext)
                if (p->priority == PRIORITY_BLOCKED)
                        return;
        wants_urgent(&t->wants, want, false);
}

static void leave_piece(struct torrent *t, struct parked *p)
{
        struct want *want = wants_find(&t->wants, p->waits_for);

        if (!want)
                return;
        DL_DELETE2(want->parked, p, pprev, pnext);
        if (p->request && --want->bounded == 0)
                want->bounded_left_ms = clock_ms();
        if (!want->parked)
                want->left_ms = clock_ms();
        parked_calm(t, want);
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

/* Before the answer: the program may look where it is at once, or close the file. */
static void note_given(const struct parked *p, size_t n)
{
        struct handle *h = p->handle;

        pthread_mutex_lock(&h->torrent->lock);
        reader_gave(&h->reader, p->off, p->off + n);
        if (p->whole)
                h->filled_ms = clock_ms();
        pthread_mutex_unlock(&h->torrent->lock);
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
        if (r == 0) {
                note_given(p, n);
                env->reply.data(p->request, data, n);
        } else if (r != -EAGAIN) {
                env->reply.error(p->request, r == -ESTALE ? EIO : -r);
        }
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
        atomic_fetch_add(&t->env->parked_reads, 1);
        if (p->request)
                add_to_handle(p->handle, p);
        else
                p->handle->watch = p;
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

void parked_try(struct torrent *t, struct parked *p, uint64_t now, struct parked **answer)
{
        p->handle->tries = p->came_back ? p->handle->tries + 1 : 1;
        p->handle->tried_at = p->off;
        p->handle->tried_end = p->off + p->len;
        p->handle->tried_ms = now;
        linger_read(t, p);
        parked_settle(t, p, EINTR, answer);
}

/* Whether a read is what one becomes that was ended a moment ago: for one page of that, which the
 * kernel does not read ahead any more. */
static bool comes_back(const struct handle *h, uint64_t off, size_t len, uint64_t now)
{
        return len <= (size_t)sysconf(_SC_PAGESIZE) && h->tried_ms > 0 &&
               now <= h->tried_ms + LINGER_MS && off >= h->tried_at && off < h->tried_end;
}

bool parked_ends_at_once(struct handle *h, uint64_t off, size_t len)
{
        uint64_t now = clock_ms();

        if (h->quick == 0 || !comes_back(h, off, len, now))
                return false;
        h->quick--;
        h->tried_ms = now;
        return true;
}

int parked_add(struct handle *h, uint64_t off, size_t len, bool whole, uint32_t first, uint32_t end,
               uint32_t missing, void *request, pid_t tid, struct parked **ret)
{
        struct torrent *t = h->torrent;
        struct parked *p = calloc(1, sizeof *p);
        uint64_t now = clock_ms();
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
                             .asked_ms = now,
                             .came_back = whole && comes_back(h, off, len, now)};
        r = enter(t, p, missing);
        if (r < 0) {
                free(p);
                return r;
        }
        *ret = p;
        return 0;
}

void parked_wait_for_room(struct parked *p, void *request)
{
        struct handle *h = p->handle;
        struct want *want = wants_find(&h->torrent->wants, p->waits_for);
        uint64_t start = h->layout.offset + p->off;
        uint64_t rest = h->layout.piece_length - start % h->layout.piece_length;

        h->watch = NULL;
        p->request = request;
        p->for_room = true;
        if (p->len > rest) /* its piece may come all the same */
                p->len = (size_t)rest;
        if (want->bounded++ == 0)
                want->bounded_ms = clock_ms();
        add_to_handle(h, p);
}

bool parked_lacks_room(const struct torrent *t, const struct want *want)
{
        return t->env->make_room && !want->reserved && !store_has(t->content.store, want->piece) &&
               !store_is_suspect(t->content.store, want->piece);
}

void parked_room_came(struct torrent *t, struct parked **answer)
{
        struct parked *p, *tmp;

        DL_FOREACH_SAFE (t->waiting.list, p, tmp) {
                const struct want *want = wants_find(&t->wants, p->waits_for);

                if (p->for_room && want && !parked_lacks_room(t, want))
                        parked_settle(t, p, EAGAIN, answer);
        }
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
                want->bounded = 0;
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
                        wishes_done(t, want);
        }
        filling_run(t, true);
        parked_unlock_and_answer(t, answer);
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
