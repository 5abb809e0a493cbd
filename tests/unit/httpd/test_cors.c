/* test_cors.c: what answers say to pages of other origins (Fetch standard, "CORS protocol"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cors.h"

#define APP "https://app.example"

static const char *const origins[] = {APP, "http://localhost:5173"};
static const struct guard_rules none = {0}, any = {.any_streams = true},
                                listed = {.origins = origins, .origin_count = 2},
                                both = {.origins = origins, .origin_count = 2, .any_streams = true};
static const struct cors_preflight asks = {"GET, POST", false}, asks_network = {"GET, POST", true};

struct cors_case {
        const char *rule;
        const struct guard_rules *rules;
        const char *origin, *referer;
        bool is_file;
        const struct cors_preflight *preflight;
        /* what is expected; NULL: no such line */
        const char *policy, *vary, *allowed, *methods, *network;
};

static const struct cors_case cases[] = {
        {"nothing is listed", &none, APP, NULL, true, NULL, "same-origin", NULL, NULL, NULL, NULL},
        {"no page asks", &listed, NULL, NULL, true, NULL, "same-origin", "Origin", NULL, NULL,
         NULL},
        {"a listed page", &listed, APP, NULL, false, NULL, "cross-origin", "Origin", APP, NULL,
         NULL},
        {"a listed page reads a file", &listed, APP, NULL, true, NULL, "cross-origin", "Origin",
         APP, NULL, NULL},
        {"another listed page", &listed, "http://localhost:5173", NULL, false, NULL, "cross-origin",
         "Origin", "http://localhost:5173", NULL, NULL},
        {"a listed page embeds: no Origin, so no CORS", &listed, NULL, APP "/x", true, NULL,
         "cross-origin", "Origin", NULL, NULL, NULL},
        {"a page that is not listed", &listed, "https://evil.example", NULL, true, NULL,
         "same-origin", "Origin", NULL, NULL, NULL},
        {"… whose origin begins like one", &listed, APP ".evil", NULL, true, NULL, "same-origin",
         "Origin", NULL, NULL, NULL},
        {"… on another port", &listed, APP ":444", NULL, true, NULL, "same-origin", "Origin", NULL,
         NULL, NULL},
        {"… by another scheme", &listed, "http://app.example", NULL, true, NULL, "same-origin",
         "Origin", NULL, NULL, NULL},
        {"null is no origin", &listed, "null", NULL, true, NULL, "same-origin", "Origin", NULL,
         NULL, NULL},
        {"'*': any page reads a file", &any, "https://evil.example", NULL, true, NULL,
         "cross-origin", "Origin", "*", NULL, NULL},
        {"'*': a page without an origin too", &any, "null", NULL, true, NULL, "cross-origin",
         "Origin", "*", NULL, NULL},
        {"'*': nothing but files", &any, "https://evil.example", NULL, false, NULL, "same-origin",
         "Origin", NULL, NULL, NULL},
        {"'*' and a list: the listed one is named", &both, APP, NULL, true, NULL, "cross-origin",
         "Origin", APP, NULL, NULL},
        {"'*' and a list: another one", &both, "https://evil.example", NULL, true, NULL,
         "cross-origin", "Origin", "*", NULL, NULL},
        {"'*' and a list: another one, no file", &both, "https://evil.example", NULL, false, NULL,
         "same-origin", "Origin", NULL, NULL, NULL},
        {"a listed page asks before", &listed, APP, NULL, false, &asks, "cross-origin", "Origin",
         APP, "GET, POST", NULL},
        {"… from a public network", &listed, APP, NULL, false, &asks_network, "cross-origin",
         "Origin", APP, "GET, POST", "true"},
        {"'*': any page asks before it reads", &any, "https://evil.example", NULL, true, &asks,
         "cross-origin", "Origin", "*", "GET, HEAD", NULL},
        {"a page that is not listed asks before", &listed, "https://evil.example", NULL, true,
         &asks, "same-origin", "Origin", NULL, NULL, NULL},
};

/* The value of a header line; NULL: there is none. */
static char *line(const char *headers, const char *name)
{
        size_t len = strlen(name);

        for (const char *p = headers; *p; p = strstr(p, "\r\n") + 2) {
                assert_non_null(strstr(p, "\r\n"));
                if (strncmp(p, name, len) == 0 && p[len] == ':')
                        return strndup(p + len + 2, strcspn(p + len + 2, "\r"));
        }
        return NULL;
}

static void check(const struct cors_case *c, const char *headers, const char *name,
                  const char *expected)
{
        char *got = line(headers, name);

        if (!got != !expected || (got && strcmp(got, expected) != 0))
                fail_msg("%s: %s: %s instead of %s", c->rule, name, got ? got : "(none)",
                         expected ? expected : "(none)");
        free(got);
}

static void write_headers(const struct cors_case *c, char buf[static CORS_HEADERS_MAX])
{
        const struct guard_request rq = {
                .origin = c->origin,
                .origin_count = c->origin ? 1 : 0,
                .referer = c->referer,
                .referer_count = c->referer ? 1 : 0,
        };

        cors_write(c->rules, &rq, cors_judge(c->rules, &rq, c->is_file), c->preflight, buf);
}

static void test_cases(void **state)
{
        char headers[CORS_HEADERS_MAX];

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                const struct cors_case *c = &cases[i];

                write_headers(c, headers);
                check(c, headers, "Cross-Origin-Resource-Policy", c->policy);
                check(c, headers, "Vary", c->vary);
                check(c, headers, "Access-Control-Allow-Origin", c->allowed);
                check(c, headers, "Access-Control-Allow-Methods", c->methods);
                check(c, headers, "Access-Control-Allow-Private-Network", c->network);
                check(c, headers, "Access-Control-Allow-Credentials", NULL);
        }
}

static bool names(const char *headers, const char *name, const char *item)
{
        char *value = line(headers, name);
        bool there = value && strstr(value, item);

        free(value);
        return there;
}

/* What the guard takes for a sign of a program no page may send that is not listed. */
static void test_what_may_be_sent(void **state)
{
        static const char allow[] = "Access-Control-Allow-Headers",
                          expose[] = "Access-Control-Expose-Headers";
        const struct cors_case a = {.rules = &listed, .origin = APP, .preflight = &asks},
                               b = {.rules = &any,
                                    .origin = APP,
                                    .is_file = true,
                                    .preflight = &asks},
                               c = {.rules = &listed, .origin = APP};
        char headers[CORS_HEADERS_MAX];

        (void)state;
        write_headers(&a, headers);
        assert_true(names(headers, allow, "Range") && names(headers, allow, "X-Requested-With") &&
                    names(headers, allow, "Content-Type") &&
                    names(headers, allow, "Authorization"));
        write_headers(&b, headers);
        assert_true(names(headers, allow, "Range"));
        assert_false(names(headers, allow, "X-Requested-With") ||
                     names(headers, allow, "Content-Type"));
        write_headers(&c, headers);
        assert_true(names(headers, expose, "Content-Range") && names(headers, expose, "ETag") &&
                    names(headers, expose, "Accept-Ranges"));
}

/* An origin as long as a head may be does not write beyond the buffer, nor half a line. */
static void test_long_origin(void **state)
{
        static char origin[60000];
        const char *const one[] = {origin};
        const struct guard_rules rules = {.origins = one, .origin_count = 1};
        const struct cors_case c = {.rules = &rules, .origin = origin};
        char headers[CORS_HEADERS_MAX];

        (void)state;
        memset(origin, 'a', sizeof origin - 1);
        memcpy(origin, "http://", 7);
        write_headers(&c, headers);
        assert_null(line(headers, "Access-Control-Allow-Origin"));
        assert_string_equal(headers + strlen(headers) - 2, "\r\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_what_may_be_sent),
                cmocka_unit_test(test_long_origin),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
