/* SPDX-License-Identifier: MIT */
/* nodes_list.c: what is in each directory of the mount, in an order that holds while it changes. */
#include "nodes/nodes_private.h"

#include <errno.h>

#include "common/control_names.h"
#include "torrent/names.h"

/* Cookies of "." and "..": the entries follow. */
enum { COOKIE_DOT = 1, COOKIE_DOT_DOT = 2 };

typedef bool (*emit_fn)(void *arg, const char *name, uint64_t ino, mode_t type,
                        uint64_t next_cookie);

static bool list_fixed(const struct node_table *t, enum node_kind kind, uint32_t number,
                       uint64_t cookie, emit_fn emit, void *arg)
{
        for (uint64_t i = cookie - COOKIE_DOT_DOT; i < t->n; i++)
                if (!emit(arg, t->list[i].name, node_ino(kind, number, t->list[i].node),
                          t->list[i].mode & S_IFMT, i + 1 + COOKIE_DOT_DOT))
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

/* by-name/ lists nothing: what is in it is found by name, and would be all of a torrent's files. */
static int list_control(struct torrent *t, struct node n, uint64_t cookie, emit_fn emit, void *arg)
{
        const uint64_t data = COOKIE_DOT_DOT + node_in_control.n + 1, largest = data + 1;

        if (n.node == CONTROL_BY_NAME)
                return 0;
        if (n.node != CONTROL_DIR)
                return -ENOTDIR;
        if (!list_fixed(&node_in_control, NODE_CONTROL, n.number, cookie, emit, arg))
                return 0;
        if (cookie < data &&
            !emit(arg, NAME_DATA, node_ino(NODE_DATA, n.number, TREE_ROOT), S_IFDIR, data))
                return 0;
        if (cookie < largest && torrent_has_metadata(t))
                (void)emit(arg, NAME_LARGEST, node_ino(NODE_CONTROL, n.number, CONTROL_LARGEST),
                           S_IFLNK, largest);
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
                        (void)list_fixed(&node_in_magnetfs, NODE_TREE, 0, cookie, emit, arg);
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
                r = n.kind == NODE_CONTROL ? list_control(t, n, cookie, emit, arg) : -ENOTDIR;
        torrent_unref(t);
        return r;
}
