/* SPDX-License-Identifier: MIT */
/* test_catalog.c: what is put into the catalog is there at the next start. */
#include "catalog_folder.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void expect_bytes(int r, void *data, size_t len, const void *want, size_t want_len)
{
        assert_int_equal(r, 0);
        assert_int_equal(len, want_len);
        assert_memory_equal(data, want, len);
        free(data);
}

static void test_every_field_comes_back(void **state)
{
        struct folder *f = *state;
        struct stat st;

        folder_open(f);
        assert_true(f->found.clean);
        assert_false(f->found.rescued);
        folder_fill(f, 1, 50);
        assert_int_equal(folder_rows(f), 50);
        assert_int_equal(fstatat(f->fd, NAME, &st, 0), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(fstatat(f->fd, NAME "-wal", &st, 0), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        folder_close(f, true);
        assert_int_equal(fstatat(f->fd, NAME "-wal", &st, 0), -1);
        folder_open(f);
        assert_true(f->found.clean);
        assert_int_equal(folder_rows(f), 50);
        assert_int_equal(folder_logged(f, ": "), 0);
}

static void test_the_largest_number_is_one(void **state)
{
        struct folder *f = *state;

        folder_open(f);
        catalog_begin(f->catalog);
        assert_int_equal(catalog_put(f->catalog, folder_row(f, UINT32_MAX)), 0);
        assert_int_equal(catalog_put_source(f->catalog, UINT32_MAX, "x", 1), 0);
        assert_int_equal(catalog_commit(f->catalog), 0);
        assert_int_equal(folder_rows(f), 1);
}

static int note_order(void *arg, const struct catalog_row *row)
{
        uint32_t *last = arg;

        assert_true(row->number > *last);
        *last = row->number;
        return row->number == 30 ? 7 : 0;
}

static void test_each_goes_by_number_and_stops_when_told(void **state)
{
        struct folder *f = *state;
        uint32_t last = 0;

        folder_open(f);
        folder_fill(f, 20, 40);
        folder_fill(f, 1, 10);
        assert_int_equal(catalog_each(f->catalog, note_order, &last), 7);
        assert_int_equal(last, 30);
}

static int ask_more(void *arg, const struct catalog_row *row)
{
        struct folder *f = arg;
        void *data;
        size_t len;
        bool checked;

        assert_int_equal(catalog_get_have(f->catalog, row->number, &data, &len, &checked), 0);
        free(data);
        return folder_source_bytes(f->catalog, row->number, &len);
}

static void test_each_may_ask_for_more(void **state)
{
        struct folder *f = *state;

        folder_open(f);
        folder_fill(f, 1, 10);
        assert_int_equal(catalog_each(f->catalog, ask_more, f), 0);
}

static void test_a_row_that_is_put_again_is_another(void **state)
{
        struct folder *f = *state;
        struct catalog_row row = *folder_row(f, 1);

        folder_open(f);
        row.kept = false;
        catalog_begin(f->catalog);
        catalog_put(f->catalog, &row);
        catalog_put_source(f->catalog, 1, "source", 6);
        assert_int_equal(catalog_commit(f->catalog), 0);
        catalog_begin(f->catalog);
        catalog_put(f->catalog, folder_row(f, 1));
        assert_int_equal(catalog_commit(f->catalog), 0);
        assert_int_equal(folder_rows(f), 1);
        assert_int_equal(folder_source_bytes(f->catalog, 1, &(size_t){0}), 0);
}

static void test_sources_haves_and_facts(void **state)
{
        enum { LARGE = 40 << 20 };
        struct folder *f = *state;
        struct catalog *c = folder_open(f);
        char *large = malloc(LARGE);
        size_t len = 0;
        void *data = NULL;
        bool checked;
        int r;

        assert_non_null(large);
        for (size_t i = 0; i < LARGE; i++)
                large[i] = (char)(i * 31 >> 3);
        catalog_begin(c);
        catalog_put(c, folder_row(f, 1));
        catalog_put_source(c, 1, large, LARGE);
        catalog_put_source(c, 2, "", 0);
        catalog_put_have(c, 1, "\0\1\2", 3, true);
        catalog_put_have(c, 2, NULL, 0, false);
        catalog_put_fact(c, "peers", "\0a", 2);
        catalog_put_fact(c, "empty", "", 0);
        assert_int_equal(catalog_commit(c), 0);
        for (unsigned i = 0; i < 2; i++) {
                r = catalog_get_source(c, 1, &data, &len);
                expect_bytes(r, data, len, large, LARGE);
                assert_int_equal(folder_source_bytes(c, 1, &len), 0);
                assert_int_equal(len, LARGE);
                r = catalog_get_source(c, 2, &data, &len);
                expect_bytes(r, data, len, "", 0);
                r = catalog_get_have(c, 1, &data, &len, &checked);
                expect_bytes(r, data, len, "\0\1\2", 3);
                assert_true(checked);
                r = catalog_get_have(c, 2, &data, &len, &checked);
                expect_bytes(r, data, len, "", 0);
                assert_false(checked);
                r = catalog_get_fact(c, "peers", &data, &len);
                expect_bytes(r, data, len, "\0a", 2);
                r = catalog_get_fact(c, "empty", &data, &len);
                expect_bytes(r, data, len, "", 0);
                assert_int_equal(catalog_get_source(c, 3, &data, &len), -ENOENT);
                assert_int_equal(folder_source_bytes(c, 3, &len), -ENOENT);
                assert_int_equal(catalog_get_have(c, 3, &data, &len, &checked), -ENOENT);
                assert_int_equal(catalog_get_fact(c, "peer", &data, &len), -ENOENT);
                folder_close(f, true);
                c = folder_open(f);
        }
        catalog_begin(c);
        catalog_put_fact(c, "peers", NULL, 0);
        assert_int_equal(catalog_commit(c), 0);
        assert_int_equal(catalog_get_fact(c, "peers", &data, &len), -ENOENT);
        free(large);
}

static void test_all_haves_can_be_doubted(void **state)
{
        struct folder *f = *state;
        struct catalog *c = folder_open(f);
        void *data;
        size_t len;
        bool checked = true;

        folder_fill(f, 1, 3);
        catalog_begin(c);
        catalog_doubt_all(c);
        assert_int_equal(catalog_commit(c), 0);
        for (uint32_t i = 1; i <= 3; i++) {
                int r = catalog_get_have(c, i, &data, &len, &checked);

                expect_bytes(r, data, len, &i, sizeof i);
                assert_false(checked);
        }
}

/* Whether what number was added by is remembered for one of its hashes. */
static bool recalls(struct folder *f, uint32_t number, unsigned alias)
{
        char hex[BT_HEX_MAX], want[256];
        size_t len = 0;
        void *data = NULL;
        int r;

        snprintf(hex, sizeof hex, alias ? "%064x" : "%040x", number);
        r = catalog_recall(f->catalog, hex, &data, &len);
        if (r == -ENOENT)
                return false;
        memset(want, (int)number, sizeof want);
        expect_bytes(r, data, len, want, sizeof want);
        return true;
}

static void test_what_retires_is_recalled_until_it_expires(void **state)
{
        struct folder *f = *state;
        struct catalog *c = folder_open(f);
        void *data;
        size_t len;

        folder_fill(f, 1, 10);
        catalog_begin(c);
        catalog_retire(c, 2, 1000); /* has both */
        catalog_retire(c, 3, 1001); /* v1 */
        catalog_retire(c, 4, 1002); /* v2 */
        catalog_retire(c, 99, 1003);
        assert_int_equal(catalog_commit(c), 0);
        assert_int_equal(folder_rows(f), 7);
        assert_int_equal(catalog_get_source(c, 2, &data, &len), -ENOENT);
        assert_int_equal(catalog_get_have(c, 2, &data, &len, &(bool){false}), -ENOENT);
        folder_close(f, true);
        c = folder_open(f);
        assert_true(recalls(f, 2, 0) && recalls(f, 2, 1));
        assert_true(recalls(f, 3, 0) && !recalls(f, 3, 1));
        assert_true(!recalls(f, 4, 0) && recalls(f, 4, 1));
        assert_int_equal(catalog_recall(c, "", &data, &len), -ENOENT);

        catalog_begin(c);
        catalog_expire(c, 1001);
        assert_int_equal(catalog_commit(c), 0);
        assert_false(recalls(f, 2, 0) || recalls(f, 2, 1) || recalls(f, 3, 0));
        assert_true(recalls(f, 4, 1));
}

/* A torrent that is added by a magnet is gone before its other hash is known. */
static void test_the_hash_it_was_added_by_recalls_it_though_its_aliases_are_unknown(void **state)
{
        struct folder *f = *state;
        struct catalog_row row = *folder_row(f, 2);
        struct catalog *c = folder_open(f);

        row.alias[0][0] = row.alias[1][0] = '\0';
        folder_fill(f, 2, 2);
        catalog_begin(c);
        catalog_put(c, &row);
        catalog_retire(c, 2, 1000);
        assert_int_equal(catalog_commit(c), 0);
        assert_true(!recalls(f, 2, 0) && recalls(f, 2, 1));
}

static void test_who_comes_back_or_is_removed_is_not_recalled(void **state)
{
        struct folder *f = *state;
        struct catalog *c = folder_open(f);
        struct catalog_row row;
        size_t len;
        void *data;
        int r;

        folder_fill(f, 1, 10);
        catalog_begin(c);
        for (uint32_t i = 1; i <= 10; i++)
                catalog_retire(c, i, 1000);
        assert_int_equal(catalog_commit(c), 0);
        assert_true(recalls(f, 2, 1) && recalls(f, 5, 1) && recalls(f, 8, 0));

        /* It comes back, with one of its hashes, as another number. */
        row = *folder_row(f, 2);
        row.number = 20;
        row.alias[0][0] = '\0';
        catalog_begin(c);
        catalog_put(c, &row);
        assert_int_equal(catalog_commit(c), 0);
        assert_false(recalls(f, 2, 0) || recalls(f, 2, 1));

        /* What is retired when it is there again is the latest. */
        folder_fill(f, 5, 5);
        catalog_begin(c);
        catalog_retire(c, 5, 1000);
        assert_int_equal(catalog_commit(c), 0);
        assert_true(recalls(f, 5, 0) && recalls(f, 5, 1));

        folder_fill(f, 8, 8);
        catalog_begin(c);
        assert_int_equal(catalog_put_source_parts(
                                 c, 8, (struct bt_bytes[]){{"ab", 2}, {NULL, 0}, {"cde", 3}}, 3),
                         0);
        assert_int_equal(catalog_commit(c), 0);
        r = catalog_get_source(c, 8, &data, &len);
        expect_bytes(r, data, len, "abcde", 5);
        catalog_begin(c);
        catalog_remove(c, 8);
        catalog_remove(c, 20);
        catalog_remove(c, 77);
        assert_int_equal(catalog_commit(c), 0);
        assert_false(recalls(f, 8, 0) || recalls(f, 8, 1));
        assert_int_equal(folder_rows(f), 0);
        assert_int_equal(folder_source_bytes(c, 8, &(size_t){0}), -ENOENT);
}

/* The catalog as version 1 made it. Not to be changed: it is what later versions have to take. */
static const char version_1[] =
        "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; BEGIN;"
        "PRAGMA application_id = 1835492979;"
        "CREATE TABLE torrents (number INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 4294967295),"
        " hex TEXT NOT NULL CHECK (length(hex) IN (40, 64)),"
        " v1 TEXT CHECK (length(v1) = 40), v2 TEXT CHECK (length(v2) = 64),"
        " name TEXT NOT NULL CHECK (instr(CAST(name AS BLOB), x'00') = 0),"
        " claim TEXT NOT NULL CHECK (instr(CAST(claim AS BLOB), x'00') = 0),"
        " name_index INTEGER NOT NULL,"
        " kept INTEGER NOT NULL, added_at INTEGER NOT NULL, used_at INTEGER NOT NULL,"
        " metadata INTEGER NOT NULL, length INTEGER NOT NULL, have_bytes INTEGER NOT NULL,"
        " piece_length INTEGER NOT NULL, pieces INTEGER NOT NULL, files INTEGER NOT NULL,"
        " directories INTEGER NOT NULL) STRICT;"
        "CREATE TABLE sources (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"
        "CREATE TABLE haves (number INTEGER PRIMARY KEY, checked INTEGER NOT NULL,"
        " map BLOB NOT NULL) STRICT;"
        "CREATE TABLE retired (id INTEGER PRIMARY KEY, v1 TEXT CHECK (length(v1) = 40),"
        " v2 TEXT CHECK (length(v2) = 64), until INTEGER NOT NULL, data BLOB NOT NULL) STRICT;"
        "CREATE INDEX retired_v1 ON retired (v1);"
        "CREATE INDEX retired_v2 ON retired (v2);"
        "CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, data BLOB NOT NULL) STRICT;"
        "INSERT INTO torrents VALUES (2, printf('%064x', 2), printf('%040x', 2), printf('%064x', 2),"
        " 'film 1 (0).mkv', 'film ''1''.mkv', 0, 1, 1700000002, 5000000002, 1, -3, 8589934592,"
        " 16384, 4294967293, 3, 4);"
        "INSERT INTO torrents VALUES (7, printf('%064x', 7), NULL, printf('%064x', 7),"
        " 'film 3 (1).mkv', 'film ''3''.mkv', 1, 1, 1700000007, 5000000007, 0, 0, 0, 0, 0, 0, 0);"
        "INSERT INTO sources VALUES (2, x'6d61676e6574'), (7, x'');"
        "INSERT INTO haves VALUES (2, 1, x'ff01');"
        "INSERT INTO retired VALUES (1, printf('%040x', 9), NULL, 2000, zeroblob(5000));"
        "INSERT INTO facts VALUES ('peers', x'00'), ('catalog.clean', x'');"
        "PRAGMA user_version = 1; COMMIT;";

/* What version 2 made of it, in a file that version 1 had made. */
static const char version_2[] =
        "BEGIN;"
        "ALTER TABLE torrents ADD COLUMN to_fill TEXT NOT NULL DEFAULT '';"
        "INSERT INTO torrents VALUES (4, printf('%064x', 4), NULL, printf('%064x', 4),"
        " 'film 2 (0).mkv', 'film ''2''.mkv', 0, 1, 1700000004, 5000000004, 1, -5, 17179869184,"
        " 16384, 4294967291, 5, 6, '1 2 77');"
        "PRAGMA user_version = 2; COMMIT;";

static int no_pins(void *arg, const struct catalog_row *row)
{
        (void)arg;
        assert_string_equal(row->pins, "");
        return 0;
}

static void bring_up(struct folder *f, const char *const *made, size_t n, unsigned rows)
{
        static const char zeros[5000];
        char path[128], hex[BT_HEX_MAX];
        struct catalog *c;
        bool checked;
        size_t len;
        sqlite3 *db;
        void *data;
        int r;

        snprintf(path, sizeof path, "%s/" NAME, f->path);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(sqlite3_exec(db, made[i], NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);

        c = folder_open(f);
        assert_true(f->found.clean);
        assert_false(f->found.rescued);
        assert_int_equal(catalog_each(c, no_pins, NULL), 0);
        assert_int_equal(folder_rows(f), rows);
        r = catalog_get_source(c, 2, &data, &len);
        expect_bytes(r, data, len, "magnet", 6);
        r = catalog_get_have(c, 2, &data, &len, &checked);
        expect_bytes(r, data, len, "\377\1", 2);
        assert_true(checked);
        snprintf(hex, sizeof hex, "%040x", 9);
        r = catalog_recall(c, hex, &data, &len);
        expect_bytes(r, data, len, zeros, sizeof zeros);
        r = catalog_get_fact(c, "peers", &data, &len);
        expect_bytes(r, data, len, "", 1);
        folder_close(f, true);
        assert_int_equal(folder_logged(f, ": "), 0);
}

static void test_a_catalog_of_version_1_is_brought_up_to_this_one(void **state)
{
        static const char *const made[] = {version_1};

        bring_up(*state, made, 1, 2);
}

static void test_a_catalog_of_version_2_is_brought_up_to_this_one(void **state)
{
        static const char *const made[] = {version_1, version_2};

        bring_up(*state, made, 2, 3);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, folder_setup, folder_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_every_field_comes_back),
                TEST(test_the_largest_number_is_one),
                TEST(test_each_goes_by_number_and_stops_when_told),
                TEST(test_each_may_ask_for_more),
                TEST(test_a_row_that_is_put_again_is_another),
                TEST(test_sources_haves_and_facts),
                TEST(test_all_haves_can_be_doubted),
                TEST(test_what_retires_is_recalled_until_it_expires),
                TEST(test_the_hash_it_was_added_by_recalls_it_though_its_aliases_are_unknown),
                TEST(test_who_comes_back_or_is_removed_is_not_recalled),
                TEST(test_a_catalog_of_version_1_is_brought_up_to_this_one),
                TEST(test_a_catalog_of_version_2_is_brought_up_to_this_one),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
