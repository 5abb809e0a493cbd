/* SPDX-License-Identifier: MIT */
/* content.c: what a torrent holds of its files: listing, store and source, while it is awake or
 * somebody looks into it; which pieces go, and which are only claimed to be there. */
#define HASH_NONFATAL_OOM 1
#include "torrent/torrent.h"

#include <errno.h>
#include <stdlib.h>

#include <utlist.h>

#include "torrent/filling.h"
#include "torrent/linger.h"
#include "torrent/parked.h"
#include "torrent/returning.h"
#include "torrent/wishes.h"

/* ---- what it holds ---- */

struct listing *torrent_listing(struct torrent *t)
{
        struct listing *l;

        pthread_mutex_lock(&t->content_lock);
        l = t->content.listing ? listing_ref(t->content.listing) : NULL;
        pthread_mutex_unlock(&t->content_lock);
        return l;
}

struct store *torrent_store(struct torrent *t)
{
        struct store *s;

        pthread_mutex_lock(&t->content_lock);
        s = t->content.store ? store_ref(t->content.store) : NULL;
        pthread_mutex_unlock(&t->content_lock);
        return s;
}

struct bt_source *torrent_source(struct torrent *t)
{
        struct bt_source *s;

        pthread_mutex_lock(&t->content_lock);
        s = t->content.source ? bt_source_ref(t->content.source) : NULL;
        pthread_mutex_unlock(&t->content_lock);
        return s;
}

void torrent_set_source(struct torrent *t, struct bt_source *source)
{
        struct bt_source *before;

        pthread_mutex_lock(&t->content_lock);
        before = t->content.source;
        t->content.source = source;
        pthread_mutex_unlock(&t->content_lock);
        bt_source_free(before);
}

bool torrent_has_metadata(struct torrent *t)
{
        bool has;

        pthread_mutex_lock(&t->content_lock);
        has = t->summary.known;
        pthread_mutex_unlock(&t->content_lock);
        return has;
}

/* Under either lock. */
static uint64_t have_bytes(const struct torrent *t)
{
        return t->content.store ? store_have_bytes(t->content.store) : t->summary.have_bytes;
}

void torrent_get_summary(struct torrent *t, struct summary *ret)
{
        pthread_mutex_lock(&t->content_lock);
        *ret = t->summary;
        ret->have_bytes = have_bytes(t);
        pthread_mutex_unlock(&t->content_lock);
}

uint64_t torrent_have_bytes(struct torrent *t)
{
        uint64_t have;

        pthread_mutex_lock(&t->content_lock);
        have = have_bytes(t);
        pthread_mutex_unlock(&t->content_lock);
        return have;
}

/* ---- coming and going ---- */

void content_unref(struct content *c)
{
        listing_unref(c->listing);
        store_unref(c->store);
        bt_source_free(c->source);
        *c = (struct content){0};
}

void torrent_count_piece(struct torrent_env *env, uint32_t piece_length)
{
        uint64_t longest = env->piece_bytes;

        while (piece_length > longest &&
               !atomic_compare_exchange_weak(&env->piece_bytes, &longest, piece_length))
                ;
}

/* Under t->lock. The content comes, and what is known of it stays when it goes. */
static void take_content(struct torrent *t, const struct content *c)
{
        const struct listing *l = c->listing;
        struct bt_source *before = NULL;

        pthread_mutex_lock(&t->content_lock);
        t->content.listing = c->listing;
        t->content.store = c->store;
        if (c->source) {
                before = t->content.source;
                t->content.source = c->source;
        }
        t->summary = (struct summary){.known = true,
                                      .length = l->shown,
                                      .piece_length = l->piece_length,
                                      .pieces = l->pieces,
                                      .files = bt_meta_files(l->meta),
                                      .directories = tree_node(l->tree, TREE_ROOT)->directories};
        pthread_mutex_unlock(&t->content_lock);
        torrent_count_piece(t->env, l->piece_length);
        bt_source_free(before);
}

static void give_content(struct torrent *t, struct content *ret)
{
        pthread_mutex_lock(&t->content_lock);
        t->summary.have_bytes = store_have_bytes(t->content.store);
        *ret = t->content;
        t->content = (struct content){0};
        pthread_mutex_unlock(&t->content_lock);
}

void content_leave(struct content *c)
{
        if (c->store)
                store_leave(c->store);
        content_unref(c);
}

void content_discard(struct content *c)
{
        if (c->store)
                store_discard(c->store);
        content_unref(c);
}

/* ---- its content ---- */

int torrent_make_content(struct torrent *t, struct cache *cache, struct bt_meta *meta,
                         struct content *ret)
{
        struct bt_source *source = torrent_source(t);
        struct content c = {0};
        uint8_t *have = NULL;
        int r = listing_new(meta, &c.listing);

        if (r >= 0 && source && !bt_source_is_whole(source))
                r = bt_source_join(source, meta, &c.source);
        bt_source_free(source);
        /* A file may be there whose torrent was not known any more, or not yet. */
        if (r >= 0)
                (void)store_survey(cache, t->hex, c.listing->size, c.listing->piece_length, &have);
        if (r >= 0)
                r = listing_store(c.listing, cache, t->hex, t->number, have, have, &c.store);
        free(have);
        if (r < 0) {
                content_unref(&c);
                return r;
        }
        *ret = c;
        return 0;
}

int torrent_set_content(struct torrent *t, const struct content *content)
{
        struct filler *filler = NULL;
        bool nothing = false;

        if (t->env->fill == FILL_TORRENT) {
                struct bt_source *s =
                        content->source ? bt_source_ref(content->source) : torrent_source(t);

                nothing = s && filling_of_magnet(s, content->listing, &filler) == 0 && !filler;
                bt_source_free(s);
        }
        pthread_mutex_lock(&t->lock);
        if (t->content.listing || t->state == TORRENT_GONE) {
                pthread_mutex_unlock(&t->lock);
                filler_free(filler);
                return -ESTALE;
        }
        take_content(t, content);
        if (t->state == TORRENT_PENDING)
                t->state = TORRENT_AWAKE;
        t->failed = 0;
        t->problem[0] = '\0';
        if (nothing) { /* it is not to wake for that again and again */
                t->filled = true;
                t->refills = false;
        }
        filling_begin(t, filler);
        wishes_tell(t);
        pthread_mutex_unlock(&t->lock);
        return 0;
}

int torrent_drop_content(struct torrent *t, struct content *ret)
{
        int r = 0;

        pthread_mutex_lock(&t->lock);
        if (!t->content.listing || t->state == TORRENT_GONE)
                r = -ENOENT;
        else if (t->open || t->bt || t->state != TORRENT_ASLEEP || t->waking || t->evicting > 0)
                r = -EBUSY;
        if (r == 0) {
                filling_end(t);
                linger_end(t);
                returning_expire(t, UINT64_MAX);
                if (t->waiting.taken > 0)
                        (void)wishes_change(t, t->waiting.taken - 1, PRIORITY_LEAST, PRIORITY_NONE);
                t->waiting.taken = 0;
                atomic_store(&t->offered, 0);
                wants_clear(&t->wants);
                free(t->stale);
                t->stale = NULL;
                give_content(t, ret);
        }
        pthread_mutex_unlock(&t->lock);
        return r;
}

bool torrent_lose_metadata(struct torrent *t, struct bt_source *source)
{
        bool lost;

        pthread_mutex_lock(&t->lock);
        lost = t->state == TORRENT_ASLEEP && !t->content.listing;
        if (lost) {
                pthread_mutex_lock(&t->content_lock);
                bt_source_free(t->content.source);
                t->content.source = source;
                t->summary = (struct summary){0};
                pthread_mutex_unlock(&t->content_lock);
                t->state = TORRENT_PENDING;
                t->waking = false;
        }
        pthread_mutex_unlock(&t->lock);
        if (!lost)
                bt_source_free(source);
        return lost;
}

/* ---- pieces that are claimed ---- */

uint32_t torrent_next_claim(struct torrent *t, bool *waited)
{
        uint32_t piece = UINT32_MAX, most = 0;
        const struct want *want, *tmp;

        pthread_mutex_lock(&t->lock);
        *waited = false;
        if (t->content.store && t->state != TORRENT_GONE) {
                HASH_ITER (hh, t->wants.table, want, tmp) {
                        uint32_t rank = 1 + wants_priority(want);

                        if (rank > most && store_is_suspect(t->content.store, want->piece)) {
                                most = rank;
                                piece = want->piece;
                        }
                }
                *waited = most > 0;
                if (most == 0 && (t->open || t->bt))
                        piece = store_next_suspect(t->content.store, 0);
        }
        pthread_mutex_unlock(&t->lock);
        return piece;
}

void torrent_claim_failed(struct torrent *t, uint32_t piece)
{
        struct want *want;

        pthread_mutex_lock(&t->lock);
        want = wants_find(&t->wants, piece);
        if (want && t->content.store)
                wishes_reserve_again(t, want);
        else if (t->content.store)
                store_release(t->content.store, piece);
        wishes_tell(t);
        pthread_mutex_unlock(&t->lock);
}
