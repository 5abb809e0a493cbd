/* SPDX-License-Identifier: MIT */
/* cleanup.h: variables that free themselves at the end of their scope, as in systemd and casync. */
#ifndef FS_CLEANUP_H
#define FS_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_freep(void *p)
{
        free(*(void **)p);
}

static inline void cleanup_closep(const int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

/* Calls f with the variable's address. */
#define _cleanup_(f) __attribute__((cleanup(f)))
/* free() of the pointer; it may be NULL. */
#define _cleanup_free_ _cleanup_(cleanup_freep)
/* close() of the descriptor; it may be negative. */
#define _cleanup_close_ _cleanup_(cleanup_closep)

#endif
