/* test_evict.c: which pieces go, against a plain sort of all; and how much goes at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "store/evict.h"

#define N(a) (sizeof(a) / sizeof *(a))
#define MIB  (UINT64_C(1) << 20)

static uint32_t rng = 20240229u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

struct choose_case {
        const char *rule;
        struct evict_piece pieces[6];
        size_t n;
        uint64_t bytes;
        struct evict_piece chosen[6];
        size_t n_chosen;
};

static const struct choose_case choose_cases[] = {
        {"nothing is asked for", {{1, 1, 1, false, 10}}, 1, 0, {{0}}, 0},
        {"there is nothing", {{0}}, 0, 10, {{0}}, 0},
        {"what was read longer ago goes first",
         {{1, 0, 30, false, 10}, {1, 1, 10, false, 10}, {1, 2, 20, false, 10}},
         3,
         20,
         {{1, 1, 10, false, 10}, {1, 2, 20, false, 10}},
         2},
        {"what was never read goes before all",
         {{1, 0, 1, false, 10}, {2, 9, 0, false, 10}},
         2,
         1,
         {{2, 9, 0, false, 10}},
         1},
        {"an end goes last, however long ago it was read",
         {{1, 0, 1, true, 10}, {1, 1, 1000, false, 10}, {1, 2, 999, false, 10}},
         3,
         20,
         {{1, 1, 1000, false, 10}, {1, 2, 999, false, 10}},
         2},
        {"of ends the one read longer ago goes first",
         {{1, 0, 7, true, 10}, {1, 1, 6, true, 10}, {1, 2, 9, false, 10}},
         3,
         20,
         {{1, 1, 6, true, 10}, {1, 2, 9, false, 10}},
         2},
        {"of one age the higher piece goes first",
         {{1, 3, 5, false, 10}, {1, 5, 5, false, 10}, {1, 4, 5, false, 10}},
         3,
         20,
         {{1, 4, 5, false, 10}, {1, 5, 5, false, 10}},
         2},
        {"by owner, then piece, whatever the order in which they go",
         {{2, 1, 1, false, 10}, {1, 9, 2, false, 10}, {1, 8, 3, false, 10}, {2, 0, 9, false, 10}},
         4,
         30,
         {{1, 8, 3, false, 10}, {1, 9, 2, false, 10}, {2, 1, 1, false, 10}},
         3},
        {"as few as do",
         {{1, 0, 1, false, 5}, {1, 1, 2, false, 5}, {1, 2, 3, false, 100}},
         3,
         11,
         {{1, 0, 1, false, 5}, {1, 1, 2, false, 5}, {1, 2, 3, false, 100}},
         3},
        {"fewer bytes than asked for: all",
         {{1, 1, 1, true, 10}, {1, 0, 2, false, 10}},
         2,
         UINT64_MAX,
         {{1, 0, 2, false, 10}, {1, 1, 1, true, 10}},
         2},
};

static bool same(const struct evict_piece *a, const struct evict_piece *b)
{
        return a->owner == b->owner && a->piece == b->piece && a->used == b->used &&
               a->end == b->end && a->bytes == b->bytes;
}

static void test_rules(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(choose_cases); i++) {
                const struct choose_case *k = &choose_cases[i];
                struct evict_piece p[N(k->pieces)];
                size_t n;

                memcpy(p, k->pieces, sizeof p);
                n = evict_choose(p, k->n, k->bytes);
                if (n != k->n_chosen)
                        fail_msg("%s: %zu are chosen", k->rule, n);
                for (size_t j = 0; j < n; j++)
                        if (!same(&p[j], &k->chosen[j]))
                                fail_msg("%s: the one at %zu is %u/%u", k->rule, j, p[j].owner,
                                         p[j].piece);
        }
}

static int compare(uint64_t a, uint64_t b)
{
        return (a > b) - (a < b);
}

/* The order in which they go. */
static int by_worth(const void *x, const void *y)
{
        const struct evict_piece *a = x, *b = y;
        int r = compare(a->end, b->end);

        if (r == 0)
                r = compare(a->used, b->used);
        if (r == 0)
                r = compare(a->owner, b->owner);
        return r != 0 ? r : compare(b->piece, a->piece);
}

static int by_place(const void *x, const void *y)
{
        const struct evict_piece *a = x, *b = y;
        int r = compare(a->owner, b->owner);

        return r != 0 ? r : compare(a->piece, b->piece);
}

/* Many of them, with few ages so that there are ties: the same as the first of all in their order;
 * and none is lost. */
static void test_against_a_sort(void **state)
{
        enum { MAX = 3000 };
        struct evict_piece *p = calloc(MAX, sizeof *p), *q = calloc(MAX, sizeof *q);

        (void)state;
        assert_true(p && q);
        for (unsigned round = 0; round < 300; round++) {
                size_t n = next() % (round % 10 ? 40 : MAX), expected = 0, got;
                uint32_t ages = 1 + next() % 50;
                uint64_t bytes = 0, sum = 0;

                for (size_t i = 0; i < n; i++)
                        p[i] = (struct evict_piece){.owner = next() % 3,
                                                    .piece = (uint32_t)i,
                                                    .used = next() % ages,
                                                    .end = next() % 8 == 0,
                                                    .bytes = 1 + next() % 100};
                for (size_t i = n; i > 1; i--) {
                        size_t j = next() % i;
                        struct evict_piece t = p[i - 1];

                        p[i - 1] = p[j];
                        p[j] = t;
                }
                memcpy(q, p, n * sizeof *q);
                bytes = next() % (n * 60 + 1);
                got = evict_choose(p, n, bytes);
                qsort(q, n, sizeof *q, by_worth);
                while (expected < n && sum < bytes)
                        sum += q[expected++].bytes;
                assert_int_equal(got, expected);
                qsort(q, expected, sizeof *q, by_place);
                for (size_t i = 0; i < got; i++)
                        assert_true(same(&p[i], &q[i]));
                /* those that stay, in whatever order */
                qsort(p + got, n - got, sizeof *p, by_place);
                qsort(q + got, n - got, sizeof *q, by_place);
                for (size_t i = got; i < n; i++)
                        assert_true(same(&p[i], &q[i]));
        }
        free(p);
        free(q);
}

static void test_batch(void **state)
{
        static const struct {
                uint64_t limit, lacks, batch;
        } cases[] = {
                {0, 0, 0},
                {0, 5, 5},
                {64 * MIB, 0, 8 * MIB},         /* an eighth of a small cache */
                {64 * MIB, 16 * MIB, 16 * MIB}, /* but what is missing at least */
                {512 * MIB, 1, 64 * MIB},       /* the eighth is 64 MiB */
                {1024 * MIB, 1, 64 * MIB},      /* which are more than 5 % */
                {1280 * MIB, 1, 64 * MIB},      /* as much */
                {100000 * MIB, 1, 5000 * MIB},  /* 5 % */
                {100000 * MIB, 6000 * MIB, 6000 * MIB},
                {UINT64_MAX, 1, UINT64_MAX / 20},
        };

        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                assert_int_equal(evict_batch(cases[i].limit, cases[i].lacks), cases[i].batch);
                /* after a batch there is no need for the next */
                assert_true(evict_low(cases[i].limit) <= evict_batch(cases[i].limit, 0));
        }
        assert_int_equal(evict_low(64 * MIB), 4 * MIB);
        assert_int_equal(evict_low(1024 * MIB), 32 * MIB);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rules),
                cmocka_unit_test(test_against_a_sort),
                cmocka_unit_test(test_batch),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
