/* test_range.c: what a Range header asks for, case by case (RFC 9110 §13.1.5, §14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "range.h"

struct range_case {
        const char *rule;
        const char *header;
        uint64_t size;
        struct range expected;
};

#define WHOLE(size)                                                                                \
        {                                                                                          \
                .kind = RANGE_WHOLE, .length = (size)                                              \
        }
#define PART(from, bytes)                                                                          \
        {                                                                                          \
                .kind = RANGE_PART, .first = (from), .length = (bytes)                             \
        }
#define UNSATISFIABLE                                                                              \
        {                                                                                          \
                .kind = RANGE_UNSATISFIABLE                                                        \
        }
#define GIB5 (UINT64_C(5) << 30)

static const struct range_case range_cases[] = {
        {"§14.2: no Range", NULL, 1000, WHOLE(1000)},
        {"§14.1.2: one byte", "bytes=0-0", 1000, PART(0, 1)},
        {"§14.1.2: the last byte", "bytes=999-999", 1000, PART(999, 1)},
        {"§14.1.2: all, closed", "bytes=0-999", 1000, PART(0, 1000)},
        {"§14.1.2: all, open", "bytes=0-", 1000, PART(0, 1000)},
        {"§14.1.2: open", "bytes=5-", 1000, PART(5, 995)},
        {"§14.1.2: last-pos behind the end is cut", "bytes=0-1000", 1000, PART(0, 1000)},
        {"§14.1.2: last-pos far behind the end", "bytes=990-99999999999", 1000, PART(990, 10)},
        {"§14.1.2: last-pos beyond 64 bits", "bytes=990-99999999999999999999999999", 1000,
         PART(990, 10)},
        {"§14.1.2: last-pos is the largest of 64 bits", "bytes=0-18446744073709551615", 1000,
         PART(0, 1000)},
        {"§14.1.2: suffix", "bytes=-1", 1000, PART(999, 1)},
        {"§14.1.2: suffix of ten", "bytes=-10", 1000, PART(990, 10)},
        {"§14.1.2: suffix of all", "bytes=-1000", 1000, PART(0, 1000)},
        {"§14.1.2: suffix longer than the file", "bytes=-5000", 1000, PART(0, 1000)},
        {"§14.1.2: suffix beyond 64 bits", "bytes=-99999999999999999999999", 1000, PART(0, 1000)},
        {"§14.1.2: beyond 4 GiB", "bytes=4294967296-4294967297", GIB5,
         PART(UINT64_C(4294967296), 2)},
        {"§14.1.2: the end of 5 GiB", "bytes=-10", GIB5, PART(GIB5 - 10, 10)},
        {"§14.1.2: leading zeros", "bytes=000-0009", 1000, PART(0, 10)},
        {"§14.1.2: suffix of nothing", "bytes=-0", 1000, UNSATISFIABLE},
        {"§14.1.2: first-pos is the size", "bytes=1000-", 1000, UNSATISFIABLE},
        {"§14.1.2: first-pos behind the end", "bytes=2000-3000", 1000, UNSATISFIABLE},
        {"§14.1.2: first-pos beyond 64 bits", "bytes=99999999999999999999-", 1000, UNSATISFIABLE},
        {"§14.1.2: the largest position", "bytes=9223372036854775807-", 1000, UNSATISFIABLE},
        {"§14.1.2: an empty file, open", "bytes=0-", 0, UNSATISFIABLE},
        {"§14.1.2: an empty file, closed", "bytes=0-0", 0, UNSATISFIABLE},
        {"§14.1.2: an empty file, suffix", "bytes=-5", 0, UNSATISFIABLE},
        {"§14.1.1: last-pos before first-pos is invalid", "bytes=5-2", 1000, WHOLE(1000)},
        {"§14.1.1: no dash", "bytes=10", 1000, WHOLE(1000)},
        {"§14.1.1: only a dash", "bytes=-", 1000, WHOLE(1000)},
        {"§14.1.1: nothing", "bytes=", 1000, WHOLE(1000)},
        {"§14.1.1: no unit", "0-5", 1000, WHOLE(1000)},
        {"§14.1.1: letters", "bytes=a-b", 1000, WHOLE(1000)},
        {"§14.1.1: trailing letter", "bytes=0-5x", 1000, WHOLE(1000)},
        {"§14.1.1: space inside", "bytes=0 - 5", 1000, WHOLE(1000)},
        {"§14.1.1: space before '='", "bytes =0-5", 1000, WHOLE(1000)},
        {"§14.1.1: sign", "bytes=+1-5", 1000, WHOLE(1000)},
        {"§14.1.1: two dashes", "bytes=--5", 1000, WHOLE(1000)},
        {"§14.1.1: three numbers", "bytes=1-2-3", 1000, WHOLE(1000)},
        {"§14.2: an unknown unit is ignored", "items=0-5", 1000, WHOLE(1000)},
        {"§14.1: units are case-insensitive", "Bytes=0-5", 1000, PART(0, 6)},
        {"§5.6.1: white space around an element", "bytes= 0-5 ", 1000, PART(0, 6)},
        {"§5.6.1: empty elements count for nothing", "bytes=,0-5, ,", 1000, PART(0, 6)},
        {"§14.2: more than one range may be ignored", "bytes=0-1,5-8", 1000, WHOLE(1000)},
        {"§14.2: one range twice is two", "bytes=0-1,0-1", 1000, WHOLE(1000)},
        {"§14.1.1: one bad element spoils the set", "bytes=0-1,x", 1000, WHOLE(1000)},
};

static void test_range(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(range_cases) / sizeof(range_cases[0]); i++) {
                const struct range_case *c = &range_cases[i];
                struct range got = range_parse(c->header, c->size);

                if (got.kind != c->expected.kind || got.first != c->expected.first ||
                    got.length != c->expected.length)
                        fail_msg("%s: %s of %llu: kind %d, first %llu, length %llu", c->rule,
                                 c->header ? c->header : "(none)", (unsigned long long)c->size,
                                 (int)got.kind, (unsigned long long)got.first,
                                 (unsigned long long)got.length);
        }
}

struct if_range_case {
        const char *rule;
        const char *value;
        bool expected;
};

static const struct if_range_case if_range_cases[] = {
        {"§13.1.5: no If-Range", NULL, true},
        {"§13.1.5: the same strong tag", "\"abc-0\"", true},
        {"§13.1.5: another tag", "\"abc-1\"", false},
        {"§13.1.5: a weak tag never matches", "W/\"abc-0\"", false},
        {"§13.1.5: the same date", "Tue, 14 Nov 2023 22:13:20 GMT", true},
        {"§13.1.5: a later date isn't the same", "Tue, 14 Nov 2023 22:13:21 GMT", false},
        {"§13.1.5: garbage", "yes", false},
        {"§13.1.5: empty", "", false},
};

static void test_if_range(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(if_range_cases) / sizeof(if_range_cases[0]); i++) {
                const struct if_range_case *c = &if_range_cases[i];

                if (range_if_range(c->value, "\"abc-0\"", "Tue, 14 Nov 2023 22:13:20 GMT") !=
                    c->expected)
                        fail_msg("%s: %s", c->rule, c->value ? c->value : "(none)");
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_range),
                cmocka_unit_test(test_if_range),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
