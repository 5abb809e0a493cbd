/* SPDX-License-Identifier: MIT */
/* fuzz_range.c: what a request says of the part of a file it wants, and on what conditions. The
 * input, a line each: the file's size, Range, If-Range, If-Match, If-None-Match, If-Modified-Since,
 * If-Unmodified-Since, the file's name. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "disposition.h"
#include "fuzz.h"
#include "http_date.h"
#include "multipart.h"
#include "preconditions.h"
#include "range.h"

#define ETAG "\"0123abc-1\""

/* Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110 §5.6.7, and one in 2026. */
static const struct validators file = {.etag = ETAG, .modified = 784111777, .now = 1795000000};

/* Reads a range of two numbers that fit easily, and nothing else beside it. */
static bool is_simple(const char *header, uint64_t *first, uint64_t *last)
{
        int end = 0;

        return header && strncmp(header, "bytes=", 6) == 0 &&
               strspn(header + 6, "0123456789-") == strlen(header + 6) && strlen(header) < 24 &&
               header[6] != '-' &&
               sscanf(header, "bytes=%" SCNu64 "-%" SCNu64 "%n", first, last, &end) == 2 &&
               header[end] == '\0' && !strstr(header, "--");
}

static void check_simple(const char *header, uint64_t size, const struct range *r)
{
        uint64_t first, last;

        if (!is_simple(header, &first, &last))
                return;
        if (last < first) {
                fuzz_check(r->kind == RANGE_WHOLE);
        } else if (first >= size) {
                fuzz_check(r->kind == RANGE_UNSATISFIABLE);
        } else {
                fuzz_check(r->kind == RANGE_PARTS && r->count == 1 && r->parts[0].first == first);
                fuzz_check(r->parts[0].length == (last < size ? last : size - 1) - first + 1);
        }
}

/* All parts lie in the file, and none overlaps or touches another. */
static void check_parts(const struct range *r, uint64_t size)
{
        fuzz_check(r->count >= 1 && r->count <= RANGE_PARTS_MAX && size > 0);
        for (unsigned i = 0; i < r->count; i++) {
                const struct range_part *p = &r->parts[i];

                fuzz_check(p->length >= 1 && p->first < size && p->length <= size - p->first);
                for (unsigned j = 0; j < i; j++)
                        fuzz_check(p->first > r->parts[j].first + r->parts[j].length ||
                                   r->parts[j].first > p->first + p->length);
        }
}

/* The length that is announced is that of what is sent. */
static void check_multipart(const struct range *r, uint64_t size)
{
        static const uint8_t random[16] = {0};
        char boundary[MULTIPART_BOUNDARY_MAX], head[MULTIPART_HEAD_MAX];
        struct multipart m = {
                .boundary = boundary, .type = "video/x-matroska", .size = size, .range = r};
        uint64_t sum = 0;

        multipart_boundary(random, boundary);
        for (unsigned i = 0; i <= r->count; i++) {
                size_t len = multipart_head(&m, i, head);

                fuzz_check(len == strlen(head) && strstr(head, boundary));
                sum += len + (i < r->count ? r->parts[i].length : 0);
        }
        fuzz_check(multipart_length(&m) == sum);
}

static void check_range(const char *header, uint64_t size)
{
        struct range r = {0};

        fuzz_check(range_parse(header, size, &r) == 0);
        fuzz_check(r.kind == RANGE_PARTS || r.count == 0);
        fuzz_check(header || r.kind == RANGE_WHOLE);
        check_simple(header, size, &r);
        if (r.kind != RANGE_PARTS)
                return;
        fuzz_check(strcasestr(header, "bytes="));
        check_parts(&r, size);
        check_multipart(&r, size);
}

/* RFC 9110 §13.2.2, of what is told without reading lists. */
static void check_preconditions(const struct preconditions *p, const char *if_range)
{
        enum precondition_result r = preconditions_check(p, &file);

        if (r == PRECONDITION_FAILED)
                fuzz_check(p->if_match || p->if_unmodified_since);
        if (r == PRECONDITION_NOT_MODIFIED)
                fuzz_check(p->if_none_match || p->if_modified_since);
        if (p->if_match && !strstr(p->if_match, ETAG) && !strchr(p->if_match, '*'))
                fuzz_check(r == PRECONDITION_FAILED);
        if (p->if_none_match && strcmp(p->if_none_match, "W/" ETAG) == 0)
                fuzz_check(r != PRECONDITION_HOLDS);
        if (p->if_none_match && !strstr(p->if_none_match, ETAG) && !strchr(p->if_none_match, '*'))
                fuzz_check(r != PRECONDITION_NOT_MODIFIED);
        if (preconditions_if_range(if_range, &file) && if_range)
                fuzz_check(strchr("\"", if_range[strspn(if_range, " \t")])
                                   ? strstr(if_range, ETAG) != NULL
                                   : strstr(if_range, "94") != NULL);
}

static void check_date(const char *text)
{
        char again[HTTP_DATE_MAX];
        time_t t = 0, u = 0;

        if (!text || !http_date_parse(text, file.now, &t))
                return;
        http_date_format(t, again);
        fuzz_check(strlen(again) < HTTP_DATE_MAX);
        fuzz_check(http_date_parse(again, file.now, &u) && t == u);
}

/* The value stands in one header, with one name in quotes. */
static void check_disposition(const char *name)
{
        char *value = disposition("inline", name);
        size_t quotes = 0;

        fuzz_check(value && strncmp(value, "inline; filename=\"", 18) == 0);
        for (const char *p = value; *p; p++) {
                fuzz_check(*p >= ' ' && *p <= '~');
                quotes += *p == '"';
        }
        fuzz_check(quotes == 2);
        free(value);
}

void fuzz_one(const uint8_t *data, size_t size)
{
        struct fuzz_input in = {(const char *)data, size};
        uint64_t length = fuzz_number(&in) & INT64_MAX;
        char *range = fuzz_header(&in), *if_range = fuzz_header(&in);
        char *if_match = fuzz_header(&in), *if_none_match = fuzz_header(&in);
        char *since = fuzz_header(&in), *unmodified = fuzz_header(&in), *name = fuzz_line(&in);
        struct preconditions p = {
                .if_match = if_match,
                .if_none_match = if_none_match,
                .if_modified_since = since,
                .if_unmodified_since = unmodified,
        };

        check_range(range, length);
        check_preconditions(&p, if_range);
        check_date(since);
        check_date(unmodified);
        check_date(if_range);
        check_disposition(name);
        free(range);
        free(if_range);
        free(if_match);
        free(if_none_match);
        free(since);
        free(unmodified);
        free(name);
}
