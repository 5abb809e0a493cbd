/* SPDX-License-Identifier: MIT */
/* eviction.c: pieces that go together: missing first, then no more in the catalog, then off the
 * disk; and what the disk does not let go stays. (evict.c has the order and its reasons.) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "engine/engine_private.h"
#include "engine/evicting.h"

/* So much is taken off the disk at a time, and hashed where that is refused. */
enum { PUNCH_BYTES = 64 << 20 };

/* Of a torrent: pieces that are missing by now, and are to be taken off the disk. */
struct eviction_part {
        struct torrent *torrent;    /* a reference */
        struct store *store;        /* a reference, of room_begin */
        struct evict_piece *pieces; /* in order */
        size_t n;
        uint64_t claims; /* bytes that were only claimed to be there, and have gone already */
};

static struct eviction_part *add_going(struct eviction *b, struct torrent *t, size_t pieces)
{
        struct eviction_part *g;

        if (b->n == b->room) {
                size_t room = b->room ? 2 * b->room : 8;
                struct eviction_part *grown = reallocarray(b->list, room, sizeof *grown);

                if (!grown)
                        return NULL;
                b->list = grown;
                b->room = room;
        }
        g = &b->list[b->n];
        *g = (struct eviction_part){.pieces = calloc(pieces, sizeof *g->pieces)};
        if (!g->pieces)
                return NULL;
        g->store = room_begin(t);
        if (!g->store) {
                free(g->pieces);
                return NULL;
        }
        g->torrent = torrent_ref(t);
        b->n++;
        return g;
}

/* A disk that is full, or a quota's, may need room to note that some of it is free. */
static bool is_refusal(int r)
{
        return r == -ENOSPC || r == -EDQUOT;
}

void eviction_unset(struct eviction *b, struct torrent *t, const struct evict_piece *p, size_t n,
                    enum room_use use)
{
        struct eviction_part *g = add_going(b, t, n);

        for (size_t i = 0; g && i < n && !b->refused; i++) {
                bool suspect = store_is_suspect(g->store, p[i].piece);
                int r = suspect ? room_unclaim(t, p[i].piece)
                                : room_unset(t, g->store, p[i].piece, use);

                if (r == 0 && suspect) {
                        g->claims += p[i].bytes;
                } else if (r == 0) {
                        g->pieces[g->n++] = p[i];
                        b->aside += p[i].bytes;
                }
                b->busy = b->busy || r == -EBUSY;
                b->refused = b->refused || (suspect && is_refusal(r));
        }
}

/* The catalog no longer has them. A failure is told once, by who saves: see above. */
static void forget(struct engine *e, const struct eviction *b)
{
        catalog_begin(e->catalog);
        for (size_t i = 0; i < b->n; i++)
                library_forget_gone(e, b->list[i].torrent, b->list[i].store);
        (void)catalog_commit(e->catalog);
        cache_set_others(e->cache, catalog_room(e->catalog));
        for (size_t i = 0; i < b->n; i++)
                engine_mark(e, b->list[i].torrent, DIRTY_ROW | DIRTY_HAVE);
}

/* What stays on the disk is there again, if it is what it was: a part of it may have gone, also by
 * who has opened the file meanwhile. It is the last that is tried again. */
static void keep(struct engine *e, const struct eviction_part *g, uint32_t first, uint32_t end)
{
        for (uint32_t piece = first; piece < end; piece++) {
                bool right = !e->env.stopping && engine_is_right(g->torrent, g->store, piece) == 1;

                store_keep(g->store, piece, right);
                store_touch(g->store, piece, piece + 1, touch_time());
                if (right)
                        engine_piece_passed(e, g->torrent, piece);
        }
}

/* How many of the pieces from there on lie behind one another, and are punched at once. */
static size_t run_of(const struct eviction_part *g, size_t from, uint64_t *bytes)
{
        size_t end = from + 1;

        *bytes = g->pieces[from].bytes;
        while (end < g->n && g->pieces[end].piece == g->pieces[end - 1].piece + 1 &&
               *bytes < PUNCH_BYTES)
                *bytes += g->pieces[end++].bytes;
        return end - from;
}

/* Takes them off the disk, until it refuses some. Whether something could not be taken off. */
static bool punch(struct engine *e, struct eviction *b, struct eviction_part *g)
{
        uint64_t freed = g->claims, bytes;
        size_t i = 0, gone = 0, run;
        bool failed = b->refused;

        for (; i < g->n && !b->refused; i += run) {
                uint32_t first = g->pieces[i].piece, end;
                int r;

                run = run_of(g, i, &bytes);
                end = first + (uint32_t)run;
                r = store_punch_run(g->store, first, end);
                if (r == 0) {
                        freed += bytes;
                        gone += run;
                        continue;
                }
                log_debug("%s: pieces stay on the disk: %s", g->torrent->hex, strerror(-r));
                failed = true;
                b->refused = is_refusal(r);
                keep(e, g, first, end);
        }
        for (; i < g->n; i++)
                keep(e, g, g->pieces[i].piece, g->pieces[i].piece + 1);
        if (freed == 0)
                return failed;
        b->bytes += freed;
        atomic_fetch_add(&e->evicted_pieces, gone);
        atomic_fetch_add(&e->evicted_bytes, freed);
        engine_event_of(e, g->torrent, "evicted");
        return failed;
}

void eviction_finish(struct engine *e, struct eviction *b)
{
        uint64_t before = b->bytes;
        bool some = false, failed = false;

        if (b->n == 0)
                return;
        for (size_t i = 0; i < b->n; i++)
                some |= b->list[i].n > 0 || b->list[i].claims > 0;
        if (some)
                forget(e, b);
        for (size_t i = 0; i < b->n; i++) {
                struct eviction_part *g = &b->list[i];

                failed |= punch(e, b, g);
                room_end(g->torrent);
                store_unref(g->store);
                torrent_unref(g->torrent);
                free(g->pieces);
        }
        b->n = 0;
        b->aside = 0;
        b->failed = failed && b->bytes == before;
}
