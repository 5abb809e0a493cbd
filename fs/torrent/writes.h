/* SPDX-License-Identifier: MIT */
/* writes.h: what follows from writes that failed. The session asks for nothing more of such a
 * torrent until it is told to go on. Pure: knows no clock and no session. */
#ifndef FS_WRITES_H
#define FS_WRITES_H

#include <stdbool.h>
#include <stdint.h>

/* One torrent's; zeroed at first. */
struct writes {
        bool again;         /* the session is to be told once more */
        bool failed;        /* reads have ended in that */
        uint64_t failed_ms; /* when they last did */
};

/* stopped: a write failed since the last tick. Whether the session is to be told to go on. It is
 * told so in two ticks: it may hear of the failure only after the first. */
bool writes_tick(struct writes *w, bool stopped);
/* Reads end, as a wanted piece could not be written. Whether somebody should be told: not where
 * that was said before and no block was written since. */
bool writes_failed(struct writes *w, uint64_t last_block_ms, uint64_t now_ms);

#endif
