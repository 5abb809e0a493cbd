/* test_utf8.c: characters as RFC 3629 has them, and those that names may not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/utf8.h"

#define N(a) (sizeof(a) / sizeof *(a))

static void test_characters(void **state)
{
        const struct {
                const char *rule, *text;
                size_t len;
                uint32_t c;
        } cases[] = {
                {"one byte", "a", 1, 'a'},
                {"NUL is a character", "", 1, 0},
                {"two bytes", "\xc3\xa9", 2, 0xe9},
                {"three bytes", "\xe2\x82\xac", 3, 0x20ac},
                {"four bytes", "\xf0\x9f\x8e\xac", 4, 0x1f3ac},
                {"the last one", "\xf4\x8f\xbf\xbf", 4, 0x10ffff},
                {"beyond it", "\xf4\x90\x80\x80", 0, 0},
                {"a byte that begins none", "\xf5\x80\x80\x80", 0, 0},
                {"one that only goes on", "\x80", 0, 0},
                {"longer than need be (RFC 3629, section 3)", "\xc0\x80", 0, 0},
                {"the same in three", "\xe0\x80\x80", 0, 0},
                {"the same in four", "\xf0\x80\x80\x80", 0, 0},
                {"a surrogate", "\xed\xa0\x80", 0, 0},
                {"the text ends within it", "\xe2\x82", 0, 0},
                {"another one begins within it", "\xe2\x82z", 0, 0},
        };

        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                uint32_t c = 0;
                size_t n = cases[i].text[0] ? strlen(cases[i].text) : 1;

                if (utf8_char(cases[i].text, n, &c) != cases[i].len || c != cases[i].c)
                        fail_msg("%s", cases[i].rule);
        }
}

static void test_what_names_may_not_have(void **state)
{
        const uint32_t control[] = {0, 0x1b, 0x1f, 0x7f, 0x80, 0x9f},
                       layout[] = {0x061c, 0x200e, 0x200f, 0x2028, 0x202e, 0x2066, 0x2069, 0xfeff},
                       neither[] = {' ', '~', 0xa0, 0x2027, 0x202f, 0x2065, 0x206a, 0xfefe, 0xff01};

        (void)state;
        for (size_t i = 0; i < N(control); i++)
                assert_true(utf8_is_control(control[i]) && !utf8_is_layout(control[i]));
        for (size_t i = 0; i < N(layout); i++)
                assert_true(utf8_is_layout(layout[i]) && !utf8_is_control(layout[i]));
        for (size_t i = 0; i < N(neither); i++)
                assert_true(!utf8_is_layout(neither[i]) && !utf8_is_control(neither[i]));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_characters),
                cmocka_unit_test(test_what_names_may_not_have),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
