/* test_backoff.c: when a sidecar that has died is started again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/clock.h"
#include "process/helper_private.h"

/* No process has this number: pid_max is below. */
enum { PID = 1 << 30 };
enum { FIRST_MS = 100, MOST_MS = 20000, HEALTHY_MS = 61000 };

static void tell(void *arg, int err)
{
        *(int *)arg = err;
}

/* It dies after it has run for so long. Returns the pause before the next start. */
static uint64_t die(struct sidecar *s, uint64_t ran_ms)
{
        uint64_t now = clock_ms();

        s->pid = PID;
        s->started_ms = now - ran_ms;
        assert_true(sidecar_reap(s, PID, SIGKILL));
        assert_true(s->wanted);
        return s->restart_at_ms - now;
}

static void test_back_off(void **state)
{
        char *const argv[] = {(char *)"/nonexistent", NULL};
        const struct helper_options options = {.sidecar = argv};
        uint64_t pause = 0, next;
        struct sidecar s;
        int told = 0;

        (void)state;
        sidecar_init(&s, &options, tell, &told);
        s.wanted = s.listened = true;
        /* Kill after kill it waits longer, up to a bound … */
        assert_in_range(die(&s, 10), FIRST_MS, FIRST_MS + 50);
        assert_int_not_equal(told, 0);
        for (unsigned i = 0; i < 20; i++) {
                next = die(&s, 10);
                assert_true(next + 50 >= pause);
                pause = next;
        }
        assert_in_range(pause, 1000, MOST_MS);
        /* … a short life changes nothing, a minute of health makes it forget. */
        assert_in_range(die(&s, HEALTHY_MS / 2), 1000, MOST_MS);
        assert_in_range(die(&s, HEALTHY_MS), FIRST_MS, FIRST_MS + 50);
        assert_in_range(die(&s, 10), 2 * FIRST_MS, 2 * FIRST_MS + 50);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_back_off)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
