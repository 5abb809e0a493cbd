/* SPDX-License-Identifier: MIT */
#include "mount/xattr.h"

#include <stdio.h>
#include <string.h>

/* Those that are listed: programs that copy attributes would else take a file whose peers have
 * changed for another (rsync -X), and keep what was true once (cp -a). */
static const char *const xattrs[] = {"infohash", "kept"};
static const char xattr_prefix[] = "user.magnetfs.";

/* How much there is of a file or a torrent; false: its length is not known yet. */
static bool progress_of(struct torrent *t, struct node n, uint64_t *have, uint64_t *length)
{
        struct listing *l = torrent_listing(t);
        const struct tree_node *k = l ? tree_node(l->tree, n.node) : NULL;
        struct store *store = torrent_store(t);
        bool known = l;

        *have = store ? store_have_bytes(store) : 0;
        *length = l ? l->shown : 0;
        if (k && k->file != TREE_DIRECTORY) {
                *have = store ? store_have_in(store, k->offset, k->size) : 0;
                *length = k->size;
        }
        store_unref(store);
        listing_unref(l);
        return known;
}

static bool value_of(struct torrent *t, struct node n, const char *name, char *out, size_t size)
{
        uint64_t have, length;
        bool known = progress_of(t, n, &have, &length);
        struct torrent_status st;

        torrent_get_status(t, &st);
        if (strcmp(name, "infohash") == 0)
                snprintf(out, size, "%s", t->hex);
        else if (strcmp(name, "progress") == 0)
                snprintf(out, size, "%.4f",
                         length  ? (double)have / (double)length
                         : known ? 1.0
                                 : 0.0);
        else if (strcmp(name, "have_bytes") == 0)
                snprintf(out, size, "%llu", (unsigned long long)have);
        else if (strcmp(name, "peers") == 0)
                snprintf(out, size, "%u", st.stats.peers);
        else if (strcmp(name, "state") == 0)
                snprintf(out, size, "%s",
                         st.failed                     ? "failed"
                         : st.state == TORRENT_PENDING ? "pending"
                                                       : "awake");
        else if (strcmp(name, "kept") == 0)
                snprintf(out, size, "%d", t->kept ? 1 : 0);
        else
                return false;
        return true;
}

bool xattr_get(struct engine *e, struct node n, const char *name, char value[XATTR_VALUE_MAX])
{
        size_t prefix = sizeof xattr_prefix - 1;
        struct torrent *t = NULL;
        bool found;

        if (node_is_content(n) && strncmp(name, xattr_prefix, prefix) == 0)
                t = registry_by_number(engine_registry(e), n.number);
        found = t && value_of(t, n, name + prefix, value, XATTR_VALUE_MAX);
        torrent_unref(t);
        return found;
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
