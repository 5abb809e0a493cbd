/* SPDX-License-Identifier: MIT */
#include "common/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool size_parse(const char *text, uint64_t *ret)
{
        static const char units[] = "KMGT";
        unsigned long long v;
        const char *unit;
        char *end;
        int shift = 0;

        errno = 0;
        v = strtoull(text, &end, 10);
        if (errno || end == text || !isdigit((unsigned char)text[0]))
                return false;
        if (*end) {
                unit = strchr(units, *end >= 'a' ? *end - 32 : *end);
                if (!unit || (end[1] && strcmp(end + 1, "iB") != 0 && strcmp(end + 1, "B") != 0))
                        return false;
                shift = 10 * (int)(unit - units + 1);
        }
        if (shift && v > UINT64_MAX >> shift)
                return false;
        *ret = (uint64_t)v << shift;
        return true;
}
