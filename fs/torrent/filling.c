/* SPDX-License-Identifier: MIT */
#include "torrent/filling.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include <utlist.h>

#include "common/clock.h"
#include "torrent/wishes.h"

/* So many files of a torrent are remembered to be fetched. */
enum { FILES_MAX = 1024 };

static bool fill_has(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        return store_has(t->content.store, piece);
}

static int fill_want(void *arg, uint32_t piece, bool wanted)
{
        return wishes_fill(arg, piece, wanted);
}

/* A piece that nobody else wants. */
static bool is_fillers(const struct want *want)
{
        return want->filled > 0 && want->filled == want->total;
}

static bool fill_may_yield(void *arg, uint32_t piece)
{
        const struct torrent *t = arg;
        const struct want *want = wants_find(&t->wants, piece);

        return want && want->reserved && is_fillers(want) &&
               !store_is_unfinished(t->content.store, piece);
}

static struct filler_torrent torrent_of(struct torrent *t)
{
        return (struct filler_torrent){fill_has, fill_want, fill_may_yield, t};
}

static void add(struct torrent *t, struct filler *f)
{
        const struct filler_torrent of = torrent_of(t);

        if (!f || t->state == TORRENT_GONE) {
                filler_free(f);
                return;
        }
        DL_APPEND2(t->fillers, f, before, after);
        filler_run(f, false, &of);
}

static void take_off(struct torrent *t, struct filler *f)
{
        const struct filler_torrent of = torrent_of(t);

        DL_DELETE2(t->fillers, f, before, after);
        filler_stop(f, &of);
        filler_free(f);
}

static void forget(struct torrent *t, uint32_t node)
{
        unsigned kept = 0;

        for (unsigned i = 0; i < t->n_to_fill; i++)
                if (t->to_fill[i] != node)
                        t->to_fill[kept++] = t->to_fill[i];
        t->n_changes += kept < t->n_to_fill;
        t->n_to_fill = kept;
}

/* The pieces of that file; false: it is none, or has none. */
static bool range_of(const struct torrent *t, uint32_t node, struct filler_range *ret)
{
        const struct listing *l = t->content.listing;
        const struct tree_node *n = tree_node(l->tree, node);

        if (!n || n->file == TREE_DIRECTORY || n->size == 0)
                return false;
        ret->first = (uint32_t)(n->offset / l->piece_length);
        ret->end = (uint32_t)((n->offset + n->size - 1) / l->piece_length) + 1;
        return true;
}

/* It may have come whole since it was opened: then the next read begins nothing. */
static bool is_whole(const struct torrent *t, uint32_t node)
{
        struct filler_range range;

        return t->content.listing && range_of(t, node, &range) &&
               store_first_missing(t->content.store, range.first, range.end) == range.end;
}

static void begin_file(struct torrent *t, uint32_t node)
{
        struct filler_range range, *own;
        struct filler *f;

        if (t->env->fill == FILL_NONE)
                return; /* it is remembered, for a run that may */
        if (!range_of(t, node, &range)) {
                forget(t, node);
                return;
        }
        own = malloc(sizeof *own);
        if (!own)
                return; /* with the next read */
        *own = range;
        f = filler_new(own, 1, t->content.listing->piece_length);
        if (f)
                f->node = node;
        add(t, f);
}

void filling_file(struct torrent *t, uint32_t node)
{
        const struct filler *f;
        uint32_t *grown;

        DL_FOREACH2 (t->fillers, f, after)
                if (f->node == node)
                        return;
        forget(t, node);
        if (t->n_to_fill == FILES_MAX || is_whole(t, node))
                return;
        grown = reallocarray(t->to_fill, t->n_to_fill + 1, sizeof *grown);
        if (!grown)
                return;
        t->to_fill = grown;
        t->to_fill[t->n_to_fill++] = node;
        t->n_changes++;
        if (t->content.listing)
                begin_file(t, node);
}

void filling_begin(struct torrent *t, struct filler *whole)
{
        unsigned n = t->n_to_fill;

        if (whole) /* it looks at all of it, also at what went while there was no content */
                t->filled = t->refills = false;
        add(t, whole);
        for (unsigned i = n; i-- > 0;)
                begin_file(t, t->to_fill[i]);
        filling_run(t, false);
}

void filling_rest(struct torrent *t)
{
        const struct filler_torrent of = torrent_of(t);
        struct filler *f;

        DL_FOREACH2 (t->fillers, f, after)
                filler_rest(f, &of);
}

void filling_end(struct torrent *t)
{
        while (t->fillers)
                take_off(t, t->fillers);
}

void filling_lost(struct torrent *t)
{
        if (t->fillers || t->filled)
                t->refills = true;
}

/* What went is looked for; where all had come that begins anew. */
static void refill(struct torrent *t)
{
        struct filler *f, *whole = NULL;
        struct bt_source *s;

        if (t->filled) {
                s = torrent_source(t);
                if (!s || filling_of_magnet(s, t->content.listing, &whole) < 0) {
                        bt_source_free(s);
                        return; /* with the next tick */
                }
                bt_source_free(s);
        }
        t->refills = false;
        DL_FOREACH2 (t->fillers, f, after)
                filler_rewind(f);
        if (!whole)
                return;
        t->filled = false;
        add(t, whole);
}

void filling_run(struct torrent *t, bool came)
{
        const struct filler_torrent of = torrent_of(t);
        struct filler *f, *next;

        if (t->refills && !came && t->content.listing)
                refill(t);
        DL_FOREACH_SAFE2 (t->fillers, f, next, after) {
                filler_run(f, came, &of);
                /* What went since may be its own: that is looked for first. */
                if (t->refills || !filler_is_done(f, &of))
                        continue;
                if (f->node != TREE_ROOT)
                        forget(t, f->node);
                else
                        t->filled = true;
                take_off(t, f);
        }
}

void filling_yield(struct torrent *t, uint64_t bytes)
{
        const struct filler_torrent of = torrent_of(t);
        uint64_t n = bytes / t->summary.piece_length + 1;
        struct filler *f;

        DL_FOREACH2 (t->fillers, f, after)
                n -= filler_yield(f, n < UINT_MAX ? (unsigned)n : UINT_MAX, &of);
}

/* The begun one of which nothing came for longest; NULL: there is none. It may have no room as far
 * as is known here: a block of it, asked for while a reader wanted it, came when that was taken. */
static const struct want *driest(const struct torrent *t)
{
        const struct want *want, *tmp, *found = NULL;

        HASH_ITER (hh, t->wants.table, want, tmp) {
                if (is_fillers(want) && (!found || want->last_block_ms < found->last_block_ms) &&
                    store_is_unfinished(t->content.store, want->piece))
                        found = want;
        }
        return found;
}

bool filling_has_begun(const struct torrent *t)
{
        return t->fillers && driest(t);
}

uint64_t filling_give_up(struct torrent *t, uint64_t bytes)
{
        const struct filler_torrent of = torrent_of(t);
        const struct want *want;
        uint64_t given = 0;
        struct filler *f;

        while (given < bytes && t->fillers && (want = driest(t))) {
                uint32_t piece = want->piece;

                DL_FOREACH2 (t->fillers, f, after)
                        filler_let_go(f, piece, &of);
                if (wants_find(&t->wants, piece))
                        break; /* no filler knows of it, which does not happen */
                given += t->summary.piece_length;
        }
        return given;
}

void filling_refused(struct torrent *t, int err)
{
        const struct filler_torrent of = torrent_of(t);
        struct filler *f;

        DL_FOREACH2 (t->fillers, f, after)
                filler_rest(f, &of);
        fill_pause_begin(fill_pause_is_for_all(err) ? &t->env->fill_pause : &t->fill_pause,
                         clock_ms());
        t->fill_error = err;
}

bool filling_waits(const struct torrent *t)
{
        const struct filler *f;

        DL_FOREACH2 (t->fillers, f, after)
                if (f->full)
                        return true;
        return false;
}

void filling_free(struct torrent *t)
{
        struct filler *f, *next;

        DL_FOREACH_SAFE2 (t->fillers, f, next, after)
                filler_free(f);
        free(t->to_fill);
}

int filling_of_magnet(const struct bt_source *s, const struct listing *l, struct filler **ret)
{
        struct filler_range *ranges = NULL;
        size_t n = 0, room = 0;

        for (uint32_t i = 0; i < bt_meta_files(l->meta); i++) {
                struct bt_file f;
                uint32_t first, end;

                bt_meta_file(l->meta, i, &f);
                if (f.pad || f.size == 0 || !bt_source_selects(s, i))
                        continue;
                first = (uint32_t)(f.offset / l->piece_length);
                end = (uint32_t)((f.offset + f.size - 1) / l->piece_length) + 1;
                if (n > 0 && first <= ranges[n - 1].end) {
                        ranges[n - 1].end = end;
                        continue;
                }
                if (n == room) {
                        struct filler_range *grown;

                        room = room ? 2 * room : 16;
                        grown = reallocarray(ranges, room, sizeof *grown);
                        if (!grown) {
                                free(ranges);
                                return -ENOMEM;
                        }
                        ranges = grown;
                }
                ranges[n++] = (struct filler_range){first, end};
        }
        *ret = n > 0 ? filler_new(ranges, n, l->piece_length) : NULL;
        return n > 0 && !*ret ? -ENOMEM : 0;
}

bool torrent_is_filling(struct torrent *t)
{
        bool is;

        pthread_mutex_lock(&t->lock);
        is = t->fillers;
        pthread_mutex_unlock(&t->lock);
        return is;
}

bool torrent_fill_waits(struct torrent *t)
{
        bool waits;

        pthread_mutex_lock(&t->lock);
        waits = filling_waits(t) && wishes_may_fill(t);
        pthread_mutex_unlock(&t->lock);
        return waits;
}

bool torrent_is_to_fill(struct torrent *t)
{
        struct summary known;
        bool is, lacks;

        pthread_mutex_lock(&t->lock);
        is = t->fillers || (t->n_to_fill > 0 && t->env->fill != FILL_NONE);
        lacks = !t->filled || t->refills;
        pthread_mutex_unlock(&t->lock);
        torrent_get_summary(t, &known);
        return is || (t->env->fill == FILL_TORRENT && known.known && lacks &&
                      known.have_bytes < known.length);
}

char *torrent_files_to_fill(struct torrent *t)
{
        char *text = NULL;
        size_t len;
        FILE *f = open_memstream(&text, &len);

        if (!f)
                return NULL;
        pthread_mutex_lock(&t->lock);
        for (unsigned i = 0; i < t->n_to_fill; i++)
                fprintf(f, "%s%u", i > 0 ? " " : "", t->to_fill[i]);
        pthread_mutex_unlock(&t->lock);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

void torrent_fill_files(struct torrent *t, const char *text)
{
        unsigned long node;
        char *end;

        pthread_mutex_lock(&t->lock);
        for (; *text; text = end) {
                node = strtoul(text, &end, 10);
                if (end == text || node >= TREE_NODES_MAX)
                        break;
                if (node != TREE_ROOT)
                        filling_file(t, (uint32_t)node);
        }
        pthread_mutex_unlock(&t->lock);
}
