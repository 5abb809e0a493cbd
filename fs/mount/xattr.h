/* SPDX-License-Identifier: MIT */
/* xattr.h: the extended attributes user.magnetfs.* of a torrent's directories and files. Knows no
 * FUSE. Any thread; nothing waits. */
#ifndef FS_XATTR_H
#define FS_XATTR_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/engine.h"
#include "nodes/nodes.h"

enum { XATTR_VALUE_MAX = 128, XATTR_LIST_MAX = 512 };

/* The attribute's text. -ENODATA: the node has no such attribute; -EAGAIN: its torrent is asleep,
 * see nodes.h. */
int xattr_get(struct engine *e, struct node n, const char *name, char value[XATTR_VALUE_MAX]);
/* The names, each with its NUL; returns their length. */
size_t xattr_list(struct node n, char names[XATTR_LIST_MAX]);

#endif
