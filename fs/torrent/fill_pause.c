/* SPDX-License-Identifier: MIT */
#include "torrent/fill_pause.h"

#include <errno.h>

enum { PAUSE_MS = 5000, PAUSE_MOST_MS = 60000, DOUBLINGS_MAX = 4 };
/* After a pause, unless it is known sooner. */
enum { TRIES_MS = 60000 };
/* Who waits for so long is said to. Of those for whom there is room now and then that is not said
 * more often. */
enum { WAITS_MS = 10000, TOLD_APART_MS = 60000 };

bool fill_pause_is_for_all(int err)
{
        return err == ENOSPC || err == EDQUOT || err == EROFS;
}

void fill_pause_begin(struct fill_pause *p, uint64_t now)
{
        uint64_t until = p->until_ms, pause = PAUSE_MS;
        unsigned n;

        /* What was on its way when it began is refused, too, and by several threads. */
        if (now < until ||
            !atomic_compare_exchange_strong(&p->until_ms, &until, now + PAUSE_MOST_MS))
                return;
        n = atomic_fetch_add(&p->refusals, 1);
        pause <<= n < DOUBLINGS_MAX ? n : DOUBLINGS_MAX;
        p->until_ms = now + (pause < PAUSE_MOST_MS ? pause : PAUSE_MOST_MS);
}

void fill_pause_end(struct fill_pause *p, uint64_t now)
{
        uint64_t until = p->until_ms;
        unsigned n = p->refusals;

        /* Another that begins meanwhile is not ended. */
        if (now >= until && n > 0 && atomic_compare_exchange_strong(&p->until_ms, &until, 0))
                (void)atomic_compare_exchange_strong(&p->refusals, &n, 0);
}

bool fill_pause_rests(const struct fill_pause *p, uint64_t now)
{
        return now < p->until_ms;
}

bool fill_pause_tries(const struct fill_pause *p, uint64_t now)
{
        return p->refusals > 0 && now < p->until_ms + TRIES_MS;
}

enum fill_news fill_told_tick(struct fill_told *told, bool waits, bool refused, uint64_t now)
{
        if (!waits) {
                bool goes_on = told->waits;

                told->waits = false;
                told->waits_ms = 0;
                return goes_on ? FILL_GOES_ON : FILL_NO_NEWS;
        }
        if (told->waits_ms == 0)
                told->waits_ms = now;
        if (told->waits || (!refused && now < told->waits_ms + WAITS_MS) ||
            (told->waited_ms > 0 && now < told->waited_ms + TOLD_APART_MS))
                return FILL_NO_NEWS;
        told->waits = true;
        told->waited_ms = now;
        return refused ? FILL_REFUSED : FILL_WAITS;
}
