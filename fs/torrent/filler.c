/* SPDX-License-Identifier: MIT */
#include "torrent/filler.h"

#include <stdlib.h>
#include <string.h>

/* So much is wanted at a time: what many fast peers send while the next pieces are looked for, and
 * enough pieces for the session to choose the rarest among them. */
enum { AHEAD_BYTES = 64 << 20, AHEAD_PIECES_MIN = 64, AHEAD_PIECES_MAX = 1024 };
/* After so great a part of them has come it looks for the next. */
enum { AHEAD_PARTS = 8 };

struct filler *filler_new(struct filler_range *ranges, size_t n, uint32_t piece_length)
{
        struct filler *f = calloc(1, sizeof *f);
        unsigned most = AHEAD_BYTES / piece_length;

        if (most < AHEAD_PIECES_MIN)
                most = AHEAD_PIECES_MIN;
        if (most > AHEAD_PIECES_MAX)
                most = AHEAD_PIECES_MAX;
        if (f)
                f->wished = calloc(most, sizeof *f->wished);
        if (!f || !f->wished) {
                free(f);
                free(ranges);
                return NULL;
        }
        f->ranges = ranges;
        f->n = n;
        f->next = ranges[0].first;
        f->most = most;
        return f;
}

void filler_free(struct filler *f)
{
        if (!f)
                return;
        free(f->ranges);
        free(f->wished);
        free(f);
}

static void forget_those_that_came(struct filler *f, const struct filler_torrent *t)
{
        unsigned kept = 0;

        for (unsigned i = 0; i < f->n_wished; i++) {
                if (t->has(t->arg, f->wished[i]))
                        (void)t->want(t->arg, f->wished[i], false);
                else
                        f->wished[kept++] = f->wished[i];
        }
        f->n_wished = kept;
}

void filler_run(struct filler *f, bool came, const struct filler_torrent *t)
{
        f->passed += came;
        if (came && !f->full && f->n_wished > 0 && f->passed < 1 + f->most / AHEAD_PARTS)
                return;
        f->passed = 0;
        f->full = false;
        forget_those_that_came(f, t);
        while (f->n_wished < f->most && f->at < f->n) {
                uint32_t piece = f->next;

                if (piece == f->ranges[f->at].end) {
                        f->at++;
                        f->next = f->at < f->n ? f->ranges[f->at].first : 0;
                        continue;
                }
                if (!t->has(t->arg, piece) && !filler_wished(f, piece)) {
                        if (t->want(t->arg, piece, true) < 0) {
                                f->full = true;
                                return;
                        }
                        f->wished[f->n_wished++] = piece;
                }
                f->next++;
        }
}

void filler_rewind(struct filler *f)
{
        f->at = 0;
        f->next = f->ranges[0].first;
}

/* Takes a wish back, and asks again when there is room. Whether nobody wants the piece any more. */
static bool give_back(struct filler *f, unsigned i, const struct filler_torrent *t)
{
        bool given = t->want(t->arg, f->wished[i], false) == 0;

        memmove(&f->wished[i], &f->wished[i + 1], (--f->n_wished - i) * sizeof *f->wished);
        filler_rewind(f);
        f->full = true;
        return given;
}

unsigned filler_yield(struct filler *f, unsigned n, const struct filler_torrent *t)
{
        unsigned given = 0;

        for (unsigned i = f->n_wished; i-- > 0 && given < n;) {
                if (t->has(t->arg, f->wished[i]) || !t->may_yield(t->arg, f->wished[i]))
                        continue;
                given += give_back(f, i, t);
        }
        return given;
}

void filler_let_go(struct filler *f, uint32_t piece, const struct filler_torrent *t)
{
        for (unsigned i = f->n_wished; i-- > 0;)
                if (f->wished[i] == piece)
                        (void)give_back(f, i, t);
}

void filler_rest(struct filler *f, const struct filler_torrent *t)
{
        filler_stop(f, t);
        filler_rewind(f);
        f->full = true;
}

bool filler_wished(const struct filler *f, uint32_t piece)
{
        for (unsigned i = 0; i < f->n_wished; i++)
                if (f->wished[i] == piece)
                        return true;
        return false;
}

bool filler_is_done(const struct filler *f, const struct filler_torrent *t)
{
        if (f->at < f->n)
                return false;
        for (unsigned i = 0; i < f->n_wished; i++)
                if (!t->has(t->arg, f->wished[i]))
                        return false;
        return true;
}

void filler_stop(struct filler *f, const struct filler_torrent *t)
{
        while (f->n_wished > 0)
                (void)t->want(t->arg, f->wished[--f->n_wished], false);
}
