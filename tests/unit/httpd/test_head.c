/* test_head.c: heads of requests, case by case (RFC 9112, RFC 9110). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "head.h"

#define GET    "GET / HTTP/1.1\r\n"
#define HOST   "Host: a\r\n"
#define POST   "POST / HTTP/1.1\r\n" HOST
#define END    "\r\n"
#define LINE4  "A: b\r\nA: b\r\nA: b\r\nA: b\r\n"
#define LINE32 LINE4 LINE4 LINE4 LINE4 LINE4 LINE4 LINE4 LINE4

/* Text with its length, as there are NULs in some. */
#define HEAD(s) (s), sizeof(s) - 1

struct head_case {
        const char *rule;
        const char *text;
        size_t len;
        int status;
        struct head
                expected; /* of these: minor, body, content_length, persists, expects, asterisk */
};

#define KEPT                                                                                       \
        {                                                                                          \
                .minor = 1, .persists = true                                                       \
        }
#define CLOSED                                                                                     \
        {                                                                                          \
                .minor = 1                                                                         \
        }
#define KEPT_1_0                                                                                   \
        {                                                                                          \
                .persists = true                                                                   \
        }
#define CLOSED_1_0                                                                                 \
        {                                                                                          \
                .minor = 0                                                                         \
        }
#define REFUSED                                                                                    \
        {                                                                                          \
                .minor = 0                                                                         \
        }

static const struct head_case cases[] = {
        /* the request line */
        {"RFC 9112 §3: a request", HEAD(GET HOST END), 0, KEPT},
        {"RFC 9112 §3: no version", HEAD("GET /\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3: two spaces", HEAD("GET  / HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3: two spaces behind", HEAD("GET /  HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3: a space at the end", HEAD("GET / HTTP/1.1 \r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3: a tab", HEAD("GET\t/ HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3: a space at the beginning", HEAD(" GET / HTTP/1.1\r\n" HOST END), 400,
         REFUSED},
        {"RFC 9112 §3: no method", HEAD(" / HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9110 §9.1: any token is a method", HEAD("M-SEARCH!~ / HTTP/1.1\r\n" HOST END), 0,
         KEPT},
        {"RFC 9110 §9.1: a method that is no token", HEAD("GE(T / HTTP/1.1\r\n" HOST END), 400,
         REFUSED},
        {"RFC 9110 §9.1: letters beyond ASCII", HEAD("G\xc3\x89T / HTTP/1.1\r\n" HOST END), 400,
         REFUSED},
        {"RFC 9112 §2.2: a bare LF", HEAD("GET / HTTP/1.1\n" HOST END), 400, REFUSED},
        {"RFC 9112 §2.2: a bare CR", HEAD("GET / HTTP/1.1\r" HOST END), 400, REFUSED},
        {"RFC 9112 §2.2: CR CR LF", HEAD("GET / HTTP/1.1\r\r\n" HOST END), 400, REFUSED},
        /* versions */
        {"RFC 9112 §2.3: HTTP/1.0", HEAD("GET / HTTP/1.0\r\n" HOST END), 0, CLOSED_1_0},
        {"RFC 9110 §2.5: a later minor", HEAD("GET / HTTP/1.7\r\n" HOST END), 0, KEPT},
        {"RFC 9112 §2.3: HTTP/2.0", HEAD("PRI * HTTP/2.0\r\n" END), 505, REFUSED},
        {"RFC 9112 §2.3: HTTP/0.9", HEAD("GET / HTTP/0.9\r\n" HOST END), 505, REFUSED},
        {"RFC 9112 §2.3: case matters", HEAD("GET / http/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §2.3: one digit each", HEAD("GET / HTTP/1.10\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §2.3: digits", HEAD("GET / HTTP/1.x\r\n" HOST END), 400, REFUSED},
        /* targets */
        {"RFC 9112 §3.2.1: no slash", HEAD("GET x HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3.2.1: a control character", HEAD("GET /\x01 HTTP/1.1\r\n" HOST END), 400,
         REFUSED},
        {"RFC 9112 §3.2.1: NUL", HEAD("GET /\0 HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3.2.1: raw UTF-8", HEAD("GET /\xc3\xa4 HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3.2.1: DEL", HEAD("GET /\x7f HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3.2.2: absolute-form", HEAD("GET http://h:1/x?y HTTP/1.1\r\n" HOST END), 0,
         KEPT},
        {"RFC 9112 §3.2.2: a scheme's case", HEAD("GET hTTp://h HTTP/1.1\r\n" HOST END), 0, KEPT},
        {"RFC 9112 §3.2.2: Host is wanted all the same", HEAD("GET http://h/ HTTP/1.1\r\n" END),
         400, REFUSED},
        {"RFC 9110 §4.2.1: no host", HEAD("GET http:///x HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9110 §4.2.4: a user", HEAD("GET http://u@h/ HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9110 §7.4: https", HEAD("GET https://h/ HTTP/1.1\r\n" HOST END), 421, REFUSED},
        {"RFC 9112 §3.2.2: another scheme", HEAD("GET ftp://h/ HTTP/1.1\r\n" HOST END), 400,
         REFUSED},
        {"RFC 9112 §3.2.3: CONNECT", HEAD("CONNECT h:1 HTTP/1.1\r\n" HOST END), 501, REFUSED},
        {"RFC 9112 §3.2.4: OPTIONS *",
         HEAD("OPTIONS * HTTP/1.1\r\n" HOST END),
         0,
         {.minor = 1, .persists = true, .asterisk = true}},
        {"RFC 9112 §3.2.4: OPTIONS of a host",
         HEAD("OPTIONS http://h:1 HTTP/1.1\r\n" HOST END),
         0,
         {.minor = 1, .persists = true, .asterisk = true}},
        {"RFC 9112 §3.2.4: GET *", HEAD("GET * HTTP/1.1\r\n" HOST END), 400, REFUSED},
        {"RFC 9112 §3.2.4: ** is none", HEAD("OPTIONS ** HTTP/1.1\r\n" HOST END), 400, REFUSED},
        /* fields */
        {"RFC 9112 §5.1: white space before the colon", HEAD(GET HOST "A : b\r\n" END), 400,
         REFUSED},
        {"RFC 9112 §5.1: a tab before the colon", HEAD(GET HOST "A\t: b\r\n" END), 400, REFUSED},
        {"RFC 9112 §5.2: folded", HEAD(GET HOST "A: b\r\n c\r\n" END), 400, REFUSED},
        {"RFC 9112 §5.2: folded with a tab", HEAD(GET HOST "A: b\r\n\tc\r\n" END), 400, REFUSED},
        {"RFC 9112 §2.2: white space before the fields", HEAD(GET " " HOST END), 400, REFUSED},
        {"RFC 9112 §5: no colon", HEAD(GET HOST "A\r\n" END), 400, REFUSED},
        {"RFC 9112 §5: no name", HEAD(GET HOST ": b\r\n" END), 400, REFUSED},
        {"RFC 9110 §5.1: a name that is no token", HEAD(GET HOST "A[]: b\r\n" END), 400, REFUSED},
        {"RFC 9110 §5.5: an empty value", HEAD(GET HOST "A:\r\n" END), 0, KEPT},
        {"RFC 9110 §5.5: a tab in a value", HEAD(GET HOST "A: b\tc\r\n" END), 0, KEPT},
        {"RFC 9110 §5.5: bytes beyond ASCII", HEAD(GET HOST "A: \xc3\xa4\xff\r\n" END), 0, KEPT},
        {"RFC 9110 §5.5: NUL", HEAD(GET HOST "A: \0\r\n" END), 400, REFUSED},
        {"RFC 9110 §5.5: a bare CR", HEAD(GET HOST "A: b\rc\r\n" END), 400, REFUSED},
        {"RFC 9110 §5.5: a control character", HEAD(GET HOST "A: \x1b\r\n" END), 400, REFUSED},
        {"RFC 9112 §2.2: a bare LF ends a field", HEAD(GET HOST "A: b\n" END), 400, REFUSED},
        {"RFC 9112 §2.2: a bare LF ends the head", HEAD(GET HOST "\n"), 400, REFUSED},
        {"RFC 6585 §5: 64 fields",
         HEAD(GET HOST LINE32 LINE4 LINE4 LINE4 LINE4 LINE4 LINE4 LINE4
              "A: b\r\nA: b\r\nA: b\r\n" END),
         0, KEPT},
        {"RFC 6585 §5: 65 fields", HEAD(GET HOST LINE32 LINE32 END), 431, REFUSED},
        /* Host */
        {"RFC 9112 §3.2: no Host", HEAD(GET END), 400, REFUSED},
        {"RFC 9112 §3.2: no Host in HTTP/1.0", HEAD("GET / HTTP/1.0\r\n" END), 0, CLOSED_1_0},
        {"RFC 9112 §3.2: two Hosts", HEAD(GET HOST "hOST: a\r\n" END), 400, REFUSED},
        {"RFC 9112 §3.2: two Hosts in HTTP/1.0", HEAD("GET / HTTP/1.0\r\n" HOST HOST END), 400,
         REFUSED},
        /* how long the connection lasts */
        {"RFC 9112 §9.3: close", HEAD(GET HOST "Connection: close\r\n" END), 0, CLOSED},
        {"RFC 9112 §9.3: close in a list", HEAD(GET HOST "Connection: x ,\tCLOSE , y\r\n" END), 0,
         CLOSED},
        {"RFC 9110 §7.6.1: several fields",
         HEAD(GET HOST "Connection: x\r\nConnection: close\r\n" END), 0, CLOSED},
        {"RFC 9110 §7.6.1: closed is not close", HEAD(GET HOST "Connection: closed\r\n" END), 0,
         KEPT},
        {"RFC 9112 §9.3: HTTP/1.0 keep-alive",
         HEAD("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n" END), 0, KEPT_1_0},
        {"RFC 9112 §9.3: close goes before keep-alive",
         HEAD("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n" END), 0, CLOSED_1_0},
        /* bodies */
        {"RFC 9112 §6.2: a length",
         HEAD(POST "Content-Length: 42\r\n" END),
         0,
         {.minor = 1, .persists = true, .body = HEAD_LENGTH, .content_length = 42}},
        {"RFC 9110 §8.6: zero",
         HEAD(POST "Content-Length:0\r\n" END),
         0,
         {.minor = 1, .persists = true, .body = HEAD_LENGTH}},
        {"RFC 9110 §8.6: leading zeros",
         HEAD(POST "Content-Length: 007 \r\n" END),
         0,
         {.minor = 1, .persists = true, .body = HEAD_LENGTH, .content_length = 7}},
        {"RFC 9110 §8.6: a sign", HEAD(POST "Content-Length: +7\r\n" END), 400, REFUSED},
        {"RFC 9110 §8.6: negative", HEAD(POST "Content-Length: -7\r\n" END), 400, REFUSED},
        {"RFC 9110 §8.6: hexadecimal", HEAD(POST "Content-Length: 0x7\r\n" END), 400, REFUSED},
        {"RFC 9110 §8.6: empty", HEAD(POST "Content-Length:\r\n" END), 400, REFUSED},
        {"RFC 9110 §8.6: beyond 64 bits", HEAD(POST "Content-Length: 99999999999999999999\r\n" END),
         400, REFUSED},
        {"RFC 9112 §6.3: a list of lengths", HEAD(POST "Content-Length: 7, 7\r\n" END), 400,
         REFUSED},
        {"RFC 9112 §6.3: two lengths", HEAD(POST "Content-Length: 7\r\nContent-Length: 7\r\n" END),
         400, REFUSED},
        {"RFC 9112 §6.1: chunked",
         HEAD(POST "Transfer-Encoding: Chunked\r\n" END),
         0,
         {.minor = 1, .persists = true, .body = HEAD_CHUNKED}},
        {"RFC 9112 §6.1: another coding", HEAD(POST "Transfer-Encoding: gzip\r\n" END), 501,
         REFUSED},
        {"RFC 9112 §6.1: two codings", HEAD(POST "Transfer-Encoding: gzip, chunked\r\n" END), 501,
         REFUSED},
        {"RFC 9112 §6.1: chunked twice",
         HEAD(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END), 400,
         REFUSED},
        {"RFC 9112 §6.1: a coding that looks like it",
         HEAD(POST "Transfer-Encoding: xchunked\r\n" END), 501, REFUSED},
        {"RFC 9112 §6.1: HTTP/1.0", HEAD("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END),
         400, REFUSED},
        {"RFC 9112 §6.3: length and coding",
         HEAD(POST "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n" END), 400, REFUSED},
        {"RFC 9112 §6.3: coding and length",
         HEAD(POST "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n" END), 400, REFUSED},
        {"RFC 9110 §10.1.1: 100-continue",
         HEAD(POST "Content-Length: 7\r\nExpect: 100-Continue\r\n" END),
         0,
         {.minor = 1, .persists = true, .body = HEAD_LENGTH, .content_length = 7, .expects = true}},
        {"RFC 9110 §10.1.1: without a body", HEAD(GET HOST "Expect: 100-continue\r\n" END), 0,
         KEPT},
        {"RFC 9110 §10.1.1: ignored in HTTP/1.0",
         HEAD("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 7\r\n" END),
         0,
         {.body = HEAD_LENGTH, .content_length = 7}},
        {"RFC 9110 §10.1.1: another expectation", HEAD(GET HOST "Expect: x\r\n" END), 417, REFUSED},
        /* no whole head */
        {"no empty line", HEAD(GET HOST), 400, REFUSED},
        {"nothing", HEAD(""), 400, REFUSED},
        {"an empty line alone", HEAD("\r\n"), 400, REFUSED},
};

static void test_heads(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                const struct head_case *c = &cases[i];
                struct head h;
                int status = head_check(c->text, c->len, &h);

                if (status != c->status || (status != 0 && !h.reason))
                        fail_msg("%s: %d", c->rule, status);
                if (status != 0)
                        continue;
                if (h.minor != c->expected.minor || h.body != c->expected.body ||
                    h.content_length != c->expected.content_length ||
                    h.persists != c->expected.persists || h.expects != c->expected.expects ||
                    h.asterisk != c->expected.asterisk)
                        fail_msg("%s: minor %u body %d length %llu persists %d expects %d *: %d",
                                 c->rule, h.minor, (int)h.body,
                                 (unsigned long long)h.content_length, h.persists, h.expects,
                                 h.asterisk);
        }
}

static void assert_span(const char *text, struct head_span s, const char *expected)
{
        assert_int_equal(s.length, strlen(expected));
        assert_memory_equal(text + s.at, expected, s.length);
}

static void test_parts(void **state)
{
        static const char origin[] = "PUT /a?b HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
        static const char absolute[] = "GET http://h:1?b HTTP/1.1\r\nHost: x\r\n\r\n";
        struct head h;

        (void)state;
        assert_int_equal(head_check(origin, sizeof origin - 1, &h), 0);
        assert_span(origin, h.method, "PUT");
        assert_span(origin, h.target, "/a?b");
        assert_span(origin, h.fields, "Host: h\r\nA: b\r\n");
        assert_int_equal(h.authority.length, 0);
        assert_int_equal(head_check(absolute, sizeof absolute - 1, &h), 0);
        assert_span(absolute, h.target, "?b");
        assert_span(absolute, h.authority, "h:1");
}

struct end_case {
        const char *text;
        size_t end;
};

/* However a head comes in pieces, its end is found at the same byte. */
static void test_ends(void **state)
{
        static const struct end_case ends[] = {
                {"GET / HTTP/1.1\r\nA: b\r\n\r\nGET", 24},
                {"GET / HTTP/1.0\r\n\r\n", 18},
                {"GET / HTTP/1.0\n\nx", 16},
                {"GET / HTTP/1.0\n\r\nx", 17},
                {"GET / HTTP/1.0\r\n\nx", 17},
                {"GET / HTTP/1.0\r\n\r\r\n", 0},
                {"GET / HTTP/1.0\r\n", 0},
                {"\r\nGET", 2},
                {"\n", 1},
                {"", 0},
        };

        (void)state;
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
                size_t len = strlen(ends[i].text);

                for (size_t cut = 0; cut <= len; cut++) {
                        unsigned at = 0;
                        size_t end = head_end(ends[i].text, cut, &at);

                        if (end == 0) {
                                end = head_end(ends[i].text + cut, len - cut, &at);
                                end += end > 0 ? cut : 0;
                        }
                        if (end != ends[i].end)
                                fail_msg("%zu cut at %zu: %zu", i, cut, end);
                }
        }
}

static void test_beginnings(void **state)
{
        (void)state;
        assert_true(head_may_begin('G'));
        assert_true(head_may_begin('\r'));
        assert_false(head_may_begin('\x16')); /* TLS */
        assert_false(head_may_begin('\0'));
        assert_false(head_may_begin(' '));
        assert_false(head_may_begin((char)0x80));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_heads),
                cmocka_unit_test(test_parts),
                cmocka_unit_test(test_ends),
                cmocka_unit_test(test_beginnings),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
