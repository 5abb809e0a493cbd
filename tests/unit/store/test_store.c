/* test_store.c: the sparse files, what is in them, and the bound on all of them together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <cmocka.h>

#include "scratch.h"
#include "store/store_private.h"

/* A new, empty store. */
static int open_new(struct cache *c, const char *name, uint64_t size, uint32_t piece_length,
                    struct store **ret)
{
        const struct store_options o = {
                .name = name, .number = 1, .size = size, .piece_length = piece_length};

        return store_open(c, &o, ret);
}

static struct store *new_store(struct cache *c, uint64_t size, uint32_t piece_length)
{
        struct store *s = NULL;

        assert_int_equal(open_new(c, HEX, size, piece_length, &s), 0);
        return s;
}

/* Nothing of it stays. */
static void drop(struct store *s)
{
        if (s)
                store_discard(s);
        store_unref(s);
}

static bool keep_all(void *arg, const char *hex)
{
        (void)arg;
        assert_string_equal(hex, HEX);
        return true;
}

static uint32_t rng = 77777777u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

static void test_accounting(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = new_store(c, 10 * 65536 + 1, 65536);
        const uint64_t map = map_bytes(f, 1);
        struct cache_stats st;
        char data[65536], back[65536];

        memset(data, 'x', sizeof data);
        cache_stats(c, &st);
        assert_true(st.used_bytes == 0 && st.limit_bytes == 100 * MIB && st.min_free_bytes == 0);

        /* reserved once, however often it is asked for */
        assert_int_equal(store_reserve(s, 0), 0);
        assert_int_equal(store_reserve(s, 0), 0);
        assert_int_equal(used(c), map + 65536);
        assert_int_equal(store_reserve(s, 1), 0);
        assert_int_equal(used(c), map + 2 * 65536);
        /* given back once */
        store_release(s, 1);
        assert_int_equal(used(c), map + 65536);
        store_release(s, 1);
        store_release(s, 5);
        assert_int_equal(used(c), map + 65536);

        /* what was written to stays, also unverified */
        assert_int_equal(store_write(s, 0, 16384, data, 16384), 0);
        store_release(s, 0);
        assert_int_equal(used(c), map + 65536);
        assert_false(store_has(s, 0));
        assert_int_equal(store_have_bytes(s), 0);

        /* a write without room reserves it */
        assert_int_equal(store_write(s, 2, 0, data, 100), 0);
        assert_int_equal(used(c), map + 2 * 65536);

        /* verified: counted once */
        assert_true(store_set(s, 0));
        assert_true(store_set(s, 0));
        assert_true(store_has(s, 0));
        assert_false(store_has(s, 2));
        assert_int_equal(store_have_bytes(s), 65536);
        store_release(s, 0);
        assert_int_equal(used(c), map + 2 * 65536);
        assert_int_equal(store_reserve(s, 0), 0);
        assert_int_equal(used(c), map + 2 * 65536);

        /* the last piece has one byte and takes a block */
        assert_int_equal(store_reserve(s, 10), 0);
        assert_int_equal(used(c), map + 2 * 65536 + f->block);
        store_release(s, 10);
        assert_int_equal(used(c), map + 2 * 65536);
        assert_int_equal(store_write(s, 10, 0, "y", 1), 0);
        store_set(s, 10);
        assert_int_equal(store_have_bytes(s), 65536 + 1);
        assert_int_equal(used(c), map + 2 * 65536 + f->block);

        /* bytes are where they were put; what was never written reads as zeros */
        assert_int_equal(store_read_raw(s, 16384, back, 16384), 0);
        assert_memory_equal(back, data, 16384);
        assert_int_equal(store_read_raw(s, UINT64_C(10) * 65536, back, 1), 0);
        assert_int_equal(back[0], 'y');
        memset(data, 0, sizeof data);
        assert_int_equal(store_read_raw(s, UINT64_C(4) * 65536, back, 65536), 0);
        assert_memory_equal(back, data, 65536);

        drop(s);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

struct write_case {
        const char *rule;
        uint32_t piece, offset;
        size_t len;
        int expected;
};

/* Pieces of 1000 bytes, the fourth and last of 1. */
static const struct write_case write_cases[] = {
        {"a whole piece", 0, 0, 1000, 0},
        {"the end of one", 1, 999, 1, 0},
        {"nothing at its end", 1, 1000, 0, 0},
        {"one byte more than a piece", 0, 0, 1001, -EIO},
        {"across the border", 0, 999, 2, -EIO},
        {"behind a piece", 0, 1000, 1, -EIO},
        {"the last byte", 3, 0, 1, 0},
        {"one more", 3, 0, 2, -EIO},
        {"behind it", 3, 1, 1, -EIO},
        {"no such piece", 4, 0, 1, -EIO},
        {"far from any", UINT32_MAX, 0, 1, -EIO},
        {"an offset of 32 bits", 0, UINT32_MAX, 2, -EIO},
};

/* What comes once more of a piece that is there changes nothing, and is known not to be written. */
static void test_what_is_there_stays(void **state)
{
        struct cache *c = new_cache(*state, 100 * MIB);
        struct store *s = new_store(c, 2 * 65536, 65536);
        char data[65536], back[65536];
        uint64_t before;

        memset(data, 'x', sizeof data);
        assert_int_equal(store_write(s, 0, 0, data, sizeof data), 0);
        store_set(s, 0);
        before = used(c);
        memset(data, 'y', sizeof data);
        assert_int_equal(store_write(s, 0, 0, data, 16384), 1);
        assert_int_equal(store_read(s, 0, back, sizeof back), 0);
        for (size_t i = 0; i < sizeof back; i++)
                assert_int_equal(back[i], 'x');
        assert_int_equal(used(c), before);
        store_discard(s);
        store_unref(s);
        cache_free(c);
}

static void test_write_bounds(void **state)
{
        static const char data[2000];
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);

        for (size_t i = 0; i < N(write_cases); i++) {
                const struct write_case *w = &write_cases[i];
                struct store *s = new_store(c, 3001, 1000);
                int r = store_write(s, w->piece, w->offset, data, w->len);

                if (r != w->expected)
                        fail_msg("%s: %d", w->rule, r);
                if (r < 0 && used(c) != 0)
                        fail_msg("%s: took room", w->rule);
                drop(s);
        }
        {
                struct store *s = new_store(c, 3001, 1000);
                char back[2];

                assert_int_equal(store_read_raw(s, 3000, back, 1), 0);
                assert_int_equal(store_read_raw(s, 3000, back, 2), -EIO);
                assert_int_equal(store_read_raw(s, 3001, back, 1), -EIO);
                assert_int_equal(store_read_raw(s, 3001, back, 0), 0);
                /* setting what isn't there is nothing */
                store_set(s, 4);
                store_set(s, UINT32_MAX);
                assert_int_equal(store_have_bytes(s), 0);
                drop(s);
        }
        cache_free(c);
}

/* The bound holds over all stores, and what is given back can be had again. */
static void test_bound(void **state)
{
        struct fixture *f = *state;
        const uint64_t map = map_bytes(f, 1);
        struct cache *c = new_cache(f, 8 * 65536 + 2 * map);
        struct store *a = new_store(c, 8 * 65536, 65536), *b = NULL;
        char byte = 1;

        assert_int_equal(open_new(c, "b" HEX, 8 * 65536, 65536, &b), 0);
        for (uint32_t i = 0; i < 8; i++)
                assert_int_equal(store_reserve(i % 2 ? a : b, i), 0);
        assert_int_equal(used(c), 8 * 65536 + 2 * map);
        assert_int_equal(store_reserve(a, 0), -ENOSPC);
        assert_int_equal(store_reserve(b, 1), -ENOSPC);
        /* what is reserved stays so */
        assert_int_equal(store_reserve(a, 1), 0);
        /* a write can't go around it, and takes nothing */
        assert_int_equal(store_write(a, 2, 0, &byte, 1), -ENOSPC);
        assert_int_equal(used(c), 8 * 65536 + 2 * map);
        store_release(a, 2);
        assert_int_equal(used(c), 8 * 65536 + 2 * map);

        store_release(b, 0);
        assert_int_equal(store_write(a, 2, 0, &byte, 1), 0);
        assert_int_equal(store_reserve(b, 0), -ENOSPC);

        /* one discarded: the other has its room at once */
        store_discard(a);
        assert_int_equal(used(c), 3 * 65536 + map);
        for (uint32_t i = 0; i < 8; i++)
                assert_int_equal(store_reserve(b, i), 0);
        drop(a);
        assert_int_equal(used(c), 8 * 65536 + map);
        drop(b);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

/* A write that meets a quota: less is taken from then on, once it is known that what goes helps. */
static void test_quota(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 64 << 20);
        struct store *s = new_store(c, 16 * 65536, 65536);
        char data[65536] = {1};
        struct cache_stats st;

        for (uint32_t i = 0; i < 8; i++) {
                assert_int_equal(store_write(s, i, 0, data, sizeof data), 0);
                store_set(s, i);
        }
        cache_sample(c);
        assert_int_equal(cache_lacks(c, 0), 0);
        cache_stats(c, &st);
        assert_false(st.unsure);

        assert_true(cache_refused(c));
        cache_stats(c, &st);
        assert_true(st.unsure);
        assert_true(st.reach_bytes < 8 * 65536);
        assert_true(cache_lacks(c, 0) > 0);
        assert_int_equal(store_reserve(s, 8), -ENOSPC);
        assert_int_equal(store_unset(s, 0), 0);
        assert_int_equal(store_punch(s, 0), 0);
        cache_stats(c, &st);
        assert_false(st.unsure);

        /* Readers try again after a minute. What nobody reads has what they leave, and no more than
         * was there; until more is, or nobody knows any more. */
        c->learned_until_ms = 1;
        assert_int_equal(cache_lacks(c, MIB), 0);
        assert_in_range(cache_vacant(c), 65536, 2 * 65536 - 1);
        assert_int_equal(store_reserve_spare(s, 8, 0, 65536), -ENOSPC);
        assert_false(store_is_reserved(s, 8));
        assert_int_equal(store_reserve_spare(s, 8, 65536, 0), 0);
        assert_int_equal(store_reserve_spare(s, 8, 65536, 0), 0);
        assert_true(store_is_reserved(s, 8));
        store_release(s, 8);
        assert_false(store_is_reserved(s, 8));
        for (uint32_t i = 8; i < 12; i++) {
                assert_int_equal(store_write(s, i, 0, data, sizeof data), 0);
                store_set(s, i);
        }
        assert_true(cache_vacant(c) > MIB);
        assert_true(cache_refused(c));
        assert_true(cache_vacant(c) < 65536);
        c->met_until_ms = 1;
        assert_true(cache_vacant(c) > MIB);

        /* Where nothing can be taken off the disk nothing more is to go. */
        cache_punched(c, -EDQUOT);
        assert_int_equal(cache_lacks(c, 0), 0);
        assert_false(cache_refused(c));
        assert_int_equal(store_reserve(s, 12), 0);
        drop(s);
        cache_free(c);
}

/* A bound that is no multiple of a piece is not passed by one; one smaller than a piece holds none.
 */
static void test_bound_between(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 2 * 65536 + 65535);
        struct store *s = new_store(c, 8 * 65536 + 5, 65536);

        assert_int_equal(store_reserve(s, 0), 0);
        assert_int_equal(store_reserve(s, 1), 0);
        assert_int_equal(store_reserve(s, 2), -ENOSPC);
        /* the short last one still fits */
        assert_int_equal(store_reserve(s, 8), 0);
        drop(s);
        cache_free(c);

        c = new_cache(f, 65535);
        s = new_store(c, 65536, 65536);
        assert_int_equal(store_reserve(s, 0), -ENOSPC);
        assert_int_equal(used(c), 0);
        drop(s);
        cache_free(c);
}

/* Counted in blocks of the file system: what is used is never less than the blocks that hold what
 * was written, also where a piece begins inside a block. */
static void test_blocks(void **state)
{
        static const uint32_t lengths[] = {16384, 65536, 1000, 4097, 5000, 16385, 20000, 65535};
        static const char data[65536];
        struct fixture *f = *state;

        for (size_t k = 0; k < N(lengths); k++) {
                enum { PIECES = 64 };
                struct cache *c = new_cache(f, 1000 * MIB);
                struct store *s = new_store(c, (uint64_t)lengths[k] * PIECES, lengths[k]);
                uint64_t blocks = 0, counted = 0; /* blocks below counted are in blocks already */

                for (uint32_t i = 0; i < PIECES; i += 3) {
                        uint64_t first = (uint64_t)i * lengths[k] / f->block;
                        uint64_t end = ((uint64_t)(i + 1) * lengths[k] - 1) / f->block + 1;

                        assert_int_equal(store_write(s, i, 0, data, lengths[k]), 0);
                        blocks += end - (first > counted ? first : counted);
                        counted = end;
                        if (used(c) < blocks * f->block) {
                                uint64_t u = used(c);

                                drop(s);
                                cache_free(c);
                                fail_msg("pieces of %u: %llu bytes of blocks, %llu counted",
                                         lengths[k], (unsigned long long)(blocks * f->block),
                                         (unsigned long long)u);
                        }
                }
                drop(s);
                cache_free(c);
        }
}

/* min_free: what must stay free on the disk. */
static void test_min_free(void **state)
{
        struct fixture *f = *state;
        struct statvfs v;
        uint64_t disk_free;
        struct cache *c = NULL;
        struct store *s;

        assert_int_equal(fstatvfs(f->fd, &v), 0);
        disk_free = (uint64_t)v.f_bavail * v.f_frsize;
        assert_int_equal(cache_new(f->fd, 1000 * MIB, disk_free + 100 * MIB, NULL, NULL, &c), 0);
        s = new_store(c, 10 * MIB, MIB);
        assert_int_equal(store_reserve(s, 0), -ENOSPC);
        assert_int_equal(store_write(s, 0, 0, "x", 1), -ENOSPC);
        assert_int_equal(used(c), 0);
        drop(s);
        cache_free(c);

        /* what is reserved and not on the disk yet counts against it */
        assert_true(disk_free > 1000 * MIB);
        assert_int_equal(cache_new(f->fd, UINT64_MAX, disk_free - 500 * MIB, NULL, NULL, &c), 0);
        s = new_store(c, 10000 * MIB, 100 * MIB);
        assert_int_equal(store_reserve(s, 0), 0);
        {
                uint32_t n = 1;

                while (n < 100 && store_reserve(s, n) == 0)
                        n++;
                /* others use the disk too */
                assert_in_range(n, 2, 9);
                store_release(s, 0);
                /* a block of the map for each 2 MiB of them */
                assert_int_equal(used(c), (n - 1) * (100 * MIB + 50 * f->block));
        }
        drop(s);
        cache_free(c);
}

/* More than any disk has: nothing fits, the sum does not wrap. */
static void test_min_free_of_all(void **state)
{
        static const uint64_t values[] = {UINT64_MAX, UINT64_MAX - 4096, UINT64_MAX - MIB + 1,
                                          UINT64_MAX / 2};
        struct fixture *f = *state;

        for (size_t i = 0; i < N(values); i++) {
                struct cache *c = NULL;
                struct store *s;
                int r;

                assert_int_equal(cache_new(f->fd, 1000 * MIB, values[i], NULL, NULL, &c), 0);
                s = new_store(c, 10 * MIB, MIB);
                r = store_reserve(s, 0);
                drop(s);
                cache_free(c);
                if (r != -ENOSPC)
                        fail_msg("min_free %llu: %d", (unsigned long long)values[i], r);
        }
}

struct model {
        uint32_t pieces, piece_length;
        uint64_t size;
        bool *has;
};

static uint64_t model_bytes(const struct model *m, uint64_t offset, uint64_t len)
{
        uint64_t sum = 0;

        for (uint64_t p = offset / m->piece_length; len > 0 && p * m->piece_length < offset + len;
             p++) {
                uint64_t from = p * m->piece_length, to = from + m->piece_length;

                if (to > m->size)
                        to = m->size;
                if (from < offset)
                        from = offset;
                if (to > offset + len)
                        to = offset + len;
                sum += m->has[p] ? to - from : 0;
        }
        return sum;
}

/* first_missing and have_in against brute force, around words of 64 and the short last piece. */
static void test_bitmap(void **state)
{
        static const uint32_t counts[] = {1, 2, 63, 64, 65, 127, 128, 129, 200, 256};
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 1000 * MIB);

        for (size_t k = 0; k < 4 * N(counts); k++) {
                struct model m = {.pieces = counts[k % N(counts)], .piece_length = 1000};
                /* few, half, nearly all, all */
                uint32_t share = (uint32_t[]){10, 50, 95, 100}[k / N(counts)];
                struct store *s;
                uint64_t have = 0;

                m.size = (uint64_t)(m.pieces - 1) * 1000 + 1 + next() % 1000;
                m.has = calloc(m.pieces, sizeof *m.has);
                assert_non_null(m.has);
                s = new_store(c, m.size, 1000);
                for (uint32_t i = 0; i < m.pieces; i++) {
                        if (next() % 100 >= share)
                                continue;
                        m.has[i] = true;
                        store_set(s, i);
                }
                for (uint32_t i = 0; i < m.pieces; i++)
                        assert_true(store_has(s, i) == m.has[i]);
                for (uint32_t first = 0; first <= m.pieces; first++) {
                        for (uint32_t end = first; end <= m.pieces; end++) {
                                uint32_t expected = first, got;

                                while (expected < end && m.has[expected])
                                        expected++;
                                got = store_first_missing(s, first, end);
                                if (got != expected)
                                        fail_msg("%u pieces: the first missing of [%u, %u) is %u, "
                                                 "not %u",
                                                 m.pieces, first, end, got, expected);
                        }
                }
                for (unsigned round = 0; round < 2000; round++) {
                        uint64_t offset = next() % m.size, len = next() % (m.size - offset + 1);
                        uint64_t got, expected;

                        if (round == 0)
                                offset = 0, len = m.size;
                        got = store_have_in(s, offset, len);
                        expected = model_bytes(&m, offset, len);
                        if (got != expected)
                                fail_msg("%u pieces: %llu of [%llu, +%llu), not %llu", m.pieces,
                                         (unsigned long long)got, (unsigned long long)offset,
                                         (unsigned long long)len, (unsigned long long)expected);
                        if (round == 0)
                                have = got;
                }
                assert_int_equal(store_have_in(s, 0, 0), 0);
                assert_int_equal(store_have_in(s, m.size, 0), 0);
                assert_int_equal(store_have_bytes(s), have);
                drop(s);
                free(m.has);
        }
        cache_free(c);
}

/* Beyond 4 GiB nothing wraps. */
static void test_large(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 1000 * MIB);
        uint64_t size = 5000 * MIB + 1;
        struct store *s = new_store(c, size, 1 << 20);
        char back[3] = "";

        assert_int_equal(store_write(s, 4999, (1 << 20) - 2, "ab", 2), 0);
        assert_int_equal(store_write(s, 5000, 0, "c", 1), 0);
        store_set(s, 4999);
        store_set(s, 5000);
        assert_int_equal(store_read_raw(s, 5000 * MIB - 2, back, 3), 0);
        assert_memory_equal(back, "abc", 3);
        assert_true(store_have_in(s, 0, size) == MIB + 1);
        assert_true(store_have_in(s, 4999 * MIB + 5, MIB - 4) == MIB - 4);
        assert_true(store_have_bytes(s) == MIB + 1);
        assert_int_equal(store_first_missing(s, 4999, 5001), 5001);
        drop(s);
        cache_free(c);
}

static void test_discard(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = new_store(c, 10 * MIB, MIB), *again;
        char byte = 1;
        struct stat st;

        assert_int_equal(entries(f), 1);
        assert_int_equal(fstatat(f->fd, HEX ".pieces", &st, 0), 0);
        assert_true(st.st_size == 10 * MIB);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(store_write(s, 0, 0, &byte, 1), 0);
        store_set(s, 0);
        assert_int_equal(store_reserve(s, 1), 0);
        store_discard(s);
        assert_int_equal(entries(f), 0);
        assert_int_equal(used(c), 0);
        store_discard(s);
        assert_int_equal(used(c), 0);
        assert_int_equal(store_write(s, 2, 0, &byte, 1), -ESTALE);
        assert_int_equal(store_read_raw(s, 0, &byte, 1), -ESTALE);
        assert_int_equal(store_reserve(s, 3), -ESTALE);
        /* room that is gone isn't given back twice */
        store_release(s, 1);
        store_set(s, 1);
        assert_int_equal(used(c), 0);

        /* the same torrent anew, while a handle still holds the old one */
        again = new_store(c, 10 * MIB, MIB);
        byte = 7;
        assert_int_equal(store_write(again, 0, 0, &byte, 1), 0);
        drop(s);
        assert_int_equal(entries(f), 1);
        assert_int_equal(used(c), MIB + map_bytes(f, 1));
        assert_int_equal(store_read_raw(again, 0, &byte, 1), 0);
        assert_int_equal(byte, 7);
        drop(again);
        drop(NULL);
        cache_free(c);
        cache_free(NULL);
}

/* What was written of a piece that isn't verified goes, and nothing else; its room is given back
 * after. */
static void test_clear(void **state)
{
        enum { LENGTH = 3 * 65536 + 1000, SIZE = 2 * LENGTH + 500 };
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = new_store(c, SIZE, LENGTH);
        char *data = malloc(SIZE), *back = malloc(SIZE);
        struct stat before, after;
        uint64_t one;

        assert_true(data && back);
        memset(data, 'x', SIZE);
        for (uint32_t i = 0; i < 3; i++)
                assert_int_equal(store_write(s, i, 0, data, i < 2 ? LENGTH : 500), 0);
        store_set(s, 0);
        one = used(c);
        assert_int_equal(fstatat(f->fd, HEX ".pieces", &before, 0), 0);

        /* verified, or no such piece: nothing happens */
        store_clear(s, 0);
        store_clear(s, 3);
        store_clear(s, UINT32_MAX);
        assert_int_equal(store_read_raw(s, 0, back, SIZE), 0);
        assert_memory_equal(back, data, SIZE);

        store_clear(s, 1);
        memset(data + LENGTH, 0, LENGTH);
        assert_int_equal(store_read_raw(s, 0, back, SIZE), 0);
        assert_memory_equal(back, data, SIZE);
        assert_int_equal(fstatat(f->fd, HEX ".pieces", &after, 0), 0);
        assert_true(after.st_blocks * 512 <= before.st_blocks * 512 - LENGTH / 2);
        assert_int_equal(after.st_size, SIZE);
        /* its room stays until it is given back, once */
        assert_int_equal(used(c), one);
        store_release(s, 1);
        assert_true(used(c) <= one - LENGTH);
        one = used(c);
        store_release(s, 1);
        assert_int_equal(used(c), one);

        /* and the piece can come again */
        memset(data + LENGTH, 'y', LENGTH);
        assert_int_equal(store_write(s, 1, 0, data + LENGTH, LENGTH), 0);
        store_set(s, 1);
        store_clear(s, 1);
        assert_int_equal(store_read_raw(s, 0, back, SIZE), 0);
        assert_memory_equal(back, data, SIZE);

        store_discard(s);
        store_clear(s, 2);
        assert_int_equal(used(c), 0);
        drop(s);
        cache_free(c);
        free(data);
        free(back);
}

/* What an earlier run left goes; what isn't its own stays. */
static void test_leftovers(void **state)
{
        static const struct {
                const char *name;
                bool stays;
        } names[] = {
                {HEX "-1.pieces", false},
                {HEX "-4294967295.pieces", false},
                {HEX "0123456789abcdef01234567-12.pieces", false},
                {"sparse.probe", false},
                {HEX ".pieces", false},
                {HEX "-.pieces", true},
                {HEX "-1x.pieces", true},
                {"a" HEX "-1.pieces", true},
                {"film.pieces", true},
                {"lock", true},
                {"session", true},
                {HEX ".pieces.bak", true},
                {HEX "pieces", true},
                {".pieces", true},
                {HEX, true},
        };
        struct fixture *f = *state;
        struct cache *c = NULL;
        struct stat st;

        for (size_t i = 0; i < N(names); i++) {
                int fd = openat(f->fd, names[i].name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                assert_true(fd >= 0);
                assert_int_equal(write(fd, "x", 1), 1);
                close(fd);
        }
        /* a link or a folder is no store, and another user's is not ours */
        assert_int_equal(symlinkat("lock", f->fd, HEX "-2.pieces"), 0);
        assert_int_equal(mkdirat(f->fd, HEX "-3.pieces", 0700), 0);
        if (geteuid() == 0) {
                int fd = openat(f->fd, HEX "-4.pieces", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                assert_true(fd >= 0);
                assert_int_equal(fchown(fd, 1234, 1234), 0);
                close(fd);
        }
        assert_int_equal(cache_new(f->fd, 100 * MIB, 0, NULL, NULL, &c), 0);
        assert_int_equal(used(c), 0);
        for (size_t i = 0; i < N(names); i++) {
                bool stays = fstatat(f->fd, names[i].name, &st, 0) == 0;

                if (stays != names[i].stays)
                        fail_msg("%s %s", names[i].name, stays ? "stays" : "goes");
                (void)unlinkat(f->fd, names[i].name, 0);
        }
        assert_int_equal(unlinkat(f->fd, HEX "-2.pieces", 0), 0);
        assert_int_equal(unlinkat(f->fd, HEX "-3.pieces", AT_REMOVEDIR), 0);
        if (geteuid() == 0)
                assert_int_equal(unlinkat(f->fd, HEX "-4.pieces", 0), 0);
        assert_int_equal(entries(f), 0);
        cache_free(c);
}

static void test_errors(void **state)
{
        struct fixture *f = *state;
        struct cache *c = (struct cache *)(uintptr_t)1;
        struct store *s = (struct store *)(uintptr_t)1;
        struct rlimit old, small;
        int fd;

        assert_int_equal(cache_new(-1, MIB, 0, NULL, NULL, &c), -EBADF);
        fd = openat(f->fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(cache_new(fd, MIB, 0, NULL, NULL, &c), -ENOTDIR);
        assert_true(c == (struct cache *)(uintptr_t)1);
        close(fd);
        assert_int_equal(unlinkat(f->fd, "file", 0), 0);

        c = new_cache(f, 100 * MIB);
        /* a file system that can't hold it: nothing is left there */
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        small = (struct rlimit){.rlim_cur = MIB, .rlim_max = old.rlim_max};
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        assert_int_equal(open_new(c, HEX, 2 * MIB, 65536, &s), -EFBIG);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_true(s == (struct store *)(uintptr_t)1);
        assert_int_equal(entries(f), 0);

        /* a link of the store's name is not followed, nor is a file of that name taken */
        assert_int_equal(symlinkat("/etc/passwd", f->fd, HEX ".pieces"), 0);
        assert_int_equal(open_new(c, HEX, 2 * MIB, 65536, &s), -EEXIST);
        assert_int_equal(unlinkat(f->fd, HEX ".pieces", 0), 0);
        fd = openat(f->fd, HEX ".pieces", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(open_new(c, HEX, 2 * MIB, 65536, &s), -EEXIST);
        assert_int_equal(unlinkat(f->fd, HEX ".pieces", 0), 0);
        cache_free(c);
}

/* Random calls on three stores against a model of who has room. */
static void test_fuzz(void **state)
{
        enum { STORES = 3, PIECES = 70, LENGTH = 16384, ROOM = 100 };
        static const char data[LENGTH];
        struct fixture *f = *state;
        struct cache *c = new_cache(f, (uint64_t)ROOM * LENGTH);
        struct store *s[STORES] = {NULL};
        bool reserved[STORES][PIECES] = {{false}}, written[STORES][PIECES] = {{false}},
             has[STORES][PIECES] = {{false}};
        unsigned n[STORES] = {0}; /* reserved */
        uint64_t sum = 0;

        for (unsigned round = 0; round < 60000; round++) {
                unsigned k = next() % STORES;
                uint32_t p = next() % PIECES;
                uint64_t step;
                int expected, r = 0;

                if (!s[k]) {
                        char hex[] = HEX;

                        hex[0] = (char)('0' + k);
                        assert_int_equal(open_new(c, hex, (uint64_t)PIECES * LENGTH, LENGTH, &s[k]),
                                         0);
                }
                step = LENGTH + map_bytes(f, n[k] + 1) - map_bytes(f, n[k]);
                expected = reserved[k][p] || sum + step <= (uint64_t)ROOM * LENGTH ? 0 : -ENOSPC;
                switch (next() % 5) {
                case 0:
                case 1:
                        if (next() % 2) {
                                r = store_reserve(s[k], p);
                        } else {
                                r = store_write(s[k], p, 0, data, 1 + next() % LENGTH);
                                expected = has[k][p] ? 1 : expected;
                                written[k][p] |= r == 0;
                        }
                        if (r == 0 && !reserved[k][p]) {
                                reserved[k][p] = true;
                                n[k]++;
                                sum += step;
                        }
                        break;
                case 2:
                        if (written[k][p]) {
                                store_set(s[k], p);
                                has[k][p] = true;
                        }
                        continue;
                case 3:
                        store_release(s[k], p);
                        if (reserved[k][p] && !written[k][p]) {
                                reserved[k][p] = false;
                                n[k]--;
                                sum -= LENGTH + map_bytes(f, n[k] + 1) - map_bytes(f, n[k]);
                        }
                        expected = 0;
                        break;
                default:
                        if (next() % 300 > 0)
                                continue;
                        for (uint32_t i = 0; i < PIECES; i++) {
                                assert_true(store_has(s[k], i) == has[k][i]);
                                reserved[k][i] = written[k][i] = has[k][i] = false;
                        }
                        sum -= (uint64_t)n[k] * LENGTH + map_bytes(f, n[k]);
                        n[k] = 0;
                        if (next() % 2)
                                store_discard(s[k]);
                        drop(s[k]);
                        s[k] = NULL;
                        assert_int_equal(used(c), sum);
                        continue;
                }
                if (r != expected)
                        fail_msg("round %u: %d, not %d", round, r, expected);
                if (used(c) != sum || sum > (uint64_t)ROOM * LENGTH)
                        fail_msg("round %u: %llu used, not %llu", round,
                                 (unsigned long long)used(c), (unsigned long long)sum);
        }
        for (unsigned k = 0; k < STORES; k++)
                drop(s[k]);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

/* ---- threads ---- */

struct shared {
        struct cache *cache;
        struct store *store;
        atomic_bool stop;
        _Atomic unsigned wrong;
};

enum { T_PIECES = 256, T_LENGTH = 16384, T_ROOM = 200 };

/* The bytes of a piece say which it is. */
static void *writer(void *arg)
{
        struct shared *sh = arg;
        char data[T_LENGTH];

        for (uint32_t i = 0; i < T_PIECES; i++) {
                memset(data, (int)(i % 255 + 1), sizeof data);
                if (store_reserve(sh->store, i) == 0 && i % 3 == 0)
                        store_release(sh->store, i);
                if (store_write(sh->store, i, 0, data, T_LENGTH / 2) == 0 &&
                    store_write(sh->store, i, T_LENGTH / 2, data, T_LENGTH / 2) == 0)
                        store_set(sh->store, i);
        }
        return NULL;
}

static void *reader(void *arg)
{
        struct shared *sh = arg;
        char data[T_LENGTH];

        for (unsigned round = 0; !atomic_load(&sh->stop); round++) {
                uint32_t i = round * 7919 % T_PIECES;
                struct cache_stats st;

                if (store_has(sh->store, i)) {
                        int r = store_read_raw(sh->store, (uint64_t)i * T_LENGTH, data,
                                               sizeof data);

                        if (r == 0 && (data[0] != (char)(i % 255 + 1) ||
                                       memcmp(data, data + 1, sizeof data - 1) != 0))
                                atomic_fetch_add(&sh->wrong, 1);
                        if (r < 0 && r != -ESTALE)
                                atomic_fetch_add(&sh->wrong, 1);
                }
                (void)store_first_missing(sh->store, 0, T_PIECES);
                (void)store_have_in(sh->store, 0, (uint64_t)T_PIECES * T_LENGTH);
                cache_stats(sh->cache, &st);
                if (st.used_bytes > st.limit_bytes)
                        atomic_fetch_add(&sh->wrong, 1);
        }
        return NULL;
}

/* Two write the same pieces, two read: a piece that is there reads as what it is, the bound holds.
 */
static void test_threads(void **state)
{
        struct fixture *f = *state;

        for (unsigned round = 0; round < 8; round++) {
                struct shared sh = {.cache = new_cache(f, (uint64_t)T_ROOM * T_LENGTH)};
                pthread_t w[2], r[2];

                sh.store = new_store(sh.cache, (uint64_t)T_PIECES * T_LENGTH, T_LENGTH);
                for (unsigned i = 0; i < 2; i++) {
                        assert_int_equal(pthread_create(&r[i], NULL, reader, &sh), 0);
                        assert_int_equal(pthread_create(&w[i], NULL, writer, &sh), 0);
                }
                for (unsigned i = 0; i < 2; i++)
                        pthread_join(w[i], NULL);
                if (round % 2)
                        store_discard(sh.store); /* under the readers' feet */
                atomic_store(&sh.stop, true);
                for (unsigned i = 0; i < 2; i++)
                        pthread_join(r[i], NULL);
                assert_int_equal(atomic_load(&sh.wrong), 0);
                /* full, but for what is less than a piece */
                if (round % 2)
                        assert_int_equal(used(sh.cache), 0);
                else
                        assert_in_range(used(sh.cache), (T_ROOM - 1) * T_LENGTH - f->block,
                                        T_ROOM * T_LENGTH);
                drop(sh.store);
                assert_int_equal(used(sh.cache), 0);
                cache_free(sh.cache);
        }
}

/* Writes and reads of a store while it is discarded: a read says -ESTALE or gives what was written,
 * never the zeros of a hole; no room is left taken. A long read makes a race more likely. */
enum { R_PIECES = 8, R_LENGTH = 4 << 20 };

static void *late_writer(void *arg)
{
        struct shared *sh = arg;
        char data[16384];

        memset(data, 1, sizeof data);
        for (uint32_t i = 1;; i = i % (R_PIECES - 1) + 1)
                if (store_write(sh->store, i, 0, data, sizeof data) == -ESTALE)
                        break;
        return NULL;
}

static void *late_reader(void *arg)
{
        struct shared *sh = arg;
        char *data = malloc(R_LENGTH);

        while (data) {
                int r = store_read_raw(sh->store, 0, data, R_LENGTH);

                if (r == -ESTALE)
                        break;
                if (r != 0 || data[0] != 1 || memcmp(data, data + 1, R_LENGTH - 1) != 0)
                        atomic_fetch_add(&sh->wrong, 1);
        }
        free(data);
        return NULL;
}

static void test_discard_race(void **state)
{
        struct fixture *f = *state;
        char *data = malloc(R_LENGTH);
        unsigned wrong = 0;

        assert_non_null(data);
        memset(data, 1, R_LENGTH);
        for (unsigned round = 0; round < 60; round++) {
                struct shared sh = {.cache = new_cache(f, 1000 * MIB)};
                pthread_t w[2], r[2];

                sh.store = new_store(sh.cache, (uint64_t)R_PIECES * R_LENGTH, R_LENGTH);
                assert_int_equal(store_write(sh.store, 0, 0, data, R_LENGTH), 0);
                store_set(sh.store, 0);
                for (unsigned i = 0; i < 2; i++) {
                        assert_int_equal(pthread_create(&r[i], NULL, late_reader, &sh), 0);
                        assert_int_equal(pthread_create(&w[i], NULL, late_writer, &sh), 0);
                }
                /* whenever, but while they are at it */
                for (unsigned i = 0; i < 20000 * (round % 10); i++)
                        (void)used(sh.cache);
                store_discard(sh.store);
                for (unsigned i = 0; i < 2; i++) {
                        pthread_join(w[i], NULL);
                        pthread_join(r[i], NULL);
                }
                wrong += atomic_load(&sh.wrong);
                assert_int_equal(used(sh.cache), 0);
                drop(sh.store);
                cache_free(sh.cache);
        }
        free(data);
        if (wrong > 0)
                fail_msg("%u reads of a discarded store gave a hole", wrong);
}

/* Padding lies within a piece, over the border of two, and over pieces as a whole; none of it is
 * counted. */
static void test_hidden(void **state)
{
        enum { PIECE = 16384, PIECES = 8, SIZE = 7 * PIECE + 100 };
        static const struct store_range ranges[] = {
                {10, 5}, {PIECE - 7, 10}, {3 * PIECE, PIECE}, {5 * PIECE - 1, 2 * PIECE + 1}};
        static const uint64_t seen[PIECES] = {PIECE - 12, PIECE - 3, PIECE, 0,
                                              PIECE - 1,  0,         0,     100};
        struct fixture *f = *state;
        struct cache *c;
        struct store *s;

        assert_int_equal(cache_new(f->fd, 64 * MIB, 0, NULL, NULL, &c), 0);
        for (unsigned order = 0; order < 2; order++) {
                struct store_range *hidden = malloc(sizeof ranges);
                uint64_t sum = 0;

                assert_non_null(hidden);
                memcpy(hidden, ranges, sizeof ranges);
                const struct store_options o = {.name = HEX,
                                                .number = 1,
                                                .size = SIZE,
                                                .piece_length = PIECE,
                                                .hidden = hidden,
                                                .n_hidden = N(ranges)};

                assert_int_equal(store_open(c, &o, &s), 0);
                for (uint32_t k = 0; k < PIECES; k++) {
                        uint32_t piece = order ? PIECES - 1 - k : k;

                        assert_int_equal(store_reserve(s, piece), 0);
                        store_set(s, piece);
                        sum += seen[piece];
                        assert_int_equal(store_have_bytes(s), sum);
                }
                drop(s);
        }
        cache_free(c);
}

/* ---- one torrent's store again and again ---- */

static int truncateat(int dir_fd, const char *name, off_t size)
{
        int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC), r;

        assert_true(fd >= 0);
        r = ftruncate(fd, size);
        close(fd);
        return r;
}

enum { A_LENGTH = 65536, A_PIECES = 9 };

static int open_as(struct cache *c, uint32_t number, const uint8_t *have, struct store **ret)
{
        const struct store_options o = {.name = HEX,
                                        .number = number,
                                        .size = (uint64_t)A_PIECES * A_LENGTH - 100,
                                        .piece_length = A_LENGTH,
                                        .have = have};

        return store_open(c, &o, ret);
}

static void write_piece(struct store *s, uint32_t piece, char byte)
{
        char data[A_LENGTH];
        size_t len = piece + 1 < A_PIECES ? A_LENGTH : A_LENGTH - 100;

        memset(data, byte, sizeof data);
        assert_int_equal(store_write(s, piece, 0, data, len), 0);
}

static void assert_piece(struct store *s, uint32_t piece, char byte)
{
        char data[A_LENGTH];
        size_t len = piece + 1 < A_PIECES ? A_LENGTH : A_LENGTH - 100;

        assert_int_equal(store_read(s, (uint64_t)piece * A_LENGTH, data, len), 0);
        assert_int_equal(data[0], byte);
        assert_memory_equal(data, data + 1, len - 1);
}

/* Removed and added again: the file is the new one's, whichever of the two is done with first. */
static void test_a_name_goes_to_the_higher_number(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *old, *new, *late = NULL;

        assert_int_equal(open_as(c, 1, NULL, &old), 0);
        write_piece(old, 0, 'a');
        store_set(old, 0);
        store_condemn(old);
        assert_int_equal(open_as(c, 2, NULL, &new), 0);
        assert_int_equal(open_as(c, 1, NULL, &late), -ESTALE);
        assert_null(late);
        write_piece(new, 0, 'b');
        store_set(new, 0);
        drop(old);
        assert_int_equal(entries(f), 1);
        assert_piece(new, 0, 'b');
        assert_int_equal(used(c), A_LENGTH + map_bytes(f, 1));
        drop(new);
        assert_int_equal(entries(f), 0);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

/* A store that is closed stays on the disk with what was verified, counts on, and is opened again
 * by its bitmap: in the same run, and in the next. */
static void test_closed_and_opened_again(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        uint64_t full = 3 * A_LENGTH + map_bytes(f, 3);
        struct store *s;
        uint8_t *have;
        size_t len;
        struct stat st;
        char byte;

        assert_int_equal(open_as(c, 7, NULL, &s), 0);
        for (uint32_t i = 0; i < 4; i++)
                write_piece(s, i == 3 ? A_PIECES - 1 : i, (char)('a' + i));
        store_set(s, 0);
        store_set(s, 2);
        store_set(s, A_PIECES - 1); /* 1 is unfinished */
        assert_int_equal(store_reserve(s, 5), 0);
        assert_int_equal(store_bitmap(s, &have, &len), 0);
        assert_int_equal(len, 2);
        assert_int_equal(have[0], 0x05);
        assert_int_equal(have[1], 0x01);
        store_unref(s);
        for (unsigned run = 0; run < 2; run++) {
                assert_in_range(used(c), 3 * A_LENGTH, full + f->block);
                assert_int_equal(open_as(c, 7, have, &s), 0);
                assert_in_range(used(c), 3 * A_LENGTH, full + f->block);
                assert_int_equal(store_have_bytes(s), 3 * A_LENGTH - 100);
                assert_piece(s, 0, 'a');
                assert_piece(s, 2, 'c');
                assert_piece(s, A_PIECES - 1, 'd');
                assert_int_equal(store_read(s, A_LENGTH, &byte, 1), -EAGAIN);
                assert_int_equal(store_read(s, A_LENGTH - 1, &byte, 1), 0);
                assert_int_equal(store_read_raw(s, A_LENGTH, &byte, 1), 0);
                assert_int_equal(byte, 0); /* what was unfinished is gone */
                assert_int_equal(fstatat(f->fd, HEX ".pieces", &st, 0), 0);
                assert_in_range(st.st_blocks * 512, 3 * A_LENGTH - f->block, full + f->block);
                store_unref(s);
                if (run == 0) {
                        cache_free(c);
                        assert_int_equal(cache_new(f->fd, 100 * MIB, 0, keep_all, NULL, &c), 0);
                        assert_in_range(used(c), 3 * A_LENGTH, full + f->block);
                        assert_int_equal(open_as(c, 7, have, &s), 0);
                        store_unref(s);
                }
        }
        /* a new one has nothing of it */
        assert_int_equal(open_as(c, 8, NULL, &s), 0);
        assert_int_equal(store_have_bytes(s), 0);
        assert_int_equal(used(c), 0);
        drop(s);
        assert_int_equal(open_as(c, 9, have, &s), -ENOENT);
        assert_int_equal(used(c), 0);
        free(have);
        cache_free(c);
}

/* What is claimed behind the end of a file that was cut is not there; a link is not followed. */
static void test_a_file_that_was_cut(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        const uint8_t all[] = {0xff, 0x01};
        struct store *s;

        assert_int_equal(open_as(c, 1, NULL, &s), 0);
        for (uint32_t i = 0; i < A_PIECES; i++) {
                write_piece(s, i, 'x');
                store_set(s, i);
        }
        store_unref(s);
        assert_int_equal(truncateat(f->fd, HEX ".pieces", 4 * A_LENGTH + 1), 0);
        assert_int_equal(open_as(c, 1, all, &s), 0);
        assert_int_equal(store_first_missing(s, 0, A_PIECES), 4);
        assert_int_equal(store_have_bytes(s), 4 * A_LENGTH);
        assert_piece(s, 3, 'x');
        drop(s);
        assert_int_equal(symlinkat("elsewhere", f->fd, HEX ".pieces"), 0);
        assert_int_equal(open_as(c, 1, all, &s), -EEXIST);
        assert_int_equal(unlinkat(f->fd, HEX ".pieces", 0), 0);
        cache_free(c);
}

/* Whatever is reserved, released and cleared while a piece is being taken away: what is used is
 * what there is, and at the end nothing. */
static void test_room_of_what_goes(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s;

        assert_int_equal(open_as(c, 1, NULL, &s), 0);
        /* never reserved nor written: padding */
        store_set(s, 3);
        assert_int_equal(store_unset(s, 3), 0);
        assert_int_equal(store_punch(s, 3), 0);
        assert_int_equal(used(c), 0);
        for (unsigned way = 0; way < 8; way++) {
                write_piece(s, 2, 'x');
                store_set(s, 2);
                assert_int_equal(used(c), A_LENGTH + map_bytes(f, 1));
                assert_int_equal(store_unset(s, 2), 0);
                if (way & 1)
                        assert_int_equal(store_reserve(s, 2), 0);
                if (way & 2)
                        store_clear(s, 2);
                if (way & 4)
                        store_release(s, 2);
                assert_int_equal(store_punch(s, 2), 0);
                assert_int_equal(used(c), (way & 5) == 1 ? A_LENGTH + map_bytes(f, 1) : 0);
                store_release(s, 2);
                assert_int_equal(used(c), 0);
                assert_int_equal(store_reserve(s, 2), 0); /* the bound is what it was */
                store_release(s, 2);
        }
        drop(s);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

/* A file that can't be opened is still on the disk, and counts; a newer torrent takes its place. */
static void test_a_file_that_cannot_be_opened_counts(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        uint64_t full = A_LENGTH + map_bytes(f, 1);
        const uint8_t one[] = {0x01, 0x00};
        struct rlimit before, little;
        struct store *s, *again = NULL;

        assert_int_equal(open_as(c, 1, NULL, &s), 0);
        write_piece(s, 0, 'x');
        store_set(s, 0);
        assert_int_equal(open_as(c, 1, one, &again), -EBUSY);
        store_leave(s);
        assert_int_equal(used(c), full);
        /* cut, and no room to grow again */
        assert_int_equal(truncateat(f->fd, HEX ".pieces", A_LENGTH), 0);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        little = (struct rlimit){2 * A_LENGTH, before.rlim_max};
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
        assert_int_equal(open_as(c, 1, one, &again), -EFBIG);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(used(c), full);
        assert_int_equal(open_as(c, 1, one, &again), 0);
        assert_int_equal(used(c), full);
        assert_piece(again, 0, 'x');
        store_unref(again);
        store_unref(s);
        assert_int_equal(used(c), full);
        assert_int_equal(open_as(c, 2, NULL, &again), 0);
        assert_int_equal(used(c), 0);
        drop(again);
        assert_int_equal(entries(f), 0);
        cache_free(c);
}

struct evicting {
        struct store *store;
        struct cache *cache;
        atomic_bool stop;
        atomic_uint wrong, read, gone;
};

/* Bytes say which piece they are; no piece has zeros. */
static void *read_all_the_time(void *arg)
{
        struct evicting *e = arg;
        char data[2 * A_LENGTH];

        for (unsigned i = 0; !atomic_load(&e->stop); i++) {
                uint32_t piece = i % (A_PIECES - 2);
                int r = store_read(e->store, (uint64_t)piece * A_LENGTH + A_LENGTH / 2, data,
                                   A_LENGTH);

                if (r == -EAGAIN) {
                        atomic_fetch_add(&e->gone, 1);
                        continue;
                }
                atomic_fetch_add(&e->read, 1);
                for (unsigned k = 0; k < A_LENGTH; k++)
                        if (r != 0 || data[k] != (char)('a' + piece + (k >= A_LENGTH / 2)))
                                atomic_fetch_add(&e->wrong, 1);
        }
        return NULL;
}

/* Pieces go and come while two threads read: nobody reads a hole. */
static void test_nobody_reads_what_goes(void **state)
{
        struct fixture *f = *state;
        struct evicting e = {.cache = new_cache(f, 100 * MIB)};
        struct cache_stats st;
        pthread_t reader[2];

        assert_int_equal(open_as(e.cache, 1, NULL, &e.store), 0);
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&reader[i], NULL, read_all_the_time, &e), 0);
        for (unsigned i = 0; i < 4000 || e.read < 100 || e.gone < 100; i++) {
                uint32_t piece = next() % A_PIECES;

                if (!store_has(e.store, piece)) {
                        write_piece(e.store, piece, (char)('a' + piece));
                        store_set(e.store, piece);
                } else if (next() % 3 == 0) {
                        assert_int_equal(store_unset(e.store, piece), 0);
                        assert_int_equal(store_unset(e.store, piece), -EBUSY);
                        if (next() % 2)
                                assert_int_equal(store_reserve(e.store, piece), 0);
                        assert_int_equal(store_punch(e.store, piece), 0);
                        store_release(e.store, piece);
                }
        }
        atomic_store(&e.stop, true);
        for (unsigned i = 0; i < 2; i++)
                pthread_join(reader[i], NULL);
        assert_int_equal(e.wrong, 0);
        for (uint32_t i = 0; i < A_PIECES; i++) {
                int r = store_unset(e.store, i);

                assert_true(r == 0 || r == -ENOENT);
                if (r == 0)
                        assert_int_equal(store_punch(e.store, i), 0);
        }
        assert_int_equal(store_have_bytes(e.store), 0);
        cache_stats(e.cache, &st);
        assert_int_equal(st.used_bytes, 0);
        assert_int_equal(store_unset(e.store, A_PIECES), -ENOENT);
        drop(e.store);
        cache_free(e.cache);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
        const struct CMUnitTest tests[] = {
                T(test_accounting),
                T(test_what_is_there_stays),
                T(test_write_bounds),
                T(test_bound),
                T(test_quota),
                T(test_bound_between),
                T(test_blocks),
                T(test_min_free),
                T(test_min_free_of_all),
                T(test_bitmap),
                T(test_large),
                T(test_discard),
                T(test_clear),
                T(test_leftovers),
                T(test_errors),
                T(test_fuzz),
                T(test_threads),
                T(test_discard_race),
                T(test_hidden),
                T(test_a_name_goes_to_the_higher_number),
                T(test_closed_and_opened_again),
                T(test_a_file_that_was_cut),
                T(test_nobody_reads_what_goes),
                T(test_room_of_what_goes),
                T(test_a_file_that_cannot_be_opened_counts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
