/* SPDX-License-Identifier: MIT */
/* store_suspect.c: pieces that are claimed to be there, and are to be hashed before they are used.
 *
 * A suspect piece counts as one that is there: its room is reserved, and it is on the disk. Nothing
 * writes to it. It stops being suspect once, under s->lock, and if it was good it is there before:
 * whoever sees that it is not suspect any more sees it there. */
#include "store/store_private.h"

#include <errno.h>
#include <stdlib.h>

bool store_is_suspect(const struct store *s, uint32_t piece)
{
        return s->n_suspects > 0 && piece < s->have.pieces && have_has(&s->suspects, piece);
}

uint32_t store_next_suspect(const struct store *s, uint32_t from)
{
        uint32_t piece;

        if (s->n_suspects == 0 || from >= s->have.pieces)
                return UINT32_MAX;
        piece = have_first_there(&s->suspects, from, s->have.pieces);
        return piece < s->have.pieces ? piece : UINT32_MAX;
}

int store_suspect_adopt(struct store *s, uint32_t piece)
{
        if (!s->suspects.words) {
                int r = have_init(&s->suspects, s->have.size, s->have.piece_length);

                if (r < 0)
                        return r;
        }
        (void)have_set(&s->suspects, piece);
        s->n_suspects++;
        return 0;
}

/* Under s->lock. */
static void clear_suspect(struct store *s, uint32_t piece)
{
        (void)have_clear(&s->suspects, piece);
        s->n_suspects--;
}

/* The piece stays suspect until it is off the disk, so that nobody writes to it before. */
static int condemn_piece(struct store *s, uint32_t piece)
{
        int r = s->cache->sparse ? store_punch_pieces(s, piece, piece + 1) : 0;

        pthread_mutex_lock(&s->lock);
        if (!s->deleted && s->cache->sparse) {
                cache_unsettle(s->cache, store_piece_room(s, piece));
                if (r == 0)
                        bit_clear(s->written, piece);
        }
        if (s->cache->sparse)
                store_punched(s);
        clear_suspect(s, piece);
        s->judged = UINT32_MAX;
        pthread_cond_broadcast(&s->settled);
        pthread_mutex_unlock(&s->lock);
        return r;
}

int store_judge(struct store *s, uint32_t piece, bool good)
{
        int r = 0;

        pthread_mutex_lock(&s->lock);
        while (s->judged != UINT32_MAX)
                pthread_cond_wait(&s->settled, &s->lock);
        if (s->discarded)
                r = -ESTALE;
        else if (!store_is_suspect(s, piece))
                r = -ENOENT;
        if (r == 0 && good) {
                if (have_set(&s->have, piece))
                        atomic_fetch_add(&s->have_bytes, store_shown_bytes(s, piece));
                clear_suspect(s, piece);
        } else if (r == 0) {
                s->judged = piece;
        }
        pthread_mutex_unlock(&s->lock);
        return r < 0 || good ? r : condemn_piece(s, piece);
}

int store_claims(const struct store *s, uint8_t **ret, size_t *ret_len, bool *checked)
{
        size_t len = have_bitmap_bytes(s->have.pieces);
        uint8_t *map = calloc(len > 0 ? len : 1, 1), *there = NULL;
        bool all_checked = true;
        int r;

        if (!map)
                return -ENOMEM;
        /* Before what is there, so that a piece that is judged good meanwhile is in one of them. */
        if (s->n_suspects > 0)
                have_to_bitmap(&s->suspects, map);
        r = store_bitmap(s, &there, &len);
        if (r < 0) {
                free(map);
                return r;
        }
        for (size_t i = 0; i < len; i++) {
                all_checked = all_checked && map[i] == 0;
                map[i] |= there[i];
        }
        free(there);
        *ret = map;
        *ret_len = len;
        *checked = all_checked;
        return 0;
}
