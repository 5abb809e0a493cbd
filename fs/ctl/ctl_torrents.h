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
        const char *path;            /* of ctl_find_files: of a file of it, in arg; "": all of it */
};
void ctl_target_set(struct ctl_target *t, const char *hash, const char *arg);

/* The control file `status`, with an array "torrents"; the caller deletes it. 0, or -errno
 * (complained). Blocks for the daemon, not for the swarm. */
int ctl_read_status(struct ctl *c, cJSON **ret);

/* Whether an info-hash of the torrent, v1 or v2, begins so. */
bool ctl_has_hash(const cJSON *torrent, const char *prefix);

/* The torrents of the arguments, each once, *ret_n of them; complains of those there are none for.
 * The caller frees *ret. 0, or -errno when there is no status to look into (complained). */
int ctl_find_targets(struct ctl *c, struct ctl_target **ret, size_t *ret_n);
/* The same where an argument may be a file or a directory of a torrent, too: TORRENT/PATH, or its
 * path in the mount. Each argument has a target of its own. */
int ctl_find_files(struct ctl *c, struct ctl_target **ret, size_t *ret_n);

#endif
