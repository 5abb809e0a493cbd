/* SPDX-License-Identifier: MIT */
/* mountinfo.h: lines of /proc/self/mountinfo (proc(5)). Pure. */
#ifndef FS_MOUNTINFO_H
#define FS_MOUNTINFO_H

#include <stdbool.h>

/* What magnetfs' mounts are, in the field of the type. */
#define MOUNTINFO_MAGNETFS "fuse.magnetfs"

/* The fields of a line that matter here; they point into it. */
struct mountinfo {
        char *device, *root, *dir, *type;
};

/* Cuts a line, with or without its newline, into its fields; where it is mounted is as programs
 * call it, with blanks. false: it is none. */
bool mountinfo_split(char *line, struct mountinfo *ret);

#endif
