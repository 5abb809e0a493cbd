/* SPDX-License-Identifier: MIT */
/* test_registry.c: the names of directories: the first that is free, however many have one like it,
 * and found in no time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "engine/registry.h"
#include "torrent/names.h"

static struct torrent_env env;

static struct torrent *add(struct registry *r, unsigned hash, const char *name)
{
        char magnet[1024];
        struct bt_source *source;
        struct torrent *t;
        int n = snprintf(magnet, sizeof magnet, "magnet:?xt=urn:btih:%040x&dn=%s", hash, name);

        assert_int_equal(bt_source_from_magnet(magnet, (size_t)n, false, &source, NULL), 0);
        assert_int_equal(registry_add(r, &env, source, true, &t), 0);
        return t;
}

/* Milliseconds to add so many, of one name or of as many names. */
static uint64_t time_to_add(unsigned many, bool alike)
{
        char name[NAME_BYTES_MAX + 1];
        uint64_t began = clock_ms();
        struct registry *r;

        assert_int_equal(registry_new(&r), 0);
        for (unsigned i = 1; i <= many; i++) {
                struct torrent *t;

                snprintf(name, sizeof name, "film of %u.mkv", i);
                t = add(r, i, alike ? "film.mkv" : name);
                if (alike && i == many) {
                        assert_true(registry_name(r, t, name));
                        assert_string_equal(name, "film (20000).mkv");
                }
                torrent_unref(t);
        }
        began = clock_ms() - began;
        registry_free(r);
        return began;
}

static void test_many_of_one_name_take_no_longer_than_others(void **state)
{
        enum { MANY = 20000 };
        uint64_t others = time_to_add(MANY, false);

        (void)state;
        /* By trying each number anew: a hundred times as long. */
        assert_true(time_to_add(MANY, true) < 6 * others + 200);
}

/* The first name made of claim that nobody of those has. */
static void expect(char names[][NAME_BYTES_MAX + 1], unsigned n, const char *claim, char *out)
{
        for (unsigned i = 1;; i++) {
                bool taken = false;

                if (i == 1)
                        strcpy(out, claim);
                else
                        name_numbered(claim, i, out);
                for (unsigned k = 0; k < n && !taken; k++)
                        taken = strcmp(names[k], out) == 0;
                if (!taken)
                        return;
        }
}

static void test_names_are_the_first_that_are_free_whoever_leaves(void **state)
{
        enum { MOST = 60, ROUNDS = 5000 };
        static char names[MOST][NAME_BYTES_MAX + 1];
        static char longest[2][NAME_BYTES_MAX + 1];
        struct torrent *torrents[MOST];
        /* Some make the names of others when they are numbered; the longest are cut for it. */
        const char *claims[] = {"a",   "a (2)",   "a (2) (2)", "b.x",      "b (2).x",
                                "(2)", "a (002)", longest[0],  longest[1], "a (3)"};
        unsigned n = 0, hash = 1;
        struct registry *r;

        (void)state;
        memset(longest[0], 'l', NAME_BYTES_MAX);
        memset(longest[1], 'l', NAME_BYTES_MAX - 4);
        strcat(longest[1], "mmm");
        srand(1);
        assert_int_equal(registry_new(&r), 0);
        for (unsigned round = 0; round < ROUNDS; round++) {
                if (n < MOST && rand() % 100 < 55) {
                        const char *claim =
                                claims[(size_t)rand() % (sizeof claims / sizeof *claims)];
                        char name[NAME_BYTES_MAX + 1];

                        expect(names, n, claim, name);
                        torrents[n] = add(r, hash++, claim);
                        assert_true(registry_name(r, torrents[n], names[n]));
                        assert_string_equal(names[n], name);
                        n++;
                } else if (n > 0) {
                        unsigned k = (unsigned)rand() % n;

                        registry_remove(r, torrents[k], false);
                        torrent_unref(torrents[k]);
                        n--;
                        torrents[k] = torrents[n];
                        memmove(names[k], names[n], sizeof names[k]);
                }
        }
        while (n > 0)
                torrent_unref(torrents[--n]);
        registry_free(r);
}

static unsigned ended;

static void end(struct torrent *t)
{
        (void)t;
        ended++;
}

static void test_clear_takes_all_out(void **state)
{
        struct registry *r;
        struct torrent *t;

        (void)state;
        assert_int_equal(registry_new(&r), 0);
        for (unsigned i = 1; i <= 100; i++)
                torrent_unref(add(r, i, "same"));
        registry_clear(r, end);
        assert_int_equal(ended, 100);
        assert_int_equal(registry_count(r), 0);
        assert_null(registry_by_name(r, "same"));
        t = add(r, 1, "same");
        assert_ptr_equal(registry_next(r, 0), t);
        torrent_unref(t);
        torrent_unref(t);
        registry_free(r);
}

static struct torrent *add_hash(struct registry *r, const char *prefix, const char *hex, bool kept)
{
        char magnet[256];
        struct bt_source *source;
        struct torrent *t;
        int n = snprintf(magnet, sizeof magnet, "magnet:?xt=urn:%s%s", prefix, hex);

        assert_int_equal(bt_source_from_magnet(magnet, (size_t)n, false, &source, NULL), 0);
        assert_int_equal(registry_add(r, &env, source, kept, &t), 0);
        return t;
}

/* Nobody finds a hash free in between, which would make a third torrent. */
static void test_of_a_hybrid_s_two_torrents_one_takes_over_in_one_step(void **state)
{
        static const char hybrid[] =
                "d4:infod9:file treed8:clip.mp4d0:d6:lengthi16384e11:pieces root32:"
                "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrreee6:lengthi16384e12:meta versioni2e4:name8:clip.mp4"
                "12:piece lengthi16384e6:pieces20:ppppppppppppppppppppee";
        char hex[2][BT_HEX_MAX], name[NAME_BYTES_MAX + 1];
        struct torrent *first, *second, *other = NULL, *found;
        struct renamed *renamed = NULL;
        struct bt_source *source;
        struct bt_meta *meta;
        struct registry *r;
        bool named = false;

        (void)state;
        assert_int_equal(bt_source_from_torrent(hybrid, sizeof hybrid - 1, &bt_default_limits,
                                                false, &source, NULL),
                         0);
        meta = bt_source_meta(source);
        bt_hash_v1_hex(bt_meta_hash(meta), hex[0]);
        bt_hash_v2_hex(bt_meta_hash(meta), hex[1]);
        assert_int_equal(registry_new(&r), 0);
        first = add_hash(r, "btih:", hex[0], false);
        second = add_hash(r, "btmh:1220", hex[1], true);
        assert_int_equal(registry_rename(r, first, meta, &renamed, &other), -EEXIST);
        assert_ptr_equal(other, second);
        torrent_unref(other);
        other = NULL;
        assert_int_equal(registry_merge(r, first, second, meta, &renamed, &named, name, &other), 0);
        assert_null(other);
        assert_true(named);
        assert_string_equal(name, hex[1]);
        assert_true(first->kept);
        assert_int_equal(registry_count(r), 1);
        for (int i = 0; i < 2; i++) {
                found = registry_by_hash(r, hex[i]);
                assert_ptr_equal(found, first);
                torrent_unref(found);
        }
        assert_true(registry_name(r, first, name));
        assert_string_equal(name, "clip");
        renamed_free(renamed);
        torrent_unref(first);
        torrent_unref(second);
        registry_free(r);
        bt_source_free(source);
}

/* Puts a torrent of an earlier run in. */
static int restore(struct registry *r, uint32_t number, const char *hex, const char *v2,
                   const char *name, const char *claim, unsigned index)
{
        const struct torrent_past past = {.number = number,
                                          .hex = hex,
                                          .alias = {hex, v2},
                                          .kept = true,
                                          .added_at = 1234,
                                          .used_at = 5678,
                                          .summary = {.known = true, .length = 10, .files = 1}};
        struct torrent *t;

        assert_int_equal(torrent_new_past(&env, &past, &t), 0);
        return registry_restore(r, t, name, claim, index);
}

/* Names, numbers and times are those of before, whatever comes after; what can't be true is refused
 * and changes nothing. */
static void test_torrents_of_an_earlier_run(void **state)
{
        char name[NAME_BYTES_MAX + 1], claim[NAME_BYTES_MAX + 1], hex[3][BT_HEX_MAX];
        struct registry *r;
        struct torrent *t;
        unsigned index;

        (void)state;
        for (int i = 0; i < 3; i++)
                snprintf(hex[i], sizeof hex[i], "%040x", 100 + i);
        assert_int_equal(registry_new(&r), 0);
        assert_int_equal(restore(r, 3, hex[0], "", "film (2)", "film", 2), 0);
        assert_int_equal(restore(r, 7, hex[1], "", "film (4)", "film", 4), 0);
        assert_int_equal(restore(r, 7, hex[2], "", "other", "other", 1), -EEXIST);
        assert_int_equal(restore(r, 5, hex[2], "", "other", "other", 1), -EEXIST);
        assert_int_equal(restore(r, 8, hex[1], "", "other", "other", 1), -EEXIST);
        assert_int_equal(restore(r, 8, hex[2], "", "film (2)", "film", 2), -EEXIST);
        assert_int_equal(registry_count(r), 2);
        registry_resume(r, 20, 4321);
        assert_int_equal(registry_changed_at(r), 4321);
        assert_int_equal(registry_next_number(r), 20);
        registry_resume(r, 2, 4321); /* never back */
        assert_int_equal(registry_next_number(r), 20);

        t = registry_by_hash(r, hex[1]);
        assert_non_null(t);
        assert_int_equal(t->number, 7);
        assert_int_equal(t->added_at, 1234);
        assert_int_equal(t->state, TORRENT_ASLEEP);
        assert_int_equal(torrent_ready(t), 0);
        assert_true(registry_describe(r, t, name, claim, &index));
        assert_string_equal(name, "film (4)");
        assert_string_equal(claim, "film");
        assert_int_equal(index, 4);
        torrent_unref(t);

        /* new ones take what is free, and leave those their names */
        t = add(r, 1, "film");
        assert_int_equal(t->number, 20);
        assert_true(registry_name(r, t, name));
        assert_string_equal(name, "film");
        torrent_unref(t);
        t = add(r, 2, "film");
        assert_true(registry_name(r, t, name));
        assert_string_equal(name, "film (3)");
        torrent_unref(t);
        t = add(r, 3, "film");
        assert_true(registry_name(r, t, name));
        assert_string_equal(name, "film (5)");
        torrent_unref(t);
        registry_free(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_many_of_one_name_take_no_longer_than_others),
                cmocka_unit_test(test_names_are_the_first_that_are_free_whoever_leaves),
                cmocka_unit_test(test_clear_takes_all_out),
                cmocka_unit_test(test_torrents_of_an_earlier_run),
                cmocka_unit_test(test_of_a_hybrid_s_two_torrents_one_takes_over_in_one_step),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
