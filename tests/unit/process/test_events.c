/* SPDX-License-Identifier: MIT */
/* test_events.c: the queue of the commands of --on-event, with real commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "process/helper_private.h"

/* Waits for the children that run, at most for those. */
static void reap(struct events *e)
{
        while (e->n_running > 0) {
                pid_t pid = waitpid(-1, NULL, 0);

                assert_true(pid > 0);
                events_reap(e, pid);
        }
}

static struct events *new_events(const char *command)
{
        struct events *e = calloc(1, sizeof *e);

        assert_non_null(e);
        e->command = command;
        e->mountpoint = "/nowhere";
        return e;
}

/* Without a command nothing is kept. */
static void test_none(void **state)
{
        struct events *e = new_events(NULL);

        (void)state;
        events_add(e, "{}");
        assert_int_equal(e->n_queued, 0);
        assert_int_equal(events_keep(e, 1), -1);
        free(e);
}

/* What hangs does not let the queue grow without end; what was dropped is counted. */
static void test_bound(void **state)
{
        struct events *e = new_events("kill -STOP $$");

        (void)state;
        for (unsigned i = 0; i < 5000; i++) {
                events_add(e, "{}");
                (void)events_keep(e, 1);
        }
        assert_int_equal(e->n_running, EVENTS_AT_ONCE);
        assert_int_equal(e->n_queued, EVENTS_QUEUED);
        assert_int_equal(e->n_dropped, 5000 - EVENTS_AT_ONCE - EVENTS_QUEUED);
        while (e->n_running > 0) {
                events_signal(e, SIGKILL);
                reap(e);
                if (e->n_queued > EVENTS_QUEUED - 5 * EVENTS_AT_ONCE)
                        (void)events_keep(e, 1);
        }
        while (e->n_queued > 0)
                free(e->queue[(e->first + --e->n_queued) % EVENTS_QUEUED]);
        free(e);
}

/* In the order in which they came, round the ring. */
static void test_order(void **state)
{
        char path[] = "/tmp/magnetfs-test-events-XXXXXX", command[128], line[16], read_back[16];
        int fd = mkstemp(path);
        struct events *e;
        FILE *f;

        (void)state;
        assert_true(fd >= 0);
        close(fd);
        snprintf(command, sizeof command, "echo \"$MAGNETFS_EVENT\" >> %s", path);
        e = new_events(command);
        e->first = EVENTS_QUEUED - 3;
        for (unsigned i = 0; i < 6; i++) {
                snprintf(line, sizeof line, "%u", i);
                events_add(e, line);
                (void)events_keep(e, 1);
                reap(e); /* one at a time: those that run at once have no order */
        }
        f = fopen(path, "re");
        assert_non_null(f);
        for (unsigned i = 0; i < 6; i++) {
                snprintf(line, sizeof line, "%u\n", i);
                assert_non_null(fgets(read_back, sizeof read_back, f));
                assert_string_equal(read_back, line);
        }
        fclose(f);
        unlink(path);
        free(e);
}

/* An hour is the most that a command may take; whoever waits is told when to look again. */
static void test_hour(void **state)
{
        enum { HOUR_MS = 60 * 60 * 1000 };
        struct events *e = new_events("kill -STOP $$");

        (void)state;
        events_add(e, "{}");
        assert_int_equal(events_keep(e, 1000), HOUR_MS);
        assert_int_equal(events_keep(e, 1000 + HOUR_MS - 5), 5);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
        (void)events_keep(e, 1000 + HOUR_MS);
        reap(e);
        free(e);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_none),
                cmocka_unit_test(test_bound),
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_hour),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
