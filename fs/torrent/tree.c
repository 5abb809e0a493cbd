/* SPDX-License-Identifier: MIT */
#include "torrent/tree.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "torrent/names.h"

/* uthash would exit() when memory ends; here the build fails instead. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct tree {
        struct tree_node *nodes;
        uint32_t n_nodes, room;
        uint32_t *children;
        char **pools; /* the names' bytes */
        size_t n_pools;
        size_t pool_used, pool_size;
};

/* Two tables for the time of the build: directories by (parent, raw name), names taken by (parent,
 * safe name). */
struct entry {
        UT_hash_handle hh;
        uint32_t node;
        uint32_t next_number; /* in counters: the one to try; 0: new */
        bool is_taken;        /* in taken: false while new */
        size_t key_len;
        char key[]; /* parent, then the name */
};

struct build {
        struct tree *tree;
        struct entry *directories, *taken, *counters;
};

enum { POOL_BYTES = 64 * 1024 };

static char *pool_copy(struct tree *t, const char *s, size_t len)
{
        char *p;

        if (t->n_pools == 0 || t->pool_used + len + 1 > t->pool_size) {
                char **grown = reallocarray(t->pools, t->n_pools + 1, sizeof *grown);
                if (!grown)
                        return NULL;
                t->pools = grown;
                t->pool_size = POOL_BYTES;
                t->pools[t->n_pools] = malloc(t->pool_size);
                if (!t->pools[t->n_pools])
                        return NULL;
                t->n_pools++;
                t->pool_used = 0;
        }
        p = t->pools[t->n_pools - 1] + t->pool_used;
        memcpy(p, s, len);
        p[len] = '\0';
        t->pool_used += len + 1;
        return p;
}

static int add_node(struct tree *t, uint32_t parent, const char *name, size_t len, uint32_t *ret)
{
        char *copy;

        if (t->n_nodes == TREE_NODES_MAX)
                return -E2BIG;
        if (t->n_nodes == t->room) {
                uint32_t room = t->room ? 2 * t->room : 16;
                struct tree_node *grown = reallocarray(t->nodes, room, sizeof *grown);
                if (!grown)
                        return -ENOMEM;
                t->nodes = grown;
                t->room = room;
        }
        copy = pool_copy(t, name, len);
        if (!copy)
                return -ENOMEM;
        t->nodes[t->n_nodes] =
                (struct tree_node){.name = copy, .parent = parent, .file = TREE_DIRECTORY};
        *ret = t->n_nodes++;
        return 0;
}

static struct entry *entry_new(uint32_t parent, const char *name, size_t len)
{
        struct entry *e = calloc(1, sizeof *e + sizeof parent + len);

        if (!e)
                return NULL;
        e->key_len = sizeof parent + len;
        memcpy(e->key, &parent, sizeof parent);
        memcpy(e->key + sizeof parent, name, len);
        return e;
}

/* Adds e to table, or gives back the entry that is there already and frees e. NULL: no memory, e is
 * freed. */
static struct entry *entry_add(struct entry **table, struct entry *e)
{
        struct entry *old;

        HASH_FIND(hh, *table, e->key, e->key_len, old);
        if (old) {
                free(e);
                return old;
        }
        HASH_ADD_KEYPTR(hh, *table, e->key, e->key_len, e);
        if (!e->hh.tbl) {
                free(e);
                return NULL;
        }
        return e;
}

static void entries_free(struct entry **table)
{
        struct entry *e, *tmp;

        HASH_ITER (hh, *table, e, tmp) {
                HASH_DELETE(hh, *table, e);
                free(e);
        }
}

/* Adds a node of a raw name below parent under a safe name nobody has there yet. */
static int add_named(struct build *b, uint32_t parent, const char *raw, size_t raw_len,
                     uint32_t *ret)
{
        char clean[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        size_t len = name_clean(raw, raw_len, clean);
        struct entry *e = entry_new(parent, clean, len), *counter;

        if (!e || !(e = entry_add(&b->taken, e)))
                return -ENOMEM;
        memcpy(name, clean, len + 1);
        if (e->is_taken) {
                /* Who would get the same names counts together, so that thousands of one name stay
                 * linear, also where a number takes the place of what told long names apart. */
                len = name_numbered(clean, UINT32_MAX, name);
                counter = entry_new(parent, name, len);
                if (!counter || !(counter = entry_add(&b->counters, counter)))
                        return -ENOMEM;
                if (counter->next_number == 0)
                        counter->next_number = 2;
                do {
                        len = name_numbered(clean, counter->next_number++, name);
                        e = entry_new(parent, name, len);
                        if (!e || !(e = entry_add(&b->taken, e)))
                                return -ENOMEM;
                } while (e->is_taken);
        }
        e->is_taken = true;
        return add_node(b->tree, parent, name, len, ret);
}

static int find_directory(struct build *b, uint32_t parent, const char *raw, size_t len,
                          uint32_t *ret)
{
        struct entry *e = entry_new(parent, raw, len);
        int r;

        if (!e || !(e = entry_add(&b->directories, e)))
                return -ENOMEM;
        if (e->node == TREE_ROOT) { /* new: the root is nobody's child */
                r = add_named(b, parent, raw, len, &e->node);
                if (r < 0)
                        return r;
                b->tree->nodes[parent].children++;
                b->tree->nodes[parent].directories++;
        }
        *ret = e->node;
        return 0;
}

static int add_file(struct build *b, const struct tree_file *f)
{
        uint32_t parent = TREE_ROOT, node;
        const char *p = f->path, *slash;
        int r;

        while ((slash = strchr(p, '/'))) {
                r = find_directory(b, parent, p, (size_t)(slash - p), &parent);
                if (r < 0)
                        return r;
                p = slash + 1;
        }
        r = add_named(b, parent, p, strlen(p), &node);
        if (r < 0)
                return r;
        b->tree->nodes[parent].children++;
        b->tree->nodes[node].file = f->index;
        b->tree->nodes[node].offset = f->offset;
        b->tree->nodes[node].size = f->size;
        return 0;
}

static int by_name(const void *a, const void *b, void *tree)
{
        const struct tree *t = tree;

        return strcmp(t->nodes[*(const uint32_t *)a].name, t->nodes[*(const uint32_t *)b].name);
}

static int sort_children(struct tree *t)
{
        uint32_t next = 0;

        t->children = calloc(t->n_nodes, sizeof *t->children);
        if (!t->children)
                return -ENOMEM;
        for (uint32_t i = 0; i < t->n_nodes; i++) {
                t->nodes[i].first_child = next;
                next += t->nodes[i].children;
                t->nodes[i].children = 0;
        }
        for (uint32_t i = 1; i < t->n_nodes; i++) {
                struct tree_node *parent = &t->nodes[t->nodes[i].parent];
                t->children[parent->first_child + parent->children++] = i;
        }
        for (uint32_t i = 0; i < t->n_nodes; i++)
                if (t->nodes[i].children > 1)
                        qsort_r(t->children + t->nodes[i].first_child, t->nodes[i].children,
                                sizeof *t->children, by_name, t);
        return 0;
}

int tree_new(const struct tree_file *files, size_t n, struct tree **ret)
{
        struct build b = {.tree = calloc(1, sizeof(struct tree))};
        uint32_t root;
        int r;

        if (!b.tree)
                return -ENOMEM;
        r = add_node(b.tree, TREE_ROOT, "", 0, &root);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = add_file(&b, &files[i]);
        if (r >= 0)
                r = sort_children(b.tree);
        entries_free(&b.directories);
        entries_free(&b.taken);
        entries_free(&b.counters);
        if (r < 0) {
                tree_free(b.tree);
                return r;
        }
        *ret = b.tree;
        return 0;
}

void tree_free(struct tree *t)
{
        if (!t)
                return;
        for (size_t i = 0; i < t->n_pools; i++)
                free(t->pools[i]);
        free(t->pools);
        free(t->children);
        free(t->nodes);
        free(t);
}

uint32_t tree_nodes(const struct tree *t)
{
        return t->n_nodes;
}

const struct tree_node *tree_node(const struct tree *t, uint32_t node)
{
        return node < t->n_nodes ? &t->nodes[node] : NULL;
}

uint32_t tree_child(const struct tree *t, uint32_t directory, uint32_t i)
{
        return t->children[t->nodes[directory].first_child + i];
}

uint32_t tree_lookup(const struct tree *t, uint32_t directory, const char *name)
{
        uint32_t low = 0, high = t->nodes[directory].children;

        while (low < high) {
                uint32_t mid = low + (high - low) / 2, child = tree_child(t, directory, mid);
                int c = strcmp(name, t->nodes[child].name);

                if (c == 0)
                        return child;
                if (c < 0)
                        high = mid;
                else
                        low = mid + 1;
        }
        return TREE_NONE;
}

size_t tree_path(const struct tree *t, uint32_t node, char *out, size_t size)
{
        size_t len = 0, end;

        for (uint32_t i = node; i != TREE_ROOT; i = t->nodes[i].parent)
                len += strlen(t->nodes[i].name) + 1;
        if (len > 0)
                len--; /* no '/' before the first */
        if (size == 0)
                return len;
        end = len;
        out[len < size ? len : size - 1] = '\0';
        for (uint32_t i = node; i != TREE_ROOT; i = t->nodes[i].parent) {
                size_t n = strlen(t->nodes[i].name);

                end -= n;
                for (size_t k = 0; k < n && end + k < size - 1; k++)
                        out[end + k] = t->nodes[i].name[k];
                if (end > 0 && --end < size - 1)
                        out[end] = '/';
        }
        return len;
}
