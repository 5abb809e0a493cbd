/* SPDX-License-Identifier: MIT */
#include "torrent/crowd.h"

/* A mapping that has no page asks for it, after what is read ahead of it, two or three times more;
 * with MADV_RANDOM two times in all (measured). The last error is its SIGBUS. The kernel hands the
 * page to it each time, hardly ever to who hangs, who so goes on with that last one. It is to come
 * before two seconds of hanging are over, and not long before: what the mapping waits for may come
 * until then. With looks 200 ms apart the last is the second or third from this time on. */
enum { HANG_MS = 1400 };

uint64_t crowd_look_ms(const struct crowd *c)
{
        return c->last_ms > c->alone_ms ? c->last_ms : c->alone_ms;
}

void crowd_looked(struct crowd *c, bool hangs, uint64_t earliest_ms, uint64_t now_ms)
{
        if (!hangs) {
                *c = (struct crowd){.alone_ms = now_ms};
                return;
        }
        if (c->last_ms == 0 || now_ms >= c->last_ms + CROWDED_MS) {
                c->since_ms = earliest_ms > c->alone_ms ? earliest_ms : c->alone_ms;
                c->seen_ms = now_ms;
        }
        c->last_ms = now_ms;
}

bool crowd_ends(const struct crowd *c, bool one_page, uint64_t asked_ms, uint64_t now_ms)
{
        if (c->last_ms == 0)
                return false;
        /* What comes back is not read ahead any more, whatever its size. */
        return now_ms >= c->since_ms + HANG_MS || (!one_page && asked_ms < c->seen_ms);
}
