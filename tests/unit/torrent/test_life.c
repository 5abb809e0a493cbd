/* SPDX-License-Identifier: MIT */
/* test_life.c: who is idle, who falls asleep, and how one that nobody uses is removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "torrent/life.h"

enum { IDLE_MS = 120000, NOW = 1000000 };
static const struct life_rules rules = {.idle_ms = IDLE_MS};

static void test_idle(void **state)
{
        static const struct {
                struct life_use use;
                uint64_t idle_ms;
                bool is;
        } cases[] = {
                {{.last_used_ms = NOW - IDLE_MS}, IDLE_MS, true},
                {{.last_used_ms = NOW - IDLE_MS + 1}, IDLE_MS, false},
                {{.last_used_ms = NOW}, IDLE_MS, false},
                /* Another thread used it after now was looked up. */
                {{.last_used_ms = NOW + 1}, IDLE_MS, false},
                {{.last_used_ms = UINT64_MAX}, IDLE_MS, false},
                {{.last_used_ms = 0, .handles = 1}, IDLE_MS, false},
                {{.last_used_ms = 0, .fetching = true}, IDLE_MS, false},
                /* A failed one stays for a moment, or for the idle time where that is less. */
                {{.last_used_ms = NOW - 3000, .failed = true}, IDLE_MS, true},
                {{.last_used_ms = NOW - 2999, .failed = true}, IDLE_MS, false},
                {{.last_used_ms = NOW - 1000, .failed = true}, 1000, true},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                const struct life_rules these = {.idle_ms = cases[i].idle_ms};

                assert_int_equal(life_is_idle(&these, &cases[i].use, NOW), cases[i].is);
        }
}

static void test_the_helper_removes_and_is_asked_three_times(void **state)
{
        const struct life_use use = {.last_used_ms = NOW - IDLE_MS};
        struct life l = {.state = LIFE_AWAKE};
        uint64_t now = NOW;

        (void)state;
        for (int i = 0; i < 3; i++) {
                assert_int_equal(life_tick(&l, &rules, &use, true, now), LIFE_ASK);
                life_asked(&l, true);
                /* It may be late, up to a bound. */
                assert_int_equal(life_tick(&l, &rules, &use, true, now), LIFE_NOTHING);
                assert_int_equal(life_tick(&l, &rules, &use, true, now + 9999), LIFE_NOTHING);
                now += 10000;
        }
        assert_int_equal(life_tick(&l, &rules, &use, true, now), LIFE_DROP);
        (void)life_event(&l, LIFE_REMOVED);
        assert_int_equal(l.state, LIFE_GONE);
        assert_int_equal(life_tick(&l, &rules, &use, true, now), LIFE_NOTHING);
        assert_false(life_waits(&l, &use));
}

static void test_one_that_is_used_again_has_all_tries_before_it(void **state)
{
        struct life_use use = {.last_used_ms = NOW - IDLE_MS};
        struct life l = {.state = LIFE_AWAKE};

        (void)state;
        for (int i = 0; i < 3; i++) {
                assert_int_equal(life_tick(&l, &rules, &use, true, NOW), LIFE_ASK);
                life_asked(&l, true);
                life_answered(&l);
        }
        use.handles = 1;
        assert_int_equal(life_tick(&l, &rules, &use, true, NOW), LIFE_NOTHING);
        use.handles = 0;
        assert_int_equal(life_tick(&l, &rules, &use, true, NOW), LIFE_ASK);
}

static void test_a_helper_that_could_not_be_told_is_asked_again(void **state)
{
        const struct life_use use = {.last_used_ms = NOW - IDLE_MS};
        struct life l = {.state = LIFE_AWAKE};

        (void)state;
        for (int i = 0; i < 10; i++) {
                assert_int_equal(life_tick(&l, &rules, &use, true, NOW), LIFE_ASK);
                life_asked(&l, false);
        }
        assert_int_equal(life_tick(&l, &rules, &use, false, NOW), LIFE_DROP);
}

static void test_sleep_and_wake(void **state)
{
        struct life_use use = {.kept = true, .last_used_ms = NOW - IDLE_MS};
        struct life l = {0};

        (void)state;
        /* One without metadata does not sleep. */
        assert_int_equal(life_tick(&l, &rules, &use, true, NOW), LIFE_NOTHING);
        (void)life_event(&l, LIFE_METADATA);
        assert_int_equal(l.state, LIFE_AWAKE);
        assert_true(life_waits(&l, &use));
        use.stays = true;
        assert_int_equal(life_tick(&l, &rules, &use, true, NOW), LIFE_NOTHING);
        use.stays = false;
        assert_int_equal(life_tick(&l, &rules, &use, true, NOW - 1), LIFE_NOTHING);
        assert_int_equal(life_tick(&l, &rules, &use, true, NOW), LIFE_SLEEP);
        assert_int_equal(l.state, LIFE_ASLEEP);
        /* Once; and nothing has to be looked after then. */
        assert_int_equal(life_tick(&l, &rules, &use, true, NOW), LIFE_NOTHING);
        assert_false(life_waits(&l, &use));
        assert_int_equal(life_event(&l, LIFE_METADATA), LIFE_NOTHING);
        assert_int_equal(l.state, LIFE_ASLEEP);
        assert_int_equal(life_event(&l, LIFE_READ), LIFE_WAKE);
        assert_int_equal(l.state, LIFE_AWAKE);
        assert_int_equal(life_event(&l, LIFE_READ), LIFE_NOTHING);
}

static void test_gone_is_the_end(void **state)
{
        struct life l = {0};

        (void)state;
        (void)life_event(&l, LIFE_REMOVED);
        assert_int_equal(life_event(&l, LIFE_READ), LIFE_NOTHING);
        assert_int_equal(life_event(&l, LIFE_METADATA), LIFE_NOTHING);
        assert_int_equal(l.state, LIFE_GONE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_idle),
                cmocka_unit_test(test_the_helper_removes_and_is_asked_three_times),
                cmocka_unit_test(test_one_that_is_used_again_has_all_tries_before_it),
                cmocka_unit_test(test_a_helper_that_could_not_be_told_is_asked_again),
                cmocka_unit_test(test_sleep_and_wake),
                cmocka_unit_test(test_gone_is_the_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
