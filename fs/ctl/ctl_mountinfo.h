/* SPDX-License-Identifier: MIT */
/* ctl_mountinfo.h: which magnetfs mounts there are. Does not touch them. */
#ifndef FS_CTL_MOUNTINFO_H
#define FS_CTL_MOUNTINFO_H

#include <stddef.h>

/* The mount points of type fuse.magnetfs in the text of a mountinfo file (proc_pid_mountinfo(5)),
 * octal escapes decoded, each mount once: not the bind mounts of its inside, and of several places
 * where one file system shows, the first. *ret ends with NULL; free it with ctl_mountinfo_free().
 * -ENOMEM. Pure. */
int ctl_mountinfo_parse(const char *text, char ***ret, size_t *ret_n);

/* The same of this process's own. -ENOMEM; -errno of /proc. */
int ctl_mountinfo_read(char ***ret, size_t *ret_n);

void ctl_mountinfo_free(char **dirs);

#endif
