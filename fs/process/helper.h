/* SPDX-License-Identifier: MIT */
/* helper.h: the process that may touch the mount.
 *
 * A daemon that is killed with a system call on its own mount pending hangs in D state and holds
 * the mount. So magnetfs makes none: a helper announces new torrents by mkdir, removes by rmdir,
 * lets the kernel read further ahead, starts and watches the sidecar and runs the --on-event
 * command. It ends when magnetfs does, however that ends.
 *
 * Between the two stands the zygote: forked before any thread, session or mount exists, it does
 * nothing but fork the helper, and fork it anew should it be killed. It shares the helper's end of
 * the socket, so that what was sent waits for the next helper, and it is the one that has to be
 * gone at the end: it ends what the helper has left. */
#ifndef FS_HELPER_H
#define FS_HELPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/helper_link.h"

struct helper_options {
        const char *mountpoint;
        char *const *sidecar; /* argv of the sidecar, NULL: none; "--ready-fd N" is added */
        const char *token;    /* who asks the sidecar has to have it, NULL: nobody; goes to it by
                                 "--token-fd N", which is added */
        const char *on_event; /* a shell command, or NULL */
        bool detaches;        /* HELPER_DETACH will come: what the sidecar says goes through here */
};

/* Forks the zygote, and that the helper. Single-threaded caller only. Returns its end of the socket
 * (non-blocking) and the zygote's pid. -errno. */
int helper_start(const struct helper_options *o, int *fd_ret, pid_t *pid_ret);
/* Waits at most timeout_ms for the helper and all it started to end, then kills zygote and helper
 * (helper: its pid, or -1). Blocking. */
void helper_stop(int fd, pid_t zygote, pid_t helper, unsigned timeout_ms);

#endif
