/* cleanup.h: variables that free themselves at the end of their scope. */
#pragma once

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

/* free() of the pointer; it may be NULL. */
#define _cleanup_free_ __attribute__((cleanup(cleanup_freep)))
/* close() of the descriptor; it may be negative. */
#define _cleanup_close_ __attribute__((cleanup(cleanup_closep)))
