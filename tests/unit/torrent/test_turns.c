/* SPDX-License-Identifier: MIT */
/* test_turns.c: whose turn it is, and that nobody's depends on how many there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "torrent/turns.h"

enum { N = 10 };

struct fixture {
        struct turns ts;
        struct turn t[N];
};

static int setup(void **state)
{
        static struct fixture f;

        f = (struct fixture){.ts = {.seats = 3, .more_seats = 2}};
        for (int i = 0; i < N; i++)
                f.t[i].owner = &f.t[i];
        *state = &f;
        return 0;
}

static int next(struct fixture *f)
{
        struct turn *t = turns_next(&f->ts);

        return t ? (int)(t - f->t) : -1;
}

static void test_in_the_order_they_came_up_to_the_seats(void **state)
{
        struct fixture *f = *state;

        for (int i = 0; i < 5; i++)
                turns_queue(&f->ts, &f->t[i], false);
        assert_int_equal(turns_missing(&f->ts), 2);
        for (int i = 0; i < 3; i++)
                assert_int_equal(next(f), i);
        assert_int_equal(next(f), -1);
        assert_int_equal(turns_missing(&f->ts), 2);
        turns_leave(&f->ts, &f->t[1]);
        assert_int_equal(turns_missing(&f->ts), 1);
        assert_int_equal(next(f), 3);
        assert_int_equal(next(f), -1);
}

static void test_who_gives_up_a_seat_goes_to_the_end(void **state)
{
        struct fixture *f = *state;

        for (int i = 0; i < 5; i++)
                turns_queue(&f->ts, &f->t[i], false);
        for (int i = 0; i < 3; i++)
                (void)next(f);
        turns_queue(&f->ts, &f->t[0], false);
        assert_int_equal(next(f), 3);
        turns_queue(&f->ts, &f->t[1], false);
        assert_int_equal(next(f), 4);
        turns_leave(&f->ts, &f->t[2]);
        assert_int_equal(next(f), 0);
        turns_leave(&f->ts, &f->t[0]);
        assert_int_equal(next(f), 1);
}

static void test_the_urgent_go_first_and_have_more_seats(void **state)
{
        struct fixture *f = *state;

        for (int i = 0; i < 5; i++)
                turns_queue(&f->ts, &f->t[i], false);
        turns_queue(&f->ts, &f->t[5], true);
        turns_hurry(&f->ts, &f->t[4]);
        assert_int_equal(next(f), 5);
        assert_int_equal(next(f), 4);
        assert_int_equal(next(f), 0);
        assert_int_equal(next(f), -1); /* 1 to 3 wait for an ordinary seat */
        for (int i = 6; i < 9; i++)
                turns_queue(&f->ts, &f->t[i], true);
        assert_int_equal(next(f), 6);
        assert_int_equal(next(f), 7);
        assert_int_equal(next(f), -1);
        turns_leave(&f->ts, &f->t[0]);
        assert_int_equal(next(f), 8);
        assert_int_equal(next(f), -1);
}

static void test_hurry_leaves_those_be_who_have_a_seat_or_none(void **state)
{
        struct fixture *f = *state;

        turns_hurry(&f->ts, &f->t[0]);
        assert_int_equal(f->t[0].place, TURN_NONE);
        turns_queue(&f->ts, &f->t[1], false);
        assert_int_equal(next(f), 1);
        turns_hurry(&f->ts, &f->t[1]);
        assert_int_equal(f->t[1].place, TURN_SEATED);
        turns_rest(&f->ts, &f->t[1], 100);
        turns_hurry(&f->ts, &f->t[1]);
        assert_int_equal(f->t[1].place, TURN_URGENT);
        assert_null(turns_rested(&f->ts, 1000));
}

static void test_the_first_to_rest_wakes_first(void **state)
{
        struct fixture *f = *state;

        for (int i = 0; i < 3; i++)
                turns_rest(&f->ts, &f->t[i], 100 + (uint64_t)i);
        assert_int_equal(turns_missing(&f->ts), 0);
        assert_null(turns_rested(&f->ts, 99));
        assert_ptr_equal(turns_rested(&f->ts, 101), &f->t[0]);
        turns_leave(&f->ts, &f->t[1]);
        assert_null(turns_rested(&f->ts, 101));
        assert_ptr_equal(turns_rested(&f->ts, 102), &f->t[2]);
        assert_null(turns_rested(&f->ts, 1000));
}

static void test_seated_beyond_all_seats(void **state)
{
        struct fixture *f = *state;

        for (int i = 0; i < 7; i++)
                turns_queue(&f->ts, &f->t[i], true);
        for (int i = 0; i < 5; i++)
                assert_int_equal(next(f), i);
        turns_seat(&f->ts, &f->t[6]);
        assert_int_equal(f->ts.n_seated, 6);
        assert_int_equal(f->ts.n_urgent, 1);
        for (int i = 0; i < 7; i++)
                turns_leave(&f->ts, &f->t[i]);
        assert_int_equal(f->ts.n_seated + f->ts.n_urgent + f->ts.n_waiting, 0);
        assert_null(f->ts.urgent);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
                T(test_in_the_order_they_came_up_to_the_seats),
                T(test_who_gives_up_a_seat_goes_to_the_end),
                T(test_the_urgent_go_first_and_have_more_seats),
                T(test_hurry_leaves_those_be_who_have_a_seat_or_none),
                T(test_the_first_to_rest_wakes_first),
                T(test_seated_beyond_all_seats),
#undef T
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
