/* SPDX-License-Identifier: MIT */
#include "nodes/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/control_names.h"
#include "common/limits.h"
#include "torrent/names.h"

enum { KIND_SHIFT = 60, BLOCK_BYTES = 512 };
/* What programs read at a time when they go by st_blksize. */
enum { IO_BYTES = 128 * 1024 };
/* Cookies of "." and "..": the entries follow. */
enum { COOKIE_DOT = 1, COOKIE_DOT_DOT = 2 };

struct fixed {
        uint32_t node;
        const char *name;
        mode_t mode;
};

static const struct fixed magnetfs_entries[] = {
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

static const struct fixed control_entries[] = {
        {CONTROL_STATUS, NAME_STATUS, S_IFREG | 0600},
        {CONTROL_FILES, NAME_FILES, S_IFREG | 0600},
        {CONTROL_MAGNET, NAME_MAGNET, S_IFREG | 0600},
        {CONTROL_KEEP, NAME_KEEP, S_IFREG | 0600},
        {CONTROL_TORRENT, NAME_TORRENT, S_IFREG | 0600},
};

#define N(a) (sizeof(a) / sizeof *(a))

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

static const struct fixed *find_name(const struct fixed *list, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(list[i].name, name) == 0)
                        return &list[i];
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
        const struct fixed *f;
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
                f = find_name(magnetfs_entries, N(magnetfs_entries), name);
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
        if (child != TREE_NONE) {
                *ret = node_ino(parent.kind, parent.number, child);
                r = 0;
        }
        listing_unref(l);
        return r;
}

int node_lookup(const struct nodes *nodes, uint64_t parent, const char *name, uint64_t *ret)
{
        struct node p = node_of(parent);
        const struct fixed *f;
        struct torrent *t;
        int r = -ENOTDIR;

        if (p.number == 0)
                return lookup_fixed(nodes, p.node, name, ret);
        t = registry_by_number(engine_registry(nodes->engine), p.number);
        if (!t)
                return -ESTALE;
        if (node_is_content(p)) {
                r = lookup_tree(t, p, name, ret);
        } else if (p.kind == NODE_CONTROL && p.node == CONTROL_DIR) {
                f = find_name(control_entries, N(control_entries), name);
                r = 0;
                if (f)
                        *ret = node_ino(NODE_CONTROL, p.number, f->node);
                else if (strcmp(name, NAME_DATA) == 0)
                        *ret = node_ino(NODE_DATA, p.number, TREE_ROOT);
                else
                        r = -ENOENT;
        }
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

static int stat_control(uint32_t node, struct stat *st)
{
        if (node == CONTROL_DIR) {
                stat_directory(st, 0700, 1);
                return 0;
        }
        for (size_t i = 0; i < N(control_entries); i++) {
                if (control_entries[i].node == node) {
                        st->st_mode = control_entries[i].mode;
                        st->st_nlink = 1;
                        return 0;
                }
        }
        return -ENOENT;
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
                r = stat_control(n.node, ret);
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

int node_readlink(const struct nodes *nodes, uint64_t ino, char *out, size_t size)
{
        struct node n = node_of(ino);
        char name[NAME_BYTES_MAX + 1];
        struct torrent *t;
        bool found;

        if (n.kind != NODE_LINK)
                return -EINVAL;
        t = registry_by_number(engine_registry(nodes->engine), n.number);
        if (!t)
                return -ESTALE;
        found = registry_name(engine_registry(nodes->engine), t, name);
        torrent_unref(t);
        if (!found)
                return -ENOENT;
        snprintf(out, size, "../../%s", name);
        return 0;
}

/* ---- listing ---- */

typedef bool (*emit_fn)(void *arg, const char *name, uint64_t ino, mode_t type,
                        uint64_t next_cookie);

static bool list_fixed(const struct fixed *list, size_t n, enum node_kind kind, uint32_t number,
                       uint64_t cookie, emit_fn emit, void *arg)
{
        for (uint64_t i = cookie - COOKIE_DOT_DOT; i < n; i++)
                if (!emit(arg, list[i].name, node_ino(kind, number, list[i].node),
                          list[i].mode & S_IFMT, i + 1 + COOKIE_DOT_DOT))
                        return false;
        return true;
}

/* Cookies are numbers of torrents, so a listing goes on rightly while torrents come and go. */
static void list_torrents(const struct nodes *nodes, uint32_t directory, uint64_t cookie,
                          emit_fn emit, void *arg)
{
        struct registry *reg = engine_registry(nodes->engine);
        char name[NAME_BYTES_MAX + 1];
        struct torrent *t;
        bool more = true;

        for (uint32_t n = (uint32_t)(cookie - COOKIE_DOT_DOT); more && (t = registry_next(reg, n));
             torrent_unref(t)) {
                n = t->number;
                if (directory == FIXED_TORRENTS)
                        more = emit(arg, t->hex, node_ino(NODE_CONTROL, n, CONTROL_DIR), S_IFDIR,
                                    n + COOKIE_DOT_DOT);
                else if (registry_name(reg, t, name))
                        more = emit(arg, name, node_ino(NODE_TREE, n, TREE_ROOT), S_IFDIR,
                                    n + COOKIE_DOT_DOT);
        }
}

static void list_links(const struct nodes *nodes, uint64_t cookie, emit_fn emit, void *arg)
{
        struct registry *reg = engine_registry(nodes->engine);
        uint64_t at = cookie - COOKIE_DOT_DOT; /* 2 × number + which of the last one */
        char hex[BT_HEX_MAX];
        struct torrent *t;
        bool more = true;

        for (uint32_t n = (uint32_t)(at / 2); more && (t = registry_next(reg, n ? n - 1 : 0));
             torrent_unref(t)) {
                for (unsigned i = 0; i < 2 && more; i++) {
                        uint64_t here = 2ull * t->number + i;

                        registry_alias(reg, t, i, hex);
                        if (here > at && hex[0])
                                more = emit(arg, hex, node_ino(NODE_LINK, t->number, i), S_IFLNK,
                                            here + COOKIE_DOT_DOT);
                }
                n = t->number + 1;
        }
}

static int list_tree(struct torrent *t, struct node n, uint64_t cookie, emit_fn emit, void *arg)
{
        struct listing *l = torrent_listing(t);
        const struct tree_node *d = l ? tree_node(l->tree, n.node) : NULL;
        int r = 0;

        if (!l) /* pending: empty */
                return torrent_has_metadata(t) ? -EAGAIN : 0;
        if (!d)
                r = -ENOENT;
        else if (d->file != TREE_DIRECTORY)
                r = -ENOTDIR;
        for (uint64_t i = cookie - COOKIE_DOT_DOT; r == 0 && i < d->children; i++) {
                uint32_t child = tree_child(l->tree, n.node, (uint32_t)i);
                const struct tree_node *k = tree_node(l->tree, child);

                if (!emit(arg, k->name, node_ino(n.kind, n.number, child),
                          k->file == TREE_DIRECTORY ? S_IFDIR : S_IFREG, i + 1 + COOKIE_DOT_DOT))
                        break;
        }
        listing_unref(l);
        return r;
}

static int list_control(struct node n, uint64_t cookie, emit_fn emit, void *arg)
{
        if (n.node != CONTROL_DIR)
                return -ENOTDIR;
        if (list_fixed(control_entries, N(control_entries), NODE_CONTROL, n.number, cookie, emit,
                       arg) &&
            cookie <= COOKIE_DOT_DOT + N(control_entries))
                (void)emit(arg, NAME_DATA, node_ino(NODE_DATA, n.number, TREE_ROOT), S_IFDIR,
                           COOKIE_DOT_DOT + N(control_entries) + 1);
        return 0;
}

int node_list(const struct nodes *nodes, uint64_t ino, uint64_t cookie, emit_fn emit, void *arg)
{
        struct node n = node_of(ino);
        struct torrent *t;
        uint64_t parent;
        int r = node_parent(nodes, ino, &parent);

        if (r < 0)
                return r;
        if (cookie < COOKIE_DOT && !emit(arg, ".", ino, S_IFDIR, COOKIE_DOT))
                return 0;
        if (cookie < COOKIE_DOT_DOT && !emit(arg, "..", parent, S_IFDIR, COOKIE_DOT_DOT))
                return 0;
        if (cookie < COOKIE_DOT_DOT)
                cookie = COOKIE_DOT_DOT;
        if (n.number == 0) {
                if (n.node == FIXED_ROOT || n.node == FIXED_TORRENTS)
                        list_torrents(nodes, n.node, cookie, emit, arg);
                else if (n.node == FIXED_BY_HASH)
                        list_links(nodes, cookie, emit, arg);
                else if (n.node == FIXED_MAGNETFS)
                        (void)list_fixed(magnetfs_entries, N(magnetfs_entries), NODE_TREE, 0,
                                         cookie, emit, arg);
                else
                        r = -ENOTDIR;
                return r;
        }
        t = registry_by_number(engine_registry(nodes->engine), n.number);
        if (!t)
                return -ESTALE;
        if (node_is_content(n))
                r = list_tree(t, n, cookie, emit, arg);
        else
                r = n.kind == NODE_CONTROL ? list_control(n, cookie, emit, arg) : -ENOTDIR;
        torrent_unref(t);
        return r;
}
