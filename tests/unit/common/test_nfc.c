/* test_nfc.c: names that look alike, by UAX #15. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/nfc.h"

#define N(a) (sizeof(a) / sizeof *(a))

struct nfc_case {
        const char *rule, *text, *normal; /* NULL: as it is */
};

static const struct nfc_case cases[] = {
        {"ASCII", "episode 1.mkv", NULL},
        {"nothing", "", NULL},
        {"put together already", "caf\xc3\xa9", NULL},
        {"taken apart (figure 3)", "cafe\xcc\x81", "caf\xc3\xa9"},
        {"marks in canonical order (figure 5)", "s\xcc\x87\xcc\xa3", "\xe1\xb9\xa9"},
        {"… and put together in part", "\xe1\xb8\x8b\xcc\xa3", "\xe1\xb8\x8d\xcc\x87"},
        {"a singleton: the Kelvin sign (figure 4)", "\xe2\x84\xaa", "K"},
        {"a singleton: the Angstrom sign", "\xe2\x84\xab", "\xc3\x85"},
        {"Hangul syllables", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"},
        {"kana with a voicing mark", "\xe3\x81\x8b\xe3\x82\x99", "\xe3\x81\x8c"},
        {"a ligature is only alike in compatibility", "\xef\xac\x81", NULL},
        {"Han", "\xe6\x97\xa5\xe6\x9c\xac", NULL},
        {"a compatibility ideograph", "\xef\xa4\x80", "\xe8\xb1\x88"},
        {"excluded from composition", "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},
        {"a mark that nothing is before", "\xcc\x81x", NULL},
        {"no UTF-8", "e\xcc\x81\xff", NULL},
};

static void test_forms(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                char *got;

                if (nfc_of(cases[i].text, &got) != 0)
                        fail_msg("%s: an error", cases[i].rule);
                if (got && cases[i].normal ? strcmp(got, cases[i].normal) != 0
                                           : got != cases[i].normal)
                        fail_msg("%s: %s", cases[i].rule, got ? got : "as it is");
                free(got);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_forms),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
