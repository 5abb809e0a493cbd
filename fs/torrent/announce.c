/* SPDX-License-Identifier: MIT */
#include "torrent/announce.h"

#include <errno.h>

#include "torrent/life.h"

/* So often the helper is asked for one name. */
enum { TRIES_MAX = 20 };
/* The helper answers within a moment. Should an answer get lost, it is asked again: until it has
 * answered the helper, and it alone, does not find the torrent by its name. */
enum { ANSWER_MS = 30000 };

void announce_want(struct announce *a)
{
        a->state = ANNOUNCE_WANTED;
        a->tries = 0;
}

void announce_drop(struct announce *a)
{
        a->state = ANNOUNCE_NONE;
}

void announce_asked(struct announce *a, bool told, uint64_t now)
{
        a->state = told ? ANNOUNCE_SENT : ANNOUNCE_WANTED;
        if (!told)
                return;
        a->sent_ms = now;
        a->tries++;
        a->unanswered++;
}

enum announce_action announce_answered(struct announce *a, int err)
{
        if (a->unanswered > 0)
                a->unanswered--;
        if (a->unanswered > 0 || a->state != ANNOUNCE_SENT)
                return ANNOUNCE_NOTHING;
        if (err == EEXIST && a->tries < TRIES_MAX) {
                a->state = ANNOUNCE_WANTED;
                return ANNOUNCE_ASK;
        }
        a->state = ANNOUNCE_NONE;
        return err == 0 ? ANNOUNCE_NOTHING : ANNOUNCE_FAILED;
}

void announce_unanswered(struct announce *a)
{
        a->unanswered = 0;
        if (a->state == ANNOUNCE_SENT)
                a->state = ANNOUNCE_WANTED;
}

enum announce_action announce_tick(struct announce *a, uint64_t now)
{
        if (a->state == ANNOUNCE_SENT && life_elapsed(a->sent_ms, now) >= ANSWER_MS) {
                a->unanswered = 0;
                a->state = a->tries < TRIES_MAX ? ANNOUNCE_WANTED : ANNOUNCE_NONE;
        }
        return a->state == ANNOUNCE_WANTED ? ANNOUNCE_ASK : ANNOUNCE_NOTHING;
}
