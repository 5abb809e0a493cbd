/* SPDX-License-Identifier: MIT */
/* crowd.h: how long somebody has hung behind the page-cache reads of a file, and which of those end
 * for it. Pure: knows no /proc, no clock, no lock. */
#ifndef FS_CROWD_H
#define FS_CROWD_H

#include <stdbool.h>
#include <stdint.h>

/* So long after somebody hung every read is looked at, and who hangs is taken for the same. */
enum { CROWDED_MS = 1000 };

struct crowd {
        uint64_t alone_ms; /* when nobody was found to hang; 0: it is not known */
        uint64_t since_ms; /* somebody hangs, and does no longer than since then */
        uint64_t seen_ms;  /* when that was first seen */
        uint64_t last_ms;  /* and last; 0: nobody hangs */
};

/* When it was last looked; 0: never. */
uint64_t crowd_look_ms(const struct crowd *c);
/* It was looked. Who hangs now did not before earliest_ms, nor when nobody did. */
void crowd_looked(struct crowd *c, bool hangs, uint64_t earliest_ms, uint64_t now_ms);
/* Whether a read that was parked at asked_ms is to end. one_page: it is for no more than that. */
bool crowd_ends(const struct crowd *c, bool one_page, uint64_t asked_ms, uint64_t now_ms);

#endif
