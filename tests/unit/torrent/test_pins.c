/* test_pins.c: what of a torrent is pinned, and how the catalog has it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "torrent/torrent.h"

enum { PIECE = 100 };

/* The nodes: 1 "a", 2 "d", 3 "d/b", 4 "d/empty", 5 "d/c", 6 "e". */
static const struct tree_file files[] = {
        {.path = "a", .index = 0, .offset = 0, .size = 250},    /* 0 to 2 */
        {.path = "d/b", .index = 1, .offset = 250, .size = 40}, /* 2 */
        {.path = "d/empty", .index = 2, .offset = 290, .size = 0},
        {.path = "d/c", .index = 3, .offset = 290, .size = 210}, /* 2 to 4 */
        {.path = "e", .index = 4, .offset = 600, .size = 1},     /* 6; 5 is padding */
};
enum { N_FILES = sizeof files / sizeof *files, N_PIECES = 7 };
enum { A = 1, D, B, EMPTY, C, E };

struct fixture {
        struct torrent_env env;
        struct torrent *torrent;
        struct listing listing; /* no more of it than pins need */
};

static void make_listing(const struct tree_file *list, size_t n, struct listing *ret)
{
        *ret = (struct listing){.piece_length = PIECE};
        assert_int_equal(tree_new(list, n, &ret->tree), 0);
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof *f);
        struct torrent_past past = {
                .number = 1, .hex = "00", .alias = {"", ""}, .summary.known = true};

        assert_non_null(f);
        make_listing(files, N_FILES, &f->listing);
        *state = f;
        return torrent_new_past(&f->env, &past, &f->torrent);
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        torrent_unref(f->torrent);
        tree_free(f->listing.tree);
        free(f);
        return 0;
}

static int change(struct fixture *f, uint32_t node, bool pinned)
{
        struct pins p;
        int r = pins_change(&f->torrent->pins, &f->listing, node, pinned, &p);

        if (r == 0) {
                pins_exchange(f->torrent, &p);
                pins_clear(&p);
        }
        return r;
}

/* The pieces that are pinned, as digits. */
static const char *pieces(struct fixture *f)
{
        static char text[N_PIECES + 1];
        size_t n = 0;

        pthread_mutex_lock(&f->torrent->lock);
        for (uint32_t i = 0; i < N_PIECES; i++)
                if (pins_has(f->torrent, i))
                        text[n++] = (char)('0' + i);
        pthread_mutex_unlock(&f->torrent->lock);
        text[n] = '\0';
        return text;
}

static enum pinned pinned(struct fixture *f)
{
        struct torrent_status st;

        torrent_get_status(f->torrent, &st);
        return st.pinned;
}

static void expect(struct fixture *f, const char *expected, enum pinned all, const char *saved)
{
        char *text = pins_save(f->torrent);

        assert_non_null(text);
        assert_string_equal(pieces(f), expected);
        assert_int_equal(pinned(f), all);
        assert_string_equal(text, saved);
        /* as after a restart */
        pins_load(f->torrent, text);
        free(text);
        text = pins_save(f->torrent);
        assert_string_equal(text, saved);
        assert_string_equal(pieces(f), expected);
        free(text);
}

/* A piece that two files share is pinned with either. */
static void test_files(void **state)
{
        struct fixture *f = *state;

        expect(f, "", PINNED_NOT, "");
        assert_int_equal(change(f, B, true), 0);
        expect(f, "2", PINNED_PART, "3:2-3");
        assert_int_equal(change(f, A, true), 0);
        expect(f, "012", PINNED_PART, "1:0-3 3:2-3");
        assert_int_equal(change(f, A, true), 0);
        expect(f, "012", PINNED_PART, "1:0-3 3:2-3");
        assert_true(pins_has_node(f->torrent, A));
        assert_true(pins_has_node(f->torrent, B));
        assert_false(pins_has_node(f->torrent, C));
        assert_false(pins_has_node(f->torrent, TREE_ROOT));
        assert_int_equal(change(f, B, false), 0);
        expect(f, "012", PINNED_PART, "1:0-3");
        assert_int_equal(change(f, C, true), 0);
        expect(f, "01234", PINNED_PART, "1:0-3 5:2-5");
        assert_int_equal(change(f, A, false), 0);
        expect(f, "234", PINNED_PART, "5:2-5");
        assert_int_equal(change(f, C, false), 0);
        expect(f, "", PINNED_NOT, "");
        assert_int_equal(change(f, E + 1, true), -ENOENT);
        assert_int_equal(change(f, EMPTY, true), 0);
        expect(f, "", PINNED_NOT, "");
}

static void test_directories(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(change(f, D, true), 0);
        expect(f, "234", PINNED_PART, "3:2-3 5:2-5");
        assert_int_equal(change(f, C, false), 0);
        expect(f, "2", PINNED_PART, "3:2-3");
        assert_int_equal(change(f, E, true), 0);
        assert_int_equal(change(f, D, false), 0);
        expect(f, "6", PINNED_PART, "6:6-7");
}

/* All is all, whichever way it came to be, and padding goes with it. */
static void test_all(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(change(f, TREE_ROOT, true), 0);
        expect(f, "0123456", PINNED_WHOLE, "all");
        assert_true(pins_has_node(f->torrent, TREE_ROOT));
        assert_int_equal(change(f, A, true), 0);
        expect(f, "0123456", PINNED_WHOLE, "all");
        assert_int_equal(change(f, A, false), 0);
        expect(f, "2346", PINNED_PART, "3:2-3 5:2-5 6:6-7");
        assert_int_equal(change(f, A, true), 0);
        expect(f, "0123456", PINNED_WHOLE, "all");
        assert_int_equal(change(f, TREE_ROOT, false), 0);
        expect(f, "", PINNED_NOT, "");
}

/* What turned out to be another one by its metadata is pinned as that; one that is not changes
 * nothing. */
static void test_inherited(void **state)
{
        struct fixture *f = *state;
        struct torrent_past past = {
                .number = 2, .hex = "11", .alias = {"", ""}, .summary.known = true};
        struct torrent *other;

        assert_int_equal(torrent_new_past(&f->env, &past, &other), 0);
        assert_int_equal(change(f, A, true), 0);
        pins_inherit(f->torrent, other);
        expect(f, "012", PINNED_PART, "1:0-3");
        pins_load(other, "all");
        pins_inherit(f->torrent, other);
        expect(f, "0123456", PINNED_WHOLE, "all");
        torrent_unref(other);
}

/* A damaged catalog may say anything: what is good before it stays. */
static void test_text(void **state)
{
        static const struct {
                const char *text, *saved;
        } cases[] = {
                {"", ""},
                {"all", "all"},
                {"all ", ""},
                {"1:0-3", "1:0-3"},
                {"1:0-3 nonsense", "1:0-3"},
                {"1:0-3  3:2-3", "1:0-3"},
                {"1:0-3,3:2-3", ""},
                {"1:0-3 1:3-4", "1:0-3"},
                {"3:2-3 1:0-3", "3:2-3"},
                {"1:2-4 3:1-4", "1:2-4"},
                {"1:2-4 3:2-3", "1:2-4"},
                {"0:0-3", ""},
                {"1:3-3", ""},
                {"1:4-3", ""},
                {"1:-3-4", ""},
                {"1: 0-3", ""},
                {"16777216:0-3", ""},
                {"1:0-4294967295", ""},
                {"1:0-99999999999999999999", ""},
                {"1:0", ""},
                {"16777215:4294967293-4294967294", "16777215:4294967293-4294967294"},
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char *saved;

                pins_load(f->torrent, cases[i].text);
                saved = pins_save(f->torrent);
                if (strcmp(saved, cases[i].saved) != 0)
                        fail_msg("\"%s\" is taken as \"%s\"", cases[i].text, saved);
                free(saved);
        }
}

/* Of more files than are remembered one by one. */
static void test_many(void **state)
{
        enum { MANY = PINS_MAX + 2 };
        struct fixture *f = *state;
        static struct tree_file many[MANY];
        static char names[MANY][8];
        struct listing few = f->listing;

        for (uint32_t i = 0; i < MANY; i++) {
                snprintf(names[i], sizeof names[i], "%s%u", i < 2 ? "x" : "y/", i);
                many[i] = (struct tree_file){
                        .path = names[i], .index = i, .offset = (uint64_t)i * PIECE, .size = PIECE};
        }
        make_listing(many, MANY, &f->listing);
        /* x0, x1, y, y/2, … */
        assert_int_equal(change(f, 1, true), 0);
        assert_int_equal(change(f, 3, true), -E2BIG);
        assert_string_equal(pieces(f), "0");
        assert_int_equal(change(f, 1, false), 0);
        assert_int_equal(change(f, 3, true), 0);
        assert_int_equal(pinned(f), PINNED_PART);
        assert_string_equal(pieces(f), "23456");
        assert_true(pins_has(f->torrent, MANY - 1));
        assert_false(pins_has(f->torrent, MANY));
        assert_int_equal(change(f, 1, true), -E2BIG);
        assert_int_equal(change(f, TREE_ROOT, true), 0);
        assert_int_equal(change(f, 1, false), -E2BIG);
        assert_int_equal(pinned(f), PINNED_WHOLE);
        assert_int_equal(change(f, 3, false), 0);
        assert_string_equal(pieces(f), "01");
        tree_free(f->listing.tree);
        f->listing = few;
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_files),     TEST(test_directories), TEST(test_all),
                TEST(test_inherited), TEST(test_text),        TEST(test_many),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
