/* SPDX-License-Identifier: MIT */
/* claims.c: after a run that did not end by itself, pieces that the catalog claims to be there are
 * hashed before they are used: one after the other, by the disk thread, those first that somebody
 * waits for; the rest of a torrent while it is read or with the session, and nobody waits for those
 * of another. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/log.h"
#include "engine/engine_private.h"

struct checking {
        struct chore chore;      /* first */
        struct torrent *torrent; /* a reference */
        bool waited;             /* it is counted among those that somebody waits for */
        unsigned good, bad;
};

int engine_is_right(struct torrent *t, struct store *store, uint32_t piece)
{
        struct listing *l = torrent_listing(t);
        struct bt_source *source = torrent_source(t);
        uint64_t start = l ? (uint64_t)piece * l->piece_length : 0;
        void *data = NULL;
        size_t len = 0;
        int r = -EAGAIN; /* its content has just gone */

        if (l && source && start < l->size) {
                len = l->size - start < l->piece_length ? (size_t)(l->size - start)
                                                        : l->piece_length;
                data = malloc(len);
                r = data ? store_read_piece(store, piece, 0, data, len) : -ENOMEM;
        }
        if (r == -EIO)
                r = 0; /* the disk can't read it */
        else if (r == 0)
                r = bt_source_check(source, piece, data, len);
        if (r == -ENODATA)
                r = 0;
        free(data);
        bt_source_free(source);
        listing_unref(l);
        return r;
}

/* Whether there is more to check. */
static bool check(struct engine *e, struct checking *k, struct store *store, uint32_t piece)
{
        struct torrent *t = k->torrent;
        int right = engine_is_right(t, store, piece), r;

        if (right < 0)
                return false;
        r = store_judge(store, piece, right);
        if (r == 0) {
                k->good += right == 1;
                k->bad += right == 0;
                engine_mark(e, t, DIRTY_HAVE);
        }
        if (r == 0 && right == 1)
                engine_piece_passed(e, t, piece);
        else if (r == 0)
                torrent_claim_failed(t, piece);
        return r == 0 || r == -ENOENT;
}

static void count(struct engine *e, struct checking *k, bool waited)
{
        if (waited && !k->waited)
                atomic_fetch_add(&e->claims_waited, 1);
        else if (!waited && k->waited)
                atomic_fetch_sub(&e->claims_waited, 1);
        k->waited = waited;
}

static void check_next(struct chore *c)
{
        struct checking *k = (struct checking *)c;
        struct torrent *t = k->torrent;
        struct engine *e = engine_of(t);
        bool waited, more, again;
        uint32_t piece = torrent_next_claim(t, &waited);
        struct store *store = piece != UINT32_MAX ? torrent_store(t) : NULL;

        count(e, k, waited);
        more = store && !e->env.stopping;
        if (more && (waited || atomic_load(&e->claims_waited) == 0))
                more = check(e, k, store, piece);
        again = !store; /* one may be asked for from here on */
        store_unref(store);
        if (more && chores_push(e->env.disk, &k->chore))
                return;
        if (k->bad > 0)
                log_info("%s: %u of %u pieces that were there are not what they should be, and "
                         "are fetched again",
                         t->hex, k->bad, k->good + k->bad);
        count(e, k, false);
        free(k);
        t->checking = false;
        if (again && !e->env.stopping && torrent_next_claim(t, &waited) != UINT32_MAX)
                engine_check(t);
        torrent_unref(t);
}

void engine_check(struct torrent *t)
{
        struct checking *k;

        if (atomic_exchange(&t->checking, true))
                return;
        k = calloc(1, sizeof *k);
        if (k) {
                *k = (struct checking){.chore = {.run = check_next}, .torrent = torrent_ref(t)};
                if (chores_push(t->env->disk, &k->chore))
                        return;
                torrent_unref(t);
        }
        free(k);
        t->checking = false;
}
