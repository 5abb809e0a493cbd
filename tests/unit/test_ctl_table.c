/* test_ctl_table.c: what magnetctl shows, whatever the torrents are called; and which mounts it
 * finds. */
#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl_mount.h"
#include "ctl_table.h"

#define HASH "0123456789abcdef0123456789abcdef01234567"

static const struct ctl_style wide = {.terminal = true, .utf8 = true, .width = 200};
static const struct ctl_style narrow = {.terminal = true, .utf8 = true, .width = 80};
static const struct ctl_style ascii = {.terminal = true, .utf8 = false, .width = 80};
static const struct ctl_style piped = {.terminal = false, .utf8 = true};

/* ---- text ---- */

static char *put_text(const char *text, size_t columns, const struct ctl_style *style)
{
        char *buf = NULL;
        size_t len = 0, width;
        FILE *out = open_memstream(&buf, &len);

        assert_non_null(out);
        width = ctl_text_put(out, text, columns, style);
        assert_int_equal(fclose(out), 0);
        if (columns)
                assert_true(width <= columns);
        return buf;
}

static void test_text(void **state)
{
        static const struct {
                const char *rule, *text;
                size_t columns;
                const struct ctl_style *style;
                const char *expected;
        } cases[] = {
                {"plain", "clip.mp4", 0, &wide, "clip.mp4"},
                {"empty", "", 5, &wide, ""},
                {"fits exactly", "abcde", 5, &wide, "abcde"},
                {"cut", "abcdef", 5, &wide, "abcd…"},
                {"cut to one", "abcdef", 1, &wide, "…"},
                {"cut, ASCII", "abcdef", 5, &ascii, "abcd~"},
                {"a wide character is two columns", "日本語", 6, &wide, "日本語"},
                {"no half of a wide character", "日本語", 4, &wide, "日…"},
                {"a mark is none", "e\u0301e\u0301e\u0301", 3, &wide, "e\u0301e\u0301e\u0301"},
                {"a mark stays with its letter", "e\u0301e\u0301e\u0301", 2, &wide, "e\u0301…"},
                {"no escape sequence", "a\033[31mb\033]0;title\a", 0, &wide, "a?[31mb?]0;title?"},
                {"nor on a pipe", "a\033[31mb", 0, &piped, "a?[31mb"},
                {"no field or line break", "a\tb\nc\rd", 0, &piped, "a?b?c?d"},
                {"DEL", "a\177b", 0, &piped, "a?b"},
                {"C1 as UTF-8 (CSI)", "a\302\233m", 0, &wide, "a?m"},
                {"C1 on a pipe", "a\302\233m", 0, &piped, "a?m"},
                {"C1 as a byte", "a\233m", 0, &piped, "a?m"},
                {"right-to-left override", "a\u202egpj.exe", 0, &wide, "a?gpj.exe"},
                {"a name stays a name on a pipe", "a\u202egpj", 0, &piped, "a\u202egpj"},
                {"isolate", "a\u2066b", 0, &wide, "a?b"},
                {"line separator", "a\u2028b", 0, &wide, "a?b"},
                {"overlong NUL", "a\300\200b", 0, &wide, "a??b"},
                {"overlong slash", "\340\200\257", 0, &wide, "???"},
                {"surrogate", "\355\240\200", 0, &wide, "???"},
                {"over U+10FFFF", "\364\220\200\200", 0, &wide, "????"},
                {"cut off at the end", "a\343\201", 0, &wide, "a??"},
                {"U+FFFD itself", "\uFFFD", 0, &wide, "\uFFFD"},
                {"not in the terminal's set", "für", 0, &ascii, "f?r"},
                {"astral", "\U0001F3AC", 2, &wide, "\U0001F3AC"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                char *got = put_text(cases[i].text, cases[i].columns, cases[i].style);

                if (strcmp(got, cases[i].expected) != 0)
                        fail_msg("%s: \"%s\", expected \"%s\"", cases[i].rule, got,
                                 cases[i].expected);
                free(got);
        }
}

static void test_size(void **state)
{
        static const struct {
                uint64_t bytes;
                const char *expected;
        } cases[] = {
                {0, "0 B"},
                {1023, "1023 B"},
                {1024, "1.0 KiB"},
                {102399, "99.9 KiB"},
                {102400, "100 KiB"},
                {(1 << 20) - 1, "1023 KiB"}, /* rounded down, never up to 1024 */
                {1 << 20, "1.0 MiB"},
                {21474836480, "20.0 GiB"},
                {UINT64_MAX, "15.9 EiB"},
        };
        char buf[CTL_SIZE_MAX];

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                ctl_size(buf, cases[i].bytes);
                assert_string_equal(buf, cases[i].expected);
                assert_true(strlen(buf) <= 8);
        }
}

static void test_json(void **state)
{
        static const struct {
                const struct ctl_style *style;
                const char *json, *expected;
        } cases[] = {
                {&piped, "{\"a\":\"für\"}", "{\"a\":\"für\"}"},
                {&piped, "\"\302\233\177\"", "\"\\u009b\\u007f\""},
                {&wide, "\"\u202e\"", "\"\\u202e\""},
                {&wide, "\"\377\"", "\"\\ufffd\""},
                {&ascii, "\"\u00fc\"", "\"\\u00fc\""},
                {&ascii, "\"\U0001F3AC\"", "\"\\ud83c\\udfac\""},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                char *buf = NULL;
                size_t len = 0;
                FILE *out = open_memstream(&buf, &len);

                assert_non_null(out);
                ctl_json_put(out, cases[i].json, cases[i].style);
                assert_int_equal(fclose(out), 0);
                assert_string_equal(buf, cases[i].expected);
                free(buf);
        }
}

/* ---- tables ---- */

typedef int table_func(FILE *out, const cJSON *json, const struct ctl_style *style);

static char *render(table_func *table, const char *json, const struct ctl_style *style)
{
        cJSON *parsed = cJSON_Parse(json);
        char *buf = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&buf, &len);

        assert_non_null(out);
        assert_non_null(parsed);
        assert_int_equal(table(out, parsed, style), 0);
        assert_int_equal(fclose(out), 0);
        cJSON_Delete(parsed);
        return buf;
}

/* Every line is within the width, and nothing but the line breaks is a control character. */
static void assert_lines_fit(const char *text, const struct ctl_style *style)
{
        char *copy = strdup(text), *save = NULL;

        assert_non_null(copy);
        for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *clean = put_text(line, 0, style);

                assert_string_equal(clean, line);
                assert_true(ctl_text_width(line, style) <= style->width);
                free(clean);
        }
        free(copy);
}

static size_t count_lines(const char *text)
{
        size_t n = 0;

        for (; *text; text++)
                n += *text == '\n';
        return n;
}

static const char one_awake[] =
        "{\"session\":{\"downloadRate\":2048,\"uploadRate\":0,\"peers\":7,\"dhtNodes\":120},"
        "\"cache\":{\"usedBytes\":1048576,\"limitBytes\":21474836480},\"heartbeatAge\":3,"
        "\"openFiles\":1,\"parkedReads\":2,"
        "\"torrents\":[{\"infoHash\":\"" HASH "\",\"name\":\"Sintel\",\"state\":\"awake\","
        "\"error\":null,\"kept\":true,\"length\":4096,\"haveBytes\":2048,\"progress\":0.5,"
        "\"downloadRate\":2048,\"uploadRate\":0,\"peers\":7,\"seeds\":3,\"readers\":1,"
        "\"parkedReads\":2}]}";

static void test_status_for_people(void **state)
{
        char *got = render(ctl_table_status, one_awake, &wide);

        (void)state;
        assert_string_equal(
                got, "NAME        SIZE  PROGRESS                DOWN          UP  PEERS  SEEDS"
                     "  READ  WAIT  KEPT  STATE\n"
                     "Sintel   4.0 KiB  [####....]   50%   2.0 KiB/s           -      7      3"
                     "     1     2  kept  awake\n"
                     "2.0 KiB/s down, 0 B/s up, 7 peers; "
                     "cache 1.0 MiB of 20.0 GiB; 1 open, 2 waiting; 120 DHT nodes\n");
        free(got);
}

static void test_status_for_programs(void **state)
{
        char *got = render(ctl_table_status, one_awake, &piped);

        (void)state;
        assert_string_equal(got, HASH
                            "\tSintel\tawake\tkept\t4096\t2048\t0.5000\t2048\t0\t7\t3\t1\t2\t-\n");
        free(got);
}

static void test_pending_and_error(void **state)
{
        static const char json[] =
                "{\"torrents\":[{\"infoHash\":\"" HASH "\",\"name\":\"x\",\"state\":\"pending\","
                "\"error\":\"nobody\\u001b[2J had it\",\"kept\":false,\"length\":null,"
                "\"progress\":0}]}";
        char *got = render(ctl_table_status, json, &piped);

        (void)state;
        assert_string_equal(
                got,
                HASH "\tx\tpending\ttemp\t-\t0\t0.0000\t0\t0\t0\t0\t0\t0\tnobody?[2J had it\n");
        free(got);
        got = render(ctl_table_status, json, &narrow);
        assert_non_null(strstr(got, "\n  ! nobody?[2J had it\n"));
        assert_lines_fit(got, &narrow);
        free(got);
}

/* A torrent is complete when it is, not when rounding says so; and nonsense is no crash. */
static void test_progress(void **state)
{
        static const struct {
                const char *progress, *expected;
        } cases[] = {
                {"0.99999", "[#######.]   99%"}, {"1", "[########]  100%"},
                {"0", "[........]    0%"},       {"-5", "[........]    0%"},
                {"1e300", "[########]  100%"},   {"\"x\"", "[........]    0%"},
                {"null", "[........]    0%"},
        };
        char json[256], *got;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                snprintf(json, sizeof(json), "{\"torrents\":[{\"length\":1e300,\"progress\":%s}]}",
                         cases[i].progress);
                got = render(ctl_table_status, json, &wide);
                if (!strstr(got, cases[i].expected))
                        fail_msg("%s: %s", cases[i].progress, got);
                free(got);
        }
}

/* Columns line up behind names of every kind, at every width; the less important go first. */
static void test_widths(void **state)
{
        static const char json[] =
                "{\"torrents\":["
                "{\"name\":\"a\",\"state\":\"awake\",\"length\":1},"
                "{\"name\":\"日本語の長い名前、とても長い名前、もっと長い名前\",\"state\":\"awake\"},"
                "{\"name\":\"e\u0301te\u0301 \U0001F3AC\u202e\\u001b[31m a name that goes on and on and "
                "on\",\"state\":\"a state without end\",\"error\":\"for a reason that is much too long "
                "to be shown on one line of an ordinary terminal of eighty columns\"},"
                "{},{\"name\":7},null]}";

        (void)state;
        for (unsigned width = 20; width < 160; width++) {
                struct ctl_style style = {.terminal = true, .utf8 = true, .width = width};
                char *got = render(ctl_table_status, json, &style), *header;

                assert_lines_fit(got, &style);
                header = strndup(got, strcspn(got, "\n"));
                assert_non_null(header);
                assert_true(strstr(header, "DOWN") || width < 50);
                assert_true(strstr(header, "PROGRESS") || width < 80);
                assert_true(!strstr(header, "SEEDS") || strstr(header, "WAIT"));
                free(header);
                free(got);
        }
}

/* A redraw shows no more lines than the terminal has: the busiest torrents, and how many are left.
 */
static void test_height(void **state)
{
        struct ctl_style style = narrow;
        char *json = NULL, *got;
        size_t len = 0;
        FILE *f = open_memstream(&json, &len);

        (void)state;
        assert_non_null(f);
        fputs("{\"torrents\":[", f);
        for (int i = 0; i < 100; i++)
                fprintf(f, "%s{\"name\":\"t%02d\",\"readers\":%d,\"error\":%s}", i ? "," : "", i,
                        i == 77, i == 3 ? "\"e\"" : "null");
        fputs("]}", f);
        assert_int_equal(fclose(f), 0);

        for (style.height = 3; style.height < 110; style.height++) {
                got = render(ctl_table_status, json, &style);
                assert_true(count_lines(got) <= style.height);
                assert_true(style.height < 4 || strstr(got, "\nt77 "));
                if (style.height < 103)
                        assert_non_null(strstr(got, " more\n"));
                else /* 100 torrents, the error of one, the header, the summary */
                        assert_null(strstr(got, " more\n"));
                free(got);
        }
        free(json);
}

static void test_late_heartbeat(void **state)
{
        char *got = render(ctl_table_status, "{\"torrents\":[],\"heartbeatAge\":65000}", &wide);

        (void)state;
        assert_non_null(strstr(got, "no sign of life for 65 s"));
        free(got);
}

static void test_colour(void **state)
{
        struct ctl_style style = wide;
        char *got;

        (void)state;
        style.colour = true;
        got = render(ctl_table_status, "{\"torrents\":[{\"length\":1,\"progress\":1}]}", &style);
        assert_non_null(strstr(got, "\033[32m  [########]\033[m"));
        free(got);
}

static void test_list(void **state)
{
        static const char json[] =
                "{\"torrents\":[{\"infoHash\":\"" HASH "\",\"name\":\"a\\tb\",\"kept\":true,"
                "\"length\":5000},{\"infoHash\":\"ab\",\"name\":\"c\",\"length\":null}]}";
        char *got = render(ctl_table_list, json, &piped);

        (void)state;
        assert_string_equal(got, HASH "\tkept\t5000\ta?b\nab\ttemp\t-\tc\n");
        free(got);
        got = render(ctl_table_list, json, &narrow);
        assert_string_equal(got,
                            HASH "  kept   4.8 KiB  a?b\n"
                                 "ab                                        temp         -  c\n");
        free(got);
}

static void test_files(void **state)
{
        static const char json[] =
                "{\"files\":[{\"index\":0,\"name\":\"a\",\"path\":\"d/a\\u001b\",\"length\":1024},"
                "{\"index\":1}]}";
        char *got = render(ctl_table_files, json, &piped);

        (void)state;
        assert_string_equal(got, "0\t1024\td/a?\n1\t0\t-\n");
        free(got);
        got = render(ctl_table_files, json, &narrow);
        assert_string_equal(got, "    0   1.0 KiB  d/a?\n    1       0 B  -\n");
        free(got);
}

static void test_not_the_json(void **state)
{
        static const char *const cases[] = {"{}", "[]", "7", "{\"torrents\":{}}", "{\"files\":1}"};

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cJSON *json = cJSON_Parse(cases[i]);

                assert_int_equal(ctl_table_status(stdout, json, &wide), -EBADMSG);
                assert_int_equal(ctl_table_list(stdout, json, &wide), -EBADMSG);
                assert_int_equal(ctl_table_files(stdout, json, &wide), -EBADMSG);
                cJSON_Delete(json);
        }
        assert_int_equal(ctl_table_status(stdout, NULL, &wide), -EBADMSG);
        assert_int_equal(ctl_table_files(stdout, NULL, &wide), -EBADMSG);
}

/* ---- mountinfo ---- */

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
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_size),
                cmocka_unit_test(test_json),
                cmocka_unit_test(test_status_for_people),
                cmocka_unit_test(test_status_for_programs),
                cmocka_unit_test(test_pending_and_error),
                cmocka_unit_test(test_progress),
                cmocka_unit_test(test_widths),
                cmocka_unit_test(test_height),
                cmocka_unit_test(test_late_heartbeat),
                cmocka_unit_test(test_colour),
                cmocka_unit_test(test_list),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_not_the_json),
                cmocka_unit_test(test_mountinfo),
        };

        if (!setlocale(LC_CTYPE, "C.UTF-8")) {
                fputs("The locale C.UTF-8 is missing\n", stderr);
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
