/* SPDX-License-Identifier: MIT */
/* linger.h: pieces that go on being wanted for a moment after the read that asked for them has
 * ended, as its program is likely to ask again. All under torrent->lock; nothing blocks. */
#ifndef FS_LINGER_H
#define FS_LINGER_H

#include "torrent/parked.h"
#include "torrent/torrent.h"

/* A read that comes back for its piece within this time goes on waiting where it was interrupted: a
 * program with a timer's signal each second would never see its read time out. */
enum { LINGER_MS = 1000 };

/* The program that p is of is likely to ask for the same again at once: its piece goes on being
 * wanted for a moment as if p still waited. Before parked_settle. */
void linger_read(struct torrent *t, const struct parked *p);
/* A read that misses the piece fails at once, as nothing comes from the swarm. Its program may well
 * open the file, read and close it again and again: the first block that comes ends that, so the
 * piece goes on being wanted for a moment, whoever closes the file. */
void linger_refused(struct torrent *t, uint32_t piece);
bool linger_has(struct torrent *t, uint32_t piece);
/* The piece has come. */
void linger_passed(struct torrent *t, uint32_t piece);
/* No file is open any more: none of the pieces of linger_read goes on being wanted, or none at all.
 */
void linger_closed(struct torrent *t);
void linger_end(struct torrent *t);
/* Once in a while: those end whose moment is over. */
void linger_tick(struct torrent *t, uint64_t now_ms);

#endif
