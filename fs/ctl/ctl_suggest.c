/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Longer words are compared by their beginning alone. No name in a mount is longer. */
enum { WORD_MAX = 255 };

/* Shorter ones are a part of too many others. */
enum { PART_MIN = 3 };

enum { COST_BEGINS = 0 };
enum { COST_INSIDE = 1 };
enum { COST_SLIPS = 2 }; /* and on */

static bool same(char a, char b)
{
        return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static size_t min(size_t a, size_t b)
{
        return a < b ? a : b;
}

/* How many slips make b of a (Damerau and Levenshtein, each place in one slip only), at most max
 * + 1.
 */
static size_t slips(const char *a, const char *b, size_t max)
{
        size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);
        /* the last three lines of the table: [i % 3][j] is the cost of b's first j for a's first i
         */
        size_t cost[3][WORD_MAX + 1];

        if (n > m + max || m > n + max)
                return max + 1;
        for (size_t j = 0; j <= m; j++)
                cost[0][j] = j;
        for (size_t i = 1; i <= n; i++) {
                const size_t *above = cost[(i - 1) % 3], *swap = cost[(i + 1) % 3];
                size_t *line = cost[i % 3], least = line[0] = i;

                for (size_t j = 1; j <= m; j++) {
                        line[j] = above[j - 1] + !same(a[i - 1], b[j - 1]);
                        line[j] = min(line[j], min(above[j], line[j - 1]) + 1);
                        if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                                line[j] = min(line[j], swap[j - 2] + 1);
                        least = min(least, line[j]);
                }
                if (least > max)
                        return max + 1;
        }
        return cost[n % 3][m];
}

void ctl_suggest_init(struct ctl_suggest *s, const char *wrong)
{
        *s = (struct ctl_suggest){.wrong = wrong, .best_cost = SIZE_MAX};
}

void ctl_suggest_offer(struct ctl_suggest *s, const char *word)
{
        size_t n = strnlen(s->wrong, WORD_MAX), allowed = n / 3 ? n / 3 : 1, found, cost;

        if (n == 0)
                return;
        if (n >= PART_MIN && strncasecmp(word, s->wrong, n) == 0)
                cost = COST_BEGINS;
        else if (n >= PART_MIN && strcasestr(word, s->wrong))
                cost = COST_INSIDE;
        else {
                found = slips(s->wrong, word, allowed);
                if (found > allowed || found >= n) /* nothing of a short word would be left */
                        return;
                cost = COST_SLIPS + found;
        }
        if (cost < s->best_cost) {
                s->best = word;
                s->best_cost = cost;
        }
}
