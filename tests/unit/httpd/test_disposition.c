/* test_disposition.c: names in Content-Disposition (RFC 6266, RFC 8187). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "disposition.h"

struct name_case {
        const char *name, *expected;
};

static const struct name_case name_cases[] = {
        {"film.mkv", "inline; filename=\"film.mkv\""},
        {"a film (2020) [x;y,z=1]'.mkv", "inline; filename=\"a film (2020) [x;y,z=1]'.mkv\""},
        {"caf\xc3\xa9.mkv", "inline; filename=\"caf_.mkv\"; filename*=UTF-8''caf%C3%A9.mkv"},
        {"\xe6\x97\xa5\xe6\x9c\xac.srt",
         "inline; filename=\"__.srt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.srt"},
        {"\xf0\x9f\x98\x80", "inline; filename=\"_\"; filename*=UTF-8''%F0%9F%98%80"},
        {"say \"x\".txt", "inline; filename=\"say _x_.txt\"; filename*=UTF-8''say%20%22x%22.txt"},
        {"back\\slash", "inline; filename=\"back_slash\"; filename*=UTF-8''back%5Cslash"},
        {"100%41", "inline; filename=\"100_41\"; filename*=UTF-8''100%2541"},
        {"it's \xc3\xa9*", "inline; filename=\"it's _*\"; filename*=UTF-8''it%27s%20%C3%A9%2A"},
};

static void test_names(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(name_cases) / sizeof(name_cases[0]); i++) {
                char *got = disposition("inline", name_cases[i].name);

                assert_non_null(got);
                assert_string_equal(got, name_cases[i].expected);
                free(got);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
