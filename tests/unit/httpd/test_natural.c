/* test_natural.c: the order of names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "natural.h"

/* Each in order, the NULL at the end apart. */
static const char *const ordered[] = {
        "",
        "/",
        "01",
        "1",
        "2",
        "2a",
        "10",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999999999999",
        "A",
        "a",
        "a/b",
        "a/c/d",
        "a b",
        "a.mkv",
        "Show 2/1.mkv",
        "Show S01E2.mkv",
        "show s01e10.mkv",
        "Show S1E11.mkv",
        "Show S02E1.mkv",
        "z",
        "\xc3\xa4",
};

static int sign(int n)
{
        return (n > 0) - (n < 0);
}

static void test_each_has_its_place(void **state)
{
        enum { COUNT = sizeof ordered / sizeof ordered[0] };

        (void)state;
        for (int i = 0; i < COUNT; i++)
                for (int j = 0; j < COUNT; j++)
                        if (sign(natural_compare(ordered[i], ordered[j])) != sign(i - j))
                                fail_msg("%s and %s: %d", ordered[i], ordered[j],
                                         natural_compare(ordered[i], ordered[j]));
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_has_its_place)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
