/* test_uri.c: percent-encoding, paths, info-hashes, and what GET /add/ is asked for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/intake.h"
#include "uri.h"

#define HASH           "0123456789abcdef0123456789abcdef01234567"
#define MAGNET         "magnet:?xt=urn:btih:" HASH
#define MAGNET_ENCODED "magnet%3A%3Fxt%3Durn%3Abtih%3A" HASH

struct decode_case {
        const char *rule, *in;
        int result;
        const char *expected;
};

static const struct decode_case decode_cases[] = {
        {"RFC 3986 §2.1: escapes", "a%20b%2Fc", 0, "a b/c"},
        {"RFC 3986 §2.1: either case", "%c3%BC", 0, "\xc3\xbc"},
        {"RFC 3986 §2.4: decoded once", "%2541", 0, "%41"},
        {"'+' is no space in a path", "a+b", 0, "a+b"},
        {"nothing", "", 0, ""},
        {"RFC 3986 §2.1: cut short", "abc%4", -EINVAL, NULL},
        {"RFC 3986 §2.1: only the mark", "%", -EINVAL, NULL},
        {"RFC 3986 §2.1: no hex", "%zz", -EINVAL, NULL},
        {"RFC 3986 §7.3: NUL", "a%00b", -EINVAL, NULL},
};

static void test_decode(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(decode_cases) / sizeof(decode_cases[0]); i++) {
                const struct decode_case *c = &decode_cases[i];
                char *got = NULL;
                int r = uri_decode(c->in, strlen(c->in), &got);

                if (r != c->result || (r == 0 && strcmp(got, c->expected) != 0))
                        fail_msg("%s: %s: %d, %s", c->rule, c->in, r, got ? got : "(none)");
                free(got);
        }
}

/* What is encoded decodes to itself, and stands in a URI: RFC 3986 §2.3. */
static void test_encode(void **state)
{
        static const char path[] = "d i/r#?%&+\xc3\xbc;:@'\"~-._.mkv";
        char *encoded = uri_encode_path(path), *decoded = NULL;

        (void)state;
        assert_string_equal(encoded, "d%20i/r%23%3F%25%26%2B%C3%BC%3B%3A%40%27%22~-._.mkv");
        assert_int_equal(uri_decode(encoded, strlen(encoded), &decoded), 0);
        assert_string_equal(decoded, path);
        free(encoded);
        free(decoded);
}

struct path_case {
        const char *rule, *path;
        bool clean;
};

static const struct path_case path_cases[] = {
        {"a name", "a.mkv", true},
        {"directories", "a/b/c.mkv", true},
        {"dots in names", "..a/b../...", true},
        {"backslash is a character", "a\\..\\b", true},
        {"empty", "", false},
        {"RFC 3986 §3.3: dot", "a/./b", false},
        {"RFC 3986 §3.3: dot dot", "../b", false},
        {"dot dot at the end", "a/..", false},
        {"absolute", "/etc/passwd", false},
        {"empty segment", "a//b", false},
        {"slash at the end", "a/", false},
        {"only dot dot", "..", false},
};

static void test_path(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(path_cases) / sizeof(path_cases[0]); i++)
                if (uri_path_is_clean(path_cases[i].path) != path_cases[i].clean)
                        fail_msg("%s: %s", path_cases[i].rule, path_cases[i].path);
}

struct hash_case {
        const char *rule, *text, *expected;
};

static const struct hash_case hash_cases[] = {
        {"BEP 9: hex", HASH, HASH},
        {"any case", "0123456789ABCDEF0123456789abcdef01234567", HASH},
        {"BEP 52: v2", HASH "89abcdef0123456789abcdef", HASH "89abcdef0123456789abcdef"},
        {"BEP 9: base32", "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH", HASH},
        {"BEP 9: base32, lower case", "aerukz4jvpg66ajdivtytk6n54asgrlh", HASH},
        {"too short", "0123", NULL},
        {"one digit short", "123456789abcdef0123456789abcdef01234567", NULL},
        {"no hex", "g123456789abcdef0123456789abcdef01234567", NULL},
        {"no base32", "AERUKZ4JVPG66AJDIVTYTK6N54ASGRL1", NULL},
        {"nothing", "", NULL},
};

static void test_hash(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(hash_cases) / sizeof(hash_cases[0]); i++) {
                const struct hash_case *c = &hash_cases[i];
                char got[INFO_HASH_MAX] = "untouched";
                int r = uri_info_hash(c->text, strlen(c->text), got);

                if (r != (c->expected ? 0 : -EINVAL) ||
                    strcmp(got, c->expected ? c->expected : "untouched") != 0)
                        fail_msg("%s: %s: %d, %s", c->rule, c->text, r, got);
        }
}

struct query_case {
        const char *rule, *query;
        bool expected;
};

static const struct query_case query_cases[] = {
        {"none", NULL, false},
        {"empty", "", false},
        {"alone", "keep=1", true},
        {"among others", "a=b&keep=1&c", true},
        {"another value", "keep=0", false},
        {"a longer value", "keep=11", false},
        {"no value", "keep", false},
        {"another name", "upkeep=1", false},
        {"the last counts", "keep=1&keep=0", false},
};

static void test_query(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(query_cases) / sizeof(query_cases[0]); i++)
                if (uri_query_is(query_cases[i].query, "keep", "1") != query_cases[i].expected)
                        fail_msg("%s", query_cases[i].rule);
}

struct add_case {
        const char *rule, *rest, *query;
        int result;
        const char *link;
        bool keep;
};

static const struct add_case add_cases[] = {
        {"encoded", "magnet%3A%3Fxt%3Durn%3Abtih%3A" HASH, NULL, 0, MAGNET, false},
        {"encoded, keep is the query's", "magnet%3A%3Fxt%3Durn%3Abtih%3A" HASH, "keep=1", 0, MAGNET,
         true},
        {"encoded, what is encoded in it stays",
         "magnet%3A%3Fxt%3Durn%3Abtih%3A" HASH "%26dn%3Da%2526b", NULL, 0, MAGNET "&dn=a%26b",
         false},
        {"encoded, keep in the magnet is the magnet's",
         "magnet%3A%3Fxt%3Durn%3Abtih%3A" HASH "%26keep%3D1", NULL, 0, MAGNET "&keep=1", false},
        {"raw: the query is the magnet's", "magnet:", "xt=urn:btih:" HASH "&dn=a%20b", 0,
         MAGNET "&dn=a%20b", false},
        {"raw: slashes of trackers stay", "magnet:", "xt=urn:btih:" HASH "&tr=http://t.example/a",
         0, MAGNET "&tr=http://t.example/a", false},
        {"raw: a last keep=1 is ours", "magnet:", "xt=urn:btih:" HASH "&keep=1", 0, MAGNET, true},
        {"raw: a keep=1 inside is not", "magnet:", "xt=urn:btih:" HASH "&keep=1&dn=x", 0,
         MAGNET "&keep=1&dn=x", false},
        {"raw: upkeep=1 is not keep=1", "magnet:", "xt=urn:btih:" HASH "&upkeep=1", 0,
         MAGNET "&upkeep=1", false},
        {"raw, the colon encoded", "magnet%3A", "xt=urn:btih:" HASH, 0, MAGNET, false},
        {"raw, RFC 3986 §3.1: scheme in any case", "MAGNET:", "xt=urn:btih:" HASH, 0,
         "MAGNET:?xt=urn:btih:" HASH, false},
        {"raw, slashes behind the scheme", "magnet://", "xt=urn:btih:" HASH, 0,
         "magnet://?xt=urn:btih:" HASH, false},
        {"encoded, blanks in it", MAGNET_ENCODED "%26dn%3Da%20b%09c", NULL, 0, MAGNET "&dn=a b\tc",
         false},
        {"encoded, quotes around", "%22" MAGNET_ENCODED "%22", NULL, 0, "\"" MAGNET "\"", false},
        {"a '%' that escapes nothing", MAGNET_ENCODED "%26dn%3D100% x%zz%", NULL, 0,
         MAGNET "&dn=100% x%zz%", false},
        {"line breaks around", "%0A" HASH "%0D%0A", NULL, 0, "\n" HASH "\r\n", false},
        {"bare hash", HASH, NULL, 0, HASH, false},
        {"bare hash, keep", HASH, "keep=1", 0, HASH, true},
        {"bare base32 hash", "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH", NULL, 0,
         "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH", false},
        {"what a magnet is the mount says", "hello", NULL, 0, "hello", false},
        {"no query", "magnet:", NULL, 0, "magnet:", false},
        {"another scheme", "http%3A%2F%2Fa", NULL, 0, "http://a", false},
        {"a second line", "magnet%3A%3Fxt%3D1%0Amagnet%3A%3Fxt%3D2", NULL, -EINVAL, NULL, false},
        {"a .torrent", "d8%3Aannounce0%3Ae", NULL, -EINVAL, NULL, false},
        {"a .torrent behind a blank", "%20d8%3Aannounce0%3Ae", NULL, -EINVAL, NULL, false},
        {"nothing", "%20%0A", NULL, -EINVAL, NULL, false},
        {"NUL", "magnet%3A%3F%00", NULL, -EINVAL, NULL, false},
};

static void test_add(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(add_cases) / sizeof(add_cases[0]); i++) {
                const struct add_case *c = &add_cases[i];
                char *link = NULL;
                bool keep = false;
                int r = uri_add_target(c->rest, c->query, &link, &keep);

                if (r != c->result || keep != c->keep || (r == 0 && strcmp(link, c->link) != 0))
                        fail_msg("%s: %d, %s, keep %d", c->rule, r, link ? link : "(none)", keep);
                free(link);
        }
}

struct torrent_case {
        const char *rule, *data;
        bool expected;
};

static const struct torrent_case torrent_cases[] = {
        {"BEP 3: a dictionary", "d8:announce0:e", true},
        {"blanks before it", " \r\n\td4:info", true},
        {"a byte order mark before it",
         "\xef\xbb\xbf"
         "d4:info",
         true},
        {"nothing", "", false},
        {"a hash that begins with d", "d4d4d4", false},
        {"an empty dictionary", "de", false},
        {"a list", "l4:infoe", false},
};

static void test_torrent(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(torrent_cases) / sizeof(torrent_cases[0]); i++) {
                const struct torrent_case *c = &torrent_cases[i];

                if (intake_begins_torrent(c->data, strlen(c->data)) != c->expected)
                        fail_msg("%s", c->rule);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_decode),  cmocka_unit_test(test_encode),
                cmocka_unit_test(test_path),    cmocka_unit_test(test_hash),
                cmocka_unit_test(test_query),   cmocka_unit_test(test_add),
                cmocka_unit_test(test_torrent),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
