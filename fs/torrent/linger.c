/* SPDX-License-Identifier: MIT */
#include "torrent/linger.h"

#include <errno.h>

#include "common/clock.h"
#include "torrent/wishes.h"

static struct lingering *find(struct torrent *t, uint32_t piece)
{
        for (unsigned i = 0; i < t->waiting.n_lingering; i++)
                if (t->waiting.lingering[i].piece == piece)
                        return &t->waiting.lingering[i];
        return NULL;
}

/* When there are too many at once the piece just loses its rank until the read is back. */
static void linger(struct torrent *t, uint32_t piece, bool refused)
{
        struct lingering *l = find(t, piece);

        if (!l) {
                if (t->waiting.n_lingering == LINGER_MAX ||
                    wishes_change(t, piece, PRIORITY_NONE, PRIORITY_BLOCKED) == -ENOMEM)
                        return;
                l = &t->waiting.lingering[t->waiting.n_lingering++];
                l->piece = piece;
                l->refused = false;
        }
        l->refused |= refused;
        l->until_ms = clock_ms() + LINGER_MS;
}

void linger_read(struct torrent *t, const struct parked *p)
{
        if (p->outcome == 0) /* else it waits for nothing but to be armed */
                linger(t, p->waits_for, false);
}

void linger_refused(struct torrent *t, uint32_t piece)
{
        linger(t, piece, true);
}

static void end(struct torrent *t, struct lingering *l)
{
        uint32_t piece = l->piece;
        struct want *want;

        *l = t->waiting.lingering[--t->waiting.n_lingering];
        (void)wishes_change(t, piece, PRIORITY_BLOCKED, PRIORITY_NONE);
        want = wants_find(&t->wants, piece);
        if (want)
                parked_calm(t, want);
}

void linger_closed(struct torrent *t)
{
        for (unsigned i = t->waiting.n_lingering; i-- > 0;)
                if (!t->waiting.lingering[i].refused)
                        end(t, &t->waiting.lingering[i]);
}

void linger_end(struct torrent *t)
{
        while (t->waiting.n_lingering > 0)
                end(t, &t->waiting.lingering[0]);
}

void linger_tick(struct torrent *t, uint64_t now)
{
        for (unsigned i = t->waiting.n_lingering; i-- > 0;)
                if (now >= t->waiting.lingering[i].until_ms)
                        end(t, &t->waiting.lingering[i]);
}

bool linger_has(struct torrent *t, uint32_t piece)
{
        return find(t, piece) != NULL;
}

void linger_passed(struct torrent *t, uint32_t piece)
{
        struct lingering *l = find(t, piece);

        if (l)
                end(t, l);
}
