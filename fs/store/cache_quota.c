/* SPDX-License-Identifier: MIT */
/* cache_quota.c: what the stores may take where a quota leaves less than the disk has. It shows
 * itself by writes that fail, and in no other way: statvfs(3) knows nothing of it. */
#include "store/cache_private.h"

#include <errno.h>

#include "common/clock.h"

/* When a quota is met: for so long this part of what is there is not taken again. */
enum { LEARNED_MS = 60000, LEARNED_PART = 8 };
/* Readers may try again then; those that fetch what nobody reads, for which nothing is to go, hold
 * on to what was met for so long. */
enum { MET_MS = 3600000 };

uint64_t cache_learned(const struct cache *c)
{
        return c->learned_until_ms > 0 && clock_ms() < c->learned_until_ms ? c->learned_bytes
                                                                           : UINT64_MAX;
}

uint64_t cache_met(const struct cache *c, uint64_t there)
{
        return clock_ms() < c->met_until_ms && there <= c->met_bytes ? c->met_bytes : UINT64_MAX;
}

bool cache_refused(struct cache *c)
{
        uint64_t now = clock_ms(), there, least;
        bool taken;

        pthread_mutex_lock(&c->lock);
        taken = now >= c->learn_from_ms;
        if (taken) {
                there = c->reserved_bytes > c->pending_bytes ? c->reserved_bytes - c->pending_bytes
                                                             : 0;
                least = there - there / LEARNED_PART;
                if (cache_learned(c) == UINT64_MAX)
                        c->unsure = true;
                c->learned_bytes = least < cache_learned(c) ? least : cache_learned(c);
                c->learned_until_ms = now + LEARNED_MS;
                c->met_bytes = c->reserved_bytes; /* part of what is pending is there, too */
                c->met_until_ms = now + MET_MS;
        }
        pthread_mutex_unlock(&c->lock);
        return taken;
}

void cache_punched(struct cache *c, int r)
{
        pthread_mutex_lock(&c->lock);
        if (r == 0) {
                c->unsure = false;
        } else if (r == -EDQUOT) {
                c->learned_until_ms = 0;
                c->learn_from_ms = clock_ms() + LEARNED_MS;
        }
        pthread_mutex_unlock(&c->lock);
}
