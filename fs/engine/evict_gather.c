/* SPDX-License-Identifier: MIT */
/* evict_gather.c: what could go from the cache, and how long nobody has read it. */
#define HASH_NONFATAL_OOM 1
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/media.h"
#include "engine/engine_private.h"
#include "engine/evicting.h"
#include "torrent/room.h"

/* Times are tenths of a second, from so long before the machine's start on. */
enum { TENTHS_BEFORE = 1 << 30 };

/* When what has not been read in this run was read last, or came. */
static uint32_t used_before(const struct torrent *t)
{
        uint64_t last = t->handles > 0 ? clock_ms() : t->last_used_ms;
        int64_t age = last > 0 ? (int64_t)(life_elapsed(last, clock_ms()) / 100)
                               : (int64_t)(time(NULL) - t->used_at) * 10;
        int64_t used = (int64_t)touch_time() + TENTHS_BEFORE - (age > 0 ? age : 0);

        return used > 0 ? (uint32_t)used : 1;
}

time_t evict_time(uint32_t used)
{
        return time(NULL) - ((time_t)touch_time() + TENTHS_BEFORE - (time_t)used) / 10;
}

static bool add(struct evict_list *l, const struct evict_piece *p)
{
        if (l->n == l->room) {
                size_t room = l->room ? 2 * l->room : 1024;
                struct evict_piece *grown = reallocarray(l->pieces, room, sizeof *grown);

                if (!grown)
                        return false;
                l->pieces = grown;
                l->room = room;
        }
        l->pieces[l->n++] = *p;
        return true;
}

/* The number by which pieces name t; UINT32_MAX: no memory. */
static uint32_t add_owner(struct evict_list *l, struct torrent *t)
{
        if (l->n_owners == l->room_owners) {
                size_t room = l->room_owners ? 2 * l->room_owners : 64;
                struct torrent **grown = reallocarray(l->owners, room, sizeof(struct torrent *));

                if (!grown)
                        return UINT32_MAX;
                l->owners = grown;
                l->room_owners = room;
        }
        l->owners[l->n_owners++] = torrent_ref(t);
        return (uint32_t)(l->n_owners - 1);
}

/* The first and the last piece of each video and audio, as bits: what players and scanners ask for
 * first. Of all files they would be all pieces where files are small. */
static uint64_t *ends_of(const struct listing *l)
{
        uint64_t *ends = calloc(l->pieces / 64 + 1, sizeof *ends);

        for (uint32_t i = 0; ends && i < tree_nodes(l->tree); i++) {
                const struct tree_node *k = tree_node(l->tree, i);
                uint32_t first, last;

                if (k->file == TREE_DIRECTORY || k->size == 0 || !media_plays(k->name))
                        continue;
                first = (uint32_t)(k->offset / l->piece_length);
                last = (uint32_t)((k->offset + k->size - 1) / l->piece_length);
                ends[first / 64] |= 1ull << (first % 64);
                ends[last / 64] |= 1ull << (last % 64);
        }
        return ends;
}

/* But those that are pinned. */
static bool add_pieces(struct evict_list *l, uint32_t owner, const struct listing *listing,
                       const struct store *s, uint32_t before)
{
        uint64_t *ends = ends_of(listing);
        bool ok = ends != NULL;
        struct torrent *t = l->owners[owner];

        pthread_mutex_lock(&t->lock);
        for (uint32_t i = 0; ok && i < listing->pieces; i++) {
                bool there = store_has(s, i);
                uint32_t touched;
                struct evict_piece p;

                if ((!there && !store_is_suspect(s, i)) || pins_has(t, i))
                        continue;
                touched = store_touched(s, i);
                p = (struct evict_piece){
                        .owner = owner,
                        .piece = i,
                        .used = touched > 0 ? touched + TENTHS_BEFORE : before,
                        .end = ends[i / 64] >> (i % 64) & 1,
                        .bytes = i + 1 < listing->pieces
                                         ? listing->piece_length
                                         : listing->size - (uint64_t)i * listing->piece_length};
                ok = add(l, &p);
        }
        pthread_mutex_unlock(&t->lock);
        free(ends);
        return ok;
}

static bool is_pinned(struct torrent *t)
{
        bool pinned;

        pthread_mutex_lock(&t->lock);
        pinned = pins_of(t) == PINNED_WHOLE;
        pthread_mutex_unlock(&t->lock);
        return pinned;
}

bool evict_gather_of(struct evict_list *l, struct torrent *t)
{
        struct listing *listing = torrent_listing(t);
        struct store *store = torrent_store(t);
        uint32_t owner;
        struct summary known;
        bool ok = true;

        torrent_get_summary(t, &known);
        if (listing && store) {
                if (store_have_bytes(store) > 0 || store_next_suspect(store, 0) < UINT32_MAX) {
                        owner = add_owner(l, t);
                        ok = owner < UINT32_MAX &&
                             add_pieces(l, owner, listing, store, used_before(t));
                }
                l->unfinished += room_unfinished(t);
                l->pending = l->pending || room_is_pending(t);
                l->begun = l->begun || room_has_begun(t);
        } else if (known.known && known.have_bytes > 0 && !is_pinned(t)) {
                struct evict_piece p = {
                        .piece = EVICT_ALL, .used = used_before(t), .bytes = known.have_bytes};

                p.owner = owner = add_owner(l, t);
                ok = owner < UINT32_MAX && add(l, &p);
        }
        store_unref(store);
        listing_unref(listing);
        return ok;
}

bool evict_gather(struct engine *e, struct evict_list *l)
{
        struct torrent *t;
        bool ok = true;

        *l = (struct evict_list){0};
        if (!cache_is_sparse(e->cache))
                return true; /* nothing can go */
        for (uint32_t n = 0; ok && (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                ok = evict_gather_of(l, t);
        }
        return ok;
}

void evict_list_free(struct evict_list *l)
{
        for (size_t i = 0; i < l->n_owners; i++)
                torrent_unref(l->owners[i]);
        free(l->owners);
        free(l->pieces);
        *l = (struct evict_list){0};
}
