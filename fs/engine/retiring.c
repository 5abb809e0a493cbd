/* SPDX-License-Identifier: MIT */
/* retiring.c: temporary torrents that went as nobody used them, and may come back within a day. The
 * catalog remembers them; until it knows that they went they are on a list here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "common/cleanup.h"
#include "engine/engine_private.h"

void library_retire(struct engine *e, struct torrent *t)
{
        pthread_mutex_lock(&e->lock);
        if (!t->retiring) {
                t->retiring = true;
                torrent_ref(t);
                DL_APPEND2(e->retiring, t, retiring_prev,
                           retiring_next); /* NOLINT(*NullDereference) */
        }
        pthread_mutex_unlock(&e->lock);
}

void library_retire_not(struct engine *e, struct torrent *t)
{
        bool was;

        pthread_mutex_lock(&e->lock);
        was = t->retiring;
        if (was)
                DL_DELETE2(e->retiring, t, retiring_prev, retiring_next);
        t->retiring = false;
        pthread_mutex_unlock(&e->lock);
        if (was)
                torrent_unref(t);
}

static bool is_like(const char hex[2][BT_HEX_MAX], const struct torrent *t)
{
        for (unsigned i = 0; i < 2; i++)
                if (hex[i][0] && (strcmp(hex[i], t->hex) == 0 || strcmp(hex[i], t->alias[0]) == 0 ||
                                  strcmp(hex[i], t->alias[1]) == 0))
                        return true;
        return false;
}

/* One of these hashes that the catalog may not know to be gone: a reference, or NULL. */
static struct torrent *find_retiring(struct engine *e, const char hex[2][BT_HEX_MAX])
{
        struct torrent *t;

        pthread_mutex_lock(&e->lock);
        DL_FOREACH2 (e->retiring, t, retiring_next)
                if (!t->no_return && is_like(hex, t))
                        break;
        if (t)
                torrent_ref(t);
        pthread_mutex_unlock(&e->lock);
        return t;
}

/* A torrent is removed for good: others of its hashes that went before do not come back either. By
 * who may write to the catalog, as what is told of those. */
void library_forbid_return(struct engine *e, struct torrent *t)
{
        char hex[2][BT_HEX_MAX];
        struct torrent *other;

        for (unsigned i = 0; i < 2; i++)
                registry_alias(e->registry, t, i, hex[i]);
        pthread_mutex_lock(&e->lock);
        DL_FOREACH2 (e->retiring, other, retiring_next)
                if (is_like(hex, other))
                        other->no_return = true;
        pthread_mutex_unlock(&e->lock);
}

bool library_may_not_return(struct engine *e, struct torrent *t)
{
        bool no_return;

        pthread_mutex_lock(&e->lock);
        no_return = t->no_return;
        pthread_mutex_unlock(&e->lock);
        return no_return;
}

/* What the catalog will have of it. */
static int save_retiring(struct torrent *t, void **ret, size_t *ret_len)
{
        struct bt_source *source = torrent_source(t);
        void *data, *copy;
        int r = source ? bt_source_save(source, &data, ret_len) : -ENOENT;

        bt_source_free(source);
        if (r < 0)
                return r;
        copy = malloc(*ret_len ? *ret_len : 1);
        if (copy)
                memcpy(copy, data, *ret_len);
        bt_free(data);
        *ret = copy;
        return copy ? 0 : -ENOMEM;
}

struct bt_source *library_recall(struct engine *e, const struct bt_hash *hash)
{
        _cleanup_free_ void *data = NULL;
        struct bt_source *source = NULL;
        struct bt_error err = {0};
        char hex[2][BT_HEX_MAX];
        struct torrent *t;
        size_t len;
        int r = -ENOENT;

        bt_hash_v1_hex(hash, hex[0]);
        bt_hash_v2_hex(hash, hex[1]);
        t = find_retiring(e, hex);
        if (t)
                r = save_retiring(t, &data, &len);
        if (t && r == -ENOENT) /* it was asleep */
                r = catalog_get_source(e->catalog, t->number, &data, &len);
        torrent_unref(t);
        for (unsigned i = 0; i < 2 && r == -ENOENT; i++)
                if (hex[i][0])
                        r = catalog_recall(e->catalog, hex[i], &data, &len);
        if (r == 0 && bt_source_load(data, len, e->options.loopback_peers, &source, &err) < 0)
                return NULL;
        return source;
}
