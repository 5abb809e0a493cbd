/* SPDX-License-Identifier: MIT */
/* library_start.c: the torrents of an earlier run, as they were. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "engine/engine_private.h"

static const char catalog_name[] = "catalog.db";

struct restoring {
        struct engine *engine;
        bool rescued;
        unsigned lost;
        struct numbers {
                uint32_t *list;
                size_t n, room;
        } temporary, doubles; /* those that go, and are remembered for a day or not */
};

static int note_number(struct numbers *ns, uint32_t number)
{
        if (ns->n == ns->room) {
                size_t room = ns->room ? 2 * ns->room : 64;
                uint32_t *grown = reallocarray(ns->list, room, sizeof *grown);

                if (!grown)
                        return -ENOMEM;
                ns->list = grown;
                ns->room = room;
        }
        ns->list[ns->n++] = number;
        return 0;
}

/* Two that turned out to be one, just before magnetfs was killed: the one whose metadata is known
 * has the hashes of both. */
static void make_way(struct engine *e, const struct catalog_row *row)
{
        for (unsigned i = 0; i < 2 && row->metadata; i++) {
                struct torrent *t =
                        row->alias[i][0] ? registry_by_hash(e->registry, row->alias[i]) : NULL;

                if (t && !torrent_has_metadata(t) && registry_remove(e->registry, t, false))
                        engine_mark(e, t, DIRTY_GONE);
                torrent_unref(t);
        }
}

static bool is_there(struct engine *e, const struct catalog_row *row)
{
        struct torrent *t = registry_by_hash(e->registry, row->hex);

        torrent_unref(t);
        return t;
}

static bool is_name(const char *name)
{
        return name[0] && strlen(name) <= NAME_BYTES_MAX && !strchr(name, '/') &&
               strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Whether what a damaged catalog says of the torrent's metadata is what it was. */
static bool has_metadata(struct engine *e, const struct catalog_row *row)
{
        struct bt_source *source = NULL;
        bool has = library_source(e, row->number, row->hex, &source) == 0 && bt_source_meta(source);

        bt_source_free(source);
        return has;
}

static int restore(void *arg, const struct catalog_row *row)
{
        struct restoring *rs = arg;
        struct engine *e = rs->engine;
        struct torrent_past past = {.number = row->number,
                                    .hex = row->hex,
                                    .alias = {row->alias[0], row->alias[1]},
                                    .kept = row->kept,
                                    .added_at = row->added_at,
                                    .used_at = row->used_at,
                                    .summary = {.known = row->metadata,
                                                .length = row->length,
                                                .have_bytes = row->have_bytes,
                                                .piece_length = row->piece_length,
                                                .pieces = row->pieces,
                                                .files = row->files,
                                                .directories = row->directories}};
        struct bt_error err = {0};
        struct torrent *t;
        int r = 0;

        if (!row->kept)
                return note_number(&rs->temporary, row->number);
        /* A damaged catalog may say anything. */
        if (!is_name(row->name) || !is_name(row->claim)) {
                rs->lost++;
                return 0;
        }
        make_way(e, row);
        /* Of one that a damaged catalog has lost the metadata of, the hash is left. */
        if (rs->rescued && row->metadata)
                past.summary.known = has_metadata(e, row);
        if (!past.summary.known && library_source(e, row->number, row->hex, &past.source) < 0)
                r = bt_source_from_magnet(row->hex, strlen(row->hex), false, &past.source, &err);
        if (r == 0)
                r = torrent_new_past(&e->env, &past, &t);
        if (r == 0) {
                if (past.summary.known)
                        life_begin_asleep(&t->life);
                torrent_fill_files(t, row->to_fill);
                pins_load(t, row->pins);
                /* Later starts know of no damage. */
                if (row->metadata && !past.summary.known)
                        engine_mark(e, t, DIRTY_ROW | DIRTY_SOURCE);
                r = registry_restore(e->registry, t, row->name, row->claim, row->index);
        }
        if (r == -EEXIST && !row->metadata && is_there(e, row))
                r = note_number(&rs->doubles, row->number); /* see make_way */
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                log_debug("%s (%s): cannot be restored: %s", row->hex, row->name, strerror(-r));
                rs->lost++;
        }
        return 0;
}

static void restore_numbers(struct engine *e)
{
        _cleanup_free_ void *data = NULL;
        unsigned long next;
        long long changed;
        char text[64] = "", *end;
        size_t len;

        if (catalog_get_fact(e->catalog, LIBRARY_NUMBERS, &data, &len) < 0 || len >= sizeof text)
                return;
        memcpy(text, data, len);
        next = strtoul(text, &end, 10);
        changed = strtoll(end, NULL, 10);
        if (next <= UINT32_MAX && changed > 0)
                registry_resume(e->registry, (uint32_t)next, (time_t)changed);
}

/* Temporary ones of a run that was killed go, as they would have gone by themselves. */
static int end_temporary(struct engine *e, const struct restoring *rs, bool doubt)
{
        time_t now = time(NULL);

        catalog_begin(e->catalog);
        for (size_t i = 0; i < rs->temporary.n; i++)
                (void)catalog_retire(e->catalog, rs->temporary.list[i], now + RETIRED_S);
        for (size_t i = 0; i < rs->doubles.n; i++)
                (void)catalog_remove(e->catalog, rs->doubles.list[i]);
        (void)catalog_expire(e->catalog, now);
        if (doubt)
                (void)catalog_doubt_all(e->catalog);
        return catalog_commit(e->catalog);
}

int library_open(struct engine *e)
{
        struct restoring rs = {.engine = e};
        struct catalog_found found = {0};
        unsigned n;
        int r = catalog_open(e->options.state_dir_fd, catalog_name, &found, &e->catalog);

        if (r < 0)
                return r;
        rs.rescued = found.rescued;
        r = catalog_each(e->catalog, restore, &rs);
        if (r == 0)
                r = end_temporary(e, &rs, !found.clean);
        free(rs.temporary.list);
        free(rs.doubles.list);
        if (r < 0) {
                /* What is claimed may not have been doubted yet. */
                catalog_close(e->catalog, false);
                e->catalog = NULL;
                return log_error_errno(r, "Cannot read the catalog of the torrents: %m");
        }
        restore_numbers(e);
        e->rescued = e->strays = found.rescued;
        if (found.rescued)
                (void)library_save(e);
        n = registry_count(e->registry);
        if (rs.lost > 0)
                log_warning("%u torrent%s of the catalog could not be restored", rs.lost,
                            rs.lost == 1 ? "" : "s");
        if (n > 0)
                log_info("%u torrent%s as %s%s", n, n == 1 ? " is" : "s are",
                         n == 1 ? "it was" : "they were",
                         found.clean ? ""
                                     : "; magnetfs did not end by itself: what is on the disk is "
                                       "checked before it is used");
        return 0;
}

bool library_is_known(void *arg, const char *hex)
{
        struct engine *e = arg;
        struct torrent *t = registry_by_hash(e->registry, hex);

        torrent_unref(t);
        /* It may be added again, where a damaged catalog has lost it. */
        return t || e->rescued;
}
