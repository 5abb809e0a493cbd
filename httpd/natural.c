/* SPDX-License-Identifier: MIT */
#include "natural.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* A '/' comes before all else, so that a folder's files stand together. */
static int weight(char c)
{
        if (c == '/')
                return 1;
        if (c >= 'A' && c <= 'Z')
                c = (char)(c - 'A' + 'a');
        return c == '\0' ? 0 : (unsigned char)c + 1;
}

/* Compares two runs of digits as numbers, and goes behind them. */
static int compare_numbers(const char **a, const char **b)
{
        size_t a_len, b_len;
        int order;

        *a += strspn(*a, "0");
        *b += strspn(*b, "0");
        a_len = strspn(*a, "0123456789");
        b_len = strspn(*b, "0123456789");
        order = a_len != b_len ? (a_len < b_len ? -1 : 1) : strncmp(*a, *b, a_len);
        *a += a_len;
        *b += b_len;
        return order;
}

int natural_compare(const char *a, const char *b)
{
        const char *p = a, *q = b;

        while (*p && *q) {
                int order;

                if (is_digit(*p) && is_digit(*q)) {
                        order = compare_numbers(&p, &q);
                } else {
                        order = weight(*p) - weight(*q);
                        p++;
                        q++;
                }
                if (order != 0)
                        return order;
        }
        if (*p || *q)
                return *p ? 1 : -1;
        return strcmp(a, b);
}
