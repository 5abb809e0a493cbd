/* SPDX-License-Identifier: MIT */
/* ctl_path.h: arguments that are paths, and where they lead. */
#ifndef FS_CTL_PATH_H
#define FS_CTL_PATH_H

#include <stdbool.h>

/* Whether s can only be meant as a path: absolute, or from the working directory on. Pure. */
bool ctl_path_is_explicit(const char *s);

/* The absolute path that s leads to, without links and dots: of as much of it as there is, with the
 * rest behind it as it stands. *ret_there: all of it is there. The caller frees *ret. Touches what
 * the path goes through, mounts among that, under the watchdog. -ENOENT: nobody can tell, as of a
 * ".." behind what is not there; -ENOMEM. */
int ctl_path_resolve(const char *s, char **ret, bool *ret_there);

/* What of an absolute path is below the directory dir, a part of path: "" for dir itself, NULL for
 * what is elsewhere. Pure. */
const char *ctl_path_below(const char *path, const char *dir);

#endif
