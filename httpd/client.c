/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

/* Files open besides those of connections: stderr, listener, eventfds, what the mount is asked in
 * passing. */
enum { FILES_BASE = 128 };
/* A connection has its socket, a file of the mount, and for a moment a directory or two. */
enum { FILES_EACH = 4 };
/* What the kernel may hold for a client, which it counts twice: without a bound it grows to
 * megabytes, read from the swarm on behalf of a player that then jumps elsewhere. */
enum { SEND_BUFFER = 256 << 10 };
/* How often a wait looks at the connection's health. */
enum { WATCH_MS = 1000 };
/* For how long a peer may leave unanswered what it must answer. A zero-window probe is sent at
 * least each LEASE_MS, so the worst case is twice that: within the minute promised. */
enum { LEASE_MS = 29000 };
/* An idle connection is probed by keep-alives instead. */
enum { KEEP_IDLE_S = 20 };
enum { KEEP_INTERVAL_S = 10 };
enum { KEEP_COUNT = 3 };
enum { FLUSH_STEP_MS = 10 };
enum { DRAIN_MS = 2000 };

int client_limit_files(unsigned connections)
{
        struct rlimit limit;
        rlim_t need = FILES_BASE + (rlim_t)connections * FILES_EACH;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return -errno;
        if (limit.rlim_max != RLIM_INFINITY && need > limit.rlim_max) {
                log_warning(
                        "Only %llu of %llu files may be open; expect errors with many clients, or raise the "
                        "hard limit (ulimit -Hn)",
                        (unsigned long long)limit.rlim_max, (unsigned long long)need);
                need = limit.rlim_max;
        }
        limit.rlim_cur = need;
        return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

static void set_option(int fd, int level, int option, unsigned value)
{
        /* These make a vanished peer noticed sooner; a socket that refuses them (as it was just
         * reset) works on. */
        if (setsockopt(fd, level, option, &value, sizeof value) < 0)
                log_debug_errno(-errno, "Socket option %d: %m", option);
}

static bool is_connection(int fd, const struct in_addr *addr, uint16_t remote_port,
                          uint16_t local_port)
{
        struct sockaddr_storage ss = {0};
        const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;
        socklen_t len = sizeof ss;

        if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0 || ss.ss_family != AF_INET ||
            in->sin_port != htons(remote_port) || in->sin_addr.s_addr != addr->s_addr)
                return false;
        len = sizeof ss;
        return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 && ss.ss_family == AF_INET &&
               in->sin_port == htons(local_port);
}

int client_init(struct client *c, const char *remote_addr, uint16_t remote_port,
                uint16_t local_port, int wake_fd, uint64_t stall_ms)
{
        struct in_addr addr;
        long limit = sysconf(_SC_OPEN_MAX);

        if (inet_pton(AF_INET, remote_addr, &addr) != 1)
                return -ENOTCONN;
        /* Every descriptor is below the limit. Peer and own address together name one connection,
         * and it stays open while its handler runs, so the first that matches is the one. */
        for (int fd = STDERR_FILENO + 1; fd < limit; fd++) {
                if (!is_connection(fd, &addr, remote_port, local_port))
                        continue;
                *c = (struct client){.fd = fd, .wake_fd = wake_fd, .stall_ms = stall_ms};
                /* The end of what is there goes out at once: more may take the swarm a while. */
                set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
                set_option(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
                set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
                set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
                set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
                set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
                set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, LEASE_MS);
                c->lease_ms = LEASE_MS;
                return 0;
        }
        return -ENOTCONN;
}

static void set_lease(struct client *c, uint64_t ms)
{
        unsigned lease = ms < INT32_MAX ? (unsigned)ms : INT32_MAX;

        if (lease == c->lease_ms)
                return;
        set_option(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, lease);
        c->lease_ms = lease;
}

/* Tells a paused player from a vanished one. Both leave bytes in our buffer, but the kernel of the
 * paused one still answers zero-window probes. TCP_USER_TIMEOUT doesn't make that difference: it
 * would end both. So it is used as a lease that is prolonged while probes are answered, and left to
 * run out when one isn't. The kernel also never waits longer than the lease before the next probe.
 */
static void watch_peer(struct client *c)
{
        struct tcp_info info = {0};
        socklen_t len = sizeof info;
        uint64_t now = clock_ms();
        int queued = 0;

        if (ioctl(c->fd, SIOCOUTQ, &queued) < 0 ||
            getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
                return;
        if (queued == 0 || queued != c->stuck_bytes) {
                c->stuck_bytes = queued;
                c->stuck_since_ms = now;
        }
        if (queued == 0)
                set_lease(c, LEASE_MS);
        else if (info.tcpi_probes == 0 && info.tcpi_retransmits == 0)
                set_lease(c, now - c->stuck_since_ms + LEASE_MS);
}

/* One poll of the client and of the end of the sidecar, with a third that may be the client too.
 * 1: fd has events, 0: nothing within timeout_ms, else as client_wait(). */
static int watch(struct client *c, int fd, short events, int timeout_ms)
{
        struct pollfd fds[] = {
                {.fd = c->wake_fd, .events = POLLIN},
                {.fd = c->fd, .events = POLLRDHUP},
                {.fd = fd, .events = events},
        };

        if (poll(fds, 3, timeout_ms) < 0)
                return errno == EINTR ? 0 : -errno;
        if (fds[0].revents)
                return CLIENT_STOPPING;
        if (fds[1].revents)
                return CLIENT_GONE;
        if (fds[2].revents & POLLNVAL)
                return -EBADF;
        return fds[2].revents ? 1 : 0;
}

int client_wait(struct client *c, int fd, short events, int64_t timeout_ms)
{
        uint64_t start = clock_ms();

        for (;;) {
                int64_t passed = (int64_t)(clock_ms() - start);
                int64_t left = timeout_ms < 0 ? WATCH_MS : timeout_ms - passed;
                int r;

                r = watch(c, fd, events, left <= 0 ? 0 : left < WATCH_MS ? (int)left : WATCH_MS);
                if (r != 0)
                        return r < 0 ? r : 0;
                if (left <= 0)
                        return -ETIMEDOUT;
                watch_peer(c);
        }
}

int client_send(struct client *c, const void *buf, size_t len)
{
        const char *p = buf;
        uint64_t since = clock_ms();

        while (len > 0) {
                ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
                int r;

                if (n > 0) {
                        p += n;
                        len -= (size_t)n;
                        since = clock_ms();
                        set_lease(c, LEASE_MS);
                        continue;
                }
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
                        return CLIENT_GONE;
                r = watch(c, c->fd, POLLOUT, WATCH_MS);
                if (r < 0)
                        return r;
                if (r > 0)
                        continue;
                if (clock_ms() - since >= c->stall_ms)
                        return CLIENT_STALLED;
                watch_peer(c);
        }
        return 0;
}

int client_flush(struct client *c)
{
        uint64_t since = clock_ms(), watched = since;
        int last = -1, step_ms = FLUSH_STEP_MS;

        for (;;) {
                uint64_t now = clock_ms();
                int queued = 0, r;

                if (ioctl(c->fd, SIOCOUTQ, &queued) < 0)
                        return CLIENT_GONE;
                if (queued == 0)
                        return 0;
                if (queued != last)
                        since = now;
                last = queued;
                if (now - since >= c->stall_ms)
                        return CLIENT_STALLED;
                r = watch(c, -1, 0, step_ms);
                if (r < 0)
                        return r;
                step_ms = step_ms * 2 < WATCH_MS ? step_ms * 2 : WATCH_MS;
                if (now - watched >= WATCH_MS) {
                        watch_peer(c);
                        watched = now;
                }
        }
}

void client_drain(struct client *c)
{
        uint64_t end = clock_ms() + DRAIN_MS;

        shutdown(c->fd, SHUT_WR);
        for (;;) {
                struct pollfd fds[] = {
                        {.fd = c->wake_fd, .events = POLLIN},
                        {.fd = c->fd, .events = POLLIN},
                };
                uint64_t now = clock_ms();
                char scrap[4096];
                ssize_t n;

                if (now >= end || poll(fds, 2, (int)(end - now)) <= 0 || fds[0].revents)
                        return;
                n = recv(c->fd, scrap, sizeof scrap, MSG_DONTWAIT);
                if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                        return;
        }
}
