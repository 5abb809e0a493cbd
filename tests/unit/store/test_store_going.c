/* test_store_going.c: pieces that go, many at once: who reads them, who wants them again, what of
 * their blocks stays, and that no block is on the disk that is not counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "scratch.h"
#include "store/store_private.h"

#define FILE_NAME HEX ".pieces"

enum { LENGTH = 65536, PIECES = 100 };

/* What the disk says to a punch; 0: it does it. */
static atomic_int refusal;

/* Stands before the system's. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
        if (refusal != 0) {
                errno = refusal;
                return -1;
        }
        return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static uint32_t rng = 918273645u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

static struct store *opened(struct cache *c, uint64_t size, uint32_t piece_length,
                            const uint8_t *have)
{
        const struct store_options o = {
                .name = HEX, .number = 1, .size = size, .piece_length = piece_length, .have = have};
        struct store *s = NULL;

        assert_int_equal(store_open(c, &o, &s), 0);
        return s;
}

static void drop(struct store *s)
{
        store_discard(s);
        store_unref(s);
}

/* What a byte of the torrent is; never 0. */
static char byte_at(uint64_t at)
{
        return (char)(1 + at * 2654435761u % 251 % 127);
}

static void fill(char *data, uint64_t at, size_t len)
{
        for (size_t i = 0; i < len; i++)
                data[i] = byte_at(at + i);
}

/* Writes a piece, as one that was verified. */
static int come(struct store *s, uint32_t piece)
{
        uint64_t at = (uint64_t)piece * s->have.piece_length;
        size_t len = have_piece_bytes(&s->have, piece);
        char *data = malloc(len);
        int r;

        assert_non_null(data);
        fill(data, at, len);
        r = store_write(s, piece, 0, data, len);
        free(data);
        if (r == 0)
                store_set(s, piece);
        return r;
}

static void assert_there(struct store *s, uint32_t piece)
{
        uint64_t at = (uint64_t)piece * s->have.piece_length;
        size_t len = have_piece_bytes(&s->have, piece);
        char *data = malloc(len), *expected = malloc(len);

        assert_true(data && expected);
        fill(expected, at, len);
        assert_int_equal(store_read(s, at, data, len), 0);
        assert_memory_equal(data, expected, len);
        free(data);
        free(expected);
}

static uint64_t on_disk(const struct fixture *f)
{
        struct stat st;

        if (fstatat(f->fd, FILE_NAME, &st, 0) < 0)
                return 0;
        return (uint64_t)st.st_blocks * 512;
}

/* ---- many at once ---- */

static void test_many_go_at_once(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);
        uint64_t all;
        char byte;

        assert_int_equal(store_unset(s, 0), -ENOENT);
        assert_int_equal(store_punch(s, 0), -EINVAL);
        for (uint32_t i = 0; i < PIECES; i++)
                assert_int_equal(come(s, i), 0);
        all = used(c);
        for (uint32_t i = 10; i < 90; i++) {
                assert_int_equal(store_unset(s, i), 0);
                assert_int_equal(store_unset(s, i), -EBUSY);
                assert_false(store_has(s, i));
                assert_int_equal(store_read(s, (uint64_t)i * LENGTH, &byte, 1), -EAGAIN);
                /* what goes can't come before it has gone */
                store_set(s, i);
                assert_false(store_has(s, i));
                assert_int_equal(store_next_unfinished(s, 0), UINT32_MAX);
                store_clear(s, i);
                store_release(s, i);
        }
        assert_int_equal(store_have_bytes(s), 20 * LENGTH);
        /* their room is theirs until they are punched */
        assert_int_equal(used(c), all);
        assert_true(on_disk(f) >= PIECES * LENGTH);

        /* not all of these go: nothing is done */
        assert_int_equal(store_punch_run(s, 9, 12), -EINVAL);
        assert_int_equal(store_punch_run(s, 85, 91), -EINVAL);
        assert_int_equal(store_punch_run(s, 10, 10), -EINVAL);
        assert_int_equal(store_punch_run(s, 99, 101), -EINVAL);
        assert_int_equal(used(c), all);

        assert_int_equal(store_reserve(s, 20), 0);
        assert_int_equal(store_reserve(s, 21), 0);
        store_release(s, 21);
        assert_int_equal(store_punch_run(s, 10, 50), 0);
        assert_int_equal(store_punch_run(s, 50, 90), 0);
        assert_int_equal(store_punch(s, 50), -EINVAL);
        assert_in_range(used(c), 21 * LENGTH, 21 * LENGTH + map_bytes(f, PIECES));
        assert_in_range(on_disk(f), 20 * LENGTH, used(c));
        for (uint32_t i = 0; i < PIECES; i++) {
                if (i < 10 || i >= 90)
                        assert_there(s, i);
                else
                        assert_int_equal(come(s, i), 0);
        }
        for (uint32_t i = 0; i < PIECES; i++)
                assert_there(s, i);
        drop(s);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

/* Set: what happens once in the middle of the next read of a file, when nothing of it has come. */
static void (*meanwhile)(struct store *s);
static struct store *meanwhile_of;

/* In place of the C library's. */
ssize_t pread(int fd, void *buf, size_t nbytes, off_t offset)
{
        void (*f)(struct store * s) = meanwhile;

        if (f) {
                meanwhile = NULL;
                f(meanwhile_of);
        }
        return syscall(SYS_pread64, fd, buf, nbytes, offset);
}

static void goes(struct store *s)
{
        assert_int_equal(store_unset(s, 3), 0);
        assert_int_equal(store_punch(s, 3), 0);
}

static void goes_and_comes(struct store *s)
{
        goes(s);
        assert_int_equal(come(s, 3), 0);
}

static void goes_and_is_reserved(struct store *s)
{
        assert_int_equal(store_unset(s, 3), 0);
        assert_int_equal(store_reserve(s, 3), 0);
        assert_int_equal(store_punch(s, 3), 0);
}

/* A read sees of a piece what was there all the while, or that it is missing; however much happens
 * between its first look and its last. */
static void test_a_read_is_overtaken(void **state)
{
        static const struct {
                void (*meanwhile)(struct store *s);
                uint64_t from;
                size_t len;
                int expected;
        } cases[] = {
                {goes, 3 * LENGTH, LENGTH, -EAGAIN},
                {goes, 3 * LENGTH - 5, 10, -EAGAIN},
                {goes, 4 * LENGTH - 1, 1, -EAGAIN},
                {goes, 4 * LENGTH, LENGTH, 0}, /* its neighbours stay */
                {goes, 2 * LENGTH, LENGTH, 0},
                {goes_and_comes, 3 * LENGTH - 5, LENGTH + 10, 0},
                {goes_and_is_reserved, 3 * LENGTH + 1, 5, -EAGAIN},
        };
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);
        static char data[LENGTH + 10], expected[LENGTH + 10];

        for (size_t i = 0; i < 2 * N(cases); i++) {
                uint64_t from = cases[i / 2].from;
                size_t len = cases[i / 2].len;
                int r;

                for (uint32_t k = 2; k < 5; k++)
                        if (!store_has(s, k))
                                assert_int_equal(come(s, k), 0);
                if (i % 2 && from / LENGTH != (from + len - 1) / LENGTH)
                        continue;
                memset(data, 0, sizeof data);
                fill(expected, from, len);
                meanwhile_of = s;
                meanwhile = cases[i / 2].meanwhile;
                r = i % 2 ? store_give_piece(s, (uint32_t)(from / LENGTH),
                                             (uint32_t)(from % LENGTH), data, len)
                          : store_read(s, from, data, len);
                assert_null(meanwhile);
                assert_int_equal(r, cases[i / 2].expected);
                if (r == 0)
                        assert_memory_equal(data, expected, len);
        }
        drop(s);
        cache_free(c);
}

/* What waits in a write is not written before the piece has gone. */
struct late {
        struct store *store;
        atomic_int tid, result;
        atomic_bool done;
};

static void *write_late(void *arg)
{
        struct late *l = arg;

        l->tid = (int)syscall(SYS_gettid);
        l->result = store_write(l->store, 3, 0, "late", 4);
        l->done = true;
        return NULL;
}

/* Begins the write, and waits until it waits. */
static void begin_late(struct late *l, pthread_t *writer)
{
        char path[64], state = 'R';

        assert_int_equal(pthread_create(writer, NULL, write_late, l), 0);
        while (l->tid == 0)
                sched_yield();
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", l->tid);
        while (state != 'S') {
                FILE *f = fopen(path, "r");

                assert_non_null(f);
                assert_int_equal(fscanf(f, "%*d %*s %c", &state), 1);
                fclose(f);
        }
}

static void test_a_write_waits_for_the_punch(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);

        for (unsigned way = 0; way < 3; way++) {
                struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);
                struct late l = {.store = s};
                pthread_t writer;
                char data[4];

                for (uint32_t i = 2; i < 5; i++) {
                        assert_int_equal(come(s, i), 0);
                        assert_int_equal(store_unset(s, i), 0);
                }
                begin_late(&l, &writer);
                /* another one that goes is done with; this one is not */
                assert_int_equal(store_punch(s, 2), 0);
                assert_false(l.done);
                if (way == 1)
                        store_condemn(s);
                else if (way == 2)
                        store_discard(s);
                else
                        assert_int_equal(store_punch_run(s, 3, 5), 0);
                pthread_join(writer, NULL);
                assert_int_equal(l.result, way == 0 ? 0 : -ESTALE);
                if (way == 0) {
                        assert_int_equal(store_read_piece(s, 3, 0, data, 4), 0);
                        assert_memory_equal(data, "late", 4);
                        assert_int_equal(store_next_unfinished(s, 0), 3);
                        assert_int_equal(store_next_unfinished(s, 4), UINT32_MAX);
                        assert_int_equal(used(c), LENGTH + map_bytes(f, 1));
                } else {
                        assert_int_equal(store_unset(s, 4), -ESTALE);
                        assert_int_equal(store_punch_run(s, 3, 5), 0);
                }
                drop(s);
                assert_int_equal(used(c), 0);
        }
        cache_free(c);
}

/* ---- a disk that does not let them go ---- */

static void test_what_the_disk_keeps_stays(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);
        uint64_t all;

        for (uint32_t i = 0; i < 6; i++)
                assert_int_equal(come(s, i), 0);
        all = used(c);
        for (uint32_t i = 0; i < 4; i++)
                assert_int_equal(store_unset(s, i), 0);
        refusal = ENOSPC;
        assert_int_equal(store_punch_run(s, 0, 4), -ENOSPC);
        for (uint32_t i = 0; i < 4; i++) {
                assert_true(store_goes(s, i));
                assert_false(store_has(s, i));
        }
        assert_int_equal(store_unset(s, 0), -EBUSY);
        assert_int_equal(used(c), all);

        store_keep(s, 0, true);
        assert_there(s, 0);
        store_keep(s, 1, false);
        assert_int_equal(store_reserve(s, 2), 0);
        store_keep(s, 2, true); /* who wants it again has the session fetch it */
        store_keep(s, 3, true);
        for (uint32_t i = 0; i < 6; i++) {
                assert_false(store_goes(s, i));
                assert_int_equal(store_has(s, i), i != 1 && i != 2);
                store_keep(s, i, i == 1); /* nothing for what does not go */
                assert_int_equal(store_has(s, i), i != 1 && i != 2);
        }
        assert_int_equal(store_have_bytes(s), 4 * LENGTH);
        assert_int_equal(used(c), all);
        assert_int_equal(store_unset(s, 3), 0);
        assert_int_equal(store_punch(s, 3), -ENOSPC);
        assert_false(store_goes(s, 3) || store_has(s, 3));
        assert_int_equal(store_punch_run(s, 3, 4), -EINVAL);

        refusal = 0;
        assert_int_equal(come(s, 1), 0);
        assert_there(s, 1);
        assert_int_equal(store_unset(s, 0), 0);
        assert_int_equal(store_unset(s, 1), 0);
        assert_int_equal(store_punch_run(s, 0, 2), 0);
        assert_int_equal(store_have_bytes(s), 2 * LENGTH);
        assert_in_range(used(c), 4 * LENGTH, all - 2 * LENGTH);
        drop(s);
        assert_int_equal(used(c), 0);
        cache_free(c);
}

/* Who writes to one that goes waits until it is there again, and changes nothing of it. */
static void test_a_write_waits_for_what_stays(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);

        for (unsigned way = 0; way < 3; way++) {
                struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);
                struct late l = {.store = s};
                pthread_t writer;

                assert_int_equal(come(s, 3), 0);
                assert_int_equal(store_unset(s, 3), 0);
                assert_false(store_set(s, 3));
                refusal = EDQUOT;
                assert_int_equal(store_punch_run(s, 3, 4), -EDQUOT);
                refusal = 0;
                begin_late(&l, &writer);
                assert_false(l.done);
                if (way == 2)
                        store_discard(s);
                store_keep(s, 3, way != 1);
                pthread_join(writer, NULL);
                assert_int_equal(l.result, way == 2 ? -ESTALE : way == 0);
                assert_int_equal(store_has(s, 3), way == 0);
                if (way == 0)
                        assert_there(s, 3);
                drop(s);
                assert_int_equal(used(c), 0);
        }
        cache_free(c);
}

/* ---- stores that end ---- */

/* Left or discarded while pieces are going: they are off the disk, or count; and the punch that
 * comes late does not touch what the next store has there. */
static void test_left_while_they_go(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);

        for (unsigned way = 0; way < 3; way++) {
                struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL), *again;
                uint8_t *have;
                size_t len;

                for (uint32_t i = 0; i < 8; i++)
                        assert_int_equal(come(s, i), 0);
                if (way == 2) { /* one that has not been opened */
                        assert_int_equal(store_bitmap(s, &have, &len), 0);
                        store_leave(s);
                        store_unref(s);
                        s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, have);
                        free(have);
                }
                for (uint32_t i = 0; i < 6; i++)
                        assert_int_equal(store_unset(s, i), 0);
                assert_int_equal(store_reserve(s, 4), 0);
                if (way == 0) {
                        store_discard(s);
                        assert_int_equal(used(c), 0);
                        assert_int_equal(store_punch_run(s, 0, 6), 0);
                        assert_int_equal(used(c), 0);
                        store_unref(s);
                        continue;
                }
                assert_int_equal(store_bitmap(s, &have, &len), 0);
                assert_int_equal(have[0], 0xc0);
                store_leave(s);
                assert_true(on_disk(f) <= used(c));
                if (way == 1)
                        assert_in_range(used(c), 2 * LENGTH, 2 * LENGTH + map_bytes(f, 8));
                else
                        assert_true(used(c) >= 8 * LENGTH);
                again = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, have);
                free(have);
                assert_int_equal(come(again, 1), 0);
                assert_int_equal(store_punch_run(s, 0, 6), 0);
                assert_there(again, 1);
                assert_there(again, 6);
                assert_there(again, 7);
                assert_in_range(used(c), 3 * LENGTH, 3 * LENGTH + 2 * f->block);
                assert_true(on_disk(f) <= used(c));
                store_unref(s);
                assert_there(again, 1);
                drop(again);
                assert_int_equal(used(c), 0);
        }
        cache_free(c);
}

/* ---- blocks ---- */

/* Pieces that share blocks go in all orders: what stays is whole, and at the end no block is. */
static void test_shared_blocks(void **state)
{
        static const uint32_t lengths[] = {1000, 4097, 5000, 16385, 20000, 100};
        struct fixture *f = *state;

        for (size_t k = 0; k < N(lengths) * 8; k++) {
                enum { COUNT = 24 };
                uint32_t length = lengths[k % N(lengths)], left = COUNT;
                struct cache *c = new_cache(f, 100 * MIB);
                struct store *s = opened(c, (uint64_t)COUNT * length - 50, length, NULL);

                for (uint32_t i = 0; i < COUNT; i++)
                        assert_int_equal(come(s, i), 0);
                while (left > 0) {
                        uint32_t first = next() % COUNT, end = first;

                        while (end < COUNT && end - first < 3 && store_unset(s, end) == 0)
                                end++;
                        if (end == first)
                                continue;
                        left -= end - first;
                        assert_int_equal(store_punch_run(s, first, end), 0);
                        if (on_disk(f) > used(c))
                                fail_msg("pieces of %u: %llu on the disk, %llu counted", length,
                                         (unsigned long long)on_disk(f),
                                         (unsigned long long)used(c));
                        for (uint32_t i = 0; i < COUNT; i++)
                                if (store_has(s, i))
                                        assert_there(s, i);
                }
                assert_int_equal(store_sync(s), 0);
                assert_int_equal(on_disk(f), 0);
                assert_int_equal(used(c), 0);
                drop(s);
                cache_free(c);
        }
}

struct bound_case {
        uint32_t length, pieces;
        uint64_t limit;
};

static const struct bound_case bound_cases[] = {
        {16384, 4000, 4 * MIB}, {1000, 4000, MIB},          {5000, 3000, 2 * MIB},
        {65537, 300, 3 * MIB},  {262144, 200, 8 * MIB + 5}, {16384, 9, 65536},
};

/* Comes in parts, in no order, as from many peers; perhaps not to its end. */
static int come_in_parts(struct store *s, uint32_t piece)
{
        enum { PART = 16384 };
        uint64_t at = (uint64_t)piece * s->have.piece_length;
        uint32_t len = (uint32_t)have_piece_bytes(&s->have, piece);
        uint32_t parts = (len + PART - 1) / PART, turn = next() % parts;
        char data[PART];
        int r = 0;

        for (uint32_t i = 0; i < parts && r == 0; i++) {
                uint32_t from = (i + turn) % parts * PART;
                uint32_t n = len - from < PART ? len - from : PART;

                fill(data, at + from, n);
                r = store_write(s, piece, from, data, n);
                if (next() % 100 == 0)
                        return r; /* nobody sends the rest now */
                if (next() % 400 == 0)
                        assert_int_equal(store_sync(s), 0);
        }
        if (r == 0)
                store_set(s, piece);
        return r;
}

/* Nearly all go, or few; some are wanted again, or given up. */
static void evict_some(struct store *s, uint32_t pieces)
{
        uint32_t one_stays_of = 1 + next() % 40;

        for (uint32_t i = 0; i < pieces; i++)
                if (store_has(s, i) && next() % one_stays_of != 0)
                        assert_int_equal(store_unset(s, i), 0);
        for (uint32_t i = 0; i < pieces; i++) {
                uint32_t end = i;

                while (end < pieces && store_is_going(s, end)) {
                        if (next() % 50 == 0)
                                assert_int_equal(store_reserve(s, end), 0);
                        end++;
                }
                if (end > i)
                        assert_int_equal(store_punch_run(s, i, end), 0);
                i = end;
        }
        if (next() % 4 > 0)
                return;
        for (uint32_t i = 0; i < pieces; i++) { /* the unfinished ones, too */
                store_clear(s, i);
                store_release(s, i);
        }
}

/* At random, with a small limit: what is on the disk is never more than what is counted, and that
 * never more than the limit. */
static void test_the_bound_at_every_moment(void **state)
{
        struct fixture *f = *state;

        for (size_t k = 0; k < N(bound_cases); k++) {
                const struct bound_case *b = &bound_cases[k];
                struct cache *c = new_cache(f, b->limit);
                struct store *s = opened(c, (uint64_t)b->pieces * b->length - 10, b->length, NULL);
                unsigned full = 0, most = 0;

                for (unsigned round = 0; round < 1000; round++) {
                        uint32_t piece = next() % b->pieces;

                        if (store_has(s, piece)) {
                                assert_there(s, piece);
                        } else if (come_in_parts(s, piece) == -ENOSPC) {
                                full++;
                                evict_some(s, b->pieces);
                        }
                        if (next() % 200 == 0)
                                assert_int_equal(store_sync(s), 0);
                        if (on_disk(f) > used(c) || used(c) > b->limit)
                                fail_msg("pieces of %u, round %u: %llu on the disk, %llu counted",
                                         b->length, round, (unsigned long long)on_disk(f),
                                         (unsigned long long)used(c));
                        if (used(c) * 10 > b->limit * 8)
                                most++;
                }
                assert_true(full > 0 && most > 0);
                for (uint32_t i = 0; i < b->pieces; i++)
                        if (store_has(s, i))
                                assert_there(s, i);
                drop(s);
                assert_int_equal(used(c), 0);
                cache_free(c);
        }
}

/* The file system's map of a file hardly shrinks where a few pieces stay, far apart. */
static void test_the_map_stays(void **state)
{
        enum { COUNT = 3000, SMALL = 16384, ONE_STAYS_OF = 200 };
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = opened(c, UINT64_C(2) * COUNT * SMALL, SMALL, NULL), *again;
        uint8_t *have;
        size_t len;

        for (uint32_t i = 0; i < COUNT; i++)
                assert_int_equal(come(s, 2 * i), 0);
        assert_int_equal(store_sync(s), 0);
        assert_true(on_disk(f) <= used(c));
        for (uint32_t i = 0; i < COUNT; i++) {
                if (i % ONE_STAYS_OF == 0)
                        continue;
                assert_int_equal(store_unset(s, 2 * i), 0);
                assert_int_equal(store_punch(s, 2 * i), 0);
        }
        assert_int_equal(store_sync(s), 0);
        assert_true(on_disk(f) <= used(c));
        /* a block for each piece that stays, and what they need anyway */
        assert_true(used(c) <= COUNT / ONE_STAYS_OF * (SMALL + 2 * f->block) + f->block);
        assert_int_equal(store_bitmap(s, &have, &len), 0);
        store_unref(s);
        assert_true(on_disk(f) <= used(c));
        again = opened(c, UINT64_C(2) * COUNT * SMALL, SMALL, have);
        free(have);
        assert_true(on_disk(f) <= used(c));
        for (uint32_t i = 0; i < COUNT; i += ONE_STAYS_OF) {
                assert_there(again, 2 * i);
                assert_int_equal(store_unset(again, 2 * i), 0);
                assert_int_equal(store_punch(again, 2 * i), 0);
        }
        assert_int_equal(used(c), 0);
        assert_int_equal(store_sync(again), 0);
        assert_int_equal(on_disk(f), 0);
        drop(again);
        cache_free(c);
}

/* ---- by many threads ---- */

enum { T_PIECES = 64, T_LENGTH = 40000, READERS = 3 };

struct shared {
        struct store *store;
        atomic_bool stop;
        atomic_uint wrong, read, gone, given;
};

static void *read_all_the_time(void *arg)
{
        static atomic_uint seed = 1;
        struct shared *sh = arg;
        uint32_t x = 2463534242u * (1 + atomic_fetch_add(&seed, 1));
        char data[2 * T_LENGTH];

        while (!sh->stop) {
                uint64_t at;
                size_t len;
                int r;

                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                at = x % (T_PIECES * T_LENGTH - sizeof data);
                len = 1 + x / 7 % sizeof data;
                if (x % 3 == 0) {
                        len = len % (T_LENGTH - at % T_LENGTH) + 1;
                        len -= len + at % T_LENGTH > T_LENGTH;
                        r = store_give_piece(sh->store, (uint32_t)(at / T_LENGTH),
                                             (uint32_t)(at % T_LENGTH), data, len);
                        atomic_fetch_add(&sh->given, r == 0);
                } else {
                        r = store_read(sh->store, at, data, len);
                        atomic_fetch_add(&sh->read, r == 0);
                }
                atomic_fetch_add(&sh->gone, r == -EAGAIN);
                for (size_t i = 0; r == 0 && i < len; i++)
                        if (data[i] != byte_at(at + i))
                                atomic_fetch_add(&sh->wrong, 1);
                if (r != 0 && r != -EAGAIN)
                        atomic_fetch_add(&sh->wrong, 1);
        }
        return NULL;
}

/* Writes whatever is missing, in halves, also what is going. */
static void *bring_all_the_time(void *arg)
{
        struct shared *sh = arg;
        char data[T_LENGTH];

        for (uint32_t i = 0; !sh->stop; i = (i + 1) % T_PIECES) {
                if (store_has(sh->store, i))
                        continue;
                fill(data, (uint64_t)i * T_LENGTH, sizeof data);
                if (store_write(sh->store, i, T_LENGTH / 2, data + T_LENGTH / 2, T_LENGTH / 2) ==
                            0 &&
                    store_write(sh->store, i, 0, data, T_LENGTH / 2) == 0)
                        store_set(sh->store, i);
        }
        return NULL;
}

/* Pieces that share blocks go in batches and come again while others read them: no wrong byte is
 * read, and at the end all that is counted is there. */
static void test_nobody_reads_what_goes(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct shared sh = {.store = opened(c, (uint64_t)T_PIECES * T_LENGTH, T_LENGTH, NULL)};
        pthread_t reader[READERS], writer;

        for (unsigned i = 0; i < READERS; i++)
                assert_int_equal(pthread_create(&reader[i], NULL, read_all_the_time, &sh), 0);
        assert_int_equal(pthread_create(&writer, NULL, bring_all_the_time, &sh), 0);
        for (unsigned i = 0; i < 2000 || sh.read < 300 || sh.given < 300 || sh.gone < 300; i++) {
                uint32_t from = next() % T_PIECES, to = from + next() % 12, batch = 0;
                bool taken[T_PIECES] = {false};

                for (uint32_t p = from; p < to && p < T_PIECES; p++) {
                        taken[p] = next() % 4 > 0 && store_unset(sh.store, p) == 0;
                        batch += taken[p];
                }
                /* as the commit to the catalog would, it gives others time; mostly they have none
                 */
                if (batch > 0 && next() % 16 == 0)
                        assert_int_equal(store_sync(sh.store), 0);
                for (uint32_t p = from; p < to && p < T_PIECES; p++) {
                        uint32_t end = p;

                        while (end < T_PIECES && taken[end])
                                end++;
                        if (end > p)
                                assert_int_equal(store_punch_run(sh.store, p, end), 0);
                        p = end;
                }
        }
        sh.stop = true;
        pthread_join(writer, NULL);
        for (unsigned i = 0; i < READERS; i++)
                pthread_join(reader[i], NULL);
        assert_int_equal(sh.wrong, 0);
        for (uint32_t i = 0; i < T_PIECES; i++)
                if (store_unset(sh.store, i) == 0)
                        assert_int_equal(store_punch(sh.store, i), 0);
                else
                        store_clear(sh.store, i);
        for (uint32_t i = 0; i < T_PIECES; i++)
                store_release(sh.store, i);
        assert_int_equal(used(c), 0);
        assert_int_equal(store_sync(sh.store), 0);
        assert_int_equal(on_disk(f), 0);
        drop(sh.store);
        cache_free(c);
}

/* ---- which they are ---- */

static void test_touched(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);

        assert_int_equal(store_touched(s, 3), 0);
        store_touch(s, 3, 5, 17);
        store_touch(s, PIECES - 1, PIECES + 10, 18);
        store_touch(s, 4, 6, UINT32_MAX);
        store_touch(s, 8, 8, 19);
        assert_int_equal(store_touched(s, 2), 0);
        assert_int_equal(store_touched(s, 3), 17);
        assert_int_equal(store_touched(s, 4), UINT32_MAX);
        assert_int_equal(store_touched(s, 5), UINT32_MAX);
        assert_int_equal(store_touched(s, 6), 0);
        assert_int_equal(store_touched(s, 8), 0);
        assert_int_equal(store_touched(s, PIECES - 1), 18);
        assert_int_equal(store_touched(s, PIECES), 0);
        assert_int_equal(store_touched(s, UINT32_MAX), 0);
        drop(s);
        cache_free(c);
}

static void test_unfinished(void **state)
{
        struct fixture *f = *state;
        struct cache *c = new_cache(f, 100 * MIB);
        struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);

        assert_int_equal(store_next_unfinished(s, 0), UINT32_MAX);
        assert_int_equal(store_reserve(s, 1), 0); /* nothing was written of it */
        assert_int_equal(come(s, 2), 0);
        for (uint32_t i = 5; i < PIECES; i += 60)
                assert_int_equal(store_write(s, i, 0, "x", 1), 0);
        assert_int_equal(store_next_unfinished(s, 0), 5);
        assert_int_equal(store_next_unfinished(s, 5), 5);
        assert_int_equal(store_next_unfinished(s, 6), 65);
        assert_int_equal(store_next_unfinished(s, 66), UINT32_MAX);
        assert_int_equal(store_next_unfinished(s, UINT32_MAX), UINT32_MAX);
        store_clear(s, 5);
        assert_int_equal(store_next_unfinished(s, 0), 65);
        store_set(s, 65);
        assert_int_equal(store_next_unfinished(s, 0), UINT32_MAX);
        drop(s);
        cache_free(c);
}

/* ---- the cache ---- */

static void count(void *arg)
{
        ++*(unsigned *)arg;
}

static void test_what_is_short(void **state)
{
        struct fixture *f = *state;
        const uint64_t one = LENGTH + map_bytes(f, 1);
        struct cache *c = new_cache(f, one + 3 * LENGTH);
        struct store *s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);
        unsigned told = 0;

        cache_on_short(c, LENGTH + 1, count, &told);
        assert_int_equal(cache_lacks(c, one + 3 * LENGTH), 0);
        assert_int_equal(cache_lacks(c, one + 3 * LENGTH + 7), 7);
        assert_int_equal(store_reserve(s, 0), 0);
        assert_int_equal(store_reserve(s, 1), 0);
        assert_int_equal(told, 0);
        assert_int_equal(store_reserve(s, 2), 0); /* one is left: less than low */
        assert_int_equal(told, 1);
        assert_int_equal(store_reserve(s, 2), 0); /* which asks for nothing */
        assert_int_equal(told, 1);
        assert_int_equal(cache_lacks(c, 3 * LENGTH), 2 * LENGTH);
        assert_int_equal(cache_lacks(c, UINT64_MAX), UINT64_MAX - (one + 3 * LENGTH));

        /* what others take is not there for pieces */
        cache_set_others(c, 1);
        assert_int_equal(used(c), one + 2 * LENGTH);
        assert_int_equal(cache_lacks(c, LENGTH), 1);
        assert_int_equal(store_reserve(s, 3), -ENOSPC);
        assert_int_equal(told, 2);
        cache_set_others(c, UINT64_MAX);
        assert_int_equal(store_reserve(s, 3), -ENOSPC);
        cache_set_others(c, 0);
        assert_int_equal(store_reserve(s, 3), 0);
        assert_int_equal(told, 4);

        /* a bound that is passed already */
        cache_set_limit(c, one);
        assert_int_equal(used(c), one + 3 * LENGTH);
        assert_int_equal(cache_lacks(c, 0), 3 * LENGTH);
        assert_int_equal(store_reserve(s, 4), -ENOSPC);
        for (uint32_t i = 1; i < 4; i++)
                store_release(s, i);
        assert_int_equal(cache_lacks(c, 0), 0);
        assert_int_equal(store_reserve(s, 4), -ENOSPC);
        cache_set_limit(c, UINT64_MAX);
        assert_int_equal(store_reserve(s, 4), 0);
        assert_int_equal(told, 6);
        drop(s);
        cache_free(c);
}

/* By how full the disk is, too: what goes counts as being there until it is gone. */
static void test_what_the_disk_lacks(void **state)
{
        struct fixture *f = *state;
        struct statvfs v;
        struct cache *c = NULL;
        struct store *s;
        uint64_t disk_free, before;

        assert_int_equal(fstatvfs(f->fd, &v), 0);
        disk_free = (uint64_t)v.f_bavail * v.f_frsize;
        assert_true(disk_free > 1000 * MIB);
        assert_int_equal(cache_new(f->fd, UINT64_MAX, disk_free - 500 * MIB, NULL, NULL, &c), 0);
        s = opened(c, (uint64_t)PIECES * LENGTH, LENGTH, NULL);
        assert_int_equal(cache_lacks(c, MIB), 0);
        assert_in_range(cache_lacks(c, 1000 * MIB), 100 * MIB, 900 * MIB);
        for (uint32_t i = 0; i < 16; i++)
                assert_int_equal(come(s, i), 0);
        before = cache_lacks(c, 1000 * MIB);
        for (uint32_t i = 0; i < 16; i++)
                assert_int_equal(store_unset(s, i), 0);
        assert_int_equal(cache_lacks(c, 1000 * MIB), before);
        assert_int_equal(store_reserve(s, 5), 0);
        assert_int_equal(store_punch_run(s, 0, 16), 0);
        /* one is wanted again; of the rest the map's room alone was not on the disk */
        assert_int_equal(cache_lacks(c, 1000 * MIB), before + LENGTH);
        drop(s);
        cache_free(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
        const struct CMUnitTest tests[] = {
                T(test_many_go_at_once),
                T(test_a_read_is_overtaken),
                T(test_a_write_waits_for_the_punch),
                T(test_what_the_disk_keeps_stays),
                T(test_a_write_waits_for_what_stays),
                T(test_left_while_they_go),
                T(test_shared_blocks),
                T(test_the_bound_at_every_moment),
                T(test_the_map_stays),
                T(test_nobody_reads_what_goes),
                T(test_touched),
                T(test_unfinished),
                T(test_what_is_short),
                T(test_what_the_disk_lacks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
