/* test_read_cost.c: what a read costs is a matter of the pieces it touches and of its window, not
 * of how many the torrent has or who else reads. Counted, not timed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "model.h"

#define KIB    UINT64_C(1024)
#define MIB    (1024 * KIB)
#define PIECE  (256 * KIB)
#define WINDOW (32 * MIB)

enum { FEW = 1000, MANY = 100000, READS = 1500 };

struct cost {
        uint64_t changes, lines; /* of all reads but the first */
        uint64_t most;           /* wishes one of them changed */
        uint64_t first;          /* … the first */
};

/* Reads as offset() says in a torrent of so many pieces, besides others that have played somewhere.
 */
static struct cost count(uint32_t pieces, unsigned others, uint64_t (*offset)(unsigned read))
{
        const uint64_t len = 128 * KIB;
        unsigned playing = 0;
        struct cost c = {0};
        struct model m;
        unsigned reader;

        model_init(&m, pieces * PIECE, PIECE, &playing);
        for (unsigned i = 0; i < others; i++) {
                unsigned other = model_open(&m, 0, pieces * PIECE);

                (void)model_read(&m, other, 100 * MIB + i * 8 * MIB, 2 * MIB, 1);
        }
        /* Their number decides the share of each. */
        playing = 8;
        reader = model_open(&m, 0, pieces * PIECE);
        for (unsigned i = 0; i < READS; i++) {
                uint64_t changes = m.changes, lines = m.lines;
                uint64_t off = offset(i);

                (void)model_read(&m, reader, off, len, 1 + i * 10);
                for (uint64_t piece = off / PIECE; piece <= (off + len - 1) / PIECE; piece++)
                        model_arrive(&m, (uint32_t)piece);
                changes = m.changes - changes;
                if (i == 0) {
                        c.first = changes;
                        continue;
                }
                c.changes += changes;
                c.lines += m.lines - lines;
                if (changes > c.most)
                        c.most = changes;
        }
        model_free(&m);
        return c;
}

static uint64_t in_order(unsigned read)
{
        return read * 128 * KIB;
}

/* Ten reads here, ten reads there: each time a jump. */
static uint64_t here_and_there(unsigned read)
{
        return (read / 10 % 7) * 30 * MIB + read % 10 * 128 * KIB;
}

/* Two places in turn. */
static uint64_t two_places(unsigned read)
{
        return (read % 2) * 120 * MIB + read / 2 * 128 * KIB;
}

static void check_same(const char *rule, const struct cost *few, const struct cost *many)
{
        if (few->changes != many->changes || few->lines != many->lines || few->most != many->most)
                fail_msg("%s: %u wishes and %u lines, at most %u a read; in the larger torrent %u, "
                         "%u and %u",
                         rule, (unsigned)few->changes, (unsigned)few->lines, (unsigned)few->most,
                         (unsigned)many->changes, (unsigned)many->lines, (unsigned)many->most);
}

static const struct {
        const char *rule;
        uint64_t (*offset)(unsigned read);
        unsigned a_read; /* wishes that change, at most, on the mean */
} ways[] = {
        /* half a piece a read, and each piece changes eight times on its way to the reader */
        {"in order", in_order, 5},
        {"here and there", here_and_there, 8},
        /* two windows, and what is read now takes turns */
        {"two places", two_places, 300},
};

static void test_pieces_of_the_torrent(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
                struct cost few = count(FEW, 0, ways[i].offset);
                struct cost many = count(MANY, 0, ways[i].offset);

                print_message("%s: %.2f wishes and %.2f lines a read, %u at most\n", ways[i].rule,
                              (double)many.changes / (READS - 1), (double)many.lines / (READS - 1),
                              (unsigned)many.most);
                check_same(ways[i].rule, &few, &many);
                assert_true(many.changes <= ways[i].a_read * (READS - 1));
                /* an old window goes and a new one comes */
                assert_true(many.most <= 2 * (WINDOW / PIECE + 3));
                assert_int_equal(many.first, 2);
        }
}

static void test_other_readers(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
                struct cost alone = count(FEW, 0, ways[i].offset);
                struct cost among = count(FEW, MODEL_READERS - 1, ways[i].offset);

                /* what others want already needs fewer lines to the session, not more */
                assert_true(among.lines <= alone.lines);
                among.lines = alone.lines;
                check_same(ways[i].rule, &alone, &among);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pieces_of_the_torrent),
                cmocka_unit_test(test_other_readers),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
