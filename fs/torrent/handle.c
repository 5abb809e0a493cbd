/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent/handle.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "common/clock.h"
#include "torrent/filling.h"
#include "torrent/linger.h"
#include "torrent/parked.h"
#include "torrent/returning.h"
#include "torrent/threads.h"
#include "torrent/wishes.h"

/* After a time-out reads fail at once for so long, or until a block arrives: a scanner must not
 * wait anew for each read. */
enum { STALL_MS = 10000 };
/* Of the room that pieces take, the file system's map is that share at most, and so much. No more:
 * a cache that could just do is not to be refused. (evict.c adds more, as it is to free enough.) */
enum { MAP_SHARE = 256, MAP_BYTES = 16384 };
/* What read_missing gives besides what handle_read does. */
enum { READ_AGAIN = 2 };

/* Those that play are counted, and what they take; under t->lock. */
static void count(struct handle *h)
{
        h->torrent->playing_short += h->shortage == SHORTAGE_PLAYS;
        h->torrent->young_short += h->shortage == SHORTAGE_YOUNG;
        if (!h->reader.playing)
                return;
        h->torrent->playing++;
        h->torrent->play_rate += h->reader.rate;
        atomic_fetch_add(&h->torrent->env->playing, 1);
}

static void uncount(struct handle *h)
{
        h->torrent->playing_short -= h->shortage == SHORTAGE_PLAYS;
        h->torrent->young_short -= h->shortage == SHORTAGE_YOUNG;
        if (!h->reader.playing)
                return;
        h->torrent->playing--;
        h->torrent->play_rate -= h->reader.rate;
        atomic_fetch_sub(&h->torrent->env->playing, 1);
}

/* Where the file of that node lies. -ENOENT: there is none; -EAGAIN: its torrent has no content at
 * present. */
static int find_file(struct torrent *t, const struct listing *l, uint32_t node, struct layout *ret)
{
        const struct tree_node *n = l ? tree_node(l->tree, node) : NULL;

        if (!l && torrent_has_metadata(t))
                return -EAGAIN;
        if (!n)
                return -ENOENT;
        *ret = (struct layout){n->offset, n->size, l->piece_length};
        return 0;
}

static bool has_all(const struct handle *h)
{
        uint32_t first, end;

        if (h->layout.size == 0)
                return true;
        layout_pieces(&h->layout, 0, h->layout.size, &first, &end);
        return store_first_missing(h->store, first, end) == end;
}

/* Whether the cache can hold what a reader needs at a time, two pieces, or has all of the file. */
static bool fits(const struct torrent *t, const struct handle *h)
{
        uint64_t bound = t->env->cache_bytes, needs = 2ull * h->layout.piece_length;

        if (needs > h->layout.size + h->layout.piece_length)
                needs = h->layout.size + h->layout.piece_length;
        /* And what the file system takes to find them. */
        needs += needs / MAP_SHARE + MAP_BYTES;
        return bound == 0 || bound >= needs || has_all(h);
}

int handle_open(struct torrent *t, uint32_t node, uint64_t inode, pid_t tid, struct handle **ret)
{
        struct listing *listing = torrent_listing(t);
        struct handle *h = calloc(1, sizeof *h);
        int r = h ? find_file(t, listing, node, &h->layout) : -ENOMEM;

        listing_unref(listing);
        if (r == 0) {
                h->store = torrent_store(t);
                r = h->store ? 0 : -EAGAIN;
        }
        if (r == 0 && !fits(t, h)) {
                torrent_problem(t, "the cache can't hold two of its pieces: see --cache-size");
                r = -ENOSPC;
        }
        if (r == 0) {
                h->node = node;
                h->inode = inode;
                h->opened_ms = clock_ms();
                h->complete = has_all(h);
                if (!h->complete) {
                        h->process = thread_process(tid);
                        h->hidden = h->process == 0;
                }
                /* Its content may have gone meanwhile; with an open file it does not. */
                pthread_mutex_lock(&t->lock);
                if (t->content.store == h->store)
                        DL_APPEND(t->open, h);
                else
                        r = -EAGAIN;
                pthread_mutex_unlock(&t->lock);
        }
        if (r < 0) {
                if (h)
                        store_unref(h->store);
                free(h);
                return r;
        }
        h->torrent = torrent_ref(t);
        atomic_fetch_add(&t->handles, 1);
        atomic_store(&t->opened, true);
        atomic_fetch_add(&t->env->open_files, 1);
        torrent_stir(t);
        *ret = h;
        return 0;
}

void handle_close(struct handle *h)
{
        struct torrent *t = h->torrent;
        struct parked *watch;
        void *poll_handle;

        pthread_mutex_lock(&t->lock);
        watch = h->watch;
        if (watch)
                parked_remove(t, watch);
        poll_handle = h->poll_handle;
        uncount(h);
        if (h->followed)
                h->reader.places = 0; /* it reads on as the other one */
        returning_leave(t, &h->layout, &h->reader, clock_ms());
        DL_DELETE(t->open, h);
        if (!t->open)
                linger_closed(t);
        wishes_tell(t);
        pthread_mutex_unlock(&t->lock);

        if (poll_handle)
                t->env->reply.poll_drop(poll_handle);
        free(watch);
        store_unref(h->store);
        free(h);
        atomic_store(&t->last_used_ms, clock_ms());
        atomic_fetch_sub(&t->handles, 1);
        atomic_fetch_sub(&t->env->open_files, 1);
        torrent_unref(t);
}

bool handle_is_complete(const struct handle *h)
{
        return h->complete;
}

struct torrent *handle_torrent(struct handle *h)
{
        return h->torrent;
}

int handle_fetch(struct handle *h, uint64_t off, void *data, size_t len)
{
        int r = len > 0 ? store_read(h->store, h->layout.offset + off, data, len) : 0;

        if (r == -EAGAIN)
                atomic_store(&h->complete, false);
        return r;
}

/* A first read that goes on where another handle is: as its reader, without what it wants. The
 * kernel tells of a close after it, and a server may close its file when the client has its answer
 * already and asks for what comes next: to the player both are one handle that reads on. */
static bool follow(struct handle *h, uint64_t off, uint64_t now_ms, uint64_t *rested_ms)
{
        struct handle *other, *best = NULL;
        uint64_t best_ahead = UINT64_MAX;

        DL_FOREACH (h->torrent->open, other) {
                const struct place *p = other->layout.offset == h->layout.offset && !other->parked
                                                ? reader_goes_on(&other->reader, off)
                                                : NULL;
                if (!p || off < p->position || off - p->position >= best_ahead)
                        continue;
                best = other;
                best_ahead = off - p->position;
        }
        if (!best)
                return false;
        h->reader = best->reader;
        h->reader.plan = (struct plan){0};
        h->reader.returned = true;
        best->followed = true;
        *rested_ms = best->answered_ms > 0 ? now_ms - best->answered_ms : 0;
        return true;
}

/* All windows together want no more than half of the cache, so that there is always room for what
 * reads wait for. */
static uint64_t window_max(const struct torrent_env *env, unsigned playing)
{
        uint64_t most = reader_window_max(playing), bound = env->reach_bytes;
        uint64_t share = bound / 2 / (playing ? playing : 1);

        return bound > 0 && share < most ? share : most;
}

uint64_t handle_window_max(const struct handle *h)
{
        const struct torrent_env *env = h->torrent->env;
        unsigned playing = env->playing;

        return window_max(env, playing > 0 ? playing : 1);
}

/* A player that has little in hand lacks a piece that is on its way from slow peers, perhaps: it is
 * not to be looked for elsewhere only when the picture stands still. Where somebody's does, that
 * comes first; and nothing is to go for it. */
static void press(struct handle *h, uint64_t off)
{
        const struct torrent *t = h->torrent;
        uint32_t next = parked_lacks_first(h, off);
        uint64_t start = (uint64_t)next * h->layout.piece_length;
        const struct want *want = wants_find(&t->wants, next);

        if (want && want->reserved && start < h->layout.offset + reader_needs_soon(&h->reader) &&
            !parked_others_wait(h))
                reader_presses(&h->reader, next);
}

/* Under t->lock. Gives back what was wanted before. */
static struct plan touch(struct handle *h, uint64_t off, size_t len)
{
        struct torrent *t = h->torrent;
        struct torrent_env *env = t->env;
        struct reader *r = &h->reader;
        struct plan before;
        unsigned playing;
        bool begins = r->places == 0;
        uint64_t now = clock_ms();
        uint64_t rested = h->answered_ms > 0 && !h->parked ? now - h->answered_ms : 0;

        if (begins &&
            (returning_take(t, &h->layout, off, now, r, &rested) || follow(h, off, now, &rested)))
                count(h);
        h->followed = false;
        before = r->plan;
        /* One that begins to play with this read is not counted yet. */
        playing = atomic_load_explicit(&env->playing, memory_order_relaxed) + !r->playing;
        r->behind = reader_is_behind(r->rate, t->play_rate, t->playing);
        uncount(h);
        r->yields = parked_yields(t, r);
        reader_touch(r, &h->layout, off, len, now, rested, window_max(env, playing));
        /* What was given to the one whose row it goes on with is not its own. */
        if (begins && r->place[0].given > off)
                r->place[0].given = off;
        h->touched_ms = now;
        h->shortage = parked_shortage(h, off);
        if (h->shortage == SHORTAGE_PLAYS)
                press(h, off);
        count(h);
        wishes_plan(t, &before, &r->plan);
        if (env->fill == FILL_FILE)
                filling_file(t, h->node); /* from its first read on */
        return before;
}

/* A read has timed out, and nothing has come since. Under t->lock. */
static bool is_stalled(const struct torrent *t)
{
        return t->waiting.stalled_ms > 0 && clock_ms() < t->waiting.stalled_ms + STALL_MS;
}

/* Whether a read that misses a piece must fail at once. One that would not wait costs its program
 * no time. Under t->lock. */
static int refusal(struct torrent *t, bool nonblock)
{
        if (atomic_load(&t->env->stopping))
                return -ENODEV;
        if (t->state == TORRENT_GONE)
                return -EIO;
        return !nonblock && is_stalled(t) ? -EIO : 0;
}

/* Under t->lock: what becomes of a read whose piece `missing` is not there. READ_AGAIN: it has just
 * come. */
static int read_missing(struct handle *h, uint64_t off, size_t len, uint32_t first, uint32_t end,
                        uint32_t missing, bool asked, unsigned flags, void *request, pid_t tid,
                        size_t *len_ret, uint64_t *id_ret)
{
        bool nonblock = flags & READ_NONBLOCK, whole = flags & READ_WHOLE;
        struct torrent *t = h->torrent;
        uint64_t at = (uint64_t)missing * h->layout.piece_length, start = h->layout.offset + off;
        struct parked *p;
        int r;

        if (nonblock && !whole && at > start) {
                *len_ret = (size_t)(at - start);
                return READ_NOW;
        }
        if (whole && parked_ends_at_once(h, off, len))
                return -EINTR;
        r = h->error ? -h->error : refusal(t, nonblock);
        if (r < 0) {
                if (!nonblock && t->state != TORRENT_GONE && is_stalled(t))
                        linger_refused(t, missing);
                return r;
        }
        /* Who polls takes what there is, so a watch is for one piece. */
        if (nonblock)
                r = parked_add(h, off, len, false, missing, missing + 1, missing, NULL, tid, &p);
        else
                r = parked_add(h, off, len, whole, first, end, missing, request, tid, &p);
        if (r < 0)
                return r == -EAGAIN ? READ_AGAIN : r;
        /* libtorrent cancels other requests when it sets a deadline. Those are this reader's own
         * next pieces, so none is set for a piece that was asked for already. */
        if (!asked && !h->reader.yields)
                wants_urgent(&t->wants, wants_find(&t->wants, missing), true);
        /* The first read is to say whether there is room at all: a server tells its client at once.
         */
        if (nonblock && request && h->answered_ms == 0 &&
            parked_lacks_room(t, wants_find(&t->wants, missing)))
                parked_wait_for_room(p, request);
        else if (nonblock)
                return -EAGAIN;
        *id_ret = p->id;
        return READ_PARKED;
}

int handle_read(struct handle *h, uint64_t off, size_t len, unsigned flags, void *request,
                pid_t tid, size_t *len_ret, uint64_t *id_ret)
{
        struct torrent *t = h->torrent;
        struct parked *old = NULL;
        struct plan before = {0};
        uint32_t first, end, missing;
        bool asked;
        int r;

        if (off >= h->layout.size || len == 0) {
                *len_ret = 0;
                return READ_NOW;
        }
        if (len > h->layout.size - off)
                len = (size_t)(h->layout.size - off);
        *len_ret = len;
        layout_pieces(&h->layout, off, len, &first, &end);
        store_touch(h->store, first, end, touch_time());
        if (h->complete) {
                h->read_at = off;
                h->read_end = off + len;
                h->read_ms = clock_ms();
                return READ_NOW;
        }

        pthread_mutex_lock(&t->lock);
        if (h->watch) {
                old = h->watch;
                parked_remove(t, old);
        }
        if (t->state != TORRENT_GONE)
                before = touch(h, off, len);
        do {
                r = READ_NOW;
                missing = store_first_missing(h->store, first, end);
                /* Asked for by an earlier read counts, too: a reader that does not wait for the
                 * whole of a read comes again for the rest. */
                asked = h->reader.ahead || plan_priority(&before, missing) > PRIORITY_LEAST;
                if (missing < end)
                        r = read_missing(h, off, len, first, end, missing, asked, flags, request,
                                         tid, len_ret, id_ret);
        } while (r == READ_AGAIN);
        if (r == READ_NOW) {
                h->answered_ms = clock_ms();
                if (flags & READ_WHOLE)
                        h->filled_ms = h->answered_ms;
                reader_gave(&h->reader, off, off + *len_ret);
        }
        h->error = 0; /* also if the piece came after all */
        wishes_tell(t);
        pthread_mutex_unlock(&t->lock);
        free(old);
        return r;
}

unsigned handle_poll(struct handle *h, void *poll_handle)
{
        struct torrent *t = h->torrent;
        void *drop = NULL;
        unsigned events;

        pthread_mutex_lock(&t->lock);
        /* No watch: the bytes last asked for are there, or nothing was asked for yet, which a read
         * will find out. */
        events = h->error ? POLLIN | POLLERR : h->watch ? 0 : POLLIN;
        drop = h->poll_handle;
        h->poll_handle = NULL;
        if (events == 0)
                h->poll_handle = poll_handle;
        pthread_mutex_unlock(&t->lock);
        if (drop)
                t->env->reply.poll_drop(drop);
        if (events != 0 && poll_handle)
                t->env->reply.poll_drop(poll_handle);
        return events;
}

void handle_flush(struct handle *h, pid_t tid)
{
        enum { ROUND = 64 };
        struct torrent *t = h->torrent;
        uint64_t after = 0, ids[ROUND];
        pid_t tids[ROUND];
        size_t n;

        if (h->complete)
                return;
        /* /proc is asked without the lock; ids rise, so each round begins behind the last. */
        do {
                struct parked *p;

                n = 0;
                pthread_mutex_lock(&t->lock);
                HASH_FIND(hh, t->waiting.by_id, &after, sizeof after, p);
                for (p = p ? p->hnext : h->parked; p && n < ROUND; p = p->hnext) {
                        if (p->id > after) {
                                ids[n] = p->id;
                                tids[n++] = p->tid;
                        }
                }
                pthread_mutex_unlock(&t->lock);
                for (size_t i = 0; i < n; i++) {
                        after = ids[i];
                        /* 0 is a thread of another PID namespace, any of them. */
                        if ((tid > 0 && tids[i] == tid) || thread_is_gone(tids[i]))
                                parked_interrupt(t, ids[i]);
                }
        } while (n == ROUND);
}

uint64_t handle_position(const struct handle *h)
{
        const struct place *place = &h->reader.place[0];
        const struct parked *p = h->parked ? h->parked->hprev : NULL;
        uint64_t at = place->position;
        bool waits = h->watch;

        if (waits)
                at = h->watch->off;
        /* From the last on: the kernel and a player ask for several pieces of a row at a time. */
        for (; p; p = p == h->parked ? NULL : p->hprev) {
                if (!reader_in_row(at, p->off, p->off + p->len))
                        continue;
                at = waits && at < p->off ? at : p->off;
                waits = true;
        }
        return waits ? at : place->given;
}

static struct torrent_reader describe(const struct handle *h)
{
        uint64_t read_end = atomic_load(&h->read_end);
        struct torrent_reader r = {
                .node = h->node, .position = read_end, .parked = h->watch ? 1 : 0};
        const struct parked *p;

        if (h->reader.places > 0 && !atomic_load(&h->complete)) {
                r.position = handle_position(h);
                r.window_bytes = h->reader.window;
                r.rate = h->reader.rate;
                r.playing = h->reader.playing;
        }
        DL_FOREACH2 (h->parked, p, hnext)
                r.parked++;
        return r;
}

size_t torrent_readers(struct torrent *t, struct torrent_reader *ret, size_t max)
{
        const struct handle *h;
        size_t n = 0;

        pthread_mutex_lock(&t->lock);
        DL_FOREACH (t->open, h)
                if (n < max)
                        ret[n++] = describe(h);
        pthread_mutex_unlock(&t->lock);
        return n;
}
