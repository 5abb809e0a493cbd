/* SPDX-License-Identifier: MIT */
/* mountpoint_private.h: the inside of the mountpoint, for its own files alone. */
#ifndef HTTPD_MOUNTPOINT_PRIVATE_H
#define HTTPD_MOUNTPOINT_PRIVATE_H

#include "mountpoint.h"

/* Opens what is at a path below the root of the mount, given like for printf, through no link.
 * -errno of openat2(); -ENOMEM. The caller closes *ret_fd. */
int open_control(const struct mountpoint *m, int flags, int *ret_fd, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* The same with a path below a torrent's data/, as long as it may be. */
int open_data(const struct mountpoint *m, const char *hash, const char *path, int flags,
              int *ret_fd);

#endif
