/* SPDX-License-Identifier: MIT */
#include "torrent/returning.h"

#include <stdlib.h>

#include <utlist.h>

#include "torrent/wishes.h"

/* A player asks again when its buffer has room, which may take a few seconds. */
enum { KEEP_MS = 5000 };
/* What is wanted comes meanwhile, perhaps in vain: so only of a reader that came back before. */
enum { WANT_MS = 2000 };
/* The one that left first goes first: a library's scan opens many files. */
enum { RETURNING_MAX = 8 };

struct returning {
        struct layout layout; /* which file */
        struct reader reader;
        uint64_t left_ms;
        struct returning *prev, *next;
};

static void want_nothing(struct torrent *t, struct reader *r)
{
        const struct plan nothing = {0};

        wishes_plan(t, &r->plan, &nothing);
        r->plan = nothing;
}

static void drop(struct torrent *t, struct returning *one)
{
        want_nothing(t, &one->reader);
        DL_DELETE(t->returning, one);
        t->n_returning--;
        free(one);
}

void returning_leave(struct torrent *t, const struct layout *l, struct reader *r, uint64_t now_ms)
{
        struct returning *one = r->places > 0 ? malloc(sizeof *one) : NULL;

        if (!one || !r->returned)
                want_nothing(t, r);
        if (!one)
                return;
        if (t->n_returning == RETURNING_MAX)
                drop(t, t->returning);
        *one = (struct returning){.layout = *l, .reader = *r, .left_ms = now_ms};
        DL_APPEND(t->returning, one);
        t->n_returning++;
}

bool returning_take(struct torrent *t, const struct layout *l, uint64_t off, uint64_t now_ms,
                    struct reader *r, uint64_t *gone_ms)
{
        struct returning *one, *best = NULL;
        uint64_t best_distance = UINT64_MAX;
        bool further = false;

        DL_FOREACH (t->returning, one) {
                const struct place *p = NULL;
                uint64_t distance;

                if (one->layout.offset == l->offset && one->layout.size == l->size)
                        p = reader_goes_on(&one->reader, off);
                if (!p)
                        continue;
                distance = off > p->position ? off - p->position : p->position - off;
                if (distance > best_distance)
                        continue;
                best = one; /* of several the one that left last */
                best_distance = distance;
                further = off >= p->position;
        }
        if (!best)
                return false;
        *r = best->reader;
        /* Who reads the same once more is a scan, and won't read on. */
        r->returned |= further;
        *gone_ms = now_ms - best->left_ms;
        DL_DELETE(t->returning, best);
        t->n_returning--;
        free(best);
        return true;
}

void returning_expire(struct torrent *t, uint64_t now_ms)
{
        struct returning *one, *tmp;

        DL_FOREACH_SAFE (t->returning, one, tmp) {
                uint64_t gone = now_ms - one->left_ms;

                if (now_ms == UINT64_MAX || gone >= KEEP_MS)
                        drop(t, one);
                else if (gone >= WANT_MS)
                        want_nothing(t, &one->reader);
        }
}
