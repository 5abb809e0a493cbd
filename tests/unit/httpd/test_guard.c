/* test_guard.c: who may ask the sidecar: Host against DNS rebinding, and changes only from our own
 * pages and programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "guard.h"

#define OWN "127.0.0.1:3000"

static const struct guard_host hosts[] = {
        {"media.lan", 0}, {"box.lan", 8080}, {"tls.lan", 443}, {"plain.lan", 80}};
static const char *const origins[] = {"https://app.example", "http://localhost:5173"};
static const struct guard_rules rules = {
        .hosts = hosts,
        .host_count = sizeof(hosts) / sizeof(hosts[0]),
        .origins = origins,
        .origin_count = sizeof(origins) / sizeof(origins[0]),
};

struct host_case {
        const char *rule;
        uint16_t port;
        const char *host;
        unsigned count;
        size_t headers;
        enum guard_verdict expected;
};

static const struct host_case host_cases[] = {
        {"loopback address and port", 3000, OWN, 1, 5, GUARD_ALLOW},
        {"all of 127.0.0.0/8", 3000, "127.1.2.3:3000", 1, 5, GUARD_ALLOW},
        {"localhost", 3000, "localhost:3000", 1, 5, GUARD_ALLOW},
        {"names are case-insensitive, RFC 9110 §4.2.3", 3000, "LocalHost:3000", 1, 5, GUARD_ALLOW},
        {"IPv6 loopback", 3000, "[::1]:3000", 1, 5, GUARD_ALLOW},
        {"allowed name, any port", 3000, "media.lan", 1, 5, GUARD_ALLOW},
        {"allowed name, another port", 3000, "Media.lan:443", 1, 5, GUARD_ALLOW},
        {"allowed name with its port", 3000, "box.lan:8080", 1, 5, GUARD_ALLOW},
        {"allowed name with a wrong port", 3000, "box.lan:3000", 1, 5, GUARD_MISDIRECTED},
        {"rebound name", 3000, "evil.example:3000", 1, 5, GUARD_MISDIRECTED},
        {"name that begins like ours", 3000, "localhost.evil.example:3000", 1, 5,
         GUARD_MISDIRECTED},
        {"name that begins like an address", 3000, "127.0.0.1.evil.example:3000", 1, 5,
         GUARD_MISDIRECTED},
        {"address that is not loopback", 3000, "192.168.1.5:3000", 1, 5, GUARD_MISDIRECTED},
        {"old spelling of an address", 3000, "127.1:3000", 1, 5, GUARD_MISDIRECTED},
        {"port must match", 3000, "127.0.0.1:80", 1, 5, GUARD_MISDIRECTED},
        {"no port is 80, RFC 9110 §4.2.1", 3000, "127.0.0.1", 1, 5, GUARD_MISDIRECTED},
        {"no port is 80, and we are there", 80, "localhost", 1, 5, GUARD_ALLOW},
        {"no Host, RFC 9112 §3.2", 3000, NULL, 0, 5, GUARD_BAD_HEADERS},
        {"allowed name with the port of https, as a proxy passes it on", 3000, "tls.lan", 1, 5,
         GUARD_ALLOW},
        {"… said", 3000, "tls.lan:443", 1, 5, GUARD_ALLOW},
        {"… and another", 3000, "tls.lan:80", 1, 5, GUARD_MISDIRECTED},
        {"allowed name with the port of http", 3000, "plain.lan", 1, 5, GUARD_ALLOW},
        {"allowed name whose port is neither", 3000, "box.lan", 1, 5, GUARD_MISDIRECTED},
        {"two Hosts, RFC 9112 §3.2", 3000, NULL, 2, 5, GUARD_BAD_HEADERS},
        {"empty Host", 3000, "", 1, 5, GUARD_BAD_HEADERS},
        {"port that is none", 3000, "127.0.0.1:x", 1, 5, GUARD_BAD_HEADERS},
        {"empty port", 3000, "127.0.0.1:", 1, 5, GUARD_BAD_HEADERS},
        {"port too large", 3000, "127.0.0.1:68536", 1, 5, GUARD_BAD_HEADERS},
        {"user in Host", 3000, "a@127.0.0.1:3000", 1, 5, GUARD_BAD_HEADERS},
        {"bracket not closed", 3000, "[::1:3000", 1, 5, GUARD_BAD_HEADERS},
        {"as many headers as civetweb can hold: some may be lost", 3000, OWN, 1, 64,
         GUARD_BAD_HEADERS},
        {"one less", 3000, OWN, 1, 63, GUARD_ALLOW},
};

static void test_addressed(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(host_cases) / sizeof(host_cases[0]); i++) {
                const struct host_case *c = &host_cases[i];
                const struct guard_request rq = {.host = c->host,
                                                 .host_count = c->count,
                                                 .port = c->port,
                                                 .minor = 1,
                                                 .header_count = c->headers,
                                                 .header_max = 64};
                enum guard_verdict got = guard_addressed(&rules, &rq);

                if (got != c->expected)
                        fail_msg("%s: %s: %d", c->rule, c->host ? c->host : "(none)", (int)got);
        }
}

/* HTTP/1.0, of which RFC 9112 §3.2 asks no Host; a browser always sends one. */
static void test_no_host(void **state)
{
        static const struct {
                const char *rule;
                struct guard_request rq;
                enum guard_verdict expected;
        } cases[] = {
                {"a health check", {.header_max = 64}, GUARD_ALLOW},
                {"1.1 asks for it", {.minor = 1, .header_max = 64}, GUARD_BAD_HEADERS},
                {"two", {.host_count = 2, .header_max = 64}, GUARD_BAD_HEADERS},
                {"a foreign one",
                 {.host = "evil.example:3000", .host_count = 1, .port = 3000, .header_max = 64},
                 GUARD_MISDIRECTED},
                {"headers may be lost", {.header_count = 64, .header_max = 64}, GUARD_BAD_HEADERS},
                {"a page's request that lost it",
                 {.origin = "http://evil.example", .origin_count = 1, .header_max = 64},
                 GUARD_BAD_HEADERS},
                {"… its Referer", {.referer_count = 1, .header_max = 64}, GUARD_BAD_HEADERS},
                {"… its Sec-Fetch-Site",
                 {.sec_fetch_site_count = 1, .header_max = 64},
                 GUARD_BAD_HEADERS},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                if (guard_addressed(&rules, &cases[i].rq) != cases[i].expected)
                        fail_msg("%s", cases[i].rule);
}

static void test_long_host(void **state)
{
        char host[5000];
        const struct guard_request rq = {
                .host = host, .host_count = 1, .port = 3000, .header_count = 1, .header_max = 64};

        (void)state;
        memset(host, 'a', sizeof(host) - 1);
        host[sizeof(host) - 1] = '\0';
        assert_int_equal(guard_addressed(&rules, &rq), GUARD_BAD_HEADERS);
}

struct change_case {
        const char *rule;
        const char *host, *site, *origin, *referer;
        enum guard_verdict expected;
};

static const struct change_case change_cases[] = {
        {"curl, mpv: no header at all", OWN, NULL, NULL, NULL, GUARD_ALLOW},
        {"typed into the address bar", OWN, "none", NULL, NULL, GUARD_ALLOW},
        {"our own page", OWN, "same-origin", "http://127.0.0.1:3000", "http://127.0.0.1:3000/",
         GUARD_ALLOW},
        {"our own page, only Referer", OWN, "same-origin", NULL, "http://127.0.0.1:3000/x?y",
         GUARD_ALLOW},
        {"our own page by an allowed name, no Sec-Fetch", "media.lan", NULL, "http://media.lan",
         NULL, GUARD_ALLOW},
        {"the default port may be said, RFC 9110 §4.2.1", "media.lan", NULL, "http://media.lan:80",
         NULL, GUARD_ALLOW},
        {"listed origin", OWN, "cross-site", "https://app.example", NULL, GUARD_ALLOW},
        {"listed origin, only Referer", OWN, "cross-site", NULL, "https://app.example/page",
         GUARD_ALLOW},
        {"<img> of another site", OWN, "cross-site", NULL, NULL, GUARD_CROSS_SITE},
        {"another port of localhost is the same site only", OWN, "same-site", NULL, NULL,
         GUARD_CROSS_SITE},
        {"form of another site", OWN, "cross-site", "https://evil.example", NULL, GUARD_CROSS_SITE},
        {"old browser: Origin alone", OWN, NULL, "https://evil.example", NULL, GUARD_CROSS_SITE},
        {"old browser: Referer alone", OWN, NULL, NULL, "https://evil.example/", GUARD_CROSS_SITE},
        {"Origin null, RFC 6454 §7.1", OWN, NULL, "null", NULL, GUARD_CROSS_SITE},
        {"by a proxy that speaks TLS, our own page", "media.lan", "same-origin",
         "https://media.lan", NULL, GUARD_ALLOW},
        {"… without Sec-Fetch-Site", "media.lan", NULL, "https://media.lan", NULL, GUARD_ALLOW},
        {"… its Referer alone", "media.lan", NULL, NULL, "https://media.lan/x", GUARD_ALLOW},
        {"… whose port is said", "media.lan:443", NULL, "https://media.lan", NULL, GUARD_ALLOW},
        {"… on another port", "media.lan:8443", NULL, "https://media.lan:8443", NULL, GUARD_ALLOW},
        {"… allowed for that port", "box.lan:8080", NULL, "https://box.lan:8080", NULL,
         GUARD_ALLOW},
        {"a page on another port of an allowed host", "media.lan", NULL, "https://media.lan:8443",
         NULL, GUARD_CROSS_SITE},
        {"a page on the port of https where we are on another", "media.lan:8443", NULL,
         "https://media.lan", NULL, GUARD_CROSS_SITE},
        {"another allowed host by https", "media.lan", NULL, "https://tls.lan", NULL,
         GUARD_CROSS_SITE},
        {"https does not outweigh Sec-Fetch-Site", "media.lan", "cross-site", "https://media.lan",
         NULL, GUARD_CROSS_SITE},
        {"another scheme of an allowed host", "media.lan", NULL, "ftp://media.lan", NULL,
         GUARD_CROSS_SITE},
        {"a host that begins like an allowed one", "media.lan", NULL, "https://media.lan.evil",
         NULL, GUARD_CROSS_SITE},
        {"no Host in 1.0 tells nothing", NULL, NULL, NULL, NULL, GUARD_UNKNOWN},
        {"… a page's Origin neither", NULL, NULL, "http://127.0.0.1:3000", NULL, GUARD_CROSS_SITE},
        {"own host by https is another origin", OWN, NULL, "https://127.0.0.1:3000", NULL,
         GUARD_CROSS_SITE},
        {"another port is another origin", OWN, NULL, "http://127.0.0.1:3001", NULL,
         GUARD_CROSS_SITE},
        {"another name of ours is another origin", OWN, NULL, "http://localhost:3000", NULL,
         GUARD_CROSS_SITE},
        {"origin that begins like a listed one", OWN, NULL, "https://app.example.evil", NULL,
         GUARD_CROSS_SITE},
        {"listed origin with another port", OWN, NULL, "https://app.example:444", NULL,
         GUARD_CROSS_SITE},
        {"user that looks like a host", OWN, NULL, NULL, "http://127.0.0.1:3000@evil.example/",
         GUARD_CROSS_SITE},
        {"Origin counts before Referer", OWN, NULL, "https://evil.example",
         "http://127.0.0.1:3000/", GUARD_CROSS_SITE},
        {"own Origin doesn't outweigh Sec-Fetch-Site", OWN, "cross-site", "http://127.0.0.1:3000",
         NULL, GUARD_CROSS_SITE},
        {"unknown Sec-Fetch-Site", OWN, "wat", NULL, NULL, GUARD_CROSS_SITE},
        {"empty Origin", OWN, NULL, "", NULL, GUARD_CROSS_SITE},
        {"RFC 9110 §4.2.3: localhost is loopback, in any case", "LOCALHOST:3000", NULL, NULL, NULL,
         GUARD_ALLOW},
        {"all of 127.0.0.0/8 is loopback", "127.1.2.3:3000", NULL, NULL, NULL, GUARD_ALLOW},
        {"IPv6 loopback", "[::1]:3000", NULL, NULL, NULL, GUARD_ALLOW},
        {"by another name silence is <img referrerpolicy=no-referrer>", "media.lan", NULL, NULL,
         NULL, GUARD_UNKNOWN},
        {"… with a port too", "box.lan:8080", NULL, NULL, NULL, GUARD_UNKNOWN},
        {"by another name, typed into the address bar", "media.lan", "none", NULL, NULL,
         GUARD_ALLOW},
        {"by another name, our own page", "media.lan", "same-origin", NULL, NULL, GUARD_ALLOW},
        {"by another name, our own page's Referer", "media.lan", NULL, NULL, "http://media.lan/x",
         GUARD_ALLOW},
        {"by another name, a listed Origin", "media.lan", NULL, "https://app.example", NULL,
         GUARD_ALLOW},
        {"by another name, another page's Referer", "media.lan", NULL, NULL, "http://evil.example/",
         GUARD_CROSS_SITE},
        {"by another name, Sec-Fetch-Site", "media.lan", "cross-site", NULL, NULL,
         GUARD_CROSS_SITE},
};

struct program_case {
        const char *rule;
        const char *host, *site, *origin, *type, *requested_with;
        enum guard_verdict expected;
};

/* What a page sends only after a preflight (Fetch standard, CORS-safelisted request-header). */
static const struct program_case program_cases[] = {
        {"X-Requested-With", "media.lan", NULL, NULL, NULL, "curl", GUARD_ALLOW},
        {"… also without a value", "media.lan", NULL, NULL, NULL, "", GUARD_ALLOW},
        {"JSON", "media.lan", NULL, NULL, "application/json", NULL, GUARD_ALLOW},
        {"… with a parameter, any case", "media.lan", NULL, NULL, "Application/JSON; charset=utf-8",
         NULL, GUARD_ALLOW},
        {"a .torrent", "media.lan", NULL, NULL, "application/x-bittorrent", NULL, GUARD_ALLOW},
        {"a form's type", "media.lan", NULL, NULL, "text/plain", NULL, GUARD_UNKNOWN},
        {"a form's type with a parameter", "media.lan", NULL, NULL, "text/plain; application/json",
         NULL, GUARD_UNKNOWN},
        {"a form's other type", "media.lan", NULL, NULL, "application/x-www-form-urlencoded", NULL,
         GUARD_UNKNOWN},
        {"a form with files", "media.lan", NULL, NULL, "multipart/form-data; boundary=x", NULL,
         GUARD_UNKNOWN},
        {"a type that begins like one", "media.lan", NULL, NULL, "application/jsonx", NULL,
         GUARD_UNKNOWN},
        {"no type", "media.lan", NULL, NULL, "", NULL, GUARD_UNKNOWN},
        {"it does not outweigh Origin", "media.lan", NULL, "http://evil.example", NULL, "x",
         GUARD_CROSS_SITE},
        {"it does not outweigh Sec-Fetch-Site", OWN, "cross-site", NULL, "application/json", "x",
         GUARD_CROSS_SITE},
        {"no Host in 1.0, a program", NULL, NULL, NULL, NULL, "x", GUARD_ALLOW},
        {"no Host in 1.0, JSON", NULL, NULL, NULL, "application/json", NULL, GUARD_ALLOW},
        {"loopback needs none", OWN, NULL, NULL, "text/plain", NULL, GUARD_ALLOW},
};

static void test_program(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(program_cases) / sizeof(program_cases[0]); i++) {
                const struct program_case *c = &program_cases[i];
                const struct guard_request rq = {
                        .host = c->host,
                        .host_count = c->host ? 1 : 0,
                        .sec_fetch_site = c->site,
                        .sec_fetch_site_count = c->site ? 1 : 0,
                        .origin = c->origin,
                        .origin_count = c->origin ? 1 : 0,
                        .content_type = c->type,
                        .requested_with = c->requested_with,
                        .header_max = 64,
                };
                enum guard_verdict got = guard_change(&rules, &rq);

                if (got != c->expected)
                        fail_msg("%s: %d", c->rule, (int)got);
        }
}

/* An address of ours that is no loopback one: the token is what counts there. */
static void test_own_address(void **state)
{
        static const struct {
                const char *rule, *host;
                uint32_t address;
                bool trusted;
                enum guard_verdict addressed, change;
        } cases[] = {
                {"the one that was connected to", "192.168.1.5:3000", 0xc0a80105, true, GUARD_ALLOW,
                 GUARD_ALLOW},
                {"… without the token silence is not enough", "192.168.1.5:3000", 0xc0a80105, false,
                 GUARD_ALLOW, GUARD_UNKNOWN},
                {"another one", "192.168.1.6:3000", 0xc0a80105, true, GUARD_MISDIRECTED,
                 GUARD_ALLOW},
                {"another port", "192.168.1.5:80", 0xc0a80105, true, GUARD_MISDIRECTED,
                 GUARD_ALLOW},
                {"a name that resolves to it", "evil.example:3000", 0xc0a80105, true,
                 GUARD_MISDIRECTED, GUARD_ALLOW},
                {"on loopback it is none of ours", "192.168.1.5:3000", 0, false, GUARD_MISDIRECTED,
                 GUARD_UNKNOWN},
                {"0.0.0.0 is nobody's", "0.0.0.0:3000", 0, false, GUARD_MISDIRECTED, GUARD_UNKNOWN},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                const struct guard_request rq = {
                        .host = cases[i].host,
                        .host_count = 1,
                        .minor = 1,
                        .port = 3000,
                        .address = cases[i].address,
                        .trusted = cases[i].trusted,
                        .header_max = 64,
                };

                if (guard_addressed(&rules, &rq) != cases[i].addressed ||
                    guard_change(&rules, &rq) != cases[i].change)
                        fail_msg("%s", cases[i].rule);
        }
}

/* The token does not outweigh what a browser says of the page that asks. */
static void test_trusted_cross_site(void **state)
{
        const struct guard_request rq = {
                .host = OWN,
                .host_count = 1,
                .origin = "https://evil.example",
                .origin_count = 1,
                .trusted = true,
                .header_max = 64,
        };

        (void)state;
        assert_int_equal(guard_change(&rules, &rq), GUARD_CROSS_SITE);
}

/* Who may embed what is here: Cross-Origin-Resource-Policy follows this. */
static void test_listed(void **state)
{
        static const struct {
                const char *origin, *referer;
                bool expected;
        } cases[] = {
                {NULL, NULL, false},
                {"https://app.example", NULL, true},
                {NULL, "http://localhost:5173/page", true},
                {"https://evil.example", "https://app.example/", false},
                {"null", NULL, false},
                {"http://localhost:3000", NULL, false},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                const struct guard_request rq = {.host = OWN,
                                                 .host_count = 1,
                                                 .origin = cases[i].origin,
                                                 .referer = cases[i].referer};

                assert_int_equal(guard_is_listed(&rules, &rq), cases[i].expected);
        }
}

static void test_change(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(change_cases) / sizeof(change_cases[0]); i++) {
                const struct change_case *c = &change_cases[i];
                const struct guard_request rq = {
                        .host = c->host,
                        .host_count = c->host ? 1 : 0,
                        .sec_fetch_site = c->site,
                        .sec_fetch_site_count = c->site ? 1 : 0,
                        .origin = c->origin,
                        .origin_count = c->origin ? 1 : 0,
                        .referer = c->referer,
                        .referer_count = c->referer ? 1 : 0,
                        .header_max = 64,
                };
                enum guard_verdict got = guard_change(&rules, &rq);

                if (got != c->expected)
                        fail_msg("%s: %d", c->rule, (int)got);
        }
}

/* A header that comes twice tells nothing. */
static void test_duplicates(void **state)
{
        const struct guard_request twice[] = {
                {.host = OWN, .host_count = 1, .origin_count = 2, .header_max = 64},
                {.host = OWN, .host_count = 1, .referer_count = 2, .header_max = 64},
                {.host = OWN, .host_count = 1, .sec_fetch_site_count = 2, .header_max = 64},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++)
                assert_int_equal(guard_change(&rules, &twice[i]), GUARD_CROSS_SITE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_addressed),   cmocka_unit_test(test_no_host),
                cmocka_unit_test(test_long_host),   cmocka_unit_test(test_change),
                cmocka_unit_test(test_program),     cmocka_unit_test(test_listed),
                cmocka_unit_test(test_own_address), cmocka_unit_test(test_trusted_cross_site),
                cmocka_unit_test(test_duplicates),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
