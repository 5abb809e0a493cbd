/* SPDX-License-Identifier: MIT */
#include "range.h"

#include <string.h>
#include <strings.h>

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

/* One range-spec (RFC 9110 §14.1.1): int-range or suffix-range, for a file of size bytes.
 * Returns what follows, NULL if it is malformed. */
static const char *read_spec(const char *p, uint64_t size, struct range *ret)
{
        struct range r = {.kind = RANGE_UNSATISFIABLE};
        uint64_t first, last = UINT64_MAX;

        if (*p == '-') {
                uint64_t suffix;

                p = read_number(p + 1, &suffix);
                if (!p)
                        return NULL;
                if (suffix > 0 && size > 0) {
                        r.kind = RANGE_PART;
                        r.length = suffix < size ? suffix : size;
                        r.first = size - r.length;
                }
                *ret = r;
                return p;
        }

        p = read_number(p, &first);
        if (!p || *p != '-')
                return NULL;
        p++;
        if (is_digit(*p))
                p = read_number(p, &last);
        if (last < first)
                return NULL;
        if (first < size) {
                if (last > size - 1)
                        last = size - 1;
                r.kind = RANGE_PART;
                r.first = first;
                r.length = last - first + 1;
        }
        *ret = r;
        return p;
}

struct range range_parse(const char *header, uint64_t size)
{
        static const char unit[] = "bytes=";
        const struct range whole = {.kind = RANGE_WHOLE, .length = size};
        struct range found = whole;
        unsigned count = 0;
        const char *p;

        if (!header)
                return whole;
        p = skip_space(header);
        if (strncasecmp(p, unit, strlen(unit)) != 0) /* range units are case-insensitive, §14.1 */
                return whole;
        p += strlen(unit);

        /* A list (§5.6.1): empty elements count for nothing. */
        for (;;) {
                p = skip_space(p);
                if (*p == '\0')
                        break;
                if (*p == ',') {
                        p++;
                        continue;
                }
                p = read_spec(p, size, &found);
                if (!p)
                        return whole;
                count++;
                p = skip_space(p);
                if (*p != ',' && *p != '\0')
                        return whole;
        }
        return count == 1 ? found : whole;
}

bool range_if_range(const char *if_range, const char *etag, const char *last_modified)
{
        if (!if_range)
                return true;
        if (if_range[0] == '"')
                return strcmp(if_range, etag) == 0;
        return strcmp(if_range, last_modified) == 0;
}
