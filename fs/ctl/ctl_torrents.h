/* SPDX-License-Identifier: MIT */
/* ctl_torrents.h: the status of a mount, and which torrents of it the arguments mean. */
#ifndef FS_CTL_TORRENTS_H
#define FS_CTL_TORRENTS_H

#include "ctl/ctl.h"
#include "ctl/ctl_json.h"

/* A torrent that the command line means. */
struct ctl_target {
        char hash[CTL_HASH_MAX + 1]; /* lower case */
        const char *arg;             /* as the user called it; NULL: not at all */
        char *path;                  /* of the part of it that arg names; "": all of it */
};
/* Without a path. */
void ctl_target_set(struct ctl_target *t, const char *hash, const char *arg);

/* Of what ctl_find_targets() gave. */
void ctl_targets_free(struct ctl_target *targets);
static inline void ctl_targets_freep(struct ctl_target **targets)
{
        ctl_targets_free(*targets);
}
#define _cleanup_targets_ _cleanup_(ctl_targets_freep)

/* The control file `status`, with an array "torrents"; the caller deletes it. 0, or -errno
 * (complained). Blocks for the daemon, not for the swarm. */
int ctl_read_status(struct ctl *c, cJSON **ret);

/* Whether an info-hash of the torrent, v1 or v2, begins so. */
bool ctl_has_hash(const cJSON *torrent, const char *prefix);

/* What the arguments of a command may name. */
enum ctl_named {
        CTL_NAMES_TORRENTS, /* with the path of a part of a torrent, that torrent */
        CTL_NAMES_WHOLE,    /* nothing that is only a part */
        CTL_NAMES_FILES,    /* parts, too, also as TORRENT/PATH */
};

/* The torrents of the arguments, *ret_n of them, each once unless files are named; complains of
 * those there are none for. *ret is for ctl_targets_free(). 0, or -errno when there is no status to
 * look into (complained). */
int ctl_find_targets(struct ctl *c, enum ctl_named named, struct ctl_target **ret, size_t *ret_n);

#endif
