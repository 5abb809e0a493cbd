/* test_intake.c: what is written to `add`, cut into magnets and .torrent files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/intake.h"

#define N(a)    (sizeof(a) / sizeof *(a))
#define TEXT(s) (s), sizeof(s) - 1

enum { BYTES_MAX = 1 << 20, ITEMS_MAX = 12, OUT_MAX = 8192 };

/* What came out, written as "L:…\n" or "T:…\n"; "E" for -EINVAL. */
struct out {
        char text[OUT_MAX];
        size_t len;
        bool failed;
};

static void out_add(struct out *o, const char *kind, const char *p, size_t len)
{
        assert_true(o->len + len + 4 < OUT_MAX);
        o->len += (size_t)sprintf(o->text + o->len, "%s:", kind);
        memcpy(o->text + o->len, p, len);
        o->len += len;
        o->text[o->len++] = '\n';
        o->text[o->len] = '\0';
}

static void take(struct intake *in, bool final, struct out *o)
{
        while (!o->failed) {
                enum intake_item type;
                const char *item = NULL;
                size_t len = 0;
                int r = intake_next(in, final, &type, &item, &len);

                if (r < 0) {
                        assert_int_equal(r, -EINVAL);
                        out_add(o, "E", "", 0);
                        o->failed = true;
                        return;
                }
                if (type == INTAKE_NOTHING)
                        return;
                assert_true(len > 0);
                out_add(o, type == INTAKE_LINE ? "L" : "T", item, len);
        }
}

struct intake_case {
        const char *rule;
        const char *input;
        size_t len;
        const char *expected;
        size_t expected_len;
};

#define HEX_D "d123456789012345678901234567890123456789"

static const struct intake_case cases[] = {
        {"nothing", TEXT(""), TEXT("")},
        {"a line", TEXT("magnet:?xt=1\n"), TEXT("L:magnet:?xt=1\n")},
        {"two lines", TEXT("a\nb\n"), TEXT("L:a\nL:b\n")},
        {"the last line needs no newline", TEXT("a\nb"), TEXT("L:a\nL:b\n")},
        {"CRLF", TEXT("a\r\nb\r\n"), TEXT("L:a\nL:b\n")},
        {"CR at the end of all", TEXT("a\r"), TEXT("L:a\n")},
        {"blank lines count for nothing", TEXT("\n\n \t\r\na\n\n\n\n b \n \n"), TEXT("L:a\nL:b\n")},
        {"only blanks", TEXT(" \r\n\t\n  "), TEXT("")},
        {"blanks inside a line stay", TEXT("  a b\tc  \n"), TEXT("L:a b\tc\n")},
        {"a NUL inside a line is the parser's to refuse", TEXT("a\0b\n"), TEXT("L:a\0b\n")},
        {"a hash that begins with d", TEXT(HEX_D "\n"), TEXT("L:" HEX_D "\n")},
        {"… without a newline", TEXT(HEX_D), TEXT("L:" HEX_D "\n")},
        {"… of 64 digits",
         TEXT("d111111111111111111111111111111111111111111111111111111111111111\n"),
         TEXT("L:d111111111111111111111111111111111111111111111111111111111111111\n")},
        {"d alone", TEXT("d\n"), TEXT("L:d\n")},
        {"d and a number", TEXT("d8\n:\n"), TEXT("L:d8\nL::\n")},
        {"de has no key", TEXT("de\n"), TEXT("L:de\n")},

        {"a .torrent", TEXT("d1:a1:be"), TEXT("T:d1:a1:be\n")},
        {"… with a newline behind", TEXT("d1:a1:be\n"), TEXT("T:d1:a1:be\n")},
        {"two of them", TEXT("d1:a1:bed1:c1:de"), TEXT("T:d1:a1:be\nT:d1:c1:de\n")},
        {"a .torrent, then a magnet", TEXT("d1:a1:bemagnet:?x\n"),
         TEXT("T:d1:a1:be\nL:magnet:?x\n")},
        {"a magnet, then a .torrent", TEXT("magnet:?x\nd1:a1:be"),
         TEXT("L:magnet:?x\nT:d1:a1:be\n")},
        {"blank lines before one", TEXT("\r\n\nd1:a1:be"), TEXT("T:d1:a1:be\n")},
        {"newlines inside a string are bytes", TEXT("d1:a3:\n\n\ne"), TEXT("T:d1:a3:\n\n\ne\n")},
        {"'e' inside a string ends nothing", TEXT("d1:a4:eeeee"), TEXT("T:d1:a4:eeeee\n")},
        {"NUL inside a string", TEXT("d1:a2:\0\0e"), TEXT("T:d1:a2:\0\0e\n")},
        {"all four types, nested", TEXT("d1:ai-12e1:bl0:d1:xleee1:ci0ee"),
         TEXT("T:d1:ai-12e1:bl0:d1:xleee1:ci0ee\n")},
        {"an empty key", TEXT("d0:0:e"), TEXT("T:d0:0:e\n")},
        {"a long string",
         TEXT("d1:a50:"
              "01234567890123456789012345678901234567890123456789e"),
         TEXT("T:d1:a50:"
              "01234567890123456789012345678901234567890123456789e\n")},

        {"blanks before a .torrent", TEXT(" \t\n d1:a1:be"), TEXT("T:d1:a1:be\n")},
        {"a byte order mark before it",
         TEXT("\xef\xbb\xbf"
              "d1:a1:be"),
         TEXT("T:d1:a1:be\n")},
        {"a byte order mark before a line", TEXT("\xef\xbb\xbf\r\na\n"), TEXT("L:a\n")},
        {"part of a byte order mark", TEXT("\xef\xbb\n"), TEXT("L:\xef\xbb\n")},
        {"bytes behind a .torrent", TEXT("d1:a1:bejunk"), TEXT("T:d1:a1:be\n")},
        {"… of several lines", TEXT("d1:a1:be\r\n<html>\n</html>\n"), TEXT("T:d1:a1:be\n")},
        {"… that are NUL", TEXT("d1:a1:be\0\0\0"), TEXT("T:d1:a1:be\n")},
        {"… that are broken bencode", TEXT("d1:a1:bed1:ax"), TEXT("T:d1:a1:be\n")},
        {"… that are bencode cut off", TEXT("d1:a1:bed1:a9:b"), TEXT("T:d1:a1:be\n")},
        {"… and then a magnet", TEXT("d1:a1:bejunk\nMagnet:?x\n"),
         TEXT("T:d1:a1:be\nL:Magnet:?x\n")},
        {"broken bencode and then a magnet", TEXT("d1:a1:bed1:ax\nmagnet:?x\n"),
         TEXT("T:d1:a1:be\nL:magnet:?x\n")},
        {"broken bencode and then a .torrent", TEXT("d1:a1:bed1:ax\nd1:c1:de"),
         TEXT("T:d1:a1:be\nT:d1:c1:de\n")},
        {"a .torrent, then a hash", TEXT("d1:a1:be\n" HEX_D "\n"),
         TEXT("T:d1:a1:be\nL:" HEX_D "\n")},

        {"BEP 3: cut off", TEXT("d1:a1:b"), TEXT("E:\n")},
        {"BEP 3: cut off in a string", TEXT("d1:a9:bc"), TEXT("E:\n")},
        {"BEP 3: cut off in a number", TEXT("d1:ai12"), TEXT("E:\n")},
        {"BEP 3: cut off in a length", TEXT("d1:a12"), TEXT("E:\n")},
        {"BEP 3: a letter where a value begins", TEXT("d1:ax"), TEXT("E:\n")},
        {"BEP 3: a newline where a value begins", TEXT("d1:a\nb\n"), TEXT("E:\n")},
        {"BEP 3: a negative length", TEXT("d1:a-1:be"), TEXT("E:\n")},
        {"BEP 3: a length of 11 digits", TEXT("d1:a12345678901:b"), TEXT("E:\n")},
        {"… that never ends", TEXT("d1:a00000000000000000000000000000"), TEXT("E:\n")},
        {"BEP 3: a number that never ends", TEXT("d1:ai1111111111111111111111111111"),
         TEXT("E:\n")},
        {"a broken .torrent behind a magnet", TEXT("a\nd1:ax\nb\n"), TEXT("L:a\nE:\n")},
};

static void check(const struct intake_case *c, const struct out *o, const char *how, size_t where)
{
        if (o->len != c->expected_len || memcmp(o->text, c->expected, o->len) != 0)
                fail_msg("%s (%s %zu): got %s", c->rule, how, where, o->text);
}

/* Writes [from, to) and takes what is complete. */
static void feed(struct intake *in, const char *p, size_t from, size_t to, struct out *o)
{
        if (o->failed || to == from)
                return;
        assert_int_equal(intake_add(in, p + from, to - from, BYTES_MAX), 0);
        take(in, false, o);
}

static void finish(struct intake *in, struct out *o)
{
        take(in, true, o);
        if (!o->failed)
                assert_int_equal(intake_pending(in), 0);
        intake_clear(in);
        assert_int_equal(intake_pending(in), 0);
}

static void test_cases(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                struct intake in = {0};
                struct out o = {.len = 0};

                feed(&in, cases[i].input, 0, cases[i].len, &o);
                finish(&in, &o);
                check(&cases[i], &o, "whole", 0);
        }
}

/* Where the writes are cut changes nothing: at every byte, at every two bytes, byte by byte. */
static void test_split(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                const struct intake_case *c = &cases[i];

                for (size_t a = 0; a <= c->len; a++) {
                        for (size_t b = a; b <= c->len; b++) {
                                struct intake in = {0};
                                struct out o = {.len = 0};

                                feed(&in, c->input, 0, a, &o);
                                feed(&in, c->input, a, b, &o);
                                feed(&in, c->input, b, c->len, &o);
                                finish(&in, &o);
                                check(c, &o, "cut at", a);
                        }
                }
                {
                        struct intake in = {0};
                        struct out o = {.len = 0};

                        for (size_t k = 0; k < c->len; k++)
                                feed(&in, c->input, k, k + 1, &o);
                        finish(&in, &o);
                        check(c, &o, "byte by byte", 0);
                }
        }
}

static uint32_t rng = 521288629u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

/* A bencoded value of a depth; strings hold what would disturb. */
static size_t random_value(char *p, unsigned depth)
{
        static const char bytes[] = "de\n\r:il0123456789 \0\xff";
        size_t n = 0, len;

        switch (depth == 0 ? next() % 2 : next() % 4) {
        case 0:
                len = next() % 15;
                n += (size_t)sprintf(p, "%zu:", len);
                for (size_t i = 0; i < len; i++)
                        p[n++] = bytes[next() % (sizeof bytes - 1)];
                return n;
        case 1:
                return (size_t)sprintf(p, "i%de", (int)next());
        case 2:
                p[n++] = 'l';
                break;
        default:
                p[n++] = 'd';
                for (unsigned k = next() % 3; k > 0; k--) {
                        n += (size_t)sprintf(p + n, "3:k%02u", next() % 100);
                        n += random_value(p + n, depth - 1);
                }
                p[n++] = 'e';
                return n;
        }
        for (unsigned k = next() % 3; k > 0; k--)
                n += random_value(p + n, depth - 1);
        p[n++] = 'e';
        return n;
}

/* Magnets and .torrents in a row, in random writes: each comes out as it went in. */
static void test_fuzz(void **state)
{
        static const char *const breaks[] = {"\n", "\r\n", "\n\n", " \n", "\n \t\r\n"};

        (void)state;
        for (unsigned round = 0; round < 5000; round++) {
                static char input[OUT_MAX];
                struct intake in = {0};
                struct out o = {.len = 0}, expected = {.len = 0};
                size_t len = 0, at = 0;
                unsigned items = 1 + next() % ITEMS_MAX;

                for (unsigned i = 0; i < items && len < OUT_MAX / 4; i++) {
                        size_t start = len;

                        if (next() % 2) {
                                len += (size_t)sprintf(input + len, "d1:v");
                                len += random_value(input + len, 3);
                                input[len++] = 'e';
                                out_add(&expected, "T", input + start, len - start);
                                if (next() % 2)
                                        input[len++] = '\n';
                        } else {
                                len += next() % 2 ? (size_t)sprintf(input + len, "d%039u", next())
                                                  : (size_t)sprintf(input + len, "magnet:?xt=%u",
                                                                    next());
                                out_add(&expected, "L", input + start, len - start);
                                if (i + 1 < items || next() % 2)
                                        len += (size_t)sprintf(input + len, "%s",
                                                               breaks[next() % N(breaks)]);
                        }
                }
                /* a line whose newline was left out must be the last */
                while (at < len) {
                        size_t n = 1 + next() % (round % 3 ? 20 : 300);

                        if (n > len - at)
                                n = len - at;
                        feed(&in, input, at, at + n, &o);
                        at += n;
                }
                finish(&in, &o);
                if (o.len != expected.len || memcmp(o.text, expected.text, o.len) != 0)
                        fail_msg("round %u: got %s instead of %s", round, o.text, expected.text);
        }
}

/* Any bytes at all: no crash, no endless loop, nothing empty; what is cut otherwise is the same. */
static void test_garbage(void **state)
{
        static const char bytes[] = "d1:a\ne2:li0x5: \r";

        (void)state;
        for (unsigned round = 0; round < 50000; round++) {
                char input[48];
                struct intake a = {0}, b = {0};
                struct out oa = {.len = 0}, ob = {.len = 0};
                size_t len = 1 + next() % sizeof input;

                for (size_t i = 0; i < len; i++)
                        input[i] = bytes[next() % (sizeof bytes - 1)];
                feed(&a, input, 0, len, &oa);
                finish(&a, &oa);
                for (size_t i = 0; i < len; i++)
                        feed(&b, input, i, i + 1, &ob);
                finish(&b, &ob);
                if (oa.len != ob.len || memcmp(oa.text, ob.text, oa.len) != 0)
                        fail_msg("\"%.*s\": whole %s, by bytes %s", (int)len, input, oa.text,
                                 ob.text);
        }
}

/* After the end of an input nothing is behind a .torrent any more. */
static void test_behind(void **state)
{
        struct intake in = {0};
        struct out o = {.len = 0};

        (void)state;
        feed(&in, "d1:a1:be", 0, 8, &o);
        take(&in, true, &o);
        feed(&in, "x\n", 0, 2, &o);
        assert_string_equal(o.text, "T:d1:a1:be\nL:x\n");
        intake_clear(&in);
}

/* As deep as the shim allows, and no deeper: a scan must not count without end. */
static void test_depth(void **state)
{
        static char input[4096];

        (void)state;
        for (unsigned depth = 190; depth < 1000; depth += depth < 210 ? 1 : 97) {
                struct intake in = {0};
                struct out o = {.len = 0};
                size_t len = (size_t)sprintf(input, "d1:a");

                memset(input + len, 'l', depth - 1);
                len += depth - 1;
                memset(input + len, 'e', depth);
                len += depth;
                feed(&in, input, 0, len, &o);
                finish(&in, &o);
                if (o.text[0] != (depth <= 200 ? 'T' : 'E'))
                        fail_msg("depth %u: %c", depth, o.text[0]);
        }
}

struct begun_case {
        const char *rule, *data;
        bool expected;
};

static const struct begun_case begun_cases[] = {
        {"nothing", "", false},
        {"a magnet", "magnet:?xt=urn:btih:d4", false},
        {"a hash that begins like one", "d4d4", false},
        {"a .torrent", "d4:info", true},
};

/* What waits for its rest. */
static void test_is_torrent(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof begun_cases / sizeof *begun_cases; i++) {
                const struct begun_case *c = &begun_cases[i];
                struct intake in = {0};

                assert_int_equal(intake_add(&in, c->data, strlen(c->data), 100), 0);
                if (intake_is_torrent(&in) != c->expected)
                        fail_msg("%s", c->rule);
                intake_clear(&in);
        }
}

static void test_limit(void **state)
{
        struct intake in = {0};
        enum intake_item type;
        const char *item;
        size_t len;

        (void)state;
        /* a line that does not end */
        assert_int_equal(intake_add(&in, "0123456789", 10, 16), 0);
        assert_int_equal(intake_add(&in, "0123456", 7, 16), -E2BIG);
        /* nothing was added */
        assert_int_equal(intake_pending(&in), 10);
        assert_int_equal(intake_add(&in, "abcde\n", 6, 16), 0);
        assert_int_equal(intake_next(&in, false, &type, &item, &len), 0);
        assert_int_equal(type, INTAKE_LINE);
        assert_int_equal(len, 15);
        assert_memory_equal(item, "0123456789abcde", 15);

        /* what was given out no longer counts */
        assert_int_equal(intake_pending(&in), 0);
        assert_int_equal(intake_add(&in, "0123456789abcdef", 16, 16), 0);
        assert_int_equal(intake_add(&in, "x", 1, 16), -E2BIG);
        intake_clear(&in);

        /* a .torrent */
        assert_int_equal(intake_add(&in, "d1:a99:0123", 11, 16), 0);
        assert_int_equal(intake_next(&in, false, &type, &item, &len), 0);
        assert_int_equal(type, INTAKE_NOTHING);
        assert_int_equal(intake_add(&in, "456789", 6, 16), -E2BIG);
        intake_clear(&in);

        /* cleared: as new, also in the middle of a .torrent */
        assert_int_equal(intake_add(&in, "d1:al", 5, 16), 0);
        assert_int_equal(intake_next(&in, false, &type, &item, &len), 0);
        intake_clear(&in);
        assert_int_equal(intake_add(&in, "d1:a1:be", 8, 16), 0);
        assert_int_equal(intake_next(&in, false, &type, &item, &len), 0);
        assert_int_equal(type, INTAKE_TORRENT);
        assert_int_equal(len, 8);
        intake_clear(&in);
}

/* A 30 MiB .torrent in writes of 128 KiB, and of 64 bytes: each byte is looked at a few times, not
 * once a write. */
static void test_large(void **state)
{
        enum { LARGE = 30 << 20, SMALL = 1 << 20 };
        static const struct {
                size_t bytes, write;
        } sizes[] = {{LARGE, 128 << 10}, {SMALL, 64}};

        (void)state;
        for (size_t k = 0; k < N(sizes); k++) {
                struct intake in = {0};
                char *data = malloc(sizes[k].bytes);
                enum intake_item type = INTAKE_NOTHING;
                const char *item = NULL;
                size_t len = 0, at = 0;

                assert_non_null(data);
                /* a list of small numbers is the most tokens for its bytes */
                memcpy(data, "d1:al", 5);
                for (at = 5; at + 5 < sizes[k].bytes; at += 3)
                        memcpy(data + at, "i1e", 3);
                memcpy(data + at, "ee", 2);
                at += 2;
                for (size_t off = 0; off < at; off += sizes[k].write) {
                        size_t n = at - off < sizes[k].write ? at - off : sizes[k].write;

                        assert_int_equal(type, INTAKE_NOTHING);
                        assert_int_equal(intake_add(&in, data + off, n, LARGE), 0);
                        assert_int_equal(intake_next(&in, false, &type, &item, &len), 0);
                }
                assert_int_equal(type, INTAKE_TORRENT);
                assert_int_equal(len, at);
                assert_memory_equal(item, data, at);
                intake_clear(&in);
                free(data);
        }
}

/* A write of no bytes is nothing; asking an empty intake is nothing. */
static void test_empty(void **state)
{
        struct intake in = {0};
        enum intake_item type = INTAKE_LINE;
        const char *item;
        size_t len;

        (void)state;
        assert_int_equal(intake_next(&in, true, &type, &item, &len), 0);
        assert_int_equal(type, INTAKE_NOTHING);
        assert_int_equal(intake_pending(&in), 0);
        assert_int_equal(intake_add(&in, "", 0, 16), 0);
        assert_int_equal(intake_next(&in, false, &type, &item, &len), 0);
        assert_int_equal(type, INTAKE_NOTHING);
        intake_clear(&in);
        intake_clear(&in);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),      cmocka_unit_test(test_split),
                cmocka_unit_test(test_fuzz),       cmocka_unit_test(test_garbage),
                cmocka_unit_test(test_depth),      cmocka_unit_test(test_behind),
                cmocka_unit_test(test_is_torrent), cmocka_unit_test(test_limit),
                cmocka_unit_test(test_large),      cmocka_unit_test(test_empty),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
