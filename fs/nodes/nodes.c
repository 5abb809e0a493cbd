/* SPDX-License-Identifier: MIT */
#include "nodes/nodes_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/control_names.h"
#include "common/limits.h"
#include "common/utf8.h"
#include "torrent/names.h"

enum { KIND_SHIFT = 60, BLOCK_BYTES = 512 };
/* What programs read at a time when they go by st_blksize. */
enum { IO_BYTES = 128 * 1024 };

static const struct node_fixed magnetfs_entries[] = {
        {FIXED_ADD, NAME_ADD, S_IFREG | 0600},
        {FIXED_ADD_TEMPORARY, NAME_ADD_TEMPORARY, S_IFREG | 0600},
        {FIXED_RECALL, NAME_RECALL, S_IFREG | 0600},
        {FIXED_STATUS, NAME_STATUS, S_IFREG | 0600},
        {FIXED_EVENTS, NAME_EVENTS, S_IFREG | 0600},
        {FIXED_SESSION, NAME_SESSION, S_IFREG | 0600},
        {FIXED_CACHE, NAME_CACHE, S_IFREG | 0600},
        {FIXED_BY_HASH, NAME_BY_HASH, S_IFDIR | 0700},
        {FIXED_TORRENTS, NAME_TORRENTS, S_IFDIR | 0700},
};

static const struct node_fixed control_entries[] = {
        {CONTROL_STATUS, NAME_STATUS, S_IFREG | 0600},
        {CONTROL_FILES, NAME_FILES, S_IFREG | 0600},
        {CONTROL_MAGNET, NAME_MAGNET, S_IFREG | 0600},
        {CONTROL_KEEP, NAME_KEEP, S_IFREG | 0600},
        {CONTROL_TORRENT, NAME_TORRENT, S_IFREG | 0600},
        {CONTROL_DETAIL, NAME_DETAIL, S_IFREG | 0600},
        {CONTROL_BY_NAME, NAME_BY_NAME, S_IFDIR | 0700},
};

#define N(a) (sizeof(a) / sizeof *(a))

const struct node_table node_in_magnetfs = {magnetfs_entries, N(magnetfs_entries)};
const struct node_table node_in_control = {control_entries, N(control_entries)};

static const char data_prefix[] = NAME_DATA "/"; /* of the target of the largest */

uint64_t node_ino(enum node_kind kind, uint32_t number, uint32_t node)
{
        return (uint64_t)kind << KIND_SHIFT | (uint64_t)number << NODE_BITS | node;
}

struct node node_of(uint64_t ino)
{
        return (struct node){.kind = (enum node_kind)(ino >> KIND_SHIFT),
                             .number = (uint32_t)(ino >> NODE_BITS),
                             .node = (uint32_t)(ino & ((1u << NODE_BITS) - 1))};
}

bool node_is_content(struct node n)
{
        return n.number != 0 && (n.kind == NODE_TREE || n.kind == NODE_DATA);
}

bool node_is_name(struct node n)
{
        return n.kind == NODE_NAMED || n.kind == NODE_ALIKE;
}

static const struct node_fixed *find_name(const struct node_table *t, const char *name)
{
        for (size_t i = 0; i < t->n; i++)
                if (strcmp(t->list[i].name, name) == 0)
                        return &t->list[i];
        return NULL;
}

/* ---- lookup ---- */

/* Finds a torrent by a hash of it; which says whether hex is its v1 (0) or v2 (1). */
static int lookup_hash(const struct nodes *nodes, const char *hex, uint32_t *number,
                       uint32_t *which)
{
        struct torrent *t = registry_by_hash(engine_registry(nodes->engine), hex);

        if (!t)
                return -ENOENT;
        *number = t->number;
        *which = strlen(hex) == 2 * BT_V2_BYTES;
        torrent_unref(t);
        return 0;
}

static int lookup_fixed(const struct nodes *nodes, uint32_t directory, const char *name,
                        uint64_t *ret)
{
        const struct node_fixed *f;
        struct torrent *t;
        uint32_t number, which;
        int r;

        switch (directory) {
        case FIXED_ROOT:
                if (strcmp(name, NAME_CONTROL) == 0) {
                        *ret = FIXED_MAGNETFS;
                        return 0;
                }
                t = registry_by_name(engine_registry(nodes->engine), name);
                if (!t)
                        return -ENOENT;
                *ret = node_ino(NODE_TREE, t->number, TREE_ROOT);
                torrent_unref(t);
                return 0;
        case FIXED_MAGNETFS:
                f = find_name(&node_in_magnetfs, name);
                if (!f)
                        return -ENOENT;
                *ret = f->node;
                return 0;
        case FIXED_BY_HASH:
        case FIXED_TORRENTS:
                r = lookup_hash(nodes, name, &number, &which);
                if (r == 0)
                        *ret = directory == FIXED_BY_HASH
                                       ? node_ino(NODE_LINK, number, which)
                                       : node_ino(NODE_CONTROL, number, CONTROL_DIR);
                return r;
        default:
                return -ENOTDIR;
        }
}

/* What is to be said of a node that was not found. */
static int no_node(struct torrent *t, const struct listing *l)
{
        return !l && torrent_has_metadata(t) ? -EAGAIN : -ENOENT;
}

/* The child of a directory of data/ by a name that is equivalent to its own. */
static int lookup_alike(struct listing *l, uint32_t directory, const char *name, uint32_t *ret)
{
        const struct alike *a;
        uint32_t first;
        int n;

        if (utf8_is_ascii(name)) /* next to nothing else is equivalent to it */
                return -ENOENT;
        a = listing_alike(l);
        n = a ? alike_find(a, name, &first) : -EAGAIN;
        for (int i = 0; i < n; i++) {
                uint32_t node = alike_node(a, first + (uint32_t)i);

                if (tree_node(l->tree, node)->parent == directory) {
                        *ret = node;
                        return 0;
                }
        }
        return n < 0 ? n : -ENOENT;
}

static int lookup_tree(struct torrent *t, struct node parent, const char *name, uint64_t *ret)
{
        struct listing *l = torrent_listing(t);
        const struct tree_node *n = l ? tree_node(l->tree, parent.node) : NULL;
        uint32_t child = TREE_NONE;
        int r = no_node(t, l);

        if (n && n->file != TREE_DIRECTORY)
                r = -ENOTDIR;
        else if (n)
                child = tree_lookup(l->tree, parent.node, name);
        if (r == -ENOENT && n && child == TREE_NONE && parent.kind == NODE_DATA)
                r = lookup_alike(l, parent.node, name, &child);
        if (child != TREE_NONE) {
                *ret = node_ino(parent.kind, parent.number, child);
                r = 0;
        }
        listing_unref(l);
        return r;
}

/* The files of a bare name, or else of equivalent ones. */
static int lookup_by_name(struct torrent *t, const char *name, uint64_t *ret)
{
        struct listing *l = torrent_listing(t);
        const struct alike *a = l ? listing_alike(l) : NULL;
        uint32_t first, equivalent = TREE_NONE;
        int n = a ? alike_find(a, name, &first) : l ? -EAGAIN : no_node(t, l);
        int r = n < 0 ? n : -ENOENT;

        for (int i = 0; i < n && r < 0; i++) {
                uint32_t node = alike_node(a, first + (uint32_t)i);
                const struct tree_node *k = tree_node(l->tree, node);

                if (k->file == TREE_DIRECTORY)
                        continue;
                if (equivalent == TREE_NONE)
                        equivalent = node;
                if (strcmp(k->name, name) == 0) {
                        *ret = node_ino(NODE_NAMED, t->number, node);
                        r = 0;
                }
        }
        if (r == -ENOENT && equivalent != TREE_NONE) {
                *ret = node_ino(NODE_ALIKE, t->number, equivalent);
                r = 0;
        }
        listing_unref(l);
        return r;
}

static int lookup_control(struct torrent *t, const char *name, uint64_t *ret)
{
        const struct node_fixed *f = find_name(&node_in_control, name);

        if (f)
                *ret = node_ino(NODE_CONTROL, t->number, f->node);
        else if (strcmp(name, NAME_DATA) == 0)
                *ret = node_ino(NODE_DATA, t->number, TREE_ROOT);
        else if (strcmp(name, NAME_LARGEST) == 0)
                *ret = node_ino(NODE_CONTROL, t->number, CONTROL_LARGEST);
        else
                return -ENOENT;
        return 0;
}

int node_lookup(const struct nodes *nodes, uint64_t parent, const char *name, uint64_t *ret)
{
        struct node p = node_of(parent);
        struct torrent *t;
        int r = -ENOTDIR;

        if (p.number == 0)
                return lookup_fixed(nodes, p.node, name, ret);
        t = registry_by_number(engine_registry(nodes->engine), p.number);
        if (!t)
                return -ESTALE;
        if (node_is_content(p))
                r = lookup_tree(t, p, name, ret);
        else if (p.kind == NODE_CONTROL && p.node == CONTROL_DIR)
                r = lookup_control(t, name, ret);
        else if (p.kind == NODE_CONTROL && p.node == CONTROL_BY_NAME)
                r = lookup_by_name(t, name, ret);
        torrent_unref(t);
        return r;
}

static int parent_in_tree(struct torrent *t, struct node n, uint64_t *ret)
{
        const struct tree_node *k;
        struct listing *l;
        int r;

        if (n.node == TREE_ROOT) {
                *ret = n.kind == NODE_DATA ? node_ino(NODE_CONTROL, n.number, CONTROL_DIR)
                                           : NODE_ROOT;
                return 0;
        }
        l = torrent_listing(t);
        k = l ? tree_node(l->tree, n.node) : NULL;
        r = no_node(t, l);
        if (k && k->file != TREE_DIRECTORY) {
                r = -ENOTDIR;
        } else if (k) {
                *ret = node_ino(n.kind, n.number, k->parent);
                r = 0;
        }
        listing_unref(l);
        return r;
}

int node_parent(const struct nodes *nodes, uint64_t ino, uint64_t *ret)
{
        struct node n = node_of(ino);
        struct torrent *t;
        int r = -ENOTDIR;

        if (n.number == 0) {
                if (n.node == FIXED_ROOT || n.node == FIXED_MAGNETFS)
                        *ret = FIXED_ROOT;
                else if (n.node == FIXED_BY_HASH || n.node == FIXED_TORRENTS)
                        *ret = FIXED_MAGNETFS;
                else
                        return -ENOTDIR;
                return 0;
        }
        t = registry_by_number(engine_registry(nodes->engine), n.number);
        if (!t)
                return -ESTALE;
        if (node_is_content(n)) {
                r = parent_in_tree(t, n, ret);
        } else if (n.kind == NODE_CONTROL && n.node == CONTROL_DIR) {
                *ret = FIXED_TORRENTS;
                r = 0;
        } else if (n.kind == NODE_CONTROL && n.node == CONTROL_BY_NAME) {
                *ret = node_ino(NODE_CONTROL, n.number, CONTROL_DIR);
                r = 0;
        }
        torrent_unref(t);
        return r;
}

/* ---- attributes ---- */

static void set_times(struct stat *st, time_t at)
{
        st->st_mtime = st->st_ctime = st->st_atime = at;
}

static void stat_directory(struct stat *st, mode_t mode, uint64_t directories)
{
        st->st_mode = S_IFDIR | mode;
        st->st_nlink = (nlink_t)(2 + directories);
}

static int stat_fixed(const struct nodes *nodes, uint32_t node, struct stat *st)
{
        set_times(st, nodes->started_at);
        if (node == FIXED_ROOT) {
                stat_directory(st, 0755, registry_count(engine_registry(nodes->engine)));
                set_times(st, registry_changed_at(engine_registry(nodes->engine)));
                return 0;
        }
        if (node == FIXED_MAGNETFS) {
                stat_directory(st, 0700, 2);
                return 0;
        }
        for (size_t i = 0; i < N(magnetfs_entries); i++) {
                if (magnetfs_entries[i].node != node)
                        continue;
                st->st_mode = magnetfs_entries[i].mode;
                st->st_nlink = 1;
                if (S_ISDIR(st->st_mode))
                        stat_directory(st, 0700,
                                       node == FIXED_TORRENTS
                                               ? registry_count(engine_registry(nodes->engine))
                                               : 0);
                return 0;
        }
        return -ENOENT;
}

static void stat_file(struct torrent *t, const struct tree_node *n, struct stat *st)
{
        struct store *store = torrent_store(t);
        uint64_t have = store ? store_have_in(store, n->offset, n->size) : 0;

        store_unref(store);
        st->st_mode = S_IFREG | 0444;
        st->st_nlink = 1;
        st->st_size = (off_t)n->size;
        /* What is in the store; never 0 for a file with bytes, which tar -S would take for one big
         * hole. */
        st->st_blocks = (blkcnt_t)((have + BLOCK_BYTES - 1) / BLOCK_BYTES);
        if (st->st_blocks == 0 && n->size > 0)
                st->st_blocks = 1;
}

static int stat_tree(struct torrent *t, uint32_t node, struct stat *st)
{
        struct listing *l = torrent_listing(t);
        const struct tree_node *n = l ? tree_node(l->tree, node) : NULL;
        struct summary known;
        int r = 0;

        /* Times never move as pieces arrive: a library would probe the file again. */
        set_times(st, t->added_at);
        torrent_get_summary(t, &known);
        if (node == TREE_ROOT)
                stat_directory(st, 0555, known.directories);
        else if (!n)
                r = no_node(t, l);
        else if (n->file == TREE_DIRECTORY)
                stat_directory(st, 0555, n->directories);
        else
                stat_file(t, n, st);
        listing_unref(l);
        return r;
}

static int stat_link(const struct nodes *nodes, struct torrent *t, struct stat *st)
{
        char name[NAME_BYTES_MAX + 1];

        if (!registry_name(engine_registry(nodes->engine), t, name))
                return -ENOENT;
        st->st_mode = S_IFLNK | 0777;
        st->st_nlink = 1;
        st->st_size = (off_t)(strlen("../../") + strlen(name));
        return 0;
}

/* The length of the path of the largest file, and that in out as far as there is room. */
static int largest_path(struct torrent *t, char *out, size_t size, size_t *ret)
{
        struct listing *l = torrent_listing(t);
        int r = no_node(t, l);

        if (l && l->largest != TREE_NONE) {
                *ret = tree_path(l->tree, l->largest, out, size);
                r = 0;
        }
        listing_unref(l);
        return r;
}

static int stat_largest(struct torrent *t, struct stat *st)
{
        size_t len;
        int r = largest_path(t, NULL, 0, &len);

        if (r < 0)
                return r;
        st->st_mode = S_IFLNK | 0777;
        st->st_nlink = 1;
        st->st_size = (off_t)(strlen(data_prefix) + len);
        return 0;
}

static int stat_control(struct torrent *t, uint32_t node, struct stat *st)
{
        if (node == CONTROL_DIR || node == CONTROL_BY_NAME) {
                stat_directory(st, 0700, node == CONTROL_DIR ? 2 : 0);
                return 0;
        }
        if (node == CONTROL_LARGEST)
                return stat_largest(t, st);
        for (size_t i = 0; i < N(control_entries); i++) {
                if (control_entries[i].node == node) {
                        st->st_mode = control_entries[i].mode;
                        st->st_nlink = 1;
                        return 0;
                }
        }
        return -ENOENT;
}

/* What it says is made at the open, so it has no size yet, as all that is made. */
static int stat_name(struct stat *st)
{
        st->st_mode = S_IFREG | 0600;
        st->st_nlink = 1;
        return 0;
}

int node_stat(const struct nodes *nodes, uint64_t ino, struct stat *ret)
{
        struct node n = node_of(ino);
        struct torrent *t;
        int r;

        *ret = (struct stat){
                .st_ino = ino, .st_uid = nodes->uid, .st_gid = nodes->gid, .st_blksize = IO_BYTES};
        if (n.number == 0)
                return stat_fixed(nodes, n.node, ret);
        t = registry_by_number(engine_registry(nodes->engine), n.number);
        if (!t)
                return -ESTALE;
        set_times(ret, t->added_at);
        if (n.kind == NODE_LINK)
                r = stat_link(nodes, t, ret);
        else if (n.kind == NODE_CONTROL)
                r = stat_control(t, n.node, ret);
        else if (node_is_name(n))
                r = stat_name(ret);
        else
                r = stat_tree(t, n.node, ret);
        torrent_unref(t);
        if (n.kind == NODE_TREE) {
                ret->st_uid = nodes->files_uid;
                ret->st_gid = nodes->files_gid;
                ret->st_mode &= ~nodes->files_umask;
        }
        return r;
}

static int readlink_hash(const struct nodes *nodes, struct torrent *t, char *out, size_t size)
{
        char name[NAME_BYTES_MAX + 1];

        if (!registry_name(engine_registry(nodes->engine), t, name))
                return -ENOENT;
        return snprintf(out, size, "../../%s", name) < (int)size ? 0 : -ENAMETOOLONG;
}

static int readlink_largest(struct torrent *t, char *out, size_t size)
{
        size_t prefix = (size_t)snprintf(out, size, "%s", data_prefix), len;
        int r = largest_path(t, out + prefix, size - prefix, &len);

        return r == 0 && len >= size - prefix ? -ENAMETOOLONG : r;
}

int node_readlink(const struct nodes *nodes, uint64_t ino, char *out, size_t size)
{
        struct node n = node_of(ino);
        bool largest = n.kind == NODE_CONTROL && n.node == CONTROL_LARGEST;
        struct torrent *t;
        int r;

        if (n.kind != NODE_LINK && !largest)
                return -EINVAL;
        t = registry_by_number(engine_registry(nodes->engine), n.number);
        if (!t)
                return -ESTALE;
        r = largest ? readlink_largest(t, out, size) : readlink_hash(nodes, t, out, size);
        torrent_unref(t);
        return r;
}
