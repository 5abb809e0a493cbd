/* SPDX-License-Identifier: MIT */
#include "multipart.h"

#include <inttypes.h>
#include <stdio.h>

void multipart_boundary(const uint8_t random[static 16], char ret[static MULTIPART_BOUNDARY_MAX])
{
        for (unsigned i = 0; i < 16; i++)
                snprintf(ret + 2 * i, 3, "%02x", random[i]);
}

size_t multipart_head(const struct multipart *m, unsigned i, char ret[static MULTIPART_HEAD_MAX])
{
        /* The line break before a boundary belongs to it (RFC 2046 §5.1.1); nothing is before the
         * first. */
        const char *line_break = i > 0 ? "\r\n" : "";
        const struct range_part *part = &m->range->parts[i];
        int n;

        if (i == m->range->count)
                n = snprintf(ret, MULTIPART_HEAD_MAX, "%s--%s--\r\n", line_break, m->boundary);
        else
                n = snprintf(ret, MULTIPART_HEAD_MAX,
                             "%s--%s\r\n"
                             "Content-Type: %s\r\n"
                             "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n"
                             "\r\n",
                             line_break, m->boundary, m->type, part->first,
                             part->first + part->length - 1, m->size);
        return n < MULTIPART_HEAD_MAX ? (size_t)n : MULTIPART_HEAD_MAX - 1;
}

uint64_t multipart_length(const struct multipart *m)
{
        char head[MULTIPART_HEAD_MAX];
        uint64_t sum = 0;

        /* The parts are disjoint, so they have no more than the file. */
        for (unsigned i = 0; i <= m->range->count; i++) {
                sum += multipart_head(m, i, head);
                if (i < m->range->count)
                        sum += m->range->parts[i].length;
        }
        return sum;
}
