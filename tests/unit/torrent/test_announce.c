/* SPDX-License-Identifier: MIT */
/* test_announce.c: how often and when the helper is asked to announce a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "torrent/announce.h"

static void test_a_name_that_exists_is_tried_so_often(void **state)
{
        struct announce a = {0};

        (void)state;
        announce_want(&a);
        assert_int_equal(announce_tick(&a, 5), ANNOUNCE_ASK);
        announce_asked(&a, false, 5); /* the helper is behind: that is no try */
        assert_int_equal(announce_tick(&a, 5), ANNOUNCE_ASK);
        for (int i = 1; i < 20; i++) {
                announce_asked(&a, true, 5);
                assert_int_equal(announce_answered(&a, EEXIST), ANNOUNCE_ASK);
        }
        announce_asked(&a, true, 5);
        assert_int_equal(announce_answered(&a, EEXIST), ANNOUNCE_FAILED);
        assert_int_equal(announce_tick(&a, UINT64_MAX), ANNOUNCE_NOTHING);
        announce_want(&a); /* another name */
        announce_asked(&a, true, 5);
        assert_int_equal(announce_answered(&a, EEXIST), ANNOUNCE_ASK);
}

static void test_what_is_not_answered_is_asked_again(void **state)
{
        struct announce a = {0};

        (void)state;
        announce_want(&a);
        for (uint64_t i = 0; i < 20; i++) {
                announce_asked(&a, true, 30000 * i);
                assert_int_equal(announce_tick(&a, 30000 * i), ANNOUNCE_NOTHING);
                assert_int_equal(announce_tick(&a, 30000 * i + 29999), ANNOUNCE_NOTHING);
                assert_int_equal(announce_tick(&a, 30000 * i + 30000),
                                 i < 19 ? ANNOUNCE_ASK : ANNOUNCE_NOTHING);
        }
        assert_int_equal(announce_answered(&a, EEXIST), ANNOUNCE_NOTHING);
}

static void test_the_answer_for_an_old_name_leaves_the_new_one_wanted(void **state)
{
        struct announce a = {0};

        (void)state;
        announce_want(&a);
        announce_asked(&a, true, 1);
        announce_want(&a);
        assert_int_equal(announce_answered(&a, 0), ANNOUNCE_NOTHING);
        assert_int_equal(announce_tick(&a, 1), ANNOUNCE_ASK);
        announce_asked(&a, true, 1);
        announce_unanswered(&a);
        assert_int_equal(announce_tick(&a, 1), ANNOUNCE_ASK);
        announce_drop(&a);
        announce_unanswered(&a);
        assert_int_equal(announce_tick(&a, UINT64_MAX), ANNOUNCE_NOTHING);
}

/* The new name is asked for before the old one's answer has come. */
static void test_only_the_last_answer_is_about_the_name(void **state)
{
        static const int old[] = {0, ENOENT, EEXIST};

        (void)state;
        for (unsigned i = 0; i < 3; i++) {
                struct announce a = {0};

                announce_want(&a);
                announce_asked(&a, true, 1);
                announce_want(&a);
                announce_asked(&a, true, 2);
                assert_int_equal(announce_answered(&a, old[i]), ANNOUNCE_NOTHING);
                assert_int_equal(a.state, ANNOUNCE_SENT);
                assert_int_equal(announce_answered(&a, EEXIST), ANNOUNCE_ASK);
                announce_asked(&a, true, 3);
                assert_int_equal(announce_answered(&a, 0), ANNOUNCE_NOTHING);
                assert_int_equal(a.state, ANNOUNCE_NONE);
                /* another helper: what the one before was asked is answered by nobody */
                announce_want(&a);
                announce_asked(&a, true, 4);
                announce_unanswered(&a);
                announce_asked(&a, true, 5);
                assert_int_equal(announce_answered(&a, ENOENT), ANNOUNCE_FAILED);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_name_that_exists_is_tried_so_often),
                cmocka_unit_test(test_what_is_not_answered_is_asked_again),
                cmocka_unit_test(test_the_answer_for_an_old_name_leaves_the_new_one_wanted),
                cmocka_unit_test(test_only_the_last_answer_is_about_the_name),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
