/* test_parked.c: reads that wait, whichever way their pieces come: each is answered once, with the
 * right bytes, and nothing stays wanted when all is over. No session: what it would bring is
 * written to the store here. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "torrent/filling.h"
#include "torrent/handle.h"
#include "torrent/parked.h"
#include "torrent/room.h"
#include "torrent/torrent.h"
#include "torrent/wishes.h"

#define PIECE UINT64_C(16384)
enum { PIECES = 24, HANDLES = 3, REQUESTS_MAX = 200, ROUNDS = 300, STEPS = 120 };

struct request {
        uint64_t off;
        size_t len;
        uint64_t id;
        unsigned flags;
        int answers, error;
        size_t got;
};

static struct request requests[REQUESTS_MAX];
static unsigned n_requests;

static uint8_t byte_at(uint64_t off)
{
        return (uint8_t)(off * 131 + off / PIECE * 7 + 3);
}

/* Its piece 1 goes with the next answer. */
static struct store *goes_with_the_answer;

static void on_data(void *request, const void *data, size_t len)
{
        struct request *r = request;
        const uint8_t *p = data;

        r->answers++;
        r->got = len;
        assert_true(len > 0 && len <= r->len);
        if (r->flags & READ_WHOLE)
                assert_int_equal(len, r->len);
        for (size_t i = 0; i < len; i++)
                assert_int_equal(p[i], byte_at(r->off + i));
        if (goes_with_the_answer) {
                assert_int_equal(store_unset(goes_with_the_answer, 1), 0);
                assert_int_equal(store_punch(goes_with_the_answer, 1), 0);
                goes_with_the_answer = NULL;
        }
}

static void on_error(void *request, int err)
{
        struct request *r = request;

        r->answers++;
        r->error = err;
}

static void on_poll(void *poll_handle)
{
        (void)poll_handle;
}

struct fixture {
        char path[32];
        int fd;
        struct cache *cache;
        struct torrent_env env;
        struct torrent *torrent;
        bool arrived[PIECES], passed[PIECES];
};

static struct bt_source *make_source(void)
{
        char text[256 + 20 * PIECES];
        struct bt_source *source = NULL;
        struct bt_error err = {0};
        int n = snprintf(text, sizeof text,
                         "d4:infod6:lengthi%llue4:name1:f12:piece lengthi%llue6:pieces%d:",
                         (unsigned long long)(PIECES * PIECE), (unsigned long long)PIECE,
                         20 * PIECES);

        memset(text + n, 'x', 20 * PIECES);
        memcpy(text + n + 20 * PIECES, "ee", 2);
        if (bt_source_from_torrent(text, (size_t)n + 20 * PIECES + 2, &bt_default_limits, false,
                                   &source, &err) < 0)
                fail_msg("%s", err.text);
        return source;
}

static void begin(struct fixture *f)
{
        struct bt_source *source = make_source();
        struct content content;

        *f = (struct fixture){.path = "/tmp/test-parked-XXXXXX"};
        n_requests = 0;
        assert_non_null(mkdtemp(f->path));
        f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(f->fd >= 0);
        assert_int_equal(cache_new(f->fd, UINT64_C(1) << 30, 0, NULL, NULL, &f->cache), 0);
        f->env.reply = (struct reply_ops){
                .data = on_data, .error = on_error, .poll_wake = on_poll, .poll_drop = on_poll};
        assert_int_equal(torrent_new(&f->env, 1, source, true, &f->torrent), 0);
        assert_int_equal(
                torrent_make_content(f->torrent, f->cache, bt_source_meta(source), &content), 0);
        assert_int_equal(torrent_set_content(f->torrent, &content), 0);
}

static void end(struct fixture *f)
{
        struct cache_stats stats;

        assert_null(torrent_end(f->torrent, EIO));
        torrent_unref(f->torrent);
        cache_stats(f->cache, &stats);
        assert_int_equal(stats.used_bytes, 0);
        cache_free(f->cache);
        close(f->fd);
        assert_int_equal(rmdir(f->path), 0);
}

static struct handle *open_file(struct fixture *f)
{
        struct listing *listing = torrent_listing(f->torrent);
        struct handle *h = NULL;
        uint32_t node;

        assert_non_null(listing);
        node = tree_child(listing->tree, TREE_ROOT, 0);
        listing_unref(listing);
        assert_int_equal(handle_open(f->torrent, node, 1, 0, &h), 0);
        return h;
}

/* As FUSE's thread does it. */
static void read_with(struct handle *h, uint64_t off, size_t len, unsigned flags)
{
        struct request *r = &requests[n_requests];
        size_t got = 0;
        int what;

        assert_true(n_requests < REQUESTS_MAX);
        *r = (struct request){.off = off, .len = len, .flags = flags};
        what = handle_read(h, off, len, flags, r, getpid(), &got, &r->id);
        if (what == READ_PARKED) {
                n_requests++;
                parked_arm(handle_torrent(h), r->id);
        } else if (what == READ_NOW) {
                uint8_t *data = malloc(got);

                assert_non_null(data);
                assert_int_equal(handle_fetch(h, off, data, got), 0);
                on_data(r, data, got);
                free(data);
        } else {
                fail_msg("a read: %d", what);
        }
}

static void read_at(struct handle *h, uint64_t off, size_t len)
{
        read_with(h, off, len, 0);
}

/* The network's thread: the bytes are there and right. What waits hears of it later. */
static void arrive(struct fixture *f, uint32_t piece)
{
        struct store *store = f->torrent->content.store;
        uint8_t data[PIECE];

        if (f->arrived[piece])
                return;
        f->arrived[piece] = true;
        for (uint64_t i = 0; i < PIECE; i++)
                data[i] = byte_at(piece * PIECE + i);
        assert_int_equal(store_write(store, piece, 0, data, PIECE), 0);
        store_set(store, piece);
}

static void pass(struct fixture *f, uint32_t piece)
{
        if (!f->arrived[piece] || f->passed[piece])
                return;
        f->passed[piece] = true;
        parked_piece_passed(f->torrent, piece);
}

static void assert_over(const struct fixture *f)
{
        for (unsigned i = 0; i < n_requests; i++)
                if (requests[i].answers != 1)
                        fail_msg("request %u: %d answers", i, requests[i].answers);
        assert_null(f->torrent->waiting.list);
        assert_null(f->torrent->wants.table);
        assert_int_equal(f->env.parked_reads, 0);
}

/* Two threads read with one handle: the reader model follows the second, so that nobody but the
 * first read itself wants what it waits for. */
static void test_only_the_read_wants_its_piece(void **state)
{
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        h = open_file(&f);
        read_at(h, 0, 4096);
        read_at(h, 20 * PIECE, 4096);
        arrive(&f, 0);
        pass(&f, 0);
        arrive(&f, 20);
        pass(&f, 20);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* A piece arrives between a read that waits for it and one that comes before its passing was dealt
 * with: what the second takes back when it ends is not the first one's. */
static void test_a_read_between_arrival_and_passing(void **state)
{
        struct fixture f;
        struct handle *a, *b;

        (void)state;
        begin(&f);
        a = open_file(&f);
        b = open_file(&f);
        read_at(a, 5 * PIECE, 4096);
        read_at(a, 20 * PIECE, 4096); /* its plan leaves piece 5 */
        arrive(&f, 5);
        read_at(b, 4 * PIECE, 2 * PIECE); /* waits for 4 alone */
        parked_interrupt(f.torrent, requests[n_requests - 1].id);
        pass(&f, 5);
        arrive(&f, 20);
        pass(&f, 20);
        handle_close(a);
        handle_close(b);
        assert_over(&f);
        end(&f);
}

/* … nor is what it has not asked for, as that was there when it began to wait. */
static void test_reads_across_an_arrived_piece(void **state)
{
        struct fixture f;
        struct handle *a, *b;

        (void)state;
        begin(&f);
        a = open_file(&f);
        b = open_file(&f);
        read_at(a, 5 * PIECE, 4096);
        arrive(&f, 5);
        for (int i = 0; i < 5; i++) {
                read_at(b, 5 * PIECE, 2 * PIECE); /* waits for 6 alone */
                parked_interrupt(f.torrent, requests[n_requests - 1].id);
        }
        assert_int_equal(requests[0].answers, 0);
        pass(&f, 5);
        assert_int_equal(requests[0].answers, 1);
        handle_close(a);
        handle_close(b);
        assert_over(&f);
        end(&f);
}

/* What became of a poll is told by the next read, and by no other. */
static void test_an_old_error_fails_no_later_read(void **state)
{
        struct fixture f;
        struct handle *h;
        size_t len;
        uint64_t id;

        (void)state;
        begin(&f);
        h = open_file(&f);
        assert_int_equal(handle_read(h, 3 * PIECE, 4096, READ_NONBLOCK, NULL, 0, &len, &id),
                         -EAGAIN);
        parked_release_all(f.torrent, ENOSPC);
        assert_int_equal(handle_read(h, 3 * PIECE, 4096, READ_NONBLOCK, NULL, 0, &len, &id),
                         -ENOSPC);
        assert_int_equal(handle_read(h, 3 * PIECE, 4096, READ_NONBLOCK, NULL, 0, &len, &id),
                         -EAGAIN);
        parked_release_all(f.torrent, ENOSPC);
        arrive(&f, 3);
        pass(&f, 3);
        assert_int_equal(handle_read(h, 3 * PIECE, 4096, READ_NONBLOCK, NULL, 0, &len, &id),
                         READ_NOW);
        assert_int_equal(handle_read(h, 9 * PIECE, 4096, READ_NONBLOCK, NULL, 0, &len, &id),
                         -EAGAIN);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* What is told of the one open file, of its torrent and of all torrents. */
static void assert_told(struct fixture *f, uint64_t position, unsigned parked)
{
        struct torrent_reader reader;
        struct torrent_status status;

        assert_int_equal(torrent_readers(f->torrent, &reader, 1), 1);
        assert_int_equal(reader.position, position);
        assert_int_equal(reader.parked, parked);
        torrent_get_status(f->torrent, &status);
        assert_int_equal(status.parked_reads, parked);
        assert_int_equal(f->env.parked_reads, parked);
}

/* A reader is where it waits, or where what it was given ends: whether it polls or not, and however
 * much it asked for. A poll is told as a read that waits. */
static void test_a_reader_is_where_it_waits_or_was_given(void **state)
{
        uint64_t film = PIECES * PIECE;
        struct fixture f;
        struct handle *h;
        size_t len;
        uint64_t id;

        (void)state;
        begin(&f);
        h = open_file(&f);
        assert_told(&f, 0, 0);
        assert_int_equal(
                handle_read(h, 3 * PIECE + 5, 4 * PIECE, READ_NONBLOCK, NULL, 0, &len, &id),
                -EAGAIN);
        assert_told(&f, 3 * PIECE + 5, 1);
        arrive(&f, 3);
        pass(&f, 3);
        assert_told(&f, 3 * PIECE + 5, 0);
        assert_int_equal(
                handle_read(h, 3 * PIECE + 5, 4 * PIECE, READ_NONBLOCK, NULL, 0, &len, &id),
                READ_NOW);
        assert_told(&f, 4 * PIECE, 0);
        assert_int_equal(handle_read(h, 4 * PIECE, 4 * PIECE, READ_NONBLOCK, NULL, 0, &len, &id),
                         -EAGAIN);
        assert_told(&f, 4 * PIECE, 1);
        parked_release_all(f.torrent, ENOSPC);
        assert_int_equal(handle_read(h, 4 * PIECE, 4 * PIECE, READ_NONBLOCK, NULL, 0, &len, &id),
                         -ENOSPC);
        assert_told(&f, 4 * PIECE, 0);

        /* Several reads of a row, whatever the order of their answers. */
        read_at(h, 6 * PIECE, PIECE);
        read_at(h, 5 * PIECE, PIECE);
        read_at(h, 7 * PIECE, PIECE);
        assert_told(&f, 5 * PIECE, 3);
        arrive(&f, 7);
        pass(&f, 7);
        assert_told(&f, 5 * PIECE, 2);
        arrive(&f, 5);
        pass(&f, 5);
        assert_told(&f, 6 * PIECE, 1);
        arrive(&f, 6);
        pass(&f, 6);
        assert_told(&f, 8 * PIECE, 0);

        /* A time-out gives the part that is there. */
        f.env.read_timeout_ms = 1000;
        read_at(h, 7 * PIECE, 3 * PIECE);
        assert_told(&f, 7 * PIECE, 1);
        arrive(&f, 8);
        pass(&f, 8);
        parked_tick(f.torrent, clock_ms() + 2000);
        assert_told(&f, 9 * PIECE, 0);
        handle_close(h);

        /* Somebody comes back to what was read before, a little. */
        h = open_file(&f);
        read_at(h, 7 * PIECE, 100);
        assert_told(&f, 7 * PIECE + 100, 0);
        handle_close(h);

        for (uint32_t piece = 0; piece < PIECES; piece++) {
                arrive(&f, piece);
                pass(&f, piece);
        }
        h = open_file(&f);
        assert_true(handle_is_complete(h));
        read_at(h, 2 * PIECE, PIECE);
        assert_told(&f, 3 * PIECE, 0);
        read_at(h, film - 10, PIECE);
        assert_told(&f, film, 0);
        handle_close(h);
        parked_tick(f.torrent, clock_ms() + 20000);
        assert_over(&f);
        end(&f);
}

/* A deadline takes back what else was asked for: no such thing for pieces that the read before has
 * asked for already. */
static void test_deadline_for_what_was_not_asked_for(void **state)
{
        struct fixture f;
        struct handle *h;
        size_t len;
        uint64_t id;

        (void)state;
        begin(&f);
        h = open_file(&f);
        assert_int_equal(handle_read(h, 0, 6 * PIECE, READ_NONBLOCK, NULL, 0, &len, &id), -EAGAIN);
        assert_true(wants_find(&f.torrent->wants, 0)->urgent);
        arrive(&f, 0);
        pass(&f, 0);
        assert_int_equal(handle_read(h, PIECE, 6 * PIECE, READ_NONBLOCK, NULL, 0, &len, &id),
                         -EAGAIN);
        assert_false(wants_find(&f.torrent->wants, 1)->urgent);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* Interrupted with some of its bytes there: the kernel would take less than all for the end of the
 * file, where the read fills the page cache. */
static void test_the_page_cache_gets_all_or_an_error(void **state)
{
        const struct {
                unsigned flags;
                int error;
                size_t got;
        } cases[] = {{0, 0, PIECE}, {READ_WHOLE, EINTR, 0}};

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fixture f;
                struct handle *h;
                size_t len;
                uint64_t id;

                begin(&f);
                h = open_file(&f);
                read_with(h, 0, 2 * PIECE, cases[i].flags);
                arrive(&f, 0);
                pass(&f, 0);
                assert_int_equal(requests[0].answers, 0);
                parked_interrupt(f.torrent, requests[0].id);
                assert_int_equal(requests[0].error, cases[i].error);
                assert_int_equal(requests[0].got, cases[i].got);
                assert_int_equal(handle_read(h, 0, 2 * PIECE, READ_NONBLOCK | cases[i].flags, NULL,
                                             0, &len, &id),
                                 cases[i].error ? -EAGAIN : READ_NOW);
                handle_close(h);
                assert_over(&f);
                end(&f);
        }
}

/* A program whose reads are interrupted, and which reads again each time, waits no longer than one
 * that is left alone. */
static void test_time_outs_count_by_piece(void **state)
{
        enum { TIMEOUT_MS = 1000, GAP_MS = 20 };
        struct fixture f;
        struct handle *h;
        uint64_t began;

        (void)state;
        begin(&f);
        f.env.read_timeout_ms = TIMEOUT_MS;
        h = open_file(&f);
        began = clock_ms();
        read_at(h, 0, 4096);
        parked_interrupt(f.torrent, requests[0].id);
        while (clock_ms() < began + GAP_MS) {
        }
        read_at(h, 0, 4096);
        parked_tick(f.torrent, began + TIMEOUT_MS - 1);
        assert_int_equal(requests[1].answers, 0);
        parked_tick(f.torrent, began + TIMEOUT_MS + GAP_MS - 1);
        assert_int_equal(requests[1].error, EIO);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

static int read_nonblocking(struct handle *h, uint64_t off)
{
        size_t len;
        uint64_t id;

        return handle_read(h, off, 4096, READ_NONBLOCK, &requests[n_requests], 0, &len, &id);
}

/* Who polls waits for as long as it likes, also where reads have just timed out, and those that
 * come to its piece later have all their time. */
static void test_polls_have_no_time_out(void **state)
{
        enum { TIMEOUT_MS = 1000 };
        struct fixture f;
        struct handle *a, *b;
        uint64_t began;

        (void)state;
        begin(&f);
        f.env.read_timeout_ms = TIMEOUT_MS;
        a = open_file(&f);
        b = open_file(&f);
        began = clock_ms();
        assert_int_equal(read_nonblocking(a, 3 * PIECE), -EAGAIN);
        parked_tick(f.torrent, began + 1000 * TIMEOUT_MS);
        assert_int_equal(handle_poll(a, NULL), 0);
        assert_int_equal(f.torrent->waiting.starved_ms,
                         wants_find(&f.torrent->wants, 3)->waited_ms);

        wants_find(&f.torrent->wants, 3)->waited_ms = began - TIMEOUT_MS; /* as time goes by */
        read_at(b, 3 * PIECE, 4096);
        parked_tick(f.torrent, began + TIMEOUT_MS - 1);
        assert_int_equal(requests[0].answers, 0);
        parked_tick(f.torrent, clock_ms() + TIMEOUT_MS);
        assert_int_equal(requests[0].error, EIO);

        /* From here on reads fail at once. */
        assert_int_equal(handle_poll(a, NULL), 0);
        assert_int_equal(read_nonblocking(a, 3 * PIECE), -EAGAIN);
        assert_int_equal(read_nonblocking(a, 9 * PIECE), -EAGAIN);
        assert_int_equal(handle_poll(a, NULL), 0);
        {
                size_t len;
                uint64_t id;

                assert_int_equal(handle_read(b, 9 * PIECE, 4096, 0, NULL, 0, &len, &id), -EIO);
        }
        handle_close(b);
        parked_tick(f.torrent, clock_ms() + 10000);
        assert_int_equal(handle_poll(a, NULL), 0);
        arrive(&f, 9);
        pass(&f, 9);
        assert_int_equal(handle_poll(a, NULL), POLLIN);
        assert_int_equal(read_nonblocking(a, 9 * PIECE), READ_NOW);
        handle_close(a);
        parked_tick(f.torrent, clock_ms() + 10000);
        assert_over(&f);
        end(&f);
}

/* A read that a signal has ended comes back at once: until then its piece keeps its rank, but not
 * for ever, and not when the file was closed. */
static void test_a_piece_lingers_for_a_read_that_comes_back(void **state)
{
        struct fixture f;
        struct handle *a, *b;
        struct request *r = &requests[0];
        const struct want *want;
        size_t len;

        (void)state;
        begin(&f);
        for (int closes = 0; closes < 2; closes++) {
                a = open_file(&f);
                b = open_file(&f);
                *r = (struct request){.off = 5 * PIECE, .len = 4096};
                /* 0: a thread that can't be seen, which counts as signalled. */
                assert_int_equal(handle_read(a, r->off, r->len, 0, r, 0, &len, &r->id),
                                 READ_PARKED);
                parked_arm(f.torrent, r->id);
                parked_interrupt_if_signalled(f.torrent, (uint32_t)r->id);
                assert_int_equal(r->error, EINTR);
                handle_close(a);
                want = wants_find(&f.torrent->wants, 5);
                assert_non_null(want);
                assert_true(want->urgent);
                if (!closes) {
                        parked_tick(f.torrent, clock_ms() + 2000);
                        assert_null(wants_find(&f.torrent->wants, 5));
                }
                handle_close(b);
                assert_over(&f);
        }
        end(&f);
}

/* Reads fail at once while nothing comes. What they ask for stays wanted for a moment all the same,
 * also where the file is closed each time: else nothing could come that ends this. */
static void test_a_refused_read_leaves_its_wish(void **state)
{
        enum { TIMEOUT_MS = 1000 };
        struct fixture f;
        struct handle *h;
        size_t len;
        uint64_t id;

        (void)state;
        begin(&f);
        f.env.read_timeout_ms = TIMEOUT_MS;
        h = open_file(&f);
        read_at(h, 0, 4096);
        parked_tick(f.torrent, clock_ms() + TIMEOUT_MS);
        assert_int_equal(requests[0].error, EIO);
        handle_close(h);
        assert_null(wants_find(&f.torrent->wants, 0));
        for (int i = 0; i < 2; i++) {
                h = open_file(&f);
                assert_int_equal(handle_read(h, 5 * PIECE, 4096, 0, NULL, 0, &len, &id), -EIO);
                handle_close(h);
                assert_non_null(wants_find(&f.torrent->wants, 5));
        }
        torrent_block_written(f.torrent, 5);
        h = open_file(&f);
        read_at(h, 5 * PIECE, 4096);
        assert_int_equal(requests[1].error, 0);
        arrive(&f, 5);
        pass(&f, 5);
        assert_int_equal(requests[1].answers, 1);
        handle_close(h);
        h = open_file(&f);
        f.torrent->waiting.stalled_ms = clock_ms();
        assert_int_equal(handle_read(h, 7 * PIECE, 4096, 0, NULL, 0, &len, &id), -EIO);
        handle_close(h);
        parked_tick(f.torrent, clock_ms() + 2 * TIMEOUT_MS);
        assert_over(&f);
        end(&f);
}

static void read_and_close(struct fixture *f, uint64_t off, size_t len)
{
        struct handle *h = open_file(f);

        for (uint32_t piece = (uint32_t)(off / PIECE); piece < (off + len) / PIECE; piece++) {
                arrive(f, piece);
                pass(f, piece);
        }
        read_at(h, off, len);
        handle_close(h);
}

/* A file that is opened for each read: together these are one reader, which wants what comes next
 * also while the file is closed. Who reads once, or the same again, wants nothing after its close;
 * who does not come back for two seconds neither; and after five it is a stranger. */
static void test_a_reader_comes_back(void **state)
{
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        read_and_close(&f, 0, 9 * PIECE);
        assert_null(f.torrent->wants.table);
        read_and_close(&f, 0, 9 * PIECE);
        assert_null(f.torrent->wants.table);
        read_and_close(&f, 9 * PIECE, PIECE);
        for (uint32_t piece = 10; piece < 18; piece++)
                assert_non_null(wants_find(&f.torrent->wants, piece));
        read_and_close(&f, 10 * PIECE, PIECE);
        assert_non_null(wants_find(&f.torrent->wants, 18));
        parked_tick(f.torrent, clock_ms() + 1500);
        assert_non_null(wants_find(&f.torrent->wants, 18));
        parked_tick(f.torrent, clock_ms() + 2500);
        assert_null(f.torrent->wants.table);
        assert_non_null(f.torrent->returning);

        /* It goes on where it was, and wants again; elsewhere somebody else reads. */
        h = open_file(&f);
        arrive(&f, 20);
        pass(&f, 20);
        read_at(h, 20 * PIECE, 4096);
        assert_null(wants_find(&f.torrent->wants, 12));
        handle_close(h);
        read_and_close(&f, 11 * PIECE, PIECE);
        assert_non_null(wants_find(&f.torrent->wants, 18));
        parked_tick(f.torrent, clock_ms() + 5500);
        assert_null(f.torrent->returning);
        assert_over(&f);
        read_and_close(&f, 12 * PIECE, PIECE);
        assert_null(f.torrent->wants.table);

        /* However many there were, few are kept. */
        for (uint64_t at = 0; at < 12; at++)
                read_and_close(&f, at * 4096, 4096);
        assert_in_range(f.torrent->n_returning, 1, 8);
        end(&f);
}

/* The kernel tells of a close when the file is open again and read already, and a server closes
 * when its client has asked for what comes next: nothing is taken back in between. */
static void test_a_reader_comes_back_before_it_has_left(void **state)
{
        struct fixture f;
        struct handle *before, *after, *other;

        (void)state;
        begin(&f);
        before = open_file(&f);
        for (uint32_t piece = 0; piece < 12; piece++) {
                arrive(&f, piece);
                pass(&f, piece);
        }
        read_at(before, 0, 9 * PIECE);
        for (unsigned at = 9; at < 12; at++) {
                after = open_file(&f);
                read_at(after, at * PIECE, PIECE);
                handle_close(before);
                for (uint32_t piece = 12; piece < at + 9; piece++)
                        assert_non_null(wants_find(&f.torrent->wants, piece));
                before = after;
        }
        assert_null(f.torrent->returning); /* those that were followed are the one that is open */
        /* Who reads what was read already is somebody else, and so is who is waited for. */
        other = open_file(&f);
        read_at(other, 0, 4096);
        assert_int_equal(other->reader.place[0].position, 4096);
        assert_int_equal(other->reader.place[0].run_bytes, 4096);
        handle_close(other);
        assert_non_null(wants_find(&f.torrent->wants, 19));
        /* One that was followed, and reads on itself after all, is a reader of its own again. */
        after = open_file(&f);
        read_at(after, 11 * PIECE, 4096);
        read_at(before, 11 * PIECE, PIECE);
        handle_close(after);
        assert_non_null(wants_find(&f.torrent->wants, 19));
        handle_close(before);
        parked_tick(f.torrent, clock_ms() + 5500);
        assert_over(&f);
        assert_null(f.torrent->wants.table);
        end(&f);
}

/* So many ms from now, while the swarm gives. */
static void tick_in(struct fixture *f, uint64_t ms)
{
        atomic_store(&f->torrent->last_block_ms, clock_ms() + ms);
        parked_tick(f->torrent, clock_ms() + ms);
}

/* It is the last of the requests: none of those that read_at counts. */
static struct request *park_at(struct handle *h, uint64_t off, size_t len, unsigned flags)
{
        struct request *r = &requests[REQUESTS_MAX - 1];
        size_t got;

        *r = (struct request){.off = off, .len = len, .flags = flags};
        assert_int_equal(handle_read(h, off, len, flags, r, 0, &got, &r->id), READ_PARKED);
        parked_arm(handle_torrent(h), r->id);
        return r;
}

/* Pieces 8 to 11 are there, two handles are open, and the first has read piece 8. */
static void begin_with_two(struct fixture *f, struct handle **player, struct handle **other)
{
        begin(f);
        *player = open_file(f);
        *other = open_file(f);
        for (uint32_t piece = 8; piece < 12; piece++) {
                arrive(f, piece);
                pass(f, piece);
        }
        read_at(*player, 8 * PIECE, PIECE);
}

/* Whoever reads piece 9 with it lacks what comes behind piece 11. */
static void make_player(struct handle *h)
{
        h->reader.place[0].run_bytes = 4 << 20;
        h->reader.place[0].rested_ms = 2000;
        h->reader.place[0].rate = 1 << 20;
        read_at(h, 9 * PIECE, PIECE);
        assert_true(h->reader.playing);
        assert_int_equal(handle_torrent(h)->playing_short, 1);
}

/* A scan beside a player that has too little in hand: its piece comes behind the nearer half of the
 * player's window and gets no deadline, until the player has that, or for half a minute; also where
 * the scan was there first. */
static void test_a_scan_yields_to_a_player_that_is_short(void **state)
{
        struct fixture f;
        struct handle *player, *scan;
        struct request *r = NULL;
        const struct want *want;

        (void)state;
        for (int i = 0; i < 4; i++) {
                bool relief = i % 2, first = i / 2;

                begin_with_two(&f, &player, &scan);
                assert_int_equal(f.torrent->playing_short, 0);
                if (first) {
                        r = park_at(scan, 3 * PIECE, 4096, 0);
                        tick_in(&f, 0);
                        want = wants_find(&f.torrent->wants, 3);
                        assert_true(want && want->urgent && want->count[PRIORITY_BLOCKED] > 0);
                }
                make_player(player);
                if (!first)
                        r = park_at(scan, 3 * PIECE, 4096, 0);
                else
                        tick_in(&f, 0);

                want = wants_find(&f.torrent->wants, 3);
                assert_non_null(want);
                assert_false(want->urgent);
                assert_int_equal(want->count[PRIORITY_BLOCKED], 0);
                tick_in(&f, 29000);
                assert_false(want->urgent);
                if (relief) {
                        for (uint32_t piece = 12; piece < PIECES; piece++) {
                                arrive(&f, piece);
                                pass(&f, piece);
                        }
                        read_at(player, 10 * PIECE, PIECE);
                        assert_int_equal(f.torrent->playing_short, 0);
                        tick_in(&f, 29100);
                        assert_false(want->urgent); /* the player may lack something again */
                        tick_in(&f, 29500);
                } else {
                        tick_in(&f, 30500);
                }
                assert_true(want->urgent);
                assert_true(want->count[PRIORITY_BLOCKED] > 0);
                arrive(&f, 3);
                pass(&f, 3);
                assert_int_equal(r->answers, 1);
                assert_int_equal(r->error, 0);
                handle_close(scan);
                handle_close(player);
                assert_over(&f);
                end(&f);
        }
}

/* What somebody waits for through the page cache yields to nobody, whoever else waits for it. Once
 * that one has gone, the others do, until they need not any more. */
static void test_the_page_cache_does_not_yield(void **state)
{
        struct fixture f;
        struct handle *player, *scan;
        struct request *r;
        const struct want *want;

        (void)state;
        begin_with_two(&f, &player, &scan);
        read_at(scan, 3 * PIECE, 4096);
        r = park_at(scan, 3 * PIECE, 4096, READ_WHOLE);
        make_player(player);
        tick_in(&f, 0);
        want = wants_find(&f.torrent->wants, 3);
        assert_non_null(want);
        assert_true(want->urgent);
        assert_int_equal(want->count[PRIORITY_BLOCKED], 1);
        parked_interrupt(f.torrent, r->id);
        assert_int_equal(r->error, EINTR);
        assert_false(want->urgent);
        handle_close(player);
        tick_in(&f, 500);
        assert_true(want->urgent);
        assert_int_equal(want->count[PRIORITY_BLOCKED], 1);
        arrive(&f, 3);
        pass(&f, 3);
        handle_close(scan);
        parked_tick(f.torrent, clock_ms() + 5500); /* the player does not come back */
        assert_over(&f);
        end(&f);
}

/* Nobody yields while the swarm gives nothing, nor with what the player plays next; and nobody
 * does any more once the swarm has been silent. */
static void test_when_a_scan_does_not_yield(void **state)
{
        static const struct {
                uint32_t piece;
                bool silent, yields;
        } cases[] = {{3, false, true}, {3, true, false}, {12, false, false}, {13, false, true}};

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fixture f;
                struct handle *player, *scan;
                struct request *r;
                const struct want *want;

                begin_with_two(&f, &player, &scan);
                r = park_at(scan, cases[i].piece * PIECE, 4096, 0);
                make_player(player);
                want = wants_find(&f.torrent->wants, cases[i].piece);
                assert_non_null(want);
                if (cases[i].silent)
                        parked_tick(f.torrent, clock_ms());
                else
                        tick_in(&f, 0);
                assert_int_equal(want->urgent, !cases[i].yields);
                parked_tick(f.torrent, clock_ms() + 2500);
                assert_true(want->urgent);
                arrive(&f, cases[i].piece);
                pass(&f, cases[i].piece);
                assert_int_equal(r->answers, 1);
                handle_close(scan);
                handle_close(player);
                assert_over(&f);
                end(&f);
        }
}

/* The next piece that a player lacks is as urgent as if it waited for it, when that is needed soon,
 * until it pauses, or somebody else waits for a piece; no other one is. */
static void test_what_a_player_needs_soon(void **state)
{
        static const struct {
                uint64_t run, rate;
                bool waits, soon;
        } cases[] = {{5 << 20, 1 << 20, false, true},
                     {1 << 20, 1 << 10, false, true}, /* its first seconds may have come slowly */
                     {5 << 20, 1 << 10, false, false},
                     {5 << 20, 1 << 20, true, false}};

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fixture f;
                struct handle *player, *other;
                const struct want *next, *behind;

                begin_with_two(&f, &player, &other);
                player->reader.place[0].run_bytes = cases[i].run;
                player->reader.place[0].rested_ms = 2000;
                player->reader.place[0].rate = cases[i].rate;
                read_at(player, 9 * PIECE, PIECE);
                if (cases[i].waits)
                        park_at(other, 3 * PIECE, 4096, READ_WHOLE);
                read_at(player, 10 * PIECE, PIECE / 2);
                assert_int_equal(f.torrent->playing_short, 1);
                next = wants_find(&f.torrent->wants, 12);
                behind = wants_find(&f.torrent->wants, 13);
                assert_true(next && behind);
                assert_int_equal(next->count[PRIORITY_BLOCKED], cases[i].soon);
                assert_int_equal(behind->count[PRIORITY_BLOCKED], 0);
                assert_false(next->urgent);

                if (i == 0)
                        park_at(other, 3 * PIECE, 4096, READ_WHOLE);
                tick_in(&f, i == 0 ? 100 : 3500);
                assert_int_equal(next->count[PRIORITY_BLOCKED], 0);
                assert_int_equal(next->total, 1);
                arrive(&f, 3);
                pass(&f, 3);
                handle_close(other);
                handle_close(player);
                parked_tick(f.torrent, clock_ms() + 5500); /* it does not come back */
                assert_over(&f);
                end(&f);
        }
}

/* Likewise to one that has read more than a probe, before one can say what it is; not once it has
 * taken so much without a rest, and not where it has what it wants. */
static void test_a_scan_yields_to_one_that_may_play(void **state)
{
        static const struct {
                uint64_t read; /* bytes in a row, before the next read of a piece */
                bool there, yields, closes;
        } cases[] = {{100 << 10, false, false, true},
                     {600 << 10, false, true, true},
                     {600 << 10, false, true, false},
                     {600 << 10, true, false, true},
                     {5 << 20, false, false, true}};

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fixture f;
                struct handle *reads, *scan;
                struct request *r = &requests[REQUESTS_MAX - 1];
                size_t len;

                begin(&f);
                reads = open_file(&f);
                scan = open_file(&f);
                for (uint32_t piece = 8; piece < (cases[i].there ? PIECES : 12); piece++) {
                        arrive(&f, piece);
                        pass(&f, piece);
                }
                read_at(reads, 8 * PIECE, PIECE);
                reads->reader.place[0].run_bytes = cases[i].read;
                read_at(reads, 9 * PIECE, PIECE);
                assert_int_equal(f.torrent->young_short, cases[i].yields);
                *r = (struct request){.off = 3 * PIECE, .len = 4096};
                assert_int_equal(handle_read(scan, r->off, r->len, 0, r, 0, &len, &r->id),
                                 READ_PARKED);
                parked_arm(f.torrent, r->id);
                assert_int_equal(wants_find(&f.torrent->wants, 3)->urgent, !cases[i].yields);
                /* Not for longer than it takes to tell; nor when that one has gone. */
                if (cases[i].yields && !cases[i].closes) {
                        tick_in(&f, 2900);
                        assert_false(wants_find(&f.torrent->wants, 3)->urgent);
                }
                if (cases[i].closes)
                        handle_close(reads);
                tick_in(&f, (cases[i].closes ? 500 : 3100));
                assert_true(wants_find(&f.torrent->wants, 3)->urgent);
                if (!cases[i].closes)
                        handle_close(reads);
                assert_int_equal(f.torrent->young_short, 0);
                arrive(&f, 3);
                pass(&f, 3);
                assert_int_equal(r->answers, 1);
                handle_close(scan);
                assert_over(&f);
                end(&f);
        }
}

/* One that yields, and may play from this read on, lacks what it waits for itself: it yields to
 * others alone. */
static void test_nobody_yields_to_himself(void **state)
{
        struct fixture f;
        struct handle *player, *second;
        struct request *r = &requests[REQUESTS_MAX - 1];
        size_t len;

        (void)state;
        begin(&f);
        player = open_file(&f);
        second = open_file(&f);
        for (uint32_t piece = 0; piece < 12; piece++) {
                if (piece == 3)
                        continue;
                arrive(&f, piece);
                pass(&f, piece);
        }
        read_at(second, 2 * PIECE, PIECE);
        second->reader.place[0].run_bytes = (512 << 10) - PIECE;
        read_at(player, 8 * PIECE, PIECE);
        player->reader.place[0].run_bytes = 4 << 20;
        player->reader.place[0].rested_ms = 2000;
        player->reader.place[0].rate = 1 << 20;
        read_at(player, 9 * PIECE, PIECE);
        *r = (struct request){.off = 3 * PIECE, .len = PIECE};
        assert_int_equal(handle_read(second, r->off, r->len, 0, r, 0, &len, &r->id), READ_PARKED);
        parked_arm(f.torrent, r->id);
        assert_true(second->reader.yields && f.torrent->young_short == 1);
        tick_in(&f, 5000);
        assert_false(wants_find(&f.torrent->wants, 3)->urgent);
        handle_close(player);
        tick_in(&f, 5500);
        assert_true(wants_find(&f.torrent->wants, 3)->urgent);
        arrive(&f, 3);
        pass(&f, 3);
        assert_int_equal(r->answers, 1);
        handle_close(second);
        tick_in(&f, 11000); /* it does not come back */
        assert_over(&f);
        end(&f);
}

/* Its pieces come, then a signal, all before it was armed: it gets its bytes. */
static void test_what_happens_before_a_read_is_armed(void **state)
{
        struct fixture f;
        struct handle *h;
        struct request *r = &requests[0];
        size_t len;

        (void)state;
        begin(&f);
        h = open_file(&f);
        *r = (struct request){.off = 0, .len = 4096};
        assert_int_equal(handle_read(h, r->off, r->len, 0, r, 0, &len, &r->id), READ_PARKED);
        arrive(&f, 0);
        pass(&f, 0);
        parked_interrupt_if_signalled(f.torrent, (uint32_t)r->id);
        assert_int_equal(r->answers, 0);
        parked_arm(f.torrent, r->id);
        assert_int_equal(r->got, 4096);
        n_requests = 1;
        handle_close(h);
        assert_over(&f);
        end(&f);
}

static uint32_t next(uint32_t *rng)
{
        *rng ^= *rng << 13;
        *rng ^= *rng >> 17;
        *rng ^= *rng << 5;
        return *rng;
}

static void random_step(struct fixture *f, struct handle **handles, uint32_t *rng)
{
        uint32_t what = next(rng) % 8, piece = next(rng) % PIECES;
        struct handle **h = &handles[next(rng) % HANDLES];

        if (what < 3) {
                uint64_t off = next(rng) % (PIECES * PIECE), left = PIECES * PIECE - off;
                uint64_t len = 1 + next(rng) % (4 * PIECE);

                read_with(*h, off, (size_t)(len < left ? len : left),
                          next(rng) % 2 ? READ_WHOLE : 0);
        } else if (what < 5) {
                arrive(f, piece);
        } else if (what < 6) {
                pass(f, piece);
        } else if (what < 7 && n_requests > 0) {
                parked_interrupt(f->torrent, requests[next(rng) % n_requests].id);
        } else {
                for (unsigned i = 0; i < n_requests; i++)
                        parked_interrupt(f->torrent, requests[i].id); /* all: none is of *h then */
                handle_close(*h);
                *h = open_file(f);
        }
}

static void test_random(void **state)
{
        uint32_t rng = 2463534242;

        (void)state;
        for (unsigned round = 0; round < ROUNDS; round++) {
                struct handle *handles[HANDLES];
                struct fixture f;

                begin(&f);
                for (unsigned i = 0; i < HANDLES; i++)
                        handles[i] = open_file(&f);
                for (unsigned i = 0; i < STEPS; i++)
                        random_step(&f, handles, &rng);
                for (uint32_t i = 0; i < PIECES; i++) {
                        arrive(&f, i);
                        pass(&f, i);
                }
                for (unsigned i = 0; i < HANDLES; i++)
                        handle_close(handles[i]);
                assert_over(&f);
                end(&f);
        }
}

/* ---- pieces that go again ---- */

static void evict(struct fixture *f, uint32_t piece, int expected)
{
        struct store *store = torrent_store(f->torrent);

        assert_int_equal(room_unset(f->torrent, store, piece, ROOM_UNUSED), expected);
        if (expected == 0) {
                assert_int_equal(store_punch(store, piece), 0);
                f->arrived[piece] = f->passed[piece] = false;
        }
        store_unref(store);
}

static unsigned asked_for_room;

static void on_no_room(struct torrent *t, bool blocked)
{
        (void)t;
        asked_for_room += blocked;
}

/* Where pieces can go a read waits for the room of its piece, before those that are wanted ahead,
 * and fails only when it is told that there will be none. */
static void test_a_read_waits_for_room(void **state)
{
        struct cache_stats stats;
        const struct want *want;
        struct fixture f;
        struct handle *h;
        size_t len;
        uint64_t id;

        (void)state;
        begin(&f);
        f.env.make_room = on_no_room;
        arrive(&f, 0);
        pass(&f, 0);
        cache_stats(f.cache, &stats);
        cache_set_limit(f.cache, stats.used_bytes + PIECE / 2);
        asked_for_room = 0;
        h = open_file(&f);
        for (unsigned tries = 0; tries < 2; tries++) {
                read_at(h, 9 * PIECE, 4096);
                assert_int_equal(n_requests, tries + 1);
                assert_int_equal(requests[tries].answers, 0);
                assert_true(asked_for_room > 0);
                want = wants_find(&f.torrent->wants, 9);
                assert_non_null(want);
                assert_false(want->reserved);
                assert_true(room_take(f.torrent));
                if (tries == 0)
                        room_refuse(f.torrent);
        }
        assert_int_equal(requests[0].error, ENOSPC);
        evict(&f, 0, 0);
        assert_false(room_take(f.torrent));
        assert_true(want->reserved);
        assert_true(room_is_pending(f.torrent));
        arrive(&f, 9);
        pass(&f, 9);
        assert_int_equal(requests[1].error, 0);
        handle_close(h);
        /* what the bound can't hold at all fails at once */
        cache_set_limit(f.cache, PIECE / 2);
        h = open_file(&f);
        assert_int_equal(handle_read(h, 12 * PIECE, 4096, 0, NULL, 0, &len, &id), -ENOSPC);
        handle_close(h);
        parked_tick(f.torrent, clock_ms() + 10000); /* nobody comes back to the file */
        assert_over(&f);
        end(&f);
}

/* One that goes is gone soon, or there again, as where its disk does not let it go: until then who
 * wants it waits, and that is no lack of room. */
static void test_a_read_waits_for_what_goes(void **state)
{
        (void)state;
        for (unsigned way = 0; way < 2; way++) {
                struct fixture f;
                struct handle *h;
                struct store *store;
                const struct want *want;

                begin(&f);
                f.env.make_room = on_no_room;
                store = torrent_store(f.torrent);
                arrive(&f, 0);
                pass(&f, 0);
                asked_for_room = 0;
                assert_int_equal(room_unset(f.torrent, store, 0, ROOM_UNUSED), 0);
                f.passed[0] = false;
                h = open_file(&f);
                read_at(h, 0, 4096);
                want = wants_find(&f.torrent->wants, 0);
                assert_true(want && !want->reserved);
                assert_true(room_take(f.torrent));
                room_refuse(f.torrent);
                assert_int_equal(requests[0].answers, 0);
                assert_int_equal(asked_for_room, 0);
                if (way == 0) {
                        store_keep(store, 0, true);
                } else {
                        assert_int_equal(store_punch(store, 0), 0);
                        assert_false(room_take(f.torrent));
                        assert_true(want->reserved);
                        f.arrived[0] = false;
                        arrive(&f, 0);
                }
                pass(&f, 0);
                assert_int_equal(requests[0].answers, 1);
                assert_int_equal(requests[0].error, 0);
                handle_close(h);
                store_unref(store);
                parked_tick(f.torrent, clock_ms() + 10000);
                assert_over(&f);
                end(&f);
        }
}

/* The first read of a program that polls waits for its room to be known; later ones poll. */
static void test_a_poll_hears_of_room(void **state)
{
        struct cache_stats stats;
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        f.env.make_room = on_no_room;
        f.env.read_timeout_ms = 1000;
        arrive(&f, 0);
        pass(&f, 0);
        cache_stats(f.cache, &stats);
        cache_set_limit(f.cache, stats.used_bytes + PIECE / 2);
        for (unsigned tries = 0; tries < 3; tries++) {
                struct request *r = &requests[n_requests];

                h = open_file(&f);
                read_with(h, 9 * PIECE + 4096, 2 * PIECE, READ_NONBLOCK);
                assert_int_equal(n_requests, tries + 1);
                (void)room_take(f.torrent);
                parked_tick(f.torrent, clock_ms() + 400);
                assert_int_equal(r->answers, 0);
                if (tries == 0) {
                        room_refuse(f.torrent);
                        assert_int_equal(r->error, ENOSPC);
                        assert_int_equal(handle_poll(h, NULL), POLLIN);
                } else if (tries == 1) {
                        /* Nothing is known: it polls, and has its time. */
                        parked_tick(f.torrent, clock_ms() + 500);
                        assert_int_equal(r->error, EAGAIN);
                        assert_int_equal(handle_poll(h, NULL), POLLIN);
                        assert_int_equal(read_nonblocking(h, 9 * PIECE), -EAGAIN);
                        assert_int_equal(handle_poll(h, NULL), 0);
                        room_refuse(f.torrent);
                        assert_int_equal(handle_poll(h, NULL), POLLIN | POLLERR);
                        assert_int_equal(read_nonblocking(h, 9 * PIECE), -ENOSPC);
                        assert_int_equal(read_nonblocking(h, 9 * PIECE), -EAGAIN);
                        parked_tick(f.torrent, clock_ms() + 1000);
                        assert_int_equal(handle_poll(h, NULL), POLLIN | POLLERR);
                } else {
                        evict(&f, 0, 0);
                        assert_false(room_take(f.torrent));
                        assert_int_equal(r->error, EAGAIN);
                        assert_int_equal(read_nonblocking(h, 9 * PIECE), -EAGAIN);
                        arrive(&f, 9);
                        pass(&f, 9);
                        assert_int_equal(handle_poll(h, NULL), POLLIN);
                }
                handle_close(h);
        }
        assert_over(&f);
        end(&f);
}

/* Between first read and poll a program that polls is one that waits, not two. */
static void test_a_poll_that_waits_for_room_is_counted_once(void **state)
{
        struct cache_stats stats;
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        f.env.make_room = on_no_room;
        arrive(&f, 0);
        pass(&f, 0);
        cache_stats(f.cache, &stats);
        cache_set_limit(f.cache, stats.used_bytes + PIECE / 2);
        h = open_file(&f);
        read_with(h, 9 * PIECE + 4096, 2 * PIECE, READ_NONBLOCK);
        assert_told(&f, 9 * PIECE + 4096, 1);
        parked_tick(f.torrent, clock_ms() + 1000);
        assert_told(&f, 9 * PIECE + 4096, 0);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* What a reader is about to read does not go, unless it rests while others wait for room, and then
 * what a read waits for still does not. */
static void test_what_is_in_use_stays(void **state)
{
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        for (uint32_t i = 0; i < 3; i++) {
                arrive(&f, i);
                pass(&f, i);
        }
        h = open_file(&f);
        read_at(h, PIECE, 4096);
        evict(&f, 1, -EBUSY);
        assert_int_equal(room_unset(f.torrent, f.torrent->content.store, 1, ROOM_RESTING), -EBUSY);
        h->answered_ms -= 60000;
        evict(&f, 1, -EBUSY);
        read_with(h, 2 * PIECE, 2 * PIECE, READ_WHOLE);
        assert_int_equal(room_unset(f.torrent, f.torrent->content.store, 2, ROOM_UNAWAITED),
                         -EBUSY);
        arrive(&f, 3);
        pass(&f, 3);
        evict(&f, 0, 0);
        evict(&f, 0, -ENOENT);
        assert_int_equal(room_unset(f.torrent, f.torrent->content.store, 2, ROOM_UNAWAITED), 0);
        assert_int_equal(store_punch(f.torrent->content.store, 2), 0);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* A file that was complete when it was opened loses a piece: the read waits for it like any other.
 */
static void test_a_complete_file_loses_a_piece(void **state)
{
        uint8_t data[4096];
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        for (uint32_t i = 0; i < PIECES; i++) {
                arrive(&f, i);
                pass(&f, i);
        }
        h = open_file(&f);
        assert_true(handle_is_complete(h));
        evict(&f, 7, 0);
        assert_int_equal(handle_fetch(h, 7 * PIECE, data, sizeof data), -EAGAIN);
        assert_int_equal(handle_fetch(h, 6 * PIECE, data, sizeof data), 0);
        read_with(h, 6 * PIECE, 2 * PIECE, READ_WHOLE);
        assert_int_equal(n_requests, 1);
        assert_int_equal(requests[0].answers, 0);
        arrive(&f, 7);
        pass(&f, 7);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* What a window holds, a read waits for, or waits beside, does not go. */
static void test_what_is_read_does_not_go(void **state)
{
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        for (uint32_t i = 0; i < 6; i++) {
                arrive(&f, i);
                pass(&f, i);
        }
        h = open_file(&f);
        read_at(h, 2 * PIECE, 4096);
        evict(&f, 2, -EBUSY);
        read_at(h, 4 * PIECE, 4 * PIECE); /* waits for 6 and 7 */
        evict(&f, 5, -EBUSY);
        evict(&f, 6, -EBUSY);
        evict(&f, 9, -ENOENT);
        evict(&f, 0, 0);
        arrive(&f, 6);
        pass(&f, 6);
        arrive(&f, 7);
        pass(&f, 7);
        handle_close(h);
        evict(&f, 5, 0);
        evict(&f, 5, -ENOENT);
        assert_over(&f);
        end(&f);
}

/* A piece goes after a read's last one has passed, before the read is answered: of two reads that a
 * piece answers, while the first one is. */
static void test_a_piece_goes_before_the_answer(void **state)
{
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        h = open_file(&f);
        read_at(h, 0, 4096);
        read_with(h, 0, 2 * PIECE, READ_WHOLE);
        arrive(&f, 1);
        pass(&f, 1);
        arrive(&f, 0);
        goes_with_the_answer = f.torrent->content.store;
        pass(&f, 0);
        assert_null(goes_with_the_answer);
        assert_int_equal(requests[0].answers, 1);
        assert_int_equal(requests[1].answers, 0);
        assert_int_equal(f.env.parked_reads, 1);
        assert_true(f.torrent->waiting.list->poked); /* an interrupt may have been missed */
        f.arrived[1] = f.passed[1] = false;
        arrive(&f, 1);
        pass(&f, 1);
        assert_int_equal(requests[1].answers, 1);
        assert_int_equal(requests[1].got, 2 * PIECE);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* A piece goes before its passing was dealt with, and a read waits for it by then: the old passing
 * is not the new one's. */
static void test_an_old_passing_leaves_a_read_waiting(void **state)
{
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        arrive(&f, 9);
        evict(&f, 9, 0);
        h = open_file(&f);
        read_at(h, 9 * PIECE, 4096);
        parked_piece_passed(f.torrent, 9);
        assert_int_equal(requests[0].answers, 0);
        assert_non_null(wants_find(&f.torrent->wants, 9));
        arrive(&f, 9);
        pass(&f, 9);
        assert_int_equal(requests[0].answers, 1);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* A piece comes of what was asked for before the session has its torrent anew, which does not know
 * of it: it is not asked for again. */
static void test_what_came_is_not_asked_for_again(void **state)
{
        const struct wants *w;
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        h = open_file(&f);
        read_at(h, 9 * PIECE, 4096);
        assert_null(torrent_detach(f.torrent));
        arrive(&f, 9);
        torrent_attach(f.torrent, NULL);
        pthread_mutex_lock(&f.torrent->lock);
        w = &f.torrent->wants;
        assert_true(wants_find(w, 9)->reserved);
        assert_int_equal(wishes_change(f.torrent, 3, PRIORITY_NONE, 3), 0);
        assert_int_equal(wishes_change(f.torrent, 9, PRIORITY_NONE, 3), 0);
        wishes_retell(f.torrent);
        assert_true(w->n_batch > 0);
        for (size_t i = 0; i < w->n_batch; i++)
                assert_int_not_equal(w->batch[i].piece, 9);
        assert_int_equal(wants_find(w, 3)->told, 3);
        (void)wishes_change(f.torrent, 3, 3, PRIORITY_NONE);
        (void)wishes_change(f.torrent, 9, 3, PRIORITY_NONE);
        pthread_mutex_unlock(&f.torrent->lock);
        pass(&f, 9);
        assert_int_equal(requests[0].answers, 1);
        handle_close(h);
        assert_over(&f);
        end(&f);
}

/* What --fill has asked for does not go before it has looked whether it came: it would wait for it
 * without end. */
static void test_what_is_filled_does_not_go(void **state)
{
        struct filler_range *range = calloc(1, sizeof *range);
        struct filler *filler;
        struct fixture f;

        (void)state;
        begin(&f);
        assert_non_null(range);
        range->end = PIECES;
        filler = filler_new(range, 1, PIECE);
        assert_non_null(filler);
        pthread_mutex_lock(&f.torrent->lock);
        filling_begin(f.torrent, filler);
        pthread_mutex_unlock(&f.torrent->lock);
        arrive(&f, 2);
        pass(&f, 2);
        evict(&f, 2, -EBUSY);
        parked_tick(f.torrent, clock_ms());
        evict(&f, 2, 0);
        for (uint32_t i = 0; i < PIECES; i++) {
                if (i == 2)
                        continue;
                arrive(&f, i);
                pass(&f, i);
        }
        pthread_mutex_lock(&f.torrent->lock);
        assert_false(filling_waits(f.torrent));
        filling_end(f.torrent);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_over(&f);
        end(&f);
}

/* Room that was made for readers is not filled, until there is more than that; nor is any while it
 * is made. */
static void test_what_went_is_not_filled(void **state)
{
        struct filler_range *range = calloc(1, sizeof *range);
        struct cache_stats stats;
        struct filler *filler;
        struct fixture f;
        uint64_t vacant;

        (void)state;
        begin(&f);
        f.env.make_room = on_no_room;
        for (uint32_t i = 0; i < 8; i++) {
                arrive(&f, i);
                pass(&f, i);
        }
        cache_stats(f.cache, &stats);
        cache_set_limit(f.cache, stats.used_bytes + 4 * PIECE);
        evict(&f, 0, 0);
        evict(&f, 1, 0);
        vacant = cache_vacant(f.cache);
        assert_in_range(vacant, 6 * PIECE, 7 * PIECE);
        f.env.kept_bytes = UINT64_MAX;
        assert_non_null(range);
        range->end = PIECES;
        filler = filler_new(range, 1, PIECE);
        assert_non_null(filler);
        pthread_mutex_lock(&f.torrent->lock);
        filling_begin(f.torrent, filler);
        assert_true(filling_waits(f.torrent));
        assert_true(wishes_may_fill(f.torrent));
        f.env.reach_bytes = 2 * PIECE; /* half of which is left to readers */
        assert_false(wishes_may_fill(f.torrent));
        f.env.reach_bytes = 0;
        f.env.kept_bytes = vacant;
        filling_run(f.torrent, false);
        assert_true(filling_waits(f.torrent));
        assert_null(f.torrent->wants.table);

        f.env.kept_bytes = vacant - 2 * PIECE;
        filling_run(f.torrent, false);
        assert_true(filling_waits(f.torrent));
        assert_non_null(wants_find(&f.torrent->wants, 0));
        assert_non_null(wants_find(&f.torrent->wants, 1));
        assert_null(wants_find(&f.torrent->wants, 8));
        assert_int_equal(f.env.filling_bytes, 2 * PIECE);
        pthread_mutex_unlock(&f.torrent->lock);
        arrive(&f, 0);
        pass(&f, 0);
        arrive(&f, 1);
        pass(&f, 1);
        parked_tick(f.torrent, clock_ms());
        assert_int_equal(f.env.filling_bytes, 0);
        assert_null(wants_find(&f.torrent->wants, 8));

        evict(&f, 5, 0); /* as one does that its user has go */
        parked_tick(f.torrent, clock_ms());
        assert_non_null(wants_find(&f.torrent->wants, 5));
        pthread_mutex_lock(&f.torrent->lock);
        filling_end(f.torrent);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_int_equal(f.env.filling_bytes, 0);
        assert_over(&f);
        end(&f);
}

static void fill_all(struct fixture *f)
{
        struct filler_range *range = calloc(1, sizeof *range);
        struct filler *filler;

        assert_non_null(range);
        range->end = PIECES;
        filler = filler_new(range, 1, PIECE);
        assert_non_null(filler);
        pthread_mutex_lock(&f->torrent->lock);
        filling_begin(f->torrent, filler);
        pthread_mutex_unlock(&f->torrent->lock);
}

static unsigned n_wanted(const struct fixture *f)
{
        return HASH_COUNT(f->torrent->wants.table);
}

static bool is_short(const struct fixture *f)
{
        return cache_lacks(f->cache, 0) > 0;
}

/* What nobody reads can't be written: none of it is asked for until a pause has passed, of all
 * torrents or of this one alone, then one piece, and all when that has come. What is there need not
 * go for it, as it must for a reader. */
static void test_what_is_filled_is_refused(void **state)
{
        static const int errors[] = {EDQUOT, ENOSPC, EIO};

        (void)state;
        for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
                bool all = errors[i] != EIO;
                struct fill_pause *pause, *other;
                struct fixture f;
                struct handle *h;

                begin(&f);
                pause = all ? &f.env.fill_pause : &f.torrent->fill_pause;
                other = all ? &f.torrent->fill_pause : &f.env.fill_pause;
                f.env.make_room = on_no_room;
                for (uint32_t k = 0; k < 4; k++) {
                        arrive(&f, k);
                        pass(&f, k);
                }
                fill_all(&f);
                assert_int_equal(n_wanted(&f), PIECES - 4);
                torrent_write_failed(f.torrent, 7, errors[i]);
                assert_int_equal(n_wanted(&f), 0);
                assert_true(f.torrent->stopped);
                assert_int_equal(f.torrent->write_error, 0);
                assert_int_equal(f.torrent->fill_error, errors[i]);
                assert_true(fill_pause_rests(pause, clock_ms()));
                assert_false(fill_pause_tries(other, clock_ms()));
                assert_false(is_short(&f));
                parked_tick(f.torrent, clock_ms());
                assert_int_equal(n_wanted(&f), 0);
                assert_true(filling_waits(f.torrent));
                assert_int_equal(torrent_fill_waits(f.torrent), all);

                pause->until_ms = clock_ms(); /* it is over */
                parked_tick(f.torrent, clock_ms());
                assert_int_equal(n_wanted(&f), 1);
                assert_non_null(wants_find(&f.torrent->wants, 4));
                arrive(&f, 4);
                pass(&f, 4);
                assert_int_equal(n_wanted(&f), PIECES - 5);
                assert_false(filling_waits(f.torrent));

                h = open_file(&f);
                read_at(h, 7 * PIECE, 4096);
                torrent_write_failed(f.torrent, 7, errors[i]);
                assert_int_equal(is_short(&f), errors[i] == EDQUOT);
                assert_true(n_wanted(&f) > 1);
                assert_int_equal(f.torrent->write_error, errors[i] == EIO ? EIO : 0);
                arrive(&f, 7);
                pass(&f, 7);
                handle_close(h);
                parked_tick(f.torrent, clock_ms() + 10000);
                assert_null(torrent_end(f.torrent, EIO)); /* the fillers' wishes go with it */
                assert_int_equal(f.env.filling_bytes, 0);
                assert_over(&f);
                end(&f);
        }
}

/* A piece that a reader had wished for, and a filler has since it went again: the reader, which
 * leaves it, does not take back what is not its own. */
static void test_a_filler_keeps_its_wish(void **state)
{
        struct fixture f;

        (void)state;
        begin(&f);
        pthread_mutex_lock(&f.torrent->lock);
        assert_int_equal(wishes_change(f.torrent, 9, PRIORITY_NONE, PRIORITY_LEAST), 0);
        pthread_mutex_unlock(&f.torrent->lock);
        arrive(&f, 9);
        pass(&f, 9);
        evict(&f, 9, 0);
        fill_all(&f);
        pthread_mutex_lock(&f.torrent->lock);
        assert_non_null(wants_find(&f.torrent->wants, 9));
        (void)wishes_change(f.torrent, 9, PRIORITY_LEAST, PRIORITY_NONE);
        assert_non_null(wants_find(&f.torrent->wants, 9));
        /* Both want it: each takes back its own. */
        assert_int_equal(wishes_change(f.torrent, 9, PRIORITY_NONE, PRIORITY_LEAST), 0);
        assert_int_equal(wants_find(&f.torrent->wants, 9)->total, 2);
        (void)wishes_change(f.torrent, 9, PRIORITY_LEAST, 3);
        assert_int_equal(wants_find(&f.torrent->wants, 9)->count[PRIORITY_LEAST], 1);
        filling_end(f.torrent);
        assert_int_equal(n_wanted(&f), 1);
        assert_int_equal(wants_find(&f.torrent->wants, 9)->total, 1);
        (void)wishes_change(f.torrent, 9, 3, PRIORITY_NONE);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_over(&f);
        end(&f);
}

static void block_comes(struct fixture *f, uint32_t piece, uint64_t at_ms)
{
        uint8_t data[PIECE / 4] = {0};

        assert_int_equal(store_write(f->torrent->content.store, piece, 0, data, sizeof data), 0);
        torrent_block_written(f->torrent, piece);
        wants_find(&f->torrent->wants, piece)->last_block_ms = at_ms;
}

/* Two fetch the same though nobody reads it: room is given by what both give back. */
static void test_two_fillers_yield(void **state)
{
        struct fixture f;

        (void)state;
        begin(&f);
        f.env.make_room = on_no_room;
        fill_all(&f);
        fill_all(&f);
        assert_int_equal(n_wanted(&f), PIECES);
        assert_int_equal(f.env.filling_bytes, PIECES * PIECE);
        arrive(&f, 0);
        pass(&f, 0);
        assert_int_equal(f.env.filling_bytes, (PIECES - 1) * PIECE);
        pthread_mutex_lock(&f.torrent->lock);
        filling_yield(f.torrent, 3 * PIECE);
        assert_int_equal(n_wanted(&f), PIECES - 5);
        filling_yield(f.torrent, PIECE - 1);
        assert_int_equal(n_wanted(&f), PIECES - 6);
        assert_int_equal(f.env.filling_bytes, (PIECES - 6) * PIECE);
        filling_end(f.torrent);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_int_equal(f.env.filling_bytes, 0);
        assert_over(&f);
        end(&f);
}

/* A reader leaves a piece that a filler has asked for besides: its room was made for readers, and
 * is not the filler's, who waits for some; unless it has begun, or there is enough for all. */
static void test_a_readers_room_is_no_fillers(void **state)
{
        static const struct {
                uint64_t kept;
                bool begun, stays;
        } cases[] = {{UINT64_C(1) << 40, false, false},
                     {UINT64_C(1) << 40, true, true},
                     {UINT64_MAX, false, false},
                     {0, false, true}};

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct cache_stats stats;
                const struct want *want;
                struct fixture f;

                begin(&f);
                f.env.make_room = on_no_room;
                pthread_mutex_lock(&f.torrent->lock);
                assert_int_equal(wishes_change(f.torrent, 0, PRIORITY_NONE, 3), 0);
                f.env.kept_bytes = cases[i].kept;
                pthread_mutex_unlock(&f.torrent->lock);
                fill_all(&f);
                want = wants_find(&f.torrent->wants, 0);
                assert_int_equal(want->filled, 1);
                if (cases[i].begun)
                        block_comes(&f, 0, 1);
                pthread_mutex_lock(&f.torrent->lock);
                (void)wishes_change(f.torrent, 0, 3, PRIORITY_NONE);
                pthread_mutex_unlock(&f.torrent->lock);
                assert_int_equal(want->reserved, cases[i].stays);
                assert_int_equal(want->told, cases[i].stays ? PRIORITY_LEAST : PRIORITY_NONE);
                cache_stats(f.cache, &stats);
                assert_int_equal(stats.used_bytes > 0, cases[i].stays);
                assert_int_equal(f.env.filling_bytes, cases[i].stays ? n_wanted(&f) * PIECE : 0);
                parked_tick(f.torrent, clock_ms());
                assert_int_equal(want->reserved, cases[i].stays);
                f.env.kept_bytes = 0;
                parked_tick(f.torrent, clock_ms());
                assert_true(want->reserved);
                assert_int_equal(f.env.filling_bytes, PIECES * PIECE);
                pthread_mutex_lock(&f.torrent->lock);
                filling_end(f.torrent);
                pthread_mutex_unlock(&f.torrent->lock);
                assert_int_equal(f.env.filling_bytes + f.env.asking_bytes, 0);
                assert_over(&f);
                end(&f);
        }
}

/* Pieces that were begun, and that others than readers want alone, are given up where that is asked
 * for, those first of which nothing came for longest; then they are dropped as others are, and
 * asked for again. Readers' are not. */
static void test_what_was_begun_is_given_up(void **state)
{
        struct fixture f;

        (void)state;
        begin(&f);
        f.env.make_room = on_no_room;
        fill_all(&f);
        fill_all(&f);
        assert_false(room_has_begun(f.torrent));
        assert_int_equal(room_give_up(f.torrent, PIECE), 0);
        block_comes(&f, 3, 300);
        block_comes(&f, 5, 100);
        block_comes(&f, 7, 200);
        block_comes(&f, 9, 50);
        pthread_mutex_lock(&f.torrent->lock);
        assert_int_equal(wishes_change(f.torrent, 9, PRIORITY_NONE, 3), 0);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_true(room_has_begun(f.torrent));
        assert_true(room_is_pending(f.torrent)); /* for who reads piece 9 */
        assert_int_equal(room_give_up(f.torrent, PIECE + 1), 2 * PIECE);
        assert_null(wants_find(&f.torrent->wants, 5));
        assert_null(wants_find(&f.torrent->wants, 7));
        assert_non_null(wants_find(&f.torrent->wants, 3));
        assert_int_equal(f.env.filling_bytes, (PIECES - 2) * PIECE);
        assert_int_equal(room_unfinished(f.torrent), 2 * PIECE);
        room_drop_unfinished(f.torrent);
        assert_int_equal(room_unfinished(f.torrent), 0);
        parked_tick(f.torrent, clock_ms());
        assert_non_null(wants_find(&f.torrent->wants, 5));
        assert_int_equal(room_give_up(f.torrent, PIECES * PIECE), PIECE);
        assert_false(room_has_begun(f.torrent));
        pthread_mutex_lock(&f.torrent->lock);
        filling_end(f.torrent);
        (void)wishes_change(f.torrent, 9, 3, PRIORITY_NONE);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_false(room_is_pending(f.torrent));
        assert_over(&f);
        end(&f);
}

/* So is one that was begun by a block that came late, for a reader that had left it: it has room in
 * the store, which was not given to who fills it. */
static void test_what_came_late_is_given_up(void **state)
{
        struct fixture f;

        (void)state;
        begin(&f);
        f.env.make_room = on_no_room;
        pthread_mutex_lock(&f.torrent->lock);
        assert_int_equal(wishes_change(f.torrent, 4, PRIORITY_NONE, 3), 0);
        pthread_mutex_unlock(&f.torrent->lock);
        fill_all(&f);
        f.env.kept_bytes = UINT64_MAX;
        pthread_mutex_lock(&f.torrent->lock);
        (void)wishes_change(f.torrent, 4, 3, PRIORITY_NONE);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_false(wants_find(&f.torrent->wants, 4)->reserved);
        assert_false(room_has_begun(f.torrent));
        block_comes(&f, 4, 100);
        assert_true(room_has_begun(f.torrent));
        assert_int_equal(room_give_up(f.torrent, PIECE), PIECE);
        assert_null(wants_find(&f.torrent->wants, 4));
        assert_int_equal(room_unfinished(f.torrent), PIECE);
        assert_false(room_has_begun(f.torrent));
        assert_int_equal(f.env.filling_bytes, (PIECES - 1) * PIECE);
        pthread_mutex_lock(&f.torrent->lock);
        filling_end(f.torrent);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_int_equal(f.env.filling_bytes, 0);
        assert_over(&f);
        end(&f);
}

/* A file that is to be fetched goes on being so when it is closed, is named to whoever remembers
 * it, and is forgotten when all of it has come. */
static void test_a_file_is_filled_after_its_close(void **state)
{
        unsigned changes;
        struct fixture f;
        struct handle *h;
        char *text;

        (void)state;
        begin(&f);
        f.torrent->env->fill = FILL_FILE;
        h = open_file(&f);
        read_at(h, 2 * PIECE, 4096);
        arrive(&f, 2);
        pass(&f, 2);
        handle_close(h);
        h = open_file(&f); /* while it is incomplete */
        assert_true(torrent_is_filling(f.torrent));
        assert_true(torrent_is_to_fill(f.torrent));
        text = torrent_files_to_fill(f.torrent);
        assert_string_equal(text, "1");
        /* as after a restart; what is no file of it is forgotten */
        torrent_fill_files(f.torrent, "1 0 1 99 nonsense");
        free(text);
        text = torrent_files_to_fill(f.torrent);
        assert_string_equal(text, "1");
        free(text);
        changes = f.torrent->n_changes;
        assert_true(changes > 0);
        for (uint32_t i = 0; i < PIECES; i++) {
                assert_true(torrent_is_filling(f.torrent));
                assert_int_equal(f.torrent->n_changes, changes);
                if (i == 2)
                        continue;
                assert_non_null(wants_find(&f.torrent->wants, i));
                arrive(&f, i);
                pass(&f, i);
        }
        parked_tick(f.torrent, clock_ms());
        assert_true(f.torrent->n_changes > changes);
        assert_false(torrent_is_filling(f.torrent));
        assert_false(torrent_is_to_fill(f.torrent));
        text = torrent_files_to_fill(f.torrent);
        assert_string_equal(text, "");
        free(text);
        /* who reads on changes nothing of that, unless some of it went */
        changes = f.torrent->n_changes;
        read_at(h, 3 * PIECE, 4096);
        assert_int_equal(f.torrent->n_changes, changes);
        assert_false(torrent_is_filling(f.torrent));
        evict(&f, 20, 0);
        read_at(h, 3 * PIECE, 4096);
        assert_true(torrent_is_filling(f.torrent));
        arrive(&f, 20);
        pass(&f, 20);
        handle_close(h);
        parked_tick(f.torrent, clock_ms());
        assert_over(&f);
        end(&f);
}

/* What an earlier run was to fetch is not fetched by one that is to fetch nothing more, and is
 * remembered. */
static void test_what_was_to_be_filled_is_remembered(void **state)
{
        struct fixture f;
        char *text;

        (void)state;
        begin(&f);
        torrent_fill_files(f.torrent, "1");
        for (int i = 0; i < 2; i++) {
                f.env.fill = i == 0 ? FILL_NONE : FILL_FILE;
                pthread_mutex_lock(&f.torrent->lock);
                filling_begin(f.torrent, NULL); /* as when it has content again */
                pthread_mutex_unlock(&f.torrent->lock);
                assert_int_equal(torrent_is_filling(f.torrent), i);
                assert_int_equal(torrent_is_to_fill(f.torrent), i);
                assert_int_equal(n_wanted(&f), i == 0 ? 0 : PIECES);
                text = torrent_files_to_fill(f.torrent);
                assert_string_equal(text, "1");
                free(text);
        }
        pthread_mutex_lock(&f.torrent->lock);
        filling_end(f.torrent);
        pthread_mutex_unlock(&f.torrent->lock);
        assert_over(&f);
        end(&f);
}

/* A piece of the file goes just before its last one comes: it is fetched again. */
static void test_what_went_last_is_filled_again(void **state)
{
        struct fixture f;

        (void)state;
        begin(&f);
        f.env.fill = FILL_FILE;
        torrent_fill_files(f.torrent, "1");
        for (uint32_t i = 0; i + 1 < PIECES; i++) {
                arrive(&f, i);
                pass(&f, i);
        }
        parked_tick(f.torrent, clock_ms());
        evict(&f, 3, 0);
        arrive(&f, PIECES - 1);
        pass(&f, PIECES - 1);
        parked_tick(f.torrent, clock_ms());
        assert_true(torrent_is_filling(f.torrent));
        assert_non_null(wants_find(&f.torrent->wants, 3));
        arrive(&f, 3);
        pass(&f, 3);
        parked_tick(f.torrent, clock_ms());
        assert_false(torrent_is_to_fill(f.torrent));
        assert_over(&f);
        end(&f);
}

/* ---- asleep ---- */

static unsigned n_wakes;

static void count_wake(struct torrent *t)
{
        (void)t;
        n_wakes++;
}

/* A torrent drops what it holds of its content, and has it back with what was on the disk; who held
 * references goes on with them. */
static void test_asleep_and_awake(void **state)
{
        struct content content, other;
        struct listing *listing;
        struct store *store;
        uint8_t data[4096];
        uint8_t *have;
        size_t len;
        struct fixture f;
        struct handle *h;

        (void)state;
        begin(&f);
        arrive(&f, 3);
        pass(&f, 3);
        h = open_file(&f);
        assert_int_equal(torrent_drop_content(f.torrent, &content), -EBUSY);
        handle_close(h);
        /* with the session, or on its way there */
        assert_int_equal(torrent_drop_content(f.torrent, &content), -EBUSY);
        assert_null(torrent_detach(f.torrent));
        assert_int_equal(f.torrent->state, TORRENT_ASLEEP);
        listing = torrent_listing(f.torrent);
        store = torrent_store(f.torrent);
        assert_int_equal(store_bitmap(store, &have, &len), 0);
        assert_int_equal(torrent_drop_content(f.torrent, &content), 0);
        assert_int_equal(torrent_drop_content(f.torrent, &other), -ENOENT);
        assert_int_equal(f.torrent->state, TORRENT_ASLEEP);
        assert_null(torrent_listing(f.torrent));
        assert_null(torrent_store(f.torrent));
        assert_true(torrent_has_metadata(f.torrent));
        assert_int_equal(torrent_ready(f.torrent), 0);
        assert_int_equal(torrent_have_bytes(f.torrent), PIECE);
        assert_int_equal(handle_open(f.torrent, TREE_ROOT + 1, 1, 0, &h), -EAGAIN);
        assert_int_equal(room_unset(f.torrent, store, 3, ROOM_UNUSED), -ENOENT);
        assert_int_equal(listing->pieces, PIECES);
        assert_int_equal(store_read(store, 3 * PIECE, data, sizeof data), 0);
        /* a wake before it was left is to come again, and costs nothing */
        assert_int_equal(listing_store(listing, f.cache, f.torrent->hex, f.torrent->number, have,
                                       false, &other.store),
                         -EBUSY);
        listing_ref(listing);
        content_leave(&content);
        assert_int_equal(store_read(store, 3 * PIECE, data, sizeof data), -ESTALE);
        assert_int_equal(store_have_bytes(store), PIECE);

        content = (struct content){.listing = listing};
        assert_int_equal(listing_store(listing, f.cache, f.torrent->hex, f.torrent->number, have,
                                       false, &content.store),
                         0);
        assert_int_equal(torrent_set_content(f.torrent, &content), 0);
        assert_int_equal(f.torrent->state, TORRENT_ASLEEP);
        listing_unref(listing);
        store_unref(store); /* that of before */
        h = open_file(&f);
        n_wakes = 0;
        f.torrent->env->wake = count_wake;
        read_at(h, 3 * PIECE, 4096);
        assert_int_equal(n_requests, 0); /* it was there */
        assert_int_equal(n_wakes, 0);
        read_at(h, 4 * PIECE, 4096);
        read_at(h, 5 * PIECE, 4096);
        assert_int_equal(n_wakes, 1); /* for both */
        torrent_woken(f.torrent);
        f.torrent->env->wake = NULL;
        arrive(&f, 5);
        pass(&f, 5);
        arrive(&f, 4);
        pass(&f, 4);
        handle_close(h);
        free(have);
        assert_over(&f);
        assert_null(torrent_end(f.torrent, EIO));
        assert_int_equal(torrent_drop_content(f.torrent, &other), -ENOENT);
        end(&f);
}

/* What is filled does not wake a torrent, and has no room while that sleeps; what is read wakes it,
 * also where it is asked for no more urgently, and then it goes on. */
static void test_a_sleeper_is_not_filled(void **state)
{
        struct cache_stats stats;
        struct fixture f;

        (void)state;
        begin(&f);
        f.env.make_room = on_no_room;
        f.env.wake = count_wake;
        n_wakes = 0;
        fill_all(&f);
        assert_null(torrent_detach(f.torrent));
        assert_int_equal(n_wanted(&f), PIECES); /* it may be back in a moment */
        assert_int_equal(n_wakes, 0);
        pthread_mutex_lock(&f.torrent->lock);
        assert_int_equal(wishes_change(f.torrent, 9, PRIORITY_NONE, PRIORITY_LEAST), 0);
        wishes_tell(f.torrent);
        assert_int_equal(n_wakes, 1);
        (void)wishes_change(f.torrent, 9, PRIORITY_LEAST, PRIORITY_NONE);
        pthread_mutex_unlock(&f.torrent->lock);
        torrent_woken(f.torrent);

        torrent_rest(f.torrent);
        cache_stats(f.cache, &stats);
        assert_int_equal(stats.used_bytes, 0);
        assert_int_equal(f.env.filling_bytes, 0);
        parked_tick(f.torrent, clock_ms());
        fill_all(&f);
        assert_int_equal(n_wanted(&f), 0);
        assert_true(torrent_is_to_fill(f.torrent));
        assert_int_equal(n_wakes, 1);

        torrent_attach(f.torrent, NULL);
        assert_int_equal(n_wanted(&f), PIECES);
        for (uint32_t i = 0; i < PIECES; i++) {
                arrive(&f, i);
                pass(&f, i);
        }
        parked_tick(f.torrent, clock_ms());
        assert_false(torrent_is_to_fill(f.torrent));
        assert_over(&f);
        end(&f);
}

/* What all has come is known to be there while it sleeps, and looked for when some went. */
static void test_a_sleeper_is_to_be_filled_again(void **state)
{
        struct fixture f;

        (void)state;
        begin(&f);
        f.env.fill = FILL_TORRENT;
        for (uint32_t i = 0; i < PIECES; i++) {
                arrive(&f, i);
                pass(&f, i);
        }
        assert_null(torrent_detach(f.torrent));
        fill_all(&f);
        assert_true(f.torrent->filled);
        assert_false(torrent_is_filling(f.torrent));
        assert_false(torrent_is_to_fill(f.torrent));
        evict(&f, 5, 0);
        assert_true(torrent_is_to_fill(f.torrent));
        fill_all(&f); /* as when it has content again */
        assert_true(torrent_is_to_fill(f.torrent));
        parked_tick(f.torrent, clock_ms());
        assert_ptr_equal(f.torrent->fillers, f.torrent->fillers->before); /* one, not two */
        torrent_attach(f.torrent, NULL);
        assert_int_equal(n_wanted(&f), 1);
        arrive(&f, 5);
        pass(&f, 5);
        parked_tick(f.torrent, clock_ms());
        assert_false(torrent_is_to_fill(f.torrent));
        assert_over(&f);
        end(&f);
}

static unsigned n_checks;

static void count_check(struct torrent *t)
{
        (void)t;
        n_checks++;
}

/* A torrent whose pieces 3 to 7 an earlier run claims to have. */
static struct store *claim_pieces(struct fixture *f)
{
        struct content content;
        struct listing *listing;
        uint8_t *have;
        size_t len;

        for (uint32_t i = 3; i < 8; i++) {
                arrive(f, i);
                pass(f, i);
        }
        assert_int_equal(store_bitmap(f->torrent->content.store, &have, &len), 0);
        assert_null(torrent_detach(f->torrent));
        assert_int_equal(torrent_drop_content(f->torrent, &content), 0);
        listing = listing_ref(content.listing);
        content_leave(&content);
        content_leave(&content); /* of nothing */
        content = (struct content){.listing = listing};
        assert_int_equal(listing_store(listing, f->cache, f->torrent->hex, f->torrent->number, have,
                                       true, &content.store),
                         0);
        free(have);
        assert_int_equal(torrent_set_content(f->torrent, &content), 0);
        n_checks = n_wakes = 0;
        f->torrent->env->check = count_check;
        f->torrent->env->wake = count_wake;
        return content.store;
}

/* One that is not right has its room, also while others wait for some, and gives it back when
 * nobody wants it any more. */
static void test_a_wrong_claim_keeps_its_room(void **state)
{
        struct cache_stats before, after;
        struct store *store;
        struct fixture f;

        (void)state;
        begin(&f);
        store = claim_pieces(&f);
        f.env.make_room = on_no_room;
        cache_stats(f.cache, &before);
        pthread_mutex_lock(&f.torrent->lock);
        assert_int_equal(wishes_change(f.torrent, 4, PRIORITY_NONE, 3), 0);
        pthread_mutex_unlock(&f.torrent->lock);
        f.env.short_of_room = true;
        assert_int_equal(store_judge(store, 4, false), 0);
        torrent_claim_failed(f.torrent, 4);
        assert_true(wants_find(&f.torrent->wants, 4)->reserved);
        pthread_mutex_lock(&f.torrent->lock);
        (void)wishes_change(f.torrent, 4, 3, PRIORITY_NONE);
        pthread_mutex_unlock(&f.torrent->lock);
        cache_stats(f.cache, &after);
        assert_true(after.used_bytes <= before.used_bytes - PIECE);
        assert_over(&f);
        end(&f);
}

/* A read waits until they were hashed, those that are waited for come first, one that is not right
 * is asked of the swarm, and nobody checks what is gone. */
static void test_claimed_pieces(void **state)
{
        struct store *store;
        struct fixture f;
        struct handle *h;
        bool waited;

        (void)state;
        begin(&f);
        store = claim_pieces(&f);
        assert_int_equal(torrent_next_claim(f.torrent, &waited), UINT32_MAX); /* for nobody */
        h = open_file(&f);
        assert_int_equal(torrent_next_claim(f.torrent, &waited), 3);
        assert_false(waited);
        read_at(h, 6 * PIECE + 100, 4096);
        assert_int_equal(requests[0].answers, 0);
        assert_true(n_checks > 0);
        assert_int_equal(torrent_next_claim(f.torrent, &waited), 6);
        assert_true(waited);
        assert_int_equal(store_judge(store, 6, true), 0);
        /* between its judging and its passing nobody asks for it again */
        read_at(h, 6 * PIECE, 4096);
        assert_false(wants_find(&f.torrent->wants, 6)->reserved);
        parked_piece_passed(f.torrent, 6);
        assert_int_equal(requests[0].answers, 1);

        read_at(h, 4 * PIECE, 4096);
        assert_int_equal(torrent_next_claim(f.torrent, &waited), 4);
        assert_int_equal(store_judge(store, 4, false), 0);
        n_wakes = 0;
        torrent_woken(f.torrent);
        torrent_claim_failed(f.torrent, 4);
        assert_int_equal(n_wakes, 1); /* the swarm has it */
        f.arrived[4] = f.passed[4] = false;
        arrive(&f, 4);
        pass(&f, 4);

        read_at(h, 5 * PIECE, 4096);
        assert_null(torrent_end(f.torrent, EIO));
        assert_int_equal(torrent_next_claim(f.torrent, &waited), UINT32_MAX);
        handle_close(h);
        f.torrent->env->check = NULL;
        f.torrent->env->wake = NULL;
        assert_over(&f);
        end(&f);
}

struct asking {
        struct torrent *torrent;
        atomic_bool stop;
        atomic_uint seen;
};

static void *ask(void *arg)
{
        struct asking *a = arg;

        while (!atomic_load(&a->stop)) {
                struct listing *l = torrent_listing(a->torrent);
                struct store *s = torrent_store(a->torrent);
                struct handle *h;

                if (l && l->pieces == PIECES && tree_node(l->tree, TREE_ROOT))
                        atomic_fetch_add(&a->seen, 1);
                if (l && handle_open(a->torrent, tree_child(l->tree, TREE_ROOT, 0), 1, 0, &h) == 0)
                        handle_close(h);
                (void)torrent_have_bytes(a->torrent);
                listing_unref(l);
                store_unref(s);
        }
        return NULL;
}

/* Two threads use it all the while. */
static void test_asleep_and_awake_while_others_look(void **state)
{
        struct asking a = {0};
        pthread_t thread[2];
        struct fixture f;
        unsigned slept = 0;

        (void)state;
        begin(&f);
        a.torrent = f.torrent;
        assert_null(torrent_detach(f.torrent));
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&thread[i], NULL, ask, &a), 0);
        while (slept < 200 || atomic_load(&a.seen) < 200) {
                struct content content;

                if (torrent_drop_content(f.torrent, &content) < 0) {
                        (void)sched_yield();
                        continue;
                }
                slept++;
                store_leave(content.store);
                store_unref(content.store);
                assert_int_equal(listing_store(content.listing, f.cache, f.torrent->hex,
                                               f.torrent->number, NULL, false, &content.store),
                                 0);
                assert_int_equal(torrent_set_content(f.torrent, &content), 0);
        }
        atomic_store(&a.stop, true);
        for (unsigned i = 0; i < 2; i++)
                pthread_join(thread[i], NULL);
        assert_over(&f);
        end(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_only_the_read_wants_its_piece),
                cmocka_unit_test(test_a_read_between_arrival_and_passing),
                cmocka_unit_test(test_reads_across_an_arrived_piece),
                cmocka_unit_test(test_the_page_cache_gets_all_or_an_error),
                cmocka_unit_test(test_time_outs_count_by_piece),
                cmocka_unit_test(test_polls_have_no_time_out),
                cmocka_unit_test(test_a_piece_lingers_for_a_read_that_comes_back),
                cmocka_unit_test(test_a_refused_read_leaves_its_wish),
                cmocka_unit_test(test_a_read_waits_for_room),
                cmocka_unit_test(test_a_read_waits_for_what_goes),
                cmocka_unit_test(test_a_poll_hears_of_room),
                cmocka_unit_test(test_what_is_in_use_stays),
                cmocka_unit_test(test_a_reader_comes_back),
                cmocka_unit_test(test_a_reader_comes_back_before_it_has_left),
                cmocka_unit_test(test_a_scan_yields_to_a_player_that_is_short),
                cmocka_unit_test(test_the_page_cache_does_not_yield),
                cmocka_unit_test(test_when_a_scan_does_not_yield),
                cmocka_unit_test(test_what_a_player_needs_soon),
                cmocka_unit_test(test_a_scan_yields_to_one_that_may_play),
                cmocka_unit_test(test_nobody_yields_to_himself),
                cmocka_unit_test(test_what_happens_before_a_read_is_armed),
                cmocka_unit_test(test_an_old_error_fails_no_later_read),
                cmocka_unit_test(test_a_reader_is_where_it_waits_or_was_given),
                cmocka_unit_test(test_a_poll_that_waits_for_room_is_counted_once),
                cmocka_unit_test(test_deadline_for_what_was_not_asked_for),
                cmocka_unit_test(test_a_complete_file_loses_a_piece),
                cmocka_unit_test(test_what_is_read_does_not_go),
                cmocka_unit_test(test_a_piece_goes_before_the_answer),
                cmocka_unit_test(test_an_old_passing_leaves_a_read_waiting),
                cmocka_unit_test(test_what_came_is_not_asked_for_again),
                cmocka_unit_test(test_what_is_filled_does_not_go),
                cmocka_unit_test(test_what_went_is_not_filled),
                cmocka_unit_test(test_what_is_filled_is_refused),
                cmocka_unit_test(test_a_filler_keeps_its_wish),
                cmocka_unit_test(test_two_fillers_yield),
                cmocka_unit_test(test_what_was_begun_is_given_up),
                cmocka_unit_test(test_what_came_late_is_given_up),
                cmocka_unit_test(test_a_readers_room_is_no_fillers),
                cmocka_unit_test(test_a_wrong_claim_keeps_its_room),
                cmocka_unit_test(test_a_file_is_filled_after_its_close),
                cmocka_unit_test(test_what_was_to_be_filled_is_remembered),
                cmocka_unit_test(test_what_went_last_is_filled_again),
                cmocka_unit_test(test_a_sleeper_is_not_filled),
                cmocka_unit_test(test_a_sleeper_is_to_be_filled_again),
                cmocka_unit_test(test_asleep_and_awake),
                cmocka_unit_test(test_claimed_pieces),
                cmocka_unit_test(test_asleep_and_awake_while_others_look),
                cmocka_unit_test(test_random),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
