/* test_listen.c: where the sidecar listens, as magnetfs and the sidecar itself take it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/listen.h"

#define N(a) (sizeof(a) / sizeof *(a))

struct listen_case {
        const char *rule, *text;
        const char *addr; /* NULL: refused */
        uint16_t port;
};

static const struct listen_case listen_cases[] = {
        {"the default", "127.0.0.1:3000", "127.0.0.1", 3000},
        {"any of 127.0.0.0/8", "127.255.255.254:1", "127.255.255.254", 1},
        {"the last port", "127.0.0.1:65535", "127.0.0.1", 65535},
        {"no port", "127.0.0.1", NULL, 0},
        {"an empty port", "127.0.0.1:", NULL, 0},
        {"port 0", "127.0.0.1:0", NULL, 0},
        {"port 65536", "127.0.0.1:65536", NULL, 0},
        {"a port of many digits", "127.0.0.1:99999999999999999999999", NULL, 0},
        {"a negative port", "127.0.0.1:-1", NULL, 0},
        {"… that wraps to 80", "127.0.0.1:-18446744073709551536", NULL, 0},
        {"a port with a sign", "127.0.0.1:+80", NULL, 0},
        {"a port behind a blank", "127.0.0.1: 80", NULL, 0},
        {"a port and more", "127.0.0.1:80x", NULL, 0},
        {"a port alone", ":3000", NULL, 0},
        {"a number alone", "3000", NULL, 0},
        {"empty", "", NULL, 0},
        {"all addresses", "0.0.0.0:3000", "0.0.0.0", 3000},
        {"one of a network", "192.168.1.2:3000", "192.168.1.2", 3000},
        {"the longest address", "255.255.255.255:3000", "255.255.255.255", 3000},
        {"the one name", "localhost:3000", "127.0.0.1", 3000},
        {"… and no longer one", "localhosts:3000", NULL, 0},
        {"… nor a shorter one", "local:3000", NULL, 0},
        {"IPv6", "[::1]:3000", NULL, 0},
        {"IPv6 without brackets", "::1:3000", NULL, 0},
        {"a short form that inet_aton takes", "127.1:3000", NULL, 0},
        {"… as a number", "2130706433:3000", NULL, 0},
        {"… in octal", "0177.0.0.1:3000", NULL, 0},
        {"a blank before", " 127.0.0.1:3000", NULL, 0},
        {"longer than the buffer",
         "127.0.0.1000000000000000000000000000000000000000000000000000000000000:3000", NULL, 0},
};

static void test_listen(void **state)
{
        unsigned wrong = 0;

        (void)state;
        for (size_t i = 0; i < N(listen_cases); i++) {
                const struct listen_case *c = &listen_cases[i];
                char addr[LISTEN_ADDR_MAX] = "";
                uint16_t port = 0;
                const char *why = listen_parse(c->text, addr, &port);

                if (!why != (c->addr != NULL) ||
                    (c->addr && (strcmp(addr, c->addr) != 0 || port != c->port))) {
                        print_error("%s: \"%s\" gives \"%s\", %u, %s\n", c->rule, c->text, addr,
                                    port, why ? why : "taken");
                        wrong++;
                }
        }
        assert_int_equal(wrong, 0);
}

static void test_loopback(void **state)
{
        static const struct {
                const char *addr;
                bool loopback;
        } cases[] = {
                {"127.0.0.1", true},   {"127.255.255.254", true},
                {"128.0.0.1", false},  {"126.1.1.1", false},
                {"0.0.0.0", false},    {"192.168.1.2", false},
                {"10.127.0.1", false}, {"", false},
        };

        (void)state;
        for (size_t i = 0; i < N(cases); i++)
                if (listen_is_loopback(cases[i].addr) != cases[i].loopback)
                        fail_msg("%s", cases[i].addr);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_listen),
                                           cmocka_unit_test(test_loopback)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
