/* SPDX-License-Identifier: MIT */
/* mount.h: the FUSE side: a thin adapter between libfuse's low-level API and nodes, torrents and
 * control. One loop thread, which never waits; answers to parked requests come from the engine's
 * thread. */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine.h"

struct mount;

/* How the mount answers parked requests: for engine_options.reply. */
extern const struct reply_ops mount_reply;

/* Mounts at mountpoint; fuse_options are for libfuse ("allow_other", …; may be ""). Starts no
 * thread. -errno, with a message logged. */
int mount_new(struct engine *e, const char *mountpoint, const char *fuse_options, int cache_dir_fd,
              void (*sidecar)(int err), struct mount **ret);
/* Starts the loop's thread; ended_fd (an eventfd) becomes readable when the loop ends by itself,
 * because somebody unmounted. */
int mount_start(struct mount *m, int ended_fd);
/* Answers everything that is parked, ends the loop and unmounts. Blocking, bounded by what the disk
 * takes. */
void mount_stop(struct mount *m);
/* After engine_stop: the engine's hooks point here. */
void mount_free(struct mount *m);

#endif
