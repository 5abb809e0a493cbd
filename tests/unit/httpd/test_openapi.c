/* test_openapi.c: what becomes of routes in the document; the real ones are test_openapi.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "openapi.h"

static const struct openapi_route routes[] = {
        {.method = "GET", .pattern = "/torrents", .summary = "All", .head = true, .mount = true},
        {.method = "GET", .pattern = "/add/*", .summary = "Add", .changes = true, .mount = true},
        {.method = "PROPFIND", .pattern = "/dav/*", .summary = "Browse"},
        {.method = "GET", .pattern = "/dav/*", .summary = "A file", .head = true},
        {.method = "GET", .pattern = "/healthz", .summary = "Health", .open = true},
        {.method = "GET", .pattern = "/new", .summary = "Nobody knows of it"},
};

static cJSON *make(bool token)
{
        cJSON *document = openapi_make(routes, sizeof routes / sizeof routes[0], token);

        assert_non_null(document);
        return document;
}

/* A member of a member …: names end with NULL. */
static const cJSON *at(const cJSON *json, ...)
{
        const char *name;
        va_list ap;

        va_start(ap, json);
        while ((name = va_arg(ap, const char *)))
                json = cJSON_GetObjectItemCaseSensitive(json, name);
        va_end(ap);
        return json;
}

static void test_paths_are_those_of_routes(void **state)
{
        cJSON *d = make(false);
        const cJSON *paths = at(d, "paths", NULL);

        (void)state;
        assert_int_equal(cJSON_GetArraySize(paths), 5);
        assert_string_equal(
                cJSON_GetStringValue(at(paths, "/add/{magnet}", "get", "summary", NULL)), "Add");
        assert_null(at(paths, "/add/{magnet}", "head", NULL));
        assert_non_null(at(paths, "/dav/{path}", "x-propfind", "responses", "400", NULL));
        assert_non_null(at(paths, "/dav/{path}", "get", "responses", "206", NULL));
        assert_non_null(at(paths, "/new", "get", "responses", "421", NULL));
        assert_null(at(d, "x-answers", NULL));
        cJSON_Delete(d);
}

static void test_a_head_is_a_get_without_a_body(void **state)
{
        cJSON *d = make(false);
        const cJSON *item = at(d, "paths", "/torrents", NULL);

        (void)state;
        assert_non_null(at(item, "get", "responses", "200", "content", NULL));
        assert_non_null(at(item, "head", "responses", "200", NULL));
        assert_null(at(item, "head", "responses", "200", "content", NULL));
        assert_string_equal(cJSON_GetStringValue(at(item, "head", "operationId", NULL)),
                            "listTorrentsHead");
        cJSON_Delete(d);
}

static void test_answers_are_those_of_the_kind_of_route(void **state)
{
        cJSON *d = make(false);
        const cJSON *paths = at(d, "paths", NULL);

        (void)state;
        assert_non_null(at(paths, "/add/{magnet}", "get", "responses", "403", NULL));
        assert_non_null(at(paths, "/add/{magnet}", "get", "responses", "504", NULL));
        assert_null(at(paths, "/torrents", "get", "responses", "403", NULL));
        assert_non_null(at(paths, "/torrents", "get", "responses", "507", NULL));
        assert_null(at(paths, "/new", "get", "responses", "507", NULL));
        cJSON_Delete(d);
}

static void test_a_token_is_told_where_one_is_needed(void **state)
{
        cJSON *with = make(true), *without = make(false);

        (void)state;
        assert_int_equal(cJSON_GetArraySize(at(with, "security", NULL)), 2);
        assert_string_equal(cJSON_GetStringValue(at(with, "components", "securitySchemes", "bearer",
                                                    "scheme", NULL)),
                            "bearer");
        assert_non_null(at(with, "components", "securitySchemes", "query", NULL));
        assert_non_null(at(with, "paths", "/torrents", "get", "responses", "401", NULL));
        assert_true(cJSON_IsArray(at(with, "paths", "/healthz", "get", "security", NULL)));
        assert_null(at(with, "paths", "/healthz", "get", "responses", "401", NULL));
        assert_null(at(without, "security", NULL));
        assert_null(at(without, "paths", "/healthz", "get", "security", NULL));
        assert_null(at(without, "components", "securitySchemes", NULL));
        assert_null(at(without, "paths", "/torrents", "get", "responses", "401", NULL));
        cJSON_Delete(with);
        cJSON_Delete(without);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_paths_are_those_of_routes),
                cmocka_unit_test(test_a_head_is_a_get_without_a_body),
                cmocka_unit_test(test_answers_are_those_of_the_kind_of_route),
                cmocka_unit_test(test_a_token_is_told_where_one_is_needed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
