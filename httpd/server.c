/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <civetweb.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "api.h"
#include "aside.h"
#include "capacity.h"
#include "client.h"
#include "door.h"
#include "handover.h"
#include "request.h"
#include "routes.h"

/* civetweb's that hands requests to the others, and the door's. */
enum { OTHER_THREADS = 2 };
/* Threads that others of the same bound may want later: the session, --on-event. */
enum { SPARE_THREADS = 8 };
/* How long the answer to our own first request may take. */
enum { ASK_MS = 5000 };
/* Files open besides those of connections: stderr, sockets, eventfds, what the mount is asked in
 * passing. */
enum { FILES_BASE = 512 };
/* What a request that waits or streams has open at most besides its connection: a file of the
 * mount, and for a moment a directory or two. */
enum { FILES_EACH = 3 };
/* Connections, as far as there may be so many files. */
enum { CONNECTIONS_MAX = 16384 };
enum { CONNECTIONS_MIN = 64 };

bool slots_take(struct slots *s)
{
        unsigned used = atomic_load(&s->used);

        if ((used + 1) * 2 > s->limit)
                atomic_store(&s->wanted_ms, clock_ms());
        while (used < s->limit)
                if (atomic_compare_exchange_weak(&s->used, &used, used + 1))
                        return true;
        return false;
}

void slots_give(struct slots *s)
{
        atomic_fetch_sub(&s->used, 1);
}

/* Copies a string to the end of what is in rq->text. */
static const char *keep_bytes(char **at, const char *s, size_t len)
{
        char *kept = memcpy(*at, s, len);

        kept[len] = '\0';
        *at += len + 1;
        return kept;
}

static const char *keep(char **at, const char *s)
{
        return keep_bytes(at, s, strlen(s));
}

/* How much keep() needs for all of a request. */
static size_t text_bytes(const struct conn *c, const struct mg_request_info *info)
{
        size_t n = c->head.method.length + c->head.authority.length + 2 +
                   strlen(info->local_uri_raw) + sizeof "*";

        if (info->query_string)
                n += strlen(info->query_string) + 1;
        for (int i = 0; i < info->num_headers; i++)
                n += strlen(info->http_headers[i].name) + strlen(info->http_headers[i].value) + 2;
        return n;
}

/* A value without the white space behind it, which civetweb leaves there. */
static const char *keep_value(char **at, const char *s)
{
        size_t len = strlen(s);

        while (len > 0 && s[len - 1] == ' ')
                len--;
        return keep_bytes(at, s, len);
}

static void take_fields(struct request *rq, char **at, const struct mg_request_info *info,
                        const char *authority)
{
        bool has_host = false;

        for (int i = 0; i < info->num_headers && i < HEAD_FIELDS_MAX; i++) {
                const struct mg_header *h = &info->http_headers[i];
                bool is_host = authority && strcasecmp(h->name, "Host") == 0;

                rq->fields[rq->field_count++] = (struct request_field){
                        .name = keep(at, h->name),
                        .value = is_host ? authority : keep_value(at, h->value),
                };
                has_host = has_host || is_host;
        }
        /* RFC 9112 §3.2.2; HTTP/1.0 may come without Host, and then has room for one. */
        if (authority && !has_host)
                rq->fields[rq->field_count++] =
                        (struct request_field){.name = "Host", .value = authority};
}

/* A request as civetweb has read it; nothing of it is civetweb's. NULL: there is no memory. */
static struct request *new_request(struct server *s, struct conn *c,
                                   const struct mg_request_info *info)
{
        const struct head_span *authority = &c->head.authority;
        struct request *rq = calloc(1, sizeof *rq);
        char *text = rq ? malloc(text_bytes(c, info)) : NULL, *at = text;
        const char *host = NULL;

        if (!text) {
                free(rq);
                return NULL;
        }
        if (authority->length > 0)
                host = keep_bytes(&at, c->text + authority->at, authority->length);
        *rq = (struct request){
                .server = s,
                .conn = c,
                .text = text,
                .method = keep_bytes(&at, c->text + c->head.method.at, c->head.method.length),
                .minor = c->head.minor,
                .port = s->port,
                .path = keep(&at, c->head.asterisk ? "*" : info->local_uri_raw),
                .query = info->query_string ? keep(&at, info->query_string) : NULL,
                .head_facts = c->head,
                .body_read = c->head.body == HEAD_NO_BODY ||
                             (c->head.body == HEAD_LENGTH && c->head.content_length == 0),
                .persists = c->head.persists,
        };
        rq->head = strcmp(rq->method, "HEAD") == 0;
        take_fields(rq, &at, info, host);
        client_init(&rq->client, c->fd, s->wake_fd, s->client_timeout_ms, c->whole_ms);
        if (rq->minor > 0)
                rq->client.probe = request_go_on;
        return rq;
}

/* Called by the door for what is no request. */
static void refuse_request(void *data, struct conn *c, int status, const char *reason)
{
        struct request rq = {.server = data, .conn = c, .method = "-", .path = "-"};

        client_init(&rq.client, c->fd, rq.server->wake_fd, 0, clock_ms());
        api_problem(&rq, status, status == 503 ? API_RETRY_SOON : NULL, "%s", reason);
        free(rq.rest);
}

/* Called in a thread of civetweb's. */
static void handle(void *data, struct conn *c, const struct mg_request_info *info)
{
        struct server *s = data;
        struct request *rq = new_request(s, c, info);

        if (!rq) {
                refuse_request(s, c, 503, "There is not enough memory");
                door_back(s->door, c, false, NULL, 0, 0);
                return;
        }
        atomic_fetch_add(&s->active, 1);
        if (routes_dispatch(rq) != ROUTES_ASIDE)
                server_end(rq);
}

int server_aside(struct request *rq, void (*run)(void *data), void *data)
{
        int r;

        rq->aside = true;
        r = aside_run(run, data);
        if (r < 0)
                rq->aside = false;
        return r;
}

void server_end(struct request *rq)
{
        struct server *s = rq->server;
        bool is_whole = rq->answered && rq->body_read &&
                        rq->client.sent_bytes + rq->rest_bytes == rq->answer_end;

        client_done(&rq->client);
        door_back(s->door, rq->conn, rq->persists && is_whole, rq->rest, rq->rest_at,
                  rq->rest_bytes);
        free(rq->text);
        free(rq);
        atomic_fetch_sub(&s->active, 1);
}

static unsigned within(unsigned n, unsigned least, unsigned most)
{
        return n < least ? least : n > most ? most : n;
}

/* Shares n threads out: some for the API, some for requests that wait and for listeners, most for
 * streams. With two there is one thread for all that takes long. Returns how many are the API's.
 */
static unsigned share_threads(struct server *s, unsigned n)
{
        unsigned api = within(n / 4, 1, SERVER_API_THREADS), left = n - api, taken;

        s->waits.limit = within(left / 4, 1, s->waits.limit);
        s->bodies.limit = within(left / 8, 1, s->bodies.limit);
        s->listeners.limit = within(left / 8, 0, s->listeners.limit);
        taken = s->waits.limit + s->bodies.limit + s->listeners.limit;
        s->streams.limit = within(left > taken ? left - taken : 1, 1, s->streams.limit);
        return api;
}

/* How many threads civetweb may have; 0: too few to serve. What waits and streams has threads only
 * when it is asked for, but there are no more slots than threads can be made. */
static unsigned plan_threads(struct server *s)
{
        unsigned wanted = s->streams.limit + s->waits.limit + s->bodies.limit + s->listeners.limit +
                          SERVER_API_THREADS;
        unsigned there = capacity_threads(wanted + OTHER_THREADS + SPARE_THREADS), n;

        if (there >= wanted + OTHER_THREADS + SPARE_THREADS)
                return SERVER_API_THREADS;
        if (there < SERVER_THREADS_MIN + OTHER_THREADS)
                return 0;
        n = there - OTHER_THREADS;
        n = n < SERVER_THREADS_MIN + SPARE_THREADS ? SERVER_THREADS_MIN : n - SPARE_THREADS;
        n = share_threads(s, n);
        log_warning("Only %u more threads can be made (pids.max, ulimit -u or ulimit -v); streams "
                    "at the same time: %u",
                    there, s->streams.limit);
        return n;
}

/* Raises the limit of open files to what clients need; returns how many connections there may be.
 */
static unsigned limit_files(const struct server *s)
{
        rlim_t taken = FILES_BASE + (rlim_t)(s->streams.limit + s->waits.limit + s->bodies.limit +
                                             SERVER_API_THREADS) *
                                            FILES_EACH;
        struct rlimit limit;
        rlim_t least;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return CONNECTIONS_MIN;
        limit.rlim_cur = taken + CONNECTIONS_MAX;
        if (limit.rlim_max != RLIM_INFINITY && limit.rlim_cur > limit.rlim_max)
                limit.rlim_cur = limit.rlim_max;
        if (limit.rlim_cur < taken + s->streams.limit)
                log_warning(
                        "Only %llu files may be open; expect errors with many clients, or raise "
                        "the hard limit (ulimit -Hn)",
                        (unsigned long long)limit.rlim_max);
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                log_warning_errno(-errno, "Cannot set how many files may be open: %m");
        /* Where not all can be had, not all streams will be there at a time. */
        least = limit.rlim_cur / 2 > CONNECTIONS_MIN ? limit.rlim_cur / 2 : CONNECTIONS_MIN;
        return limit.rlim_cur > taken + least ? (unsigned)(limit.rlim_cur - taken)
                                              : (unsigned)least;
}

/* Has a request handled: that civetweb has started does not say that its threads have. */
static int ask_myself(struct server *s)
{
        static const char beginning[] = "HTTP/1.1 ";
        char request[96], answer[sizeof beginning - 1];
        _cleanup_close_ int fd = -1;
        struct pollfd answered;
        int ends[2], n, r;

        n = snprintf(request, sizeof request,
                     "HEAD / HTTP/1.1\r\nHost: localhost:%u\r\nConnection: close\r\n\r\n", s->port);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
                return -errno;
        fd = ends[0];
        r = door_put(s->door, ends[1]);
        if (r < 0) {
                close(ends[1]);
                return r;
        }
        if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
                return -errno;
        answered = (struct pollfd){.fd = fd, .events = POLLIN};
        if (poll(&answered, 1, ASK_MS) <= 0)
                return -ETIMEDOUT;
        if (recv(fd, answer, sizeof answer, 0) != (ssize_t)sizeof answer)
                return -ENODATA;
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
        unsigned threads = plan_threads(s);
        int r;

        if (threads == 0)
                return refuse(ret_reason,
                              "there is no room for its threads; raise pids.max, ulimit -u or "
                              "ulimit -v, whichever is low");
        r = door_open((struct in_addr){htonl(s->address)}, &s->port, limit_files(s), &s->door);
        if (r < 0)
                return r;
        r = door_start(s->door, refuse_request, s);
        if (r == 0)
                r = handover_start(s->door, threads, handle, refuse_request, s);
        if (r == 0)
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
