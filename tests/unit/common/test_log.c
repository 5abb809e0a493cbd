/* test_log.c: what the three programs write to stderr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/log.h"

enum { ROOM = 4096 };

/* stderr while a test writes to it: a pipe of packets keeps writes apart. */
struct capture {
        int pipe[2], stderr_fd;
};

static void begin(struct capture *c)
{
        assert_int_equal(pipe2(c->pipe, O_CLOEXEC | O_NONBLOCK | O_DIRECT), 0);
        c->stderr_fd = dup(STDERR_FILENO);
        assert_true(c->stderr_fd >= 0);
        assert_true(dup2(c->pipe[1], STDERR_FILENO) >= 0);
}

/* What the next write was, without its newline and what stands before the level; "" when there was
 * none. */
static const char *next(struct capture *c, char line[ROOM])
{
        char start[64];
        ssize_t n = read(c->pipe[0], line, ROOM - 1);

        line[n > 0 ? n : 0] = '\0';
        if (n <= 0)
                return "";
        if (line[n - 1] != '\n')
                return "a line without its end";
        line[n - 1] = '\0';
        snprintf(start, sizeof start, "test[%d]: ", (int)getpid());
        return strncmp(line, start, strlen(start)) == 0 ? line + strlen(start) : line;
}

static void end(struct capture *c)
{
        (void)dup2(c->stderr_fd, STDERR_FILENO);
        close(c->stderr_fd);
        close(c->pipe[0]);
        close(c->pipe[1]);
}

static void test_one_message_is_one_line(void **state)
{
        static const struct {
                const char *rule, *text, *line;
        } cases[] = {
                {"as it is", "text", "info: text"},
                {"no line of its own", "a\nb[1]: error: c", "info: a?b[1]: error: c"},
                {"no escape sequence", "\x1b[2J\x7f", "info: ?[2J?"},
                {"C1, as UTF-8 and as a byte", "\xc2\x9b|\x9b|", "info: ?|?|"},
                {"what turns the text around",
                 "a\xe2\x80\xae"
                 "b\xef\xbb\xbf",
                 "info: a?b?"},
                {"UTF-8 stays", "Lied \xc3\xbc\xf0\x9f\x8e\xac",
                 "info: Lied \xc3\xbc\xf0\x9f\x8e\xac"},
                {"a character that is cut", "\xe2\x82", "info: ??"},
        };
        char line[ROOM];
        struct capture c;

        (void)state;
        log_open("test", LOG_LEVEL_INFO);
        begin(&c);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                const char *got;

                log_info("%s", cases[i].text);
                got = next(&c, line);
                if (strcmp(got, cases[i].line) != 0) {
                        end(&c);
                        fail_msg("%s: \"%s\"", cases[i].rule, got);
                }
        }
        end(&c);
}

static void test_a_long_line_is_cut_and_still_ends(void **state)
{
        char text[ROOM], line[ROOM];
        struct capture c;
        const char *got;
        size_t len;

        (void)state;
        memset(text, 'x', sizeof text - 1);
        text[sizeof text - 1] = '\0';
        log_open("test", LOG_LEVEL_INFO);
        begin(&c);
        log_info("%s", text);
        got = next(&c, line);
        len = strlen(line);
        end(&c);
        assert_int_equal(len, 1022);
        assert_memory_equal(got, "info: xxxxx", 11);
}

static void test_levels(void **state)
{
        enum log_level level = LOG_LEVEL_DEBUG;
        char line[ROOM], first[ROOM], second[ROOM], third[ROOM];
        struct capture c;

        (void)state;
        assert_true(log_level_parse("warning", &level));
        assert_int_equal(level, LOG_LEVEL_WARNING);
        assert_false(log_level_parse("warn", &level) || log_level_parse("", &level));
        assert_int_equal(level, LOG_LEVEL_WARNING);
        for (enum log_level l = LOG_LEVEL_ERROR; l <= LOG_LEVEL_DEBUG; l++)
                assert_true(log_level_parse(log_level_name(l), &level) && level == l);

        log_open("test", LOG_LEVEL_WARNING);
        begin(&c);
        log_info("left out");
        strcpy(first, next(&c, line));
        log_warning("told");
        strcpy(second, next(&c, line));
        log_relay("other[1]: info: as it is");
        strcpy(third, next(&c, line));
        end(&c);
        assert_string_equal(first, "");
        assert_string_equal(second, "warning: told");
        assert_string_equal(third, "other[1]: info: as it is");
}

static void test_errno(void **state)
{
        char line[ROOM], first[ROOM], second[ROOM], third[ROOM];
        int kept[3], r[3];
        struct capture c;

        (void)state;
        log_open("test", LOG_LEVEL_ERROR);
        begin(&c);
        errno = EEXIST;
        log_error("%m");
        kept[0] = errno;
        strcpy(first, next(&c, line));
        errno = EEXIST;
        r[0] = log_error_errno(-ENOENT, "Cannot open it: %m");
        kept[1] = errno;
        strcpy(second, next(&c, line));
        errno = EEXIST;
        r[1] = log_error_errno(ENOSPC, "%m");
        r[2] = log_info_errno(-EIO, "left out");
        kept[2] = errno;
        strcpy(third, next(&c, line));
        end(&c);
        assert_string_equal(first, "error: File exists");
        assert_string_equal(second, "error: Cannot open it: No such file or directory");
        assert_string_equal(third, "error: No space left on device");
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(kept[i], EEXIST);
        assert_int_equal(r[0], -ENOENT);
        assert_int_equal(r[1], -ENOSPC);
        assert_int_equal(r[2], -EIO);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one_message_is_one_line),
                cmocka_unit_test(test_a_long_line_is_cut_and_still_ends),
                cmocka_unit_test(test_levels),
                cmocka_unit_test(test_errno),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
