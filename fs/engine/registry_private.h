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

/* A text that several torrents would be called by. The names made of it are the text itself and
 * "text (2)", "text (3)" and so on. All before the one of index `first` are taken, so the search
 * for a free one begins there. */
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

/* Who has the name; NULL: nobody. */
struct entry *registry_name_holder(struct registry *r, const char *name);
/* What a torrent that calls itself raw would be called if it were alone; by its hash where it has
 * no name. Of a single file the directory takes the name without the extension. */
char *registry_claim_of(const struct torrent *t, const char *raw, bool single);
/* Finds the first name made of claim that e (NULL: a torrent that has none yet) may take, writes it
 * to name and returns its index. A torrent may take a name that nobody has. It may also take the
 * name of a torrent that was added later and of which nobody has opened a file; that one is
 * *ret_holder then, which is else NULL. The name that e has at present counts only if keep. */
unsigned registry_pick_name(struct registry *r, const struct entry *e, bool keep, const char *claim,
                            char name[NAME_BYTES_MAX + 1], struct entry **ret_holder);
/* A torrent that calls itself claim has taken the first name that registry_pick_name gave for one
 * that had none yet. */
void registry_name_taken(struct registry *r, const char *claim, unsigned index);
/* e gives its name up. */
void registry_name_freed(struct registry *r, const struct entry *e, const char *name);
/* All names are. */
void registry_names_clear(struct registry *r);
/* Renames e, whose metadata has come: it would be called claim from now on, if it were alone. Names
 * of other torrents may move with it; all that changed are put into *list. Takes claim over, also
 * on failure. -ENOMEM: nothing is changed. */
int registry_set_claim(struct registry *r, struct entry *e, char *claim, struct renamed **list);

#endif
