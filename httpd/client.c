/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"

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
/* A FIN that comes so soon after the request, and before anything was sent, belongs to it: the
 * client ended its direction. If it has left instead, the first bytes sent will tell. Until then
 * it has a place: so long after its FIN it is taken to have left if others want that. */
enum { HALF_CLOSE_MS = 250, DOUBT_MS = 700 };

static void set_option(int fd, int level, int option, unsigned value)
{
        /* These make a vanished peer noticed sooner; a socket that refuses them (as it was just
         * reset) works on. */
        if (setsockopt(fd, level, option, &value, sizeof value) < 0)
                log_debug_errno(-errno, "Socket option %d: %m", option);
}

void client_set_options(int listener)
{
        /* The end of what is there goes out at once: more may take the swarm a while. */
        set_option(listener, IPPROTO_TCP, TCP_NODELAY, 1);
        set_option(listener, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
        set_option(listener, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(listener, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
        set_option(listener, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
        set_option(listener, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
        set_option(listener, IPPROTO_TCP, TCP_USER_TIMEOUT, LEASE_MS);
}

void client_init(struct client *c, int fd, int wake_fd, uint64_t stall_ms, uint64_t began_ms)
{
        *c = (struct client){.fd = fd,
                             .wake_fd = wake_fd,
                             .stall_ms = stall_ms,
                             .began_ms = began_ms,
                             .lease_ms = LEASE_MS};
}

static void set_lease(struct client *c, uint64_t ms)
{
        unsigned lease = ms < INT32_MAX ? (unsigned)ms : INT32_MAX;

        if (lease == c->lease_ms)
                return;
        set_option(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, lease);
        c->lease_ms = lease;
}

void client_done(struct client *c)
{
        set_lease(c, LEASE_MS);
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

int client_send_some(struct client *c, const void *buf, size_t len, size_t *ret_sent)
{
        ssize_t n;

        do
                n = send(c->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
                return CLIENT_GONE;
        *ret_sent = n > 0 ? (size_t)n : 0;
        c->sent_bytes += *ret_sent;
        return 0;
}

static int queued_bytes(const struct client *c)
{
        int queued = 0;

        return ioctl(c->fd, SIOCOUTQ, &queued) < 0 ? 0 : queued;
}

/* Takes note of a FIN. False: with it the client has left. */
static bool may_listen(struct client *c)
{
        size_t sent;

        if (queued_bytes(c) > 0)
                c->has_ended = true;
        else if (c->probe)
                c->has_ended = client_send_some(c, c->probe, strlen(c->probe), &sent) == 0;
        else
                c->has_ended = c->sent_bytes == 0 && clock_ms() - c->began_ms < HALF_CLOSE_MS;
        if (c->has_ended && c->sent_bytes == 0)
                c->doubt_ms = clock_ms() + DOUBT_MS;
        return c->has_ended;
}

/* Milliseconds until a client that has ended its direction is taken to have left; UINT64_MAX: it is
 * not. */
static uint64_t doubt_left(const struct client *c)
{
        uint64_t now = clock_ms();

        if (c->doubt_ms == 0 || c->sent_bytes > 0 || !c->wanted_ms ||
            atomic_load(c->wanted_ms) < c->began_ms)
                return UINT64_MAX;
        return c->doubt_ms > now ? c->doubt_ms - now : 0;
}

/* One poll of the client and of the end of the sidecar, with a third that may be the client too.
 * 1: fd has events, 0: nothing within timeout_ms, else as client_wait(). */
static int watch(struct client *c, int fd, short events, int timeout_ms)
{
        struct pollfd fds[] = {
                {.fd = c->wake_fd, .events = POLLIN},
                {.fd = c->fd, .events = c->has_ended ? 0 : POLLRDHUP},
                {.fd = fd, .events = events},
        };
        uint64_t doubt = doubt_left(c);

        if (doubt == 0)
                return CLIENT_GONE;
        if (doubt < (uint64_t)timeout_ms)
                timeout_ms = (int)doubt;
        if (poll(fds, 3, timeout_ms) < 0)
                return errno == EINTR ? 0 : -errno;
        if (fds[0].revents)
                return CLIENT_STOPPING;
        if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL))
                return CLIENT_GONE;
        if (fds[1].revents && !may_listen(c))
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

/* What follows tells whether a client that sent a FIN is still there; so a FIN before it is noted
 * now. */
static void note_end(struct client *c)
{
        struct pollfd fd = {.fd = c->fd, .events = POLLRDHUP};

        if (!c->has_ended && poll(&fd, 1, 0) > 0 && fd.revents & POLLRDHUP)
                c->has_ended = true;
}

int client_send(struct client *c, const void *buf, size_t len)
{
        const char *p = buf;
        uint64_t since = clock_ms();

        note_end(c);
        while (len > 0) {
                size_t n;
                int r = client_send_some(c, p, len, &n);

                if (r < 0)
                        return r;
                if (n > 0) {
                        p += n;
                        len -= n;
                        since = clock_ms();
                        set_lease(c, LEASE_MS);
                        continue;
                }
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
