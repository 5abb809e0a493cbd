/* SPDX-License-Identifier: MIT */
#include "torrent/wishes.h"

#include <errno.h>

#include "common/clock.h"
#include "torrent/room.h"

/* -EINPROGRESS: it is there, or may be, or waits for its room. */
static int room_reserve(void *arg, uint32_t piece)
{
        struct torrent *t = arg;
        struct store *store = t->content.store;
        const struct want *want;
        bool blocked;
        int r;

        /* It has just turned out to be there: that is dealt with in a moment. */
        if (store_has(store, piece))
                return -EINPROGRESS;
        if (store_is_suspect(store, piece)) {
                if (t->env->check)
                        t->env->check(t);
                return -EINPROGRESS;
        }
        if (!t->env->make_room)
                return store_reserve(store, piece);
        /* It may be there again in a moment: the session is not told of it before. Who has it go
         * has room_take called then. */
        if (store_goes(store, piece)) {
                t->waiting.lacks_room = true;
                return -EINPROGRESS;
        }
        want = wants_find(&t->wants, piece);
        blocked = want && wants_priority(want) == PRIORITY_BLOCKED;
        r = t->env->short_of_room && !blocked ? -ENOSPC : store_reserve(store, piece);
        if (r != -ENOSPC || !store_fits(store, piece))
                return r;
        t->waiting.lacks_room = true;
        t->env->make_room(t, blocked);
        return -EINPROGRESS;
}

/* Whether there is room for what nobody reads: nothing goes for it, some room is left for those who
 * read, and what went for them is not for it, also when they have not taken it, or give it back. */
static bool has_spare(struct torrent *t, uint32_t piece)
{
        uint64_t kept = t->env->kept_bytes, filling = t->env->filling_bytes, now = clock_ms();
        const struct fill_pause *pause = &t->env->fill_pause;

        if (t->env->short_of_room || kept == UINT64_MAX || store_goes(t->content.store, piece))
                return false;
        if (fill_pause_rests(pause, now) || (t->n_filling > 0 && fill_pause_tries(pause, now)))
                return false;
        if (store_has_room(t->content.store, piece, t->env->spare_bytes, kept + filling))
                return true;
        t->env->fill_lacks = true;
        return false;
}

static int spare_reserve(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        if (t->env->make_room && !store_has(t->content.store, piece) &&
            !store_is_suspect(t->content.store, piece) && !has_spare(t, piece))
                return -ENOSPC;
        return room_reserve(arg, piece);
}

static void room_release(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        store_release(t->content.store, piece);
}

static int change(struct torrent *t, uint32_t piece, uint8_t before, uint8_t after,
                  const struct wants_room *room)
{
        /* A piece that is there has no entry, or has one until its passing is dealt with; while it
         * has, wishes are counted: each one is taken back some time. */
        if (after != PRIORITY_NONE && store_has(t->content.store, piece) &&
            !wants_find(&t->wants, piece))
                return 0;
        if (after != PRIORITY_NONE)
                room_want(t, piece);
        return wants_change(&t->wants, piece, before, after, room);
}

int wishes_change(struct torrent *t, uint32_t piece, uint8_t before, uint8_t after)
{
        const struct wants_room room = {room_reserve, room_release, t};

        return change(t, piece, before, after, &room);
}

static int begin_to_fill(struct torrent *t, uint32_t piece)
{
        const struct wants_room room = {spare_reserve, room_release, t};
        int r = change(t, piece, PRIORITY_NONE, PRIORITY_LEAST, &room);
        struct want *want;

        if (r < 0) { /* it would stay in the table, asked for by nobody */
                (void)change(t, piece, PRIORITY_LEAST, PRIORITY_NONE, &room);
                return r;
        }
        want = wants_find(&t->wants, piece);
        if (want && want->filled++ == 0) {
                t->n_filling++;
                t->env->filling_bytes += t->summary.piece_length;
        }
        return 0;
}

/* No filler asks for the piece any more. */
static void end_to_fill(struct torrent *t)
{
        t->n_filling--;
        t->env->filling_bytes -= t->summary.piece_length;
}

int wishes_fill(struct torrent *t, uint32_t piece, bool wanted)
{
        struct want *want;

        if (wanted)
                return t->state == TORRENT_ASLEEP ? -EAGAIN : begin_to_fill(t, piece);
        if (store_has(t->content.store, piece))
                fill_pause_end(&t->env->fill_pause, clock_ms());
        want = wants_find(&t->wants, piece);
        if (want && want->filled > 0) { /* else it went with the entry, and this is another's */
                if (--want->filled == 0)
                        end_to_fill(t);
                (void)wishes_change(t, piece, PRIORITY_LEAST, PRIORITY_NONE);
        }
        return wants_find(&t->wants, piece) ? 1 : 0;
}

void wishes_done(struct torrent *t, struct want *want)
{
        if (want->filled > 0)
                end_to_fill(t);
        wants_done(&t->wants, want);
}

void wishes_reserve(struct torrent *t, struct want *want)
{
        bool filled = want->total > 0 && want->filled == want->total;
        const struct wants_room room = {filled ? spare_reserve : room_reserve, room_release, t};

        wants_reserve(&t->wants, want, &room);
}

void wishes_reserve_again(struct torrent *t, struct want *want)
{
        const struct wants_room room = {room_reserve, room_release, t};

        wants_reserve(&t->wants, want, &room);
}

/* Whether something is to be asked for that was not, and that others than fillers want. */
static bool asks(const struct wants *w)
{
        for (size_t i = 0; i < w->n_batch; i++) {
                const struct want *want = w->batch[i].priority != BT_PRIORITY_NONE
                                                  ? wants_find(w, w->batch[i].piece)
                                                  : NULL;

                if (want && want->filled < want->total)
                        return true;
        }
        return false;
}

void wishes_tell(struct torrent *t)
{
        if (t->bt) {
                if (t->wants.n_batch > 0)
                        bt_torrent_want(t->bt, t->wants.batch, t->wants.n_batch);
                t->wants.n_batch = 0;
                return;
        }
        if (t->state == TORRENT_ASLEEP && !t->waking && t->env->wake && asks(&t->wants)) {
                t->waking = true;
                t->env->wake(t);
        }
        wants_untold(&t->wants);
}
