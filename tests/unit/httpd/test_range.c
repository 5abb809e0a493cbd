/* test_range.c: what a Range header asks for, case by case (RFC 9110 §14). */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "range.h"

/* expected: "whole", "none", or the parts as first+length. */
struct range_case {
        const char *rule;
        const char *header;
        uint64_t size;
        const char *expected;
};

#define SPREAD_16                                                                                  \
        "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,"   \
        "30-30"
#define GIB5 (UINT64_C(5) << 30)

static const struct range_case range_cases[] = {
        {"§14.2: no Range", NULL, 1000, "whole"},
        {"§14.1.2: one byte", "bytes=0-0", 1000, "0+1"},
        {"§14.1.2: the last byte", "bytes=999-999", 1000, "999+1"},
        {"§14.1.2: all, closed", "bytes=0-999", 1000, "0+1000"},
        {"§14.1.2: all, open", "bytes=0-", 1000, "0+1000"},
        {"§14.1.2: open", "bytes=5-", 1000, "5+995"},
        {"§14.1.2: last-pos behind the end is cut", "bytes=0-1000", 1000, "0+1000"},
        {"§14.1.2: last-pos far behind the end", "bytes=990-99999999999", 1000, "990+10"},
        {"§14.1.2: last-pos beyond 64 bits", "bytes=990-99999999999999999999999999", 1000,
         "990+10"},
        {"§14.1.2: last-pos is the largest of 64 bits", "bytes=0-18446744073709551615", 1000,
         "0+1000"},
        {"§14.1.2: suffix", "bytes=-1", 1000, "999+1"},
        {"§14.1.2: suffix of ten", "bytes=-10", 1000, "990+10"},
        {"§14.1.2: suffix of all", "bytes=-1000", 1000, "0+1000"},
        {"§14.1.2: suffix longer than the file", "bytes=-5000", 1000, "0+1000"},
        {"§14.1.2: suffix beyond 64 bits", "bytes=-99999999999999999999999", 1000, "0+1000"},
        {"§14.1.2: beyond 4 GiB", "bytes=4294967296-4294967297", GIB5, "4294967296+2"},
        {"§14.1.2: the end of 5 GiB", "bytes=-10", GIB5, "5368709110+10"},
        {"§14.1.2: leading zeros", "bytes=000-0009", 1000, "0+10"},
        {"§14.1.2: suffix of nothing", "bytes=-0", 1000, "none"},
        {"§14.1.2: first-pos is the size", "bytes=1000-", 1000, "none"},
        {"§14.1.2: first-pos behind the end", "bytes=2000-3000", 1000, "none"},
        {"§14.1.2: first-pos beyond 64 bits", "bytes=99999999999999999999-", 1000, "none"},
        {"§14.1.2: the largest position", "bytes=9223372036854775807-", 1000, "none"},
        {"§14.1.2: an empty file, open", "bytes=0-", 0, "none"},
        {"§14.1.2: an empty file, closed", "bytes=0-0", 0, "none"},
        {"§14.1.2: an empty file, suffix", "bytes=-5", 0, "whole"},
        {"§14.1.2: an empty file, suffix of nothing", "bytes=-0", 0, "none"},
        {"§14.1.1: last-pos before first-pos is invalid", "bytes=5-2", 1000, "whole"},
        {"§14.1.1: no dash", "bytes=10", 1000, "whole"},
        {"§14.1.1: only a dash", "bytes=-", 1000, "whole"},
        {"§14.1.1: nothing", "bytes=", 1000, "whole"},
        {"§14.1.1: no unit", "0-5", 1000, "whole"},
        {"§14.1.1: letters", "bytes=a-b", 1000, "whole"},
        {"§14.1.1: trailing letter", "bytes=0-5x", 1000, "whole"},
        {"§14.1.1: space inside", "bytes=0 - 5", 1000, "whole"},
        {"§14.1.1: space before '='", "bytes =0-5", 1000, "whole"},
        {"§14.1.1: sign", "bytes=+1-5", 1000, "whole"},
        {"§14.1.1: two dashes", "bytes=--5", 1000, "whole"},
        {"§14.1.1: three numbers", "bytes=1-2-3", 1000, "whole"},
        {"§14.2: an unknown unit is ignored", "items=0-5", 1000, "whole"},
        {"§14.1: units are case-insensitive", "Bytes=0-5", 1000, "0+6"},
        {"§5.6.1: white space around an element", "bytes= 0-5 ", 1000, "0+6"},
        {"§5.6.1: empty elements count for nothing", "bytes=,0-5, ,", 1000, "0+6"},
        {"§14.1.2: two", "bytes=0-1,5-8", 1000, "0+2 5+4"},
        {"§15.3.7.2: parts in the order they were asked for", "bytes=5-8,0-1", 1000, "5+4 0+2"},
        {"§14.1.2: head and tail", "bytes=0-9,-10", 1000, "0+10 990+10"},
        {"§14.1.2: head and open tail", "bytes=0-9,990-", 1000, "0+10 990+10"},
        {"§15.3.7.2: one range twice is one", "bytes=0-1,0-1", 1000, "0+2"},
        {"§15.3.7.2: overlapping", "bytes=0-5,3-9", 1000, "0+10"},
        {"§15.3.7.2: touching", "bytes=0-4,5-9", 1000, "0+10"},
        {"§15.3.7.2: touching, backwards", "bytes=5-9,0-4", 1000, "0+10"},
        {"§15.3.7.2: a gap of one byte is one", "bytes=0-4,6-9", 1000, "0+5 6+4"},
        {"§15.3.7.2: one in another", "bytes=0-99,10-19", 1000, "0+100"},
        {"§15.3.7.2: joined by a third", "bytes=0-4,10-14,3-11", 1000, "0+15"},
        {"§15.3.7.2: joined ones stand where the first stood", "bytes=0-4,500-509,3-9", 1000,
         "0+10 500+10"},
        {"§15.3.7.2: the later one first", "bytes=500-509,3-9,0-4", 1000, "500+10 0+10"},
        {"§15.3.7.2: suffix over an open one", "bytes=-100,950-", 1000, "900+100"},
        {"§15.3.7.2: all of it twice", "bytes=0-,-1000", 1000, "0+1000"},
        {"§14.1.2: what is not satisfiable is left out", "bytes=0-1,1000-,5-8", 1000, "0+2 5+4"},
        {"§14.1.2: one is left", "bytes=2000-3000,5-8,-0", 1000, "5+4"},
        {"§14.1.2: none is left", "bytes=1000-,2000-3000,-0", 1000, "none"},
        {"§14.1.2: several of an empty file", "bytes=0-0,-1", 0, "whole"},
        {"§14.1.2: far apart beyond 4 GiB", "bytes=0-0,4294967296-4294967297,-1", GIB5,
         "0+1 4294967296+2 5368709119+1"},
        {"§14.1.2: the largest file", "bytes=0-0,-1", INT64_MAX, "0+1 9223372036854775806+1"},
        {"§14.1.1: one bad element spoils the set", "bytes=0-1,x", 1000, "whole"},
        {"§14.1.1: the bad one first", "bytes=5-2,0-1", 1000, "whole"},
        {"§14.1.1: the unit again in the set", "bytes=0-1,bytes=5-8", 1000, "whole"},
        {"§14.1.1: semicolons", "bytes=0-1;5-8", 1000, "whole"},
        {"§5.6.1: nothing but commas is no range", "bytes=,,,", 1000, "whole"},
        {"§5.6.1: white space and empty elements between", "bytes=0-1 ,\t, 5-8,", 1000, "0+2 5+4"},
        {"§17.15: sixteen are given", SPREAD_16, 1000,
         "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 16+1 18+1 20+1 22+1 24+1 26+1 28+1 30+1"},
        {"§17.15: seventeen are not", SPREAD_16 ",32-32", 1000, "none"},
        {"§17.15: seventeen of which one is behind the end", SPREAD_16 ",1000-", 1000,
         "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 16+1 18+1 20+1 22+1 24+1 26+1 28+1 30+1"},
        {"§17.15: seventeen that are one", SPREAD_16 ",0-", 1000, "0+1000"},
};

static const char *describe(const struct range *r, char text[static 1024])
{
        size_t used = 0;

        if (r->kind != RANGE_PARTS)
                return r->kind == RANGE_WHOLE ? "whole" : "none";
        for (unsigned i = 0; i < r->count; i++)
                used += (size_t)snprintf(text + used, 1024 - used, "%s%" PRIu64 "+%" PRIu64,
                                         i ? " " : "", r->parts[i].first, r->parts[i].length);
        return text;
}

static void test_range(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(range_cases) / sizeof(range_cases[0]); i++) {
                const struct range_case *c = &range_cases[i];
                struct range got;
                char text[1024];

                assert_int_equal(range_parse(c->header, c->size, &got), 0);
                if (strcmp(describe(&got, text), c->expected) != 0)
                        fail_msg("%s: %s of %" PRIu64 ": %s", c->rule,
                                 c->header ? c->header : "(none)", c->size, describe(&got, text));
        }
}

/* §17.15: tens of thousands of ranges in one header are merged in time and memory that the header
 * bounds. */
static void test_many_ranges(void **state)
{
        enum { COUNT = 20000 };
        char *header = malloc(COUNT * 16 + 16), *p = header;
        struct range got;

        (void)state;
        assert_non_null(header);
        p += sprintf(p, "bytes=");
        for (unsigned i = 0; i < COUNT; i++)
                p += sprintf(p, "%u-%u,", COUNT - 1 - i, COUNT - i);
        assert_int_equal(range_parse(header, 1000000, &got), 0);
        assert_int_equal(got.kind, RANGE_PARTS);
        assert_int_equal(got.count, 1);
        assert_int_equal(got.parts[0].first, 0);
        assert_int_equal(got.parts[0].length, COUNT + 1);

        p = header + sprintf(header, "bytes=");
        for (unsigned i = 0; i < COUNT; i++)
                p += sprintf(p, "%u-%u,", 2 * i, 2 * i);
        assert_int_equal(range_parse(header, 1000000, &got), 0);
        assert_int_equal(got.kind, RANGE_UNSATISFIABLE);
        free(header);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_range),
                cmocka_unit_test(test_many_ranges),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
