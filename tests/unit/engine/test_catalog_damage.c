/* SPDX-License-Identifier: MIT */
/* test_catalog_damage.c: whatever lies where the catalog should, the start goes on with what can be
 * saved of it; or nothing of it is touched. */
#include "catalog_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

enum { PAGE = 4096, MANY = 5000 };

/* A catalog of MANY torrents, closed. */
static void make(struct folder *f, bool clean)
{
        folder_open(f);
        folder_fill(f, 1, MANY);
        catalog_begin(f->catalog);
        catalog_put_fact(f->catalog, "fact", "x", 1);
        assert_int_equal(catalog_commit(f->catalog), 0);
        folder_close(f, clean);
        folder_logged(f, "");
}

/* Writes noise over so many bytes of the catalog. */
static void damage(struct folder *f, off_t at, size_t len)
{
        int fd = openat(f->fd, NAME, O_WRONLY | O_CLOEXEC);
        char noise[4 * PAGE];

        assert_true(fd >= 0);
        srand(1);
        for (size_t i = 0; i < len; i++)
                noise[i] = (char)rand();
        assert_int_equal(pwrite(fd, noise, len, at), len);
        close(fd);
}

static off_t size_of(struct folder *f)
{
        struct stat st;

        assert_int_equal(fstatat(f->fd, NAME, &st, 0), 0);
        return st.st_size;
}

/* How many of the haves are checked, and of the sources are whole. */
static void count_whole(struct folder *f, unsigned *sources, unsigned *checked)
{
        *sources = *checked = 0;
        for (uint32_t i = 1; i <= MANY; i++) {
                size_t len;
                void *data;
                bool is_checked;

                if (catalog_get_source(f->catalog, i, &data, &len) == 0) {
                        *sources += len == 256 && *(unsigned char *)data == i % 256;
                        free(data);
                }
                if (catalog_get_have(f->catalog, i, &data, &len, &is_checked) == 0) {
                        *checked += is_checked;
                        free(data);
                }
        }
}

/* Opens the damaged catalog: it is rescued, said so once, and the damaged bytes are kept. */
static unsigned expect_rescue(struct folder *f)
{
        static uint32_t more = MANY;
        char aside[256], line[300];
        size_t len, kept_len;
        char *bytes = folder_read(f, NAME, &len), *kept;
        unsigned n, sources, checked;

        folder_open(f);
        assert_true(f->found.rescued);
        assert_false(f->found.clean);
        assert_true(folder_find(f, NAME ".damaged-", aside));
        if (strcmp(aside + strlen(aside) - 4, "-wal") == 0)
                aside[strlen(aside) - 4] = '\0';
        snprintf(line, sizeof line, "now %s beside it", aside);
        assert_int_equal(folder_logged(f, line), 1);
        kept = folder_read(f, aside, &kept_len);
        assert_int_equal(kept_len, len);
        assert_memory_equal(kept, bytes, len);
        assert_false(folder_find(f, NAME ".rescue", aside));
        free(bytes);
        free(kept);

        n = folder_rows(f);
        count_whole(f, &sources, &checked);
        print_message("%u rows and %u sources of %u saved\n", n, sources, MANY);
        assert_int_equal(checked, 0);
        assert_true(sources <= n);
        /* What was made is as good as any. A new torrent each time: the last may have been saved.
         */
        more++;
        folder_fill(f, more, more);
        folder_close(f, true);
        folder_open(f);
        assert_true(f->found.clean);
        assert_false(f->found.rescued);
        assert_int_equal(folder_rows(f), n + 1);
        assert_int_equal(folder_logged(f, ": "), 0);
        return n;
}

static void test_a_header_that_is_noise_costs_nothing(void **state)
{
        make(*state, true);
        damage(*state, 0, 100);
        assert_int_equal(expect_rescue(*state), MANY);
}

static void test_a_first_page_that_is_noise_costs_nothing(void **state)
{
        make(*state, true);
        damage(*state, 0, PAGE);
        assert_int_equal(expect_rescue(*state), MANY);
}

static void test_pages_that_are_noise_cost_what_was_on_them(void **state)
{
        make(*state, false);
        for (unsigned i = 1; i < 10; i++)
                damage(*state, size_of(*state) / PAGE * i / 10 * PAGE, PAGE);
        assert_in_range(expect_rescue(*state), MANY * 9 / 10, MANY - 1);
}

/* No page is one that the start does not get over. All is lost with one alone: that by which the
 * torrents' table finds its others. */
static void test_any_page_may_be_noise(void **state)
{
        struct folder *f = *state;
        unsigned lost = 0;
        size_t len;
        char *whole;

        folder_open(f);
        folder_fill(f, 1, 200);
        folder_close(f, false);
        whole = folder_read(f, NAME, &len);
        for (off_t at = 0; at < (off_t)len; at += PAGE) {
                char aside[256];
                unsigned n;

                folder_write(f, NAME, whole, len);
                damage(f, at, PAGE);
                folder_open(f);
                n = folder_rows(f);
                lost += n < 180;
                folder_close(f, true);
                while (folder_find(f, NAME ".damaged-", aside))
                        unlinkat(f->fd, aside, 0);
        }
        assert_true(lost <= 1);
        free(whole);
}

static void test_damage_is_found_after_a_clean_end_too_where_it_hinders(void **state)
{
        struct folder *f = *state;
        char path[128];
        sqlite3_stmt *s;
        int64_t root;
        sqlite3 *db;

        make(f, true);
        snprintf(path, sizeof path, "%s/" NAME, f->path);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(
                sqlite3_prepare_v2(db, "SELECT rootpage FROM sqlite_schema WHERE name = 'torrents'",
                                   -1, &s, NULL),
                SQLITE_OK);
        assert_int_equal(sqlite3_step(s), SQLITE_ROW);
        root = sqlite3_column_int64(s, 0);
        sqlite3_finalize(s);
        sqlite3_close(db);
        damage(f, (root - 1) * PAGE, PAGE);
        /* The root is the way to all others. */
        assert_int_equal(expect_rescue(f), 0);
}

/* Met while it runs, damage is an error, and the next start mends it. */
static void test_damage_that_is_met_makes_no_clean_end(void **state)
{
        struct folder *f = *state;
        unsigned errors = 0;

        make(f, true);
        /* Sources and haves are most of it. */
        for (off_t at = size_of(f) / 2; at < size_of(f) - PAGE; at += 20 * PAGE)
                damage(f, at / PAGE * PAGE, PAGE);
        folder_open(f);
        if (f->found.rescued)
                return;
        for (uint32_t i = 1; i <= MANY; i++) {
                size_t len;
                void *data;
                int r = catalog_get_source(f->catalog, i, &data, &len);

                assert_true(r == 0 || r == -EIO || r == -ENOENT);
                errors += r == -EIO;
                if (r == 0)
                        free(data);
        }
        assert_true(errors > 0);
        folder_close(f, true);
        assert_true(expect_rescue(f) > MANY / 2);
}

static void test_of_a_file_that_was_cut_what_is_left_is_saved(void **state)
{
        struct folder *f = *state;

        make(f, false);
        for (int i = 9; i > 0; i -= 2) {
                char path[128], aside[256];

                snprintf(path, sizeof path, "%s/" NAME, f->path);
                assert_int_equal(truncate(path, size_of(f) * i / 10 + 100), 0);
                expect_rescue(f);
                folder_close(f, false);
                while (folder_find(f, NAME ".damaged-", aside))
                        unlinkat(f->fd, aside, 0);
        }
}

static void test_garbage_is_set_aside(void **state)
{
        static char garbage[20 * PAGE];
        static const size_t sizes[] = {1, 99, 100, PAGE - 1, PAGE, PAGE + 1, sizeof garbage};
        struct folder *f = *state;

        srand(2);
        for (size_t i = 0; i < sizeof garbage; i++)
                garbage[i] = (char)rand();
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                char aside[256];

                folder_write(f, NAME, garbage, sizes[i]);
                folder_write(f, NAME "-wal", garbage, sizes[i]);
                assert_int_equal(expect_rescue(f), 0);
                folder_close(f, true);
                while (folder_find(f, NAME ".damaged-", aside))
                        unlinkat(f->fd, aside, 0);
        }
}

static void test_an_empty_file_is_a_new_catalog(void **state)
{
        struct folder *f = *state;

        folder_write(f, NAME, "", 0);
        folder_open(f);
        assert_true(f->found.clean);
        assert_false(f->found.rescued);
        assert_int_equal(folder_rows(f), 0);
}

/* What an earlier run had begun to save is nothing while the damaged file is there. */
static void test_a_rescue_that_was_interrupted_starts_over(void **state)
{
        struct folder *f = *state;
        char aside[256];

        make(f, true);
        damage(f, 0, 100);
        assert_int_equal(renameat(f->fd, NAME, f->fd, NAME ".rescue"), 0);
        folder_write(f, NAME, "half", 4);
        folder_open(f);
        assert_true(f->found.rescued);
        assert_int_equal(folder_rows(f), MANY);
        assert_true(folder_find(f, NAME ".damaged-", aside));
        assert_int_equal(folder_logged(f, "was damaged"), 1);
}

static int rescue_in_little_room(struct folder *f)
{
        struct rlimit limit = {256 << 10, RLIM_INFINITY};

        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        return catalog_open(f->fd, NAME, &f->found, &f->catalog) == -ENOSPC ? 0 : 1;
}

static void test_a_rescue_without_room_loses_nothing(void **state)
{
        struct folder *f = *state;
        char aside[256];
        int status;
        pid_t pid;

        make(f, true);
        damage(f, 0, PAGE);
        pid = fork();
        if (pid == 0)
                _exit(rescue_in_little_room(f));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(folder_logged(f, "make room"), 1);
        assert_false(folder_find(f, NAME ".damaged-", aside));
        folder_open(f);
        assert_true(f->found.rescued);
        assert_int_equal(folder_rows(f), MANY);
}

static void execute(struct folder *f, const char *sql)
{
        char path[128];
        sqlite3 *db;

        snprintf(path, sizeof path, "%s/" NAME, f->path);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
}

static void expect_untouched(struct folder *f, const char *message)
{
        size_t len, wal_len = 0, after_len;
        char *before = folder_read(f, NAME, &len), *wal = folder_read(f, NAME "-wal", &wal_len);
        char *after, aside[256];

        folder_logged(f, "");
        assert_int_equal(folder_refuses(f), -EPROTO);
        assert_int_equal(folder_logged(f, message), 1);
        after = folder_read(f, NAME, &after_len);
        assert_int_equal(after_len, len);
        assert_memory_equal(after, before, len);
        free(after);
        if (wal) {
                after = folder_read(f, NAME "-wal", &after_len);
                assert_int_equal(after_len, wal_len);
                assert_memory_equal(after, wal, wal_len);
                free(after);
        }
        assert_false(folder_find(f, NAME ".", aside));
        free(before);
        free(wal);
}

static void test_what_a_newer_one_wrote_is_left_alone(void **state)
{
        struct folder *f = *state;
        char other[256];

        make(f, true);
        execute(f, "PRAGMA user_version = 77; CREATE TABLE more (x)");
        expect_untouched(f, "it has schema 77");
        assert_false(folder_find(f, NAME "-", other));
}

/* Its version stands in the -wal alone: it was killed just after it brought the schema up. */
static void test_what_a_newer_one_wrote_last_is_left_alone(void **state)
{
        struct folder *f = *state;
        char path[128];
        sqlite3 *db;
        size_t len, wal_len;
        char *main_file, *wal;

        make(f, true);
        snprintf(path, sizeof path, "%s/" NAME, f->path);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
        main_file = folder_read(f, NAME, &len);
        wal = folder_read(f, NAME "-wal", &wal_len);
        sqlite3_close(db);
        assert_non_null(wal);
        folder_write(f, NAME, main_file, len);
        folder_write(f, NAME "-wal", wal, wal_len);
        free(main_file);
        free(wal);
        expect_untouched(f, "it has schema 99");
}

static void test_the_database_of_another_program_is_left_alone(void **state)
{
        struct folder *f = *state;

        execute(f, "PRAGMA application_id = 1; PRAGMA user_version = 1; CREATE TABLE torrents (x)");
        expect_untouched(f, "of another program");
        assert_int_equal(unlinkat(f->fd, NAME, 0), 0);
        execute(f, "CREATE TABLE bookmarks (x)");
        expect_untouched(f, "of another program");
}

static void test_what_is_no_file_is_not_opened(void **state)
{
        struct folder *f = *state;
        char other[256];

        assert_int_equal(mkdirat(f->fd, NAME, 0700), 0);
        assert_int_equal(folder_refuses(f), -EISDIR);
        assert_int_equal(folder_logged(f, "move away"), 1);
        assert_int_equal(unlinkat(f->fd, NAME, AT_REMOVEDIR), 0);
        assert_int_equal(symlinkat("target", f->fd, NAME), 0);
        assert_int_equal(folder_refuses(f), -ELOOP);
        assert_int_equal(folder_logged(f, "move away"), 1);
        assert_false(folder_find(f, "target", other));
        assert_int_equal(unlinkat(f->fd, NAME, 0), 0);
        assert_int_equal(mkfifoat(f->fd, NAME, 0600), 0);
        assert_int_equal(folder_refuses(f), -EINVAL);
}

static int refuse_as_nobody(struct folder *f)
{
        enum { NOBODY = 65534 };
        struct catalog *c;

        if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
                return 1;
        return catalog_open(f->fd, NAME, &f->found, &c) == -EACCES ? 0 : 2;
}

static void test_a_folder_that_may_not_be_written_is_told(void **state)
{
        struct folder *f = *state;
        int status;
        pid_t pid;

        assert_int_equal(chmod(f->path, 0555), 0);
        pid = fork();
        if (pid == 0)
                _exit(refuse_as_nobody(f));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(chmod(f->path, 0700), 0);
        assert_int_equal(status, 0);
        assert_int_equal(folder_logged(f, "let this user write"), 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, folder_setup, folder_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_a_header_that_is_noise_costs_nothing),
                TEST(test_a_first_page_that_is_noise_costs_nothing),
                TEST(test_pages_that_are_noise_cost_what_was_on_them),
                TEST(test_any_page_may_be_noise),
                TEST(test_damage_is_found_after_a_clean_end_too_where_it_hinders),
                TEST(test_damage_that_is_met_makes_no_clean_end),
                TEST(test_of_a_file_that_was_cut_what_is_left_is_saved),
                TEST(test_garbage_is_set_aside),
                TEST(test_an_empty_file_is_a_new_catalog),
                TEST(test_a_rescue_that_was_interrupted_starts_over),
                TEST(test_a_rescue_without_room_loses_nothing),
                TEST(test_what_a_newer_one_wrote_is_left_alone),
                TEST(test_what_a_newer_one_wrote_last_is_left_alone),
                TEST(test_the_database_of_another_program_is_left_alone),
                TEST(test_what_is_no_file_is_not_opened),
                TEST(test_a_folder_that_may_not_be_written_is_told),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
