/* test_ctl_text.c: text of strangers, whatever it is, fit for a terminal; and what somebody meant.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/ctl_suggest.h"
#include "ctl/ctl_text.h"
#include "ctl_put_text.h"

static const struct ctl_style wide = {.terminal = true, .utf8 = true, .width = 200};
static const struct ctl_style ascii = {.terminal = true, .utf8 = false, .width = 80};
static const struct ctl_style piped = {.terminal = false, .utf8 = true};

static void test_text(void **state)
{
        static const struct {
                const char *rule, *text;
                size_t columns;
                const struct ctl_style *style;
                const char *expected;
        } cases[] = {
                {"plain", "clip.mp4", 0, &wide, "clip.mp4"},
                {"empty", "", 5, &wide, ""},
                {"fits exactly", "abcde", 5, &wide, "abcde"},
                {"cut", "abcdef", 5, &wide, "abcd…"},
                {"cut to one", "abcdef", 1, &wide, "…"},
                {"cut, ASCII", "abcdef", 5, &ascii, "abcd~"},
                {"a wide character is two columns", "日本語", 6, &wide, "日本語"},
                {"no half of a wide character", "日本語", 4, &wide, "日…"},
                {"a mark is none", "e\u0301e\u0301e\u0301", 3, &wide, "e\u0301e\u0301e\u0301"},
                {"a mark stays with its letter", "e\u0301e\u0301e\u0301", 2, &wide, "e\u0301…"},
                {"no escape sequence", "a\033[31mb\033]0;title\a", 0, &wide, "a?[31mb?]0;title?"},
                {"nor on a pipe", "a\033[31mb", 0, &piped, "a?[31mb"},
                {"no field or line break", "a\tb\nc\rd", 0, &piped, "a?b?c?d"},
                {"DEL", "a\177b", 0, &piped, "a?b"},
                {"C1 as UTF-8 (CSI)", "a\302\233m", 0, &wide, "a?m"},
                {"C1 on a pipe", "a\302\233m", 0, &piped, "a?m"},
                {"C1 as a byte", "a\233m", 0, &piped, "a?m"},
                {"right-to-left override", "a\u202egpj.exe", 0, &wide, "a?gpj.exe"},
                {"a name stays a name on a pipe", "a\u202egpj", 0, &piped, "a\u202egpj"},
                {"isolate", "a\u2066b", 0, &wide, "a?b"},
                {"line separator", "a\u2028b", 0, &wide, "a?b"},
                {"overlong NUL", "a\300\200b", 0, &wide, "a??b"},
                {"overlong slash", "\340\200\257", 0, &wide, "???"},
                {"surrogate", "\355\240\200", 0, &wide, "???"},
                {"over U+10FFFF", "\364\220\200\200", 0, &wide, "????"},
                {"cut off at the end", "a\343\201", 0, &wide, "a??"},
                {"U+FFFD itself", "\uFFFD", 0, &wide, "\uFFFD"},
                {"not in the terminal's set", "für", 0, &ascii, "f?r"},
                {"a family is as wide as its members", "\U0001F469\u200d\U0001F467", 4, &wide,
                 "\U0001F469\u200d\U0001F467"},
                {"a mark without a letter stays off its neighbour", "\u0301a", 2, &wide, "?a"},
                {"right-to-left mark", "a\u200fb", 0, &wide, "a?b"},
                {"Hebrew is Hebrew", "\u05e9", 1, &wide, "\u05e9"},
                {"astral", "\U0001F3AC", 2, &wide, "\U0001F3AC"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                char *got = put_text(cases[i].text, cases[i].columns, cases[i].style);

                if (strcmp(got, cases[i].expected) != 0)
                        fail_msg("%s: \"%s\", expected \"%s\"", cases[i].rule, got,
                                 cases[i].expected);
                free(got);
        }
}

static void test_size(void **state)
{
        static const struct {
                uint64_t bytes;
                const char *expected;
        } cases[] = {
                {0, "0 B"},
                {1023, "1023 B"},
                {1024, "1.0 KiB"},
                {102399, "99.9 KiB"},
                {102400, "100 KiB"},
                {(1 << 20) - 1, "1023 KiB"}, /* rounded down, never up to 1024 */
                {1 << 20, "1.0 MiB"},
                {21474836480, "20.0 GiB"},
                {UINT64_MAX, "15.9 EiB"},
        };
        char buf[CTL_SIZE_MAX];

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                ctl_size(buf, cases[i].bytes);
                assert_string_equal(buf, cases[i].expected);
                assert_true(strlen(buf) <= 8);
        }
}

static void test_json(void **state)
{
        static const struct {
                const struct ctl_style *style;
                const char *json, *expected;
        } cases[] = {
                {&piped, "{\"a\":\"für\"}", "{\"a\":\"für\"}"},
                {&piped, "\"\302\233\177\"", "\"\\u009b\\u007f\""},
                {&wide, "\"\u202e\"", "\"\\u202e\""},
                {&wide, "\"\377\"", "\"\\ufffd\""},
                {&ascii, "\"\u00fc\"", "\"\\u00fc\""},
                {&ascii, "\"\U0001F3AC\"", "\"\\ud83c\\udfac\""},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                char *buf = NULL;
                size_t len = 0;
                FILE *out = open_memstream(&buf, &len);

                assert_non_null(out);
                ctl_text_put_json(out, cases[i].json, cases[i].style);
                assert_int_equal(fclose(out), 0);
                assert_string_equal(buf, cases[i].expected);
                free(buf);
        }
}

/* ---- did you mean ---- */

static void test_suggest(void **state)
{
        static const struct {
                const char *rule, *wrong, *words, *expected; /* words joined by |; NULL: none */
        } cases[] = {
                {"one letter too few", "statu", "list|status|add", "status"},
                {"swapped", "lsit", "add|list|wait", "list"},
                {"swapped at the end", "Sintle", "Sintel", "Sintel"},
                {"wrong letter", "remive", "remove", "remove"},
                {"case", "sintel", "Big Buck Bunny|Sintel", "Sintel"},
                {"beginning", "big", "The Big Sleep|Big Buck Bunny", "Big Buck Bunny"},
                {"inside", "buck", "Sintel|Big Buck Bunny", "Big Buck Bunny"},
                {"the nearest", "Tears of Stel", "Tears of Gold|Tears of Steel", "Tears of Steel"},
                {"of equals the first", "abcx", "abcd|abce", "abcd"},
                {"nothing near", "Elephants", "Sintel|status", NULL},
                {"too many slips", "abcdef", "abxyzf", NULL},
                {"short: not all of it may be wrong", "a", "b|c", NULL},
                {"short: no part of another", "in", "Sintel", NULL},
                {"empty", "", "Sintel", NULL},
                {"no words", "Sintel", "", NULL},
        };
        char words[128], *save, longest[600];
        struct ctl_suggest s;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                ctl_suggest_init(&s, cases[i].wrong);
                strcpy(words, cases[i].words);
                save = NULL;
                for (char *w = strtok_r(words, "|", &save); w; w = strtok_r(NULL, "|", &save))
                        ctl_suggest_offer(&s, w);
                if (!s.best != !cases[i].expected ||
                    (s.best && strcmp(s.best, cases[i].expected) != 0))
                        fail_msg("%s: %s", cases[i].rule, s.best ? s.best : "none");
        }
        /* longer than any name */
        memset(longest, 'x', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = 0;
        ctl_suggest_init(&s, longest);
        ctl_suggest_offer(&s, "xxxx");
        assert_null(s.best);
        ctl_suggest_init(&s, "yxxx");
        ctl_suggest_offer(&s, longest);
        assert_null(s.best);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_size),
                cmocka_unit_test(test_json),
                cmocka_unit_test(test_suggest),
        };

        if (!setlocale(LC_CTYPE, "C.UTF-8")) {
                fputs("The locale C.UTF-8 is missing\n", stderr);
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
