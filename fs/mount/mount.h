/* SPDX-License-Identifier: MIT */
/* mount.h: the FUSE side: a thin adapter between libfuse's low-level API and nodes, torrents and
 * control. One loop thread, which never waits; answers to parked requests come from the engine's
 * thread. */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/engine.h"

struct mount;

/* How the mount answers parked requests: for engine_options.reply. */
extern const struct reply_ops mount_reply;

struct mount_options {
        const char *mountpoint;
        const char *source;       /* what the kernel shows as the mount's source; NULL: magnetfs */
        const char *fuse_options; /* for libfuse ("allow_other", …; may be "") */
        uid_t uid;                /* whose the torrents' files are; -1: the mounter's */
        gid_t gid;
        mode_t umask;      /* what is taken from the modes of those */
        unsigned max_read; /* the most bytes of a READ; 0: the kernel's own */
        void (*sidecar)(int err);
};

/* Whether libfuse takes these options. -EINVAL, with a message logged. Before any thread. */
int mount_check_options(const struct mount_options *o);

/* Mounts. Starts no thread. -errno, with a message logged. */
int mount_new(struct engine *e, const struct mount_options *o, struct mount **ret);
/* Starts the loop's thread; ended_fd (an eventfd) becomes readable when the loop ends by itself,
 * because somebody unmounted. */
int mount_start(struct mount *m, int ended_fd);
/* Answers everything that is parked, ends the loop and unmounts. Blocking, bounded by what the disk
 * takes. */
void mount_stop(struct mount *m);
/* After engine_stop: the engine's hooks point here. */
void mount_free(struct mount *m);

#endif
