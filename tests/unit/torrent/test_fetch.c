/* SPDX-License-Identifier: MIT */
/* test_fetch.c: the tries for the metadata, their pauses and rests, to the millisecond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>

#include "torrent/fetch.h"

static const struct fetch_rules rules = {.timeout_ms = 30000, .pause_ms = 5000, .retries = 2};

static void test_tries_and_pauses_until_it_gives_up(void **state)
{
        const struct fetch_view view = {.known_peers = 1};
        struct fetch f = {0};
        uint64_t now = 1000;

        (void)state;
        fetch_queue(&f);
        fetch_start(&f, now);
        for (unsigned i = 1; i <= rules.retries; i++) {
                assert_int_equal(f.tries, i);
                assert_int_equal(fetch_tick(&f, &rules, &view, now - 1), FETCH_NOTHING);
                assert_int_equal(fetch_tick(&f, &rules, &view, now + 29999), FETCH_NOTHING);
                assert_int_equal(f.phase, FETCH_TRIES);
                now += 30000;
                assert_int_equal(fetch_tick(&f, &rules, &view, now), FETCH_NOTHING);
                assert_int_equal(f.phase, FETCH_PAUSES);
                assert_int_equal(fetch_tick(&f, &rules, &view, now + 4999), FETCH_NOTHING);
                now += 5000;
                assert_int_equal(fetch_tick(&f, &rules, &view, now), FETCH_TRY);
        }
        assert_int_equal(fetch_tick(&f, &rules, &view, now + 30000), FETCH_GIVE_UP);
        fetch_failed(&f, false, now);
        assert_int_equal(f.phase, FETCH_FAILED);
        /* A temporary one is not tried for again. */
        assert_int_equal(fetch_tick(&f, &rules, &view, UINT64_MAX), FETCH_NOTHING);
}

static void test_a_slow_peer_is_no_dead_one(void **state)
{
        struct fetch_view view = {.bytes = 1024};
        struct fetch f = {0};

        (void)state;
        fetch_start(&f, 0);
        assert_int_equal(fetch_tick(&f, &rules, &view, 29999), FETCH_NOTHING);
        view.bytes = 2047; /* no progress */
        assert_int_equal(fetch_tick(&f, &rules, &view, 59998), FETCH_NOTHING);
        assert_int_equal(f.phase, FETCH_TRIES);
        assert_int_equal(fetch_tick(&f, &rules, &view, 59999), FETCH_NOTHING);
        assert_int_equal(f.phase, FETCH_PAUSES);
        view.bytes = 2048; /* a try goes on without being counted again */
        assert_int_equal(fetch_tick(&f, &rules, &view, 60000), FETCH_NOTHING);
        assert_int_equal(f.phase, FETCH_TRIES);
        assert_int_equal(f.tries, 1);
}

static void test_a_kept_one_is_tried_for_again_with_doubling_rests(void **state)
{
        static const unsigned rests[] = {1, 2, 4, 8, 16, 16, 16};
        const struct fetch_view view = {.kept = true};
        struct fetch f = {0};
        uint64_t now = 0;

        (void)state;
        for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
                uint64_t rest_ms = (uint64_t)rests[i] * FETCH_REST_MS;

                fetch_failed(&f, false, now);
                assert_int_equal(fetch_tick(&f, &rules, &view, now + rest_ms - 1), FETCH_NOTHING);
                now += rest_ms;
                assert_int_equal(fetch_tick(&f, &rules, &view, now), FETCH_TRY_ANEW);
                assert_int_equal(f.tries, 1);
        }
        fetch_found(&f);
        fetch_failed(&f, false, 0);
        assert_int_equal(f.due_ms, FETCH_REST_MS);
}

/* Outside its seat it rests as long as it would in it. */
static void test_rests_outside_its_seat(void **state)
{
        static const unsigned rests[] = {1, 2, 4, 8, 16, 16};
        const struct fetch_view view = {.crowded = true};
        struct fetch f = {0};

        (void)state;
        for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
                fetch_failed(&f, false, 0);
                assert_int_equal(fetch_tick(&f, &rules, &view, 0), FETCH_REST);
                for (unsigned k = 1; k < rests[i]; k++)
                        assert_false(fetch_rested(&f));
                assert_true(fetch_rested(&f));
                assert_int_equal(f.phase, FETCH_WAITS);
                assert_int_equal(f.tries, 0);
        }
        fetch_failed(&f, true, 0);
        assert_int_equal(fetch_tick(&f, &rules, &view, 0), FETCH_LEAVE);
}

static void test_where_others_wait(void **state)
{
        static const struct {
                struct fetch_view view;
                unsigned tries;
                uint64_t after_ms;
                enum fetch_action action;
        } cases[] = {
                {{.crowded = true}, 1, 9999, FETCH_NOTHING},
                {{.crowded = true}, 1, 10000, FETCH_TO_THE_END},
                {{.crowded = true, .known_peers = 1}, 1, 29999, FETCH_NOTHING},
                {{.crowded = true, .known_peers = 1}, 2, 30000, FETCH_TO_THE_END},
                {{.crowded = true}, 3, 10000, FETCH_GIVE_UP},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fetch f = {.phase = FETCH_TRIES, .tries = cases[i].tries, .since_ms = 7};

                assert_int_equal(fetch_tick(&f, &rules, &cases[i].view, 7 + cases[i].after_ms),
                                 cases[i].action);
        }
}

static void test_one_that_failed_and_gets_more_is_forgiven(void **state)
{
        const struct fetch_view view = {.bytes = 4096, .crowded = true};
        struct fetch f = {0};

        (void)state;
        fetch_failed(&f, false, 100);
        assert_false(fetch_starves(&f, 100));
        assert_int_equal(fetch_tick(&f, &rules, &view, 200), FETCH_FORGIVE);
        assert_int_equal(f.phase, FETCH_TRIES);
        assert_int_equal(f.tries, 1);
        assert_false(fetch_starves(&f, 2199));
        assert_true(fetch_starves(&f, 2200));
        f.looked_at = true;
        assert_int_equal(fetch_tick(&f, &rules, &view, UINT64_MAX), FETCH_NOTHING);
}

static void test_counters_stay_at_their_limits(void **state)
{
        const struct fetch_rules forever = {.retries = UINT_MAX};
        const struct fetch_view view = {0};
        struct fetch f = {.tries = UINT_MAX, .failures = UINT_MAX};

        (void)state;
        fetch_start(&f, 0);
        assert_int_equal(f.tries, UINT_MAX);
        assert_int_equal(fetch_tick(&f, &forever, &view, 0), FETCH_NOTHING);
        assert_int_equal(f.phase, FETCH_PAUSES);
        fetch_failed(&f, false, 0);
        assert_int_equal(f.failures, UINT_MAX);
        assert_int_equal(f.due_ms, 16 * FETCH_REST_MS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_tries_and_pauses_until_it_gives_up),
                cmocka_unit_test(test_a_slow_peer_is_no_dead_one),
                cmocka_unit_test(test_a_kept_one_is_tried_for_again_with_doubling_rests),
                cmocka_unit_test(test_rests_outside_its_seat),
                cmocka_unit_test(test_where_others_wait),
                cmocka_unit_test(test_one_that_failed_and_gets_more_is_forgiven),
                cmocka_unit_test(test_counters_stay_at_their_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
