/* SPDX-License-Identifier: MIT */
/* evict.c: makes room in the cache when it is full: the pieces go that were read longest ago, of
 * whichever torrent, by a thread of its own that is started when there is first something to do.
 *
 * The order, for each batch: first the pieces are missing, for readers and for peers alike, whose
 * requests are refused from then on (room_unset). Then the catalog says so, durably. Then they are
 * taken off the disk, and their room can be had; where the disk refuses that, what is as it was is
 * there again. So no start finds a claim to what was taken away; and should the catalog not be
 * writable the pieces go all the same, as what it claims after such an end is hashed before it is
 * used. The session learns of it at once (bt_torrent_lose); where it can't, when it has the torrent
 * anew: when one of the pieces is wanted again (renew.c), or the torrent sleeps and wakes. Who
 * wants one that goes waits until all of that is done (room_take). */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"
#include "engine/evicting.h"
#include "torrent/room.h"

/* After a run that found nothing the next comes no sooner. */
enum { IN_VAIN_MS = 200 };
/* Nor so soon where nobody waits for a piece, and some only want one ahead. */
enum { IDLE_MS = 2000 };
/* For what nobody reads what was begun is looked for no more often. */
enum { DROP_APART_MS = 5000, DROP_APART_MOST_MS = 600000 };
/* What readers have left unfinished is theirs as long as one may come back. */
enum { CLOSED_MS = 20000 };
/* What the disk has refused is tried again after so long, with one piece, which is hashed if it is
 * refused again; until then there is no room. */
enum { REFUSED_MS = 2000 };
/* A read has waited for room for so long: what others want ahead may go for it. */
enum { STARVED_MS = 1000 };
/* More of the cache than this share is not to be taken by what was begun and is not wanted. */
enum { UNFINISHED_SHARE = 8 };
/* The catalog's -wal takes no more of the bound than this. */
enum { CATALOG_SHARE = 128 };

/* ---- what goes ---- */

/* The caller waits for the content of a torrent that is asleep. */
struct waited {
        struct engine_load load;
        pthread_mutex_t lock;
        pthread_cond_t cond;
        bool done;
        int result;
};

static void on_loaded(struct engine_load *l, int r)
{
        struct waited *w = (struct waited *)l;

        pthread_mutex_lock(&w->lock);
        w->done = true;
        w->result = r;
        pthread_cond_signal(&w->cond);
        pthread_mutex_unlock(&w->lock);
}

static int load(struct engine *e, struct torrent *t)
{
        struct waited w = {.load.done = on_loaded,
                           .lock = PTHREAD_MUTEX_INITIALIZER,
                           .cond = PTHREAD_COND_INITIALIZER,
                           .result = -ENODEV};

        if (!engine_load(e, t, &w.load))
                return -ENODEV;
        pthread_mutex_lock(&w.lock);
        while (!w.done)
                pthread_cond_wait(&w.cond, &w.lock);
        pthread_mutex_unlock(&w.lock);
        return w.result;
}

static void take(struct engine *e, struct eviction *b, struct evict_list *l, uint64_t bytes,
                 enum room_use use);

/* Of a torrent that is asleep and has no content so much goes. */
static void take_asleep(struct engine *e, struct eviction *b, struct torrent *t, uint64_t bytes,
                        enum room_use use)
{
        struct evict_list l = {0};

        if (load(e, t) == 0 && evict_gather_of(&l, t) && l.n > 0 && l.pieces[0].piece != EVICT_ALL)
                take(e, b, &l, bytes, use);
        evict_list_free(&l);
}

/* What of the batch is still to go. */
static uint64_t left(const struct eviction *b, uint64_t goal)
{
        return goal > b->bytes + b->aside ? goal - b->bytes - b->aside : 0;
}

/* Takes so many bytes of what is in the list, or all that may go, no more at once than a batch, as
 * a disk may refuse to give them. Nobody who writes waits for pieces that go while a torrent's
 * content is brought. */
static void take(struct engine *e, struct eviction *b, struct evict_list *l, uint64_t bytes,
                 enum room_use use)
{
        uint64_t goal = bytes < UINT64_MAX - b->bytes ? b->bytes + bytes : UINT64_MAX;
        uint64_t most = evict_batch(e->env.reach_bytes, bytes < UINT64_MAX ? bytes : 1);
        struct evict_piece *p = l->pieces;
        size_t n = l->n;

        while (n > 0 && left(b, goal) > 0 && !b->failed && !b->refused && !e->env.stopping) {
                uint64_t rest = left(b, goal);
                size_t chosen = evict_choose(p, n, rest < most ? rest : most), end;

                for (size_t i = 0; i < chosen && left(b, goal) > 0 && !b->refused; i = end) {
                        struct torrent *t = l->owners[p[i].owner];

                        for (end = i + 1; end < chosen && p[end].owner == p[i].owner;)
                                end++;
                        if (p[i].piece != EVICT_ALL) {
                                eviction_unset(b, t, p + i, end - i, use);
                                continue;
                        }
                        eviction_finish(e, b);
                        if (left(b, goal) > 0)
                                take_asleep(e, b, t,
                                            left(b, goal) < p[i].bytes ? left(b, goal) : p[i].bytes,
                                            use);
                }
                eviction_finish(e, b);
                p += chosen;
                n -= chosen;
        }
}

/* What was begun, and that nobody wants any more, goes; where the session has the torrent that has
 * to have it anew first. Where no file is open that is all that goes for what nobody reads. */
static void drop_unfinished(struct engine *e, enum drop drop)
{
        struct torrent *t;

        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                if (room_unfinished(t) == 0)
                        continue;
                if (t->with_session == 0) {
                        room_drop_unfinished(t);
                        continue;
                }
                if (drop > t->drop_unfinished)
                        t->drop_unfinished = drop;
                if (engine_push(e, JOB_RENEW, t, NULL) < 0)
                        t->drop_unfinished = DROP_NOTHING; /* it would go some other time */
        }
}

static bool is_known(void *arg, const char *hex)
{
        struct torrent *t = registry_by_hash(((struct engine *)arg)->registry, hex);

        torrent_unref(t);
        return t;
}

/* What a damaged catalog has lost the torrents of goes first. Until then, or to the next start, it
 * stays for who adds them again. */
static uint64_t drop_strays(struct engine *e, uint64_t bytes)
{
        uint64_t gone = e->strays ? cache_discard_strays(e->cache, bytes, is_known, e) : 0;

        e->strays = e->strays && gone >= bytes;
        atomic_fetch_add(&e->evicted_bytes, gone);
        return gone;
}

/* A reference to the torrent of those in which something was begun though nobody reads it of which
 * the swarm has given nothing for longest; NULL: there is none. */
static struct torrent *driest(struct engine *e)
{
        struct torrent *t, *found = NULL;

        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                if ((found && t->last_block_ms >= found->last_block_ms) || !room_has_begun(t))
                        continue;
                torrent_unref(found);
                found = torrent_ref(t);
        }
        return found;
}

/* What nobody reads gives so many bytes up, of what was begun: else it would have them for good
 * where its swarm does not give the rest. Those are unfinished then. Returns how many. */
static uint64_t give_up_fills(struct engine *e, uint64_t bytes)
{
        uint64_t given = 0, some = 1;
        struct torrent *t;

        while (given < bytes && some > 0 && (t = driest(e))) {
                some = room_give_up(t, bytes - given);
                log_debug("%s: what nobody reads gives up %llu bytes that were begun", t->hex,
                          (unsigned long long)some);
                given += some;
                torrent_unref(t);
        }
        return given;
}

/* So much room is lacking, and so much is to be made; *went: how much was. Whether there is hope
 * for who waits for some. */
static bool make_room(struct engine *e, uint64_t lacks, uint64_t bytes, bool starved,
                      uint64_t *went)
{
        const enum room_use most = starved ? ROOM_UNAWAITED : ROOM_RESTING;
        uint64_t unfinished = 0, given = 0;
        struct evict_list l;
        struct eviction b = {0};
        struct cache_stats s;
        bool hope = false, begun = false;

        cache_stats(e->cache, &s);
        b.bytes = drop_strays(e, bytes);
        for (enum room_use use = ROOM_UNUSED;
             use <= most && b.bytes < bytes && !b.failed && !b.refused; use++) {
                bool all = evict_gather(e, &l);

                take(e, &b, &l, bytes - b.bytes, use);
                unfinished = l.unfinished;
                begun = l.begun;
                hope = !all || l.pending;
                evict_list_free(&l);
        }
        if (b.bytes == 0 && !b.refused && begun) {
                /* A read that nothing else helps does not wait until it starves. */
                if (!starved && (hope || b.busy || !e->env.short_of_room))
                        hope = true;
                else if (lacks > unfinished)
                        given = give_up_fills(e, lacks - unfinished);
                unfinished += given;
        }
        if (!b.refused && (unfinished > s.reach_bytes / UNFINISHED_SHARE ||
                           (b.bytes < bytes && unfinished > 0))) {
                drop_unfinished(e, DROP_NOW);
                hope = hope || unfinished > 0;
        }
        free(b.list);
        log_debug("The cache: %llu bytes were to go, %llu went", (unsigned long long)bytes,
                  (unsigned long long)b.bytes);
        *went = b.bytes + given;
        e->evict_vain = *went == 0;
        e->refused_ms = b.refused && b.bytes == 0 ? clock_ms() : 0;
        return b.bytes > 0 || (b.busy && !b.refused) || hope;
}

/* ---- when ---- */

void evict_begin(struct engine *e)
{
        catalog_bound(e->catalog, e->options.cache_size / CATALOG_SHARE);
        evict_sample(e);
}

static void on_short(void *arg)
{
        struct engine *e = arg;

        e->room_short = true;
        evict_ask(e);
}

/* What fillers could have if nothing were kept for readers, or a little more. What comes is not
 * vacant any more, and one of filling_bytes until that is dealt with: it would count twice, if it
 * were none of passing_bytes from before the one to after the other. They are read in this order
 * for that. */
static uint64_t vacant_beside_fills(struct engine *e)
{
        uint64_t vacant = cache_vacant(e->cache), passing = e->passing_bytes;
        uint64_t filling = e->env.filling_bytes;

        vacant += passing;
        return vacant > filling ? vacant - filling : 0;
}

/* What readers have taken of it is not kept for them any more. */
static void sink_kept(struct engine *e)
{
        uint64_t kept = e->env.kept_bytes, vacant;

        do
                vacant = vacant_beside_fills(e); /* anew: kept may be another run's by now */
        while (kept != UINT64_MAX && kept > vacant &&
               !atomic_compare_exchange_weak(&e->env.kept_bytes, &kept, vacant));
}

/* So much is to be free when the thread is done: what keeps readers from waiting, and what somebody
 * waits for. */
static uint64_t goal_of(struct engine *e)
{
        uint64_t low = e->low_bytes, awaited = e->room_awaited;

        return awaited > low ? awaited : low;
}

void evict_sample(struct engine *e)
{
        uint64_t others = catalog_room(e->catalog);
        struct cache_stats s;

        cache_set_others(e->cache, others);
        cache_sample(e->cache);
        cache_stats(e->cache, &s);
        e->env.cache_bytes = s.limit_bytes > others ? s.limit_bytes - others : 1;
        e->env.reach_bytes = s.reach_bytes > 0 ? s.reach_bytes : 1;
        e->low_bytes = evict_low(s.reach_bytes);
        e->env.spare_bytes = goal_of(e);
        cache_on_short(e->cache, e->low_bytes, on_short, e);
        sink_kept(e);
}

/* What is lacking when those that fetch what nobody reads have given back what they have not begun.
 * readers becomes true if somebody else waits for what has its room. */
static uint64_t lacks_after_fills(struct engine *e, bool *readers)
{
        uint64_t goal = goal_of(e), lacks = cache_lacks(e->cache, goal);
        struct torrent *t;

        for (uint32_t n = 0; lacks > 0 && (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                *readers |= room_yield(t, cache_is_sparse(e->cache) ? lacks : 0);
                lacks = cache_lacks(e->cache, goal);
        }
        return lacks;
}

/* What goes does so for those who read, or for what others have on the disk: those that fetch what
 * nobody reads have the room of none of it, and no more than what is vacant besides. */
static void make_room_for_readers(struct engine *e, uint64_t lacks, uint64_t bytes, bool starved)
{
        uint64_t kept = atomic_exchange(&e->env.kept_bytes, UINT64_MAX), went, vacant,
                 before = vacant_beside_fills(e);

        e->room_hope = make_room(e, lacks, bytes, starved, &went);
        evict_sample(e);
        vacant = vacant_beside_fills(e);
        /* What else became vacant meanwhile is for all. */
        if (!e->evict_vain)
                kept = vacant < before + went ? vacant : before + went;
        e->env.kept_bytes = kept;
}

/* What readers have left unfinished goes for what nobody reads, if that is still to be. */
static void drop_for_fills(struct engine *e)
{
        if (atomic_exchange(&e->drop_due, false) && e->env.open_files == 0 &&
            cache_is_sparse(e->cache))
                drop_unfinished(e, DROP_WHILE_CLOSED);
}

static void run(struct chore *c)
{
        struct engine *e = (struct engine *)((char *)c - offsetof(struct engine, evict));
        uint64_t since = e->starved_since_ms;
        bool starved = since > 0 && clock_ms() >= since + STARVED_MS;
        bool rests = e->refused_ms > 0 && clock_ms() < e->refused_ms + REFUSED_MS, one;
        bool readers = atomic_exchange(&e->room_short, false) || e->room_awaited > 0 || starved;
        struct cache_stats s;
        uint64_t lacks, exceeds;
        bool is_short;

        evict_sample(e);
        cache_stats(e->cache, &s);
        one = s.unsure || e->refused_ms > 0;
        lacks = lacks_after_fills(e, &readers);
        is_short = lacks > 0;
        /* Nothing goes for what is begun and nobody reads: where the disk has no room for it, it is
         * not written. */
        exceeds = cache_exceeds(e->cache);
        if (!readers && exceeds < lacks)
                lacks = exceeds;
        e->evict_vain = rests || (is_short && lacks == 0);
        if (lacks == 0 && !rests)
                drop_for_fills(e);
        if (!is_short)
                e->refused_ms = 0;
        if (lacks > 0 && !e->env.stopping) {
                uint64_t bytes = one ? 1 : evict_batch(s.reach_bytes, lacks);

                if (!rests)
                        make_room_for_readers(e, lacks, bytes, starved);
                if (!e->room_hope) {
                        if (!e->hopeless_told)
                                log_info(
                                        "The cache has no room, and nothing that could go: reads of what is missing fail until there is some (--cache-size, --min-free, pins)");
                        e->room_hopeless = e->hopeless_told = true;
                }
        } else if (!is_short) {
                e->hopeless_told = false;
        }
        e->room_made = true;
        e->evicting = false;
        engine_wake(e);
}

void evict_ask(struct engine *e)
{
        if (!atomic_exchange(&e->room_asked, true))
                engine_wake(e);
}

void evict_make_room(struct torrent *t, bool blocked)
{
        struct engine *e = engine_of(t);
        uint64_t bytes = room_of_piece(t->summary.piece_length), most = e->room_awaited;

        while (bytes > most && !atomic_compare_exchange_weak(&e->room_awaited, &most, bytes))
                ;
        if (blocked)
                e->env.short_of_room = true;
        evict_ask(e);
}

/* Who waits has what there is. */
static void give_room(struct engine *e, uint64_t now)
{
        bool hopeless = atomic_exchange(&e->room_hopeless, false), awaited = false;
        struct torrent *t;

        e->room_awaited = 0;
        DL_FOREACH2 (e->busy, t, busy_next)
                if (room_take(t)) {
                        awaited = true;
                        if (hopeless)
                                room_refuse(t);
                }
        e->env.short_of_room = awaited && !hopeless;
        if (!awaited)
                e->starved_since_ms = 0;
        else if (e->starved_since_ms == 0)
                e->starved_since_ms = now;
        /* Each try looks at all there is. */
        e->next_evict_ms = e->evict_vain || awaited ? now + IN_VAIN_MS : now;
        e->next_spare_ms = e->evict_vain && !awaited ? now + IDLE_MS : e->next_evict_ms;
}

void evict_look(struct engine *e, uint64_t now)
{
        if (atomic_exchange(&e->room_made, false))
                give_room(e, now);
        /* Who has begun to wait meanwhile is told soon whether there will be room. */
        if (!e->room_asked || e->evicting ||
            now < (e->env.short_of_room ? e->next_evict_ms : e->next_spare_ms))
                return;
        if (!e->evictor && chores_new("evictor", &e->evictor) < 0) {
                e->next_evict_ms = e->next_spare_ms = now + IN_VAIN_MS; /* no room for a thread */
                return;
        }
        e->room_asked = false;
        e->evicting = true;
        e->evict.run = run;
        if (!chores_push(e->evictor, &e->evict))
                e->evicting = false;
}

/* What is left to readers is as much as the longest piece of those that are there takes. Where one
 * with longer ones gets its content meanwhile it is looked for again. */
static void count_pieces(struct engine *e)
{
        uint64_t before = e->env.piece_bytes, longest = 0;
        struct summary known;
        struct torrent *t;

        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                torrent_get_summary(t, &known);
                longest = known.piece_length > longest ? known.piece_length : longest;
        }
        e->longest_gone = !atomic_compare_exchange_strong(&e->env.piece_bytes, &before, longest);
}

void evict_tick(struct engine *e)
{
        uint64_t now = clock_ms();

        if (e->longest_gone)
                count_pieces(e);
        if (cache_lacks(e->cache, 0) > 0)
                evict_ask(e); /* somebody else fills the disk, or the bound was lowered */
        if (e->env.open_files > 0) {
                e->opened_ms = now;
                e->drop_due = false; /* they are who may want it */
        }
        if (e->drop_due)
                evict_ask(e); /* the last run had to make room first */
        if (now < e->next_drop_ms || now < e->opened_ms + CLOSED_MS)
                return;
        /* Where that does not help, or is refused, it is tried less and less often. */
        if (!atomic_exchange(&e->env.fill_lacks, false) || e->drop_apart_ms == 0) {
                e->drop_apart_ms = DROP_APART_MS;
                e->next_drop_ms = now + DROP_APART_MS;
                return;
        }
        e->drop_due = true;
        e->next_drop_ms = now + e->drop_apart_ms;
        e->drop_apart_ms *= 2;
        if (e->drop_apart_ms > DROP_APART_MOST_MS)
                e->drop_apart_ms = DROP_APART_MOST_MS;
        evict_ask(e);
}

/* ---- what is asked from outside ---- */

void engine_set_cache_size(struct engine *e, uint64_t bytes)
{
        uint64_t kept = e->env.kept_bytes;

        cache_set_limit(e->cache, bytes);
        e->env.cache_bytes = bytes; /* less what the catalog takes, in a moment */
        while (kept != UINT64_MAX && !atomic_compare_exchange_weak(&e->env.kept_bytes, &kept, 0))
                ; /* who makes room right now sets it */
        catalog_bound(e->catalog, bytes / CATALOG_SHARE);
        evict_ask(e);
}

/* Whether what is loaded is so by the thread that also runs what the caller asks for: it would wait
 * for itself. */
static bool loads_here(struct engine *e)
{
        bool here;

        pthread_mutex_lock(&e->lock);
        here = e->library && !e->own_library;
        pthread_mutex_unlock(&e->lock);
        return here;
}

int engine_evict(struct engine *e, struct torrent *t, uint64_t *ret)
{
        struct evict_list l = {0};
        struct eviction b = {0};
        struct listing *listing = torrent_listing(t);
        int r = 0;

        if (!listing && torrent_has_metadata(t))
                r = loads_here(e) ? -EAGAIN : load(e, t);
        listing_unref(listing);
        if (r == 0 && !cache_is_sparse(e->cache))
                r = -EOPNOTSUPP;
        if (r == 0)
                r = evict_gather_of(&l, t) ? 0 : -ENOMEM;
        if (r == 0)
                take(e, &b, &l, UINT64_MAX, ROOM_UNUSED);
        evict_list_free(&l);
        free(b.list);
        *ret = b.bytes;
        if (r == 0) { /* who wanted what was going waits for that */
                e->room_made = true;
                engine_wake(e);
        }
        return r;
}

size_t engine_victims(struct engine *e, struct engine_victim *out, size_t max)
{
        struct evict_list l;
        struct cache_stats s;
        size_t n = 0, chosen;

        cache_stats(e->cache, &s);
        (void)evict_gather(e, &l);
        chosen = evict_choose(l.pieces, l.n, evict_batch(s.reach_bytes, 0));
        for (size_t i = 0; i < chosen; i++) {
                const struct evict_piece *p = &l.pieces[i];
                struct torrent *t = l.owners[p->owner];
                time_t used = evict_time(p->used);

                if (n == 0 || out[n - 1].torrent != t) {
                        if (n == max)
                                break;
                        out[n++] =
                                (struct engine_victim){.torrent = torrent_ref(t), .used_at = used};
                }
                out[n - 1].bytes += p->bytes;
                if (used < out[n - 1].used_at)
                        out[n - 1].used_at = used;
        }
        evict_list_free(&l);
        return n;
}
