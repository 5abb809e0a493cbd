/* test_filler.c: ranges are fetched in order, whole, each piece once, and never many at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "torrent/filler.h"

#define MIB (1u << 20)
enum { PIECES = 2 << 20 };

/* A torrent, with room for so many more pieces. Of those below begun something was written. */
struct torrent {
        uint8_t *has, *wanted;
        uint32_t begun;
        unsigned n_wanted, most, asked, room;
};

static bool has(void *arg, uint32_t piece)
{
        struct torrent *t = arg;

        assert_true(piece < PIECES);
        return t->has[piece];
}

static int want(void *arg, uint32_t piece, bool wanted)
{
        struct torrent *t = arg;

        assert_true(piece < PIECES);
        assert_int_equal(t->wanted[piece], !wanted);
        if (wanted && t->room == 0)
                return -ENOSPC;
        t->room -= wanted;
        t->asked += wanted;
        t->wanted[piece] = wanted;
        t->n_wanted += wanted ? 1 : -1u;
        if (t->n_wanted > t->most)
                t->most = t->n_wanted;
        return 0;
}

static bool may_yield(void *arg, uint32_t piece)
{
        const struct torrent *t = arg;

        assert_true(t->wanted[piece]);
        return piece >= t->begun;
}

static void begin(struct torrent *t, struct filler_torrent *of)
{
        *t = (struct torrent){.room = UINT32_MAX};
        t->has = calloc(PIECES, 1);
        t->wanted = calloc(PIECES, 1);
        assert_true(t->has && t->wanted);
        *of = (struct filler_torrent){has, want, may_yield, t};
}

static void end(struct torrent *t, struct filler *f)
{
        filler_free(f);
        free(t->has);
        free(t->wanted);
}

static struct filler *make(const struct filler_range *ranges, size_t n, uint32_t piece_length)
{
        struct filler_range *copy = calloc(n, sizeof *copy);
        struct filler *f;

        assert_non_null(copy);
        memcpy(copy, ranges, n * sizeof *copy);
        f = filler_new(copy, n, piece_length);
        assert_non_null(f);
        return f;
}

/* All that is wanted comes, from any end; until nothing is wanted. */
static unsigned fetch_all(struct torrent *t, struct filler *f, const struct filler_torrent *of,
                          bool backwards)
{
        unsigned fetched = 0, before;

        filler_run(f, false, of);
        do {
                before = fetched;
                for (uint32_t i = 0; i < PIECES; i++) {
                        uint32_t piece = backwards ? PIECES - 1 - i : i;

                        if (!t->wanted[piece] || t->has[piece])
                                continue;
                        t->has[piece] = 1;
                        fetched++;
                        filler_run(f, true, of);
                }
                filler_run(f, false, of);
        } while (fetched > before);
        return fetched;
}

static void test_ranges(void **state)
{
        static const struct filler_range ranges[] = {{3, 5}, {7, 8}, {100, 900}, {1000, 1000}};
        struct filler_torrent of;
        struct torrent t;
        struct filler *f;

        (void)state;
        for (unsigned backwards = 0; backwards < 2; backwards++) {
                begin(&t, &of);
                t.has[4] = t.has[200] = 1;
                f = make(ranges, 4, MIB);
                assert_int_equal(fetch_all(&t, f, &of, backwards), 2 + 1 + 800 - 2);
                for (uint32_t i = 0; i < 1100; i++)
                        assert_int_equal(t.has[i],
                                         (i >= 3 && i < 5) || i == 7 || (i >= 100 && i < 900));
                assert_int_equal(t.asked, 801);
                assert_int_equal(t.n_wanted, 0);
                assert_in_range(t.most, 64, 64);
                end(&t, f);
        }
}

/* Two million pieces: no more than a thousand wishes at a time. */
static void test_a_large_torrent(void **state)
{
        static const struct filler_range all = {0, PIECES};
        struct filler_torrent of;
        struct torrent t;
        struct filler *f;

        (void)state;
        begin(&t, &of);
        f = make(&all, 1, 16384);
        filler_run(f, false, &of);
        assert_int_equal(t.n_wanted, 1024);
        assert_int_equal(fetch_all(&t, f, &of, false), PIECES);
        assert_int_equal(t.most, 1024);
        assert_int_equal(t.asked, PIECES);
        end(&t, f);
}

/* Where there is no room it stops, and goes on once there is; what it wants it takes back. */
static void test_no_room(void **state)
{
        static const struct filler_range all = {10, 200};
        struct filler_torrent of;
        struct torrent t;
        struct filler *f;

        (void)state;
        begin(&t, &of);
        t.room = 5;
        f = make(&all, 1, 4 * MIB);
        assert_int_equal(fetch_all(&t, f, &of, false), 5);
        assert_int_equal(t.n_wanted, 0);
        t.room = 2;
        filler_run(f, false, &of);
        assert_int_equal(t.n_wanted, 2);
        t.room = 100;
        t.has[15] = 1;
        filler_run(f, true, &of); /* one that was full looks at once */
        assert_int_equal(t.n_wanted, 64);
        filler_stop(f, &of);
        assert_int_equal(t.n_wanted, 0);
        end(&t, f);
}

/* Others need room: what is not begun is given back, the last first, and asked for again. */
static void test_yields(void **state)
{
        static const struct filler_range ranges[] = {{10, 20}, {30, 40}};
        struct filler_torrent of;
        struct torrent t;
        struct filler *f;

        (void)state;
        begin(&t, &of);
        f = make(ranges, 2, MIB);
        filler_run(f, false, &of);
        assert_int_equal(t.n_wanted, 20);
        t.begun = 12;
        t.has[38] = 1;
        assert_int_equal(filler_yield(f, 2, &of), 2);
        assert_true(t.wanted[10] && t.wanted[38] && !t.wanted[39] && t.wanted[36]);
        assert_false(t.wanted[37]);
        assert_int_equal(filler_yield(f, 100, &of), 15);
        assert_int_equal(t.n_wanted, 3); /* the two that are begun, and the one that is there */
        assert_int_equal(filler_yield(f, 100, &of), 0);
        filler_rest(f, &of); /* one was begun, and could not be written */
        assert_int_equal(t.n_wanted, 0);
        assert_false(filler_is_done(f, &of));

        t.room = 5;
        filler_run(f, true, &of); /* as one that was full it looks at once */
        assert_true(t.wanted[11] && t.wanted[14] && !t.wanted[15]);
        t.room = UINT32_MAX;
        (void)fetch_all(&t, f, &of, false);
        for (uint32_t i = 10; i < 40; i++)
                assert_int_equal(t.has[i], i < 20 || i >= 30);
        assert_true(filler_is_done(f, &of));
        assert_int_equal(t.n_wanted, 0);
        end(&t, f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_a_large_torrent),
                cmocka_unit_test(test_no_room),
                cmocka_unit_test(test_yields),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
