/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent/room.h"

#include <errno.h>
#include <stdlib.h>

#include <utlist.h>

#include "common/clock.h"
#include "torrent/filling.h"
#include "torrent/parked.h"
#include "torrent/wishes.h"

/* A reader that has not had an answer for so long rests: what it wanted ahead may go when others
 * wait for room. */
enum { RESTING_MS = 5000 };

/* ---- what may go ---- */

static bool is_resting(const struct handle *h, uint64_t now)
{
        uint64_t last = h->read_ms > h->answered_ms ? h->read_ms : h->answered_ms;

        return !h->parked && now >= last + RESTING_MS;
}

/* Whether a reader has the piece in its window. Of a file that is complete there is no plan, as
 * nothing of it is to be fetched. */
static bool is_ahead(const struct handle *h, uint32_t piece)
{
        uint64_t at = h->read_at, rest = h->layout.size > at ? h->layout.size - at : 0, most;
        uint32_t first, end;

        if (plan_priority(&h->reader.plan, piece) != PRIORITY_NONE)
                return true;
        if (!h->complete || h->read_ms == 0 || rest == 0)
                return false;
        most = handle_window_max(h);
        layout_pieces(&h->layout, at, most < rest ? most : rest, &first, &end);
        return piece >= first && piece < end;
}

/* Whether somebody reads the piece or is about to. Under t->lock. */
static bool is_in_use(struct torrent *t, uint32_t piece, enum room_use use)
{
        const struct want *want = wants_find(&t->wants, piece);
        const struct filler *f;
        const struct handle *h;
        const struct parked *p;
        uint64_t now = clock_ms();

        /* What is there is in the table until its passing was dealt with. */
        if (want)
                return true;
        DL_FOREACH (t->waiting.list, p)
                if (piece >= p->first && piece < p->end)
                        return true;
        DL_FOREACH2 (t->fillers, f, after)
                if (filler_wished(f, piece))
                        return true;
        if (use == ROOM_UNAWAITED)
                return false;
        DL_FOREACH (t->open, h)
                if (is_ahead(h, piece) && (use == ROOM_UNUSED || !is_resting(h, now)))
                        return true;
        return false;
}

static int may_go(struct torrent *t, uint32_t piece, enum room_use use)
{
        if (pins_has(t, piece))
                return -EPERM;
        return is_in_use(t, piece, use) ? -EBUSY : 0;
}

static bool is_stale(const struct torrent *t, uint32_t piece)
{
        return t->stale && t->stale[piece / 64] >> (piece % 64) & 1;
}

struct store *room_begin(struct torrent *t)
{
        struct store *store = NULL;

        pthread_mutex_lock(&t->lock);
        if (t->content.store && t->state != TORRENT_GONE) {
                store = store_ref(t->content.store);
                t->evicting++;
        }
        pthread_mutex_unlock(&t->lock);
        return store;
}

void room_end(struct torrent *t)
{
        pthread_mutex_lock(&t->lock);
        t->evicting--;
        pthread_mutex_unlock(&t->lock);
}

int room_unset(struct torrent *t, struct store *store, uint32_t piece, enum room_use use)
{
        int r = -ENOENT;

        /* Under the lock, so that nobody comes to need it between the look and its going. */
        pthread_mutex_lock(&t->lock);
        if (t->content.store == store && t->state != TORRENT_GONE)
                r = may_go(t, piece, use);
        if (r == 0 && !t->stale) {
                t->stale = calloc(t->summary.pieces / 64 + 1, sizeof *t->stale);
                r = t->stale ? 0 : -ENOMEM;
        }
        if (r == 0)
                r = store_unset(t->content.store, piece);
        if (r == 0) {
                /* Who is about to enter the session tells it of the piece, perhaps. */
                if (!t->bt || bt_torrent_lose(t->bt, piece) < 0)
                        t->stale[piece / 64] |= 1ull << (piece % 64);
                filling_lost(t);
        }
        pthread_mutex_unlock(&t->lock);
        return r;
}

void room_kept(struct torrent *t, uint32_t piece)
{
        pthread_mutex_lock(&t->lock);
        if (t->stale && t->content.store && !store_has(t->content.store, piece)) {
                t->stale[piece / 64] |= 1ull << (piece % 64);
                if (wants_find(&t->wants, piece))
                        room_want(t, piece);
        }
        pthread_mutex_unlock(&t->lock);
}

int room_unclaim(struct torrent *t, uint32_t piece)
{
        struct store *store = NULL;
        int r = -ENOENT;

        pthread_mutex_lock(&t->lock);
        if (t->content.store && t->state != TORRENT_GONE)
                r = may_go(t, piece, ROOM_UNUSED);
        if (r == 0)
                store = store_ref(t->content.store);
        pthread_mutex_unlock(&t->lock);
        if (r == 0)
                r = store_judge(store, piece, false);
        if (r == 0)
                torrent_claim_failed(t, piece);
        store_unref(store);
        return r;
}

/* ---- what was begun and is not wanted any more ---- */

/* The next one from there on; UINT32_MAX: none. Under t->lock. */
static uint32_t next_unfinished(struct torrent *t, uint32_t piece)
{
        struct store *store = t->content.store;

        while ((piece = store_next_unfinished(store, piece)) != UINT32_MAX &&
               wants_find(&t->wants, piece))
                piece++;
        return piece;
}

uint64_t room_unfinished(struct torrent *t)
{
        uint64_t sum = 0;

        pthread_mutex_lock(&t->lock);
        if (t->content.store && t->state != TORRENT_GONE)
                for (uint32_t p = 0; (p = next_unfinished(t, p)) != UINT32_MAX; p++)
                        sum += t->summary.piece_length;
        pthread_mutex_unlock(&t->lock);
        return sum;
}

void room_drop_unfinished(struct torrent *t)
{
        uint32_t piece = 0;

        for (;; piece++) {
                struct store *store = NULL;

                /* From under the lock on who writes to it waits until it is off the disk. */
                pthread_mutex_lock(&t->lock);
                if (t->content.store && t->state != TORRENT_GONE && !t->bt && t->with_session == 0)
                        piece = next_unfinished(t, piece);
                else
                        piece = UINT32_MAX;
                if (piece != UINT32_MAX && store_unset_unfinished(t->content.store, piece) == 0)
                        store = store_ref(t->content.store);
                pthread_mutex_unlock(&t->lock);
                if (piece == UINT32_MAX)
                        return;
                if (store)
                        (void)store_punch(store, piece);
                store_unref(store);
        }
}

/* ---- who waits for room ---- */

static bool is_pending(const struct torrent *t)
{
        const struct want *want, *tmp;

        HASH_ITER (hh, t->wants.table, want, tmp) {
                if (want->filled < want->total && want->reserved &&
                    !store_has(t->content.store, want->piece))
                        return true;
        }
        return false;
}

bool room_yield(struct torrent *t, uint64_t bytes)
{
        bool others = false;

        pthread_mutex_lock(&t->lock);
        if (t->content.store && t->state != TORRENT_GONE) {
                if (t->fillers && bytes > 0) {
                        filling_yield(t, bytes);
                        wishes_tell(t);
                }
                others = is_pending(t);
        }
        pthread_mutex_unlock(&t->lock);
        return others;
}

bool room_has_begun(struct torrent *t)
{
        bool has;

        pthread_mutex_lock(&t->lock);
        has = t->content.store && t->state != TORRENT_GONE && filling_has_begun(t);
        pthread_mutex_unlock(&t->lock);
        return has;
}

uint64_t room_give_up(struct torrent *t, uint64_t bytes)
{
        uint64_t given = 0;

        pthread_mutex_lock(&t->lock);
        if (t->content.store && t->state != TORRENT_GONE) {
                given = filling_give_up(t, bytes);
                wishes_tell(t);
        }
        pthread_mutex_unlock(&t->lock);
        return given;
}

/* Those that a read waits for, or the others. */
static void take_for(struct torrent *t, bool blocked)
{
        struct want *want, *tmp;

        HASH_ITER (hh, t->wants.table, want, tmp) {
                if ((wants_priority(want) == PRIORITY_BLOCKED) != blocked ||
                    !parked_lacks_room(t, want))
                        continue;
                wishes_reserve(t, want);
                if (!want->reserved)
                        t->waiting.lacks_room = true;
                else if (want->parked)
                        want->waited_ms = want->bounded_ms = clock_ms(); /* its time begins now */
        }
}

bool room_is_pending(struct torrent *t)
{
        bool pending;

        pthread_mutex_lock(&t->lock);
        pending = t->content.store && t->state != TORRENT_GONE && is_pending(t);
        pthread_mutex_unlock(&t->lock);
        return pending;
}

bool room_take(struct torrent *t)
{
        struct parked *answer = NULL;
        bool awaited = false;

        pthread_mutex_lock(&t->lock);
        if (t->waiting.lacks_room && t->content.store && t->state != TORRENT_GONE) {
                t->waiting.lacks_room = false;
                take_for(t, true);
                awaited = t->waiting.lacks_room;
                take_for(t, false);
                parked_room_came(t, &answer);
        }
        parked_unlock_and_answer(t, answer);
        return awaited;
}

void room_refuse(struct torrent *t)
{
        struct parked *p, *tmp, *answer = NULL;

        pthread_mutex_lock(&t->lock);
        if (t->content.store)
                DL_FOREACH_SAFE (t->waiting.list, p, tmp) {
                        const struct want *want = wants_find(&t->wants, p->waits_for);

                        if (want && parked_lacks_room(t, want) &&
                            !store_goes(t->content.store, want->piece))
                                parked_settle(t, p, ENOSPC, &answer);
                }
        parked_unlock_and_answer(t, answer);
}

/* ---- what the session counts as there ---- */

void room_want(struct torrent *t, uint32_t piece)
{
        if (!is_stale(t, piece) || !t->bt || t->renewing || !t->env->renew)
                return;
        t->renewing = true;
        t->env->renew(t);
}

void room_look(struct torrent *t)
{
        struct want *want, *tmp;

        if (!t->stale)
                return;
        HASH_ITER (hh, t->wants.table, want, tmp) {
                room_want(t, want->piece);
        }
}

uint8_t *room_have(struct torrent *t)
{
        uint8_t *have = NULL;
        size_t len;

        pthread_mutex_lock(&t->lock);
        free(t->stale);
        t->stale = NULL;
        t->renewing = false;
        /* Without memory they are fetched again. */
        if (t->content.store && store_have_bytes(t->content.store) > 0)
                (void)store_bitmap(t->content.store, &have, &len);
        pthread_mutex_unlock(&t->lock);
        return have;
}
