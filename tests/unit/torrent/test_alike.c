/* test_alike.c: a torrent's nodes by name, in whatever form it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "torrent/alike.h"

#define N(a) (sizeof(a) / sizeof *(a))
/* "é" as one character and as two. */
#define ONE "\xc3\xa9"
#define TWO "e\xcc\x81"

static const char *const paths[] = {
        "b.mkv", "one/b.mkv", "two/B.mkv",           "two/" TWO ".srt", "one/" ONE ".srt",
        "a",     "b.mkv.txt", "d" TWO "/" ONE "/b.", "three/one",
};

struct find_case {
        const char *rule, *name;
        const char *expected[4];
};

static const struct find_case cases[] = {
        {"of several the torrent's order", "b.mkv", {"b.mkv", "one/b.mkv"}},
        {"case counts", "B.mkv", {"two/B.mkv"}},
        {"both forms by one", ONE ".srt", {"two/" TWO ".srt", "one/" ONE ".srt"}},
        {"… and by the other", TWO ".srt", {"two/" TWO ".srt", "one/" ONE ".srt"}},
        {"directories are names as well", "one", {"one", "three/one"}},
        {"… also in another form", "d" ONE, {"d" TWO}},
        {"the first of all", "B.mkv", {"two/B.mkv"}},
        {"the last of all", TWO, {"d" TWO "/" ONE}},
        {"a beginning of one is none", "b", {NULL}},
        {"nor is one that goes on", "b.mkv.txt2", {NULL}},
        {"the root has none", "", {NULL}},
        {"no UTF-8", "\xff", {NULL}},
};

static void check(const struct tree *tree, const struct alike *a, const struct find_case *c)
{
        uint32_t first = 0;
        size_t expected = 0;
        int n = alike_find(a, c->name, &first);

        while (expected < N(c->expected) && c->expected[expected])
                expected++;
        if (n != (int)expected)
                fail_msg("%s: %d found", c->rule, n);
        for (uint32_t i = 0; i < expected; i++) {
                char path[256];

                tree_path(tree, alike_node(a, first + i), path, sizeof path);
                if (strcmp(path, c->expected[i]) != 0)
                        fail_msg("%s: %s", c->rule, path);
        }
}

static void test_find(void **state)
{
        struct tree_file files[N(paths)];
        struct tree *tree;
        struct alike *a;

        (void)state;
        for (uint32_t i = 0; i < N(paths); i++)
                files[i] = (struct tree_file){.path = paths[i], .index = i, .offset = i, .size = 1};
        assert_int_equal(tree_new(files, N(files), &tree), 0);
        assert_int_equal(alike_new(tree, &a), 0);
        for (size_t i = 0; i < N(cases); i++)
                check(tree, a, &cases[i]);
        alike_free(a);
        tree_free(tree);
}

/* A torrent whose files are all padding has none that are shown. */
static void test_nothing(void **state)
{
        struct tree *tree;
        struct alike *a;
        uint32_t first;

        (void)state;
        assert_int_equal(tree_new(NULL, 0, &tree), 0);
        assert_int_equal(alike_new(tree, &a), 0);
        assert_int_equal(alike_find(a, "x", &first), 0);
        assert_int_equal(alike_find(a, "", &first), 0);
        alike_free(a);
        tree_free(tree);
}

/* So many of one name, and so many names, cost no more than sorting them. */
static void test_many(void **state)
{
        enum { MANY = 100000 };
        struct tree_file *files = calloc(MANY, sizeof *files);
        char(*names)[32] = calloc(MANY, sizeof *names);
        struct tree *tree;
        struct alike *a;
        uint32_t first;

        (void)state;
        assert_true(files && names);
        for (uint32_t i = 0; i < MANY; i++) {
                snprintf(names[i], sizeof names[i], i % 2 ? "%u/same" : "%u/" TWO "%u", i, i);
                files[i] = (struct tree_file){.path = names[i], .index = i};
        }
        assert_int_equal(tree_new(files, MANY, &tree), 0);
        assert_int_equal(alike_new(tree, &a), 0);
        assert_int_equal(alike_find(a, "same", &first), MANY / 2);
        assert_int_equal(tree_node(tree, alike_node(a, first))->file, 1);
        assert_int_equal(alike_find(a, ONE "4242", &first), 1);
        assert_int_equal(tree_node(tree, alike_node(a, first))->file, 4242);
        alike_free(a);
        tree_free(tree);
        free(names);
        free(files);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_find),
                cmocka_unit_test(test_nothing),
                cmocka_unit_test(test_many),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
