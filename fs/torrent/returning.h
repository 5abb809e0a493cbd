/* SPDX-License-Identifier: MIT */
/* returning.h: readers whose file was closed a moment ago. A program that opens, reads and closes,
 * and a player that asks for its film in many small HTTP ranges, goes on as the reader it was. All
 * under torrent->lock; nothing blocks. */
#ifndef FS_RETURNING_H
#define FS_RETURNING_H

#include <stdbool.h>
#include <stdint.h>

#include "torrent/torrent.h"

/* The file is closed: keeps its reader for five seconds, and what it wants for two if it had come
 * back before. What is not kept is wanted no more; wishes_tell is the caller's. */
void returning_leave(struct torrent *t, const struct layout *l, struct reader *r, uint64_t now_ms);
/* A first read of the file at off: true if a reader of it was there, which is *r then, and how long
 * it had gone. What it wants is wanted by *r. */
bool returning_take(struct torrent *t, const struct layout *l, uint64_t off, uint64_t now_ms,
                    struct reader *r, uint64_t *gone_ms);
/* Those whose time is over want nothing more; UINT64_MAX: all. wishes_tell is the caller's. */
void returning_expire(struct torrent *t, uint64_t now_ms);

#endif
