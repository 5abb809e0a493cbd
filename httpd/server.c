/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "api.h"
#include "capacity.h"
#include "client.h"
#include "request.h"
#include "routes.h"

/* Accepted connections that may wait for a thread. */
#define QUEUE_LENGTH "128"
/* How long civetweb waits for a head, and for a next byte of a body. Each connection holds a thread
 * meanwhile. */
#define REQUEST_TIMEOUT_MS "10000"
/* civetweb's thread that accepts connections. */
enum { MASTER_THREADS = 1 };
/* Threads that others of the same bound may want later: the session, --on-event. */
enum { SPARE_THREADS = 8 };
/* How long the answer to our own first request may take. */
enum { ASK_S = 5 };
/* The whole head: a magnet with a hundred trackers is in it. */
#define HEAD_MAX "65536"

/* What civetweb said first while it started: the only place where it tells why it could not. Under
 * the lock. */
static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static char start_message[256];

bool slots_take(struct slots *s)
{
        unsigned used = atomic_load(&s->used);

        while (used < s->limit)
                if (atomic_compare_exchange_weak(&s->used, &used, used + 1))
                        return true;
        return false;
}

void slots_give(struct slots *s)
{
        atomic_fetch_sub(&s->used, 1);
}

static int init_request(struct request *rq, struct mg_connection *connection)
{
        struct server *s = mg_get_user_data(mg_get_context(connection));
        const struct mg_request_info *info = mg_get_request_info(connection);

        *rq = (struct request){
                .server = s,
                .connection = connection,
                .method = info->request_method ? info->request_method : "-",
                .minor = info->http_version && strcmp(info->http_version, "1.0") == 0 ? 0 : 1,
                .port = (uint16_t)info->server_port,
                .content_length = info->content_length,
                .path = info->local_uri_raw ? info->local_uri_raw : "-",
                .query = info->query_string,
        };
        rq->head = strcmp(rq->method, "HEAD") == 0;
        for (int i = 0; i < info->num_headers && i < REQUEST_FIELDS_MAX; i++)
                rq->fields[rq->field_count++] = (struct request_field){
                        .name = info->http_headers[i].name, .value = info->http_headers[i].value};
        return client_init(&rq->client, info->remote_addr, (uint16_t)info->remote_port,
                           (uint16_t)info->server_port, s->wake_fd, s->client_timeout_ms);
}

/* Called for every request that civetweb could read, before it looks at it itself. */
static int handle(struct mg_connection *connection)
{
        struct request rq;
        int r, status;

        r = init_request(&rq, connection);
        if (r < 0) {
                log_debug_errno(r, "A client left before its request was handled: %m");
                return 499; /* for civetweb's log only: nobody is there */
        }
        atomic_fetch_add(&rq.server->active, 1);
        status = routes_dispatch(&rq);
        atomic_fetch_sub(&rq.server->active, 1);
        return status;
}

/* Called for what civetweb refuses by itself: there is no request then, only a connection. */
static int handle_error(struct mg_connection *connection, int status, const char *message)
{
        struct request rq;

        if (init_request(&rq, connection) < 0)
                return 0;
        rq.field_count = 0;
        rq.method = rq.path = "-";
        rq.head = false;
        if (status == 413) /* it means the head; RFC 6585 §5 */
                status = 431;
        api_problem(&rq, status, NULL, "%s", message);
        client_drain(&rq.client);
        return 0;
}

static int handle_log(const struct mg_connection *connection, const char *message)
{
        (void)connection;
        pthread_mutex_lock(&start_lock);
        if (start_message[0] == '\0')
                snprintf(start_message, sizeof start_message, "%s", message);
        pthread_mutex_unlock(&start_lock);
        log_debug("civetweb: %s", message);
        return 1;
}

static int start_civetweb(struct server *s, const char *port, const char *threads)
{
        static const struct mg_callbacks callbacks = {
                .begin_request = handle,
                .http_error = handle_error,
                .log_message = handle_log,
        };
        const char *options[] = {
                "listening_ports",
                port,
                "num_threads",
                threads,
                "connection_queue",
                QUEUE_LENGTH,
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
                "tcp_nodelay",
                "1",
                "request_timeout_ms",
                REQUEST_TIMEOUT_MS,
                "max_request_size",
                HEAD_MAX,
                NULL,
        };
        struct mg_server_port ports[1];

        mg_init_library(MG_FEATURES_DEFAULT);
        errno = 0;
        /* Not mg_start2(): version 1.15 writes through the error code's pointer after nulling it.
         */
        s->civetweb = mg_start(&callbacks, s, options);
        if (!s->civetweb)
                return errno > 0 ? -errno : -EADDRINUSE;
        if (mg_get_server_ports(s->civetweb, 1, ports) != 1)
                return -EADDRNOTAVAIL;
        s->port = (uint16_t)ports[0].port;
        return 0;
}

/* Shares n threads out: some for the API, some for requests that wait, most for streams. */
static void share_threads(struct server *s, unsigned n)
{
        unsigned api = n / 4, waits;

        if (api < 1)
                api = 1;
        if (api > SERVER_API_THREADS)
                api = SERVER_API_THREADS;
        waits = (n - api) / 4;
        if (waits < 1)
                waits = 1;
        if (waits > s->waits.limit)
                waits = s->waits.limit;
        s->waits.limit = waits;
        s->streams.limit = n - api - waits;
}

/* How many threads civetweb may have; 0: too few to serve. Fewer than wanted are shared out anew.
 */
static unsigned plan_threads(struct server *s)
{
        unsigned wanted = s->streams.limit + s->waits.limit + SERVER_API_THREADS;
        unsigned there = capacity_threads(wanted + MASTER_THREADS + SPARE_THREADS), n;

        if (there >= wanted + MASTER_THREADS + SPARE_THREADS)
                return wanted;
        if (there < SERVER_THREADS_MIN + MASTER_THREADS)
                return 0;
        n = there - MASTER_THREADS;
        n = n < SERVER_THREADS_MIN + SPARE_THREADS ? SERVER_THREADS_MIN : n - SPARE_THREADS;
        share_threads(s, n);
        log_warning("Only %u more threads can be made (pids.max, ulimit -u or ulimit -v); streams "
                    "at the same time: %u",
                    there, s->streams.limit);
        return n;
}

/* Sends ourselves a request: that the port takes connections does not say that a thread does. */
static int ask_myself(const struct server *s)
{
        static const char beginning[] = "HTTP/1.1 ";
        const struct timeval limit = {.tv_sec = ASK_S};
        const struct sockaddr_in to = {.sin_family = AF_INET,
                                       .sin_port = htons(s->port),
                                       .sin_addr.s_addr = htonl(s->address)};
        char request[96], answer[sizeof beginning - 1];
        _cleanup_close_ int fd = -1;
        int n;

        n = snprintf(request, sizeof request, "HEAD / HTTP/1.1\r\nHost: localhost:%u\r\n\r\n",
                     s->port);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
            connect(fd, (const struct sockaddr *)&to, sizeof to) < 0 ||
            send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
                return -errno;
        errno = ENODATA;
        if (recv(fd, answer, sizeof answer, MSG_WAITALL) != (ssize_t)sizeof answer)
                return -errno;
        return memcmp(answer, beginning, sizeof answer) == 0 ? 0 : -EBADMSG;
}

static int refuse(char **ret_reason, const char *reason)
{
        if (ret_reason)
                *ret_reason = strdup(reason);
        return -EAGAIN;
}

int server_start(struct server *s, char **ret_reason)
{
        struct in_addr address = {.s_addr = htonl(s->address)};
        char text[INET_ADDRSTRLEN], port[INET_ADDRSTRLEN + 8], thread_count[16];
        unsigned threads = plan_threads(s);
        int r;

        if (threads == 0)
                return refuse(ret_reason,
                              "there is no room for its threads; raise pids.max, ulimit -u or "
                              "ulimit -v, whichever is low");
        r = client_limit_files(threads);
        if (r < 0)
                log_warning_errno(r, "Cannot set how many files may be open: %m");
        inet_ntop(AF_INET, &address, text, sizeof text);
        snprintf(port, sizeof port, "%s:%u", text, s->port);
        snprintf(thread_count, sizeof thread_count, "%u", threads);
        r = start_civetweb(s, port, thread_count);
        if (r < 0 && ret_reason) {
                pthread_mutex_lock(&start_lock);
                *ret_reason = strdup(start_message);
                pthread_mutex_unlock(&start_lock);
        }
        if (r < 0)
                return r;
        r = ask_myself(s);
        if (r < 0) {
                log_debug_errno(r, "Asked myself: %m");
                return refuse(ret_reason, "its threads don't answer; something else has taken the "
                                          "room for them (pids.max, ulimit -u or ulimit -v)");
        }
        return 0;
}

void server_stop(struct server *s, unsigned timeout_ms)
{
        static const struct timespec step = {.tv_nsec = 5000000};
        static const uint64_t one = 1;
        uint64_t end = clock_ms() + timeout_ms;

        atomic_store(&s->stopping, true);
        if (write(s->wake_fd, &one, sizeof one) < 0)
                log_error_errno(-errno, "Cannot wake the requests that wait: %m");
        while (atomic_load(&s->active) > 0 && clock_ms() < end)
                nanosleep(&step, NULL);
}
