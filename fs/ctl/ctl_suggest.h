/* SPDX-License-Identifier: MIT */
/* ctl_suggest.h: "did you mean": which of several words somebody meant who got it wrong. Pure. */
#ifndef FS_CTL_SUGGEST_H
#define FS_CTL_SUGGEST_H

#include <stddef.h>

struct ctl_suggest {
        const char *wrong; /* what was given */
        const char *best;  /* what was meant; NULL: nothing comes near. One of the words offered. */
        size_t best_cost;
};

void ctl_suggest_init(struct ctl_suggest *s, const char *wrong);

/* One of the words there are; it must live as long as s. Upper and lower case count as the same.
 * The best is one that begins as the wrong word, else one that has it inside, else the one that the
 * fewest slips tell apart (a letter too many, too few, wrong, or swapped with the next): at most
 * one for each three letters. Of equals the first. */
void ctl_suggest_offer(struct ctl_suggest *s, const char *word);

#endif
