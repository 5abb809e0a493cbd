/* SPDX-License-Identifier: MIT */
#include "handover.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

/* Accepted connections that may wait for a thread. */
enum { QUEUE_LENGTH = 128 };
/* Requests that civetweb has: those in its queue, one for each thread, one in its master's hands.
 */
enum { TICKETS = 512 };
/* What write_head() may add to a head, and a byte to spare. */
enum { HEAD_GROWTH = 16 };
/* A head is there as a whole; this bounds nothing that happens. */
#define REQUEST_TIMEOUT_MS "10000"

static struct door *door; /* set once, before civetweb starts */
static handover_handle handle_request;
static conn_refuse refuse_request;
static void *request_data;
static atomic_int listener = -1;       /* civetweb's */
static _Thread_local bool is_starting; /* this thread is in mg_start() */

/* A request on its way through civetweb; its index is the address there. */
struct ticket {
        bool is_used;
        struct conn *conn; /* NULL: it was handled, or is */
};

/* Under lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ticket tickets[TICKETS];

/* -1: there is none left. */
static int new_ticket(struct conn *c)
{
        int found = -1;

        pthread_mutex_lock(&lock);
        for (int i = 0; i < TICKETS && found < 0; i++)
                if (!tickets[i].is_used) {
                        tickets[i] = (struct ticket){true, c};
                        found = i;
                }
        pthread_mutex_unlock(&lock);
        return found;
}

/* Takes the request of a ticket, NULL: it was taken before. A connection of civetweb's has its
 * ticket until its end, so that no other request has the same meanwhile. */
static struct conn *use_ticket(uint32_t n, bool is_end)
{
        struct conn *c = NULL;

        pthread_mutex_lock(&lock);
        if (n < TICKETS) {
                c = tickets[n].conn;
                tickets[n] = (struct ticket){.is_used = !is_end};
        }
        pthread_mutex_unlock(&lock);
        return c;
}

static struct conn *conn_of(const struct mg_connection *connection, bool is_end)
{
        struct in_addr address;

        if (inet_pton(AF_INET, mg_get_request_info(connection)->remote_addr, &address) != 1)
                return NULL;
        return use_ticket(ntohl(address.s_addr), is_end);
}

static struct iovec span(const char *text, struct head_span s)
{
        return (struct iovec){.iov_base = (char *)(uintptr_t)(text + s.at), .iov_len = s.length};
}

#define TEXT(s) ((struct iovec){.iov_base = (char *)(uintptr_t)(s), .iov_len = sizeof(s) - 1})

/* Writes the head as civetweb understands it: it refuses methods that it does not know, "*", and a
 * target in absolute-form that is not of its own port. */
static bool write_head(int fd, const struct conn *c)
{
        const struct head *h = &c->head;
        bool needs_slash = h->asterisk || h->target.length == 0 || c->text[h->target.at] != '/';
        struct iovec parts[] = {
                TEXT("GET "),
                needs_slash ? TEXT("/") : TEXT(""),
                h->asterisk ? TEXT("") : span(c->text, h->target),
                h->minor > 0 ? TEXT(" HTTP/1.1\r\n") : TEXT(" HTTP/1.0\r\n"),
                span(c->text, h->fields),
                TEXT("\r\n"),
        };
        enum { COUNT = sizeof parts / sizeof parts[0] };
        size_t sum = 0;

        for (size_t i = 0; i < COUNT; i++)
                sum += parts[i].iov_len;
        return sendmsg(fd, &(struct msghdr){.msg_iov = parts, .msg_iovlen = COUNT},
                       MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sum;
}

/* The end of a pair in which the head lies; -errno. */
static int make_end(const struct conn *c)
{
        _cleanup_close_ int ours = -1;
        int ends[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
                return -errno;
        ours = ends[0];
        if (!write_head(ours, c)) {
                close(ends[1]);
                return -ENOBUFS;
        }
        return ends[1];
}

/* Gives up on a request that has come no further than to accept(). */
static void turn_away(struct conn *c, int ticket)
{
        if (ticket >= 0)
                use_ticket((uint32_t)ticket, true);
        refuse_request(request_data, c, 503, "There is no room for another request");
        door_back(door, c, false, NULL, 0, 0);
}

/* The program's listen() and accept(): what libcivetweb finds under these names, and we as well. */
int listen_any(int fd, int backlog) __asm__("listen");
int accept_any(int fd, struct sockaddr *addr, socklen_t *len) __asm__("accept");

int listen_any(int fd, int backlog)
{
        if (!is_starting)
                return (int)syscall(SYS_listen, fd, backlog);
        atomic_store(&listener, fd);
        return 0;
}

int accept_any(int fd, struct sockaddr *addr, socklen_t *len)
{
        struct sockaddr_in from = {.sin_family = AF_INET};
        int ticket, end = -ENOBUFS;
        struct conn *c;

        if (fd != atomic_load(&listener))
                return accept4(fd, addr, len, 0);
        c = door_next(door);
        errno = EAGAIN;
        if (!c)
                return -1;
        ticket = new_ticket(c);
        if (ticket >= 0)
                end = make_end(c);
        if (end < 0) {
                log_debug_errno(end, "Cannot hand a request over: %m");
                turn_away(c, ticket);
                errno = EAGAIN;
                return -1;
        }
        from.sin_addr.s_addr = htonl((uint32_t)ticket);
        memcpy(addr, &from, sizeof from); /* it has room for a larger one */
        *len = sizeof from;
        return end;
}

static int begin_request(struct mg_connection *connection)
{
        struct conn *c = conn_of(connection, false);

        if (c)
                handle_request(request_data, c, mg_get_request_info(connection));
        return 200; /* for civetweb's log only */
}

/* What civetweb refuses by itself, though the door did not: there is no request then. */
static int refuse_nothing(struct mg_connection *connection, int status, const char *message)
{
        (void)connection;
        log_debug("civetweb refuses a request: %d: %s", status, message);
        return 0;
}

static void end_connection(const struct mg_connection *connection)
{
        struct conn *c = conn_of(connection, true);

        if (!c)
                return;
        refuse_request(request_data, c, 400, "The request is malformed");
        door_back(door, c, false, NULL, 0, 0);
}

static int take_message(const struct mg_connection *connection, const char *message)
{
        (void)connection;
        log_debug("civetweb: %s", message);
        return 1;
}

int handover_start(struct door *d, unsigned threads, handover_handle handle, conn_refuse refuse,
                   void *data)
{
        static const struct mg_callbacks callbacks = {
                .begin_request = begin_request,
                .connection_close = end_connection,
                .http_error = refuse_nothing,
                .log_message = take_message,
        };
        char thread_count[16], queue[16], head_max[16];
        const char *options[] = {
                "listening_ports",
                "127.0.0.1:0",
                "num_threads",
                thread_count,
                "connection_queue",
                queue,
                /* Percent-decoding is ours: civetweb's turns %2F into '/' and ends at %00. */
                "decode_url",
                "no",
                "decode_query_string",
                "no",
                /* Else it answers preflights before we see them, and allows everybody. */
                "access_control_allow_methods",
                "",
                "access_control_allow_origin",
                "",
                "enable_auth_domain_check",
                "no",
                "enable_directory_listing",
                "no",
                "enable_keep_alive",
                "no",
                "request_timeout_ms",
                REQUEST_TIMEOUT_MS,
                "max_request_size",
                head_max,
                NULL,
        };
        struct mg_context *civetweb;
        int fd;

        door = d;
        handle_request = handle;
        refuse_request = refuse;
        request_data = data;
        snprintf(thread_count, sizeof thread_count, "%u", threads);
        snprintf(queue, sizeof queue, "%d", QUEUE_LENGTH);
        snprintf(head_max, sizeof head_max, "%d", HEAD_MAX + HEAD_GROWTH);
        mg_init_library(MG_FEATURES_DEFAULT);
        errno = 0;
        is_starting = true;
        /* Not mg_start2(): version 1.15 writes through the error code's pointer after nulling it.
         */
        civetweb = mg_start(&callbacks, data, options);
        is_starting = false;
        if (!civetweb)
                return errno > 0 ? -errno : -EAGAIN;
        /* From now on its listening socket is readable when the door has a request. */
        fd = atomic_load(&listener);
        if (fd < 0)
                return -ENOTSUP; /* it has found another listen() than ours */
        return dup3(door_ready_fd(d), fd, O_CLOEXEC) < 0 ? -errno : 0;
}
