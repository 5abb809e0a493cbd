/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

/* What one reader, and all together, may want ahead. More than 2,048 blocks (32 MiB) in pieces
 * begun and libtorrent finishes those before it looks at priorities. */
#define WINDOW_MAX_BYTES   (32ull << 20)
#define WINDOW_LEAST_BYTES (4ull << 20)
#define WINDOWS_MAX_BYTES  (256ull << 20)
/* After a time-out reads fail at once for so long, or until a block arrives: a scanner must not
 * wait anew for each read. */
enum { STALL_MS = 10000 };
/* A read that plays is ahead of its requests; when it has waited so long its piece gets a deadline
 * all the same. */
enum { OVERDUE_MS = 400 };

/* A read, or a poll of a non-blocking handle, that waits for its first missing piece. */
struct parked {
        /* set once */
        uint64_t id;
        void *request; /* NULL: a poll's watch */
        pid_t tid;
        struct handle *handle;
        uint64_t off; /* in the file */
        size_t len;
        uint32_t first, end; /* its pieces */
        uint64_t since_ms;

        /* under torrent->lock */
        uint32_t waits_for;
        bool armed;
        int outcome; /* answered before it was armed: > 0 an errno, OUTCOME_DATA; else 0 */
        struct parked *prev, *next;   /* of the torrent */
        struct parked *hprev, *hnext; /* of the handle */
        struct parked *pprev, *pnext; /* of the piece; after that: of those to be answered */
        UT_hash_handle hh;
};
enum { OUTCOME_DATA = -1 };

struct handle {
        /* set once */
        struct torrent *torrent;
        struct content *content;
        struct layout layout;
        bool complete;

        /* under torrent->lock */
        struct reader reader;
        struct parked *parked; /* (utlist) */
        struct parked *watch;  /* the poll's */
        void *poll_handle;
        int error; /* of the watch: > 0 */
        struct handle *prev, *next;
};

uint64_t clock_ms(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- life ---- */

int torrent_new(struct torrent_env *env, uint32_t number, struct bt_source *source, bool kept,
                struct torrent **ret)
{
        struct torrent *t = calloc(1, sizeof *t);
        const struct bt_hash *hash = bt_source_hash(source);

        if (!t)
                return -ENOMEM;
        t->env = env;
        t->number = number;
        t->source = source;
        bt_hash_v1_hex(hash, t->alias[0]);
        bt_hash_v2_hex(hash, t->alias[1]);
        memcpy(t->hex, hash->has_v1 ? t->alias[0] : t->alias[1], sizeof t->hex);
        t->added_at = time(NULL);
        t->refs = 1;
        t->kept = kept;
        t->last_used_ms = clock_ms();
        t->next_id = 1;
        pthread_mutex_init(&t->lock, NULL);
        *ret = t;
        return 0;
}

struct torrent *torrent_ref(struct torrent *t)
{
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
        return t;
}

static void content_free(struct content *c)
{
        if (!c)
                return;
        store_free(c->store);
        tree_free(c->tree);
        bt_meta_unref(c->meta);
        free(c);
}

void torrent_unref(struct torrent *t)
{
        if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
                return;
        wants_clear(&t->wants);
        content_free(t->content);
        bt_source_free(t->source);
        free(t->name);
        pthread_mutex_destroy(&t->lock);
        free(t);
}

static int make_tree(const struct bt_meta *meta, struct tree **ret)
{
        uint32_t n = bt_meta_files(meta), k = 0;
        struct tree_file *files = calloc(n, sizeof *files);
        int r;

        if (!files)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                struct bt_file f;

                bt_meta_file(meta, i, &f);
                if (!f.pad && !f.symlink)
                        files[k++] = (struct tree_file){
                                .path = f.path, .index = i, .offset = f.offset, .size = f.size};
        }
        r = tree_new(files, k, ret);
        free(files);
        return r;
}

struct content *torrent_content(struct torrent *t)
{
        return atomic_load_explicit(&t->content, memory_order_acquire);
}

/* ---- wants; all under t->lock ---- */

static int room_reserve(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        return store_reserve(t->content->store, piece);
}

static void room_release(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        store_release(t->content->store, piece);
}

static int want_piece(struct torrent *t, uint32_t piece, uint8_t before, uint8_t after)
{
        const struct wants_room room = {room_reserve, room_release, t};

        if (after != PRIORITY_NONE && store_has(t->content->store, piece))
                return 0;
        return wants_change(&t->wants, piece, before, after, &room);
}

static void plan_changed(void *arg, uint32_t piece, uint8_t before, uint8_t after)
{
        /* No room for a piece of the window is no failure: the read that needs it will hear of it.
         */
        (void)want_piece(arg, piece, before, after);
}

/* The order of the batches is what the session goes by, so they leave under the lock; it only
 * queues them. */
static void tell_session(struct torrent *t)
{
        if (t->bt && t->wants.n_batch > 0)
                bt_torrent_want(t->bt, t->wants.batch, t->wants.n_batch);
        t->wants.n_batch = 0;
}

int torrent_set_content(struct torrent *t, struct cache *cache, struct bt_meta *meta)
{
        struct content *c = calloc(1, sizeof *c);
        int r;

        if (!c)
                return -ENOMEM;
        c->meta = bt_meta_ref(meta);
        c->size = bt_meta_size(meta);
        c->piece_length = bt_meta_piece_length(meta);
        c->pieces = bt_meta_pieces(meta);
        r = make_tree(meta, &c->tree);
        if (r >= 0)
                r = store_new(cache, t->hex, c->size, c->piece_length, &c->store);
        if (r < 0) {
                content_free(c);
                return r;
        }
        pthread_mutex_lock(&t->lock);
        if (t->content || t->state == TORRENT_GONE) {
                pthread_mutex_unlock(&t->lock);
                content_free(c);
                return -ESTALE;
        }
        atomic_store_explicit(&t->content, c, memory_order_release);
        t->state = TORRENT_AWAKE;
        t->failed = 0;
        t->problem[0] = '\0';
        if (t->env->fill == FILL_TORRENT) {
                for (uint32_t i = 0; i < c->pieces; i++)
                        (void)want_piece(t, i, PRIORITY_NONE, PRIORITY_LEAST);
                tell_session(t);
        }
        pthread_mutex_unlock(&t->lock);
        return 0;
}

void torrent_attach(struct torrent *t, struct bt_torrent *bt)
{
        pthread_mutex_lock(&t->lock);
        t->bt = bt;
        wants_retell(&t->wants);
        tell_session(t);
        pthread_mutex_unlock(&t->lock);
}

void torrent_fail(struct torrent *t, int err, const char *why)
{
        pthread_mutex_lock(&t->lock);
        t->failed = err;
        snprintf(t->problem, sizeof t->problem, "%s", why);
        pthread_mutex_unlock(&t->lock);
}

void torrent_problem(struct torrent *t, const char *text)
{
        pthread_mutex_lock(&t->lock);
        if (t->failed == 0)
                snprintf(t->problem, sizeof t->problem, "%s", text);
        pthread_mutex_unlock(&t->lock);
}

void torrent_set_stats(struct torrent *t, const struct bt_stats *stats)
{
        pthread_mutex_lock(&t->lock);
        t->stats = *stats;
        pthread_mutex_unlock(&t->lock);
}

int torrent_ready(struct torrent *t)
{
        int r;

        pthread_mutex_lock(&t->lock);
        r = t->state == TORRENT_GONE ? -ENOENT : t->content ? 0 : t->failed ? t->failed : -EAGAIN;
        pthread_mutex_unlock(&t->lock);
        return r;
}

/* ---- parked reads ---- */

/* Bytes that can be given now. Under t->lock or not: pieces only come. */
static size_t in_hand(const struct parked *p)
{
        const struct content *c = p->handle->content;
        uint32_t missing = store_first_missing(c->store, p->first, p->end);
        uint64_t start = p->handle->layout.offset + p->off,
                 at = (uint64_t)missing * c->piece_length;

        if (missing == p->end)
                return p->len;
        return at > start ? (size_t)(at - start) : 0;
}

static void wait_for(struct torrent *t, struct parked *p, uint32_t piece)
{
        struct want *want = wants_find(&t->wants, piece);

        p->waits_for = piece;
        DL_APPEND2(want->parked, p, pprev, pnext);
}

static void leave_piece(struct torrent *t, struct parked *p)
{
        struct want *want = wants_find(&t->wants, p->waits_for);

        if (!want)
                return;
        DL_DELETE2(want->parked, p, pprev, pnext);
        if (!want->parked && want->urgent)
                wants_urgent(&t->wants, want, false);
}

/* Takes p out of every list; it is the caller's then. */
static void unpark(struct torrent *t, struct parked *p)
{
        leave_piece(t, p);
        for (uint32_t i = p->first; i < p->end; i++)
                (void)want_piece(t, i, PRIORITY_BLOCKED, PRIORITY_NONE);
        DL_DELETE(t->parked, p);
        if (p == p->handle->watch)
                p->handle->watch = NULL;
        else
                DL_DELETE2(p->handle->parked, p, hprev, hnext);
        HASH_DELETE(hh, t->parked_by_id, p);
        t->parked_count--;
        if (p->request)
                atomic_fetch_sub(&t->env->parked_reads, 1);
}

/* Ends p with outcome and puts it on the list of those to be answered, unless its request must not
 * be answered yet. */
static void settle(struct torrent *t, struct parked *p, int outcome, struct parked **answer)
{
        if (p->request && !p->armed) {
                p->outcome = outcome;
                return;
        }
        if (!p->request && outcome != OUTCOME_DATA)
                p->handle->error = outcome;
        p->outcome = outcome;
        unpark(t, p);
        DL_APPEND2(*answer, p, pprev, pnext);
}

static void answer_read(struct torrent_env *env, struct parked *p)
{
        size_t n = p->outcome == OUTCOME_DATA ? p->len : 0;
        void *data;
        int r;

        /* Time-out and interrupt give what is in hand: a short read is better than none. */
        if (p->outcome == EIO || p->outcome == EINTR)
                n = in_hand(p);
        if (n == 0) {
                env->reply.error(p->request, p->outcome);
                return;
        }
        data = malloc(n);
        r = data ? handle_fetch(p->handle, p->off, data, n) : -ENOMEM;
        if (r < 0)
                env->reply.error(p->request, -r);
        else
                env->reply.data(p->request, data, n);
        free(data);
}

/* Without the lock. A read's handle lives until its answer; a watch's poll handle was taken off
 * under the lock. */
static void answer_all(struct torrent_env *env, struct parked *answer)
{
        struct parked *p, *tmp;

        DL_FOREACH_SAFE2 (answer, p, tmp, pnext) {
                if (p->request)
                        answer_read(env, p);
                free(p);
        }
}

/* Watches among the settled: their poll handles, to be woken without the lock. */
struct wakes {
        void *small[8];
        void **list;
        size_t n, room;
};

static void take_wakes(struct parked *answer, struct wakes *w)
{
        struct parked *p;

        *w = (struct wakes){.room = sizeof w->small / sizeof *w->small};
        DL_FOREACH2 (answer, p, pnext) {
                void **to;

                if (p->request || !p->handle->poll_handle)
                        continue;
                if (w->n == w->room) {
                        void **grown = reallocarray(w->list, 2 * w->room, sizeof *grown);
                        if (!grown)
                                continue; /* the poller asks again by itself */
                        if (!w->list)
                                memcpy(grown, w->small, sizeof w->small);
                        w->list = grown;
                        w->room *= 2;
                }
                to = w->list ? w->list : w->small;
                to[w->n++] = p->handle->poll_handle;
                p->handle->poll_handle = NULL;
        }
}

/* Unlocks t, then answers and wakes. */
static void unlock_and_answer(struct torrent *t, struct parked *answer)
{
        struct torrent_env *env = t->env;
        struct wakes wakes;

        tell_session(t);
        take_wakes(answer, &wakes);
        pthread_mutex_unlock(&t->lock);
        answer_all(env, answer);
        for (size_t i = 0; i < wakes.n; i++)
                env->reply.poll_wake(wakes.list ? wakes.list[i] : wakes.small[i]);
        free(wakes.list);
}

static int park(struct handle *h, uint64_t off, size_t len, uint32_t first, uint32_t end,
                uint32_t missing, void *request, pid_t tid, struct parked **ret)
{
        struct torrent *t = h->torrent;
        struct parked *p = calloc(1, sizeof *p);
        struct want *want;
        int r = 0;

        if (!p)
                return -ENOMEM;
        *p = (struct parked){.id = t->next_id++,
                             .request = request,
                             .tid = tid,
                             .handle = h,
                             .off = off,
                             .len = len,
                             .first = first,
                             .end = end,
                             .since_ms = clock_ms()};
        for (uint32_t i = missing; i < end && (r == 0 || i > missing); i++) {
                int q = want_piece(t, i, PRIORITY_NONE, PRIORITY_BLOCKED);
                r = i == missing ? q : r;
        }
        want = wants_find(&t->wants, missing);
        if (r == 0 && want) {
                HASH_ADD(hh, t->parked_by_id, id, sizeof p->id, p);
                if (!p->hh.tbl)
                        r = -ENOMEM;
        }
        if (r < 0 || !want) {
                for (uint32_t i = missing; i < end; i++)
                        (void)want_piece(t, i, PRIORITY_BLOCKED, PRIORITY_NONE);
                free(p);
                return r < 0 ? r : -ENOMEM;
        }
        wait_for(t, p, missing);
        DL_APPEND(t->parked, p);
        t->parked_count++;
        if (request) {
                DL_APPEND2(h->parked, p, hprev, hnext);
                atomic_fetch_add(&t->env->parked_reads, 1);
        } else {
                h->watch = p;
        }
        if (!h->reader.playing && !want->urgent)
                wants_urgent(&t->wants, want, true);
        *ret = p;
        return 0;
}

void torrent_arm(struct torrent *t, uint64_t id)
{
        struct parked *p, *answer = NULL;

        pthread_mutex_lock(&t->lock);
        HASH_FIND(hh, t->parked_by_id, &id, sizeof id, p);
        if (p) {
                p->armed = true;
                if (p->outcome != 0)
                        settle(t, p, p->outcome, &answer);
        }
        unlock_and_answer(t, answer);
}

void torrent_interrupt(struct torrent *t, uint64_t id)
{
        struct parked *p, *answer = NULL;

        pthread_mutex_lock(&t->lock);
        HASH_FIND(hh, t->parked_by_id, &id, sizeof id, p);
        if (p)
                settle(t, p, EINTR, &answer);
        unlock_and_answer(t, answer);
}

void torrent_piece_passed(struct torrent *t, uint32_t piece)
{
        struct parked *p, *tmp, *answer = NULL;
        struct want *want;

        pthread_mutex_lock(&t->lock);
        t->stalled_ms = 0;
        want = wants_find(&t->wants, piece);
        if (want) {
                struct parked *waiting = want->parked;

                want->parked = NULL;
                DL_FOREACH_SAFE2 (waiting, p, tmp, pnext) {
                        uint32_t missing = store_first_missing(t->content->store, p->first, p->end);
                        struct want *next =
                                missing < p->end ? wants_find(&t->wants, missing) : NULL;

                        p->since_ms = clock_ms();
                        p->waits_for = missing;
                        if (!next) {
                                p->waits_for = UINT32_MAX;
                                settle(t, p, missing < p->end ? ENOMEM : OUTCOME_DATA, &answer);
                                continue;
                        }
                        DL_APPEND2(next->parked, p, pprev, pnext);
                        if (!next->reserved)
                                settle(t, p, ENOSPC, &answer);
                }
                wants_done(&t->wants, want);
        }
        unlock_and_answer(t, answer);
}

void torrent_block_written(struct torrent *t, uint32_t piece)
{
        uint64_t now = clock_ms();
        struct want *want;

        atomic_store_explicit(&t->last_block_ms, now, memory_order_relaxed);
        pthread_mutex_lock(&t->lock);
        want = wants_find(&t->wants, piece);
        if (want)
                want->last_block_ms = now;
        t->stalled_ms = 0;
        pthread_mutex_unlock(&t->lock);
}

void torrent_tick(struct torrent *t, uint64_t now)
{
        struct parked *p, *tmp, *answer = NULL;
        uint32_t forgotten = UINT32_MAX;

        pthread_mutex_lock(&t->lock);
        DL_FOREACH_SAFE (t->parked, p, tmp) {
                struct want *want = wants_find(&t->wants, p->waits_for);
                uint64_t since = p->since_ms;

                if (!want)
                        continue;
                if (store_has(t->content->store, p->waits_for)) {
                        forgotten = p->waits_for; /* its passing could not be queued, or is on its
                                                     way */
                        continue;
                }
                if (want->last_block_ms > since)
                        since = want->last_block_ms;
                if (t->env->read_timeout_ms > 0 && now >= since + t->env->read_timeout_ms) {
                        t->stalled_ms = now;
                        settle(t, p, EIO, &answer);
                } else if (!want->urgent && now >= p->since_ms + OVERDUE_MS) {
                        wants_urgent(&t->wants, want, true);
                }
        }
        unlock_and_answer(t, answer);
        if (forgotten != UINT32_MAX)
                torrent_piece_passed(t, forgotten);
}

static void release_locked(struct torrent *t, int err, struct parked **answer)
{
        struct parked *p, *tmp;

        DL_FOREACH_SAFE (t->parked, p, tmp) {
                settle(t, p, err, answer);
        }
}

void torrent_release_reads(struct torrent *t, int err)
{
        struct parked *answer = NULL;

        pthread_mutex_lock(&t->lock);
        release_locked(t, err, &answer);
        unlock_and_answer(t, answer);
}

struct bt_torrent *torrent_end(struct torrent *t, int err)
{
        struct parked *answer = NULL;
        struct bt_torrent *bt;
        struct content *c;

        pthread_mutex_lock(&t->lock);
        t->state = TORRENT_GONE;
        bt = t->bt;
        t->bt = NULL;
        c = t->content;
        release_locked(t, err, &answer);
        unlock_and_answer(t, answer);
        if (c)
                store_discard(c->store);
        return bt;
}

/* ---- open files ---- */

int handle_open(struct torrent *t, uint32_t node, struct handle **ret)
{
        struct content *c = torrent_content(t);
        const struct tree_node *n = tree_node(c->tree, node);
        struct handle *h = calloc(1, sizeof *h);

        if (!h)
                return -ENOMEM;
        h->torrent = torrent_ref(t);
        h->content = c;
        h->layout = (struct layout){n->offset, n->size, c->piece_length};
        if (n->size == 0) {
                h->complete = true;
        } else {
                uint32_t first, end;

                layout_pieces(&h->layout, 0, n->size, &first, &end);
                h->complete = store_first_missing(c->store, first, end) == end;
        }
        atomic_fetch_add(&t->handles, 1);
        atomic_fetch_add(&t->env->open_files, 1);
        pthread_mutex_lock(&t->lock);
        DL_APPEND(t->open, h);
        pthread_mutex_unlock(&t->lock);
        *ret = h;
        return 0;
}

void handle_close(struct handle *h)
{
        struct torrent *t = h->torrent;
        const struct plan nothing = {0};
        struct parked *watch;
        void *poll_handle;

        pthread_mutex_lock(&t->lock);
        watch = h->watch;
        if (watch)
                unpark(t, watch);
        poll_handle = h->poll_handle;
        if (h->reader.playing)
                atomic_fetch_sub(&t->env->playing, 1);
        plan_diff(&h->reader.plan, &nothing, plan_changed, t);
        tell_session(t);
        DL_DELETE(t->open, h);
        pthread_mutex_unlock(&t->lock);

        if (poll_handle)
                t->env->reply.poll_drop(poll_handle);
        free(watch);
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
        return store_read(h->content->store, h->layout.offset + off, data, len);
}

static uint64_t window_max(struct torrent_env *env)
{
        unsigned playing = atomic_load_explicit(&env->playing, memory_order_relaxed);
        uint64_t share = WINDOWS_MAX_BYTES / (playing ? playing : 1);

        if (share > WINDOW_MAX_BYTES)
                return WINDOW_MAX_BYTES;
        return share < WINDOW_LEAST_BYTES ? WINDOW_LEAST_BYTES : share;
}

static void touch(struct handle *h, uint64_t off, size_t len)
{
        struct torrent_env *env = h->torrent->env;
        struct plan before = h->reader.plan;
        bool was_playing = h->reader.playing;

        reader_touch(&h->reader, &h->layout, off, len, clock_ms(), window_max(env),
                     env->fill == FILL_FILE);
        if (h->reader.playing && !was_playing)
                atomic_fetch_add(&env->playing, 1);
        else if (!h->reader.playing && was_playing)
                atomic_fetch_sub(&env->playing, 1);
        plan_diff(&before, &h->reader.plan, plan_changed, h->torrent);
}

/* Whether a read that misses a piece must fail at once. Under t->lock. */
static int refusal(struct torrent *t)
{
        if (atomic_load(&t->env->stopping))
                return -ENODEV;
        if (t->state == TORRENT_GONE)
                return -EIO;
        if (t->stalled_ms > 0 && clock_ms() < t->stalled_ms + STALL_MS)
                return -EIO;
        return 0;
}

/* Under t->lock: what becomes of a read whose piece `missing` is not there. */
static int read_missing(struct handle *h, uint64_t off, size_t len, uint32_t first, uint32_t end,
                        uint32_t missing, bool nonblock, void *request, pid_t tid, size_t *len_ret,
                        uint64_t *id_ret)
{
        struct torrent *t = h->torrent;
        uint64_t at = (uint64_t)missing * h->layout.piece_length, start = h->layout.offset + off;
        struct parked *p;
        int r;

        if (nonblock && at > start) {
                *len_ret = (size_t)(at - start);
                return READ_NOW;
        }
        r = h->error ? -h->error : refusal(t);
        h->error = 0;
        if (r < 0)
                return r;
        r = park(h, off, len, first, end, missing, nonblock ? NULL : request, tid, &p);
        if (r < 0)
                return r;
        if (nonblock)
                return -EAGAIN;
        *id_ret = p->id;
        return READ_PARKED;
}

int handle_read(struct handle *h, uint64_t off, size_t len, bool nonblock, void *request, pid_t tid,
                size_t *len_ret, uint64_t *id_ret)
{
        struct torrent *t = h->torrent;
        struct parked *old = NULL;
        uint32_t first, end, missing;
        int r = READ_NOW;

        if (off >= h->layout.size || len == 0) {
                *len_ret = 0;
                return READ_NOW;
        }
        if (len > h->layout.size - off)
                len = (size_t)(h->layout.size - off);
        *len_ret = len;
        if (h->complete)
                return READ_NOW;

        layout_pieces(&h->layout, off, len, &first, &end);
        pthread_mutex_lock(&t->lock);
        if (h->watch) {
                old = h->watch;
                unpark(t, old);
        }
        if (t->state != TORRENT_GONE)
                touch(h, off, len);
        missing = store_first_missing(h->content->store, first, end);
        if (missing < end)
                r = read_missing(h, off, len, first, end, missing, nonblock, request, tid, len_ret,
                                 id_ret);
        tell_session(t);
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

/* A thread that is no more, or a zombie, reads no answer. 0 is a thread of another pid namespace:
 * it can't be looked up. */
static bool thread_is_gone(pid_t tid)
{
        char path[32], text[512];
        const char *p;
        ssize_t n;
        int fd;

        if (tid <= 0)
                return false;
        snprintf(path, sizeof path, "/proc/%d/stat", tid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT;
        n = read(fd, text, sizeof text - 1);
        close(fd);
        if (n <= 0)
                return true;
        text[n] = '\0';
        p = strrchr(text, ')');
        return p && p[1] == ' ' && (p[2] == 'Z' || p[2] == 'X');
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
                DL_FOREACH2 (h->parked, p, hnext) {
                        if (p->id > after && n < ROUND) {
                                ids[n] = p->id;
                                tids[n++] = p->tid;
                        }
                }
                pthread_mutex_unlock(&t->lock);
                for (size_t i = 0; i < n; i++) {
                        after = ids[i];
                        if (tids[i] == tid || thread_is_gone(tids[i]))
                                torrent_interrupt(t, ids[i]);
                }
        } while (n == ROUND);
}

void torrent_get_status(struct torrent *t, struct torrent_status *ret)
{
        struct content *c = torrent_content(t);

        *ret = (struct torrent_status){.readers = atomic_load(&t->handles)};
        if (c) {
                ret->length = c->size;
                ret->have_bytes = store_have_bytes(c->store);
        }
        pthread_mutex_lock(&t->lock);
        ret->state = t->state;
        ret->failed = t->failed;
        memcpy(ret->problem, t->problem, sizeof ret->problem);
        ret->stats = t->stats;
        ret->parked_reads = t->parked_count;
        pthread_mutex_unlock(&t->lock);
}
