/* SPDX-License-Identifier: MIT */
/* test_chores.c: in order, taken back or not, and an end with a bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "common/chores.h"

enum { N = 100, WAIT_MS = 20000 };

struct note {
        struct chore chore; /* first */
        int number;
};

static int order[N];
static atomic_int done;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* what holds it holds the first one up */
static pthread_barrier_t begun;

static void run_note(struct chore *c)
{
        order[done++] = ((struct note *)c)->number;
}

static void run_held(struct chore *c)
{
        (void)c;
        pthread_barrier_wait(&begun);
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
}

static int setup(void **state)
{
        (void)state;
        done = 0;
        return pthread_barrier_init(&begun, NULL, 2);
}

static int teardown(void **state)
{
        (void)state;
        return pthread_barrier_destroy(&begun);
}

static void test_all_that_is_queued_is_done_in_order(void **state)
{
        static struct note notes[N];
        struct chores *cs;

        (void)state;
        assert_int_equal(chores_new("test", &cs), 0);
        for (int i = 0; i < N; i++) {
                notes[i] = (struct note){{.run = run_note}, i};
                assert_true(chores_push(cs, &notes[i].chore));
        }
        assert_true(chores_stop(cs, WAIT_MS));
        assert_int_equal(done, N);
        for (int i = 0; i < N; i++)
                assert_int_equal(order[i], i);
        assert_false(chores_push(cs, &notes[0].chore));
        assert_true(chores_stop(cs, 0)); /* again */
        chores_free(cs);
}

static void test_what_has_not_begun_can_be_taken_back(void **state)
{
        struct chore held = {.run = run_held};
        struct note a = {{.run = run_note}, 1}, b = {{.run = run_note}, 2},
                    c = {{.run = run_note}, 3};
        struct chores *cs;

        (void)state;
        assert_int_equal(chores_new("test", &cs), 0);
        pthread_mutex_lock(&gate);
        assert_true(chores_push(cs, &held));
        pthread_barrier_wait(&begun);
        assert_true(chores_push(cs, &a.chore));
        assert_true(chores_push(cs, &b.chore));
        assert_false(chores_take_back(cs, &held));
        assert_true(chores_take_back(cs, &b.chore)); /* the last */
        assert_false(chores_take_back(cs, &b.chore));
        assert_true(chores_push(cs, &c.chore));
        assert_true(chores_take_back(cs, &a.chore)); /* the first */
        assert_true(chores_push(cs, &a.chore));
        pthread_mutex_unlock(&gate);
        assert_true(chores_stop(cs, WAIT_MS));
        assert_int_equal(done, 2);
        assert_int_equal(order[0], 3);
        assert_int_equal(order[1], 1);
        chores_free(cs);
}

static void test_the_end_does_not_wait_longer_than_it_may(void **state)
{
        struct chore held = {.run = run_held};
        struct chores *cs;

        (void)state;
        assert_int_equal(chores_new("test", &cs), 0);
        pthread_mutex_lock(&gate);
        assert_true(chores_push(cs, &held));
        pthread_barrier_wait(&begun);
        assert_false(chores_stop(cs, 10));
        pthread_mutex_unlock(&gate);
        assert_true(chores_stop(cs, WAIT_MS));
        chores_free(cs);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                T(test_all_that_is_queued_is_done_in_order),
                T(test_what_has_not_begun_can_be_taken_back),
                T(test_the_end_does_not_wait_longer_than_it_may),
#undef T
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
