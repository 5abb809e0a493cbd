/* SPDX-License-Identifier: MIT */
/* test_helper.c: zygote and helper as processes, on a plain folder: one whose mount is gone. What
 * they do in a mount is for tests/e2e/test_helper.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "process/helper.h"

enum { WAIT_MS = 10000, STOP_MS = 5000 };

struct fixture {
        char folder[64];
        struct helper_options options;
        int fd;
        pid_t zygote, helper;
};

/* The next message of that type; others are none of the test's. */
static struct helper_message expect(struct fixture *f, enum helper_type type)
{
        struct helper_message m;

        for (;;) {
                struct pollfd p = {.fd = f->fd, .events = POLLIN};

                assert_int_equal(poll(&p, 1, WAIT_MS), 1);
                assert_int_equal(helper_receive(f->fd, &m), 0);
                if (m.type == type)
                        return m;
        }
}

static void greet(struct fixture *f)
{
        f->helper = (pid_t)expect(f, HELPER_BACK).number;
        assert_int_equal(helper_send(f->fd, HELPER_KNOWN, (uint32_t)f->helper, NULL), 0);
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof *f);

        if (!f)
                return -1;
        strcpy(f->folder, "/tmp/magnetfs-test-helper-XXXXXX");
        if (!mkdtemp(f->folder))
                return -1;
        f->options.mountpoint = f->folder;
        *state = f;
        return helper_start(&f->options, &f->fd, &f->zygote);
}

static int teardown(void **state)
{
        struct fixture *f = *state;
        int r;

        helper_stop(f->fd, f->zygote, f->helper, STOP_MS);
        r = f->helper > 0 && kill(f->helper, 0) == 0 ? -1 : 0;
        if (rmdir(f->folder) < 0)
                r = -1;
        free(f);
        return r;
}

static void path_of(const struct fixture *f, const char *name, char out[128])
{
        snprintf(out, 128, "%s/%s", f->folder, name);
}

/* Nobody reads for a while: answers wait, none is lost, and the helper goes on. */
static void test_answers(void **state)
{
        enum { MANY = 1000 };
        struct fixture *f = *state;
        uint32_t sent = 0, got = 0;
        char name[16];

        greet(f);
        while (sent < MANY) {
                struct pollfd p = {.fd = f->fd, .events = POLLOUT};

                snprintf(name, sizeof name, "%u", sent);
                if (helper_send(f->fd, HELPER_ANNOUNCE, sent, name) == 0)
                        sent++;
                else
                        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        }
        for (; got < MANY; got++) {
                struct helper_message m = expect(f, HELPER_ANNOUNCE);

                assert_int_equal(m.number, got);
                assert_int_equal(m.err, ENOTCONN);
        }
}

/* What was asked of a helper that was killed is not done by the next one, which the mount does not
 * know yet; its commands are. */
static void test_killed(void **state)
{
        struct fixture *f = *state;
        pid_t old;

        greet(f);
        for (unsigned round = 0; round < 3; round++) {
                old = f->helper;
                assert_int_equal(kill(old, SIGSTOP), 0);
                assert_int_equal(helper_send(f->fd, HELPER_ANNOUNCE, 1, "old"), 0);
                assert_int_equal(kill(old, SIGKILL), 0);
                (void)expect(f, HELPER_GONE);
                greet(f);
                assert_int_not_equal(f->helper, old);
                assert_int_equal(helper_send(f->fd, HELPER_ANNOUNCE, 2, "new"), 0);
                assert_int_equal(expect(f, HELPER_ANNOUNCE).number, 2);
                assert_int_equal(helper_send(f->fd, HELPER_REMOVE, 3, "new"), 0);
                assert_int_equal(expect(f, HELPER_REMOVE).number, 3);
        }
}

/* Nothing is made there, and nothing goes. */
static void test_no_mount(void **state)
{
        struct fixture *f = *state;
        struct stat st;
        char theirs[128], ours[128];

        path_of(f, "theirs", theirs);
        path_of(f, "ours", ours);
        assert_int_equal(mkdir(theirs, 0700), 0);
        greet(f);
        assert_int_equal(helper_send(f->fd, HELPER_REMOVE, 7, "theirs"), 0);
        assert_int_equal(expect(f, HELPER_REMOVE).err, ENOTCONN);
        assert_int_equal(helper_send(f->fd, HELPER_ANNOUNCE, 7, "ours"), 0);
        assert_int_equal(expect(f, HELPER_ANNOUNCE).err, ENOTCONN);
        assert_int_equal(stat(ours, &st), -1);
        assert_int_equal(rmdir(theirs), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_mount, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
