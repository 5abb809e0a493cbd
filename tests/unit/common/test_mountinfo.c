/* test_mountinfo.c: lines of /proc/self/mountinfo, as the kernel writes them and as it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/mountinfo.h"

static void test_lines(void **state)
{
        static const struct {
                const char *line;
                struct mountinfo is;
        } good[] = {
                {"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n",
                 {"98:0", "/mnt1", "/mnt2", "ext3"}},
                {"40 1 0:50 / /a\\040b\\011c\\012d\\134e\\043 rw - fuse.magnetfs magnetfs rw",
                 {"0:50", "/", "/a b\tc\nd\\e#", MOUNTINFO_MAGNETFS}},
                {"40 1 0:50 / /m rw shared:1 master:2 propagate_from:3 - tmpfs tmpfs rw\n",
                 {"0:50", "/", "/m", "tmpfs"}},
                {"40 1 0:50 / /\\400\\0a\\08 rw - tmpfs - rw",
                 {"0:50", "/", "/\\400\\0a\\08", "tmpfs"}},
                {"40 1 0:50 / /m\\04 rw - tmpfs", {"0:50", "/", "/m\\04", "tmpfs"}},
        };
        static const char *const bad[] = {"",
                                          "\n",
                                          "36 35 98:0 /",
                                          "36 35 98:0 / /m rw",
                                          "36 35 98:0 / /m rw - ",
                                          "36 35 98:0 / /m rw shared:1\n"};
        char line[256];
        struct mountinfo m;

        (void)state;
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
                strcpy(line, good[i].line);
                assert_true(mountinfo_split(line, &m));
                assert_string_equal(m.device, good[i].is.device);
                assert_string_equal(m.root, good[i].is.root);
                assert_string_equal(m.dir, good[i].is.dir);
                assert_string_equal(m.type, good[i].is.type);
        }
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                strcpy(line, bad[i]);
                assert_false(mountinfo_split(line, &m));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
