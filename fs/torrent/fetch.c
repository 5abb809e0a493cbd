/* SPDX-License-Identifier: MIT */
#include "torrent/fetch.h"

#include <limits.h>

#include "torrent/life.h"

/* Each time that nobody had it the rest is twice as long, up to so many doublings. */
enum { REST_DOUBLINGS = 4 };
/* Where others wait for their turn, one that has found no peer at all in so long gives it to them.
 */
enum { TURN_MS = 10000 };
/* Less than this at a time is no progress. */
enum { PROGRESS_BYTES = 1024 };
/* So long after the last of it came it starves. */
enum { STARVING_MS = 2000 };

static void count(unsigned *n)
{
        if (*n < UINT_MAX)
                ++*n;
}

/* How many rests it takes after it failed so often: 1, 2, 4 … */
static unsigned rests_after(unsigned failures)
{
        unsigned doublings = failures > 0 ? failures - 1 : 0;

        return 1u << (doublings < REST_DOUBLINGS ? doublings : REST_DOUBLINGS);
}

void fetch_queue(struct fetch *f)
{
        f->phase = FETCH_WAITS;
        f->tries = 0;
}

void fetch_start(struct fetch *f, uint64_t now)
{
        f->phase = FETCH_TRIES;
        f->since_ms = now;
        count(&f->tries);
}

void fetch_start_anew(struct fetch *f, uint64_t now)
{
        f->tries = 0;
        fetch_start(f, now);
}

void fetch_joined(struct fetch *f)
{
        f->kib = 0;
}

void fetch_found(struct fetch *f)
{
        f->failures = 0;
}

void fetch_failed(struct fetch *f, bool for_good, uint64_t now)
{
        count(&f->failures);
        f->phase = for_good ? FETCH_REFUSED : FETCH_FAILED;
        f->due_ms = now + (uint64_t)FETCH_REST_MS * rests_after(f->failures);
}

bool fetch_rested(struct fetch *f)
{
        if (f->rests > 1) {
                f->rests--;
                return false;
        }
        f->rests = 0;
        fetch_queue(f);
        return true;
}

static bool arrives(struct fetch *f, uint64_t bytes, uint64_t now)
{
        uint64_t kib = bytes / PROGRESS_BYTES;

        if (kib <= f->kib)
                return false;
        f->kib = kib;
        f->arrived_ms = now;
        return true;
}

static enum fetch_action tick_failed(struct fetch *f, const struct fetch_view *view, bool more,
                                     uint64_t now)
{
        if (f->phase == FETCH_FAILED && more) {
                fetch_start_anew(f, now);
                return FETCH_FORGIVE;
        }
        if (view->crowded) {
                f->rests = rests_after(f->failures);
                return f->phase == FETCH_FAILED ? FETCH_REST : FETCH_LEAVE;
        }
        if (f->phase == FETCH_FAILED && view->kept && now >= f->due_ms) {
                fetch_start_anew(f, now);
                return FETCH_TRY_ANEW;
        }
        return FETCH_NOTHING;
}

static enum fetch_action tick_trying(struct fetch *f, const struct fetch_rules *rules,
                                     const struct fetch_view *view, uint64_t now)
{
        uint64_t timeout_ms = rules->timeout_ms;

        if (view->crowded && view->known_peers == 0 && timeout_ms > TURN_MS)
                timeout_ms = TURN_MS;
        if (life_elapsed(f->since_ms, now) < timeout_ms)
                return FETCH_NOTHING;
        if (f->tries > rules->retries)
                return FETCH_GIVE_UP;
        if (view->crowded) {
                f->phase = FETCH_WAITS;
                return FETCH_TO_THE_END;
        }
        f->phase = FETCH_PAUSES;
        f->due_ms = now + rules->pause_ms;
        return FETCH_NOTHING;
}

enum fetch_action fetch_tick(struct fetch *f, const struct fetch_rules *rules,
                             const struct fetch_view *view, uint64_t now)
{
        bool more;

        if (f->looked_at)
                return FETCH_NOTHING;
        more = arrives(f, view->bytes, now);
        switch (f->phase) {
        case FETCH_WAITS:
                break;
        case FETCH_TRIES:
        case FETCH_PAUSES:
                if (more) {
                        /* A slow peer is no dead one. */
                        f->phase = FETCH_TRIES;
                        f->since_ms = now;
                        break;
                }
                if (f->phase == FETCH_TRIES)
                        return tick_trying(f, rules, view, now);
                if (now < f->due_ms)
                        break;
                fetch_start(f, now);
                return FETCH_TRY;
        case FETCH_FAILED:
        case FETCH_REFUSED:
                return tick_failed(f, view, more, now);
        }
        return FETCH_NOTHING;
}

bool fetch_starves(const struct fetch *f, uint64_t now)
{
        return f->phase != FETCH_FAILED && f->phase != FETCH_REFUSED &&
               (f->arrived_ms == 0 || life_elapsed(f->arrived_ms, now) >= STARVING_MS);
}
