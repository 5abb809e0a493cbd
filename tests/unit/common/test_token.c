/* test_token.c: which words are tokens, where they may stand, and how they are compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/token.h"

#define N(a) (sizeof(a) / sizeof *(a))
#define GOOD "0123456789abcdef"
#define S64  GOOD GOOD GOOD GOOD
#define S256 S64 S64 S64 S64

static char path[] = "/tmp/test_token-XXXXXX";

static int make_file(void **state)
{
        int fd = mkstemp(path);

        (void)state;
        return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
        (void)state;
        return unlink(path);
}

static void put(const char *text, size_t len, mode_t mode)
{
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, len), (ssize_t)len);
        assert_int_equal(fchmod(fd, mode), 0);
        close(fd);
}

static void test_text(void **state)
{
        static const struct {
                const char *rule, *text, *expected; /* NULL: refused */
        } cases[] = {
                {"the least", GOOD, GOOD},
                {"a line", GOOD "\n", GOOD},
                {"blanks around", " \t" GOOD " \r\n", GOOD},
                {"only the first line", GOOD "\nand a remark", GOOD},
                {"all that URLs take", "-._~ABCxyz0123456789", "-._~ABCxyz0123456789"},
                {"the most", S256 "\n", S256},
                {"too short", "0123456789abcde\n", NULL},
                {"too long", S256 "0\n", NULL},
                {"empty", "", NULL},
                {"an empty first line", "\n" GOOD, NULL},
                {"a blank within", "01234567 89abcdef", NULL},
                {"what a query would cut", "0123456789abcde&", NULL},
                {"what a query would decode", "0123456789abc%41", NULL},
                {"what a query may turn into a blank", "0123456789abcde+", NULL},
                {"what a header would end", "0123456789abcde\r", NULL},
                {"UTF-8", "0123456789abcde\xc3\xa9", NULL},
        };

        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                char token[TOKEN_MAX + 1] = "untouched";
                const char *why = NULL;
                int r;

                put(cases[i].text, strlen(cases[i].text), 0600);
                r = token_read_file(path, token, &why);
                if (cases[i].expected ? r != 0 || strcmp(token, cases[i].expected) != 0
                                      : r != -EINVAL || !why || strcmp(token, "untouched") != 0)
                        fail_msg("%s: %d", cases[i].rule, r);
        }
}

static void test_mode(void **state)
{
        static const struct {
                mode_t mode;
                bool ok;
        } cases[] = {{0600, true},  {0400, true},  {0440, true},  {0640, true},  {0604, false},
                     {0644, false}, {0660, false}, {0602, false}, {0601, false}, {0620, false}};

        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                char token[TOKEN_MAX + 1];
                const char *why = NULL;
                int r;

                put(GOOD, strlen(GOOD), cases[i].mode);
                r = token_read_file(path, token, &why);
                if (r != (cases[i].ok ? 0 : -EINVAL) || !why != cases[i].ok)
                        fail_msg("%o: %d", (unsigned)cases[i].mode, r);
        }
}

static void test_no_file(void **state)
{
        char token[TOKEN_MAX + 1];
        const char *why = NULL;

        (void)state;
        assert_int_equal(token_read_file("/nonexistent/token", token, &why), -ENOENT);
        assert_int_equal(token_read_file("/dev/null", token, &why), -EINVAL);
        assert_non_null(why);
}

static void test_made(void **state)
{
        char first[TOKEN_MAX + 1], second[TOKEN_MAX + 1], read_back[TOKEN_MAX + 1];
        const char *why = NULL;
        int fd;

        (void)state;
        assert_int_equal(token_make(first), 0);
        assert_int_equal(token_make(second), 0);
        assert_int_equal(strlen(first), 32);
        assert_string_not_equal(first, second);
        assert_int_equal(token_to_fd(first, &fd), 0);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(token_read_fd(fd, read_back, &why), 0);
        assert_string_equal(first, read_back);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_compare(void **state)
{
        static const struct {
                const char *given;
                bool same;
        } cases[] = {{GOOD, true},
                     {"0123456789abcdeF", false},
                     {"1123456789abcdef", false},
                     {"0123456789abcde", false},
                     {GOOD "0", false},
                     {GOOD GOOD, false},
                     {"0", false},
                     {"", false}};

        (void)state;
        for (size_t i = 0; i < N(cases); i++)
                if (token_is(GOOD, cases[i].given, strlen(cases[i].given)) != cases[i].same)
                        fail_msg("%s", cases[i].given);
        assert_true(token_is(GOOD, GOOD "&more", strlen(GOOD)));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),    cmocka_unit_test(test_mode),
                cmocka_unit_test(test_no_file), cmocka_unit_test(test_made),
                cmocka_unit_test(test_compare),
        };

        return cmocka_run_group_tests(tests, make_file, remove_file);
}
