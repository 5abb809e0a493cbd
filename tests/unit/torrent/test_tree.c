/* test_tree.c: the directories of a torrent, and the inode numbers made of its nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "nodes/nodes.h"
#include "torrent/names.h"
#include "torrent/tree.h"

#define N(a) (sizeof(a) / sizeof *(a))

enum { FILES_MAX = 8 };

struct tree_case {
        const char *rule;
        const char *raw[FILES_MAX];
        const char *expected[FILES_MAX]; /* the paths they are found at */
};

static const struct tree_case tree_cases[] = {
        {"one file", {"clip.mp4"}, {"clip.mp4"}},
        {"folders are shared", {"a/b/x", "a/b/y", "a/z"}, {"a/b/x", "a/b/y", "a/z"}},
        {"two files of one name", {"a.txt", "a.txt"}, {"a.txt", "a (2).txt"}},
        {"… and a third", {"a", "a", "a"}, {"a", "a (2)", "a (3)"}},
        {"… in different folders they don't meet", {"x/a", "y/a"}, {"x/a", "y/a"}},
        {"a number that is taken is skipped",
         {"a", "a (2)", "a", "a"},
         {"a", "a (2)", "a (3)", "a (4)"}},
        {"a number that is taken later: first come first served",
         {"a", "a", "a (2)"},
         {"a", "a (2)", "a (2) (2)"}},
        {"a file, then a folder of its name", {"a", "a/b"}, {"a", "a (2)/b"}},
        {"a folder, then a file of its name", {"a/b", "a"}, {"a/b", "a (2)"}},
        {"the numbered folder is one folder",
         {"a", "a/b", "a/c", "a/d/e"},
         {"a", "a (2)/b", "a (2)/c", "a (2)/d/e"}},
        {"names equal after cleaning", {"a\x01", "a\x02", "a_"}, {"a_", "a_ (2)", "a_ (3)"}},
        {"folders equal after cleaning stay two",
         {"d\x01/x", "d\x02/x", "d\x01/y"},
         {"d_/x", "d_ (2)/x", "d_/y"}},
        {"broken UTF-8 of different bytes", {"\xff", "\xfe"}, {"_", "_ (2)"}},
        {"'..' stays below its folder", {"../../etc/passwd"}, {"__/__/etc/passwd"}},
        {"empty components", {"/a", "a//b"}, {"_/a", "a/_/b"}},
        {"names differ by case", {"A", "a"}, {"A", "a"}},
        {"the extension is kept", {"a.b.mkv", "a.b.mkv"}, {"a.b.mkv", "a.b (2).mkv"}},
};

static int new_tree(const char *const *raw, size_t n, struct tree **ret)
{
        struct tree_file *files = calloc(n + 1, sizeof *files);
        uint64_t offset = 0;
        int r;

        assert_non_null(files);
        for (size_t i = 0; i < n; i++) {
                files[i] = (struct tree_file){.path = raw[i],
                                              .index = (uint32_t)(2 * i + 1),
                                              .offset = offset,
                                              .size = 10 + i};
                offset += 10 + i;
        }
        r = tree_new(files, n, ret);
        free(files);
        return r;
}

static uint32_t find_path(const struct tree *t, const char *path)
{
        uint32_t at = TREE_ROOT;
        char name[NAME_BYTES_MAX + 1];

        for (const char *p = path; at != TREE_NONE; p++) {
                size_t len = strcspn(p, "/");

                memcpy(name, p, len);
                name[len] = '\0';
                at = tree_lookup(t, at, name);
                p += len;
                if (!*p)
                        break;
        }
        return at;
}

/* What holds of every tree. */
static void check_tree(const struct tree *t, const char *rule)
{
        uint32_t n = tree_nodes(t), listed = 0;

        if (tree_node(t, n) || tree_node(t, TREE_NONE))
                fail_msg("%s: a node behind the last", rule);
        assert_string_equal(tree_node(t, TREE_ROOT)->name, "");
        assert_int_equal(tree_node(t, TREE_ROOT)->file, TREE_DIRECTORY);
        for (uint32_t i = 0; i < n; i++) {
                const struct tree_node *d = tree_node(t, i);
                uint32_t directories = 0;

                if (d->file != TREE_DIRECTORY && d->children + d->directories > 0)
                        fail_msg("%s: the file %s has children", rule, d->name);
                for (uint32_t k = 0; k < d->children; k++) {
                        uint32_t child = tree_child(t, i, k);
                        const struct tree_node *c = tree_node(t, child);

                        if (!c || c->parent != i || child == TREE_ROOT)
                                fail_msg("%s: child %u of \"%s\" has another parent", rule, k,
                                         d->name);
                        if (k > 0 &&
                            strcmp(tree_node(t, tree_child(t, i, k - 1))->name, c->name) >= 0)
                                fail_msg("%s: \"%s\" is not in order or there twice", rule,
                                         c->name);
                        if (tree_lookup(t, i, c->name) != child)
                                fail_msg("%s: \"%s\" is not found", rule, c->name);
                        directories += c->file == TREE_DIRECTORY;
                        listed++;
                }
                if (directories != d->directories)
                        fail_msg("%s: \"%s\" has %u directories, says %u", rule, d->name,
                                 directories, d->directories);
        }
        if (listed != n - 1)
                fail_msg("%s: %u of %u nodes are listed", rule, listed, n - 1);
}

static void test_names(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(tree_cases); i++) {
                const struct tree_case *c = &tree_cases[i];
                struct tree *t = NULL;
                uint64_t offset = 0;
                size_t n = 0;

                while (n < FILES_MAX && c->raw[n])
                        n++;
                assert_int_equal(new_tree(c->raw, n, &t), 0);
                check_tree(t, c->rule);
                for (size_t k = 0; k < n; k++) {
                        uint32_t at = find_path(t, c->expected[k]);
                        const struct tree_node *f = tree_node(t, at);
                        char path[1024];

                        if (!f)
                                fail_msg("%s: no %s", c->rule, c->expected[k]);
                        if (f->file != 2 * k + 1 || f->offset != offset || f->size != 10 + k)
                                fail_msg("%s: %s is file %u at %llu", c->rule, c->expected[k],
                                         f->file, (unsigned long long)f->offset);
                        offset += 10 + k;
                        if (tree_path(t, at, path, sizeof path) != strlen(c->expected[k]) ||
                            strcmp(path, c->expected[k]) != 0)
                                fail_msg("%s: the path of %s is %s", c->rule, c->expected[k], path);
                }
                tree_free(t);
        }
}

static void test_lookup(void **state)
{
        static const char *const raw[] = {"b", "a/x", "c", "ab", "\xff"};
        static const char *const missing[] = {"", "A", "a/x", "aa", "bb", "d", ".", "..", "\xff"};
        struct tree *t = NULL;

        (void)state;
        assert_int_equal(new_tree(raw, N(raw), &t), 0);
        for (size_t i = 0; i < N(missing); i++)
                if (tree_lookup(t, TREE_ROOT, missing[i]) != TREE_NONE)
                        fail_msg("\"%s\" is found", missing[i]);
        /* a file has no children */
        assert_int_equal(tree_lookup(t, tree_lookup(t, TREE_ROOT, "b"), "b"), TREE_NONE);
        assert_int_equal(tree_lookup(t, tree_lookup(t, TREE_ROOT, "b"), ""), TREE_NONE);
        tree_free(t);

        assert_int_equal(tree_new(NULL, 0, &t), 0);
        check_tree(t, "no file at all");
        assert_int_equal(tree_nodes(t), 1);
        assert_int_equal(tree_lookup(t, TREE_ROOT, "a"), TREE_NONE);
        tree_free(t);
        tree_free(NULL);
}

/* As snprintf: cut to the room, the whole length as the result, nothing written behind. */
static void test_path_cut(void **state)
{
        static const char *const raw[] = {"first/second/third.mkv"};
        const size_t whole = strlen(raw[0]);
        struct tree *t = NULL;
        uint32_t file;

        (void)state;
        assert_int_equal(new_tree(raw, 1, &t), 0);
        file = find_path(t, raw[0]);
        for (size_t size = 0; size < whole + 4; size++) {
                char out[64], expected[64];

                memset(out, '#', sizeof out);
                memset(expected, '#', sizeof expected);
                snprintf(expected, size, "%s", raw[0]);
                assert_int_equal(tree_path(t, file, out, size), whole);
                assert_memory_equal(out, expected, sizeof out);
        }
        {
                char out[4] = "###";

                assert_int_equal(tree_path(t, TREE_ROOT, out, sizeof out), 0);
                assert_string_equal(out, "");
        }
        tree_free(t);
}

static void test_deep(void **state)
{
        enum { LEVELS = 600 };
        char *raw = malloc(LEVELS * 4 + 8), *path = malloc(LEVELS * 4 + 8);
        const char *files[2];
        struct tree *t = NULL;
        size_t len = 0;
        uint32_t at = TREE_ROOT;

        (void)state;
        assert_non_null(raw);
        assert_non_null(path);
        for (unsigned i = 0; i < LEVELS; i++)
                len += (size_t)sprintf(raw + len, "d/");
        strcpy(raw + len, "f");
        files[0] = files[1] = raw;
        assert_int_equal(new_tree(files, 2, &t), 0);
        check_tree(t, "600 levels");
        assert_int_equal(tree_nodes(t), 1 + LEVELS + 2);
        for (unsigned i = 0; i < LEVELS; i++)
                at = tree_lookup(t, at, "d");
        assert_true(tree_lookup(t, at, "f") != TREE_NONE);
        assert_true(tree_lookup(t, at, "f (2)") != TREE_NONE);
        assert_int_equal(tree_path(t, tree_lookup(t, at, "f"), path, LEVELS * 4 + 8), len + 1);
        assert_string_equal(path, raw);
        tree_free(t);
        free(raw);
        free(path);
}

/* Of computing: other programs beside this one do not count. */
static double seconds(void)
{
        struct timespec t;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Far more than it takes, sanitizers included; far less than what is quadratic takes. */
#define SECONDS_MAX 6.0

struct many {
        char *bytes;
        const char **raw;
        size_t n, used;
};

static void many_new(struct many *m, size_t n, size_t bytes)
{
        *m = (struct many){.bytes = malloc(n * bytes), .raw = calloc(n, sizeof *m->raw)};
        assert_non_null(m->bytes);
        assert_non_null(m->raw);
}

static void __attribute__((format(printf, 2, 3))) many_add(struct many *m, const char *format, ...)
{
        va_list ap;

        m->raw[m->n++] = m->bytes + m->used;
        va_start(ap, format);
        m->used += (size_t)vsprintf(m->bytes + m->used, format, ap) + 1;
        va_end(ap);
}

static struct tree *many_tree(struct many *m, const char *rule)
{
        double start = seconds(), took;
        struct tree *t = NULL;

        assert_int_equal(new_tree(m->raw, m->n, &t), 0);
        took = seconds() - start;
        free(m->bytes);
        free(m->raw);
        if (took > SECONDS_MAX) {
                tree_free(t);
                fail_msg("%s: %zu files took %.1f s", rule, m->n, took);
        }
        return t;
}

static void test_many(void **state)
{
        enum { MANY = 100000 };
        struct many m;
        struct tree *t;

        (void)state;
        many_new(&m, MANY, 40);
        for (unsigned i = 0; i < MANY; i++)
                many_add(&m, "folder %u/file %u.jpg", i % 317, i);
        t = many_tree(&m, "in 317 folders");
        check_tree(t, "100,000 files in 317 folders");
        assert_int_equal(tree_nodes(t), 1 + 317 + MANY);
        tree_free(t);

        many_new(&m, MANY, 40);
        for (unsigned i = 0; i < MANY; i++)
                many_add(&m, "a.jpg");
        t = many_tree(&m, "of one name");
        check_tree(t, "100,000 files of one name");
        assert_true(tree_lookup(t, TREE_ROOT, "a (100000).jpg") != TREE_NONE);
        tree_free(t);

        many_new(&m, MANY, 40);
        for (unsigned i = 0; i < MANY / 2; i++)
                many_add(&m, "a (%u)", i + 2);
        for (unsigned i = 0; i < MANY / 2; i++)
                many_add(&m, "a");
        t = many_tree(&m, "whose numbers are taken");
        check_tree(t, "50,000 files whose numbers are taken");
        tree_free(t);
}

/* Names of 255 bytes that differ only where a number goes: each pair's second one must not try all
 * numbers that the pairs before it took. A .torrent of 32 MiB holds 55,000 such pairs. */
static void test_many_cut_to_one(void **state)
{
        enum { PAIRS = 3000 };
        char stem[250];
        struct many m;
        struct tree *t;

        (void)state;
        memset(stem, 'x', sizeof stem - 1);
        stem[sizeof stem - 1] = '\0';
        many_new(&m, (size_t)2 * PAIRS, 256);
        for (unsigned i = 0; i < PAIRS; i++) {
                many_add(&m, "%s%06x", stem, i);
                many_add(&m, "%s%06x", stem, i);
        }
        t = many_tree(&m, "long names that differ at their end");
        check_tree(t, "long names that differ at their end");
        tree_free(t);
}

static uint32_t rng = 88172645u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

/* The same files give the same nodes, names and order, and further files change none of those
 * before them: numbers are inode numbers. */
static void test_deterministic(void **state)
{
        static const char *const parts[] = {"a", "b", "a (2)", "\x01", "\x02", "_", "..", "", "é"};

        (void)state;
        for (unsigned round = 0; round < 300; round++) {
                enum { FILES = 60 };
                char bytes[FILES][64];
                const char *raw[FILES];
                struct tree *t[3] = {NULL};

                for (unsigned i = 0; i < FILES; i++) {
                        unsigned depth = 1 + next() % 3;
                        size_t len = 0;

                        for (unsigned k = 0; k < depth; k++)
                                len += (size_t)sprintf(bytes[i] + len, "%s%s", k ? "/" : "",
                                                       parts[next() % N(parts)]);
                        raw[i] = bytes[i];
                }
                assert_int_equal(new_tree(raw, FILES, &t[0]), 0);
                assert_int_equal(new_tree(raw, FILES, &t[1]), 0);
                assert_int_equal(new_tree(raw, FILES / 2, &t[2]), 0);
                check_tree(t[0], "random");
                for (unsigned k = 1; k < 3; k++) {
                        for (uint32_t i = 0; i < tree_nodes(t[k]); i++) {
                                const struct tree_node *a = tree_node(t[0], i),
                                                       *b = tree_node(t[k], i);

                                if (strcmp(a->name, b->name) != 0 || a->parent != b->parent ||
                                    a->file != b->file || a->offset != b->offset)
                                        fail_msg("round %u: node %u is \"%s\" and \"%s\"", round, i,
                                                 a->name, b->name);
                        }
                }
                assert_int_equal(tree_nodes(t[0]), tree_nodes(t[1]));
                for (unsigned k = 0; k < 3; k++)
                        tree_free(t[k]);
        }
}

/* ---- inode numbers (nodes.h) ---- */

static void test_inodes(void **state)
{
        static const uint32_t numbers[] = {0, 1, 2, 255, 256, 0xffffff, 0x1000000, UINT32_MAX};
        static const uint32_t nodes[] = {0, 1, 7, 255, 0x10000, TREE_NODES_MAX - 1};
        uint64_t seen[4 * N(numbers) * N(nodes)];
        size_t n = 0;

        (void)state;
        for (unsigned kind = NODE_TREE; kind <= NODE_LINK; kind++) {
                for (size_t i = 0; i < N(numbers); i++) {
                        for (size_t k = 0; k < N(nodes); k++) {
                                uint64_t ino = node_ino((enum node_kind)kind, numbers[i], nodes[k]);
                                struct node back = node_of(ino);

                                if (back.kind != kind || back.number != numbers[i] ||
                                    back.node != nodes[k])
                                        fail_msg("%u/%u/%u comes back as %u/%u/%u", kind,
                                                 numbers[i], nodes[k], (unsigned)back.kind,
                                                 back.number, back.node);
                                for (size_t j = 0; j < n; j++)
                                        assert_true(seen[j] != ino);
                                seen[n++] = ino;
                        }
                }
        }
        /* FUSE says the root is 1 */
        assert_true(NODE_ROOT == 1);
        assert_true(node_ino(NODE_TREE, 0, FIXED_ROOT) == NODE_ROOT);
}

struct content_case {
        const char *rule;
        struct node node;
        bool expected;
};

static const struct content_case content_cases[] = {
        {"a file of a torrent", {NODE_TREE, 1, 3}, true},
        {"the same below data/", {NODE_DATA, 1, 3}, true},
        {"of the last torrent there can be", {NODE_TREE, UINT32_MAX, 3}, true},
        {"the root", {NODE_TREE, 0, FIXED_ROOT}, false},
        {"add", {NODE_TREE, 0, FIXED_ADD}, false},
        {"a control file", {NODE_CONTROL, 1, CONTROL_STATUS}, false},
        {"a link", {NODE_LINK, 1, 0}, false},
        {"data/ of no torrent", {NODE_DATA, 0, 1}, false},
};

static void test_content(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(content_cases); i++)
                if (node_is_content(content_cases[i].node) != content_cases[i].expected)
                        fail_msg("%s", content_cases[i].rule);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),         cmocka_unit_test(test_lookup),
                cmocka_unit_test(test_path_cut),      cmocka_unit_test(test_deep),
                cmocka_unit_test(test_many),          cmocka_unit_test(test_many_cut_to_one),
                cmocka_unit_test(test_deterministic), cmocka_unit_test(test_inodes),
                cmocka_unit_test(test_content),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
