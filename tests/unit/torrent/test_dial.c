/* SPDX-License-Identifier: MIT */
/* test_dial.c: when peers are dialled again, when uTP is tried, when failed writes go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "torrent/dial.h"
#include "torrent/writes.h"

static void test_pauses_double_up_to_a_bound(void **state)
{
        static const uint64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 16000, 16000};
        struct redial r = {0};
        uint64_t now = 0;

        (void)state;
        assert_false(redial_due(&r, UINT64_MAX));
        redial_need(&r, true, now);
        for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
                redial_need(&r, true, now); /* goes on */
                assert_false(redial_due(&r, now + pauses[i] - 1));
                now += pauses[i];
                assert_true(redial_due(&r, now));
                assert_false(redial_due(&r, now));
        }
        redial_at_once(&r, now);
        assert_true(redial_due(&r, now));
        assert_false(redial_due(&r, now + 1999));
        assert_true(redial_due(&r, now + 2000));
        redial_need(&r, false, now);
        assert_false(redial_due(&r, UINT64_MAX));
}

static void test_utp_is_tried_for_a_moment_and_not_often(void **state)
{
        struct second_try s = {0};
        struct needy n = {0}, other = {0}, late = {0};

        (void)state;
        assert_false(needy_tick(&n, true, 0));
        assert_false(needy_tick(&n, true, 1999));
        assert_true(needy_tick(&n, true, 2000));
        assert_false(needy_tick(&n, false, 3000));
        assert_false(needy_tick(&n, true, 3000));
        assert_false(second_try_is_on(&s, 0));
        assert_true(second_try_join(&s, &n, 0));
        assert_false(second_try_join(&s, &n, 1000));
        assert_true(second_try_join(&s, &other, 2999)); /* it is on: theirs is, too */
        assert_true(second_try_is_on(&s, 2999));
        assert_false(second_try_is_on(&s, 3000));
        assert_false(second_try_join(&s, &late, 3000));
        assert_false(second_try_join(&s, &n, 29999));
        assert_true(second_try_join(&s, &n, 30000));
        assert_true(second_try_join(&s, &late, 30000));
}

static void test_failed_writes_go_on_in_two_rounds(void **state)
{
        struct writes w = {0};

        (void)state;
        assert_false(writes_tick(&w, false));
        assert_true(writes_tick(&w, true));
        assert_true(writes_tick(&w, false));
        assert_false(writes_tick(&w, false));
        /* The same failure is said once, until a block could be written. */
        assert_true(writes_failed(&w, 0, 10));
        assert_false(writes_failed(&w, 9, 20));
        assert_true(writes_failed(&w, 20, 30));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pauses_double_up_to_a_bound),
                cmocka_unit_test(test_utp_is_tried_for_a_moment_and_not_often),
                cmocka_unit_test(test_failed_writes_go_on_in_two_rounds),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
