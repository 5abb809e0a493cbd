/* SPDX-License-Identifier: MIT */
/* registry_private.h: the inside of the registry, for registry.c and registry_names.c alone. */
#ifndef FS_REGISTRY_PRIVATE_H
#define FS_REGISTRY_PRIVATE_H

/* uthash would exit() when memory ends; here the call fails instead. */
#define HASH_NONFATAL_OOM 1
#include "engine/registry.h"

#include <pthread.h>

#include <uthash.h>

#include "torrent/names.h"

/* Where the search for a name that nobody has begins, for a torrent that calls itself so: of the
 * names made of the text all before that one are taken. */
struct claim {
        UT_hash_handle hh;
        unsigned first;
        char text[]; /* the key */
};

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
        struct claim *claims; /* of those that are in use more than once */
        size_t n_numbered;    /* entries whose index is not 1 */
        /* The entries by rising number. */
        struct entry **order;
        size_t n, room;
        uint32_t next_number;
        _Atomic time_t changed_at;
};

/* ---- registry_names.c; under the registry's lock, for writing ---- */

/* What a torrent that calls itself raw would be called if it were alone; by its hash where it has
 * no name. Of a single file the directory takes the name without the extension. */
char *registry_claim_of(const struct torrent *t, const char *raw, bool single);
/* The first name made of claim that e (NULL: a torrent that has none yet) may take, and its index:
 * one that nobody has, or that somebody has who was added later and whose files nobody opened;
 * *ret_holder is that one or NULL. Its present name e may have only if keep. */
unsigned registry_pick_name(struct registry *r, const struct entry *e, bool keep, const char *claim,
                            char name[NAME_BYTES_MAX + 1], struct entry **ret_holder);
/* A torrent that calls itself claim has taken the first name that registry_pick_name gave for one
 * that had none yet. */
void registry_name_taken(struct registry *r, const char *claim, unsigned index);
/* e gives its name up. */
void registry_name_freed(struct registry *r, const struct entry *e, const char *name);
/* All names are. */
void registry_names_clear(struct registry *r);
/* e calls itself claim from now on (taken over, also on failure). -ENOMEM: nothing is changed. */
int registry_set_claim(struct registry *r, struct entry *e, char *claim, struct renamed **list);

#endif
