/* test_ctl_table.c: what magnetctl shows, whatever the torrents are called. */
#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/ctl_table.h"
#include "ctl_put_text.h"

#define HASH "0123456789abcdef0123456789abcdef01234567"

static const struct ctl_style wide = {.terminal = true, .utf8 = true, .width = 200};
static const struct ctl_style narrow = {.terminal = true, .utf8 = true, .width = 80};
static const struct ctl_style piped = {.terminal = false, .utf8 = true};

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
                     "Sintel   4.0 KiB  [████    ]   50%   2.0 KiB/s           -      7      3"
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
                const char *progress, *utf8, *ascii;
        } cases[] = {
                {"0.99999", "[███████▉]   99%", "[#######.]   99%"},
                {"1", "[████████]  100%", "[########]  100%"},
                {"0", "[        ]    0%", "[........]    0%"},
                {"0.0001", "[        ]    0%", "[........]    0%"},
                {"0.016", "[▏       ]    1%", "[........]    1%"},
                {"0.3", "[██▍     ]   30%", "[##......]   30%"},
                {"0.5", "[████    ]   50%", "[####....]   50%"},
                {"-5", "[        ]    0%", "[........]    0%"},
                {"1e300", "[████████]  100%", "[########]  100%"},
                {"\"x\"", "[        ]    0%", "[........]    0%"},
                {"null", "[        ]    0%", "[........]    0%"},
        };
        const struct ctl_style wide_ascii = {.terminal = true, .width = 200};
        char json[256], *got;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                snprintf(json, sizeof(json), "{\"torrents\":[{\"length\":1e300,\"progress\":%s}]}",
                         cases[i].progress);
                got = render(ctl_table_status, json, &wide);
                if (!strstr(got, cases[i].utf8))
                        fail_msg("%s: %s", cases[i].progress, got);
                free(got);
                got = render(ctl_table_status, json, &wide_ascii);
                if (!strstr(got, cases[i].ascii))
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

/* A number that has no room is not cut, which would be another number. */
static void test_large_counts(void **state)
{
        static const char json[] =
                "{\"torrents\":[{\"name\":\"x\",\"peers\":100000,\"seeds\":99999,\"readers\":10000,"
                "\"parkedReads\":9999}]}";
        char *got = render(ctl_table_status, json, &wide);

        (void)state;
        assert_non_null(strstr(got, "   >99k  99999   >9k  9999  temp"));
        free(got);
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
        assert_non_null(strstr(got, "\033[32m  [████████]\033[m"));
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
                            "HASH                                      KEPT      SIZE  NAME\n" HASH
                            "  kept   4.8 KiB  a?b\n"
                            "ab                                        temp         -  c\n");
        free(got);
        got = render(ctl_table_list, "{\"torrents\":[]}", &narrow);
        assert_non_null(strstr(got, "magnetctl add"));
        free(got);
        got = render(ctl_table_list, "{\"torrents\":[]}", &piped);
        assert_string_equal(got, "");
        free(got);
}

static void test_list_json(void **state)
{
        cJSON *status = cJSON_Parse(one_awake), *list = ctl_table_list_json(status);
        char *text = cJSON_PrintUnformatted(list);

        (void)state;
        assert_string_equal(text, "{\"torrents\":[{\"infoHash\":\"" HASH
                                  "\",\"name\":\"Sintel\",\"kept\":true,\"length\":4096}]}");
        cJSON_free(text);
        cJSON_Delete(list);
        cJSON_Delete(status);
        assert_null(ctl_table_list_json(NULL));
        status = cJSON_Parse("{\"torrents\":[7,null,{}]}");
        list = ctl_table_list_json(status);
        text = cJSON_PrintUnformatted(list);
        assert_string_equal(text, "{\"torrents\":[{},{},{}]}");
        cJSON_free(text);
        cJSON_Delete(list);
        cJSON_Delete(status);
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
        assert_string_equal(got,
                            "INDEX      SIZE  PATH\n    0   1.0 KiB  d/a?\n    1       0 B  -\n");
        free(got);
}

#define OTHER "fedcba9876543210fedcba9876543210fedcba98"

static const char cache_json[] =
        "{\"usedBytes\":3145728,\"limitBytes\":21474836480,\"minFreeBytes\":1073741824,"
        "\"freeBytes\":5368709120,\"evictedBytes\":1024,\"evictedPieces\":1,\"torrents\":["
        "{\"infoHash\":\"" HASH "\",\"name\":\"Sintel\",\"state\":\"awake\",\"haveBytes\":4096,"
        "\"pinned\":\"part\",\"usedAt\":1700000000},"
        "{\"infoHash\":\"00\",\"name\":\"a\\u001b[2Jb\",\"haveBytes\":-1,\"pinned\":true,"
        "\"usedAt\":1e300},"
        "{\"infoHash\":\"" OTHER "\",\"name\":\"Show S01\",\"state\":\"asleep\","
        "\"haveBytes\":2097152,\"pinned\":false,\"usedAt\":0}],"
        "\"next\":[{\"infoHash\":\"" OTHER "\",\"name\":\"Show S01\",\"bytes\":1024},"
        "{\"infoHash\":\"" HASH "\",\"name\":\"Sintel\",\"bytes\":2048},"
        "{\"infoHash\":\"" OTHER "\",\"name\":\"Show S01\",\"bytes\":1024}]}";

/* The largest is first; what goes of a torrent in parts is one number. */
static void test_cache(void **state)
{
        char *got;

        (void)state;
        setenv("TZ", "UTC", 1);
        got = render(ctl_table_cache, cache_json, &narrow);
        assert_string_equal(got, "    HERE      NEXT  PINNED  STATE    USED              NAME\n"
                                 " 2.0 MiB   2.0 KiB  -       asleep   -                 Show S01\n"
                                 " 4.0 KiB   2.0 KiB  part    awake    2023-11-14 22:13  Sintel\n"
                                 "     0 B         -  yes     -        -                 a?[2Jb\n"
                                 "first to go: Show S01, Sintel, Show S01\n"
                                 "3.0 MiB of 20.0 GiB used; disk: 5.0 GiB free (min 1.0 GiB); "
                                 "1.0 KiB evicted\n");
        assert_lines_fit(got, &narrow);
        free(got);
        got = render(ctl_table_cache, cache_json, &piped);
        assert_string_equal(got, OTHER "\t2097152\t2048\t-\tasleep\t0\tShow S01\n" HASH
                                       "\t4096\t2048\tpart\tawake\t1700000000\tSintel\n"
                                       "00\t0\t0\tyes\t-\t18446744073709551615\ta?[2Jb\n");
        free(got);
        got = render(ctl_table_cache, "{\"torrents\":[]}", &narrow);
        assert_int_equal(count_lines(got), 1);
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
                assert_int_equal(ctl_table_cache(stdout, json, &wide), -EBADMSG);
                cJSON_Delete(json);
        }
        assert_int_equal(ctl_table_status(stdout, NULL, &wide), -EBADMSG);
        assert_int_equal(ctl_table_files(stdout, NULL, &wide), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_status_for_people),
                cmocka_unit_test(test_status_for_programs),
                cmocka_unit_test(test_pending_and_error),
                cmocka_unit_test(test_progress),
                cmocka_unit_test(test_widths),
                cmocka_unit_test(test_height),
                cmocka_unit_test(test_large_counts),
                cmocka_unit_test(test_late_heartbeat),
                cmocka_unit_test(test_colour),
                cmocka_unit_test(test_list),
                cmocka_unit_test(test_list_json),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_cache),
                cmocka_unit_test(test_not_the_json),
        };

        if (!setlocale(LC_CTYPE, "C.UTF-8")) {
                fputs("The locale C.UTF-8 is missing\n", stderr);
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
