/* SPDX-License-Identifier: MIT */
#include "torrent/alike.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/nfc.h"

struct alike {
        const struct tree *tree;
        uint32_t n;
        uint32_t nodes[]; /* by their names' normal form, then by number; not the root */
};

/* A node while they are sorted. */
struct keyed {
        const char *key;
        char *own; /* the key, where it is not the name as it is */
        uint32_t node;
};

static int by_key(const void *a, const void *b)
{
        const struct keyed *x = a, *y = b;
        int c = strcmp(x->key, y->key);

        return c ? c : (x->node > y->node) - (x->node < y->node);
}

static int make_keys(const struct tree *t, struct keyed *keys, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                struct keyed *k = &keys[i];
                int r;

                k->node = TREE_ROOT + 1 + i;
                k->key = tree_node(t, k->node)->name;
                r = nfc_of(k->key, &k->own);
                if (r < 0)
                        return r;
                if (k->own)
                        k->key = k->own;
        }
        return 0;
}

int alike_new(const struct tree *t, struct alike **ret)
{
        uint32_t n = tree_nodes(t) - 1;
        struct alike *a = malloc(sizeof *a + n * sizeof *a->nodes);
        struct keyed *keys = calloc(n ? n : 1, sizeof *keys);
        int r = a && keys ? make_keys(t, keys, n) : -ENOMEM;

        if (r == 0) {
                qsort(keys, n, sizeof *keys, by_key);
                a->tree = t;
                a->n = n;
                for (uint32_t i = 0; i < n; i++)
                        a->nodes[i] = keys[i].node;
                *ret = a;
        } else {
                free(a);
        }
        for (uint32_t i = 0; keys && i < n; i++)
                free(keys[i].own);
        free(keys);
        return r;
}

void alike_free(struct alike *a)
{
        free(a);
}

/* How the name of the node at that place compares with key, which is normal. */
static int compare(const struct alike *a, uint32_t place, const char *key, int *ret)
{
        const char *name = tree_node(a->tree, a->nodes[place])->name;
        _cleanup_free_ char *normal = NULL;
        int r = nfc_of(name, &normal);

        if (r == 0)
                *ret = strcmp(normal ? normal : name, key);
        return r;
}

/* The first place whose name is not before key (least 0), or is behind it (1). */
static int bound(const struct alike *a, uint32_t low, const char *key, int least, uint32_t *ret)
{
        uint32_t high = a->n;

        while (low < high) {
                uint32_t mid = low + (high - low) / 2;
                int c = 0, r = compare(a, mid, key, &c);

                if (r < 0)
                        return r;
                if (c >= least)
                        high = mid;
                else
                        low = mid + 1;
        }
        *ret = low;
        return 0;
}

int alike_find(const struct alike *a, const char *name, uint32_t *ret)
{
        _cleanup_free_ char *normal = NULL;
        uint32_t first = 0, end = 0;
        int r = nfc_of(name, &normal);

        if (normal)
                name = normal;
        if (r == 0)
                r = bound(a, 0, name, 0, &first);
        if (r == 0)
                r = bound(a, first, name, 1, &end);
        if (r < 0)
                return r;
        if (end > first)
                *ret = first;
        return (int)(end - first); /* there are less than TREE_NODES_MAX */
}

uint32_t alike_node(const struct alike *a, uint32_t place)
{
        return a->nodes[place];
}
