/* SPDX-License-Identifier: MIT */
#include "torrent/wishes.h"

#include <errno.h>

#include <utlist.h>

static int room_reserve(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        return store_reserve(t->content.store, piece);
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

void wishes_tell(struct torrent *t)
{
        if (t->bt && t->wants.n_batch > 0)
                bt_torrent_want(t->bt, t->wants.batch, t->wants.n_batch);
        t->wants.n_batch = 0;
}

static bool fill_has(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        return store_has(t->content.store, piece);
}

static int fill_want(void *arg, uint32_t piece, bool wanted)
{
        uint8_t before = wanted ? PRIORITY_NONE : PRIORITY_LEAST;
        int r = wishes_change(arg, piece, before, wanted ? PRIORITY_LEAST : PRIORITY_NONE);

        if (wanted && r == -ENOSPC) /* it would stay in the table, asked for by nobody */
                (void)wishes_change(arg, piece, PRIORITY_LEAST, PRIORITY_NONE);
        return r;
}

void wishes_fill(struct torrent *t, bool came)
{
        const struct filler_torrent of = {fill_has, fill_want, t};
        struct filler *f;

        DL_FOREACH2 (t->fillers, f, after)
                filler_run(f, came, &of);
}

bool wishes_fill_waits(const struct torrent *t)
{
        const struct filler *f;

        DL_FOREACH2 (t->fillers, f, after)
                if (f->full)
                        return true;
        return false;
}

void wishes_fill_with(struct torrent *t, struct filler *f)
{
        const struct filler_torrent of = {fill_has, fill_want, t};

        if (!f)
                return;
        DL_APPEND2(t->fillers, f, before, after);
        filler_run(f, false, &of);
}

void wishes_fill_no_more(struct torrent *t, struct filler *f)
{
        const struct filler_torrent of = {fill_has, fill_want, t};

        if (!f)
                return;
        DL_DELETE2(t->fillers, f, before, after);
        filler_stop(f, &of);
        filler_free(f);
}
