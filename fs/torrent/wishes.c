/* SPDX-License-Identifier: MIT */
#include "torrent/wishes.h"

#include <errno.h>

static int room_reserve(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        /* It has just turned out to be there: that is dealt with in a moment. */
        if (store_has(t->content.store, piece))
                return -EINPROGRESS;
        if (!store_is_suspect(t->content.store, piece))
                return store_reserve(t->content.store, piece);
        if (t->env->check)
                t->env->check(t);
        return -EINPROGRESS;
}

static void room_release(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        store_release(t->content.store, piece);
}

int wishes_change(struct torrent *t, uint32_t piece, uint8_t before, uint8_t after)
{
        const struct wants_room room = {room_reserve, room_release, t};

        /* A piece that is there has no entry, or has one until its passing is dealt with; while it
         * has, wishes are counted: each one is taken back some time. */
        if (after != PRIORITY_NONE && store_has(t->content.store, piece) &&
            !wants_find(&t->wants, piece))
                return 0;
        return wants_change(&t->wants, piece, before, after, &room);
}

void wishes_reserve(struct torrent *t, struct want *want)
{
        const struct wants_room room = {room_reserve, room_release, t};

        wants_reserve(&t->wants, want, &room);
}

/* Whether something is to be asked for that was not. */
static bool asks(const struct wants *w)
{
        for (size_t i = 0; i < w->n_batch; i++)
                if (w->batch[i].priority != BT_PRIORITY_NONE)
                        return true;
        return false;
}

void wishes_tell(struct torrent *t)
{
        if (t->bt && t->wants.n_batch > 0) {
                bt_torrent_want(t->bt, t->wants.batch, t->wants.n_batch);
        } else if (t->state == TORRENT_ASLEEP && !t->waking && t->env->wake && asks(&t->wants)) {
                t->waking = true;
                t->env->wake(t);
        }
        t->wants.n_batch = 0;
}
