/* SPDX-License-Identifier: MIT */
/* test_catalog_commit.c: all of a transaction is there at the next start or nothing of it, whatever
 * ends it; and neither who reads nor many rows take long. */
#include "catalog_folder.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

static void test_what_is_rolled_back_was_not(void **state)
{
        struct folder *f = *state;
        struct catalog *c = folder_open(f);

        folder_fill(f, 1, 2);
        catalog_begin(c);
        catalog_put(c, folder_row(f, 3));
        catalog_remove(c, 1);
        assert_int_equal(folder_rows(f), 2);
        catalog_rollback(c);
        assert_int_equal(folder_rows(f), 2);
        assert_int_equal(folder_source_bytes(c, 1, &(size_t){0}), 0);
}

/* A number that is none stands for any error: those of the disk are below. */
static void test_an_error_undoes_its_transaction(void **state)
{
        struct folder *f = *state;
        struct catalog *c = folder_open(f);
        struct catalog_row row = *folder_row(f, 3);

        row.number = 0;
        catalog_begin(c);
        assert_int_equal(catalog_put(c, folder_row(f, 1)), 0);
        assert_int_equal(catalog_put(c, &row), -EIO);
        assert_int_equal(catalog_put(c, folder_row(f, 2)), -EIO);
        assert_int_equal(catalog_commit(c), -EIO);
        assert_int_equal(folder_rows(f), 0);
        folder_fill(f, 1, 2);
        assert_int_equal(folder_rows(f), 2);
}

static void test_only_a_clean_end_is_clean(void **state)
{
        struct folder *f = *state;

        folder_open(f);
        folder_close(f, false);
        folder_open(f);
        assert_false(f->found.clean);
        folder_close(f, true);
        folder_open(f);
        assert_true(f->found.clean);
        folder_close(f, false);
        folder_open(f);
        assert_false(f->found.clean);
        assert_false(f->found.rescued);
}

/* Runs fn in a process that dies at its end, and gives its exit code. */
static int in_child(struct folder *f, int (*fn)(struct folder *f))
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(fn(f));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int die_in_a_transaction(struct folder *f)
{
        if (catalog_open(f->fd, NAME, &f->found, &f->catalog) < 0)
                return 1;
        folder_fill(f, 1, 1000);
        catalog_begin(f->catalog);
        for (uint32_t i = 1001; i < 20000; i++)
                catalog_put(f->catalog, folder_row(f, i));
        return 0;
}

static void test_a_death_leaves_what_was_committed(void **state)
{
        struct folder *f = *state;

        folder_open(f);
        folder_close(f, true);
        assert_int_equal(in_child(f, die_in_a_transaction), 0);
        folder_open(f);
        assert_false(f->found.clean);
        assert_false(f->found.rescued);
        assert_int_equal(folder_rows(f), 1000);
}

/* Files may grow to ever more bytes, until all of it fits: each try ends with an error or is whole.
 */
static int write_in_little_room(struct folder *f)
{
        enum { STEP = 16384, SOURCE = 1 << 20 };
        static char source[SOURCE];
        unsigned failed = 0;

        signal(SIGXFSZ, SIG_IGN);
        for (rlim_t room = 0;; room += STEP) {
                struct rlimit limit = {room, RLIM_INFINITY};
                int r;

                setrlimit(RLIMIT_FSIZE, &limit);
                r = catalog_open(f->fd, NAME, &f->found, &f->catalog);
                if (r == 0) {
                        catalog_begin(f->catalog);
                        catalog_put(f->catalog, folder_row(f, 1));
                        catalog_put_source(f->catalog, 1, source, sizeof source);
                        r = catalog_commit(f->catalog);
                        if (folder_rows(f) != (r == 0))
                                return 1;
                        folder_close(f, true);
                        if (r == 0)
                                return failed > 10 ? 0 : 2;
                }
                if (r != -ENOSPC)
                        return 3;
                failed++;
        }
}

static void test_a_full_disk_is_told_and_costs_nothing_else(void **state)
{
        struct folder *f = *state;

        assert_int_equal(in_child(f, write_in_little_room), 0);
        assert_int_equal(folder_logged(f, "damaged"), 0);
        folder_open(f);
        assert_false(f->found.rescued);
        assert_int_equal(folder_rows(f), 1);
}

struct race {
        struct folder *f;
        atomic_bool end;
        unsigned reads;
};

static int count_pairs(void *arg, const struct catalog_row *row)
{
        (void)row;
        ++*(unsigned *)arg;
        return 0;
}

/* Rows come in pairs, so an odd number of them would be half a transaction. */
static void *read_on(void *arg)
{
        struct race *race = arg;
        void *data;
        size_t len;
        bool checked;

        while (!race->end) {
                unsigned n = 0;

                if (catalog_each(race->f->catalog, count_pairs, &n) != 0 || n % 2 != 0)
                        abort();
                if (catalog_get_have(race->f->catalog, 1, &data, &len, &checked) == 0)
                        free(data);
                race->reads++;
        }
        return NULL;
}

static void test_who_reads_does_not_wait_for_who_writes(void **state)
{
        struct folder *f = *state;
        struct race race = {.f = f};
        uint64_t began;
        pthread_t thread;

        folder_open(f);
        assert_int_equal(pthread_create(&thread, NULL, read_on, &race), 0);
        for (uint32_t i = 1; i < 100; i += 2)
                folder_fill(f, i, i + 1);
        race.end = true;
        pthread_join(thread, NULL);
        assert_true(race.reads > 0);

        began = clock_ms();
        catalog_begin(f->catalog);
        catalog_put(f->catalog, folder_row(f, 1000));
        assert_int_equal(folder_rows(f), 100);
        catalog_rollback(f->catalog);
        assert_true(clock_ms() - began < 1000);
}

static void test_ten_thousand_take_no_time(void **state)
{
        enum { MANY = 10000 };
        struct folder *f = *state;
        uint64_t began, put, read, opened;
        unsigned n = 0;

        folder_open(f);
        began = clock_ms();
        catalog_begin(f->catalog);
        for (uint32_t i = 1; i <= MANY; i++)
                catalog_put(f->catalog, folder_row(f, i));
        assert_int_equal(catalog_commit(f->catalog), 0);
        put = clock_ms() - began;
        began = clock_ms();
        assert_int_equal(catalog_each(f->catalog, count_pairs, &n), 0);
        read = clock_ms() - began;
        assert_int_equal(n, MANY);
        folder_close(f, false);
        began = clock_ms();
        folder_open(f);
        opened = clock_ms() - began;
        print_message("%d rows put in %u ms, read in %u ms, opened and checked in %u ms\n", MANY,
                      (unsigned)put, (unsigned)read, (unsigned)opened);
        /* By what is asked of it 300 and 60; this is for machines that are busy, and sanitizers. */
        assert_true(put < 3000);
        assert_true(read < 1000);
        assert_true(opened < 3000);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, folder_setup, folder_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_what_is_rolled_back_was_not),
                TEST(test_an_error_undoes_its_transaction),
                TEST(test_only_a_clean_end_is_clean),
                TEST(test_a_death_leaves_what_was_committed),
                TEST(test_a_full_disk_is_told_and_costs_nothing_else),
                TEST(test_who_reads_does_not_wait_for_who_writes),
                TEST(test_ten_thousand_take_no_time),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
