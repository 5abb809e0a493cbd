/* SPDX-License-Identifier: MIT */
/* library_load.c: the content of torrents that are asleep, brought when somebody looks into them.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "engine/engine_private.h"

/* The info-hash is made of the metadata anew, so one byte that is not what it was is seen. */
static bool is_of(const struct bt_source *source, const char *hex)
{
        const struct bt_hash *hash = bt_source_hash(source);
        char v1[BT_HEX_MAX], v2[BT_HEX_MAX];

        bt_hash_v1_hex(hash, v1);
        bt_hash_v2_hex(hash, v2);
        return strcmp(v1, hex) == 0 || strcmp(v2, hex) == 0;
}

int library_source(struct engine *e, uint32_t number, const char *hex, struct bt_source **ret)
{
        _cleanup_free_ void *data = NULL;
        struct bt_source *source = NULL;
        struct bt_error err = {0};
        size_t len;
        int r = catalog_get_source(e->catalog, number, &data, &len);

        if (r == 0)
                r = bt_source_load(data, len, e->options.loopback_peers, &source, &err);
        if (r < 0)
                return r;
        if (!is_of(source, hex)) {
                bt_source_free(source);
                return -EUCLEAN;
        }
        *ret = source;
        return 0;
}

static int open_store(struct engine *e, struct torrent *t, const struct listing *l,
                      struct store **ret)
{
        _cleanup_free_ void *have = NULL;
        size_t len, wanted = have_bitmap_bytes(l->pieces);
        bool checked = true;
        int r = catalog_get_have(e->catalog, t->number, &have, &len, &checked);

        if (r == -ENOENT || (r == 0 && len != wanted)) {
                uint8_t *map = NULL;

                /* Never told, or lost with a part of the catalog. */
                checked = store_survey(e->cache, t->hex, l->size, l->piece_length, &map) < 0;
                free(have);
                have = map ? map : calloc(1, wanted > 0 ? wanted : 1);
                r = have ? 0 : -ENOMEM;
        }
        if (r < 0)
                return r;
        r = listing_store(l, e->cache, t->hex, t->number, have, !checked, ret);
        if (r == -ENOENT) {
                log_info("%s: its file in the cache folder is gone; it is fetched again", t->hex);
                memset(have, 0, wanted);
                r = listing_store(l, e->cache, t->hex, t->number, have, false, ret);
        }
        return r;
}

/* Its metadata can't be read, as after damage: peers have it, too. What is in its store is hashed
 * when it has come. source is what is left of it, or NULL; taken over. */
static int fetch_anew(struct engine *e, struct torrent *t, struct bt_source *source)
{
        struct bt_error err = {0};
        int r = 0;

        if (!source)
                r = bt_source_from_magnet(t->hex, strlen(t->hex), false, &source, &err);
        if (r < 0)
                return r;
        log_warning("%s: its metadata is not in the catalog any more, and is fetched anew", t->hex);
        if (torrent_lose_metadata(t, source))
                r = engine_push(e, JOB_FETCH, t, NULL);
        return r;
}

static bool is_lost(int r)
{
        return r == -ENOENT || r == -EUCLEAN || r == -EINVAL || r == -EIO;
}

/* Blocking; the library's thread only. */
static int load(struct engine *e, struct torrent *t)
{
        struct content c = {0};
        struct bt_meta *meta;
        int r = torrent_ready(t);

        if (e->env.stopping)
                return -ENODEV;
        if (r < 0)
                return r == -EAGAIN ? -ENOENT : r;
        c.listing = torrent_listing(t);
        if (c.listing) {
                r = listing_sort(c.listing);
                listing_unref(c.listing);
                return r;
        }
        r = library_source(e, t->number, t->hex, &c.source);
        meta = r == 0 ? bt_source_meta(c.source) : NULL;
        if ((r == 0 && !meta) || is_lost(r))
                return fetch_anew(e, t, c.source);
        if (r == 0)
                r = listing_new(meta, &c.listing);
        if (r == 0)
                r = open_store(e, t, c.listing, &c.store);
        if (r == 0) {
                r = torrent_set_content(t, &c);
                if (r == 0)
                        return 0;
                content_leave(&c);
                return r == -ESTALE && torrent_has_metadata(t) ? torrent_ready(t) : r;
        }
        t->load_error = -r;
        log_warning("%s: what is known of it cannot be read: %s", t->hex, store_open_error(-r));
        listing_unref(c.listing);
        bt_source_free(c.source);
        return r;
}

static void run_load(struct chore *c)
{
        struct engine_load *l =
                (struct engine_load *)((char *)c - offsetof(struct engine_load, chore));
        struct torrent *t = l->torrent;
        int r = load(engine_of(t), t);

        if (r == 0)
                engine_loaded(engine_of(t), t);
        l->done(l, r);
        torrent_unref(t);
}

bool library_push(struct engine *e, struct chore *c)
{
        pthread_mutex_lock(&e->lock);
        if (!e->library && !e->env.stopping) {
                e->own_library = chores_new("library", &e->library) == 0;
                if (!e->own_library)
                        e->library = e->env.chores; /* there may be no room for a thread */
        }
        pthread_mutex_unlock(&e->lock);
        return e->library && chores_push(e->library, c);
}

bool engine_load(struct engine *e, struct torrent *t, struct engine_load *l)
{
        l->chore.run = run_load;
        l->torrent = torrent_ref(t);
        if (library_push(e, &l->chore))
                return true;
        torrent_unref(t);
        return false;
}
