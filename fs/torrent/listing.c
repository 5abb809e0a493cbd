/* SPDX-License-Identifier: MIT */
#include "torrent/listing.h"

#include <errno.h>
#include <stdlib.h>

#include "common/media.h"

/* Neither padding nor a symbolic link, which are not shown. */
static bool is_shown(const struct bt_file *f)
{
        return !f->pad && !f->symlink;
}

static int make_tree(struct listing *l)
{
        uint32_t n = bt_meta_files(l->meta), k = 0;
        struct tree_file *files = calloc(n, sizeof *files);
        int r;

        if (!files)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                struct bt_file f;

                bt_meta_file(l->meta, i, &f);
                if (!is_shown(&f))
                        continue;
                files[k++] = (struct tree_file){
                        .path = f.path, .index = i, .offset = f.offset, .size = f.size};
                l->shown += f.size;
        }
        r = tree_new(files, k, &l->tree);
        free(files);
        return r;
}

static uint32_t find_largest(const struct tree *t)
{
        struct media_best best = {0};
        uint32_t largest = TREE_NONE;

        for (uint32_t i = TREE_ROOT + 1; i < tree_nodes(t); i++) {
                const struct tree_node *n = tree_node(t, i);

                if (n->file != TREE_DIRECTORY && media_is_better(&best, n->name, n->size))
                        largest = i;
        }
        return largest;
}

int listing_new(struct bt_meta *meta, struct listing **ret)
{
        struct listing *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return -ENOMEM;
        l->refs = 1;
        l->meta = bt_meta_ref(meta);
        l->size = bt_meta_size(meta);
        l->piece_length = bt_meta_piece_length(meta);
        l->pieces = bt_meta_pieces(meta);
        r = make_tree(l);
        if (r < 0) {
                listing_unref(l);
                return r;
        }
        l->largest = find_largest(l->tree);
        *ret = l;
        return 0;
}

struct listing *listing_ref(struct listing *l)
{
        atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
        return l;
}

void listing_unref(struct listing *l)
{
        if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
                return;
        alike_free(atomic_load(&l->alike));
        tree_free(l->tree);
        bt_meta_unref(l->meta);
        free(l);
}

const struct alike *listing_alike(struct listing *l)
{
        const struct alike *a = atomic_load(&l->alike);

        if (!a)
                atomic_store(&l->wants_alike, true);
        return a;
}

int listing_sort(struct listing *l)
{
        struct alike *a, *none = NULL;
        int r;

        if (!atomic_load(&l->wants_alike) || atomic_load(&l->alike))
                return 0;
        r = alike_new(l->tree, &a);
        if (r == 0 && !atomic_compare_exchange_strong(&l->alike, &none, a))
                alike_free(a); /* another one was quicker */
        return r;
}

/* The bytes that users do not see, so that the store does not count them. */
static int find_hidden(const struct listing *l, struct store_options *o)
{
        uint32_t n = bt_meta_files(l->meta);
        size_t k = 0;

        for (uint32_t i = 0; i < n; i++) {
                struct bt_file f;

                bt_meta_file(l->meta, i, &f);
                k += !is_shown(&f) && f.size > 0;
        }
        if (k == 0)
                return 0;
        o->hidden = calloc(k, sizeof *o->hidden);
        if (!o->hidden)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                struct bt_file f;

                bt_meta_file(l->meta, i, &f);
                if (!is_shown(&f) && f.size > 0)
                        o->hidden[o->n_hidden++] = (struct store_range){f.offset, f.size};
        }
        return 0;
}

int listing_store(const struct listing *l, struct cache *cache, const char *name, uint32_t number,
                  const uint8_t *have, bool suspect, struct store **ret)
{
        struct store_options o = {.name = name,
                                  .number = number,
                                  .size = l->size,
                                  .piece_length = l->piece_length,
                                  .have = have,
                                  .suspect = suspect};
        int r = find_hidden(l, &o);

        return r < 0 ? r : store_open(cache, &o, ret);
}
