/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "torrent/wants.h"

#include <errno.h>
#include <stdlib.h>

uint8_t wants_priority(const struct want *want)
{
        for (uint8_t p = PRIORITY_BLOCKED; p > PRIORITY_NONE; p--)
                if (want->count[p] > 0)
                        return p;
        return PRIORITY_NONE;
}

/* A want that can't be told for lack of memory is told with the next change: told keeps what the
 * session knows. */
static void tell(struct wants *w, struct want *want)
{
        bool asked = want->reserved && !want->there;
        uint8_t priority = asked ? wants_priority(want) : PRIORITY_NONE;
        bool urgent = want->urgent && priority != PRIORITY_NONE;

        if (priority == want->told && urgent == want->told_urgent)
                return;
        if (w->n_batch == w->room_batch) {
                size_t room = w->room_batch ? 2 * w->room_batch : 32;
                struct bt_want *grown = reallocarray(w->batch, room, sizeof *grown);
                if (!grown)
                        return;
                w->batch = grown;
                w->room_batch = room;
        }
        w->batch[w->n_batch++] =
                (struct bt_want){.piece = want->piece, .priority = priority, .urgent = urgent};
        want->told = priority;
        want->told_urgent = urgent;
}

struct want *wants_find(const struct wants *w, uint32_t piece)
{
        struct want *want;

        HASH_FIND(hh, w->table, &piece, sizeof piece, want);
        return want;
}

static void drop(struct wants *w, struct want *want)
{
        HASH_DEL(w->table, want);
        free(want);
}

static struct want *find_or_add(struct wants *w, uint32_t piece)
{
        struct want *want = wants_find(w, piece);

        if (want)
                return want;
        want = calloc(1, sizeof *want);
        if (!want)
                return NULL;
        want->piece = piece;
        HASH_ADD(hh, w->table, piece, sizeof want->piece, want);
        if (!want->hh.tbl) {
                free(want);
                return NULL;
        }
        return want;
}

/* So many wishes of that priority are not the caller's: its own may have gone with the entry when
 * the piece came, and a filler's be there since, of one that went again. */
static uint32_t of_fillers(const struct want *want, uint8_t priority)
{
        return priority == PRIORITY_LEAST ? want->filled : 0;
}

int wants_change(struct wants *w, uint32_t piece, uint8_t before, uint8_t after,
                 const struct wants_room *room)
{
        struct want *want = after != PRIORITY_NONE ? find_or_add(w, piece) : wants_find(w, piece);
        int r = 0;

        if (!want)
                return after != PRIORITY_NONE ? -ENOMEM : 0;
        if (before != PRIORITY_NONE && want->count[before] > of_fillers(want, before)) {
                want->count[before]--;
                want->total--;
        }
        if (after != PRIORITY_NONE) {
                want->count[after]++;
                want->total++;
                if (!want->reserved) {
                        r = room->reserve(room->arg, piece);
                        want->reserved = r == 0;
                        if (r == -EINPROGRESS)
                                r = 0;
                }
        }
        if (want->total == 0)
                want->urgent = false;
        tell(w, want);
        if (want->total == 0) {
                room->release(room->arg, piece);
                drop(w, want);
        }
        return r;
}

void wants_reserve(struct wants *w, struct want *want, const struct wants_room *room)
{
        if (!want->reserved)
                want->reserved = room->reserve(room->arg, want->piece) == 0;
        tell(w, want);
}

void wants_release(struct wants *w, struct want *want, const struct wants_room *room)
{
        want->reserved = false;
        tell(w, want);
        room->release(room->arg, want->piece);
}

void wants_urgent(struct wants *w, struct want *want, bool urgent)
{
        want->urgent = urgent;
        tell(w, want);
}

void wants_done(struct wants *w, struct want *want)
{
        drop(w, want);
}

void wants_retell(struct wants *w)
{
        struct want *want, *tmp;

        w->n_batch = 0;
        HASH_ITER (hh, w->table, want, tmp) {
                want->told = PRIORITY_NONE;
                want->told_urgent = false;
                tell(w, want);
        }
}

void wants_untold(struct wants *w)
{
        for (size_t i = 0; i < w->n_batch; i++) {
                struct want *want = wants_find(w, w->batch[i].piece);

                if (!want)
                        continue;
                want->told = PRIORITY_NONE;
                want->told_urgent = false;
        }
        w->n_batch = 0;
}

void wants_clear(struct wants *w)
{
        struct want *want, *tmp;

        HASH_ITER (hh, w->table, want, tmp) {
                drop(w, want);
        }
        free(w->batch);
        *w = (struct wants){0};
}
