/* test_session.c: the shim's session: its torrents' coming and going. On loopback; what
 * peers there are the tests play. */
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
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <cmocka.h>

#include "bt.h"

#define N(a) (sizeof(a) / sizeof *(a))

#ifdef __SANITIZE_THREAD__
/* The sanitizer does not see how libtorrent's own library counts who holds what an alert names, be
 * it when the alert is told or when it goes, in await(). */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
        return "race:libtorrent::*alert::message\nrace:^await$\n";
}
#endif

static const struct bt_setting offline[] = {
        {"listen_interfaces", "127.0.0.1:0"},
        {"enable_dht", "0"},
        {"enable_lsd", "0"},
        {"enable_natpmp", "0"},
};

struct user {
        pthread_t last; /* where released came; before it counts */
        atomic_int released;
        atomic_int writes, reads, passed, failed, kept;
        uint32_t written; /* the piece written last */
        bool writable;    /* set before a peer is there */
        bool there;       /* likewise: nothing is written, as the piece is there */
        int unreadable;   /* so many reads fail; disk threads, one piece only */
        int problems;
        struct bt_hash hash;
};

static int on_write(void *user, uint32_t piece, uint32_t offset, const void *data, size_t len)
{
        struct user *u = user;

        (void)offset, (void)data, (void)len;
        u->written = piece;
        atomic_fetch_add(&u->writes, 1);
        return u->there ? 1 : u->writable ? 0 : -EIO;
}

static int on_read(void *user, uint32_t piece, uint32_t offset, void *data, size_t len)
{
        struct user *u = user;

        (void)piece, (void)offset;
        if (atomic_fetch_add(&u->reads, 1) < u->unreadable)
                return -EIO;
        memset(data, u->there, len);
        return 0;
}

static void on_piece(void *user, uint32_t piece)
{
        (void)user, (void)piece;
}

static void on_passed(void *user, uint32_t piece)
{
        struct user *u = user;

        (void)piece;
        atomic_fetch_add(&u->passed, 1);
}

static void on_failed(void *user, uint32_t piece)
{
        (void)piece;
        atomic_fetch_add(&((struct user *)user)->failed, 1);
}

static void on_kept(void *user, uint32_t piece)
{
        (void)piece;
        atomic_fetch_add(&((struct user *)user)->kept, 1);
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
        (void)text;
        ((struct user *)user)->problems++;
}

static void on_log(enum bt_log_level level, const char *text)
{
        (void)level, (void)text;
}

static const struct bt_callbacks callbacks = {
        .write = on_write,
        .read = on_read,
        .piece_passed = on_passed,
        .piece_failed = on_failed,
        .piece_cleared = on_piece,
        .kept = on_kept,
        .released = on_released,
        .metadata = on_metadata,
        .stats = on_stats,
        .problem = on_problem,
        .log = on_log,
};

static struct bt_session *session_with(const struct bt_setting *settings, size_t n)
{
        struct bt_session *s = NULL;
        struct bt_error err = {0};

        if (bt_session_new(&callbacks, settings, n, NULL, 0, &s, &err) != 0)
                fail_msg("%s", err.text);
        return s;
}

static struct bt_session *session(void)
{
        return session_with(offline, N(offline));
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
        u->hash = *bt_source_hash(source);
        bt_source_free(source);
        return t;
}

static struct bt_torrent *add_torrent(struct bt_session *s, const char *torrent, size_t len,
                                      const uint8_t *have, struct user *u)
{
        struct bt_source *source = NULL;
        struct bt_torrent *t = NULL;
        struct bt_error err = {0};

        if (bt_source_from_torrent(torrent, len, &bt_default_limits, false, &source, &err) != 0)
                fail_msg("%s", err.text);
        if (bt_torrent_add(s, source, have, u, &t, &err) != 0)
                fail_msg("%s", err.text);
        u->hash = *bt_source_hash(source);
        bt_source_free(source);
        return t;
}

/* With metadata: four pieces, of which these are there. */
static struct bt_torrent *add_with_pieces(struct bt_session *s, int number, uint8_t have,
                                          struct user *u)
{
        char torrent[256];
        int n = snprintf(torrent, sizeof torrent,
                         "d4:infod6:lengthi65536e4:name6:%06d12:piece lengthi16384e6:pieces80:"
                         "%080dee",
                         number, number);

        return add_torrent(s, torrent, (size_t)n, &have, u);
}

static struct bt_torrent *add_with_piece(struct bt_session *s, int number, struct user *u)
{
        return add_with_pieces(s, number, 1, u);
}

/* The same as version 2, none of it there: four files of a piece each. */
static struct bt_torrent *add_v2(struct bt_session *s, struct user *u)
{
        char torrent[1024];
        size_t n = (size_t)snprintf(torrent, sizeof torrent, "d4:infod9:file treed");

        for (int name = 'a'; name <= 'd'; name++)
                n += (size_t)snprintf(torrent + n, sizeof torrent - n,
                                      "1:%cd0:d6:lengthi16384e11:pieces root32:%032dee", name,
                                      name);
        n += (size_t)snprintf(torrent + n, sizeof torrent - n,
                              "e12:meta versioni2e4:name2:v212:piece lengthi16384ee"
                              "12:piece layersdee");
        return add_torrent(s, torrent, n, NULL, u);
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

enum { THEIR_ID = 2, BATCH = 1000, WAIT_S = 20 };

/* Appends a message of BEP 10 to buf. */
static size_t put_message(char *buf, int id, const char *body)
{
        size_t n = strlen(body) + 2;

        for (int i = 0; i < 4; i++)
                buf[i] = (char)(n >> (24 - 8 * i));
        buf[4] = 20;
        buf[5] = (char)id;
        memcpy(buf + 6, body, n - 2);
        return n + 4;
}

/* A connection to the session for the torrent by that client (BEP 20), with the handshake sent. */
static int dial_unsaid(const char *client, struct bt_session *s, const struct user *u)
{
        static const char head[] = "\x13"
                                   "BitTorrent protocol\0\0\0\0\0\x10\0\0";
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct pollfd p = {.fd = bt_session_event_fd(s), .events = POLLIN};
        struct timeval wait = {.tv_sec = WAIT_S};
        struct bt_session_stats stats = {0};
        int fd = socket(AF_INET, SOCK_STREAM, 0), little = 4096;
        char buf[68] = {0};

        for (int i = 0; i < 1000 && stats.listen_port == 0; i++) {
                poll(&p, 1, 10);
                bt_dispatch(s);
                bt_session_get_stats(s, &stats);
        }
        a.sin_port = htons(stats.listen_port);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
        memcpy(buf, head, 28);
        memcpy(buf + 28, u->hash.has_v1 ? u->hash.v1 : u->hash.v2, 20);
        memset(buf + 48, '0', 20);
        memcpy(buf + 48, client, strlen(client));
        assert_int_equal(send(fd, buf, sizeof buf, MSG_NOSIGNAL), sizeof buf);
        return fd;
}

/* … and the extended handshake (BEP 10). */
static int dial_as(const char *client, struct bt_session *s, const struct user *u)
{
        int fd = dial_unsaid(client, s, u);
        char buf[64];
        size_t n = put_message(buf, 0, "d1:md11:ut_metadatai3eee");

        assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), n);
        return fd;
}

static int dial(struct bt_session *s, const struct user *u)
{
        return dial_as("-SC0100-", s, u);
}

/* The session is closed while its thread still takes torrents out. */
static void removed_and_closed_at_once(void **state)
{
        enum { ROUNDS = 4, TORRENTS = 100 };

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

/* What the disk still has to do when the session ends is done while there is a session. */
static void closed_with_all_its_torrents(void **state)
{
        enum { ROUNDS = 4, TORRENTS = 20, PEERS = 10 };

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct user u[TORRENTS] = {0};
                struct bt_session *s = session();
                int peers[PEERS];
                char c;

                for (int i = 0; i < TORRENTS; i++)
                        (void)add_with_piece(s, i, &u[i]);
                for (int i = 0; i < PEERS; i++)
                        peers[i] = dial(s, &u[i]);
                for (int i = 0; i < PEERS; i++)
                        assert_true(recv(peers[i], &c, 1, 0) == 1);
                assert_int_equal(bt_session_close(s, 10000), 0);
                for (int i = 0; i < TORRENTS; i++)
                        assert_int_equal(u[i].released, 1);
                for (int i = 0; i < PEERS; i++)
                        close(peers[i]);
        }
}

/* A torrent of libtorrent's has timers of the network thread: no thread of the disk may be the last
 * to let go of it. */
static void the_network_thread_lets_go_last(void **state)
{
        enum { TORRENTS = 200 };
        static struct user u[TORRENTS];
        struct bt_torrent *t[TORRENTS];
        struct bt_session *s = session();
        pthread_t network = pthread_self();
        int elsewhere = 0;

        (void)state;
        /* Of a magnet the disk never hears: its end is the network thread's, or this one's where an
         * alert that names it goes last. */
        for (int i = 0; i < 100 && pthread_equal(network, pthread_self()); i++) {
                struct user magnet = {0};

                bt_torrent_remove(add(s, i, &magnet));
                await(s, &magnet.released);
                network = magnet.last;
        }
        assert_false(pthread_equal(network, pthread_self()));
        for (int i = 0; i < TORRENTS; i++)
                t[i] = add_with_piece(s, i, &u[i]);
        for (int i = 0; i < TORRENTS; i++)
                bt_torrent_remove(t[i]);
        for (int i = 0; i < TORRENTS; i++)
                await(s, &u[i].released);
        assert_int_equal(bt_session_close(s, 10000), 0);
        for (int i = 0; i < TORRENTS; i++)
                elsewhere += !pthread_equal(u[i].last, network) &&
                             !pthread_equal(u[i].last, pthread_self());
        assert_int_equal(elsewhere, 0);
}

/* Sends a message so many times; false when the other side has hung up. */
static bool flood(int fd, int id, const char *body, int batches)
{
        static char buf[BATCH * 256];
        size_t n = 0, sent;

        for (int i = 0; i < BATCH; i++)
                n += put_message(buf + n, id, body);
        for (; batches > 0; batches--)
                for (sent = 0; sent < n;) {
                        ssize_t r = send(fd, buf + sent, n - sent, MSG_NOSIGNAL);

                        if (r < 0 && (errno == EPIPE || errno == ECONNRESET))
                                return false;
                        if (r < 0)
                                fail_msg("send: %s", strerror(errno));
                        sent += (size_t)r;
                }
        return true;
}

/* Reads n bytes; false when nothing came in time or the other side has hung up. */
static bool receive(int fd, void *buf, size_t n)
{
        for (size_t got = 0; got < n;) {
                ssize_t r = recv(fd, (char *)buf + got, n - got, 0);

                if (r <= 0)
                        return false;
                got += (size_t)r;
        }
        return true;
}

/* Connects as a seed, and answers requests with zeros until the session has written so many blocks;
 * false when it hangs up before. */
static bool give(struct bt_session *s, const struct user *u, int writes)
{
        enum { REQUEST = 6, PIECE = 7, BLOCK = 16384, BEGINNING = 68 };
        static const char seeds[] = "\0\0\0\2\5\xf0"
                                    "\0\0\0\1\1"; /* bitfield, unchoke */
        static uint8_t buf[13 + BLOCK];
        uint8_t head[4], message[512];
        struct timeval wait = {.tv_usec = 200000}; /* it may stay and ask for nothing */
        int fd = dial(s, u);
        bool there = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) == 0 &&
                     receive(fd, message, BEGINNING) &&
                     send(fd, seeds, sizeof seeds - 1, MSG_NOSIGNAL) > 0;

        while (there && u->writes < writes) {
                size_t n;

                there = receive(fd, head, 4);
                n = (size_t)head[2] << 8 | head[3];
                assert_true(!there || (head[0] == 0 && head[1] == 0 && n <= sizeof message));
                there = there && receive(fd, message, n);
                if (!there || n != 13 || message[0] != REQUEST)
                        continue;
                memcpy(buf, (uint8_t[]){0, 0, (9 + BLOCK) >> 8, (9 + BLOCK) & 255, PIECE}, 5);
                memcpy(buf + 5, message + 1, 8);
                there = send(fd, buf, sizeof buf, MSG_NOSIGNAL) == (ssize_t)sizeof buf;
                /* The disk's thread writes it. */
                for (int i = 0; i < 1000 && there && u->writes < writes; i++)
                        usleep(1000);
        }
        close(fd);
        return there;
}

/* Whatever the reason is for which a block can't be written. */
static void goes_on_after_a_failed_write(void **state)
{
        enum { TRIES = 100 };
        static const struct bt_want want = {.piece = 1, .priority = 7, .urgent = true};
        struct bt_session *s = session();
        struct user u = {0};
        struct bt_torrent *t = add_with_piece(s, 0, &u);

        (void)state;
        bt_torrent_want(t, &want, 1);
        for (int writes = 1; writes < 4; writes++) {
                int tries = 0;

                /* It may not have heard of the failure yet. */
                while (!give(s, &u, writes) && ++tries < TRIES) {
                        usleep(20000);
                        bt_torrent_resume_writes(t);
                }
                if (tries == TRIES)
                        fail_msg("nothing was asked for after %d failed writes", u.writes);
        }
        assert_int_equal(bt_session_close(s, 10000), 0);
}

/* libtorrent would stop the torrent, and ask for the hash no more. Which hashes it wants is known
 * from its first question, so the first piece of a torrent of version 2 is read back for it. */
static void a_hash_is_tried_again_when_its_piece_could_not_be_read(void **state)
{
        static const struct bt_want want = {.piece = 1, .priority = 7, .urgent = true};
        struct bt_session *s = session();
        struct user u = {.writable = true, .unreadable = 2};
        struct bt_torrent *t = add_v2(s, &u);

        (void)state;
        bt_torrent_want(t, &want, 1);
        assert_true(give(s, &u, 1));
        await(s, &u.failed); /* zeros are not what its hash says */
        assert_true(u.reads > u.unreadable);
        assert_int_equal(u.problems, 0);
        assert_int_equal(bt_session_close(s, 10000), 0);
}

static struct bt_torrent *add_zeros(struct bt_session *s, struct user *u);

/* What comes may be right, and what is there go before all of it has come. */
static void what_was_not_written_is_not_hashed(void **state)
{
        static const struct bt_want want = {.piece = 1, .priority = 7, .urgent = true};
        struct bt_session *s = session();
        struct user u = {.there = true};
        struct bt_torrent *t = add_zeros(s, &u);

        (void)state;
        bt_torrent_want(t, &want, 1);
        assert_true(give(s, &u, 1));
        await(s, &u.failed); /* of what is read, which is not zeros */
        assert_int_equal(u.passed, 0);
        assert_true(u.reads > 0);
        assert_int_equal(bt_session_close(s, 10000), 0);
}

/* Reads messages up to one that begins so. */
static bool hears(int fd, const void *message, size_t len)
{
        uint8_t head[4], body[1024];
        size_t n;

        do {
                if (!receive(fd, head, 4))
                        return false;
                n = (size_t)head[2] << 8 | head[3];
                assert_true(head[0] == 0 && head[1] == 0 && n <= sizeof body);
                if (!receive(fd, body, n))
                        return false;
        } while (n < len || memcmp(body, message, len) != 0);
        return true;
}

/* Peers are told so, and asked for it when it is wanted again. */
static void a_piece_that_went_is_missing(void **state)
{
        enum { DONT_HAVE = 9, BEGINNING = 68, TRIES = 100 };
        static const struct bt_want want = {.piece = 0, .priority = 7, .urgent = true};
        static const uint8_t gone[] = {20, DONT_HAVE, 0, 0, 0, 0}; /* BEP 54 */
        static const uint8_t answer[] = {20, 3}; /* of BEP 9, as dial() has said */
        struct bt_session *s = session();
        struct user u = {.writable = true};
        struct bt_torrent *t = add_with_piece(s, 0, &u);
        int fd = dial(s, &u);
        char buf[128], beginning[BEGINNING];
        size_t n = put_message(buf, 0, "d1:md11:lt_donthavei9e11:ut_metadatai3eee");
        int tries = 0;

        (void)state;
        assert_true(receive(fd, beginning, sizeof beginning));
        assert_true(hears(fd, (uint8_t[]){5, 0x80}, 2)); /* the bitfield */
        /* The answer says that the handshake before it has been read. */
        n += put_message(buf + n, THEIR_ID, "d8:msg_typei0e5:piecei0ee");
        assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), n);
        assert_true(hears(fd, answer, sizeof answer));
        bt_torrent_lose(t, 0);
        bt_torrent_lose(t, 0);
        bt_torrent_lose(t, 3); /* was not there */
        assert_true(hears(fd, gone, sizeof gone));
        close(fd);
        bt_torrent_want(t, &want, 1);
        /* It may not have seen yet that the peer before has gone. */
        while (!give(s, &u, 1) && ++tries < TRIES)
                usleep(20000);
        assert_int_equal(u.written, 0);
        assert_true(u.writes > 0);
        assert_int_equal(u.kept, 0);
        assert_int_equal(bt_session_close(s, 10000), 0);
}

/* BEP 10: it cannot be told so before, and has been offered the piece. */
static void who_has_not_said_how_is_told_what_went_meanwhile(void **state)
{
        enum { DONT_HAVE = 9, BEGINNING = 68 };
        static const uint8_t gone[] = {20, DONT_HAVE, 0, 0, 0, 0};
        struct bt_setting settings[N(offline) + 1];
        struct bt_session *s;
        struct user u = {.writable = true};
        struct bt_torrent *t;
        char buf[64], beginning[BEGINNING];
        size_t n = put_message(buf, 0, "d1:md11:lt_donthavei9eee");
        int fds[2];

        (void)state;
        memcpy(settings, offline, sizeof offline);
        settings[N(offline)] = (struct bt_setting){"allow_multiple_connections_per_ip", "1"};
        s = session_with(settings, N(settings));
        t = add_with_piece(s, 0, &u);
        for (int i = 0; i < 2; i++) {
                fds[i] = dial_unsaid(i ? "-SC0100-" : "-SC0200-", s, &u);
                assert_true(receive(fds[i], beginning, sizeof beginning));
                assert_true(hears(fds[i], (uint8_t[]){5, 0x80}, 2)); /* the bitfield */
        }
        assert_int_equal(send(fds[1], buf, n, MSG_NOSIGNAL), n);
        bt_torrent_lose(t, 0);
        assert_true(hears(fds[1], gone, sizeof gone));
        assert_int_equal(send(fds[0], buf, n, MSG_NOSIGNAL), n);
        assert_true(hears(fds[0], gone, sizeof gone));
        close(fds[0]);
        close(fds[1]);
        assert_int_equal(bt_session_close(s, 10000), 0);
}

/* Two of us: while both had a piece, neither was told what became of the other's. */
static void who_loses_a_piece_is_told_whether_it_is_here(void **state)
{
        enum { DONT_HAVE = 9, LT_DONTHAVE = 7, BEGINNING = 68, EXTENDED = 20, HAVE = 4 };
        static const uint8_t gone[] = {EXTENDED, DONT_HAVE, 0, 0, 0, 0};
        static const uint8_t there[] = {HAVE, 0, 0, 0, 0};
        static const uint8_t theirs_went[] = {0, 0, 0, 6, EXTENDED, LT_DONTHAVE, 0, 0, 0, 0};

        (void)state;
        for (int lost = 0; lost < 2; lost++) {
                struct bt_session *s = session();
                struct user u = {.writable = true};
                struct bt_torrent *t = add_with_piece(s, 0, &u);
                int fd = dial(s, &u);
                char buf[128], beginning[BEGINNING];
                size_t n = 0;

                memcpy(buf, "\0\0\0\2\5\x80", 6); /* it has the piece, too */
                n = 6 + put_message(buf + 6, 0, "d1:md11:lt_donthavei9e11:ut_metadatai3eee");
                n += put_message(buf + n, THEIR_ID, "d8:msg_typei0e5:piecei0ee");
                assert_true(receive(fd, beginning, sizeof beginning));
                assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), n);
                assert_true(hears(fd, (uint8_t[]){EXTENDED, 3}, 2));
                if (lost)
                        bt_torrent_lose(t, 0);
                assert_int_equal(send(fd, theirs_went, sizeof theirs_went, MSG_NOSIGNAL),
                                 sizeof theirs_went);
                assert_true(lost ? hears(fd, gone, sizeof gone) : hears(fd, there, sizeof there));
                close(fd);
                assert_int_equal(bt_session_close(s, 10000), 0);
        }
}

/* What somebody says before the session wants something of him, and how often it tells him that it
 * has the piece that he gives. */
struct shower {
        const char *client;
        const char *says;
        size_t len;
        bool redundant; /* libtorrent is set so that it tells everybody */
        int haves;
};

static const char of_it[] = "\0\0\0\5\4\0\0\0\1";
static const char of_all[] = "\0\0\0\5\4\0\0\0\0\0\0\0\5\4\0\0\0\1"
                             "\0\0\0\5\4\0\0\0\2\0\0\0\5\4\0\0\0\3";
static const char none_but_it[] = "\0\0\0\2\5\0\0\0\0\5\4\0\0\0\1";
static const char in_the_beginning[] = "\0\0\0\2\5\x40";
static const char has_all[] = "\0\0\0\2\5\xf0";

/* It has four pieces of zeros, and the first one is there. */
static struct bt_torrent *add_zeros(struct bt_session *s, struct user *u)
{
        static const char sha1[] = "\x89\x72\x56\xb6\x70\x9e\x1a\x4d\xa9\xda"
                                   "\xba\x92\xb6\xbd\xe3\x9c\xcf\xcc\xd8\xc1";
        static const uint8_t have = 1;
        char torrent[256];
        int n = snprintf(torrent, sizeof torrent,
                         "d4:infod6:lengthi65536e4:name5:zeros12:piece lengthi16384e6:pieces80:"
                         "%s%s%s%see",
                         sha1, sha1, sha1, sha1);

        return add_torrent(s, torrent, (size_t)n, &have, u);
}

static void answer_request(int fd, const uint8_t *request)
{
        enum { BLOCK = 16384 };
        static uint8_t buf[13 + BLOCK];

        memcpy(buf, (uint8_t[]){0, 0, (9 + BLOCK) >> 8, (9 + BLOCK) & 255, 7}, 5);
        memcpy(buf + 5, request + 1, 8);
        assert_int_equal(send(fd, buf, sizeof buf, MSG_NOSIGNAL), sizeof buf);
}

/* Gives the piece that it is asked for, and counts what it is told of it up to the answer to what
 * it asks after that. */
static int haves_heard(struct bt_session *s, struct user *u, int fd)
{
        enum { REQUEST = 6, HAVE = 4, EXTENDED = 20, METADATA = 3 };
        static const uint8_t have[] = {HAVE, 0, 0, 0, 1};
        uint8_t head[4], message[512];
        char buf[64];
        int haves = 0;

        for (;;) {
                size_t n;

                assert_true(receive(fd, head, 4));
                n = (size_t)head[2] << 8 | head[3];
                assert_true(head[0] == 0 && head[1] == 0 && n <= sizeof message);
                assert_true(receive(fd, message, n));
                if (n == sizeof have && memcmp(message, have, n) == 0)
                        haves++;
                if (n > 2 && message[0] == EXTENDED && message[1] == METADATA)
                        return haves;
                if (n != 13 || message[0] != REQUEST)
                        continue;
                answer_request(fd, message);
                await(s, &u->passed);
                n = put_message(buf, THEIR_ID, "d8:msg_typei0e5:piecei0ee");
                assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), n);
        }
}

/* BEP 16: else it would show no other one. A seed waits for nothing, and Transmission is not to see
 * that all has been there at some time. */
static void who_shows_its_pieces_one_by_one_is_told_that_they_came(void **state)
{
        enum { DONT_HAVE = 9, BEGINNING = 68 };
        static const struct shower showers[] = {
                {"-SC0100-", of_it, sizeof of_it - 1, false, 1},
                {"-SC0100-", none_but_it, sizeof none_but_it - 1, false, 1},
                {"-SC0100-", of_it, sizeof of_it - 1, true, 1},
                {"-SC0100-", of_all, sizeof of_all - 1, false, 0},
                {"-SC0100-", in_the_beginning, sizeof in_the_beginning - 1, false, 0},
                {"-SC0100-", has_all, sizeof has_all - 1, false, 0},
                {"-TR4060-", of_it, sizeof of_it - 1, false, 0},
        };
        static const uint8_t gone[] = {20, DONT_HAVE, 0, 0, 0, 1}; /* BEP 54 */
        static const struct bt_want want = {.piece = 1, .priority = 7, .urgent = true};
        struct bt_setting settings[N(offline) + 1];

        (void)state;
        memcpy(settings, offline, sizeof offline);
        settings[N(offline)] = (struct bt_setting){"send_redundant_have", "1"};
        for (const struct shower *a = showers; a < showers + N(showers); a++) {
                struct bt_session *s = session_with(settings, N(offline) + a->redundant);
                struct user u = {.writable = true};
                struct bt_torrent *t = add_zeros(s, &u);
                char buf[256], beginning[BEGINNING];
                int fd = dial_as(a->client, s, &u);
                size_t n = a->len;

                assert_true(receive(fd, beginning, sizeof beginning));
                memcpy(buf, a->says, n);
                memcpy(buf + n, "\0\0\0\1\1", 5); /* unchoke */
                n += 5;
                n += put_message(buf + n, 0, "d1:md11:lt_donthavei9e11:ut_metadatai3eee");
                assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), n);
                bt_torrent_want(t, &want, 1);
                assert_int_equal(haves_heard(s, &u, fd), a->haves);
                if (a->haves > 0) {
                        bt_torrent_lose(t, 1);
                        assert_true(hears(fd, gone, sizeof gone));
                }
                close(fd);
                assert_int_equal(bt_session_close(s, 10000), 0);
        }
}

/* libtorrent has nothing by which it could be. */
static void a_piece_of_what_is_complete_is_kept(void **state)
{
        struct bt_session *s = session();
        struct user u = {0};
        struct bt_torrent *t = add_with_pieces(s, 0, 0xf, &u);

        (void)state;
        bt_torrent_lose(t, 2);
        await(s, &u.kept);
        assert_int_equal(u.kept, 1);
        assert_int_equal(bt_session_close(s, 10000), 0);
}

/* What a peer asks for and does not read takes no memory without end. */
static void who_asks_for_blocks_and_reads_none_is_hung_up_on(void **state)
{
        enum { BATCHES = 2000 }; /* answers of some 70 MB */
        struct bt_session *s = session();
        struct user u = {0};
        int fd;

        (void)state;
        (void)add(s, 0, &u);
        fd = dial(s, &u);
        assert_false(flood(fd, THEIR_ID, "d8:msg_typei0e5:piecei7ee", BATCHES));
        close(fd);
        assert_int_equal(bt_session_close(s, 10000), 0);
}

/* One after the other, the blocks of the largest metadata may be asked for without waiting. */
static void who_asks_for_many_blocks_at_once_is_answered(void **state)
{
        enum { BLOCKS = 6 * BATCH };
        struct bt_session *s = session();
        struct user u = {0};
        char buf[4096];
        int fd, rejects = 0;

        (void)state;
        (void)add(s, 0, &u);
        fd = dial(s, &u);
        assert_true(flood(fd, THEIR_ID, "d8:msg_typei0e5:piecei7ee", BLOCKS / BATCH));
        /* each answer ends with "7ee", which nothing else does that the session sends */
        for (int matched = 0; rejects < BLOCKS;) {
                ssize_t r = recv(fd, buf, sizeof buf, 0);

                assert_true(r > 0);
                for (ssize_t i = 0; i < r; i++) {
                        matched = buf[i] == "i7ee"[matched] ? matched + 1 : buf[i] == 'i';
                        if (matched == 4) {
                                rejects++;
                                matched = 0;
                        }
                }
        }
        close(fd);
        assert_int_equal(bt_session_close(s, 10000), 0);
}

/* However often a peer says that its metadata is too large, one complaint waits to be told. */
static void complaints_of_one_torrent_take_no_memory_without_end(void **state)
{
        struct bt_session *s = session();
        struct user u = {0};
        char c;
        int fd;

        (void)state;
        (void)add(s, 0, &u);
        fd = dial(s, &u);
        assert_true(flood(fd, 0, "d1:md11:ut_metadatai3ee13:metadata_sizei99999999999ee", 10));
        /* It hangs up when it has read all. */
        shutdown(fd, SHUT_WR);
        while (recv(fd, &c, 1, 0) > 0)
                ;
        bt_dispatch(s);
        assert_int_equal(u.problems, 1);
        close(fd);
        assert_int_equal(bt_session_close(s, 10000), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(removed_and_closed_at_once),
                cmocka_unit_test(closed_with_all_its_torrents),
                cmocka_unit_test(the_network_thread_lets_go_last),
                cmocka_unit_test(goes_on_after_a_failed_write),
                cmocka_unit_test(a_hash_is_tried_again_when_its_piece_could_not_be_read),
                cmocka_unit_test(what_was_not_written_is_not_hashed),
                cmocka_unit_test(a_piece_that_went_is_missing),
                cmocka_unit_test(who_has_not_said_how_is_told_what_went_meanwhile),
                cmocka_unit_test(who_loses_a_piece_is_told_whether_it_is_here),
                cmocka_unit_test(who_shows_its_pieces_one_by_one_is_told_that_they_came),
                cmocka_unit_test(a_piece_of_what_is_complete_is_kept),
                cmocka_unit_test(who_asks_for_blocks_and_reads_none_is_hung_up_on),
                cmocka_unit_test(who_asks_for_many_blocks_at_once_is_answered),
                cmocka_unit_test(complaints_of_one_torrent_take_no_memory_without_end),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
