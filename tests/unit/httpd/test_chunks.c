/* test_chunks.c: bodies in chunks, case by case and cut at every byte (RFC 9112 §7.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "chunks.h"

struct chunk_case {
        const char *rule;
        const char *text;
        const char *data; /* NULL: malformed */
        const char *left; /* what follows the body */
};

static const struct chunk_case cases[] = {
        {"§7.1: no data", "0\r\n\r\n", "", ""},
        {"§7.1: one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
        {"§7.1: several", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\nGET /", "hello", "GET /"},
        {"§7.1: line ends in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", ""},
        {"§7.1: hexadecimal in both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
         "01234567890123456789", ""},
        {"§7.1: leading zeros", "005\r\nhello\r\n000\r\n\r\n", "hello", ""},
        {"§7.1.1: an extension", "5;a=b;c\r\nhello\r\n0;d=\"e\"\r\n\r\n", "hello", ""},
        {"§7.1.1: white space and something else", "5 6\r\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1.1: white space alone", "5 \t\r\nhello\r\n0\r\n\r\n", "hello", ""},
        {"§7.1.1: white space before it", "5 ;a\r\nhello\r\n0\r\n\r\n", "hello", ""},
        {"§7.1.2: trailers", "5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\nX", "hello", "X"},
        {"§7.1: no size", "\r\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: an extension without a size", ";a\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: 0x", "0x5\r\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: a sign", "+5\r\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: negative", "-5\r\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: larger than 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: too little data", "5\r\nhell\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: too much data", "5\r\nhello!\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: a bare LF behind the size", "5\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: a bare CR behind the size", "5\rhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1: a bare LF behind the data", "5\r\nhello\n0\r\n\r\n", NULL, ""},
        {"§7.1.1: a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1.1: a control character in it", "5;\x01\r\nhello\r\n0\r\n\r\n", NULL, ""},
        {"§7.1.2: a bare LF in a trailer", "0\r\nA: b\nC: d\r\n\r\n", NULL, ""},
        {"§7.1.2: a folded trailer", "0\r\n A: b\r\n\r\n", NULL, ""},
        {"§7.1.2: a bare LF at the end", "0\r\n\n", NULL, ""},
        {"§7.1.2: CR without LF at the end", "0\r\n\rX", NULL, ""},
};

/* Reads text in pieces of size bytes into data. Returns as chunks_read() at last, and how much of
 * the text was used. */
static int read_all(const char *text, size_t size, char *data, size_t *ret_used)
{
        size_t len = strlen(text), at = 0, used, n, filled = 0;
        struct chunks c = {0};
        int r = 0;

        while (r == 0 && at < len) {
                r = chunks_read(&c, text + at, len - at < size ? len - at : size, &used, &n);
                if (r < 0)
                        break;
                memcpy(data + filled, text + at, n);
                filled += n;
                at += used;
        }
        data[filled] = '\0';
        *ret_used = at;
        return r;
}

static void test_cases(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                const struct chunk_case *c = &cases[i];

                for (size_t size = 1; size <= strlen(c->text); size++) {
                        char data[256];
                        size_t used;
                        int r = read_all(c->text, size, data, &used);

                        if (!c->data) {
                                if (r != -EBADMSG)
                                        fail_msg("%s: %d in pieces of %zu", c->rule, r, size);
                        } else if (r != 1 || strcmp(data, c->data) != 0 ||
                                   strcmp(c->text + used, c->left) != 0) {
                                fail_msg("%s: %d, \"%s\" in pieces of %zu, %zu used", c->rule, r,
                                         data, size, used);
                        }
                }
        }
}

/* §7.1.1: "a recipient ought to limit the total length of chunk extensions". */
static void test_extras_have_a_bound(void **state)
{
        static const char *const beginnings[] = {"1;", "0\r\nA: "};
        static const char more[] =
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

        (void)state;
        for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
                struct chunks c = {0};
                size_t used, data, sum = 0;
                int r = chunks_read(&c, beginnings[i], strlen(beginnings[i]), &used, &data);

                while (r == 0 && sum < 1 << 20) {
                        r = chunks_read(&c, more, strlen(more), &used, &data);
                        sum += used;
                }
                assert_int_equal(r, -EBADMSG);
                assert_in_range(sum, 15000, 17000);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_extras_have_a_bound),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
