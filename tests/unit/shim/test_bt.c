/* test_bt.c: magnets, .torrent files and settings, as the shim takes them. No session. */
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

#include "bt.h"

#define N(a) (sizeof(a) / sizeof *(a))

#define V1    "0123456789abcdef0123456789abcdef01234567"
#define V1_U  "0123456789ABCDEF0123456789ABCDEF01234567"
#define V1_32 "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH"
#define V2    "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define V2_U  "FEDCBA9876543210FEDCBA9876543210FEDCBA9876543210FEDCBA9876543210"
#define BTIH  "magnet:?xt=urn:btih:"
#define BTMH  "magnet:?xt=urn:btmh:1220"

/* ---- magnets (BEP 9, BEP 53, BEP 52) ---- */

struct magnet_case {
        const char *rule, *text;
        const char *v1, *v2; /* "": none */
        const char *name;
};

static const struct magnet_case magnet_cases[] = {
        {"BEP 9: hex", BTIH V1, V1, "", ""},
        {"BEP 9: hex of capitals", BTIH V1_U, V1, "", ""},
        {"BEP 9: base32", BTIH V1_32, V1, "", ""},
        {"BEP 9: base32 of small letters", BTIH "aerukz4jvpg66ajdivtytk6n54asgrlh", V1, "", ""},
        {"a bare hash", V1, V1, "", ""},
        {"a bare hash of capitals", V1_U, V1, "", ""},
        {"a bare hash in base32", V1_32, V1, "", ""},
        {"a bare v2 hash", V2, "", V2, ""},
        {"… of capitals", V2_U, "", V2, ""},
        {"BEP 52: btmh", BTMH V2, "", V2, ""},
        {"BEP 52: both", BTIH V1 "&xt=urn:btmh:1220" V2, V1, V2, ""},
        {"BEP 52: both, the other way round", BTMH V2 "&xt=urn:btih:" V1, V1, V2, ""},
        {"BEP 9: dn", BTIH V1 "&dn=clip", V1, "", "clip"},
        {"dn, percent-encoded", BTIH V1 "&dn=a%20%C3%A9%26b", V1, "", "a \xc3\xa9&b"},
        {"dn, with '+' for a blank", BTIH V1 "&dn=a+b", V1, "", "a b"},
        {"dn, raw, as people paste it", BTIH V1 "&dn=a b \xc3\xa9", V1, "", "a b \xc3\xa9"},
        {"dn of nothing", BTIH V1 "&dn=", V1, "", ""},
        {"the order is free", "magnet:?dn=clip&xt=urn:btih:" V1, V1, "", "clip"},
        {"xt, percent-encoded", "magnet:?xt=urn%3Abtih%3A" V1, V1, "", ""},
        {"xt.1", "magnet:?xt.1=urn:btih:" V1, V1, "", ""},
        {"xt of another network beside it", "magnet:?xt=urn:ed2k:31D6CF&xt=urn:btih:" V1, V1, "",
         ""},
        {"what is unknown is ignored", BTIH V1 "&foo=bar&xl=10&&=&as=http%3A%2F%2Fx", V1, "", ""},
        {"BEP 53: so", BTIH V1 "&so=0,2,4-8&dn=x", V1, "", "x"},
        {"BEP 53: a broken so", BTIH V1 "&so=8-4,,-,99999999999", V1, "", ""},
        {"a huge so takes no memory", BTIH V1 "&so=2000000000", V1, "", ""},
        {"a tracker that is none", BTIH V1 "&tr=&tr=%", V1, "", ""},
        {"a peer that is none", BTIH V1 "&x.pe=&x.pe=nonsense&x.pe=1.2.3.4", V1, "", ""},

        /* as people paste them */
        {"blanks around", " \t" BTIH V1 "&dn=x \r\n", V1, "", "x"},
        {"blanks of Unicode around", "\xef\xbb\xbf\xc2\xa0" V1 "\xe2\x80\x8b", V1, "", ""},
        {"quotes around", "\"" BTIH V1 "&dn=x\"", V1, "", "x"},
        {"… that are typographic", "\xe2\x80\x9c" BTIH V1 "\xe2\x80\x9d", V1, "", ""},
        {"brackets and quotes around", "<'" BTIH V1 "' >", V1, "", ""},
        {"around a bare hash", "[" V1 "]", V1, "", ""},
        {"a quote on one side is no pair", BTIH V1 "&dn=a'", V1, "", "a'"},
        {"RFC 3986 §3.1: the scheme in any case", "MAGNET:?xt=urn:btih:" V1, V1, "", ""},
        {"RFC 8141 §3.1: the URN in any case", "Magnet:?XT=URN:BTIH:" V1_U, V1, "", ""},
        {"… of v2", "magnet:?xt=Urn:Btmh:1220" V2_U, "", V2, ""},
        {"slashes behind the scheme", "magnet:///?xt=urn:btih:" V1, V1, "", ""},
        {"two slashes", "magnet://?xt=urn:btih:" V1 "&dn=x", V1, "", "x"},
        {"all of it percent-encoded", "magnet%3A%3Fxt%3Durn%3Abtih%3A" V1 "%26dn%3Da%2520b", V1, "",
         "a b"},
        {"RFC 3986 §3.5: a fragment", BTIH V1 "#top", V1, "", ""},
        {"… behind a name", BTIH V1 "&dn=x#top", V1, "", "x"},
        {"… but a '#' within it", BTIH V1 "&dn=a#1&so=1", V1, "", "a#1"},
        {"… and one behind a blank", BTIH V1 "&dn=Movie #1", V1, "", "Movie #1"},
        {"a '%' that escapes nothing", BTIH V1 "&dn=100% real", V1, "", "100% real"},
        {"… at the end", BTIH V1 "&dn=100%", V1, "", "100%"},
        {"… before one digit", BTIH V1 "&dn=%4", V1, "", "%4"},
        {"a parameter without '=' first", "magnet:?&xt=urn:btih:" V1, V1, "", ""},
        {"… a word first", "magnet:?x&xt=urn:btih:" V1, V1, "", ""},
        {"… in a name", BTIH V1 "&dn=Tom&Jerry&so=1", V1, "", "Tom&Jerry"},
        {"… with blanks around", BTIH V1 "&dn=Tom & Jerry", V1, "", "Tom & Jerry"},
        {"… and with a '=' that is no parameter's", BTIH V1 "&dn=1 & 1 = 2", V1, "", "1 & 1 = 2"},
        {"… behind the hash", BTIH V1 "&x&dn=y", V1, "", "y"},
        {"'&' at the end", BTIH V1 "&dn=x&", V1, "", "x"},
        {"'?' at a name's end", BTIH V1 "&dn=Who?&so=1", V1, "", "Who?"},
        {"HTML's &amp;", BTIH V1 "&amp;dn=x&amp;so=1", V1, "", "x"},
        {"a line break within", BTIH V1 "&dn=a\rb", V1, "", "a\rb"},
};

struct tracker_case {
        const char *rule, *text;
        unsigned trackers;
        const char *one; /* as bt_source_magnet() writes it */
};

static const struct tracker_case tracker_cases[] = {
        {"percent-encoded", BTIH V1 "&tr=udp%3A%2F%2Ft.org%3A80", 1, "&tr=udp%3a%2f%2ft.org%3a80"},
        {"raw", BTIH V1 "&tr=udp://t.org:80", 1, "&tr=udp%3a%2f%2ft.org%3a80"},
        {"blanks around", BTIH V1 "&tr= http://t.org &dn=x", 1, "&tr=http%3a%2f%2ft.org"},
        {"numbered", BTIH V1 "&tr.1=http://a.org&tr.2=http://b.org", 2, "&tr=http%3a%2f%2fb.org"},
        {"a name that goes on before it", BTIH V1 "&dn=Tom&Jerry&tr=http://t.org", 1,
         "&tr=http%3a%2f%2ft.org"},
        {"a name that ends with '?' before it", BTIH V1 "&dn=Who?&tr=http://t.org", 1,
         "&tr=http%3a%2f%2ft.org"},
        {"a parameter without '=' before it", BTIH V1 "&x&tr=http://t.org", 1,
         "&tr=http%3a%2f%2ft.org"},
        {"one without '='", BTIH V1 "&tr&tr=http://t.org", 1, "&tr=http%3a%2f%2ft.org"},
        {"none", BTIH V1 "&tr=&tr=%&tr=x", 0, ""},
        {"a '%' that escapes nothing", BTIH V1 "&tr=http://t.org/%zz", 1,
         "&tr=http%3a%2f%2ft.org%2f%25zz"},
        {"HTML's &amp;", BTIH V1 "&amp;tr=http://t.org", 1, "&tr=http%3a%2f%2ft.org"},
        {"a fragment", BTIH V1 "&tr=http://t.org#x", 1, "&tr=http%3a%2f%2ft.org"},
};

static void check_hash(const char *rule, const struct bt_hash *h, const char *v1, const char *v2)
{
        char got1[BT_HEX_MAX], got2[BT_HEX_MAX];

        bt_hash_v1_hex(h, got1);
        bt_hash_v2_hex(h, got2);
        if (strcmp(got1, v1) != 0 || strcmp(got2, v2) != 0 || h->has_v1 != (v1[0] != '\0') ||
            h->has_v2 != (v2[0] != '\0'))
                fail_msg("%s: \"%s\" and \"%s\"", rule, got1, got2);
}

static struct bt_source *magnet(const char *rule, const char *text, bool loopback)
{
        struct bt_source *s = NULL;
        struct bt_error err = {0};

        if (bt_source_from_magnet(text, strlen(text), loopback, &s, &err) != 0)
                fail_msg("%s: %s", rule, err.text);
        assert_null(bt_source_meta(s));
        return s;
}

static void test_magnet(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(magnet_cases); i++) {
                const struct magnet_case *c = &magnet_cases[i];
                struct bt_source *s = magnet(c->rule, c->text, false), *again;

                check_hash(c->rule, bt_source_hash(s), c->v1, c->v2);
                if (strcmp(bt_source_name(s), c->name) != 0)
                        fail_msg("%s: the name is \"%s\"", c->rule, bt_source_name(s));
                /* what is kept in the catalog says the same when it is read */
                again = magnet(c->rule, bt_source_magnet(s), false);
                check_hash(c->rule, bt_source_hash(again), c->v1, c->v2);
                if (strcmp(bt_source_name(again), c->name) != 0)
                        fail_msg("%s: read again the name is \"%s\"", c->rule,
                                 bt_source_name(again));
                bt_source_free(again);
                bt_source_free(s);
        }
}

/* BEP 53: which files a magnet asks for. */
static void test_magnet_selects(void **state)
{
        static const struct {
                const char *so, *selected; /* of the first eight files */
        } cases[] = {
                {"", "11111111"},
                {"&so=", "11111111"},
                {"&so=0", "10000000"},
                {"&so=7", "00000001"},
                {"&so=0-3", "11110000"},
                {"&so=0,2,4-6", "10101110"},
                {"&so=6-4", "11111111"},
                {"&so=x", "11111111"},
                {"&so=2-", "11111111"},
                {"&so=1,6-4", "01000000"},
                {"&so=1,,3", "01010000"},
                {"&so=1&so=3", "01010000"},
                {"&so=0-7", "11111111"},
                {"&so=9", "00000000"},
                {"&so=99999999999", "11111111"},
        };

        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                char text[200], got[9] = "", again[9] = "";
                struct bt_source *s, *copy;

                sprintf(text, "%s%s", BTIH V1, cases[i].so);
                s = magnet(cases[i].so, text, false);
                copy = magnet(cases[i].so, bt_source_magnet(s), false);
                for (uint32_t k = 0; k < 8; k++) {
                        got[k] = bt_source_selects(s, k) ? '1' : '0';
                        again[k] = bt_source_selects(copy, k) ? '1' : '0';
                }
                if (strcmp(got, cases[i].selected) != 0 || strcmp(again, got) != 0)
                        fail_msg("%s: %s, then %s (%s)", cases[i].so, got, again,
                                 bt_source_magnet(s));
                bt_source_free(copy);
                bt_source_free(s);
        }
}

struct bad_case {
        const char *rule, *text;
        size_t len; /* 0: strlen(text) */
};

static const struct bad_case bad_magnets[] = {
        {"empty", "", 0},
        {"a word", "hello", 0},
        {"another scheme", "http://example.org/?xt=urn:btih:" V1, 0},
        {"the scheme alone", "magnet:", 0},
        {"nothing behind it", "magnet:?", 0},
        {"no hash", "magnet:?dn=clip", 0},
        {"an empty hash", BTIH, 0},
        {"39 digits", BTIH "0123456789abcdef0123456789abcdef0123456", 0},
        {"41 digits", BTIH V1 "0", 0},
        {"a letter that is no digit, first", BTIH "g123456789abcdef0123456789abcdef01234567", 0},
        {"… last", BTIH "0123456789abcdef0123456789abcdef0123456g", 0},
        {"… in the middle", BTIH "0123456789abcdef0123-56789abcdef01234567", 0},
        {"a percent in the hash", BTIH "0123456789abcdef0123%zz789abcdef01234567", 0},
        {"base32 has no 0, 1, 8, 9", BTIH "0123456789ABCDEF0123456789ABCDEF", 0},
        {"base32 with a dash", BTIH "AERUKZ4JVPG66AJ-IVTYTK6N54ASGRLH", 0},
        {"v2 digits in btih", BTIH V2, 0},
        {"BEP 52: 63 digits",
         BTMH "edcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210", 0},
        {"BEP 52: a letter that is no digit",
         BTMH "gedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210", 0},
        {"BEP 52: … last", BTMH "fedcba9876543210fedcba9876543210fedcba9876543210fedcba987654321z",
         0},
        {"BEP 52: another multihash", "magnet:?xt=urn:btmh:1114" V1, 0},
        {"BEP 52: no multihash", "magnet:?xt=urn:btmh:" V2, 0},
        {"only another network", "magnet:?xt=urn:ed2k:31D6CFE0D16AE931B73C59D7E0C089C0", 0},
        {"all zeros is no hash", BTIH "0000000000000000000000000000000000000000", 0},
        {"a bare hash of 39", "0123456789abcdef0123456789abcdef0123456", 0},
        {"a bare hash with a letter", "0123456789abcdef0123456789abcdef0123456g", 0},
        {"a bare hash in base32 with 0", "0ERUKZ4JVPG66AJDIVTYTK6N54ASGRLH", 0},
        {"a letter that is no digit, percent-encoded",
         "magnet:?xt=urn%3Abtih%3Ag123456789abcdef0123456789abcdef01234567", 0},
        {"… in capitals", "magnet:?xt=URN:BTIH:g123456789abcdef0123456789abcdef01234567", 0},
        {"quotes around nothing", "\"\"", 0},
        {"quotes around no magnet", "\"hello\"", 0},
        {"slashes alone", "magnet://", 0},
        {"a host", "magnet://x?xt=urn:btih:" V1, 0},
        {"the hash in the fragment", "magnet:?dn=x#xt=urn:btih:" V1, 0},
        {"a hash cut by '&'", BTIH "0123456789abcdef0123&456789abcdef01234567", 0},
        {"a blank in the hash", BTIH "0123456789abcdef0123 456789abcdef01234567", 0},
        {"two lines", BTIH V1 "\n" BTIH V1, 0},
        {"a NUL inside", BTIH V1 "&dn=\0x", sizeof(BTIH V1 "&dn=\0x") - 1},
        {"a NUL behind", BTIH V1, sizeof(BTIH V1)},
};

static void test_magnet_bad(void **state)
{
        unsigned wrong = 0;

        (void)state;
        for (size_t i = 0; i < N(bad_magnets); i++) {
                const struct bad_case *c = &bad_magnets[i];
                struct bt_source *s = (struct bt_source *)(uintptr_t)1;
                struct bt_error err = {0};
                size_t len = c->len ? c->len : strlen(c->text);
                int r = bt_source_from_magnet(c->text, len, false, &s, &err);

                if (r != -EINVAL) {
                        char hex[BT_HEX_MAX] = "";

                        if (r == 0) {
                                bt_hash_v1_hex(bt_source_hash(s), hex);
                                bt_source_free(s);
                        }
                        print_error("%s: %d %s\n", c->rule, r, hex);
                        wrong++;
                        continue;
                }
                /* a reason, and the result untouched */
                assert_int_equal(err.code, -EINVAL);
                assert_true(err.text[0] != '\0' && strlen(err.text) < sizeof err.text);
                assert_true(s == (struct bt_source *)(uintptr_t)1);
                assert_int_equal(bt_source_from_magnet(c->text, len, false, &s, NULL), -EINVAL);
        }
        assert_int_equal(wrong, 0);
}

/* How often needle is in text. */
static unsigned occurs(const char *text, const char *needle)
{
        unsigned n = 0;

        while ((text = strstr(text, needle))) {
                n++;
                text += strlen(needle);
        }
        return n;
}

static void test_magnet_trackers(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(tracker_cases); i++) {
                const struct tracker_case *c = &tracker_cases[i];
                struct bt_source *s = magnet(c->rule, c->text, false);
                const char *text = bt_source_magnet(s);

                if (occurs(text, "&tr=") != c->trackers || !strcasestr(text, c->one))
                        fail_msg("%s: %s", c->rule, text);
                bt_source_free(s);
        }
}

/* At most 100 each of trackers, web seeds and peers. */
static void test_magnet_lists(void **state)
{
        static char text[60000];

        (void)state;
        for (unsigned n = 99; n <= 300; n += n < 101 ? 1 : 199) {
                size_t len = (size_t)sprintf(text, "%s", BTIH V1);
                const unsigned kept = n < 100 ? n : 100;
                struct bt_source *s;
                char last[64];

                for (unsigned i = 0; i < n; i++)
                        len += (size_t)sprintf(text + len,
                                               "&tr=http%%3A%%2F%%2Ft%u.org%%2Fa"
                                               "&ws=http%%3A%%2F%%2Fw%u.org%%2F&x.pe=10.0.%u.%u:%u",
                                               i, i, i / 200, i % 200 + 1, 1000 + i);
                s = magnet("lists", text, false);
                assert_int_equal(occurs(bt_source_magnet(s), "&tr="), kept);
                assert_int_equal(occurs(bt_source_magnet(s), "&ws="), kept);
                assert_int_equal(occurs(bt_source_magnet(s), "&x.pe="), kept);
                /* the first ones */
                sprintf(last, ":%u", 1000 + kept - 1);
                assert_non_null(strstr(bt_source_magnet(s), last));
                bt_source_free(s);
        }
}

static void test_magnet_long(void **state)
{
        enum { LONG = 64 * 1024 };
        char *text = malloc(LONG + 2);
        struct bt_source *s = NULL;

        (void)state;
        assert_non_null(text);
        memset(text, 'a', LONG + 1);
        text[LONG + 1] = '\0';
        memcpy(text, BTIH V1 "&dn=", sizeof(BTIH V1 "&dn=") - 1);
        assert_int_equal(bt_source_from_magnet(text, LONG + 1, false, &s, NULL), -EINVAL);
        assert_null(s);
        assert_int_equal(bt_source_from_magnet(text, LONG, false, &s, NULL), 0);
        bt_source_free(s);
        free(text);
        bt_source_free(NULL);
}

struct peer_case {
        const char *rule, *peer;
        bool loopback;
};

/* A magnet must not make this machine talk to itself. */
static const struct peer_case peer_cases[] = {
        {"an address", "192.0.2.1:6881", false},
        {"IPv6", "[2001:db8::1]:6881", false},
        {"127.0.0.1", "127.0.0.1:22", true},
        {"all of 127.0.0.0/8", "127.255.0.7:22", true},
        {"::1", "[::1]:22", true},
        {"RFC 4291 §2.5.5.2: 127.0.0.1 as IPv6", "[::ffff:127.0.0.1]:22", true},
        {"… in hex", "[::ffff:7f00:1]:22", true},
        {"0.0.0.0 connects to this machine", "0.0.0.0:22", true},
        {"… and so does ::", "[::]:22", true},
        {"… and ::ffff:0.0.0.0", "[::ffff:0.0.0.0]:22", true},
};

static void test_magnet_loopback(void **state)
{
        unsigned wrong = 0;

        (void)state;
        for (size_t i = 0; i < N(peer_cases); i++) {
                const struct peer_case *c = &peer_cases[i];
                char text[200];

                sprintf(text, "%s&x.pe=%s&x.pe=192.0.2.77:1", BTIH V1, c->peer);
                for (unsigned allowed = 0; allowed < 2; allowed++) {
                        struct bt_source *s = magnet(c->rule, text, allowed == 1);
                        unsigned n = occurs(bt_source_magnet(s), "&x.pe=");

                        /* with leave to use them 0.0.0.0 and such may stay or go */
                        if (allowed ? n < 1 : n != (c->loopback ? 1 : 2)) {
                                print_error("%s: %s\n", c->rule, bt_source_magnet(s));
                                wrong++;
                        }
                        assert_non_null(strstr(bt_source_magnet(s), "x.pe=192.0.2.77:1"));
                        if (allowed && strncmp(c->peer, "127.0.0.1", 9) == 0)
                                assert_non_null(strstr(bt_source_magnet(s), "x.pe=127.0.0.1:22"));
                        bt_source_free(s);
                }
        }
        assert_int_equal(wrong, 0);
}

static const struct peer_case web_seed_cases[] = {
        {"HTTP", "http://example.org/a%20b", false},
        {"HTTPS, a port and a query", "https://192.0.2.1:8443/f?x=1", false},
        {"not a name below localhost", "http://notlocalhost/f", false},
        {"127.0.0.1", "http://127.0.0.1/f", true},
        {"… with a port", "http://127.0.0.1:8080/f", true},
        {"… with a user", "http://a:b@127.0.0.1/f", true},
        {"… whose user looks like a host", "http://example.org:80@127.0.0.1/f", true},
        {"… with a query alone", "http://127.0.0.1?f", true},
        {"HTTPS", "https://127.0.0.1/f", true},
        {"a scheme in capitals", "HTTP://127.0.0.1/f", true},
        {"IPv6", "http://[::1]:80/f", true},
        {"RFC 4291 §2.5.5.2", "http://[::ffff:127.0.0.1]/f", true},
        {"0.0.0.0", "http://0.0.0.0/f", true},
        {"RFC 6761 §6.3", "http://localhost/f", true},
        {"… all below it", "http://a.LocalHost:80/f", true},
        {"… with the root's dot", "http://localhost./f", true},
};

static unsigned web_seeds(const struct bt_source *s)
{
        return occurs(bt_source_magnet(s), "&ws=");
}

static void test_magnet_web_seeds(void **state)
{
        unsigned wrong = 0;

        (void)state;
        for (size_t i = 0; i < N(web_seed_cases); i++) {
                const struct peer_case *c = &web_seed_cases[i];
                char text[300], *to;

                to = text + sprintf(text, "%s&ws=", BTIH V1);
                for (const char *p = c->peer; *p; p++)
                        to += sprintf(to, strchr("%?&=", *p) ? "%%%02X" : "%c", *p);
                for (unsigned allowed = 0; allowed < 2; allowed++) {
                        struct bt_source *s = magnet(c->rule, text, allowed == 1);

                        if (web_seeds(s) != (allowed || !c->loopback ? 1 : 0)) {
                                print_error("%s: %s\n", c->rule, bt_source_magnet(s));
                                wrong++;
                        }
                        bt_source_free(s);
                }
        }
        assert_int_equal(wrong, 0);
}

static void test_magnet_bad_web_seeds(void **state)
{
        static const char *const bad[] = {"ftp://example.org/f", "http://",
                                          "http:///f",           "//example.org/f",
                                          "example.org/f",       "http://example.org/f"};
        char text[2000];
        size_t len = (size_t)sprintf(text, "%s&ws=http://example.org/f", BTIH V1);
        struct bt_source *s;

        (void)state;
        for (size_t i = 0; i < N(bad); i++)
                len += (size_t)sprintf(text + len, "&ws=%s", bad[i]);
        s = magnet("bad web seeds", text, true);
        assert_int_equal(web_seeds(s), 1);
        bt_source_free(s);
}

/* Many magnets have them encoded once too little; and a line break would end the request's line. */
static void test_magnet_web_seeds_are_encoded(void **state)
{
        struct bt_source *s = magnet(
                "encoded", BTIH V1 "&ws=http%3A%2F%2Fexample.org%2Fa%20b%0D%0Ac%C3%A9", false);

        (void)state;
        assert_non_null(strstr(bt_source_magnet(s), "a%2520b%250D%250Ac%25C3%25A9"));
        bt_source_free(s);
}

/* Those that are dropped take no place from others. */
static void test_magnet_many_web_seeds(void **state)
{
        char text[16000];
        size_t len = (size_t)sprintf(text, "%s", BTIH V1);
        struct bt_source *s;

        (void)state;
        for (unsigned i = 0; i < 150; i++)
                len += (size_t)sprintf(text + len, "&ws=http://127.0.0.1:%u/f", i + 1);
        sprintf(text + len, "&ws=http://example.org/f");
        s = magnet("loopback first", text, false);
        assert_int_equal(web_seeds(s), 1);
        bt_source_free(s);
        s = magnet("loopback first", text, true);
        assert_int_equal(web_seeds(s), 100);
        bt_source_free(s);
}

/* Loopback peers that are dropped take no place from others. */
static void test_magnet_loopback_first(void **state)
{
        char text[8000];
        size_t len = (size_t)sprintf(text, "%s", BTIH V1);
        struct bt_source *s;

        (void)state;
        for (unsigned i = 0; i < 150; i++)
                len += (size_t)sprintf(text + len, "&x.pe=127.0.0.1:%u", i + 1);
        sprintf(text + len, "&x.pe=192.0.2.77:1");
        s = magnet("loopback first", text, false);
        assert_int_equal(occurs(bt_source_magnet(s), "&x.pe="), 1);
        bt_source_free(s);
        s = magnet("loopback first", text, true);
        assert_int_equal(occurs(bt_source_magnet(s), "&x.pe="), 100);
        bt_source_free(s);
}

static uint32_t rng = 1013904223u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

/* Any bytes: an answer, and a result only with success. */
static void test_magnet_fuzz(void **state)
{
        static const char *const parts[] = {
                "magnet:?", "xt=urn:btih:", V1,    V1_32, V2,
                "&",        "&x.pe=",       "[::", "]:",  "127.0.0.1:",
                "&so=",     "1-",           ",",   "%",   "%0",
                "&tr=",     "&dht=",        "a:",  "=",   "&xt=urn:btmh:1220"};

        (void)state;
        for (unsigned round = 0; round < 30000; round++) {
                char text[1024];
                size_t len = round % 2 ? (size_t)sprintf(text, "%s", BTIH V1) : 0;
                struct bt_source *s = NULL;
                int r;

                for (unsigned k = next() % 12; k > 0; k--) {
                        len += (size_t)sprintf(text + len, "%s", parts[next() % N(parts)]);
                        if (next() % 3 == 0)
                                text[len++] = (char)next();
                }
                r = bt_source_from_magnet(text, len, false, &s, NULL);
                if (r != 0 && (r != -EINVAL || s))
                        fail_msg("round %u: %d", round, r);
                bt_source_free(s);
        }
}

/* ---- .torrent files (BEP 3, BEP 47, BEP 52) ---- */

struct bytes {
        char *p;
        size_t len, room;
};

static void put(struct bytes *b, const void *p, size_t len)
{
        if (b->len + len > b->room) {
                b->room = 2 * (b->len + len) + 256;
                b->p = realloc(b->p, b->room);
                assert_non_null(b->p);
        }
        memcpy(b->p + b->len, p, len);
        b->len += len;
}

static void put_text(struct bytes *b, const char *text)
{
        put(b, text, strlen(text));
}

static void put_string(struct bytes *b, const void *p, size_t len)
{
        char head[24];

        put(b, head, (size_t)sprintf(head, "%zu:", len));
        put(b, p, len);
}

static void put_key(struct bytes *b, const char *key)
{
        put_string(b, key, strlen(key));
}

static void put_int(struct bytes *b, int64_t n)
{
        char text[32];

        put(b, text, (size_t)sprintf(text, "i%llde", (long long)n));
}

struct file {
        const char *path[8]; /* components */
        size_t len;          /* of the only component; 0: strlen */
        int64_t size;
        const char *attr;
};

/* A v1 .torrent of n files below name. */
static struct bytes torrent_of(const char *name, const struct file *files, size_t n,
                               int64_t piece_length)
{
        struct bytes b = {0};
        int64_t total = 0;

        put_text(&b, "d4:infod5:filesl");
        for (size_t i = 0; i < n; i++) {
                const struct file *f = &files[i];

                put_text(&b, "d");
                if (f->attr) {
                        put_key(&b, "attr");
                        put_key(&b, f->attr);
                }
                put_key(&b, "length");
                put_int(&b, f->size);
                put_text(&b, "4:pathl");
                for (size_t k = 0; k < N(f->path) && f->path[k]; k++)
                        put_string(&b, f->path[k], f->len ? f->len : strlen(f->path[k]));
                put_text(&b, "e");
                if (f->attr && strchr(f->attr, 'l'))
                        put_text(&b, "12:symlink pathl1:x1:ye");
                put_text(&b, "e");
                total += f->attr && strchr(f->attr, 'l') ? 0 : f->size;
        }
        put_text(&b, "e4:name");
        put_string(&b, name, strlen(name));
        put_text(&b, "12:piece length");
        put_int(&b, piece_length);
        put_text(&b, "6:pieces");
        {
                size_t pieces = (size_t)((total + piece_length - 1) / piece_length);
                char *hashes = calloc(pieces + 1, 20);

                assert_non_null(hashes);
                memset(hashes, 'A', pieces * 20);
                put_string(&b, hashes, pieces * 20);
                free(hashes);
        }
        put_text(&b, "ee");
        return b;
}

static struct bt_source *torrent(const char *rule, const void *p, size_t len)
{
        struct bt_source *s = NULL;
        struct bt_error err = {0};

        if (bt_source_from_torrent(p, len, &bt_default_limits, false, &s, &err) != 0)
                fail_msg("%s: %s", rule, err.text);
        assert_non_null(bt_source_meta(s));
        return s;
}

#define A20    "AAAAAAAAAAAAAAAAAAAA"
#define R32    "RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR"
#define SINGLE "d6:lengthi5e4:name8:clip.mp412:piece lengthi16384e6:pieces20:" A20 "e"
#define TREE_1 "9:file treed8:clip.mp4d0:d6:lengthi5e11:pieces root32:" R32 "eee"

struct hash_case {
        const char *rule, *info;
        const char *v1, *v2; /* of sha1sum and sha256sum */
};

static const struct hash_case hash_cases[] = {
        {"BEP 3", SINGLE, "a68f6d9b8b1e9cca4154afb7c0f51776ca54dcfd", ""},
        {"BEP 52", "d" TREE_1 "12:meta versioni2e4:name8:clip.mp412:piece lengthi16384ee", "",
         "d707b142f5bf5c118fd96958089e1fcb8e13c959121565bc243f99179969f23d"},
        {"BEP 52: a hybrid",
         "d" TREE_1 "6:lengthi5e12:meta versioni2e4:name8:clip.mp412:piece lengthi16384e6:"
         "pieces20:" A20 "e",
         "7e5ef830b6e1e54d51f38575c68b674a261adba7",
         "6afc8680c481115cc0f660603c3311812e860ea37049f648d08f1915747c5ed9"},
};

/* The info-hash is of the info dictionary's bytes; a single file is clip.mp4 in its torrent. */
static void test_torrent_single(void **state)
{
        unsigned wrong = 0;

        (void)state;
        for (size_t i = 0; i < N(hash_cases); i++) {
                const struct hash_case *c = &hash_cases[i];
                struct bytes b = {0};
                struct bt_source *s, *again;
                struct bt_meta *m;
                struct bt_file f;

                put_text(&b, "d8:announce16:http://tr.org/an4:info");
                put_text(&b, c->info);
                put_text(&b, "e");
                s = torrent(c->rule, b.p, b.len);
                m = bt_source_meta(s);
                check_hash(c->rule, bt_source_hash(s), c->v1, c->v2);
                check_hash(c->rule, bt_meta_hash(m), c->v1, c->v2);
                assert_string_equal(bt_source_name(s), "clip.mp4");
                assert_string_equal(bt_meta_name(m), "clip.mp4");
                if (!bt_meta_single_file(m)) {
                        print_error("%s: a single file is a directory\n", c->rule);
                        wrong++;
                }
                assert_false(bt_meta_private(m));
                assert_int_equal(bt_meta_piece_length(m), 16384);
                assert_int_equal(bt_meta_pieces(m), 1);
                bt_meta_file(m, 0, &f);
                assert_string_equal(f.path, "clip.mp4");
                assert_true(f.offset == 0 && f.size == 5 && !f.pad && !f.symlink);
                /* libtorrent pads a v2 torrent to its last piece's end */
                for (uint32_t k = 1; k < bt_meta_files(m); k++) {
                        bt_meta_file(m, k, &f);
                        assert_true(f.pad);
                }
                assert_true(bt_meta_size(m) == f.offset + f.size);

                /* its magnet leads to the same torrent */
                again = magnet(c->rule, bt_source_magnet(s), false);
                check_hash(c->rule, bt_source_hash(again), c->v1, c->v2);
                assert_int_equal(occurs(bt_source_magnet(again), "tr="), 1);
                bt_source_free(again);

                /* metadata outlives the source that brought it */
                assert_true(bt_meta_ref(m) == m);
                bt_source_free(s);
                assert_string_equal(bt_meta_name(m), "clip.mp4");
                bt_meta_unref(m);
                free(b.p);
        }
        bt_meta_unref(NULL);
        assert_int_equal(wrong, 0);
}

static char long_name[251], odd_name[201];

/* Names as the torrent has them, not as libtorrent would have them. */
static void test_torrent_raw_names(void **state)
{
        const struct file files[] = {
                {{"a", "b.mkv"}, 0, 10, NULL},
                {{long_name}, 0, 11, NULL},
                {{odd_name}, 0, 12, NULL},
                {{"..", "..", "etc", "passwd"}, 0, 13, NULL},
                {{"x/y\\z"}, 0, 14, NULL},
                {{"a\0b"}, 3, 15, NULL},
                {{"  blanks. "}, 0, 16, NULL},
                {{"\xe2\x80\xae"
                  "4pm.exe"},
                 0,
                 17,
                 NULL},
                {{"a", "b.mkv"}, 0, 18, NULL}, /* twice the same */
                {{".", "dot"}, 0, 19, NULL},
                {{"", "empty"}, 0, 20, NULL},
                {{"CON", "aux.txt", "a:b*c?"}, 0, 21, NULL},
        };
        const char *const expected[] = {"a/b.mkv",
                                        long_name,
                                        odd_name,
                                        "../../etc/passwd",
                                        "x_y\\z",
                                        "a_b",
                                        "  blanks. ",
                                        "\xe2\x80\xae"
                                        "4pm.exe",
                                        "a/b.mkv",
                                        "./dot",
                                        "_/empty",
                                        "CON/aux.txt/a:b*c?"};
        struct bytes b;
        struct bt_source *s;
        struct bt_meta *m;
        uint64_t offset = 0;

        (void)state;
        memset(long_name, 'n', 246);
        strcpy(long_name + 246, ".mkv");
        for (unsigned i = 0; i < sizeof odd_name - 1; i++)
                odd_name[i] = (char)(i + 1 == '/' ? '-' : i + 1); /* 1 to 200: controls, no UTF-8 */
        b = torrent_of("my torrent. ", files, N(files), 16384);
        s = torrent("raw names", b.p, b.len);
        m = bt_source_meta(s);
        assert_string_equal(bt_meta_name(m), "my torrent. ");
        assert_string_equal(bt_source_name(s), "my torrent. ");
        assert_false(bt_meta_single_file(m));
        assert_int_equal(bt_meta_files(m), N(files));
        for (uint32_t i = 0; i < N(files); i++) {
                struct bt_file f;

                bt_meta_file(m, i, &f);
                if (strcmp(f.path, expected[i]) != 0)
                        fail_msg("file %u is \"%s\", not \"%s\"", i, f.path, expected[i]);
                assert_true(f.offset == offset && f.size == (uint64_t)files[i].size);
                offset += f.size;
        }
        assert_true(bt_meta_size(m) == offset);
        bt_source_free(s);
        free(b.p);
}

/* The UTF-8 names go before the others. */
static void test_torrent_utf8_keys(void **state)
{
        static const char text[] = "d4:infod5:filesld6:lengthi5e4:pathl3:old1:ae10:path.utf-8l"
                                   "3:new1:beee4:name4:old\xe9"
                                   "10:name.utf-8"
                                   "5:new\xc3\xa9"
                                   "12:piece lengthi16384e6:pieces20:" A20 "ee";
        struct bt_source *s = torrent("utf-8", text, sizeof text - 1);
        struct bt_file f;

        (void)state;
        assert_string_equal(bt_source_name(s), "new\xc3\xa9");
        bt_meta_file(bt_source_meta(s), 0, &f);
        assert_string_equal(f.path, "new/b");
        /* a list of one file is a directory, not a single file */
        assert_false(bt_meta_single_file(bt_source_meta(s)));
        bt_source_free(s);
}

/* BEP 47: pad files and links are told apart and take their place in the bytes. */
static void test_torrent_attributes(void **state)
{
        static const struct file files[] = {
                {{"a"}, 0, 10, NULL},  {{".pad", "16374"}, 0, 16374, "p"},
                {{"link"}, 0, 0, "l"}, {{"b"}, 0, 7, "x"},
                {{"c"}, 0, 5, "h"},
        };
        static const struct bt_file expected[] = {
                {"a", 0, 10, false, false},      {".pad/16374", 10, 16374, true, false},
                {"link", 16384, 0, false, true}, {"b", 16384, 7, false, false},
                {"c", 16391, 5, false, false},
        };
        struct bytes b = torrent_of("t", files, N(files), 16384);
        struct bt_source *s = torrent("attributes", b.p, b.len);
        struct bt_meta *m = bt_source_meta(s);

        (void)state;
        assert_int_equal(bt_meta_files(m), N(files));
        assert_int_equal(bt_meta_pieces(m), 2);
        for (uint32_t i = 0; i < N(files); i++) {
                struct bt_file f;

                bt_meta_file(m, i, &f);
                if (strcmp(f.path, expected[i].path) != 0 || f.offset != expected[i].offset ||
                    f.size != expected[i].size || f.pad != expected[i].pad ||
                    f.symlink != expected[i].symlink)
                        fail_msg("file %u: %s at %llu, %llu bytes%s%s", i, f.path,
                                 (unsigned long long)f.offset, (unsigned long long)f.size,
                                 f.pad ? ", pad" : "", f.symlink ? ", link" : "");
        }
        bt_source_free(s);
        free(b.p);
}

/* BEP 52: names of a v2 tree, raw too; the pads libtorrent puts between don't shift them. */
static void test_torrent_v2_tree(void **state)
{
        struct bytes b = {0};
        struct bt_source *s;
        struct bt_meta *m;
        static const char *const names[] = {"a\x01", "b\xff", "c. "};
        unsigned seen = 0;

        (void)state;
        put_text(&b, "d4:infod9:file treed1:dd");
        for (unsigned i = 0; i < N(names); i++) {
                put_key(&b, names[i]);
                put_text(&b, "d0:d6:length");
                put_int(&b, 100 + i);
                put_text(&b, "11:pieces root32:" R32 "ee");
        }
        put_text(&b, "ee12:meta versioni2e4:name1:t12:piece lengthi16384ee12:piece layersdee");
        s = torrent("v2", b.p, b.len);
        m = bt_source_meta(s);
        assert_false(bt_meta_single_file(m));
        for (uint32_t i = 0; i < bt_meta_files(m); i++) {
                struct bt_file f;
                char expected[16];

                bt_meta_file(m, i, &f);
                if (f.pad)
                        continue;
                assert_true(seen < N(names));
                sprintf(expected, "d/%s", names[seen]);
                assert_string_equal(f.path, expected);
                assert_int_equal(f.size, 100 + seen);
                assert_int_equal(f.offset, 16384 * seen);
                seen++;
        }
        assert_int_equal(seen, N(names));
        bt_source_free(s);
        free(b.p);
}

static void test_torrent_private(void **state)
{
        static const char text[] =
                "d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:" A20
                "7:privatei1eee";
        struct bt_source *s = torrent("private", text, sizeof text - 1);

        (void)state;
        assert_true(bt_meta_private(bt_source_meta(s)));
        bt_source_free(s);
}

/* ASan tells of one that goes too early, or never. */
static void test_source_counted(void **state)
{
        static const char text[] =
                "d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:" A20 "ee";
        struct bt_source *s = torrent("counted", text, sizeof text - 1);
        struct bt_source *again = bt_source_ref(s), *third = bt_source_ref(s);

        (void)state;
        assert_ptr_equal(again, s);
        assert_ptr_equal(third, s);
        bt_source_free(s);
        bt_source_free(third);
        assert_string_equal(bt_source_name(again), "a");
        assert_int_equal(bt_meta_size(bt_source_meta(again)), 5);
        assert_int_equal(occurs(bt_source_magnet(again), "xt="), 1);
        bt_source_free(again);
}

/* ---- what is refused ---- */

struct bad_torrent {
        const char *rule, *text;
        size_t len;
};

#define BAD(rule, s)                                                                               \
        {                                                                                          \
                rule, s, sizeof(s) - 1                                                             \
        }
#define TAIL "4:name1:a12:piece lengthi16384e6:pieces20:" A20 "ee"

static const struct bad_torrent bad_torrents[] = {
        BAD("empty", ""),
        BAD("no bencode", "hello"),
        BAD("a magnet", BTIH V1),
        BAD("a list", "le"),
        BAD("a number", "i5e"),
        BAD("an empty dictionary", "de"),
        BAD("no info", "d8:announce1:ae"),
        BAD("info is a string", "d4:info4:abcde"),
        BAD("info is empty", "d4:infodee"),
        BAD("cut off", "d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:" A20 "e"),
        BAD("cut off in the pieces",
            "d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:AA"),
        BAD("no name", "d4:infod6:lengthi5e12:piece lengthi16384e6:pieces20:" A20 "ee"),
        BAD("an empty name",
            "d4:infod6:lengthi5e4:name0:12:piece lengthi16384e6:pieces20:" A20 "ee"),
        BAD("no length", "d4:infod" TAIL),
        BAD("a negative length", "d4:infod6:lengthi-5e" TAIL),
        BAD("a length of 0", "d4:infod6:lengthi0e4:name1:a12:piece lengthi16384e6:pieces0:ee"),
        BAD("a length as text", "d4:infod6:length1:5" TAIL),
        BAD("a length of 2^63", "d4:infod6:lengthi9223372036854775808e" TAIL),
        BAD("a length of 2^63 - 1", "d4:infod6:lengthi9223372036854775807e" TAIL),
        BAD("too few hashes", "d4:infod6:lengthi50000e" TAIL),
        BAD("too many hashes",
            "d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces40:" A20 A20 "ee"),
        BAD("half a hash",
            "d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces10:AAAAAAAAAAee"),
        BAD("no hashes", "d4:infod6:lengthi5e4:name1:a12:piece lengthi16384eee"),
        BAD("no piece length", "d4:infod6:lengthi5e4:name1:a6:pieces20:" A20 "ee"),
        BAD("a piece length of 0",
            "d4:infod6:lengthi5e4:name1:a12:piece lengthi0e6:pieces20:" A20 "ee"),
        BAD("a negative piece length",
            "d4:infod6:lengthi5e4:name1:a12:piece lengthi-1e6:pieces20:" A20 "ee"),
        BAD("a piece length of 4 GiB",
            "d4:infod6:lengthi5e4:name1:a12:piece lengthi4294967296e6:pieces20:" A20 "ee"),
        BAD("no files in the list", "d4:infod5:filesle" TAIL),
        BAD("a file that is a number", "d4:infod5:filesli5ee" TAIL),
        BAD("a file without a path", "d4:infod5:filesld6:lengthi5eee" TAIL),
        BAD("a file with an empty path", "d4:infod5:filesld6:lengthi5e4:pathleee" TAIL),
        BAD("a path that is a string", "d4:infod5:filesld6:lengthi5e4:path1:aee" TAIL),
        BAD("a path of numbers", "d4:infod5:filesld6:lengthi5e4:pathli1eeee" TAIL),
        BAD("a negative length in the list", "d4:infod5:filesld6:lengthi-5e4:pathl1:aeee" TAIL),
        BAD("lengths whose sum wraps",
            "d4:infod5:filesld6:lengthi9223372036854775807e4:pathl1:aeed6:lengthi"
            "9223372036854775807e4:pathl1:beee" TAIL),
        BAD("only links", "d4:infod5:filesld4:attr1:l6:lengthi5e4:pathl1:ae12:symlink pathl1:beee"
                          "4:name1:a12:piece lengthi16384e6:pieces0:ee"),
        BAD("BEP 52: meta version 3",
            "d4:infod" TREE_1 "12:meta versioni3e4:name8:clip.mp412:piece lengthi16384eee"),
        BAD("BEP 52: no tree",
            "d4:infod12:meta versioni2e4:name8:clip.mp412:piece lengthi16384eee"),
        BAD("BEP 52: pieces below 16 KiB",
            "d4:infod" TREE_1 "12:meta versioni2e4:name8:clip.mp412:piece lengthi8192eee"),
        BAD("BEP 52: a hybrid that contradicts itself",
            "d4:infod" TREE_1
            "6:lengthi6e12:meta versioni2e4:name8:clip.mp412:piece lengthi16384e6:"
            "pieces20:" A20 "ee"),
};

static void test_torrent_bad(void **state)
{
        unsigned wrong = 0;

        (void)state;
        for (size_t i = 0; i < N(bad_torrents); i++) {
                const struct bad_torrent *c = &bad_torrents[i];
                struct bt_source *s = (struct bt_source *)(uintptr_t)1;
                struct bt_error err = {0};
                /* a copy without anything behind: what reads on is seen */
                char *copy = malloc(c->len ? c->len : 1);
                int r;

                assert_non_null(copy);
                memcpy(copy, c->text, c->len);
                r = bt_source_from_torrent(copy, c->len, &bt_default_limits, false, &s, &err);
                free(copy);
                if (r != -EINVAL) {
                        print_error("%s: %d %s\n", c->rule, r, err.text);
                        if (r == 0)
                                bt_source_free(s);
                        wrong++;
                        continue;
                }
                assert_int_equal(err.code, -EINVAL);
                assert_true(err.text[0] != '\0');
                assert_true(s == (struct bt_source *)(uintptr_t)1);
        }
        assert_int_equal(wrong, 0);
}

/* Every cut of a good one is a bad one, and no changed byte does more harm than -EINVAL. */
static void test_torrent_fuzz(void **state)
{
        static const struct file files[] = {
                {{"a", "b"}, 0, 10, NULL}, {{".pad", "1"}, 0, 6, "p"}, {{"c"}, 0, 9, NULL}};
        struct bytes b = torrent_of("t", files, N(files), 16);

        (void)state;
        for (size_t len = 0; len < b.len; len++) {
                struct bt_source *s = NULL;

                assert_int_equal(
                        bt_source_from_torrent(b.p, len, &bt_default_limits, false, &s, NULL),
                        -EINVAL);
                assert_null(s);
        }
        for (unsigned round = 0; round < 20000; round++) {
                char *copy = malloc(b.len);
                struct bt_source *s = NULL;
                int r;

                assert_non_null(copy);
                memcpy(copy, b.p, b.len);
                for (unsigned k = 1 + next() % 3; k > 0; k--)
                        copy[next() % b.len] =
                                next() % 2 ? "0123456789dlie:-/"[next() % 17] : (char)next();
                r = bt_source_from_torrent(copy, b.len, &bt_default_limits, false, &s, NULL);
                if (r != 0 && r != -EINVAL && r != -E2BIG)
                        fail_msg("round %u: %d", round, r);
                if (s) {
                        struct bt_meta *m = bt_source_meta(s);
                        uint64_t end = 0;

                        for (uint32_t i = 0; i < bt_meta_files(m); i++) {
                                struct bt_file f;

                                bt_meta_file(m, i, &f);
                                assert_true(f.path[0] != '\0');
                                if (f.offset != end)
                                        fail_msg("round %u: file %u begins at %llu", round, i,
                                                 (unsigned long long)f.offset);
                                end = f.offset + f.size;
                        }
                        assert_true(end == bt_meta_size(m));
                }
                bt_source_free(s);
                free(copy);
        }
        free(b.p);
}

struct limit_case {
        const char *rule;
        struct bt_limits limits;
        int expected;
};

/* Three files, the deepest of three components in two folders, four pieces, seven bytes of paths.
 */
static const struct limit_case limit_cases[] = {
        {"all just fit", {10000, 4, 3, 3, 2, 7}, 0},
        {"a piece too many", {10000, 3, 3, 3, 2, 7}, -E2BIG},
        {"a file too many", {10000, 4, 2, 3, 2, 7}, -E2BIG},
        {"a level too many", {10000, 4, 3, 2, 2, 7}, -E2BIG},
        {"a folder too many", {10000, 4, 3, 3, 1, 7}, -E2BIG},
        {"a byte of paths too many", {10000, 4, 3, 3, 2, 6}, -E2BIG},
        {"too many bytes", {100, 4, 3, 3, 2, 7}, -E2BIG},
        {"no bytes at all", {0, 4, 3, 3, 2, 7}, -E2BIG},
};

static void test_torrent_limits(void **state)
{
        static const struct file files[] = {{{"a", "b", "c"}, 0, 16384, NULL},
                                            {{"d"}, 0, 16384, NULL},
                                            {{"e"}, 0, 16385, NULL}};
        struct bytes b = torrent_of("t", files, N(files), 16384);

        (void)state;
        for (size_t i = 0; i < N(limit_cases); i++) {
                const struct limit_case *c = &limit_cases[i];
                struct bt_source *s = NULL;
                struct bt_error err = {0};
                int r = bt_source_from_torrent(b.p, b.len, &c->limits, false, &s, &err);

                if (r != c->expected || (r < 0) != (s == NULL) || err.code != r)
                        fail_msg("%s: %d %s", c->rule, r, err.text);
                bt_source_free(s);
        }
        /* the bound on bytes is exact */
        {
                struct bt_limits exact = {b.len, 4, 3, 3, 2, 7};
                struct bt_source *s = NULL;

                assert_int_equal(bt_source_from_torrent(b.p, b.len, &exact, false, &s, NULL), 0);
                bt_source_free(s);
                exact.metadata_bytes--;
                assert_int_equal(bt_source_from_torrent(b.p, b.len, &exact, false, &s, NULL),
                                 -E2BIG);
        }
        free(b.p);
}

/* The depth that holds by default. */
static void test_torrent_depth(void **state)
{
        (void)state;
        for (unsigned levels = 1024; levels <= 1025; levels++) {
                struct bytes b = {0};
                struct bt_source *s = NULL;
                int r;

                put_text(&b, "d4:infod5:filesld6:lengthi5e4:pathl");
                for (unsigned i = 0; i < levels; i++)
                        put_text(&b, "1:d");
                put_text(&b, "eee" TAIL);
                r = bt_source_from_torrent(b.p, b.len, &bt_default_limits, false, &s, NULL);
                bt_source_free(s);
                free(b.p);
                if (r != (levels <= 1024 ? 0 : -E2BIG))
                        fail_msg("%u levels: %d", levels, r);
        }
        /* bencode that nests a hundred thousand times is no stack overflow */
        {
                enum { DEEP = 100000 };
                char *p = malloc(2 * DEEP + 8);
                struct bt_source *s = NULL;
                int r;

                assert_non_null(p);
                memcpy(p, "d4:info", 7);
                memset(p + 7, 'l', DEEP);
                memset(p + 7 + DEEP, 'e', DEEP + 1);
                r = bt_source_from_torrent(p, 2 * DEEP + 8, &bt_default_limits, false, &s, NULL);
                free(p);
                assert_int_equal(r, -EINVAL);
                assert_null(s);
        }
}

/* As many files as the limit says are taken; one more is -E2BIG, not some other error. */
static void test_torrent_file_limit(void **state)
{
        int got[2];

        (void)state;
        for (unsigned more = 0; more < 2; more++) {
                struct bytes b = {0};
                struct bt_source *s = NULL;

                put_text(&b, "d4:infod5:filesl");
                for (unsigned i = 0; i < bt_default_limits.files + more; i++) {
                        char f[64];

                        put(&b, f, (size_t)sprintf(f, "d6:lengthi%ue4:pathl7:%07uee", i == 0, i));
                }
                put_text(&b, "e" TAIL);
                assert_true(b.len < bt_default_limits.metadata_bytes);
                got[more] = bt_source_from_torrent(b.p, b.len, &bt_default_limits, false, &s, NULL);
                bt_source_free(s);
                free(b.p);
        }
        if (got[0] != 0 || got[1] != -E2BIG)
                fail_msg("%u files: %d, one more: %d", bt_default_limits.files, got[0], got[1]);
}

/* ---- settings ---- */

struct setting_case {
        const char *rule, *name, *value;
        bool ok;
};

static const struct setting_case setting_cases[] = {
        {"a number", "connections_limit", "200", true},
        {"a negative number", "connections_limit", "-1", true},
        {"the largest", "connections_limit", "2147483647", true},
        {"more than an int", "connections_limit", "2147483648", false},
        {"more than a long", "connections_limit", "99999999999999999999", false},
        {"a fraction", "connections_limit", "1.5", false},
        {"a number and more", "connections_limit", "200x", false},
        {"an empty number", "connections_limit", "", false},
        {"a word for a number", "connections_limit", "many", false},
        {"hexadecimal", "connections_limit", "0x10", false},
        {"text", "user_agent", "magnetfs", true},
        {"text may be empty", "user_agent", "", true},
        {"text with anything", "listen_interfaces", "0.0.0.0:6881,[::]:6881", true},
        {"yes", "enable_dht", "1", true},
        {"no", "enable_dht", "0", true},
        {"true", "enable_dht", "true", true},
        {"false", "enable_dht", "false", true},
        {"another number for a switch", "enable_dht", "2", false},
        {"another word for a switch", "enable_dht", "yes", false},
        {"an empty switch", "enable_dht", "", false},
        {"a part of the engine left out", "engine_anchor", "0", true},
        {"… and not", "engine_watch", "true", true},
        {"a part is there or not", "engine_falling", "2", false},
        {"an unknown part", "engine_room", "1", false},
        {"an unknown name", "frobnicate", "1", false},
        {"the beginning of a name", "enable_dh", "1", false},
        {"names are small letters", "Enable_dht", "1", false},
        {"an empty name", "", "1", false},
};

static void test_settings(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(setting_cases); i++) {
                const struct setting_case *c = &setting_cases[i];
                struct bt_setting setting = {c->name, c->value};
                struct bt_error err = {0};
                int r = bt_settings_check(&setting, 1, &err);

                if (r != (c->ok ? 0 : -EINVAL) || err.code != r)
                        fail_msg("%s: %s=%s: %d %s", c->rule, c->name, c->value, r, err.text);
                if (r < 0 && !strstr(err.text, c->name))
                        fail_msg("%s: \"%s\" doesn't name it", c->rule, err.text);
                assert_int_equal(bt_settings_check(&setting, 1, NULL), r);
        }
        /* one bad among good ones */
        {
                static const struct bt_setting many[] = {
                        {"enable_dht", "1"}, {"user_agent", "x"}, {"connections_limit", "x"}};

                assert_int_equal(bt_settings_check(many, 2, NULL), 0);
                assert_int_equal(bt_settings_check(many, 3, NULL), -EINVAL);
                assert_int_equal(bt_settings_check(NULL, 0, NULL), 0);
        }
        /* a reason that is far too long is cut */
        {
                char name[2000];
                struct bt_setting setting = {name, "1"};
                struct bt_error err;

                memset(name, 'x', sizeof name - 1);
                name[sizeof name - 1] = '\0';
                assert_int_equal(bt_settings_check(&setting, 1, &err), -EINVAL);
                assert_int_equal(strlen(err.text), sizeof err.text - 1);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_magnet),
                cmocka_unit_test(test_magnet_selects),
                cmocka_unit_test(test_magnet_bad),
                cmocka_unit_test(test_magnet_trackers),
                cmocka_unit_test(test_magnet_lists),
                cmocka_unit_test(test_magnet_long),
                cmocka_unit_test(test_magnet_loopback),
                cmocka_unit_test(test_magnet_loopback_first),
                cmocka_unit_test(test_magnet_web_seeds),
                cmocka_unit_test(test_magnet_bad_web_seeds),
                cmocka_unit_test(test_magnet_web_seeds_are_encoded),
                cmocka_unit_test(test_magnet_many_web_seeds),
                cmocka_unit_test(test_magnet_fuzz),
                cmocka_unit_test(test_torrent_single),
                cmocka_unit_test(test_torrent_raw_names),
                cmocka_unit_test(test_torrent_utf8_keys),
                cmocka_unit_test(test_torrent_attributes),
                cmocka_unit_test(test_torrent_v2_tree),
                cmocka_unit_test(test_torrent_private),
                cmocka_unit_test(test_source_counted),
                cmocka_unit_test(test_torrent_bad),
                cmocka_unit_test(test_torrent_fuzz),
                cmocka_unit_test(test_torrent_limits),
                cmocka_unit_test(test_torrent_depth),
                cmocka_unit_test(test_torrent_file_limit),
                cmocka_unit_test(test_settings),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
