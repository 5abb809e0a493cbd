/* SPDX-License-Identifier: MIT */
/* parked_signals.c: parked reads that end as their thread is interrupted, or is gone. */
#include "torrent/linger.h"
#include "torrent/parked.h"

#include <errno.h>

#include "common/clock.h"
#include "torrent/threads.h"

/* A read that fills the page cache for a thread of which nothing can be known, and which has a
 * signal, is answered after this time: the signal may be a deadly one. */
enum { UNSEEN_MS = 1500 };

/* comes_back: the program is likely to ask for the same again at once. */
static void end_read(struct torrent *t, uint64_t id, bool comes_back)
{
        struct parked *p, *answer = NULL;

        pthread_mutex_lock(&t->lock);
        HASH_FIND(hh, t->waiting.by_id, &id, sizeof id, p);
        if (p && comes_back)
                parked_try(t, p, clock_ms(), &answer);
        else if (p)
                parked_settle(t, p, EINTR, &answer);
        parked_unlock_and_answer(t, answer);
}

void parked_interrupt(struct torrent *t, uint64_t id)
{
        end_read(t, id, false);
}

/* What is looked up in /proc, without the lock. */
struct suspect {
        uint64_t id, asked_ms;
        pid_t tid;
        bool whole, poked; /* whole: is to be looked at for that */
        bool fills;        /* the page cache */
};

static void check_suspect(struct torrent *t, const struct suspect *s)
{
        if ((s->whole && thread_is_gone(s->tid)) || (s->poked && thread_is_dying(s->tid)))
                end_read(t, s->id, false);
        else if (s->poked &&
                 (s->fills ? clock_ms() >= s->asked_ms + UNSEEN_MS && !thread_is_seen(s->tid)
                           : thread_is_signalled(s->tid)))
                end_read(t, s->id, true);
}

void parked_interrupt_if_signalled(struct torrent *t, uint32_t low)
{
        struct suspect s = {.poked = true};
        struct parked *p;
        uint64_t id;

        pthread_mutex_lock(&t->lock);
        /* The last id given that ends so. */
        id = (t->waiting.next_id - 1) - (uint32_t)((uint32_t)(t->waiting.next_id - 1) - low);
        s.id = id;
        HASH_FIND(hh, t->waiting.by_id, &id, sizeof id, p);
        if (p) {
                s.tid = p->tid;
                s.whole = s.fills = p->whole;
                s.asked_ms = p->asked_ms;
                p->poked = true;
        }
        pthread_mutex_unlock(&t->lock);
        if (p)
                check_suspect(t, &s);
}

/* There is one FUSE_INTERRUPT for each request: a signal that does matter later has to be looked
 * for. */
void parked_check_threads(struct torrent *t, bool alive)
{
        enum { ROUND = 64 };
        struct suspect list[ROUND];
        uint64_t after = 0;
        struct parked *p;
        size_t n;

        do {
                n = 0;
                pthread_mutex_lock(&t->lock);
                /* Ids rise along the list. */
                HASH_FIND(hh, t->waiting.by_id, &after, sizeof after, p);
                for (p = p ? p->next : t->waiting.list; p && n < ROUND; p = p->next)
                        if (p->request && p->id > after && (p->poked || (alive && p->whole)))
                                list[n++] = (struct suspect){p->id,    p->asked_ms,
                                                             p->tid,   p->whole && alive,
                                                             p->poked, p->whole};
                pthread_mutex_unlock(&t->lock);
                for (size_t i = 0; i < n; i++) {
                        after = list[i].id;
                        check_suspect(t, &list[i]);
                }
        } while (n == ROUND);
}
