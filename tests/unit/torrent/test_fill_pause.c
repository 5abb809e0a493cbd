/* test_fill_pause.c: what can't be written is not fetched again and again, and that is said once.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "torrent/fill_pause.h"

#define S UINT64_C(1000)

/* Each pause is twice as long, up to a minute, and what is refused within one counts for nothing.
 */
static void test_pauses(void **state)
{
        static const uint64_t pauses[] = {5, 10, 20, 40, 60, 60, 60};
        struct fill_pause p = {0};
        uint64_t now = 100 * S;

        (void)state;
        assert_false(fill_pause_rests(&p, now));
        assert_false(fill_pause_tries(&p, now));
        for (unsigned round = 0; round < 2; round++) {
                for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
                        fill_pause_begin(&p, now);
                        fill_pause_begin(&p, now + 1);
                        assert_true(fill_pause_tries(&p, now));
                        assert_true(fill_pause_rests(&p, now + pauses[i] * S - 1));
                        now += pauses[i] * S;
                        assert_false(fill_pause_rests(&p, now));
                        assert_true(fill_pause_tries(&p, now));
                }
                fill_pause_end(&p, now - 1); /* it came before */
                assert_true(fill_pause_tries(&p, now));
                fill_pause_end(&p, now);
                assert_false(fill_pause_rests(&p, now));
                assert_false(fill_pause_tries(&p, now));
        }
}

/* Nobody gives the piece that was asked for after the pause: others are asked for, too. */
static void test_tries_end(void **state)
{
        struct fill_pause p = {0};

        (void)state;
        fill_pause_begin(&p, 100 * S);
        assert_true(fill_pause_tries(&p, 164 * S));
        assert_false(fill_pause_tries(&p, 165 * S));
        /* That is no success. */
        fill_pause_begin(&p, 166 * S);
        assert_true(fill_pause_rests(&p, 175 * S));
}

/* What one store fails for alone need not be so for the others. */
static void test_for_all(void **state)
{
        (void)state;
        assert_true(fill_pause_is_for_all(ENOSPC));
        assert_true(fill_pause_is_for_all(EDQUOT));
        assert_true(fill_pause_is_for_all(EROFS));
        assert_false(fill_pause_is_for_all(EIO));
        assert_false(fill_pause_is_for_all(ESTALE));
        assert_false(fill_pause_is_for_all(EBUSY));
}

static void test_told(void **state)
{
        static const struct {
                uint64_t s;
                bool waits, refused;
                enum fill_news news;
        } ticks[] = {
                {100, true, false, FILL_NO_NEWS},   {105, false, false, FILL_NO_NEWS},
                {106, true, false, FILL_NO_NEWS},   {115, true, false, FILL_NO_NEWS},
                {116, true, false, FILL_WAITS},     {117, true, false, FILL_NO_NEWS},
                {118, true, true, FILL_NO_NEWS},    {600, true, false, FILL_NO_NEWS},
                {601, false, false, FILL_GOES_ON},  {602, false, false, FILL_NO_NEWS},
                {603, true, true, FILL_REFUSED},    {604, true, true, FILL_NO_NEWS},
                {605, false, false, FILL_GOES_ON},  {606, true, true, FILL_NO_NEWS},
                {607, false, false, FILL_NO_NEWS},  {608, true, false, FILL_NO_NEWS},
                {662, true, false, FILL_NO_NEWS},   {663, true, false, FILL_WAITS},
                {2000, false, false, FILL_GOES_ON},
        };
        struct fill_told told = {0};

        (void)state;
        for (size_t i = 0; i < sizeof ticks / sizeof *ticks; i++) {
                enum fill_news news =
                        fill_told_tick(&told, ticks[i].waits, ticks[i].refused, ticks[i].s * S);

                if (news != ticks[i].news)
                        fail_msg("at %llu s: %d", (unsigned long long)ticks[i].s, (int)news);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pauses),
                cmocka_unit_test(test_tries_end),
                cmocka_unit_test(test_for_all),
                cmocka_unit_test(test_told),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
