/* SPDX-License-Identifier: MIT */
#include "range.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

/* One range as it was asked for, and where in the header. */
struct spec {
        struct range_part part;
        size_t place;
};

enum spec_result { SPEC_MALFORMED, SPEC_UNSATISFIABLE, SPEC_PART };

static const char *skip_space(const char *p)
{
        while (*p == ' ' || *p == '\t')
                p++;
        return p;
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* Reads 1*DIGIT; a number that does not fit becomes UINT64_MAX, which lies behind the end of every
 * file. Returns what follows, NULL if there is no digit. */
static const char *read_number(const char *p, uint64_t *ret)
{
        uint64_t n = 0;

        if (!is_digit(*p))
                return NULL;
        for (; is_digit(*p); p++) {
                uint64_t digit = (uint64_t)(*p - '0');

                if (n > (UINT64_MAX - digit) / 10)
                        n = UINT64_MAX;
                else
                        n = n * 10 + digit;
        }
        *ret = n;
        return p;
}

/* One range-spec (RFC 9110 §14.1.1): int-range or suffix-range, for a file of size bytes. *p goes
 * on behind it. */
static enum spec_result read_spec(const char **p, uint64_t size, struct range_part *ret)
{
        uint64_t first, last = UINT64_MAX, suffix;

        if (**p == '-') {
                *p = read_number(*p + 1, &suffix);
                if (!*p)
                        return SPEC_MALFORMED;
                if (suffix == 0)
                        return SPEC_UNSATISFIABLE;
                ret->length = suffix < size ? suffix : size;
                ret->first = size - ret->length;
                return SPEC_PART;
        }

        *p = read_number(*p, &first);
        if (!*p || **p != '-')
                return SPEC_MALFORMED;
        ++*p;
        if (is_digit(**p))
                *p = read_number(*p, &last);
        if (last < first)
                return SPEC_MALFORMED;
        if (first >= size)
                return SPEC_UNSATISFIABLE;
        if (last > size - 1)
                last = size - 1;
        *ret = (struct range_part){.first = first, .length = last - first + 1};
        return SPEC_PART;
}

/* Reads a list (§5.6.1), whose empty elements count for nothing. Writes those that are satisfiable
 * to specs, which has room for one more than the commas. Returns how many there are in all, 0 if
 * any is malformed. */
static size_t read_set(const char *p, uint64_t size, struct spec *specs, size_t *ret_count)
{
        size_t all = 0, count = 0;

        for (;;) {
                p = skip_space(p);
                if (*p == '\0')
                        break;
                if (*p == ',') {
                        p++;
                        continue;
                }
                switch (read_spec(&p, size, &specs[count].part)) {
                case SPEC_MALFORMED:
                        return 0;
                case SPEC_PART:
                        specs[count].place = all;
                        count++;
                        break;
                case SPEC_UNSATISFIABLE:
                        break;
                }
                all++;
                p = skip_space(p);
                if (*p != ',' && *p != '\0')
                        return 0;
        }
        *ret_count = count;
        return all;
}

static int by_offset(const void *a, const void *b)
{
        const struct spec *x = a, *y = b;

        return (x->part.first > y->part.first) - (x->part.first < y->part.first);
}

static int by_place(const void *a, const void *b)
{
        const struct spec *x = a, *y = b;

        return (x->place > y->place) - (x->place < y->place);
}

/* Makes one of those that overlap or touch; returns how many are left. Positions are less than the
 * size, so no sum overflows. */
static size_t merge(struct spec *specs, size_t count)
{
        size_t used = 0;

        qsort(specs, count, sizeof *specs, by_offset);
        for (size_t i = 0; i < count; i++) {
                struct spec *last = used > 0 ? &specs[used - 1] : NULL;
                uint64_t end = specs[i].part.first + specs[i].part.length;

                if (!last || specs[i].part.first > last->part.first + last->part.length) {
                        specs[used++] = specs[i];
                        continue;
                }
                if (end > last->part.first + last->part.length)
                        last->part.length = end - last->part.first;
                if (specs[i].place < last->place)
                        last->place = specs[i].place;
        }
        qsort(specs, used, sizeof *specs, by_place);
        return used;
}

int range_parse(const char *header, uint64_t size, struct range *ret)
{
        static const char unit[] = "bytes=";
        _cleanup_free_ struct spec *specs = NULL;
        struct range range = {.kind = RANGE_WHOLE};
        size_t room = 1, count;
        const char *p = header ? skip_space(header) : "";

        if (strncasecmp(p, unit, strlen(unit)) != 0) { /* units are case-insensitive, §14.1 */
                *ret = range;
                return 0;
        }
        p += strlen(unit);
        for (const char *c = p; *c; c++)
                room += *c == ',';
        specs = calloc(room, sizeof *specs);
        if (!specs)
                return -ENOMEM;
        if (read_set(p, size, specs, &count) == 0) {
                *ret = range;
                return 0;
        }
        /* The end of what is empty is all of it (§14.1.2), for which Content-Range has no words. */
        if (size == 0 && count > 0) {
                *ret = range;
                return 0;
        }
        range.kind = RANGE_UNSATISFIABLE;
        count = merge(specs, count);
        if (count > 0 && count <= RANGE_PARTS_MAX) {
                range.kind = RANGE_PARTS;
                range.count = (unsigned)count;
                for (size_t i = 0; i < count; i++)
                        range.parts[i] = specs[i].part;
        }
        *ret = range;
        return 0;
}
