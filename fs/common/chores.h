/* SPDX-License-Identifier: MIT */
/* chores.h: a thread for what takes its time: parsing what was written to add, making trees;
 * another one for deleting stores and asking how full the disk is. So neither the loop of the mount
 * nor the engine's thread waits for a disk or for a large torrent. One after the other, in order.
 */
#ifndef FS_CHORES_H
#define FS_CHORES_H

#include <stdbool.h>

struct chores;

/* Embedded in what it is about, so that nothing has to be allocated for it; one that is queued may
 * not be queued again. */
struct chore {
        void (*run)(struct chore *c); /* the thread of chores; c may be freed or queued again */
        struct chore *next;
};

/* Starts the thread, which is called name (at most 15 bytes). -errno. */
int chores_new(const char *name, struct chores **ret);
/* Queues c. Any thread; never blocks and has no bound: who queues sees to that. false: chores_stop
 * was called, c is the caller's. */
bool chores_push(struct chores *cs, struct chore *c);
/* Takes c back if it has not begun: it is the caller's again. Any thread. */
bool chores_take_back(struct chores *cs, struct chore *c);
/* Does what is queued and ends the thread; waits at most timeout_ms for it. false: it goes on, and
 * what it uses may not be freed. Blocking. */
bool chores_stop(struct chores *cs, unsigned timeout_ms);
/* After chores_stop said yes; NULL is fine. */
void chores_free(struct chores *cs);

#endif
