/* SPDX-License-Identifier: MIT */
/* registry.h: all torrents, found by number, by directory name and by info-hash. Any thread;
 * nothing blocks. What is found is returned with a reference that the caller gives back. */
#ifndef FS_REGISTRY_H
#define FS_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "torrent/names.h"
#include "torrent/torrent.h"

struct registry;

int registry_new(struct registry **ret);
void registry_free(struct registry *r); /* drops its references */

/* Adds a torrent of source under a name nobody has; source is taken over but for -EEXIST: one of
 * its hashes is known, *ret is that torrent then, kept if this one is to be. -ENOMEM. */
int registry_add(struct registry *r, struct torrent_env *env, struct bt_source *source, bool kept,
                 struct torrent **ret);
/* Puts a torrent of an earlier run in, whose reference is taken over, with the name that it had.
 * -ENOMEM; -EEXIST: its number, its name or a hash is another's. */
int registry_restore(struct registry *r, struct torrent *t, const char *name, const char *claim,
                     unsigned index);
/* The next torrent's number, if it would be lower than that, and when a torrent last came or went.
 */
void registry_resume(struct registry *r, uint32_t next_number, time_t changed_at);
uint32_t registry_next_number(struct registry *r);
/* Keeps t, or lets it go when it is idle. The one way to change that after registry_add. */
void registry_set_kept(struct registry *r, struct torrent *t, bool kept);
/* unless_kept: only a temporary one. false: it has been removed already, or is kept. */
bool registry_remove(struct registry *r, struct torrent *t, bool unless_kept);
/* Takes all torrents out, and calls end for each before its reference is dropped, without a lock.
 * O(torrents), where so many calls of registry_remove take the square of that. */
void registry_clear(struct registry *r, void (*end)(struct torrent *t));

struct torrent *registry_by_number(struct registry *r, uint32_t number);
struct torrent *registry_by_name(struct registry *r, const char *name);
struct torrent *registry_by_hash(struct registry *r, const char *hex);
/* The torrent with the least number above `number`, or NULL: for walking through all of them while
 * they come and go. */
struct torrent *registry_next(struct registry *r, uint32_t number);
unsigned registry_count(struct registry *r);
/* When a torrent last came, went or took its name. */
time_t registry_changed_at(struct registry *r);

/* Copies the torrent's directory name; at most NAME_BYTES_MAX + 1 bytes. false: it has been
 * removed. */
bool registry_name(struct registry *r, struct torrent *t, char *out);
/* The same besides what it would be called if it were alone, and the how-manieth of those that
 * would be called so it is. */
bool registry_describe(struct registry *r, struct torrent *t, char name[NAME_BYTES_MAX + 1],
                       char claim[NAME_BYTES_MAX + 1], unsigned *index);
/* The hash's text as v1 (which = 0) or v2 (1); "" when it has none. */
void registry_alias(struct registry *r, struct torrent *t, unsigned which, char out[BT_HEX_MAX]);

/* A torrent whose directory has got another name. */
struct renamed {
        struct torrent *torrent; /* a reference */
        char *old_name;
        struct renamed *next;
};

/* The metadata is known: gives the torrent its own name and all its hashes. Of torrents of one name
 * the one that was added first has it bare, so that names do not depend on whose metadata came
 * first: another, added later, moves on to its next one, unless a file of it was opened. *ret is
 * the list of all that are called otherwise now, for renamed_free. -ENOMEM; -EEXIST: another
 * torrent has one of the hashes, *other_ret is that one, nothing is changed; -ESTALE: it has been
 * removed. */
int registry_rename(struct registry *r, struct torrent *t, const struct bt_meta *meta,
                    struct renamed **ret, struct torrent **other_ret);
/* The same where registry_rename said that other has one of the hashes: in one step other is
 * removed and t takes its name and its hashes, so that nobody finds the hash free in between; and t
 * is kept if other was. -ENOMEM, -ESTALE: nothing is changed; -EEXIST: a third torrent has the
 * other one, and nothing is changed. *named_ret: whether other was still there, under that name. */
int registry_merge(struct registry *r, struct torrent *t, struct torrent *other,
                   const struct bt_meta *meta, struct renamed **ret, bool *named_ret,
                   char name[NAME_BYTES_MAX + 1], struct torrent **third_ret);
void renamed_free(struct renamed *list);

#endif
