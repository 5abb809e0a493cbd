/* test_http_date.c: the three forms of a date (RFC 9110 §5.6.7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http_date.h"

enum { NO_DATE = -1 };
/* 2024-11-13; in the same century RFC 850's two digits go up to 2074. */
static const time_t now = 1731536000;

struct date_case {
        const char *text;
        int64_t expected;
};

static const struct date_case date_cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Sun Nov 16 08:49:37 1994", 784975777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second */
        {"Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(2147483648)},
        {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
        {"Monday, 31-Dec-74 00:00:00 GMT", INT64_C(3313440000)}, /* in 50 years */
        {"Wednesday, 01-Jan-75 00:00:00 GMT", 157766400},        /* 50 years ago */
        {"Saturday, 01-Jan-00 00:00:00 GMT", 946684800},
        {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* the day's name says nothing */
        {"", NO_DATE},
        {"0", NO_DATE},
        {"784111777", NO_DATE},
        {"Sun, 06 Nov 1994 08:49:37", NO_DATE},
        {"Sun, 06 Nov 1994 08:49:37 UTC", NO_DATE},
        {"Sun, 06 Nov 1994 08:49:37 GMT ", NO_DATE},
        {"Sun, 06 Nov 1994 08:49:37 GMT; length=5", NO_DATE},
        {" Sun, 06 Nov 1994 08:49:37 GMT", NO_DATE},
        {"Sun,06 Nov 1994 08:49:37 GMT", NO_DATE},
        {"Sun, 6 Nov 1994 08:49:37 GMT", NO_DATE},
        {"Sun, 06 nov 1994 08:49:37 GMT", NO_DATE},
        {"sun, 06 Nov 1994 08:49:37 GMT", NO_DATE},
        {"Sun, 06 Nov 94 08:49:37 GMT", NO_DATE},
        {"Sun, 06 Nov 1994 8:49:37 GMT", NO_DATE},
        {"Sun, 06 Nov 1994 24:00:00 GMT", NO_DATE},
        {"Sun, 06 Nov 1994 08:60:00 GMT", NO_DATE},
        {"Sun, 06 Nov 1994 08:49:61 GMT", NO_DATE},
        {"Sun, 31 Nov 1994 08:49:37 GMT", NO_DATE},
        {"Wed, 29 Feb 2023 12:00:00 GMT", NO_DATE},
        {"Sun, 00 Nov 1994 08:49:37 GMT", NO_DATE},
        {"Sun, +6 Nov 1994 08:49:37 GMT", NO_DATE},
        {"Sun, 06-Nov-94 08:49:37 GMT", NO_DATE},
        {"Sunday, 06-Nov-1994 08:49:37 GMT", NO_DATE},
        {"Sun Nov 6 08:49:37 1994", NO_DATE},
        {"Sun Nov 06 08:49:37 1994 GMT", NO_DATE},
};

static void test_dates(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(date_cases) / sizeof(date_cases[0]); i++) {
                const struct date_case *c = &date_cases[i];
                time_t got = NO_DATE;

                if (!http_date_parse(c->text, now, &got))
                        got = NO_DATE;
                if (got != c->expected)
                        fail_msg("%s: %lld", c->text, (long long)got);
        }
}

static void test_what_is_written_is_read(void **state)
{
        static const time_t times[] = {0, 784111777, 951782400, 1700000000, 4107542399};

        (void)state;
        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
                char text[HTTP_DATE_MAX];
                time_t got;

                http_date_format(times[i], text);
                assert_true(http_date_parse(text, now, &got));
                assert_int_equal(got, times[i]);
        }
}

static void test_form(void **state)
{
        char text[HTTP_DATE_MAX];

        (void)state;
        http_date_format(784111777, text);
        assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_dates),
                cmocka_unit_test(test_what_is_written_is_read),
                cmocka_unit_test(test_form),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
