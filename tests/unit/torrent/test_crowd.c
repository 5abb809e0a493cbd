/* SPDX-License-Identifier: MIT */
/* test_crowd.c: which page-cache reads end for who hangs behind them, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "torrent/crowd.h"

enum { LOOK_MS = 200, LOOKS_MAX = 40 };

static void test_since_when_it_hangs(void **state)
{
        static const struct {
                const char *name;
                struct crowd before;
                bool hangs;
                uint64_t earliest, now;
                struct crowd after;
        } rows[] = {
                {"nobody, the first look", {0}, false, 100, 500, {.alone_ms = 500}},
                {"somebody at the first look may be as old as the read",
                 {0},
                 true,
                 100,
                 500,
                 {0, 100, 500, 500}},
                {"one who came since the last look",
                 {.alone_ms = 500},
                 true,
                 100,
                 700,
                 {500, 500, 700, 700}},
                {"a look of long ago says less than a read",
                 {.alone_ms = 500},
                 true,
                 9000,
                 9400,
                 {500, 9000, 9400, 9400}},
                {"it goes on, whatever is read since",
                 {500, 500, 700, 700},
                 true,
                 850,
                 900,
                 {500, 500, 700, 900}},
                {"so it does when a look comes late",
                 {500, 500, 700, 700},
                 true,
                 850,
                 1699,
                 {500, 500, 700, 1699}},
                {"it has ended", {500, 500, 700, 900}, false, 850, 1100, {.alone_ms = 1100}},
                {"it ended while there was no read to look at",
                 {500, 500, 700, 900},
                 true,
                 5000,
                 5400,
                 {500, 5000, 5400, 5400}},
        };

        (void)state;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct crowd c = rows[i].before;

                crowd_looked(&c, rows[i].hangs, rows[i].earliest, rows[i].now);
                if (c.alone_ms != rows[i].after.alone_ms || c.since_ms != rows[i].after.since_ms ||
                    c.seen_ms != rows[i].after.seen_ms || c.last_ms != rows[i].after.last_ms)
                        fail_msg("%s", rows[i].name);
        }
}

static void test_what_ends(void **state)
{
        static const struct crowd nobody = {.alone_ms = 5000}, hangs = {500, 1000, 1200, 1400};
        static const struct {
                const char *name;
                const struct crowd *crowd;
                bool one_page;
                uint64_t asked, now;
                bool ends;
        } rows[] = {
                {"nobody waits for it", &nobody, false, 0, 9000, false},
                {"nobody waits for that page", &nobody, true, 0, 9000, false},
                {"read ahead before", &hangs, false, 100, 1400, true},
                {"come back", &hangs, false, 1201, 1400, false},
                {"a page, however old", &hangs, true, 100, 1400, false},
                {"a page, shortly before", &hangs, true, 1201, 2399, false},
                {"a page, in the end", &hangs, true, 1201, 2400, true},
                {"come back, in the end", &hangs, false, 1201, 2400, true},
                {"asked for again, in the end", &hangs, true, 2399, 2400, true},
        };

        (void)state;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
                if (crowd_ends(rows[i].crowd, rows[i].one_page, rows[i].asked, rows[i].now) !=
                    rows[i].ends)
                        fail_msg("%s", rows[i].name);
}

/* The kernel gives the page to the mapping each time, and never to who hangs. reads: how many times
 * it asks; the first may be for what is read ahead. When somebody comes in mmap(2) at came_ms,
 * after the first read was parked at 1, the mapping has its error at what is returned. */
static uint64_t error_at(unsigned reads, bool ahead, uint64_t patience, uint64_t came_ms,
                         uint64_t first_look)
{
        struct crowd c = {0};
        uint64_t asked = 1, now = first_look;

        while (now < 1 + patience)
                now += LOOK_MS;
        for (unsigned i = 0; i < LOOKS_MAX; i++, now += LOOK_MS) {
                crowd_looked(&c, now >= came_ms, asked, now);
                if (!crowd_ends(&c, !ahead, asked, now))
                        continue;
                if (--reads == 0)
                        return now;
                asked = now;
                ahead = false;
        }
        return UINT64_MAX;
}

static void test_the_time_is_that_of_who_hangs(void **state)
{
        static const struct {
                unsigned reads;
                bool ahead;
        } mappings[] = {{3, true}, {2, false}, {2, true}, {4, true}, {3, false}};
        enum { PATIENCE_MS = 400 };

        (void)state;
        for (size_t i = 0; i < sizeof mappings / sizeof *mappings; i++)
                for (uint64_t came = 2; came < 5000; came += 7)
                        for (uint64_t first = 0; first < LOOK_MS; first += 13) {
                                uint64_t at = error_at(mappings[i].reads, mappings[i].ahead,
                                                       PATIENCE_MS, came, first);
                                assert_in_range(at, came + 1400 - PATIENCE_MS - LOOK_MS,
                                                came + 2000);
                                /* What had been waited for longer than that. */
                                if (came > PATIENCE_MS + LOOK_MS)
                                        assert_in_range(at, came + 1400 - LOOK_MS, came + 2000);
                        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_since_when_it_hangs),
                cmocka_unit_test(test_what_ends),
                cmocka_unit_test(test_the_time_is_that_of_who_hangs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
