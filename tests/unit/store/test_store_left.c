/* test_store_left.c: stores that an earlier run, or this one, has left: what they count, when they
 * are opened, and pieces that are only claimed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "scratch.h"
#include "store/store_private.h"

#define FILE_NAME HEX ".pieces"

enum { LENGTH = 65536, PIECES = 9, LAST = LENGTH - 100, SIZE = (PIECES - 1) * LENGTH + LAST };

static const uint8_t none[2] = {0x00, 0x00}, first_four[2] = {0x0f, 0x00};

static uint32_t length_of(uint32_t piece)
{
        return piece + 1 < PIECES ? LENGTH : LAST;
}

static int open_with(struct cache *c, uint32_t number, const uint8_t *have, bool suspect,
                     struct store **ret)
{
        const struct store_options o = {.name = HEX,
                                        .number = number,
                                        .size = SIZE,
                                        .piece_length = LENGTH,
                                        .have = have,
                                        .suspect = suspect};

        return store_open(c, &o, ret);
}

static struct store *opened(struct cache *c, const uint8_t *have, bool suspect)
{
        struct store *s = NULL;

        assert_int_equal(open_with(c, 1, have, suspect, &s), 0);
        return s;
}

/* Bytes of a piece say which it is. */
static void fill(struct store *s, uint32_t piece)
{
        char data[LENGTH];

        memset(data, (int)('a' + piece), sizeof data);
        assert_int_equal(store_write(s, piece, 0, data, length_of(piece)), 0);
}

static void assert_there(struct store *s, uint32_t piece)
{
        char data[LENGTH];
        uint32_t len = length_of(piece);

        assert_true(store_has(s, piece));
        assert_int_equal(store_read(s, (uint64_t)piece * LENGTH, data, len), 0);
        assert_int_equal(data[0], 'a' + (int)piece);
        assert_memory_equal(data, data + 1, len - 1);
}

/* A left file with the first n pieces, and nothing that this process knows of it. */
static void leave_file_of(const struct fixture *f, uint32_t n)
{
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = opened(c, NULL, false);

        for (uint32_t i = 0; i < n; i++) {
                fill(s, i);
                store_set(s, i);
        }
        assert_int_equal(store_sync(s), 0);
        store_unref(s);
        cache_free(c);
}

static bool keep_all(void *arg, const char *hex)
{
        (void)arg;
        (void)hex;
        return true;
}

static bool keep_one(void *arg, const char *hex)
{
        return strcmp(hex, arg) == 0;
}

/* The next run, which knows all torrents. */
static struct cache *next_run(const struct fixture *f)
{
        struct cache *c = NULL;

        assert_int_equal(cache_new(f->fd, 100 * MIB, 0, keep_all, NULL, &c), 0);
        return c;
}

static uint64_t allocated(const struct fixture *f)
{
        struct stat st;

        assert_int_equal(fstatat(f->fd, FILE_NAME, &st, 0), 0);
        return (uint64_t)st.st_blocks * 512;
}

static unsigned descriptors(void)
{
        DIR *d = opendir("/proc/self/fd");
        unsigned n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        closedir(d);
        return n;
}

static void write_junk(const struct fixture *f, const char *name, uint64_t offset, size_t len)
{
        int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        char junk[LENGTH];

        assert_true(fd >= 0 && len <= sizeof junk);
        memset(junk, 'J', sizeof junk);
        assert_int_equal(pwrite(fd, junk, len, (off_t)offset), len);
        close(fd);
}

static void cut(const struct fixture *f, off_t size)
{
        int fd = openat(f->fd, FILE_NAME, O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, size), 0);
        close(fd);
}

static void drop(struct store *s)
{
        store_discard(s);
        store_unref(s);
}

/* ---- at the start ---- */

/* What is kept counts for what it takes; what is not ours or no file is left alone. */
static void test_left_files_count_from_the_start(void **state)
{
        static char hex[] = HEX;
        struct fixture *f = *state;
        unsigned before = descriptors();
        struct store *s = NULL;
        struct cache *c;

        leave_file_of(f, 4);
        /* of a torrent that nobody knows; a folder, a link, a number that older versions wrote */
        write_junk(f, "f" HEX ".pieces", 0, LENGTH);
        write_junk(f, "0000000000000000000000000000000000000000.pieces", 0, LENGTH);
        write_junk(f, HEX "-7.pieces", 0, LENGTH);
        assert_int_equal(cache_new(f->fd, 100 * MIB, 0, keep_one, hex, &c), 0);
        assert_int_equal(entries(f), 2);
        assert_int_equal(unlinkat(f->fd, "f" HEX ".pieces", 0), 0);
        assert_int_equal(used(c), allocated(f));
        assert_true(used(c) >= 4 * LENGTH);
        assert_int_equal(descriptors(), before);
        /* opened it counts for its pieces, and no longer for the file */
        s = opened(c, first_four, false);
        assert_int_equal(used(c), 4 * LENGTH + map_bytes(f, 4));
        store_unref(s);
        assert_int_equal(used(c), 4 * LENGTH + map_bytes(f, 4));
        /* as a new one it has nothing of it */
        s = opened(c, NULL, false);
        assert_int_equal(used(c), 0);
        assert_int_equal(store_have_bytes(s), 0);
        drop(s);
        assert_int_equal(used(c), 0);
        cache_free(c);

        assert_int_equal(mkdirat(f->fd, FILE_NAME, 0700), 0);
        for (unsigned kind = 0; kind < (geteuid() == 0 ? 3 : 2); kind++) {
                c = next_run(f);
                assert_int_equal(used(c), 0);
                assert_int_equal(open_with(c, 1, NULL, false, &s), -EEXIST);
                assert_int_equal(open_with(c, 1, first_four, false, &s), -EEXIST);
                assert_int_equal(open_with(c, 1, none, false, &s), -EEXIST);
                assert_int_equal(used(c), 0);
                assert_int_equal(entries(f), 1);
                cache_free(c);
                assert_int_equal(unlinkat(f->fd, FILE_NAME, kind == 0 ? AT_REMOVEDIR : 0), 0);
                if (kind == 0) {
                        assert_int_equal(symlinkat("elsewhere", f->fd, FILE_NAME), 0);
                } else if (kind == 1 && geteuid() == 0) {
                        write_junk(f, FILE_NAME, 0, LENGTH);
                        assert_int_equal(fchownat(f->fd, FILE_NAME, 1234, 1234, 0), 0);
                }
        }
        assert_int_equal(entries(f), 0);
}

/* ---- no descriptor before it is used ---- */

static void test_opened_when_first_used(void **state)
{
        struct fixture *f = *state;
        unsigned before;
        struct store *s;
        struct cache *c;
        uint8_t *have;
        size_t len;

        leave_file_of(f, 4);
        c = next_run(f);
        before = descriptors();
        for (unsigned use = 0; use < 4; use++) {
                char byte = 'f';

                s = opened(c, first_four, false);
                assert_int_equal(store_first_missing(s, 0, PIECES), 4);
                assert_int_equal(store_have_bytes(s), 4 * LENGTH);
                assert_int_equal(store_bitmap(s, &have, &len), 0);
                assert_memory_equal(have, first_four, len);
                free(have);
                assert_int_equal(store_read(s, 4 * LENGTH, &byte, 1), -EAGAIN);
                assert_int_equal(store_reserve(s, 6), 0);
                assert_int_equal(store_sync(s), 0);
                assert_int_equal(descriptors(), before);
                switch (use) {
                case 0:
                        assert_there(s, 3);
                        break;
                case 1:
                        assert_int_equal(store_read_piece(s, 7, 5, &byte, 1), 0);
                        assert_int_equal(byte, 0);
                        break;
                case 2:
                        assert_int_equal(store_write(s, 5, 0, &byte, 1), 0);
                        break;
                default:
                        assert_int_equal(store_unset(s, 3), 0);
                        assert_int_equal(store_punch(s, 3), 0);
                        assert_true(allocated(f) < 4 * LENGTH);
                }
                assert_int_equal(descriptors(), before + 1);
                store_unref(s);
                assert_int_equal(descriptors(), before);
                assert_int_equal(used(c), (use < 3 ? 4u : 3u) * LENGTH + map_bytes(f, 4));
        }
        s = opened(c, NULL, false);
        drop(s);
        cache_free(c);
}

/* Never opened: left, opened again and discarded it counts for what it has, and then for nothing.
 */
static void test_never_opened(void **state)
{
        struct fixture *f = *state;
        unsigned before;
        struct store *s;
        struct cache *c;

        leave_file_of(f, 4);
        c = next_run(f);
        before = descriptors();
        for (unsigned i = 0; i < 3; i++) {
                s = opened(c, first_four, i == 2);
                assert_int_equal(store_reserve(s, 7), 0);
                if (i == 1)
                        store_leave(s);
                store_unref(s);
                assert_int_equal(used(c), 4 * LENGTH + map_bytes(f, 5));
                assert_true(allocated(f) >= 4 * LENGTH);
        }
        s = opened(c, first_four, false);
        assert_there(s, 0); /* all that was done to it has not hurt it */
        store_unref(s);
        s = opened(c, first_four, false);
        assert_int_equal(store_reserve(s, 7), 0);
        store_discard(s);
        assert_int_equal(entries(f), 0);
        assert_int_equal(used(c), 0);
        assert_int_equal(descriptors(), before);
        store_unref(s);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

/* Another file has its name: it is not read, not written, and not deleted. */
static void test_another_file_is_refused(void **state)
{
        struct fixture *f = *state;
        struct store *s;
        struct cache *c;
        char byte = 'x';

        for (unsigned way = 0; way < 3; way++) {
                leave_file_of(f, 4);
                c = next_run(f);
                s = opened(c, first_four, false);
                if (way == 0) {
                        write_junk(f, "other", SIZE - 1, 1);
                        assert_int_equal(renameat(f->fd, "other", f->fd, FILE_NAME), 0);
                } else if (way == 1) {
                        assert_int_equal(unlinkat(f->fd, FILE_NAME, 0), 0);
                        assert_int_equal(symlinkat("/etc/passwd", f->fd, FILE_NAME), 0);
                } else { /* it was cut: what it held would be holes */
                        cut(f, LENGTH);
                }
                for (unsigned k = 0; k < 2; k++) {
                        assert_int_equal(store_read(s, 0, &byte, 1), -EIO);
                        assert_int_equal(store_write(s, 5, 0, &byte, 1), -EIO);
                        assert_int_equal(store_read_piece(s, 0, 0, &byte, 1), -EIO);
                }
                assert_int_equal(store_unset(s, 0), 0);
                assert_int_equal(store_punch(s, 0), -EIO);
                assert_int_equal(byte, 'x');
                drop(s);
                assert_int_equal(used(c), 0);
                assert_int_equal(entries(f), way < 2 ? 1 : 0);
                if (way < 2)
                        assert_int_equal(unlinkat(f->fd, FILE_NAME, 0), 0);
                cache_free(c);
        }
}

static void test_a_file_that_is_missing(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = NULL;
        char data[LENGTH];

        assert_int_equal(open_with(c, 1, first_four, false, &s), -ENOENT);
        assert_int_equal(open_with(c, 1, first_four, true, &s), -ENOENT);

        /* nothing is claimed: it is made by the first write */
        s = opened(c, none, false);
        assert_int_equal(entries(f), 0);
        assert_int_equal(store_read(s, 0, data, 1), -EAGAIN);
        memset(data, 'x', sizeof data);
        assert_int_equal(store_read_piece(s, 1, 0, data, LENGTH), 0);
        assert_true(data[0] == 0 && memcmp(data, data + 1, LENGTH - 1) == 0);
        assert_int_equal(store_reserve(s, 2), 0);
        store_clear(s, 2);
        store_release(s, 2);
        assert_int_equal(store_sync(s), 0);
        assert_int_equal(entries(f), 0);
        /* somebody else's file has the name */
        write_junk(f, FILE_NAME, 0, 5);
        assert_int_equal(store_write(s, 0, 0, "x", 1), -EEXIST);
        assert_int_equal(used(c), 0);
        assert_int_equal(unlinkat(f->fd, FILE_NAME, 0), 0);
        fill(s, 2);
        store_set(s, 2);
        assert_there(s, 2);
        assert_int_equal(entries(f), 1);
        store_unref(s);
        s = opened(c, (const uint8_t[]){0x04, 0x00}, false);
        assert_there(s, 2);
        drop(s);

        /* and without a write there is never one */
        for (unsigned i = 0; i < 2; i++) {
                s = opened(c, none, true);
                assert_int_equal(store_reserve(s, 2), 0);
                if (i == 0)
                        store_discard(s);
                store_unref(s);
                assert_int_equal(used(c), 0);
                assert_int_equal(entries(f), 0);
        }
        cache_free(c);
}

/* Removed and added again: the older one reads on, from the file that it never opened. */
static void test_a_name_that_goes(void **state)
{
        struct fixture *f = *state;
        struct store *old, *new;
        struct cache *c;

        for (unsigned way = 0; way < 3; way++) {
                leave_file_of(f, 4);
                c = next_run(f);
                old = opened(c, first_four, false);
                if (way == 1)
                        store_condemn(old);
                assert_int_equal(open_with(c, 2, way == 2 ? none : NULL, false, &new), 0);
                if (way != 1)
                        assert_there(old, 2);
                fill(new, 5);
                store_set(new, 5);
                drop(old);
                assert_there(new, 5);
                assert_int_equal(entries(f), 1);
                drop(new);
                assert_int_equal(entries(f), 0);
                assert_int_equal(used(c), 0);
                cache_free(c);
        }
}

/* ---- what lies in pieces that are not there ---- */

static void test_junk_in_missing_pieces(void **state)
{
        struct fixture *f = *state;
        unsigned before;
        struct store *s;
        struct cache *c;
        char data[LENGTH];

        /* more than the pieces account for: at once */
        leave_file_of(f, 4);
        write_junk(f, FILE_NAME, 5 * LENGTH, LENGTH);
        write_junk(f, FILE_NAME, 7 * LENGTH, LENGTH);
        c = next_run(f);
        before = descriptors();
        assert_true(used(c) >= 6 * LENGTH);
        s = opened(c, first_four, false);
        assert_int_equal(descriptors(), before);
        assert_true(allocated(f) < 5 * LENGTH);
        assert_int_equal(used(c), 4 * LENGTH + map_bytes(f, 4));
        assert_there(s, 3);
        assert_int_equal(store_read_piece(s, 5, 0, data, LENGTH), 0);
        assert_true(data[0] == 0 && memcmp(data, data + 1, LENGTH - 1) == 0);
        drop(s);
        cache_free(c);

        /* less than that: before the first write, and of nothing that was written */
        leave_file_of(f, 2);
        write_junk(f, FILE_NAME, 5 * LENGTH, LENGTH);
        c = next_run(f);
        s = opened(c, first_four, false);
        assert_true(allocated(f) >= 3 * LENGTH);
        assert_int_equal(store_write(s, 5, LENGTH / 2, "f", 1), 0);
        assert_true(allocated(f) < 3 * LENGTH);
        assert_int_equal(store_read_piece(s, 5, 0, data, LENGTH), 0);
        assert_int_equal(data[LENGTH / 2], 'f');
        data[LENGTH / 2] = 0;
        assert_true(data[0] == 0 && memcmp(data, data + 1, LENGTH - 1) == 0);
        drop(s);
        cache_free(c);
}

/* ---- suspect pieces ---- */

static void assert_claims(const struct store *s, uint8_t byte, bool checked)
{
        bool is_checked = !checked;
        uint8_t *map = NULL;
        size_t len = 0;

        assert_int_equal(store_claims(s, &map, &len, &is_checked), 0);
        assert_int_equal(len, 2);
        assert_true(map[0] == byte && map[1] == 0);
        assert_true(is_checked == checked);
        free(map);
}

static void test_suspects(void **state)
{
        struct fixture *f = *state;
        const uint64_t map = map_bytes(f, 4);
        uint8_t *have;
        struct store *s;
        struct cache *c;
        char data[LENGTH];
        size_t len;

        leave_file_of(f, 4);
        c = next_run(f);
        for (unsigned i = 0; i < 2; i++) { /* what they are outlives a store that was left */
                s = opened(c, first_four, true);
                assert_int_equal(used(c), 4 * LENGTH + map);
                assert_int_equal(store_have_bytes(s), 0);
                assert_int_equal(store_have_in(s, 0, SIZE), 0);
                assert_int_equal(store_first_missing(s, 0, PIECES), 0);
                assert_int_equal(store_bitmap(s, &have, &len), 0);
                assert_memory_equal(have, none, len);
                free(have);
                assert_claims(s, 0x0f, false);
                for (uint32_t p = 0; p <= PIECES; p++)
                        assert_true(store_is_suspect(s, p) == (p < 4));
                assert_false(store_is_suspect(s, UINT32_MAX));
                assert_int_equal(store_next_suspect(s, 0), 0);
                assert_int_equal(store_next_suspect(s, 3), 3);
                assert_int_equal(store_next_suspect(s, 4), UINT32_MAX);
                assert_int_equal(store_next_suspect(s, UINT32_MAX), UINT32_MAX);

                /* nothing but a judge changes them */
                assert_false(store_set(s, 1));
                store_clear(s, 1);
                store_release(s, 1);
                assert_int_equal(store_reserve(s, 1), 0);
                assert_int_equal(store_unset(s, 1), -ENOENT);
                assert_int_equal(store_write(s, 1, 0, "x", 1), -EBUSY);
                assert_true(store_is_suspect(s, 1) && !store_has(s, 1));
                assert_int_equal(store_read(s, LENGTH, data, 1), -EAGAIN);
                assert_int_equal(store_read_piece(s, 1, 0, data, LENGTH), 0);
                assert_true(data[0] == 'b' && memcmp(data, data + 1, LENGTH - 1) == 0);
                fill(s, 6); /* unfinished when it is left */
                assert_int_equal(store_judge(s, 6, true), -ENOENT);
                assert_int_equal(store_judge(s, PIECES, true), -ENOENT);
                store_leave(s);
                assert_int_equal(store_judge(s, 1, true), -ESTALE);
                assert_claims(s, 0x0f, false);
                store_unref(s);
                assert_int_equal(used(c), 4 * LENGTH + map);
                assert_true(allocated(f) >= 4 * LENGTH && allocated(f) < 5 * LENGTH);
        }

        s = opened(c, first_four, true);
        assert_int_equal(store_judge(s, 1, true), 0);
        assert_int_equal(store_judge(s, 1, false), -ENOENT);
        assert_there(s, 1);
        assert_int_equal(store_have_bytes(s), LENGTH);
        assert_int_equal(used(c), 4 * LENGTH + map);
        assert_claims(s, 0x0f, false);

        assert_int_equal(store_judge(s, 2, false), 0);
        assert_int_equal(store_judge(s, 2, true), -ENOENT);
        assert_false(store_is_suspect(s, 2) || store_has(s, 2));
        assert_claims(s, 0x0b, false);
        assert_int_equal(used(c), 4 * LENGTH + map); /* its room stays */
        assert_true(allocated(f) < 4 * LENGTH);
        assert_int_equal(store_read_piece(s, 2, 0, data, 1), 0);
        assert_int_equal(data[0], 0);
        store_release(s, 2);
        assert_int_equal(used(c), 3 * LENGTH + map);
        fill(s, 2); /* it comes again */
        store_set(s, 2);
        assert_there(s, 2);

        assert_int_equal(store_judge(s, 0, true), 0);
        assert_int_equal(store_next_suspect(s, 0), 3);
        assert_int_equal(store_judge(s, 3, false), 0);
        assert_int_equal(store_next_suspect(s, 0), UINT32_MAX);
        store_release(s, 3);
        assert_claims(s, 0x07, true);
        /* those that were judged go as others do */
        assert_int_equal(store_unset(s, 0), 0);
        assert_int_equal(store_punch(s, 0), 0);
        assert_int_equal(used(c), 2 * LENGTH + map);
        store_leave(s);
        assert_claims(s, 0x06, true);
        store_unref(s);
        assert_int_equal(used(c), 2 * LENGTH + map);
        s = opened(c, (const uint8_t[]){0x06, 0x00}, true);
        assert_int_equal(store_judge(s, 1, false), 0);
        drop(s);
        assert_int_equal(used(c), 0);
        assert_int_equal(store_reserve(s = opened(c, NULL, false), 0), 0); /* the bound holds */
        drop(s);
        assert_int_equal(c->pending_bytes, 0);
        cache_free(c);
}

/* What is claimed behind the end of a file that was cut is not even suspect. */
static void test_suspects_of_a_file_that_was_cut(void **state)
{
        struct fixture *f = *state;
        struct store *s;
        struct cache *c;

        leave_file_of(f, 4);
        cut(f, 2 * LENGTH + 1);
        c = next_run(f);
        s = opened(c, first_four, true);
        assert_int_equal(store_next_suspect(s, 2), UINT32_MAX);
        assert_claims(s, 0x03, false);
        assert_int_equal(store_judge(s, 1, true), 0);
        assert_there(s, 1);
        drop(s);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

/* ---- where files are not sparse ---- */

static void test_not_sparse(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s;

        c->sparse = false;
        s = opened(c, NULL, false);
        for (uint32_t i = 0; i < 4; i++) {
                fill(s, i);
                store_set(s, i);
        }
        assert_int_equal(store_sync(s), 0);
        store_unref(s);
        assert_int_equal(used(c), 4 * LENGTH);
        s = opened(c, first_four, true);
        assert_int_equal(used(c), 4 * LENGTH);
        assert_int_equal(store_judge(s, 0, true), 0);
        assert_int_equal(store_judge(s, 1, false), 0);
        assert_there(s, 0);
        store_release(s, 1);
        assert_int_equal(used(c), 4 * LENGTH); /* there are no holes */
        fill(s, 1);
        store_set(s, 1);
        assert_there(s, 1);
        store_unref(s);
        assert_int_equal(used(c), 4 * LENGTH);
        s = opened(c, first_four, false);
        assert_there(s, 3);
        drop(s);
        assert_int_equal(used(c), 0);
        assert_int_equal(c->pending_bytes, 0);
        cache_free(c);
}

/* ---- syncing ---- */

static void test_sync(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = opened(c, NULL, false);

        assert_int_equal(store_sync(s), 0);
        assert_true(s->unlisted); /* nothing was done */
        fill(s, 0);
        assert_true(s->unsynced);
        assert_int_equal(store_sync(s), 0);
        assert_false(s->unsynced || s->unlisted);
        store_set(s, 0);
        store_leave(s);
        assert_int_equal(store_sync(s), 0);
        store_unref(s);
        s = opened(c, (const uint8_t[]){0x01, 0x00}, false);
        assert_int_equal(store_sync(s), 0);
        assert_int_equal(s->fd, -1);
        assert_there(s, 0);
        assert_false(s->unsynced);
        /* what the kernel could not write it says once alone: no later call may forget it */
        fill(s, 1);
        s->sync_error = -EIO;
        assert_int_equal(store_sync(s), -EIO);
        assert_int_equal(store_sync(s), -EIO);
        drop(s);
        cache_free(c);
}

/* ---- threads ---- */

enum { T_PIECES = 256, T_LENGTH = 16384, T_ROUNDS = 8 };

struct judging {
        struct store *store;
        struct cache *cache;
        atomic_bool stop;
        atomic_uint wrong, read;
};

/* Every fifth is bad. */
static bool is_good(uint32_t piece)
{
        return piece % 5 != 0;
}

static void *judge(void *arg)
{
        struct judging *j = arg;
        uint32_t piece;

        while ((piece = store_next_suspect(j->store, 0)) != UINT32_MAX) {
                char data[T_LENGTH];
                int r = store_read_piece(j->store, piece, 0, data, sizeof data);

                if (r == 0)
                        r = store_judge(j->store, piece, is_good(piece));
                /* -ENOENT: the other one was faster */
                if (r != 0 && r != -ENOENT)
                        atomic_fetch_add(&j->wrong, 1);
        }
        return NULL;
}

static void *look(void *arg)
{
        struct judging *j = arg;

        for (uint32_t i = 0; !atomic_load(&j->stop); i = (i + 7) % T_PIECES) {
                bool suspect = store_is_suspect(j->store, i), checked;
                char data[T_LENGTH];
                uint8_t *map;
                size_t len;
                int r;

                /* One that is not suspect any more is there, if it was good. */
                if (!suspect && store_has(j->store, i) != is_good(i))
                        atomic_fetch_add(&j->wrong, 1);
                r = store_read(j->store, (uint64_t)i * T_LENGTH, data, sizeof data);
                if (r == 0)
                        atomic_fetch_add(&j->read, 1);
                if (r == 0 ? !is_good(i) || data[0] != (char)i ||
                                     memcmp(data, data + 1, sizeof data - 1) != 0
                           : r != -EAGAIN)
                        atomic_fetch_add(&j->wrong, 1);
                if (store_claims(j->store, &map, &len, &checked) < 0)
                        continue;
                for (uint32_t p = 0; p < T_PIECES; p++)
                        if (is_good(p) && !(map[p / 8] >> (p % 8) & 1))
                                atomic_fetch_add(&j->wrong, 1);
                free(map);
                if (!suspect && !is_good(i))
                        store_release(j->store, i);
                (void)store_sync(j->store);
        }
        return NULL;
}

/* Two judge and two look on; the first to read opens the file, while the others need it. */
static void test_judged_while_others_look(void **state)
{
        struct fixture *f = *state;
        uint8_t all[T_PIECES / 8];
        struct store_options o = {
                .name = HEX, .number = 1, .size = T_PIECES * T_LENGTH, .piece_length = T_LENGTH};

        memset(all, 0xff, sizeof all);
        for (unsigned round = 0; round < T_ROUNDS; round++) {
                struct judging j = {.cache = new_cache(f, 100 * MIB)};
                pthread_t judges[2], lookers[2];
                unsigned good = 0;

                o.have = NULL;
                o.suspect = false;
                assert_int_equal(store_open(j.cache, &o, &j.store), 0);
                for (uint32_t i = 0; i < T_PIECES; i++) {
                        char data[T_LENGTH];

                        memset(data, (int)i, sizeof data);
                        assert_int_equal(store_write(j.store, i, 0, data, sizeof data), 0);
                        store_set(j.store, i);
                        good += is_good(i);
                }
                store_unref(j.store);
                o.have = all;
                o.suspect = true;
                assert_int_equal(store_open(j.cache, &o, &j.store), 0);
                for (unsigned i = 0; i < 2; i++) {
                        assert_int_equal(pthread_create(&lookers[i], NULL, look, &j), 0);
                        assert_int_equal(pthread_create(&judges[i], NULL, judge, &j), 0);
                }
                for (unsigned i = 0; i < 2; i++)
                        pthread_join(judges[i], NULL);
                while (atomic_load(&j.read) < 100 && atomic_load(&j.wrong) == 0)
                        (void)used(j.cache);
                atomic_store(&j.stop, true);
                for (unsigned i = 0; i < 2; i++)
                        pthread_join(lookers[i], NULL);
                assert_int_equal(j.wrong, 0);
                assert_int_equal(store_have_bytes(j.store), good * T_LENGTH);
                for (uint32_t i = 0; i < T_PIECES; i++)
                        if (!is_good(i))
                                store_release(j.store, i);
                assert_int_equal(used(j.cache), good * T_LENGTH + map_bytes(f, good));
                drop(j.store);
                assert_int_equal(used(j.cache), 0);
                assert_int_equal(j.cache->pending_bytes, 0);
                cache_free(j.cache);
        }
}

struct using
{
        struct store *store;
        atomic_uint wrong;
};

static void *use(void *arg)
{
        struct using *u = arg;
        char data[LENGTH];

        for (uint32_t i = 0; i < 40; i++) {
                int r = store_read(u->store, (i % 4) * LENGTH, data, sizeof data);

                if (r != -ESTALE && (r != 0 || data[0] != (char)('a' + i % 4)))
                        atomic_fetch_add(&u->wrong, 1);
                r = store_write(u->store, 4 + i % 4, 0, "x", 1);
                if (r != 0 && r != -ESTALE)
                        atomic_fetch_add(&u->wrong, 1);
        }
        return NULL;
}

/* Its first use and its end at the same time. */
static void test_discarded_while_it_is_opened(void **state)
{
        struct fixture *f = *state;

        for (unsigned round = 0; round < 40; round++) {
                struct using u = {0};
                pthread_t thread[2];
                struct cache *c;

                leave_file_of(f, 4);
                c = next_run(f);
                u.store = opened(c, first_four, false);
                for (unsigned i = 0; i < 2; i++)
                        assert_int_equal(pthread_create(&thread[i], NULL, use, &u), 0);
                for (unsigned i = 0; i < 1000 * (round % 8); i++)
                        (void)used(c);
                store_discard(u.store);
                for (unsigned i = 0; i < 2; i++)
                        pthread_join(thread[i], NULL);
                assert_int_equal(u.wrong, 0);
                assert_int_equal(entries(f), 0);
                assert_int_equal(used(c), 0);
                store_unref(u.store);
                assert_int_equal(c->pending_bytes, 0);
                cache_free(c);
        }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
        const struct CMUnitTest tests[] = {
                T(test_left_files_count_from_the_start),
                T(test_opened_when_first_used),
                T(test_never_opened),
                T(test_another_file_is_refused),
                T(test_a_file_that_is_missing),
                T(test_a_name_that_goes),
                T(test_junk_in_missing_pieces),
                T(test_suspects),
                T(test_suspects_of_a_file_that_was_cut),
                T(test_not_sparse),
                T(test_sync),
                T(test_judged_while_others_look),
                T(test_discarded_while_it_is_opened),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
