/* SPDX-License-Identifier: MIT */
/* source.h: SOURCE of the command line, as mount(8) and fstab(5) give it too: what to add. */
#ifndef FS_SOURCE_H
#define FS_SOURCE_H

#include <stdbool.h>

#include "bt.h"

/* Parses a magnet, an info-hash or, read now, a .torrent file by its path. *ret is the caller's;
 * NULL for a plain word (letters, digits, '.', '_', '-', shorter than any info-hash), which is no
 * more than a name for the mount. -errno, with a message logged that says what is wrong. Reads a
 * file; needs no session. */
int source_parse(const char *text, bool loopback, struct bt_source **ret);

#endif
