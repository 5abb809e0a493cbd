/* SPDX-License-Identifier: MIT */
#include "mount/xattr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Those that are listed: programs that copy attributes would else take a file whose peers have
 * changed for another (rsync -X), and keep what was true once (cp -a). */
static const char *const xattrs[] = {"infohash", "kept"};
static const char xattr_prefix[] = "user.magnetfs.";
/* The namespace of names that files may have. There are no access control lists here, nor labels:
 * ENOTSUP says so of all files at once to ls, which asks for three of those of each on ENODATA. */
static const char xattr_namespace[] = "user.";

/* How much there is of a file or a torrent, and how long it is. -EAGAIN. */
static int progress_of(struct torrent *t, struct node n, uint64_t *have, uint64_t *length)
{
        struct listing *l = torrent_listing(t);
        const struct tree_node *k = l ? tree_node(l->tree, n.node) : NULL;
        struct store *store = torrent_store(t);
        struct summary known;
        int r = 0;

        torrent_get_summary(t, &known);
        *have = known.have_bytes;
        *length = known.length;
        if (k && k->file != TREE_DIRECTORY) {
                *have = store ? store_have_in(store, k->offset, k->size) : 0;
                *length = k->size;
        } else if (!l && n.node != TREE_ROOT && known.known) {
                r = -EAGAIN;
        }
        store_unref(store);
        listing_unref(l);
        return r;
}

static int progress_text(struct torrent *t, struct node n, bool bytes, char *out, size_t size)
{
        uint64_t have, length;
        int r = progress_of(t, n, &have, &length);

        if (r < 0)
                return r;
        if (bytes)
                snprintf(out, size, "%llu", (unsigned long long)have);
        else
                snprintf(out, size, "%.4f",
                         length                    ? (double)have / (double)length
                         : torrent_has_metadata(t) ? 1.0
                                                   : 0.0);
        return 0;
}

static bool is_pinned(struct torrent *t, uint32_t node)
{
        bool is;

        pthread_mutex_lock(&t->lock);
        is = pins_has_node(t, node);
        pthread_mutex_unlock(&t->lock);
        return is;
}

static int value_of(struct torrent *t, struct node n, const char *name, char *out, size_t size)
{
        struct torrent_status st;

        torrent_get_status(t, &st);
        if (strcmp(name, "progress") == 0 || strcmp(name, "have_bytes") == 0)
                return progress_text(t, n, name[0] == 'h', out, size);
        if (strcmp(name, "infohash") == 0)
                snprintf(out, size, "%s", t->hex);
        else if (strcmp(name, "peers") == 0)
                snprintf(out, size, "%u", st.stats.peers);
        else if (strcmp(name, "state") == 0)
                snprintf(out, size, "%s", st.failed ? "failed" : torrent_state_name(st.state));
        else if (strcmp(name, "kept") == 0)
                snprintf(out, size, "%d", t->kept ? 1 : 0);
        else if (strcmp(name, "pinned") == 0)
                snprintf(out, size, "%d", is_pinned(t, n.node) ? 1 : 0);
        else
                return -ENODATA;
        return 0;
}

int xattr_get(struct engine *e, struct node n, const char *name, char value[XATTR_VALUE_MAX])
{
        size_t prefix = sizeof xattr_prefix - 1;
        struct torrent *t = NULL;
        int r = -ENODATA;

        if (strncmp(name, xattr_namespace, sizeof xattr_namespace - 1) != 0)
                return -ENOTSUP;
        if (node_is_content(n) && strncmp(name, xattr_prefix, prefix) == 0)
                t = registry_by_number(engine_registry(e), n.number);
        if (t)
                r = value_of(t, n, name + prefix, value, XATTR_VALUE_MAX);
        torrent_unref(t);
        return r;
}

size_t xattr_list(struct node n, char names[XATTR_LIST_MAX])
{
        size_t len = 0;

        if (!node_is_content(n))
                return 0;
        for (size_t i = 0; i < sizeof xattrs / sizeof *xattrs; i++)
                len += (size_t)snprintf(names + len, XATTR_LIST_MAX - len, "%s%s", xattr_prefix,
                                        xattrs[i]) +
                       1;
        return len;
}
