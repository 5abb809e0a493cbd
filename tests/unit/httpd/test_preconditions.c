/* test_preconditions.c: conditional requests, case by case (RFC 9110 §13). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "preconditions.h"

/* Tue, 14 Nov 2023 22:13:20 GMT; now is a year later. */
static const struct validators file = {
        .etag = "\"abc-0\"", .modified = 1700000000, .now = 1731536000};

#define SAME  "Tue, 14 Nov 2023 22:13:20 GMT"
#define LATER "Tue, 14 Nov 2023 22:13:21 GMT"
#define OLDER "Tue, 14 Nov 2023 22:13:19 GMT"

struct condition_case {
        const char *rule;
        struct preconditions given;
        enum precondition_result expected;
};

#define HOLDS  PRECONDITION_HOLDS
#define IS_304 PRECONDITION_NOT_MODIFIED
#define IS_412 PRECONDITION_FAILED

static const struct condition_case condition_cases[] = {
        {"§13.2.2: nothing given", {0}, HOLDS},
        {"§13.1.1: the tag", {.if_match = "\"abc-0\""}, HOLDS},
        {"§13.1.1: another tag", {.if_match = "\"abc-1\""}, IS_412},
        {"§13.1.1: strong comparison", {.if_match = "W/\"abc-0\""}, IS_412},
        {"§13.1.1: *", {.if_match = "*"}, HOLDS},
        {"§13.1.1: a list", {.if_match = "\"x\", \"abc-0\""}, HOLDS},
        {"§13.1.1: a list without it", {.if_match = "\"x\",\"y\""}, IS_412},
        {"§13.1.1: strong beside weak", {.if_match = "W/\"abc-0\", \"abc-0\""}, HOLDS},
        {"§13.1.1: unquoted is no tag", {.if_match = "abc-0"}, IS_412},
        {"§13.1.1: empty", {.if_match = ""}, IS_412},
        {"§13.1.2: the tag", {.if_none_match = "\"abc-0\""}, IS_304},
        {"§13.1.2: another tag", {.if_none_match = "\"abc-1\""}, HOLDS},
        {"§13.1.2: weak comparison", {.if_none_match = "W/\"abc-0\""}, IS_304},
        {"§13.1.2: *", {.if_none_match = "*"}, IS_304},
        {"§13.1.2: * with blanks", {.if_none_match = " * "}, IS_304},
        {"§13.1.2: a list", {.if_none_match = "\"x\", W/\"y\", \"abc-0\""}, IS_304},
        {"§13.1.2: a list without it", {.if_none_match = "\"x\", \"y\""}, HOLDS},
        {"§5.6.1: empty elements", {.if_none_match = ", ,\"abc-0\",,"}, IS_304},
        {"§5.6.1: no blanks", {.if_none_match = "\"x\",\"abc-0\""}, IS_304},
        {"§8.8.3: a comma in a tag", {.if_none_match = "\"a,b\", \"abc-0\""}, IS_304},
        {"§8.8.3: the tag inside of another", {.if_none_match = "\"x\\\"abc-0\""}, HOLDS},
        {"§8.8.3: beginning of the tag", {.if_none_match = "\"abc-\""}, HOLDS},
        {"§8.8.3: tags are case-sensitive", {.if_none_match = "\"ABC-0\""}, HOLDS},
        {"§8.8.3: w/ is none", {.if_none_match = "w/\"abc-0\""}, HOLDS},
        {"§8.8.3: a blank in a tag is none", {.if_none_match = "\"a b\", \"abc-0\""}, HOLDS},
        {"§8.8.3: open quote", {.if_none_match = "\"abc-0"}, HOLDS},
        {"§8.8.3: unquoted is no tag", {.if_none_match = "abc-0"}, HOLDS},
        {"§13.1.2: * in a list is none", {.if_none_match = "*, \"abc-0\""}, HOLDS},
        {"§13.1.2: no comma", {.if_none_match = "\"x\" \"abc-0\""}, HOLDS},
        {"§13.1.3: the same date", {.if_modified_since = SAME}, IS_304},
        {"§13.1.3: a later date", {.if_modified_since = LATER}, IS_304},
        {"§13.1.3: an older date", {.if_modified_since = OLDER}, HOLDS},
        {"§13.1.3: no date is ignored", {.if_modified_since = "yesterday"}, HOLDS},
        {"§13.1.3: If-None-Match comes first",
         {.if_none_match = "\"x\"", .if_modified_since = SAME},
         HOLDS},
        {"§13.1.3: the other way round",
         {.if_none_match = "\"abc-0\"", .if_modified_since = OLDER},
         IS_304},
        {"§13.1.4: the same date", {.if_unmodified_since = SAME}, HOLDS},
        {"§13.1.4: a later date", {.if_unmodified_since = LATER}, HOLDS},
        {"§13.1.4: an older date", {.if_unmodified_since = OLDER}, IS_412},
        {"§13.1.4: no date is ignored", {.if_unmodified_since = "0"}, HOLDS},
        {"§13.1.4: If-Match comes first",
         {.if_match = "\"abc-0\"", .if_unmodified_since = OLDER},
         HOLDS},
        {"§13.1.4: the other way round",
         {.if_match = "\"x\"", .if_unmodified_since = SAME},
         IS_412},
        {"§13.2.2: 412 before 304", {.if_match = "\"x\"", .if_none_match = "\"abc-0\""}, IS_412},
        {"§13.2.2: 304 after If-Match holds", {.if_match = "*", .if_none_match = "*"}, IS_304},
        {"§13.2.2: 412 before 304, dates",
         {.if_unmodified_since = OLDER, .if_modified_since = SAME},
         IS_412},
        {"§13.2.2: both dates hold",
         {.if_unmodified_since = SAME, .if_modified_since = OLDER},
         HOLDS},
};

static void test_conditions(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(condition_cases) / sizeof(condition_cases[0]); i++) {
                const struct condition_case *c = &condition_cases[i];
                enum precondition_result got = preconditions_check(&c->given, &file);

                if (got != c->expected)
                        fail_msg("%s: %d", c->rule, (int)got);
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
        {"§13.1.5: it is no list", "\"abc-0\", \"x\"", false},
        {"§13.1.5: * is none", "*", false},
        {"§13.1.5: the same date", SAME, true},
        {"§5.6.7: the same date, RFC 850", "Tuesday, 14-Nov-23 22:13:20 GMT", true},
        {"§5.6.7: the same date, asctime", "Tue Nov 14 22:13:20 2023", true},
        {"§13.1.5: a later date isn't the same", LATER, false},
        {"§13.1.5: nor an older one", OLDER, false},
        {"§13.1.5: garbage", "yes", false},
        {"§13.1.5: empty", "", false},
};

static void test_if_range(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(if_range_cases) / sizeof(if_range_cases[0]); i++) {
                const struct if_range_case *c = &if_range_cases[i];

                if (preconditions_if_range(c->value, &file) != c->expected)
                        fail_msg("%s: %s", c->rule, c->value ? c->value : "(none)");
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_conditions),
                cmocka_unit_test(test_if_range),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
