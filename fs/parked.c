/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "parked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "threads.h"

/* A reader that asks ahead finds its pieces asked for; when it has waited so long its piece gets a
 * deadline all the same. */
enum { OVERDUE_MS = 400 };

/* Bytes that can be given now. Under t->lock or not: pieces only come. */
static size_t in_hand(const struct parked *p)
{
        const struct content *c = p->handle->content;
        uint32_t missing = store_first_missing(c->store, p->first, p->end);
        uint64_t start = p->handle->layout.offset + p->off,
                 at = (uint64_t)missing * c->piece_length;

        if (missing == p->end)
                return p->len;
        return at > start ? (size_t)(at - start) : 0;
}

static void wait_for(struct torrent *t, struct parked *p, uint32_t piece)
{
        struct want *want = wants_find(&t->wants, piece);

        p->waits_for = piece;
        DL_APPEND2(want->parked, p, pprev, pnext);
}

static void leave_piece(struct torrent *t, struct parked *p)
{
        struct want *want = wants_find(&t->wants, p->waits_for);

        if (!want)
                return;
        DL_DELETE2(want->parked, p, pprev, pnext);
        if (!want->parked && want->urgent)
                wants_urgent(&t->wants, want, false);
}

void parked_remove(struct torrent *t, struct parked *p)
{
        leave_piece(t, p);
        for (uint32_t i = p->wished; i < p->end; i++)
                (void)torrent_want(t, i, PRIORITY_BLOCKED, PRIORITY_NONE);
        DL_DELETE(t->parked, p);
        if (p == p->handle->watch)
                p->handle->watch = NULL;
        else
                DL_DELETE2(p->handle->parked, p, hprev, hnext);
        HASH_DELETE(hh, t->parked_by_id, p);
        t->parked_count--;
        if (p->request)
                atomic_fetch_sub(&t->env->parked_reads, 1);
}

/* Ends p with outcome and puts it on the list of those to be answered, unless its request must not
 * be answered yet. */
static void settle(struct torrent *t, struct parked *p, int outcome, struct parked **answer)
{
        if (p->request && !p->armed) {
                p->outcome = outcome;
                return;
        }
        if (!p->request && outcome != OUTCOME_DATA)
                p->handle->error = outcome;
        p->outcome = outcome;
        parked_remove(t, p);
        DL_APPEND2(*answer, p, pprev, pnext);
}

static void answer_read(struct torrent_env *env, struct parked *p)
{
        size_t n = p->outcome == OUTCOME_DATA ? p->len : 0;
        void *data;
        int r;

        /* Time-out and interrupt give what is in hand: a short read is better than none. */
        if (p->outcome == EIO || p->outcome == EINTR)
                n = in_hand(p);
        if (n == 0) {
                env->reply.error(p->request, p->outcome);
                return;
        }
        data = malloc(n);
        r = data ? handle_fetch(p->handle, p->off, data, n) : -ENOMEM;
        if (r < 0)
                env->reply.error(p->request, -r);
        else
                env->reply.data(p->request, data, n);
        free(data);
}

/* Without the lock. A read's handle lives until its answer; a watch's poll handle was taken off
 * under the lock. */
static void answer_all(struct torrent_env *env, struct parked *answer)
{
        struct parked *p, *tmp;

        DL_FOREACH_SAFE2 (answer, p, tmp, pnext) {
                if (p->request)
                        answer_read(env, p);
                free(p);
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

        torrent_tell(t);
        take_wakes(answer, &wakes);
        pthread_mutex_unlock(&t->lock);
        answer_all(env, answer);
        for (size_t i = 0; i < wakes.n; i++)
                env->reply.poll_wake(wakes.list ? wakes.list[i] : wakes.small[i]);
        free(wakes.list);
}

int parked_add(struct handle *h, uint64_t off, size_t len, uint32_t first, uint32_t end,
               uint32_t missing, void *request, pid_t tid, struct parked **ret)
{
        struct torrent *t = h->torrent;
        struct parked *p = calloc(1, sizeof *p);
        struct want *want;
        int r = 0;

        if (!p)
                return -ENOMEM;
        *p = (struct parked){.id = t->next_id++,
                             .request = request,
                             .tid = tid,
                             .handle = h,
                             .off = off,
                             .len = len,
                             .first = first,
                             .end = end,
                             .wished = missing,
                             .since_ms = clock_ms()};
        for (uint32_t i = missing; i < end && (r == 0 || i > missing); i++) {
                int q = torrent_want(t, i, PRIORITY_NONE, PRIORITY_BLOCKED);
                r = i == missing ? q : r;
        }
        want = wants_find(&t->wants, missing);
        if (r == 0 && want) {
                HASH_ADD(hh, t->parked_by_id, id, sizeof p->id, p);
                if (!p->hh.tbl)
                        r = -ENOMEM;
        }
        if (r < 0 || !want) {
                for (uint32_t i = missing; i < end; i++)
                        (void)torrent_want(t, i, PRIORITY_BLOCKED, PRIORITY_NONE);
                free(p);
                return r < 0 ? r : -ENOMEM;
        }
        wait_for(t, p, missing);
        DL_APPEND(t->parked, p);
        t->parked_count++;
        if (request) {
                DL_APPEND2(h->parked, p, hprev, hnext);
                atomic_fetch_add(&t->env->parked_reads, 1);
        } else {
                h->watch = p;
        }
        *ret = p;
        return 0;
}

void torrent_arm(struct torrent *t, uint64_t id)
{
        struct parked *p, *answer = NULL;

        pthread_mutex_lock(&t->lock);
        HASH_FIND(hh, t->parked_by_id, &id, sizeof id, p);
        if (p) {
                p->armed = true;
                if (p->outcome != 0)
                        settle(t, p, p->outcome, &answer);
        }
        parked_unlock_and_answer(t, answer);
}

void torrent_interrupt(struct torrent *t, uint64_t id)
{
        struct parked *p, *answer = NULL;

        pthread_mutex_lock(&t->lock);
        HASH_FIND(hh, t->parked_by_id, &id, sizeof id, p);
        if (p)
                settle(t, p, EINTR, &answer);
        parked_unlock_and_answer(t, answer);
}

void torrent_interrupt_if_signalled(struct torrent *t, uint64_t id)
{
        struct parked *p;
        pid_t tid = 0;

        pthread_mutex_lock(&t->lock);
        HASH_FIND(hh, t->parked_by_id, &id, sizeof id, p);
        if (p) {
                tid = p->tid;
                p->poked = true;
        }
        pthread_mutex_unlock(&t->lock);
        if (p && thread_is_signalled(tid))
                torrent_interrupt(t, id);
}

/* There is one FUSE_INTERRUPT for each request: a signal that does matter later has to be looked
 * for. */
static void check_poked(struct torrent *t)
{
        enum { ROUND = 64 };
        uint64_t after = 0, ids[ROUND];
        struct parked *p;
        size_t n;

        do {
                n = 0;
                pthread_mutex_lock(&t->lock);
                DL_FOREACH (t->parked, p) {
                        if (p->poked && p->id > after && n < ROUND)
                                ids[n++] = p->id;
                }
                pthread_mutex_unlock(&t->lock);
                for (size_t i = 0; i < n; i++) {
                        after = ids[i];
                        torrent_interrupt_if_signalled(t, ids[i]);
                }
        } while (n == ROUND);
}

void torrent_piece_passed(struct torrent *t, uint32_t piece)
{
        struct parked *p, *tmp, *answer = NULL;
        struct want *want;

        pthread_mutex_lock(&t->lock);
        t->stalled_ms = 0;
        want = wants_find(&t->wants, piece);
        if (want) {
                struct parked *waiting = want->parked;

                want->parked = NULL;
                DL_FOREACH_SAFE2 (waiting, p, tmp, pnext) {
                        uint32_t missing = store_first_missing(t->content->store, p->first, p->end);
                        struct want *next =
                                missing < p->end ? wants_find(&t->wants, missing) : NULL;

                        p->since_ms = clock_ms();
                        p->waits_for = missing;
                        if (!next) {
                                p->waits_for = UINT32_MAX;
                                settle(t, p, missing < p->end ? ENOMEM : OUTCOME_DATA, &answer);
                                continue;
                        }
                        DL_APPEND2(next->parked, p, pprev, pnext);
                        if (!next->reserved)
                                settle(t, p, ENOSPC, &answer);
                }
                /* If nobody but those who waited wanted it, it went with the last of them. */
                want = wants_find(&t->wants, piece);
                if (want)
                        wants_done(&t->wants, want);
        }
        parked_unlock_and_answer(t, answer);
}

void torrent_tick(struct torrent *t, uint64_t now)
{
        struct parked *p, *tmp, *answer = NULL;
        uint32_t forgotten = UINT32_MAX;
        bool poked = false;

        pthread_mutex_lock(&t->lock);
        DL_FOREACH_SAFE (t->parked, p, tmp) {
                struct want *want = wants_find(&t->wants, p->waits_for);
                uint64_t since = p->since_ms;

                poked |= p->poked;
                if (!want)
                        continue;
                if (store_has(t->content->store, p->waits_for)) {
                        forgotten = p->waits_for; /* its passing could not be queued, or is on its
                                                     way */
                        continue;
                }
                if (want->last_block_ms > since)
                        since = want->last_block_ms;
                if (t->env->read_timeout_ms > 0 && now >= since + t->env->read_timeout_ms) {
                        t->stalled_ms = now;
                        settle(t, p, EIO, &answer);
                } else if (!want->urgent && now >= p->since_ms + OVERDUE_MS) {
                        wants_urgent(&t->wants, want, true);
                }
        }
        parked_unlock_and_answer(t, answer);
        if (forgotten != UINT32_MAX)
                torrent_piece_passed(t, forgotten);
        if (poked)
                check_poked(t);
}

void parked_release(struct torrent *t, int err, struct parked **answer)
{
        struct parked *p, *tmp;

        DL_FOREACH_SAFE (t->parked, p, tmp) {
                settle(t, p, err, answer);
        }
}

void torrent_release_reads(struct torrent *t, int err)
{
        struct parked *answer = NULL;

        pthread_mutex_lock(&t->lock);
        parked_release(t, err, &answer);
        parked_unlock_and_answer(t, answer);
}
