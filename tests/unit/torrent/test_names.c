/* test_names.c: what a name out of a torrent becomes in a directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "torrent/names.h"

#define N(a) (sizeof(a) / sizeof *(a))

struct clean_case {
        const char *rule;
        const char *raw;
        size_t len; /* 0: strlen(raw) */
        const char *expected;
};

static const struct clean_case clean_cases[] = {
        {"plain", "clip.mp4", 0, "clip.mp4"},
        {"blanks stay", " a b ", 0, " a b "},
        {"what shells dislike stays", "*?\"<>|$`\\:", 0, "*?\"<>|$`\\:"},
        {"UTF-8 stays", "Ærøskøbing 日本 🎬.mkv", 0, "Ærøskøbing 日本 🎬.mkv"},
        {"combining marks stay as they are", "e\xcc\x81", 0, "e\xcc\x81"},
        {"zero-width joiners make emoji: they stay", "👩\xe2\x80\x8d🚀", 0, "👩\xe2\x80\x8d🚀"},

        {"nothing", "", 0, "_"},
        {"'.'", ".", 0, "_"},
        {"'..'", "..", 0, "__"},
        {"three dots are a name", "...", 0, "..."},
        {"a hidden file is one", ".nfo", 0, ".nfo"},
        {"NUL and nothing else", "\0", 1, "_"},
        {"a dot and a NUL aren't '.'", ".\0", 2, "._"},

        {"slash", "a/b", 0, "a_b"},
        {"slashes at the ends", "/a/", 0, "_a_"},
        {"'../../x' climbs nowhere", "../../x", 0, ".._.._x"},
        {"NUL", "a\0b", 3, "a_b"},
        {"C0: newline, tab, escape", "a\nb\tc\x1b[0m", 0, "a_b_c_[0m"},
        {"C0: the first and the last", "\x01\x1f", 0, "__"},
        {"DEL", "a\x7f", 0, "a_"},
        {"C1: U+0080",
         "a\xc2\x80"
         "b",
         0, "a_b"},
        {"C1: U+009F", "\xc2\x9f", 0, "_"},
        {"U+00A0 is no control", "\xc2\xa0", 0, "\xc2\xa0"},
        {"U+2028 line separator", "\xe2\x80\xa8", 0, "_"},
        {"U+2029 paragraph separator", "\xe2\x80\xa9", 0, "_"},
        {"U+202A", "\xe2\x80\xaa", 0, "_"},
        {"U+202B", "\xe2\x80\xab", 0, "_"},
        {"U+202C", "\xe2\x80\xac", 0, "_"},
        {"U+202D", "\xe2\x80\xad", 0, "_"},
        {"U+202E: exe.mp4 that is none",
         "a\xe2\x80\xae"
         "4pm.exe",
         0, "a_4pm.exe"},
        {"U+202F is a space", "\xe2\x80\xaf", 0, "\xe2\x80\xaf"},
        {"U+2027 is a hyphenation point", "\xe2\x80\xa7", 0, "\xe2\x80\xa7"},
        {"U+2066", "\xe2\x81\xa6", 0, "_"},
        {"U+2067", "\xe2\x81\xa7", 0, "_"},
        {"U+2068", "\xe2\x81\xa8", 0, "_"},
        {"U+2069", "\xe2\x81\xa9", 0, "_"},

        {"RFC 3629: a lone continuation", "a\x80z", 0, "a_z"},
        {"RFC 3629: C0, C1 begin nothing", "\xc0\xaf\xc1\xbf", 0, "____"},
        {"RFC 3629: an overlong '/' of two bytes", "..\xc0\xaf", 0, "..__"},
        {"RFC 3629: an overlong '/' of three", "\xe0\x80\xaf", 0, "___"},
        {"RFC 3629: an overlong '/' of four", "\xf0\x80\x80\xaf", 0, "____"},
        {"RFC 3629: an overlong NUL", "\xc0\x80", 0, "__"},
        {"RFC 3629: the least of three bytes", "\xe0\xa0\x80", 0, "\xe0\xa0\x80"},
        {"RFC 3629: one below it is overlong", "\xe0\x9f\xbf", 0, "___"},
        {"RFC 3629: the least of four bytes", "\xf0\x90\x80\x80", 0, "\xf0\x90\x80\x80"},
        {"RFC 3629: one below it is overlong", "\xf0\x8f\xbf\xbf", 0, "____"},
        {"RFC 3629: U+10FFFF", "\xf4\x8f\xbf\xbf", 0, "\xf4\x8f\xbf\xbf"},
        {"RFC 3629: U+110000", "\xf4\x90\x80\x80", 0, "____"},
        {"RFC 3629: F5", "\xf5\x80\x80\x80", 0, "____"},
        {"RFC 3629: U+D7FF", "\xed\x9f\xbf", 0, "\xed\x9f\xbf"},
        {"RFC 3629: surrogates", "\xed\xa0\x80\xed\xbf\xbf", 0, "______"},
        {"RFC 3629: U+E000", "\xee\x80\x80", 0, "\xee\x80\x80"},
        {"RFC 3629: five and six bytes", "\xf8\x88\x80\x80\x80\xfc\x84", 0, "_______"},
        {"RFC 3629: FE, FF", "\xfe\xff", 0, "__"},
        {"RFC 3629: cut at the end of two", "a\xc3", 0, "a_"},
        {"RFC 3629: cut at the end of three", "a\xe2\x82", 0, "a__"},
        {"RFC 3629: cut at the end of four", "a\xf0\x9f\x8e", 0, "a___"},
        {"RFC 3629: a broken character eats no neighbour", "\xe2\x82z", 0, "__z"},
        {"… also if that is a slash", "\xe2/x", 0, "__x"},
        {"Latin-1", "caf\xe9.txt", 0, "caf_.txt"},
        {"the len counts, not the NUL", "abcdef", 3, "abc"},
        {"a character behind len isn't read", "a\xc3\xa9", 2, "a_"},
};

static void test_clean(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(clean_cases); i++) {
                const struct clean_case *c = &clean_cases[i];
                char out[NAME_BYTES_MAX + 1];
                size_t n = name_clean(c->raw, c->len ? c->len : strlen(c->raw), out);

                if (strcmp(out, c->expected) != 0 || n != strlen(c->expected))
                        fail_msg("%s: \"%s\" (%zu), not \"%s\"", c->rule, out, n, c->expected);
        }
}

/* Names of count times unit with tail behind, and what is left of them. */
struct cut_case {
        const char *rule;
        const char *lead, *unit;
        size_t count;
        const char *tail;
        const char *expected_lead;
        size_t expected_count;
        const char *expected_tail;
};

static const struct cut_case cut_cases[] = {
        {"255 bytes fit", "", "a", 255, "", "", 255, ""},
        {"256 are cut", "", "a", 256, "", "", 255, ""},
        {"255 with an extension fit", "", "a", 251, ".mkv", "", 251, ".mkv"},
        {"the extension is kept", "", "a", 252, ".mkv", "", 251, ".mkv"},
        {"… of a far longer name", "", "a", 70000, ".mkv", "", 251, ".mkv"},
        {"… where the cut falls into it", "", "a", 254, ".mkv", "", 251, ".mkv"},
        {"… the last of two", "", "a", 300, ".tar.gz", "", 252, ".gz"},
        {"16 bytes are an extension", "", "a", 300, ".abcdefghijklmno", "", 239,
         ".abcdefghijklmno"},
        {"17 are none", "", "a", 300, ".abcdefghijklmnop", "", 255, ""},
        {"a dot at the end is none", "", "a", 300, ".", "", 255, ""},
        {"a name of dots", "", ".", 300, "", "", 255, ""},
        {"a cut falls between characters: two bytes", "", "é", 200, "", "", 127, ""},
        {"… three bytes, on the border", "", "日", 86, "", "", 85, ""},
        {"… four bytes", "", "🎬", 64, "", "", 63, ""},
        {"… before an extension: 251 = 125 * 2 + 1", "", "é", 200, ".mkv", "", 125, ".mkv"},
        {"… 251 = 83 * 3 + 2", "", "日", 100, ".mkv", "", 83, ".mkv"},
        {"… 251 = 62 * 4 + 3", "", "🎬", 100, ".mkv", "", 62, ".mkv"},
        {"… 251 = 1 + 125 * 2", "x", "é", 200, ".mkv", "x", 125, ".mkv"},
        {"no byte of a whole name is lost: three become one", "", "\xe2\x80\xae", 255, "", "", 0,
         NULL},
        {"what becomes shorter is cut by its new length", "", "\xe2\x80\xae", 300, ".mkv", "", 0,
         NULL},
};

static void test_cut(void **state)
{
        static char raw[1 << 17];

        (void)state;
        for (size_t i = 0; i < N(cut_cases); i++) {
                const struct cut_case *c = &cut_cases[i];
                char out[NAME_BYTES_MAX + 1], expected[NAME_BYTES_MAX + 1] = "";
                size_t len = 0, n;

                len = (size_t)sprintf(raw, "%s", c->lead);
                for (size_t k = 0; k < c->count; k++)
                        len += (size_t)sprintf(raw + len, "%s", c->unit);
                len += (size_t)sprintf(raw + len, "%s", c->tail);
                if (c->expected_tail) {
                        strcat(expected, c->expected_lead);
                        for (size_t k = 0; k < c->expected_count; k++)
                                strcat(expected, c->unit);
                        strcat(expected, c->expected_tail);
                } else { /* each unit one '_' */
                        size_t room = NAME_BYTES_MAX - strlen(c->tail);

                        memset(expected, '_', c->count < room ? c->count : room);
                        strcat(expected, c->tail);
                }
                n = name_clean(raw, len, out);
                if (strcmp(out, expected) != 0 || n != strlen(expected))
                        fail_msg("%s: \"%s\" (%zu), not \"%s\"", c->rule, out, n, expected);
        }
}

/* What an extension must not bring back in: its bytes are clean too. */
static void test_cut_hostile_extension(void **state)
{
        static const char *const tails[] = {".a/b",
                                            ".a\nb",
                                            ".a\x7f",
                                            ".\xff\xff",
                                            ".\xe2\x80\xae"
                                            "4pm",
                                            ".\xc3",
                                            ".a\x1b[0m",
                                            "./",
                                            ".mp\xc2\x80"
                                            "4"};

        (void)state;
        for (size_t i = 0; i < N(tails); i++) {
                char raw[400], out[NAME_BYTES_MAX + 1], again[NAME_BYTES_MAX + 1];
                size_t n;

                memset(raw, 'a', 300);
                strcpy(raw + 300, tails[i]);
                n = name_clean(raw, strlen(raw), out);
                assert_true(n <= NAME_BYTES_MAX && n == strlen(out));
                name_clean(out, n, again);
                if (strcmp(out, again) != 0)
                        fail_msg("extension %zu left something to clean: \"%s\"", i, out);
        }
}

static uint32_t rng = 2463534242u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

/* A second opinion on UTF-8, from the table 3-7 of the Unicode standard. */
static bool is_utf8(const char *text)
{
        const unsigned char *s = (const unsigned char *)text;

        while (*s) {
                unsigned char a = s[0], b = s[1];
                size_t more;

                if (a < 0x80)
                        more = 0;
                else if (a >= 0xc2 && a <= 0xdf)
                        more = 1;
                else if ((a == 0xe0 && b >= 0xa0) || (a == 0xed && b <= 0x9f) ||
                         (a >= 0xe1 && a <= 0xef && a != 0xed))
                        more = 2;
                else if ((a == 0xf0 && b >= 0x90) || (a == 0xf4 && b <= 0x8f) ||
                         (a >= 0xf1 && a <= 0xf3))
                        more = 3;
                else
                        return false;
                for (s++; more > 0; more--, s++)
                        if (*s < 0x80 || *s > 0xbf)
                                return false;
        }
        return true;
}

static size_t random_name(char *raw, size_t max)
{
        static const char *const parts[] = {
                ".",        "/", "a", "..", "é",    "日",           "🎬",        "\xe2\x80\xae",
                "\xc0\xaf", "",  "-", " ",  ".mp4", "\xed\xa0\x80", "\xf4\x90", "\x80",
                "\xff",     "\n"};
        size_t len = 0, want = next() % max;

        while (len + 8 < want) {
                const char *p = parts[next() % N(parts)];
                size_t n = strlen(p);

                if (next() % 4 == 0) {
                        raw[len++] = (char)next();
                        continue;
                }
                memcpy(raw + len, p, n);
                len += n > 0 ? n : 0;
                if (n == 0)
                        raw[len++] = '\0';
        }
        return len;
}

/* Whatever comes in: a name that a directory can hold, that stays what it is when cleaned again. */
static void test_clean_fuzz(void **state)
{
        (void)state;
        for (unsigned round = 0; round < 50000; round++) {
                char raw[600], out[NAME_BYTES_MAX + 1], again[NAME_BYTES_MAX + 1];
                size_t len = random_name(raw, round % 2 ? sizeof raw : 40);
                size_t n = name_clean(raw, len, out);

                if (n < 1 || n > NAME_BYTES_MAX || n != strlen(out) || strchr(out, '/') ||
                    strcmp(out, ".") == 0 || strcmp(out, "..") == 0 || !is_utf8(out))
                        fail_msg("round %u: \"%s\" (%zu)", round, out, n);
                for (size_t i = 0; i < n; i++)
                        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
                                fail_msg("round %u: control character in \"%s\"", round, out);
                name_clean(out, n, again);
                if (strcmp(out, again) != 0)
                        fail_msg("round %u: \"%s\" cleaned again is \"%s\"", round, out, again);
                for (unsigned number = 2; number < UINT32_MAX / 3; number *= 23) {
                        char numbered[NAME_BYTES_MAX + 1], suffix[16];
                        size_t m = name_numbered(out, number, numbered);

                        snprintf(suffix, sizeof suffix, " (%u)", number);
                        if (m != strlen(numbered) || m > NAME_BYTES_MAX || !is_utf8(numbered) ||
                            !strstr(numbered, suffix))
                                fail_msg("round %u: number %u of \"%s\" is \"%s\"", round, number,
                                         out, numbered);
                }
        }
}

struct stem_case {
        const char *rule, *name;
        size_t expected;
};

static const struct stem_case stem_cases[] = {
        {"an extension", "clip.mp4", 4},
        {"none", "clip", 4},
        {"only an extension", ".profile", 8},
        {"'.' would be left", "..mkv", 5},
        {"'..' would be left", "...mkv", 6},
        {"only dots would be left", "....mkv", 7},
        {"dots and more", "..a.mkv", 3},
        {"the last dot counts", "a.tar.gz", 5},
        {"a dot at the end", "clip.", 5},
        {"16 bytes with the dot", "a.abcdefghijklmno", 1},
        {"17 bytes are no extension", "a.abcdefghijklmnop", 18},
        {"hidden with an extension", ".a.b", 2},
        {"empty", "", 0},
};

static void test_stem(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(stem_cases); i++) {
                const struct stem_case *c = &stem_cases[i];

                if (name_stem(c->name) != c->expected)
                        fail_msg("%s: %s: %zu", c->rule, c->name, name_stem(c->name));
        }
}

struct number_case {
        const char *rule, *name;
        unsigned n;
        const char *expected;
};

static const struct number_case number_cases[] = {
        {"before the extension", "clip.mp4", 2, "clip (2).mp4"},
        {"no extension", "clip", 2, "clip (2)"},
        {"hidden", ".nfo", 3, ".nfo (3)"},
        {"many digits", "a.b", 4294967295u, "a (4294967295).b"},
        {"a name that is numbered already", "a (2).b", 2, "a (2) (2).b"},
        {"'_'", "_", 2, "_ (2)"},
};

static void test_numbered(void **state)
{
        char out[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1], expected[NAME_BYTES_MAX + 1];

        (void)state;
        for (size_t i = 0; i < N(number_cases); i++) {
                const struct number_case *c = &number_cases[i];
                size_t n = name_numbered(c->name, c->n, out);

                if (strcmp(out, c->expected) != 0 || n != strlen(out))
                        fail_msg("%s: \"%s\" (%zu)", c->rule, out, n);
        }

        /* a full name gives of its stem, not of its extension */
        memset(name, 'a', 251);
        strcpy(name + 251, ".mkv");
        memset(expected, 'a', 246);
        strcpy(expected + 246, " (10).mkv");
        assert_int_equal(name_numbered(name, 10, out), 255);
        assert_string_equal(out, expected);

        /* … whole characters: 255 - 4 = 251 = 83 * 3 + 2 */
        for (unsigned i = 0; i < 85; i++)
                memcpy(name + (size_t)3 * i, "日", 4);
        assert_int_equal(name_numbered(name, 2, out), 83 * 3 + 4);
        assert_string_equal(out + 83 * 3, " (2)");
        assert_memory_equal(out, name, 83 * 3);
}

struct which_case {
        const char *rule, *name, *numbered;
        unsigned expected;
};

static const struct which_case which_cases[] = {
        {"the name itself", "a.b", "a.b", 1},
        {"the second", "a.b", "a (2).b", 2},
        {"no extension", "a", "a (17)", 17},
        {"the largest", "a.b", "a (4294967295).b", 4294967295u},
        {"too large", "a.b", "a (4294967296).b", 0},
        {"far too large", "a.b", "a (99999999999999999999).b", 0},
        {"there is no first", "a.b", "a (1).b", 0},
        {"nor one with a zero before", "a.b", "a (02).b", 0},
        {"no digits", "a.b", "a ().b", 0},
        {"no blank", "a.b", "a(2).b", 0},
        {"another stem", "a.b", "b (2).b", 0},
        {"another extension", "a.b", "a (2).c", 0},
        {"the extension alone", "a.b", ".b", 0},
        {"shorter than that", "a.long", "b", 0},
        {"empty", "a.b", "", 0},
        {"numbered twice", "a (2).b", "a (2) (3).b", 3},
        {"… is not of the first", "a.b", "a (2) (3).b", 0},
};

static void test_number(void **state)
{
        char name[NAME_BYTES_MAX + 1], numbered[NAME_BYTES_MAX + 1];

        (void)state;
        for (size_t i = 0; i < N(which_cases); i++) {
                const struct which_case *c = &which_cases[i];
                unsigned n = name_number(c->name, c->numbered);

                if (n != c->expected)
                        fail_msg("%s: %s of %s: %u", c->rule, c->numbered, c->name, n);
        }
        /* also where the number took the stem's end */
        memset(name, 'a', 251);
        strcpy(name + 251, ".mkv");
        for (unsigned n = 2; n < 1000000; n = n * 7 + 1) {
                name_numbered(name, n, numbered);
                assert_int_equal(name_number(name, numbered), n);
        }
}

struct text_case {
        const char *rule, *raw;
        size_t size;
        const char *expected;
};

static const struct text_case text_cases[] = {
        {"plain", "tracker http://a/b: timed out", 64, "tracker http://a/b: timed out"},
        {"control characters", "a\nb\x1b[2J\x7f", 64, "a_b_[2J_"},
        {"broken UTF-8", "\xff\xc3", 64, "__"},
        {"overrides", "\xe2\x80\xae", 64, "_"},
        {"just fits", "abcd", 5, "abcd"},
        {"cut", "abcde", 5, "abcd"},
        {"cut between characters", "abc日", 6, "abc"},
        {"… that just fit", "abc日", 7, "abc日"},
        {"room for nothing", "abc", 1, ""},
        {"empty", "", 1, ""},
};

static void test_text(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(text_cases); i++) {
                const struct text_case *c = &text_cases[i];
                char out[64];

                memset(out, '#', sizeof out);
                name_clean_text(c->raw, out, c->size);
                if (strcmp(out, c->expected) != 0)
                        fail_msg("%s: \"%s\"", c->rule, out);
                for (size_t k = c->size; k < sizeof out; k++)
                        assert_int_equal(out[k], '#');
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_clean),
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_cut_hostile_extension),
                cmocka_unit_test(test_clean_fuzz),
                cmocka_unit_test(test_stem),
                cmocka_unit_test(test_numbered),
                cmocka_unit_test(test_number),
                cmocka_unit_test(test_text),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
