/* test_dav.c: what a PROPFIND asks for, and how it is answered (RFC 4918). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dav_find.h"
#include "dav_text.h"

#define N(a)        (sizeof(a) / sizeof *(a))
#define OPEN        "<?xml version=\"1.0\"?><propfind xmlns=\"DAV:\">"
#define FIND(inner) OPEN inner "</propfind>"
#define BIT(p)      (1u << (p))

struct find_case {
        const char *rule, *body;
        int result;
        enum dav_find_kind kind;
        unsigned asked;
        const char *unknown[3]; /* "namespace name" */
};

static const struct find_case find_cases[] = {
        {"no body is allprop (section 9.1)", "", 0, DAV_FIND_ALL, 0, {NULL}},
        {"allprop", FIND("<allprop/>"), 0, DAV_FIND_ALL, 0, {NULL}},
        {"propname", FIND("<propname/>"), 0, DAV_FIND_NAMES, 0, {NULL}},
        {"prop",
         FIND("<prop><getetag/><resourcetype/></prop>"),
         0,
         DAV_FIND_SOME,
         BIT(DAV_GETETAG) | BIT(DAV_RESOURCETYPE),
         {NULL}},
        {"any prefix",
         "<x:propfind xmlns:x='DAV:'><x:prop><x:getetag/></x:prop></x:propfind>",
         0,
         DAV_FIND_SOME,
         BIT(DAV_GETETAG),
         {NULL}},
        {"UTF-16 (section 8.2)",
         "\xff\xfe<\0p\0r\0o\0p\0f\0i\0n\0d\0 \0x\0m\0l\0n\0s\0=\0'\0D\0A\0V\0:\0'\0>\0<\0a\0l\0l\0"
         "p\0r\0o\0p\0/\0>\0<\0/\0p\0r\0o\0p\0f\0i\0n\0d\0>\0\0",
         0,
         DAV_FIND_ALL,
         0,
         {NULL}},
        {"properties that there are none of",
         FIND("<prop><lockdiscovery/><q xmlns='urn:q'/><bare xmlns=''/></prop>"),
         0,
         DAV_FIND_SOME,
         0,
         {"DAV: lockdiscovery", "urn:q q", " bare"}},
        {"a name of ours in another namespace",
         FIND("<prop><getetag xmlns='urn:q'/></prop>"),
         0,
         DAV_FIND_SOME,
         0,
         {"urn:q getetag"}},
        {"no property", FIND("<prop/>"), 0, DAV_FIND_SOME, 0, {NULL}},
        {"allprop and more (section 14.8)",
         FIND("<allprop/><include><getetag/><acl/></include>"),
         0,
         DAV_FIND_ALL,
         BIT(DAV_GETETAG),
         {"DAV: acl"}},
        {"what is unknown is passed over (section 17)",
         FIND("<new><prop><getetag/></prop></new><prop><displayname><x/></displayname></prop>"),
         0,
         DAV_FIND_SOME,
         BIT(DAV_DISPLAYNAME),
         {NULL}},
        {"comments and text",
         FIND("<!-- a -->b<propname>c</propname>"),
         0,
         DAV_FIND_NAMES,
         0,
         {NULL}},
        {"two kinds (section 14.20)", FIND("<allprop/><propname/>"), -EINVAL, 0, 0, {NULL}},
        {"no kind", FIND(""), -EINVAL, 0, 0, {NULL}},
        {"another root", "<prop xmlns='DAV:'/>", -EINVAL, 0, 0, {NULL}},
        {"no namespace", "<propfind><allprop/></propfind>", -EINVAL, 0, 0, {NULL}},
        {"not closed", OPEN "<allprop/>", -EINVAL, 0, 0, {NULL}},
        {"an undeclared prefix", FIND("<prop><z:a/></prop>"), -EINVAL, 0, 0, {NULL}},
        {"a prefix of nothing (litmus)",
         FIND("<prop><b:a xmlns:b=''/></prop>"),
         -EINVAL,
         0,
         0,
         {NULL}},
        {"the namespace of xml", FIND("<prop><xml:lang/></prop>"), -EINVAL, 0, 0, {NULL}},
        {"text", "hello", -EINVAL, 0, 0, {NULL}},
        {"no UTF-8", FIND("<prop><a\xff/></prop>"), -EINVAL, 0, 0, {NULL}},
        {"an entity (section 20.6)",
         "<!DOCTYPE x [<!ENTITY e \"<allprop xmlns='DAV:'/>\">]><propfind xmlns='DAV:'>&e;</propfind>",
         -EINVAL,
         0,
         0,
         {NULL}},
        {"a document type from elsewhere",
         "<!DOCTYPE propfind SYSTEM 'file:///etc/passwd'>" FIND("<allprop/>"),
         -EINVAL,
         0,
         0,
         {NULL}},
        {"an entity nobody declared", FIND("&e;<allprop/>"), -EINVAL, 0, 0, {NULL}},
};

/* The UTF-16 one has NULs in it. */
static size_t body_length(const char *body)
{
        size_t len = 0;

        if (body[0] != '\xff')
                return strlen(body);
        while (body[len] || body[len + 1])
                len += 2;
        return len;
}

static void check_find(const struct find_case *c)
{
        struct dav_find f;
        int r = dav_find_parse(c->body, body_length(c->body), &f);
        size_t unknown = 0;

        if (r != c->result)
                fail_msg("%s: %d", c->rule, r);
        if (r < 0)
                return;
        while (unknown < N(c->unknown) && c->unknown[unknown])
                unknown++;
        if (f.kind != c->kind || f.asked != c->asked || f.unknown_count != unknown)
                fail_msg("%s: kind %d, asked %x, %zu unknown", c->rule, (int)f.kind, f.asked,
                         f.unknown_count);
        for (size_t i = 0; i < unknown; i++) {
                char text[128];

                snprintf(text, sizeof text, "%s %s", f.unknown[i].namespace, f.unknown[i].name);
                if (strcmp(text, c->unknown[i]) != 0)
                        fail_msg("%s: %s", c->rule, text);
        }
        dav_find_clear(&f);
}

static void test_find(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(find_cases); i++)
                check_find(&find_cases[i]);
}

/* Repeats what makes a body deep, wide or long, n times, around or before the rest of it. */
static int parse_repeated(const char *begin, const char *part, unsigned n, const char *end)
{
        char *body = malloc(strlen(begin) + n * strlen(part) + strlen(end) + 1);
        struct dav_find f;
        char *p;
        int r;

        assert_non_null(body);
        p = stpcpy(body, begin);
        for (unsigned i = 0; i < n; i++)
                p = stpcpy(p, part);
        strcpy(p, end); /* NOLINT(*strcpy): it was counted */
        r = dav_find_parse(body, strlen(body), &f);
        if (r == 0)
                dav_find_clear(&f);
        free(body);
        return r;
}

static void test_bounds(void **state)
{
        (void)state;
        assert_int_equal(
                parse_repeated(OPEN "<prop>", "<q/>", DAV_UNKNOWN_MAX, "</prop></propfind>"), 0);
        assert_int_equal(
                parse_repeated(OPEN "<prop>", "<q/>", DAV_UNKNOWN_MAX + 1, "</prop></propfind>"),
                -E2BIG);
        assert_int_equal(parse_repeated(OPEN "<prop>", "<getetag/>", 900, "</prop></propfind>"), 0);
        assert_int_equal(parse_repeated(OPEN, "<d>", 1000, ""), -E2BIG);
        assert_int_equal(parse_repeated(OPEN "<allprop/>", " ", DAV_BODY_MAX, "</propfind>"),
                         -E2BIG);
}

/* ---- answers ---- */

static const struct dav_resource file = {
        .href = "/dav/T/a%20b.mkv",
        .name = "a b.mkv",
        .type = "video/x-matroska",
        .etag = "\"aa-3\"",
        .length = 5000000000,
        .modified = 784111777,
};
static const struct dav_resource folder = {
        .href = "/dav/T/",
        .name = "T & <t>\"'",
        .type = "text/html",
        .collection = true,
};

#define RESPONSE(href, props)                                                                      \
        "<D:response><D:href>" href "</D:href><D:propstat><D:prop>" props                          \
        "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
#define MISSING(props)                                                                             \
        "<D:propstat><D:prop>" props                                                               \
        "</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"
#define END "</D:response>\n"

struct response_case {
        const char *rule, *body;
        const struct dav_resource *resource;
        const char *expected;
};

static const struct response_case response_cases[] = {
        {"allprop of a file", "", &file,
         RESPONSE("/dav/T/a%20b.mkv",
                  "<D:resourcetype></D:resourcetype><D:displayname>a b.mkv</D:displayname>"
                  "<D:creationdate>1994-11-06T08:49:37Z</D:creationdate>"
                  "<D:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</D:getlastmodified>"
                  "<D:getcontentlength>5000000000</D:getcontentlength>"
                  "<D:getcontenttype>video/x-matroska</D:getcontenttype>"
                  "<D:getetag>&quot;aa-3&quot;</D:getetag>"
                  "<D:supportedlock></D:supportedlock>") END},
        {"of a collection, whose name is markup", "", &folder,
         RESPONSE("/dav/T/", "<D:resourcetype><D:collection/></D:resourcetype>"
                             "<D:displayname>T &amp; &lt;t&gt;&quot;&#39;</D:displayname>"
                             "<D:creationdate>1970-01-01T00:00:00Z</D:creationdate>"
                             "<D:getlastmodified>Thu, 01 Jan 1970 00:00:00 GMT</D:getlastmodified>"
                             "<D:getcontenttype>text/html</D:getcontenttype>"
                             "<D:supportedlock></D:supportedlock>") END},
        {"propname: names alone, of what there is (section 9.1)", FIND("<propname/>"), &folder,
         RESPONSE("/dav/T/", "<D:resourcetype/><D:displayname/><D:creationdate/>"
                             "<D:getlastmodified/><D:getcontenttype/><D:supportedlock/>") END},
        {"what was asked for and is not there is 404",
         FIND("<prop><getetag/><displayname/></prop>"), &folder,
         RESPONSE("/dav/T/", "<D:displayname>T &amp; &lt;t&gt;&quot;&#39;</D:displayname>")
                 MISSING("<D:getetag/>") END},
        {"in whatever namespace", FIND("<prop><a xmlns='u&amp;&lt;'/><b xmlns=''/><quota/></prop>"),
         &file,
         RESPONSE("/dav/T/a%20b.mkv", "")
                 MISSING("<a xmlns=\"u&amp;&lt;\"/><b xmlns=\"\"/><quota xmlns=\"DAV:\"/>") END},
        {"none: still one propstat (section 14.24)", FIND("<prop/>"), &file,
         RESPONSE("/dav/T/a%20b.mkv", "") END},
};

static void test_responses(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(response_cases); i++) {
                const struct response_case *c = &response_cases[i];
                struct dav_text text = {0};
                struct dav_find f;

                assert_int_equal(dav_find_parse(c->body, strlen(c->body), &f), 0);
                dav_text_add_response(&text, &f, c->resource);
                assert_false(text.failed);
                if (text.len != strlen(c->expected) ||
                    memcmp(text.data, c->expected, text.len) != 0)
                        fail_msg("%s: %.*s", c->rule, (int)text.len, text.data);
                free(text.data);
                dav_find_clear(&f);
        }
}

struct escape_case {
        const char *rule, *text, *expected;
};

#define NONE "\xef\xbf\xbd"

static const struct escape_case escape_cases[] = {
        {"markup", "<a href=\"x\">&'", "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"},
        {"other characters", "\xc3\xa9\xf0\x9f\x8e\xac", "\xc3\xa9\xf0\x9f\x8e\xac"},
        {"no character of XML (XML 1.0, section 2.2)",
         "a\x01\x1f"
         "b",
         "a" NONE NONE "b"},
        {"nor these", "\xef\xbf\xbe\xef\xbf\xbf", NONE NONE},
        {"no UTF-8", "\xff\xc3<", NONE NONE "&lt;"},
        {"a surrogate", "\xed\xa0\x80", NONE NONE NONE},
};

static void test_escapes(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(escape_cases); i++) {
                const struct escape_case *c = &escape_cases[i];
                struct dav_text text = {0};

                dav_text_add_escaped(&text, c->text);
                if (text.failed || text.len != strlen(c->expected) ||
                    memcmp(text.data, c->expected, text.len) != 0)
                        fail_msg("%s: %.*s", c->rule, (int)text.len, text.data);
                free(text.data);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_find),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_responses),
                cmocka_unit_test(test_escapes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
