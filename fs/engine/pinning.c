/* SPDX-License-Identifier: MIT */
/* pinning.c: what is pinned is told to the catalog before who asked for it is answered. */
#include <errno.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "engine/engine_private.h"

/* *before is how the torrent was until now; it is the torrent's again by pins_exchange. */
static int pin_one(struct engine *e, const struct engine_pin *p, struct pins *before)
{
        char name[NAME_BYTES_MAX + 1];
        int r;

        if (!registry_name(e->registry, p->torrent, name))
                return -ENOENT;
        r = pins_change(&p->torrent->pins, p->listing, p->node, p->pinned, before);
        if (r < 0)
                return r;
        pins_exchange(p->torrent, before);
        r = library_put(e, p->torrent);
        if (r < 0) {
                pins_exchange(p->torrent, before);
                pins_clear(before);
        }
        return r;
}

/* As they were, of so many. By who may write to the catalog. */
static void take_back(const struct engine_pin *list, struct pins *before, size_t n)
{
        while (n-- > 0)
                pins_exchange(list[n].torrent, &before[n]);
}

int engine_pin(struct engine *e, const struct engine_pin *list, size_t n)
{
        _cleanup_free_ struct pins *before = calloc(n ? n : 1, sizeof *before);
        size_t done = 0;
        int r = 0;

        if (!before)
                return -ENOMEM;
        engine_begin(e);
        while (done < n && (r = pin_one(e, &list[done], &before[done])) == 0)
                done++;
        if (r < 0) {
                take_back(list, before, done);
                catalog_rollback(e->catalog);
        } else {
                r = engine_commit(e);
                if (r < 0) {
                        catalog_begin(e->catalog);
                        take_back(list, before, done);
                        catalog_rollback(e->catalog);
                }
                /* Meanwhile another writer may have told the catalog of what is taken back. */
                for (size_t i = 0; r < 0 && i < done; i++)
                        engine_mark(e, list[i].torrent, DIRTY_ROW);
        }
        for (size_t i = 0; i < done; i++)
                pins_clear(&before[i]);
        return r;
}
