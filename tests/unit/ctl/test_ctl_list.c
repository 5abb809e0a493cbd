/* test_ctl_list.c: which lines a list has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/ctl_list.h"

static void test_lines(void **state)
{
        static const struct {
                const char *rule, *text, *expected; /* number:line| of each */
        } cases[] = {
                {"nothing", "", ""},
                {"nothing but line breaks", "\n\r\n\n", ""},
                {"one", "a\n", "1:a|"},
                {"no last line break", "a\nb", "1:a|2:b|"},
                {"the line breaks of DOS", "a\r\nb\r\n", "1:a|2:b|"},
                {"empty lines are counted", "\na\n \t\nb\n", "2:a|4:b|"},
                {"comments", "# x\na\n  #y\n#", "2:a|"},
                {"a # elsewhere is none", "a #b\n./#c\n", "1:a #b|2:./#c|"},
                {"blanks around, not inside", " a  b \n\tc\t\n", "1:a  b|2:c|"},
                {"a byte order mark", "\xef\xbb\xbf# x\na\n", "2:a|"},
                {"a byte order mark and no more", "\xef\xbb\xbf", ""},
                {"part of one", "\xef\xbb", "1:\xef\xbb|"},
                {"it is one at the beginning alone",
                 "a\n\xef\xbb\xbf"
                 "b",
                 "1:a|2:\xef\xbb\xbf"
                 "b|"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char text[64], got[64] = "";
                struct ctl_list l = {.rest = text};
                const char *line;

                strcpy(text, cases[i].text);
                while ((line = ctl_list_next(&l)))
                        sprintf(got + strlen(got), "%zu:%s|", l.number, line);
                assert_null(ctl_list_next(&l));
                if (strcmp(got, cases[i].expected) != 0)
                        fail_msg("%s: %s, expected %s", cases[i].rule, got, cases[i].expected);
        }
}

static void test_text(void **state)
{
        static const struct {
                const char *rule, *text;
                size_t len;
                bool is_text;
        } cases[] = {
                {"nothing", "", 0, true},
                {"lines", "a\r\n\tb\f\v \n", 9, true},
                {"UTF-8", "\xe2\x82\xac\n", 4, true},
                {"bytes of another character set", "\xe9\xff\x80", 3, true},
                {"a NUL", "a\0b", 3, false},
                {"a NUL at the end", "a\n", 3, false},
                {"UTF-16", "\xff\xfem\0", 4, false},
                {"an escape sequence", "\033[31m", 5, false},
                {"DEL", "\177", 1, false},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
                if (ctl_list_is_text(cases[i].text, cases[i].len) != cases[i].is_text)
                        fail_msg("%s: %s", cases[i].rule, cases[i].is_text ? "no text" : "a text");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lines),
                cmocka_unit_test(test_text),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
