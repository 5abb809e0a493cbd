/* SPDX-License-Identifier: MIT */
/* ctl_mount.h: the mount that magnetctl works on. For one thread. All calls that touch the mount
 * are under the watchdog (ctl_watchdog.h). */
#ifndef FS_CTL_MOUNT_H
#define FS_CTL_MOUNT_H

#include <stddef.h>

#include "common/cleanup.h"

/* Why something failed, a sentence for the user; not yet safe for a terminal. */
struct ctl_reason {
        char text[1024];
};

struct ctl_mount; /* opaque */

/* Opens the mount at dir, or with NULL the only one there is; of several, the one that the n_paths
 * paths lead into, of which each may be none, or else that of the working directory. 0, or -errno
 * with the reason in why and *ret untouched: -ENOENT: there is none; -ENOTUNIQ: several, the reason
 * names them; -EMEDIUMTYPE: no magnetfs; or what the mount gives. */
int ctl_mount_open(const char *dir, char *const *paths, size_t n_paths, struct ctl_mount **ret,
                   struct ctl_reason *why);
void ctl_mount_free(struct ctl_mount *m);
static inline void ctl_mount_freep(struct ctl_mount **m)
{
        ctl_mount_free(*m);
}
#define _cleanup_mount_ _cleanup_(ctl_mount_freep)

/* Where it is mounted, as the user calls it, and as an absolute path without links; both live as
 * long as m. */
const char *ctl_mount_dir(const struct ctl_mount *m);
const char *ctl_mount_path(const struct ctl_mount *m);

/* The directory .magnetfs, for openat(); m's own. */
int ctl_mount_control_fd(const struct ctl_mount *m);

/* The sentence for an error of a call on the mount that is about the mount itself (the daemon is
 * gone, or another user's); NULL: about something else. It lives as long as m or until the next
 * call. */
const char *ctl_mount_complaint(struct ctl_mount *m, int r);

/* Removes the torrent of this info-hash with its data.
 * -ENOENT: there is no such torrent. */
int ctl_mount_remove(struct ctl_mount *m, const char *hash);

#endif
