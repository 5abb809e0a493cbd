/* SPDX-License-Identifier: MIT */
#include "torrent/turns.h"

#include <stddef.h>

#include <utlist.h>

void turns_leave(struct turns *ts, struct turn *t)
{
        switch (t->place) {
        case TURN_NONE:
                break;
        case TURN_WAITS:
                DL_DELETE(ts->waiting, t); /* NOLINT(*NullDereference) */
                ts->n_waiting--;
                break;
        case TURN_URGENT:
                DL_DELETE(ts->urgent, t); /* NOLINT(*NullDereference): it is in */
                ts->n_urgent--;
                break;
        case TURN_SEATED:
                ts->n_seated--;
                break;
        case TURN_RESTS:
                DL_DELETE(ts->resting, t); /* NOLINT(*NullDereference) */
                break;
        }
        t->place = TURN_NONE;
        t->prev = t->next = NULL;
}

void turns_queue(struct turns *ts, struct turn *t, bool urgent)
{
        turns_leave(ts, t);
        if (urgent) {
                DL_APPEND(ts->urgent,
                          t); /* NOLINT(*NullDereference): the first's prev is the last */
                ts->n_urgent++;
                t->place = TURN_URGENT;
        } else {
                DL_APPEND(ts->waiting, t); /* NOLINT(*NullDereference) */
                ts->n_waiting++;
                t->place = TURN_WAITS;
        }
}

void turns_hurry(struct turns *ts, struct turn *t)
{
        if (t->place == TURN_WAITS || t->place == TURN_RESTS)
                turns_queue(ts, t, true);
}

void turns_seat(struct turns *ts, struct turn *t)
{
        turns_leave(ts, t);
        ts->n_seated++;
        t->place = TURN_SEATED;
}

void turns_rest(struct turns *ts, struct turn *t, uint64_t until_ms)
{
        turns_leave(ts, t);
        DL_APPEND(ts->resting, t); /* NOLINT(*NullDereference) */
        t->until_ms = until_ms;
        t->place = TURN_RESTS;
}

struct turn *turns_next(struct turns *ts)
{
        struct turn *t = NULL;

        if (ts->urgent && ts->n_seated < ts->seats + ts->more_seats)
                t = ts->urgent;
        else if (ts->waiting && ts->n_seated < ts->seats)
                t = ts->waiting;
        if (t)
                turns_seat(ts, t);
        return t;
}

struct turn *turns_rested(struct turns *ts, uint64_t now_ms)
{
        struct turn *t = ts->resting;

        if (!t || now_ms < t->until_ms)
                return NULL;
        turns_leave(ts, t);
        return t;
}

unsigned turns_missing(const struct turns *ts)
{
        unsigned wanted = ts->n_waiting + ts->n_urgent;
        unsigned left = ts->n_seated < ts->seats ? ts->seats - ts->n_seated : 0;

        return wanted > left ? wanted - left : 0;
}
