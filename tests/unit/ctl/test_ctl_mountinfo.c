/* test_ctl_mountinfo.c: which mounts magnetctl finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/ctl_mountinfo.h"

static void test_mountinfo(void **state)
{
        static const struct {
                const char *rule, *text, *expected; /* joined by | */
        } cases[] = {
                {"none", "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n", ""},
                {"one", "40 22 0:50 / /mnt/m rw,nosuid - fuse.magnetfs magnetfs rw\n", "/mnt/m"},
                {"optional fields",
                 "40 22 0:50 / /m rw shared:7 master:2 - fuse.magnetfs magnetfs rw\n", "/m"},
                {"no last line break", "40 22 0:50 / /m rw - fuse.magnetfs magnetfs rw", "/m"},
                {"escapes", "40 22 0:50 / /a\\040b\\011c\\012d\\134040 rw - fuse.magnetfs x rw\n",
                 "/a b\tc\nd\\040"},
                {"no escapes", "40 22 0:50 / /a\\9\\4x\\ rw - fuse.magnetfs x rw\n", "/a\\9\\4x\\"},
                {"another type", "40 22 0:50 / /m rw - fuse.magnetfs2 x rw\n", ""},
                {"another type of which the source looks like it",
                 "40 22 0:50 / /m rw - fuse.x fuse.magnetfs rw\n", ""},
                {"two",
                 "40 22 0:50 / /a rw - fuse.magnetfs x rw\n41 22 0:51 / /b rw - fuse.magnetfs x rw\n",
                 "/a|/b"},
                {"one file system at two places",
                 "40 22 0:50 / /a rw - fuse.magnetfs x rw\n41 22 0:50 / /b rw - fuse.magnetfs x rw\n",
                 "/a"},
                {"one over another",
                 "40 22 0:50 / /a rw - fuse.magnetfs x rw\n41 40 0:51 / /a rw - fuse.magnetfs x rw\n",
                 "/a"},
                {"a part of it elsewhere", "40 22 0:50 /Sintel /a rw - fuse.magnetfs x rw\n", ""},
                {"cut off", "40 22 0:50 / /a rw\n40 22 0:50\n\n-\n40 22 0:5 / /a rw -\n", ""},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                char **dirs, joined[256] = "";
                size_t n = 99, k = 0;

                assert_int_equal(ctl_mountinfo_parse(cases[i].text, &dirs, &n), 0);
                for (; dirs[k]; k++) {
                        if (k)
                                strcat(joined, "|");
                        strcat(joined, dirs[k]);
                }
                assert_int_equal(k, n);
                if (strcmp(joined, cases[i].expected) != 0)
                        fail_msg("%s: %s, expected %s", cases[i].rule, joined, cases[i].expected);
                ctl_mountinfo_free(dirs);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_mountinfo),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
