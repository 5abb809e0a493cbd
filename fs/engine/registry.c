/* SPDX-License-Identifier: MIT */
#include "engine/registry_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "torrent/names.h"

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

void registry_clear(struct registry *r, void (*end)(struct torrent *t))
{
        struct entry **order;
        size_t n;

        pthread_rwlock_wrlock(&r->lock);
        order = r->order;
        n = r->n;
        r->order = NULL;
        r->n = r->room = 0;
        HASH_CLEAR(by_number, r->numbers);
        HASH_CLEAR(by_name, r->names);
        for (unsigned i = 0; i < 2; i++)
                HASH_CLEAR(by_alias[i], r->aliases[i]);
        registry_names_clear(r);
        r->changed_at = time(NULL);
        pthread_rwlock_unlock(&r->lock);
        for (size_t i = 0; i < n; i++) {
                if (end)
                        end(order[i]->torrent);
                torrent_unref(order[i]->torrent);
                free(order[i]->claim);
                free(order[i]);
        }
        free(order);
}

void registry_free(struct registry *r)
{
        if (!r)
                return;
        registry_clear(r, NULL);
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

/* ---- torrents ---- */

static bool add_alias(struct registry *r, struct entry *e, unsigned i)
{
        const char *hex = e->torrent->alias[i];

        if (hex[0] == '\0')
                return true;
        HASH_ADD_KEYPTR(by_alias[i], r->aliases[i], hex, strlen(hex), e);
        return e->by_alias[i].tbl != NULL;
}

static bool make_room(struct registry *r)
{
        size_t room = r->room ? 2 * r->room : 64;
        struct entry **grown;

        if (r->n < r->room)
                return true;
        grown = reallocarray(r->order, room, sizeof *grown);
        if (!grown)
                return false;
        r->order = grown;
        r->room = room;
        return true;
}

/* Puts t, which has its name, into all tables, behind all that are there. Takes e over, which has
 * its claim and index. -ENOMEM. */
static int enter(struct registry *r, struct entry *e, struct torrent *t)
{
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
        return 0;
}

static int add_locked(struct registry *r, struct torrent *t, const struct bt_source *source)
{
        struct entry *e = make_room(r) ? calloc(1, sizeof *e) : NULL;
        struct bt_meta *meta = bt_source_meta(source);
        unsigned index;

        if (e) {
                char name[NAME_BYTES_MAX + 1];
                struct entry *holder;

                e->claim = registry_claim_of(t, bt_source_name(source),
                                             meta && bt_meta_single_file(meta));
                if (e->claim) {
                        e->index = registry_pick_name(r, NULL, false, e->claim, name, &holder);
                        t->name = strdup(name);
                }
        }
        if (!e || !t->name) {
                if (e)
                        free(e->claim);
                free(e);
                return -ENOMEM;
        }
        index = e->index;
        if (enter(r, e, t) < 0)
                return -ENOMEM;
        registry_name_taken(r, e->claim, index);
        r->changed_at = time(NULL);
        return 0;
}

int registry_restore(struct registry *r, struct torrent *t, const char *name, const char *claim,
                     unsigned index)
{
        struct entry *e = NULL;
        int result = -EEXIST;

        pthread_rwlock_wrlock(&r->lock);
        if ((r->n == 0 || r->order[r->n - 1]->number < t->number) && !find_alias(r, t->alias[0]) &&
            !find_alias(r, t->alias[1]) && !registry_name_holder(r, name)) {
                result = -ENOMEM;
                e = make_room(r) ? calloc(1, sizeof *e) : NULL;
        }
        if (e) {
                e->index = index;
                e->claim = strdup(claim);
                t->name = strdup(name);
                if (e->claim && t->name) {
                        result = enter(r, e, t);
                } else {
                        free(e->claim);
                        free(e);
                }
        }
        if (result == 0) {
                r->n_numbered += index != 1;
                if (r->next_number <= t->number)
                        r->next_number = t->number + 1;
        }
        pthread_rwlock_unlock(&r->lock);
        if (result < 0)
                torrent_unref(t);
        return result;
}

void registry_resume(struct registry *r, uint32_t next_number, time_t changed_at)
{
        pthread_rwlock_wrlock(&r->lock);
        if (r->next_number < next_number)
                r->next_number = next_number;
        r->changed_at = changed_at;
        pthread_rwlock_unlock(&r->lock);
}

uint32_t registry_next_number(struct registry *r)
{
        uint32_t number;

        pthread_rwlock_rdlock(&r->lock);
        number = r->next_number;
        pthread_rwlock_unlock(&r->lock);
        return number;
}

/* Under the lock: whether it is kept decides who may remove it. */
static void set_kept(struct torrent *t, bool kept)
{
        atomic_store(&t->kept, kept);
}

void registry_set_kept(struct registry *r, struct torrent *t, bool kept)
{
        pthread_rwlock_wrlock(&r->lock);
        set_kept(t, kept);
        pthread_rwlock_unlock(&r->lock);
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
                if (kept)
                        set_kept(e->torrent, true);
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
                        result = add_locked(r, t, source);
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

static struct entry *find_number(struct registry *r, uint32_t number)
{
        struct entry *e;

        HASH_FIND(by_number, r->numbers, &number, sizeof number, e);
        return e;
}

/* The caller frees e when the lock is given back. */
static void take_out(struct registry *r, struct entry *e)
{
        size_t i = above(r, e->number) - 1;

        unlink_entry(r, e);
        registry_name_freed(r, e, e->torrent->name);
        memmove(r->order + i, r->order + i + 1, (r->n - i - 1) * sizeof *r->order);
        r->n--;
        r->changed_at = time(NULL);
}

bool registry_remove(struct registry *r, struct torrent *t, bool unless_kept)
{
        struct entry *e;

        pthread_rwlock_wrlock(&r->lock);
        e = unless_kept && t->kept ? NULL : find_number(r, t->number);
        if (e)
                take_out(r, e);
        pthread_rwlock_unlock(&r->lock);
        if (!e)
                return false;
        free(e->claim);
        free(e);
        torrent_unref(t);
        return true;
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

bool registry_describe(struct registry *r, struct torrent *t, char name[NAME_BYTES_MAX + 1],
                       char claim[NAME_BYTES_MAX + 1], unsigned *index)
{
        const struct entry *e;

        pthread_rwlock_rdlock(&r->lock);
        e = find_number(r, t->number);
        if (e) {
                memcpy(name, t->name, strlen(t->name) + 1);
                memcpy(claim, e->claim, strlen(e->claim) + 1);
                *index = e->index;
        }
        pthread_rwlock_unlock(&r->lock);
        return e != NULL;
}

void registry_alias(struct registry *r, struct torrent *t, unsigned which, char out[BT_HEX_MAX])
{
        pthread_rwlock_rdlock(&r->lock);
        memcpy(out, t->alias[which], BT_HEX_MAX);
        pthread_rwlock_unlock(&r->lock);
}

/* Gives t the hashes and the name of its metadata. With leaving, which has one of the hashes, that
 * one goes first. As registry_rename. */
static int rename_locked(struct registry *r, struct torrent *t, const struct bt_meta *meta,
                         struct entry *leaving, struct renamed **ret, struct torrent **other_ret)
{
        char hex[2][BT_HEX_MAX];
        struct entry *e = find_number(r, t->number), *other = NULL;
        struct renamed *list = NULL;
        int result;

        bt_hash_v1_hex(bt_meta_hash(meta), hex[0]);
        bt_hash_v2_hex(bt_meta_hash(meta), hex[1]);
        for (unsigned i = 0; i < 2 && e && !other; i++) {
                other = find_alias(r, hex[i]);
                if (other == e || other == leaving)
                        other = NULL;
        }
        if (!e) {
                result = -ESTALE;
        } else if (other) {
                *other_ret = torrent_ref(other->torrent);
                result = -EEXIST;
        } else {
                if (leaving)
                        take_out(r, leaving);
                result = registry_set_claim(
                        r, e, registry_claim_of(t, bt_meta_name(meta), bt_meta_single_file(meta)),
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
        return result;
}

int registry_rename(struct registry *r, struct torrent *t, const struct bt_meta *meta,
                    struct renamed **ret, struct torrent **other_ret)
{
        int result;

        pthread_rwlock_wrlock(&r->lock);
        result = rename_locked(r, t, meta, NULL, ret, other_ret);
        pthread_rwlock_unlock(&r->lock);
        return result;
}

int registry_merge(struct registry *r, struct torrent *t, struct torrent *other,
                   const struct bt_meta *meta, struct renamed **ret, bool *named_ret,
                   char name[NAME_BYTES_MAX + 1], struct torrent **third_ret)
{
        struct entry *e;
        int result;

        pthread_rwlock_wrlock(&r->lock);
        e = find_number(r, other->number);
        if (e)
                memcpy(name, other->name, strlen(other->name) + 1);
        result = rename_locked(r, t, meta, e, ret, third_ret);
        /* The entry is out but where nothing was changed. */
        if (find_number(r, other->number))
                e = NULL;
        else if (other->kept)
                set_kept(t, true);
        pthread_rwlock_unlock(&r->lock);
        *named_ret = e != NULL;
        if (e) {
                free(e->claim);
                free(e);
                torrent_unref(other);
        }
        return result;
}
