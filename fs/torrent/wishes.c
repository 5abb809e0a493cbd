/* SPDX-License-Identifier: MIT */
#include "torrent/wishes.h"

#include <errno.h>

#include "common/clock.h"
#include "torrent/room.h"

/* What is there, or may be, needs no room: -EINPROGRESS. Else 0. */
static int look(struct torrent *t, uint32_t piece)
{
        /* It has just turned out to be there: that is dealt with in a moment. */
        if (store_has(t->content.store, piece))
                return -EINPROGRESS;
        if (!store_is_suspect(t->content.store, piece))
                return 0;
        if (t->env->check)
                t->env->check(t);
        return -EINPROGRESS;
}

/* -EINPROGRESS: it is there, or may be, or waits for its room. */
static int room_reserve(void *arg, uint32_t piece)
{
        struct torrent *t = arg;
        struct store *store = t->content.store;
        const struct want *want;
        bool blocked;
        int r = look(t, piece);

        if (r < 0)
                return r;
        if (!t->env->make_room)
                return store_reserve(store, piece);
        /* It may be there again in a moment: the session is not told of it before. Who has it go
         * has room_take called then. */
        if (store_goes(store, piece)) {
                t->waiting.lacks_room = true;
                return -EINPROGRESS;
        }
        /* What it has is its own, whoever waits for some. */
        if (store_is_reserved(store, piece))
                return store_reserve(store, piece);
        want = wants_find(&t->wants, piece);
        blocked = want && wants_priority(want) == PRIORITY_BLOCKED;
        r = t->env->short_of_room && !blocked ? -ENOSPC : store_reserve(store, piece);
        if (r != -ENOSPC || !store_fits(store, piece))
                return r;
        t->waiting.lacks_room = true;
        t->env->make_room(t, blocked);
        return -EINPROGRESS;
}

/* What is left to readers: two pieces of any torrent, as one reader has at a time, but no more than
 * half of what there is; or more, where that is lacking. */
static uint64_t least_left_to_readers(const struct torrent_env *env)
{
        uint64_t two = 2 * room_of_piece(env->piece_bytes), half = env->reach_bytes / 2;

        return two < half ? two : half;
}

static uint64_t left_to_readers(const struct torrent_env *env)
{
        uint64_t least = least_left_to_readers(env), spare = env->spare_bytes;

        return least > spare ? least : spare;
}

bool wishes_may_fill(const struct torrent *t)
{
        uint64_t reach = t->env->reach_bytes, piece = room_of_piece(t->summary.piece_length);

        return t->fill_pause.refusals == 0 &&
               (reach == 0 || piece + least_left_to_readers(t->env) <= reach);
}

static bool must_rest(const struct torrent *t, const struct fill_pause *pause, uint64_t now)
{
        return fill_pause_rests(pause, now) || (t->n_filling > 0 && fill_pause_tries(pause, now));
}

/* Room for what nobody reads: nothing goes for it, some room is left for those who read, and what
 * went for them is not for it, also when they have not taken it, or give it back. The piece is one
 * of filling_bytes, or of asking_bytes, before: of two that ask at once one sees the other. */
static int take_spare(struct torrent *t, uint32_t piece)
{
        struct torrent_env *env = t->env;
        /* In this order: what has got its room is one of filling_bytes before it is none of
         * asking_bytes any more. */
        uint64_t asking = env->asking_bytes, filling = env->filling_bytes, kept = env->kept_bytes;
        uint64_t others = asking + filling - t->summary.piece_length, now = clock_ms();
        int r;

        if (env->short_of_room || kept == UINT64_MAX || store_goes(t->content.store, piece))
                return -ENOSPC;
        if (must_rest(t, &env->fill_pause, now) || must_rest(t, &t->fill_pause, now))
                return -ENOSPC;
        r = store_reserve_spare(t->content.store, piece, left_to_readers(env), kept + others);
        if (r == -ENOSPC)
                env->fill_lacks = true;
        return r;
}

static int spare_reserve(void *arg, uint32_t piece)
{
        struct torrent *t = arg;
        int r = look(t, piece);

        if (r < 0)
                return r;
        return t->env->make_room ? take_spare(t, piece) : store_reserve(t->content.store, piece);
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

/* What fillers ask for counts while it has its room, until its coming is dealt with: of what is
 * vacant that is theirs. */
static void count_fill(struct torrent *t, struct want *want)
{
        bool counts = want->filled > 0 && want->reserved;

        if (counts == want->counted)
                return;
        want->counted = counts;
        if (counts)
                t->env->filling_bytes += t->summary.piece_length;
        else
                t->env->filling_bytes -= t->summary.piece_length;
}

static uint32_t others_than_fillers(const struct want *want)
{
        return want ? want->total - want->filled : 0;
}

/* The last of those has left a piece to its fillers: the room that was made for them is not theirs,
 * unless something of it was written, which they go on with. */
static void leave_to_fillers(struct torrent *t, struct want *want)
{
        const struct wants_room room = {room_reserve, room_release, t};

        if (!t->env->make_room || !want->reserved || store_has(t->content.store, want->piece) ||
            store_is_unfinished(t->content.store, want->piece) || take_spare(t, want->piece) == 0)
                return;
        wants_release(&t->wants, want, &room);
        count_fill(t, want);
        t->waiting.lacks_room = true;
}

int wishes_change(struct torrent *t, uint32_t piece, uint8_t before, uint8_t after)
{
        const struct wants_room room = {room_reserve, room_release, t};
        uint32_t others = others_than_fillers(wants_find(&t->wants, piece));
        int r = change(t, piece, before, after, &room);
        struct want *want = wants_find(&t->wants, piece);

        if (!want || want->filled == 0)
                return r;
        count_fill(t, want);
        if (others > 0 && others_than_fillers(want) == 0)
                leave_to_fillers(t, want);
        return r;
}

static void plan_changed(void *arg, uint32_t piece, uint8_t before, uint8_t after)
{
        /* No room for a piece of the window is no failure: the read that needs it will hear of it.
         */
        (void)wishes_change(arg, piece, before, after);
}

void wishes_plan(struct torrent *t, const struct plan *before, const struct plan *after)
{
        plan_diff(before, after, plan_changed, t);
}

static int begin_to_fill(struct torrent *t, uint32_t piece)
{
        const struct wants_room room = {spare_reserve, room_release, t};
        uint64_t bytes = t->summary.piece_length;
        struct want *want;
        int r;

        t->env->asking_bytes += bytes;
        r = change(t, piece, PRIORITY_NONE, PRIORITY_LEAST, &room);
        if (r < 0) /* it would stay in the table, asked for by nobody */
                (void)change(t, piece, PRIORITY_LEAST, PRIORITY_NONE, &room);
        want = r == 0 ? wants_find(&t->wants, piece) : NULL;
        if (want) {
                if (want->filled++ == 0)
                        t->n_filling++;
                count_fill(t, want);
        }
        t->env->asking_bytes -= bytes;
        return r;
}

int wishes_fill(struct torrent *t, uint32_t piece, bool wanted)
{
        const struct wants_room room = {room_reserve, room_release, t};
        struct want *want;

        if (wanted)
                return t->state == TORRENT_ASLEEP ? -EAGAIN : begin_to_fill(t, piece);
        if (store_has(t->content.store, piece)) {
                fill_pause_end(&t->env->fill_pause, clock_ms());
                fill_pause_end(&t->fill_pause, clock_ms());
        }
        want = wants_find(&t->wants, piece);
        if (want && want->filled > 0) { /* else it went with the entry, and this is another's */
                if (--want->filled == 0)
                        t->n_filling--;
                count_fill(t, want);
                (void)change(t, piece, PRIORITY_LEAST, PRIORITY_NONE, &room);
        }
        return wants_find(&t->wants, piece) ? 1 : 0;
}

void wishes_done(struct torrent *t, struct want *want)
{
        if (want->filled > 0) {
                t->n_filling--;
                want->filled = 0;
                count_fill(t, want);
        }
        wants_done(&t->wants, want);
}

void wishes_reserve(struct torrent *t, struct want *want)
{
        bool filled = want->total > 0 && want->filled == want->total;
        const struct wants_room room = {filled ? spare_reserve : room_reserve, room_release, t};

        if (filled)
                t->env->asking_bytes += t->summary.piece_length;
        wants_reserve(&t->wants, want, &room);
        count_fill(t, want);
        if (filled)
                t->env->asking_bytes -= t->summary.piece_length;
}

void wishes_reserve_again(struct torrent *t, struct want *want)
{
        const struct wants_room room = {room_reserve, room_release, t};

        wants_reserve(&t->wants, want, &room);
        count_fill(t, want);
}

void wishes_retell(struct torrent *t)
{
        struct want *want, *tmp;

        HASH_ITER (hh, t->wants.table, want, tmp) {
                want->there = t->content.store && store_has(t->content.store, want->piece);
        }
        wants_retell(&t->wants);
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
