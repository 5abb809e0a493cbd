/* SPDX-License-Identifier: MIT */
#include "torrent/dial.h"

#include "torrent/life.h"

enum { PAUSE_MS = 1000, PAUSE_DOUBLINGS = 4 };
enum { NEEDY_MS = 2000 };
enum { SECOND_TRY_MS = 3000, SECOND_TRY_REST_MS = 30000 };

void redial_begin(struct redial *r, uint64_t now)
{
        *r = (struct redial){.wanted = true, .due_ms = now + PAUSE_MS};
}

void redial_at_once(struct redial *r, uint64_t now)
{
        *r = (struct redial){.wanted = true, .due_ms = now};
}

void redial_end(struct redial *r)
{
        *r = (struct redial){0};
}

void redial_need(struct redial *r, bool needed, uint64_t now)
{
        if (!needed)
                redial_end(r);
        else if (!r->wanted)
                redial_begin(r, now);
}

bool redial_due(struct redial *r, uint64_t now)
{
        if (!r->wanted || now < r->due_ms)
                return false;
        if (r->doublings < PAUSE_DOUBLINGS)
                r->doublings++;
        r->due_ms = now + ((uint64_t)PAUSE_MS << r->doublings);
        return true;
}

bool needy_tick(struct needy *n, bool is, uint64_t now)
{
        if (is && !n->is)
                n->since_ms = now;
        n->is = is;
        return is && life_elapsed(n->since_ms, now) >= NEEDY_MS;
}

bool second_try_join(struct second_try *s, struct needy *n, uint64_t now)
{
        if (s->tries == 0 || life_elapsed(s->since_ms, now) >= SECOND_TRY_REST_MS) {
                s->tries++;
                s->since_ms = now;
        }
        if (n->tries == s->tries || !second_try_is_on(s, now))
                return false;
        n->tries = s->tries;
        return true;
}

bool second_try_is_on(const struct second_try *s, uint64_t now)
{
        return s->tries > 0 && life_elapsed(s->since_ms, now) < SECOND_TRY_MS;
}
