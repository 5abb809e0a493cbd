/* SPDX-License-Identifier: MIT */
/* registry_names.c: which torrent has which directory name, and who moves on when one takes
 * another.
 */
#include "common/control_names.h"
#include "engine/registry_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

/* Names of the root directory that no torrent may take. */
static const char *const reserved_names[] = {NAME_CONTROL};

static bool is_reserved(const char *name)
{
        for (size_t i = 0; i < sizeof reserved_names / sizeof *reserved_names; i++)
                if (strcmp(name, reserved_names[i]) == 0)
                        return true;
        return false;
}

struct entry *registry_name_holder(struct registry *r, const char *name)
{
        struct entry *e;

        HASH_FIND(by_name, r->names, name, strlen(name), e);
        return e;
}

char *registry_claim_of(const struct torrent *t, const char *raw, bool single)
{
        char clean[NAME_BYTES_MAX + 1];

        if (raw[0] == '\0')
                raw = t->hex;
        name_clean(raw, strlen(raw), clean);
        if (single)
                clean[name_stem(clean)] = '\0';
        return strdup(clean);
}

/* ---- where to begin to look for a free name ---- */

static struct claim *find_claim(struct registry *r, const char *text)
{
        struct claim *c;

        HASH_FIND(hh, r->claims, text, strlen(text), c);
        return c;
}

void registry_name_taken(struct registry *r, const char *claim, unsigned index)
{
        size_t len = strlen(claim);
        struct claim *c;

        if (index < 2)
                return; /* the search takes one step then */
        r->n_numbered++;
        c = find_claim(r, claim);
        if (!c) {
                c = calloc(1, sizeof *c + len + 1);
                if (!c)
                        return;
                memcpy(c->text, claim, len);
                HASH_ADD_KEYPTR(hh, r->claims, c->text, len, c);
                if (!c->hh.tbl) {
                        free(c);
                        return;
                }
        }
        c->first = index + 1;
}

static void forget_claims(struct registry *r)
{
        struct claim *c, *next;

        HASH_ITER (hh, r->claims, c, next) {
                HASH_DELETE(hh, r->claims, c);
                free(c);
        }
}

void registry_names_clear(struct registry *r)
{
        forget_claims(r);
        r->n_numbered = 0;
}

static void begin_at(struct registry *r, const char *claim, unsigned index)
{
        struct claim *c = find_claim(r, claim);

        if (c && c->first > index)
                c->first = index;
}

/* Makes of "name (n).ext" what it was made of, if it was; false: it has no number. */
static bool without_number(const char *name, char base[NAME_BYTES_MAX + 1])
{
        size_t stem = name_stem(name), at;

        if (stem < 4 || name[stem - 1] != ')')
                return false;
        for (at = stem - 1; at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9'; at--)
                ;
        if (at < 2 || name[at - 1] != '(' || name[at - 2] != ' ')
                return false;
        memcpy(base, name, at - 2);
        memcpy(base + at - 2, name + stem, strlen(name) - stem + 1);
        return true;
}

void registry_name_freed(struct registry *r, const struct entry *e, const char *name)
{
        enum { CUT_BYTES = 16 }; /* a name that much shorter than the longest was not cut */
        char base[NAME_BYTES_MAX + 1];
        unsigned index;

        if (e->index > 1)
                r->n_numbered--;
        begin_at(r, e->claim, e->index);
        begin_at(r, name, 1);
        if (without_number(name, base) && (index = name_number(base, name)) > 0)
                begin_at(r, base, index);
        /* May have been made of many. */
        if (strlen(name) > NAME_BYTES_MAX - CUT_BYTES)
                forget_claims(r);
}

unsigned registry_pick_name(struct registry *r, const struct entry *e, bool keep, const char *claim,
                            char name[NAME_BYTES_MAX + 1], struct entry **ret_holder)
{
        const struct claim *known = e ? NULL : find_claim(r, claim);

        for (unsigned i = known ? known->first : 1;; i++) {
                struct entry *holder;

                if (i == 1)
                        memcpy(name, claim, strlen(claim) + 1);
                else
                        name_numbered(claim, i, name);
                if (is_reserved(name))
                        continue;
                holder = registry_name_holder(r, name);
                if (keep && holder == e)
                        holder = NULL;
                if (!holder || (e && holder->number > e->number && !holder->torrent->opened)) {
                        *ret_holder = holder;
                        return i;
                }
        }
}

/* One step of a renaming: decided first, then done. */
struct move {
        struct entry *entry;
        char *name;
        unsigned index;
        struct renamed *renamed;
        struct move *next;
};

static void moves_free(struct move *m)
{
        struct move *next;

        for (; m; m = next) {
                next = m->next;
                free(m->name);
                free(m->renamed);
                free(m);
        }
}

static struct move *move_new(struct entry *e, const char *name, unsigned index)
{
        struct move *m = calloc(1, sizeof *m);

        if (!m)
                return NULL;
        *m = (struct move){e, strdup(name), index, calloc(1, sizeof *m->renamed), NULL};
        if (!m->name || !m->renamed) {
                moves_free(m);
                return NULL;
        }
        return m;
}

/* Decides who moves when e takes a name of claim: e itself, then the one whose name that was, and
 * so on; each was added after the one before it, so this ends. -ENOMEM. */
static int plan_moves(struct registry *r, struct entry *e, const char *claim, struct move **ret)
{
        struct move *first = NULL, **end = &first;

        while (e) {
                char name[NAME_BYTES_MAX + 1];
                struct entry *holder;
                unsigned index = registry_pick_name(r, e, !first, claim, name, &holder);

                *end = move_new(e, name, index);
                if (!*end) {
                        moves_free(first);
                        return -ENOMEM;
                }
                end = &(*end)->next;
                e = holder;
                claim = e ? e->claim : NULL;
        }
        *ret = first;
        return 0;
}

/* Does it, and puts those that moved in front of list. */
static void make_moves(struct registry *r, struct move *moves, struct renamed **list)
{
        for (struct move *m = moves; m; m = m->next) {
                HASH_DELETE(by_name, r->names, m->entry); /* NOLINT(*NullDereference): it is in */
                registry_name_freed(r, m->entry, m->entry->torrent->name);
        }
        for (struct move *m = moves; m; m = m->next) {
                struct torrent *t = m->entry->torrent;

                *m->renamed = (struct renamed){torrent_ref(t), t->name, *list};
                *list = m->renamed;
                t->name = m->name;
                t->renamed_ms = clock_ms();
                m->entry->index = m->index;
                r->n_numbered += m->index > 1;
                HASH_ADD_KEYPTR(by_name, r->names, t->name, strlen(t->name), m->entry);
                m->name = NULL;
                m->renamed = NULL;
        }
        moves_free(moves);
}

/* e has given up a name: who would have got it, had it been free, takes it; then the same for the
 * name that this one gives up. */
static void fill_gap(struct registry *r, const struct entry *e, const char *name,
                     struct renamed **list)
{
        for (size_t i = 0; i < r->n && r->n_numbered > 0; i++) {
                struct entry *o = r->order[i];
                unsigned index;
                struct move *m;

                if (o->index == 1 || o->number <= e->number || o->torrent->opened)
                        continue;
                index = name_number(o->claim, name);
                if (index == 0 || index >= o->index)
                        continue;
                m = move_new(o, name, index);
                if (!m)
                        return; /* all have names, if not the best */
                make_moves(r, m, list);
                e = o;
                name = (*list)->old_name;
        }
}

int registry_set_claim(struct registry *r, struct entry *e, char *claim, struct renamed **list)
{
        struct move *moves;
        int result;

        if (!claim)
                return -ENOMEM;
        if (strcmp(claim, e->claim) == 0) {
                free(claim);
                return 0;
        }
        result = plan_moves(r, e, claim, &moves);
        if (result < 0) {
                free(claim);
                return result;
        }
        make_moves(r, moves, list);
        free(e->claim);
        e->claim = claim;
        for (struct renamed *m = *list; m; m = m->next)
                if (m->torrent == e->torrent && !registry_name_holder(r, m->old_name)) {
                        fill_gap(r, e, m->old_name, list);
                        break;
                }
        return 0;
}

void renamed_free(struct renamed *list)
{
        struct renamed *next;

        for (; list; list = next) {
                next = list->next;
                torrent_unref(list->torrent);
                free(list->old_name);
                free(list);
        }
}
