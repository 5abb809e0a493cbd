/* test_submission.c: what the body of a POST hands in, by its type. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "submission.h"

#define MAGNET "magnet:?xt=urn:btih:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&dn=Tom&Jerry&tr=x"
#define ENCODED                                                                                    \
        "magnet%3A%3Fxt%3Durn%3Abtih%3Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%26dn%3DTom+x"
#define DECODED          "magnet:?xt=urn:btih:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&dn=Tom x"
#define TORRENT          "d4:infod4:name1:aee"
#define FORM             "multipart/form-data; boundary=x"
#define PART(head, data) "--x\r\nContent-Disposition: form-data; " head "\r\n\r\n" data "\r\n"
#define END              "--x--\r\n"

/* given: "line TEXT" or "torrent BYTES", "keep " before it where the body says so, "drop " where it
 * says the opposite; NULL: refused. */
struct body_case {
        const char *rule, *type, *body, *given;
};

static const struct body_case body_cases[] = {
        {"text", "text/plain", MAGNET, "line " MAGNET},
        {"text with a charset", "text/plain; charset=utf-8", MAGNET "\r\n", "line " MAGNET "\r\n"},
        {"text of several lines", "text/plain", MAGNET "\n" MAGNET, NULL},
        {"no type: a line", NULL, MAGNET, "line " MAGNET},
        {"no type: a file", NULL, TORRENT, "torrent " TORRENT},
        {"nothing", NULL, "", NULL},
        {"a file", "application/x-bittorrent", TORRENT, "torrent " TORRENT},
        {"a file that is none", "application/x-bittorrent", MAGNET, NULL},
        {"any bytes: a file", "application/octet-stream", TORRENT, "torrent " TORRENT},
        {"any bytes: a line", "application/octet-stream", MAGNET, "line " MAGNET},
        {"curl --data-binary @file", "application/x-www-form-urlencoded", TORRENT,
         "torrent " TORRENT},
        {"curl -d magnet", "application/x-www-form-urlencoded", MAGNET, "line " MAGNET},
        {"a form's field", "application/x-www-form-urlencoded", "magnet=" ENCODED, "line " DECODED},
        {"a form's fields", "application/x-www-form-urlencoded", "magnet=" ENCODED "&keep=on",
         "keep line " DECODED},
        {"fields the other way round", "application/x-www-form-urlencoded",
         "keep=0&magnet=" ENCODED, "drop line " DECODED},
        {"other fields first", "application/x-www-form-urlencoded", "go=1&magnet=" ENCODED,
         "line " DECODED},
        {"a field that is called torrent", "application/x-www-form-urlencoded",
         "torrent=" ENCODED "&keep=1", "keep line " DECODED},
        {"a magnet that nobody has encoded", "application/x-www-form-urlencoded", "magnet=" MAGNET,
         "line " MAGNET},
        {"… and keep behind it", "application/x-www-form-urlencoded", "magnet=" MAGNET "&keep=1",
         "keep line " MAGNET},
        {"… and keep before it", "application/x-www-form-urlencoded", "keep=0&magnet=" MAGNET,
         "drop line " MAGNET},
        {"curl -d magnet that has a parameter of that name", "application/x-www-form-urlencoded",
         MAGNET "&magnet=x", "line " MAGNET "&magnet=x"},
        {"a form without a magnet", "application/x-www-form-urlencoded", "keep=1", NULL},
        {"a form with a bad escape", "application/x-www-form-urlencoded", "magnet=%zz", NULL},
        {"a form with a bad keep", "application/x-www-form-urlencoded", "magnet=a&keep=maybe",
         NULL},
        {"JSON", "application/json", "{\"magnet\":\"" MAGNET "\"}", "line " MAGNET},
        {"JSON with keep", "application/json", "{\"magnet\":\"" MAGNET "\",\"keep\":true}",
         "keep line " MAGNET},
        {"JSON whose keep is a number", "application/json",
         "{\"magnet\":\"" MAGNET "\",\"keep\":1}", NULL},
        {"JSON of two lines", "application/json", "{\"magnet\":\"a\\nb\"}", NULL},
        {"JSON that is none", "application/json", MAGNET, NULL},
        {"RFC 7578: a file", FORM, PART("name=\"t\"; filename=\"a.torrent\"", TORRENT) END,
         "torrent " TORRENT},
        {"RFC 7578: a file and keep", FORM,
         PART("name=keep", "1") PART("name=\"t\"; filename=\"a;b\\\".torrent\"", TORRENT) END,
         "keep torrent " TORRENT},
        {"RFC 7578: a magnet", FORM, PART("name=\"magnet\"", MAGNET) END, "line " MAGNET},
        {"RFC 7578: a magnet that is called torrent", FORM, PART("name=torrent", MAGNET) END,
         "line " MAGNET},
        {"RFC 7578: two magnets", FORM,
         PART("name=magnet", MAGNET) PART("name=torrent", MAGNET) END, NULL},
        {"RFC 7578: a field for a file, left empty", FORM,
         PART("name=\"magnet\"", MAGNET) PART("name=\"t\"; filename=\"\"", "") END, "line " MAGNET},
        {"RFC 7578: other fields count for nothing", FORM,
         PART("name=\"submit\"", "Send") PART("name=\"magnet\"", MAGNET) END, "line " MAGNET},
        {"RFC 7578: two torrents", FORM,
         PART("name=\"magnet\"", MAGNET) PART("name=\"t\"; filename=\"a\"", TORRENT) END, NULL},
        {"RFC 7578: a file that is no torrent", FORM, PART("name=t; filename=a", "GIF89a") END,
         NULL},
        {"RFC 7578: nothing in it", FORM, END, NULL},
        {"RFC 2046 §5.1.1: a preamble and an epilogue", FORM,
         "preamble\r\n" PART("name=magnet", MAGNET) "--x-- \r\nepilogue", "line " MAGNET},
        {"RFC 2046 §5.1.1: blanks behind a delimiter", FORM,
         "--x \t\r\nContent-Disposition: form-data; name=magnet\r\n\r\n" MAGNET "\r\n" END,
         "line " MAGNET},
        {"RFC 2046 §5.1.1: a quoted boundary", "multipart/form-data; a=b; boundary=\"x\"",
         PART("name=magnet", MAGNET) END, "line " MAGNET},
        {"RFC 2046 §5.1.1: no end", FORM, PART("name=magnet", MAGNET), NULL},
        {"RFC 2046 §5.1.1: cut in a head", FORM, "--x\r\nContent-Dispo", NULL},
        {"RFC 2046 §5.1.1: cut behind a delimiter", FORM, "--x", NULL},
        {"RFC 2046 §5.1.1: no boundary", "multipart/form-data", PART("name=magnet", MAGNET) END,
         NULL},
        {"RFC 2046 §5.1.1: an empty boundary", "multipart/form-data; boundary=", END, NULL},
        {"RFC 2046 §5.1.1: another boundary", "multipart/form-data; boundary=y", END, NULL},
};

static void describe(const struct submission *s, char *out, size_t size)
{
        snprintf(out, size, "%s%s %.*s", s->says_keep ? s->keep ? "keep " : "drop " : "",
                 s->is_torrent ? "torrent" : "line", (int)s->len, s->data);
}

static void test_bodies(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof body_cases / sizeof body_cases[0]; i++) {
                const struct body_case *c = &body_cases[i];
                char given[512] = "";
                struct submission s;
                const char *why;
                int r = submission_read(c->type, c->body, strlen(c->body), &s, &why);

                if (r == 0) {
                        describe(&s, given, sizeof given);
                        submission_free(&s);
                } else if (why[0] == '\0') {
                        fail_msg("%s: refused without a word", c->rule);
                }
                if (!c->given ? r == 0 : r < 0 || strcmp(given, c->given) != 0)
                        fail_msg("%s: %s", c->rule, r < 0 ? why : given);
        }
}

static void test_a_nul_is_in_no_line(void **state)
{
        static const char *const types[] = {NULL, "text/plain", "application/json",
                                            "application/x-www-form-urlencoded"};
        struct submission s;
        const char *why;

        (void)state;
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
                assert_int_equal(
                        submission_read(types[i], MAGNET "\0x", sizeof MAGNET + 1, &s, &why),
                        -EINVAL);
}

static void test_only_types_that_are_read_have_room(void **state)
{
        (void)state;
        assert_int_equal(submission_max("image/png"), 0);
        assert_int_equal(submission_max("text/plainer"), 0);
        assert_true(submission_max("Text/Plain") > 0);
        assert_true(submission_max(NULL) > submission_max("text/plain"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bodies),
                cmocka_unit_test(test_a_nul_is_in_no_line),
                cmocka_unit_test(test_only_types_that_are_read_have_room),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
