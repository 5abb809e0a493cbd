/* test_session.c: the shim's session: its torrents' coming and going. On loopback, without peers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <pthread.h>
#include <cmocka.h>

#include "bt.h"

#define N(a) (sizeof(a) / sizeof *(a))

static const struct bt_setting offline[] = {
        {"listen_interfaces", "127.0.0.1:0"},
        {"enable_dht", "0"},
        {"enable_lsd", "0"},
        {"enable_natpmp", "0"},
};

struct user {
        pthread_t last; /* where released came; before it counts */
        atomic_int released;
};

static int on_write(void *user, uint32_t piece, uint32_t offset, const void *data, size_t len)
{
        (void)user, (void)piece, (void)offset, (void)data, (void)len;
        return -EIO;
}

static int on_read(void *user, uint32_t piece, uint32_t offset, void *data, size_t len)
{
        (void)user, (void)piece, (void)offset, (void)data, (void)len;
        return -EIO;
}

static void on_piece(void *user, uint32_t piece)
{
        (void)user, (void)piece;
}

static void on_released(void *user)
{
        struct user *u = user;

        u->last = pthread_self();
        atomic_fetch_add(&u->released, 1);
}

static void on_metadata(void *user, struct bt_meta *meta, const struct bt_error *err)
{
        (void)user, (void)meta, (void)err;
}

static void on_stats(void *user, const struct bt_stats *stats)
{
        (void)user, (void)stats;
}

static void on_problem(void *user, const char *text)
{
        (void)user, (void)text;
}

static void on_log(enum bt_log_level level, const char *text)
{
        (void)level, (void)text;
}

static const struct bt_callbacks callbacks = {
        .write = on_write,
        .read = on_read,
        .piece_passed = on_piece,
        .piece_failed = on_piece,
        .piece_cleared = on_piece,
        .released = on_released,
        .metadata = on_metadata,
        .stats = on_stats,
        .problem = on_problem,
        .log = on_log,
};

static struct bt_session *session(void)
{
        struct bt_session *s = NULL;
        struct bt_error err = {0};

        if (bt_session_new(&callbacks, offline, N(offline), NULL, 0, &s, &err) != 0)
                fail_msg("%s", err.text);
        return s;
}

static struct bt_torrent *add(struct bt_session *s, int number, struct user *u)
{
        char magnet[41];
        struct bt_source *source = NULL;
        struct bt_torrent *t = NULL;
        struct bt_error err = {0};

        snprintf(magnet, sizeof magnet, "%040x", (unsigned)number + 1);
        assert_int_equal(bt_source_from_magnet(magnet, strlen(magnet), false, &source, &err), 0);
        if (bt_torrent_add(s, source, NULL, u, &t, &err) != 0)
                fail_msg("%s", err.text);
        bt_source_free(source);
        return t;
}

/* With metadata: four pieces, of which the first is there. */
static struct bt_torrent *add_with_piece(struct bt_session *s, int number, struct user *u)
{
        static const uint8_t have[] = {1};
        char torrent[256];
        struct bt_source *source = NULL;
        struct bt_torrent *t = NULL;
        struct bt_error err = {0};
        int n = snprintf(torrent, sizeof torrent,
                         "d4:infod6:lengthi65536e4:name6:%06d12:piece lengthi16384e6:pieces80:"
                         "%080dee",
                         number, number);

        assert_int_equal(
                bt_source_from_torrent(torrent, (size_t)n, &bt_default_limits, &source, &err), 0);
        if (bt_torrent_add(s, source, have, u, &t, &err) != 0)
                fail_msg("%s", err.text);
        bt_source_free(source);
        return t;
}

/* Dispatches until *count is not 0. */
static void await(struct bt_session *s, atomic_int *count)
{
        struct pollfd p = {.fd = bt_session_event_fd(s), .events = POLLIN};

        for (int i = 0; i < 1000 && *count == 0; i++) {
                poll(&p, 1, 10);
                bt_dispatch(s);
        }
        assert_true(*count > 0);
}

/* The session is closed while its thread still takes torrents out. */
static void removed_and_closed_at_once(void **state)
{
        enum { ROUNDS = 20, TORRENTS = 100 };

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct user u[TORRENTS] = {0};
                struct bt_torrent *t[TORRENTS];
                struct bt_session *s = session();

                for (int i = 0; i < TORRENTS; i++)
                        t[i] = i % 2 ? add(s, i, &u[i]) : add_with_piece(s, i, &u[i]);
                for (int i = 0; i < TORRENTS; i++)
                        bt_torrent_remove(t[i]);
                assert_int_equal(bt_session_close(s, 10000), 0);
                for (int i = 0; i < TORRENTS; i++)
                        assert_int_equal(u[i].released, 1);
        }
}

/* A torrent of libtorrent's has timers of the network thread: no other thread may be the last to
 * let go of it while that thread runs. */
static void the_network_thread_lets_go_last(void **state)
{
        enum { TORRENTS = 200 };
        static struct user u[TORRENTS];
        struct bt_torrent *t[TORRENTS];
        struct bt_session *s = session();
        struct user nothing = {0}; /* a magnet: the disk never hears of it */
        int elsewhere = 0;

        (void)state;
        bt_torrent_remove(add(s, 0, &nothing));
        await(s, &nothing.released);
        for (int i = 0; i < TORRENTS; i++)
                t[i] = add_with_piece(s, i, &u[i]);
        for (int i = 0; i < TORRENTS; i++)
                bt_torrent_remove(t[i]);
        for (int i = 0; i < TORRENTS; i++)
                await(s, &u[i].released);
        assert_int_equal(bt_session_close(s, 10000), 0);
        for (int i = 0; i < TORRENTS; i++)
                elsewhere += !pthread_equal(u[i].last, nothing.last);
        assert_int_equal(elsewhere, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(removed_and_closed_at_once),
                cmocka_unit_test(the_network_thread_lets_go_last),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
