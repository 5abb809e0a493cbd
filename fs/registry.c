/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

/* Names of the root directory that no torrent may take. */
static const char *const reserved_names[] = {".magnetfs"};

/* One torrent, found in four ways. */
struct entry {
        struct torrent *torrent; /* a reference */
        uint32_t number;
        char *claim;    /* what it would be called if it were alone */
        unsigned index; /* which of the names made of that it has: 1 is the claim itself */
        UT_hash_handle by_number, by_name, by_alias[2];
};

struct registry {
        /* taken before torrent->lock */
        pthread_rwlock_t lock;
        struct entry *numbers, *names, *aliases[2];
        /* The entries by rising number. */
        struct entry **order;
        size_t n, room;
        uint32_t next_number;
        _Atomic time_t changed_at;
};

int registry_new(struct registry **ret)
{
        struct registry *r = calloc(1, sizeof *r);

        if (!r)
                return -ENOMEM;
        pthread_rwlock_init(&r->lock, NULL);
        r->next_number = 1;
        r->changed_at = time(NULL);
        *ret = r;
        return 0;
}

static void unlink_entry(struct registry *r, struct entry *e)
{
        struct torrent *t = e->torrent;

        HASH_DELETE(by_number, r->numbers, e);
        HASH_DELETE(by_name, r->names, e);
        for (unsigned i = 0; i < 2; i++)
                if (t->alias[i][0] && e->by_alias[i].tbl)
                        HASH_DELETE(by_alias[i], r->aliases[i], e);
}

void registry_free(struct registry *r)
{
        if (!r)
                return;
        for (size_t i = 0; i < r->n; i++) {
                unlink_entry(r, r->order[i]);
                torrent_unref(r->order[i]->torrent);
                free(r->order[i]->claim);
                free(r->order[i]);
        }
        free(r->order);
        pthread_rwlock_destroy(&r->lock);
        free(r);
}

static struct entry *find_alias(struct registry *r, const char *hex)
{
        struct entry *e = NULL;
        size_t len = strlen(hex);

        if (len == 2 * BT_V1_BYTES)
                HASH_FIND(by_alias[0], r->aliases[0], hex, len, e);
        else if (len == 2 * BT_V2_BYTES)
                HASH_FIND(by_alias[1], r->aliases[1], hex, len, e);
        return e;
}

/* ---- names ---- */

static bool is_reserved(const char *name)
{
        for (size_t i = 0; i < sizeof reserved_names / sizeof *reserved_names; i++)
                if (strcmp(name, reserved_names[i]) == 0)
                        return true;
        return false;
}

static struct entry *find_name(struct registry *r, const char *name)
{
        struct entry *e;

        HASH_FIND(by_name, r->names, name, strlen(name), e);
        return e;
}

/* What a torrent that calls itself raw would be called if it were alone; by its hash where it has
 * no name. Of a single file the directory takes the name without the extension. */
static char *claim_of(const struct torrent *t, const char *raw, bool single)
{
        char clean[NAME_BYTES_MAX + 1];

        if (raw[0] == '\0')
                raw = t->hex;
        name_clean(raw, strlen(raw), clean);
        if (single)
                clean[name_stem(clean)] = '\0';
        return strdup(clean);
}

/* The first name made of claim that e (NULL: a torrent that has none yet) may take, and its index:
 * one that nobody has, or that somebody has who was added later and whose files nobody opened;
 * *ret_holder is that one or NULL. Its present name e may have only if keep. */
static unsigned pick_name(struct registry *r, const struct entry *e, bool keep, const char *claim,
                          char name[NAME_BYTES_MAX + 1], struct entry **ret_holder)
{
        for (unsigned i = 1;; i++) {
                struct entry *holder;

                if (i == 1)
                        memcpy(name, claim, strlen(claim) + 1);
                else
                        name_numbered(claim, i, name);
                if (is_reserved(name))
                        continue;
                holder = find_name(r, name);
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
                unsigned index = pick_name(r, e, !first, claim, name, &holder);

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
        for (struct move *m = moves; m; m = m->next)
                HASH_DELETE(by_name, r->names, m->entry); /* NOLINT(*NullDereference): it is in */
        for (struct move *m = moves; m; m = m->next) {
                struct torrent *t = m->entry->torrent;

                *m->renamed = (struct renamed){torrent_ref(t), t->name, *list};
                *list = m->renamed;
                t->name = m->name;
                m->entry->index = m->index;
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
        for (size_t i = 0; i < r->n; i++) {
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

/* e calls itself claim from now on (taken over, also on failure). -ENOMEM: nothing is changed. */
static int set_claim(struct registry *r, struct entry *e, char *claim, struct renamed **list)
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
        free(e->claim);
        e->claim = claim;
        make_moves(r, moves, list);
        for (struct renamed *m = *list; m; m = m->next)
                if (m->torrent == e->torrent && !find_name(r, m->old_name)) {
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

/* ---- torrents ---- */

static bool add_alias(struct registry *r, struct entry *e, unsigned i)
{
        const char *hex = e->torrent->alias[i];

        if (hex[0] == '\0')
                return true;
        HASH_ADD_KEYPTR(by_alias[i], r->aliases[i], hex, strlen(hex), e);
        return e->by_alias[i].tbl != NULL;
}

static int add_locked(struct registry *r, struct torrent *t)
{
        struct entry *e = calloc(1, sizeof *e);
        struct bt_meta *meta = bt_source_meta(t->source);

        if (r->n == r->room) {
                size_t room = r->room ? 2 * r->room : 64;
                struct entry **grown = reallocarray(r->order, room, sizeof *grown);

                if (grown) {
                        r->order = grown;
                        r->room = room;
                }
        }
        if (e && r->n < r->room) {
                char name[NAME_BYTES_MAX + 1];
                struct entry *holder;

                e->claim =
                        claim_of(t, bt_source_name(t->source), meta && bt_meta_single_file(meta));
                if (e->claim) {
                        e->index = pick_name(r, NULL, false, e->claim, name, &holder);
                        t->name = strdup(name);
                }
        }
        if (!e || !t->name) {
                if (e)
                        free(e->claim);
                free(e);
                return -ENOMEM;
        }
        e->torrent = t;
        e->number = t->number;
        HASH_ADD(by_number, r->numbers, number, sizeof e->number, e);
        HASH_ADD_KEYPTR(by_name, r->names, t->name, strlen(t->name), e);
        if (!e->by_number.tbl || !e->by_name.tbl || !add_alias(r, e, 0) || !add_alias(r, e, 1)) {
                if (e->by_number.tbl)
                        HASH_DELETE(by_number, r->numbers, e);
                if (e->by_name.tbl)
                        HASH_DELETE(by_name, r->names, e);
                if (e->by_alias[0].tbl)
                        HASH_DELETE(by_alias[0], r->aliases[0], e);
                free(e->claim);
                free(e);
                return -ENOMEM;
        }
        r->order[r->n++] = e;
        r->changed_at = time(NULL);
        return 0;
}

int registry_add(struct registry *r, struct torrent_env *env, struct bt_source *source, bool kept,
                 struct torrent **ret)
{
        struct torrent *t = NULL;
        struct entry *e = NULL;
        char hex[2][BT_HEX_MAX];
        int result;

        bt_hash_v1_hex(bt_source_hash(source), hex[0]);
        bt_hash_v2_hex(bt_source_hash(source), hex[1]);

        pthread_rwlock_wrlock(&r->lock);
        for (unsigned i = 0; i < 2 && !e; i++)
                e = find_alias(r, hex[i]);
        if (e) {
                *ret = torrent_ref(e->torrent);
                result = -EEXIST;
        } else if (r->next_number == 0) {
                result = -ENOSPC;
                bt_source_free(source);
        } else {
                result = torrent_new(env, r->next_number, source, kept, &t);
                if (result < 0)
                        bt_source_free(source);
                else
                        result = add_locked(r, t);
                if (result == 0) {
                        r->next_number++;
                        *ret = torrent_ref(t);
                } else {
                        torrent_unref(t);
                }
        }
        pthread_rwlock_unlock(&r->lock);
        return result;
}

/* The index of the first entry with a number above `number`. */
static size_t above(const struct registry *r, uint32_t number)
{
        size_t low = 0, high = r->n;

        while (low < high) {
                size_t mid = low + (high - low) / 2;

                if (r->order[mid]->number <= number)
                        low = mid + 1;
                else
                        high = mid;
        }
        return low;
}

void registry_remove(struct registry *r, struct torrent *t)
{
        struct entry *e;

        pthread_rwlock_wrlock(&r->lock);
        HASH_FIND(by_number, r->numbers, &t->number, sizeof t->number, e);
        if (e) {
                size_t i = above(r, t->number) - 1;

                unlink_entry(r, e);
                memmove(r->order + i, r->order + i + 1, (r->n - i - 1) * sizeof *r->order);
                r->n--;
                r->changed_at = time(NULL);
        }
        pthread_rwlock_unlock(&r->lock);
        if (e) {
                free(e->claim);
                free(e);
                torrent_unref(t);
        }
}

static struct torrent *ref_of(struct entry *e)
{
        return e ? torrent_ref(e->torrent) : NULL;
}

struct torrent *registry_by_number(struct registry *r, uint32_t number)
{
        struct torrent *t;
        struct entry *e;

        pthread_rwlock_rdlock(&r->lock);
        HASH_FIND(by_number, r->numbers, &number, sizeof number, e);
        t = ref_of(e);
        pthread_rwlock_unlock(&r->lock);
        return t;
}

struct torrent *registry_by_name(struct registry *r, const char *name)
{
        struct torrent *t;
        struct entry *e;

        pthread_rwlock_rdlock(&r->lock);
        HASH_FIND(by_name, r->names, name, strlen(name), e);
        t = ref_of(e);
        pthread_rwlock_unlock(&r->lock);
        return t;
}

struct torrent *registry_by_hash(struct registry *r, const char *hex)
{
        struct torrent *t;

        pthread_rwlock_rdlock(&r->lock);
        t = ref_of(find_alias(r, hex));
        pthread_rwlock_unlock(&r->lock);
        return t;
}

struct torrent *registry_next(struct registry *r, uint32_t number)
{
        struct torrent *t;
        size_t i;

        pthread_rwlock_rdlock(&r->lock);
        i = above(r, number);
        t = ref_of(i < r->n ? r->order[i] : NULL);
        pthread_rwlock_unlock(&r->lock);
        return t;
}

unsigned registry_count(struct registry *r)
{
        unsigned n;

        pthread_rwlock_rdlock(&r->lock);
        n = (unsigned)r->n;
        pthread_rwlock_unlock(&r->lock);
        return n;
}

time_t registry_changed_at(struct registry *r)
{
        return r->changed_at;
}

bool registry_name(struct registry *r, struct torrent *t, char *out)
{
        struct entry *e;

        pthread_rwlock_rdlock(&r->lock);
        HASH_FIND(by_number, r->numbers, &t->number, sizeof t->number, e);
        if (e)
                memcpy(out, t->name, strlen(t->name) + 1);
        pthread_rwlock_unlock(&r->lock);
        return e != NULL;
}

void registry_alias(struct registry *r, struct torrent *t, unsigned which, char out[BT_HEX_MAX])
{
        pthread_rwlock_rdlock(&r->lock);
        memcpy(out, t->alias[which], BT_HEX_MAX);
        pthread_rwlock_unlock(&r->lock);
}

int registry_rename(struct registry *r, struct torrent *t, const struct bt_meta *meta,
                    struct renamed **ret, struct torrent **other_ret)
{
        char hex[2][BT_HEX_MAX];
        struct entry *e, *other = NULL;
        struct renamed *list = NULL;
        int result;

        bt_hash_v1_hex(bt_meta_hash(meta), hex[0]);
        bt_hash_v2_hex(bt_meta_hash(meta), hex[1]);

        pthread_rwlock_wrlock(&r->lock);
        HASH_FIND(by_number, r->numbers, &t->number, sizeof t->number, e);
        for (unsigned i = 0; i < 2 && e && !other; i++) {
                other = find_alias(r, hex[i]);
                if (other == e)
                        other = NULL;
        }
        if (!e) {
                result = -ESTALE;
        } else if (other) {
                *other_ret = torrent_ref(other->torrent);
                result = -EEXIST;
        } else {
                result = set_claim(r, e, claim_of(t, bt_meta_name(meta), bt_meta_single_file(meta)),
                                   &list);
        }
        if (result == 0) {
                for (unsigned i = 0; i < 2; i++) {
                        if (t->alias[i][0] || !hex[i][0])
                                continue;
                        memcpy(t->alias[i], hex[i], sizeof hex[i]);
                        (void)add_alias(r, e, i);
                }
                if (list)
                        r->changed_at = time(NULL);
                *ret = list;
        }
        pthread_rwlock_unlock(&r->lock);
        return result;
}
