/* test_json.c: JSON of strangers, on the stack that a request's thread has. */
#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "json.h"

/* civetweb's. */
#define STACK_BYTES (100u << 10)

struct json_case {
        const char *rule, *text;
        bool parses;
};

static const struct json_case json_cases[] = {
        {"an object", "{\"magnet\":\"magnet:?xt=urn:btih:00\",\"keep\":true}", true},
        {"blanks around", " \r\n[1, 2]\t\n", true},
        {"brackets within strings are no levels", "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]", true},
        {"a quote that is escaped ends no string", "[\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[\"]", true},
        {"siblings are no levels", "[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]", true},
        {"as deep as may be", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", true},
        {"a level more", "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", false},
        {"objects are levels, too",
         "{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{}]}]}]}]}]}]}]}]}",
         false},
        {"something behind", "{} {}", false},
        {"cut off", "{\"magnet\":\"magnet:", false},
        {"a string that ends in its escape", "[\"\\", false},
        {"nothing", "", false},
        {"NULL", NULL, false},
};

static void test_cases(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof json_cases / sizeof json_cases[0]; i++) {
                cJSON *json = json_parse(json_cases[i].text);

                if ((json != NULL) != json_cases[i].parses)
                        fail_msg("%s", json_cases[i].rule);
                cJSON_Delete(json);
        }
}

static void *parse(void *text)
{
        return json_parse(text);
}

static void *parse_on_a_small_stack(char *text)
{
        pthread_attr_t attr;
        pthread_t thread;
        void *json = NULL;

        assert_int_equal(pthread_attr_init(&attr), 0);
        assert_int_equal(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
        assert_int_equal(pthread_create(&thread, &attr, parse, text), 0);
        assert_int_equal(pthread_join(thread, &json), 0);
        pthread_attr_destroy(&attr);
        return json;
}

static void test_depth_takes_no_stack(void **state)
{
        static const size_t depths[] = {900, 1000, 100000};

        (void)state;
        for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
                char *text = malloc(depths[i] + 1);

                assert_non_null(text);
                memset(text, '[', depths[i]);
                text[depths[i]] = '\0';
                assert_null(parse_on_a_small_stack(text));
                free(text);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_depth_takes_no_stack),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
