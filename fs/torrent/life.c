/* SPDX-License-Identifier: MIT */
#include "torrent/life.h"

/* A torrent whose metadata nobody had stays so long, for its error to be read. */
enum { FAILED_LINGER_MS = 3000 };
/* The helper may take so long to remove a directory. */
enum { HELPER_LATE_MS = 10000 };
/* A torrent whose directory the helper can't remove for so many times goes without it. */
enum { ASK_TRIES = 3 };

void life_begin_asleep(struct life *l)
{
        l->state = LIFE_ASLEEP;
}

void life_begin_anew(struct life *l)
{
        if (l->state != LIFE_GONE)
                *l = (struct life){.state = LIFE_PENDING};
}

void life_put_to_sleep(struct life *l)
{
        if (l->state == LIFE_AWAKE)
                l->state = LIFE_ASLEEP;
}

enum life_action life_event(struct life *l, enum life_event event)
{
        switch (event) {
        case LIFE_METADATA:
                if (l->state == LIFE_PENDING)
                        l->state = LIFE_AWAKE;
                break;
        case LIFE_READ:
                if (l->state == LIFE_ASLEEP) {
                        l->state = LIFE_AWAKE;
                        return LIFE_WAKE;
                }
                break;
        case LIFE_REMOVED:
                l->state = LIFE_GONE;
                break;
        }
        return LIFE_NOTHING;
}

bool life_is_idle(const struct life_rules *rules, const struct life_use *use, uint64_t now)
{
        uint64_t idle_ms = rules->idle_ms;

        if (use->handles > 0 || use->fetching)
                return false;
        if (use->failed && idle_ms > FAILED_LINGER_MS)
                idle_ms = FAILED_LINGER_MS;
        return life_elapsed(use->last_used_ms, now) >= idle_ms;
}

enum life_action life_tick(struct life *l, const struct life_rules *rules,
                           const struct life_use *use, bool helper, uint64_t now)
{
        if (l->state == LIFE_GONE)
                return LIFE_NOTHING;
        if (use->kept || !life_is_idle(rules, use, now))
                l->tries = 0;
        if (!life_is_idle(rules, use, now))
                return LIFE_NOTHING;
        if (use->kept) {
                if (use->stays || l->state != LIFE_AWAKE)
                        return LIFE_NOTHING;
                l->state = LIFE_ASLEEP;
                return LIFE_SLEEP;
        }
        if (l->asked && life_elapsed(l->asked_ms, now) < HELPER_LATE_MS)
                return LIFE_NOTHING;
        if (!helper || l->tries >= ASK_TRIES)
                return LIFE_DROP;
        l->asked = true;
        l->asked_ms = now;
        return LIFE_ASK;
}

void life_asked(struct life *l, bool told)
{
        l->asked = told;
        if (told)
                l->tries++;
}

void life_answered(struct life *l)
{
        l->asked = false;
}

bool life_waits(const struct life *l, const struct life_use *use)
{
        if (l->state == LIFE_GONE)
                return false;
        if (use->kept)
                return l->asked || l->state == LIFE_AWAKE;
        return l->asked || !use->fetching;
}
