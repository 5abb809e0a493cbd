/* SPDX-License-Identifier: MIT */
#include "lobby.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"

/* A connection that says nothing, new or between two requests: as long as browsers keep theirs. */
enum { IDLE_MS = 60000 };
/* From a head's first byte to its last. */
enum { HEAD_MS = 10000 };
/* For how long a client may take nothing of the rest of an answer. */
enum { REST_MS = 30000 };
/* A closed socket with unread bytes is reset, and the answer lost on its way (RFC 9112 §9.6): so
 * long the client may go on sending after it. */
enum { LINGER_MS = 2000 };
/* What a client has not acknowledged keeps its connection as many times LINGER_MS. */
enum { LINGERS_MAX = 15 };
/* Empty lines before a request. */
enum { EMPTY_LINES_MAX = 4 };
/* Of all heads that are not whole yet. Above, the oldest of them goes. */
#define HEADS_BYTES_MAX (16u << 20)

static const unsigned state_ms[LOBBY_LISTS] = {IDLE_MS, HEAD_MS, REST_MS, LINGER_MS};

static void leave_list(struct lobby *l, struct guest *g)
{
        if (g->state < LOBBY_LISTS)
                DL_DELETE(l->lists[g->state], g); /* NOLINT(*NullDereference): it is in */
}

/* Puts it last in a state's list, also if it is in it already. */
static void enter(struct lobby *l, struct guest *g, enum lobby_state state)
{
        leave_list(l, g);
        g->state = state;
        if (state < LOBBY_LISTS) {
                g->deadline_ms = clock_ms() + state_ms[state];
                DL_APPEND(l->lists[state], g);
        }
}

static void watch(const struct lobby *l, struct guest *g, uint32_t events, int how)
{
        struct epoll_event event = {.events = events, .data.ptr = g};

        if (epoll_ctl(l->epoll, how, g->c.fd, &event) < 0)
                log_debug_errno(-errno, "epoll: %m");
}

static void drop_head(struct lobby *l, struct guest *g)
{
        if (g->state == LOBBY_HEAD)
                l->heads_bytes -= g->head_size;
        free(g->head);
        g->head = NULL;
        g->c.text = NULL;
        g->head_used = g->head_size = 0;
        g->head_state = 0;
}

static void drop_rest(struct lobby *l, struct guest *g)
{
        atomic_fetch_sub(&l->rests, g->rest_left);
        free(g->rest);
        g->rest = NULL;
        g->rest_left = 0;
}

static void close_guest(struct lobby *l, struct guest *g)
{
        drop_head(l, g);
        drop_rest(l, g);
        enter(l, g, LOBBY_CLOSED);
        close(g->c.fd); /* which takes it out of epoll, too */
        l->count--;
        LL_PREPEND(l->closed, g);
}

/* Ends our direction and waits for the client to end its own. */
static void linger(struct lobby *l, struct guest *g)
{
        drop_head(l, g);
        shutdown(g->c.fd, SHUT_WR);
        enter(l, g, LOBBY_LINGER);
}

void lobby_refuse(struct lobby *l, struct guest *g, int status, const char *reason)
{
        l->refuse(l->refuse_data, &g->c, status, reason);
        linger(l, g);
}

/* Reads away what came after the end. */
static void read_away(struct lobby *l, struct guest *g)
{
        ssize_t n = recv(g->c.fd, l->scratch, sizeof l->scratch, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                close_guest(l, g);
}

static void send_rest(struct lobby *l, struct guest *g)
{
        ssize_t n = send(g->c.fd, g->rest + g->rest_at, g->rest_left, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0) {
                close_guest(l, g);
                return;
        }
        g->rest_at += (size_t)n;
        g->rest_left -= (size_t)n;
        atomic_fetch_sub(&l->rests, (size_t)n);
        if (g->rest_left > 0) {
                enter(l, g, LOBBY_REST);
                return;
        }
        drop_rest(l, g);
        watch(l, g, EPOLLIN, EPOLL_CTL_MOD);
        if (g->persists)
                enter(l, g, LOBBY_IDLE);
        else
                linger(l, g);
}

/* Gives the connection to who asks for the next one. */
static void hand_out(struct lobby *l, struct guest *g)
{
        if (g->state == LOBBY_HEAD)
                l->heads_bytes -= g->head_size;
        enter(l, g, LOBBY_OUT);
        watch(l, g, 0, EPOLL_CTL_DEL);
        g->c.text = g->head;
        g->c.whole_ms = clock_ms();
        g->empty_lines = 0;
        l->whole(l->whole_data, g);
}

/* Makes room for n more bytes of a head. False: there is none. */
static bool grow_head(struct lobby *l, struct guest *g, size_t n)
{
        size_t size = g->head_size ? g->head_size : 1024;
        char *larger;

        if (g->state != LOBBY_HEAD)
                enter(l, g, LOBBY_HEAD);
        if (g->head_used + n <= g->head_size)
                return true;
        while (size < g->head_used + n)
                size *= 2;
        larger = realloc(g->head, size);
        if (!larger)
                return false;
        l->heads_bytes += size - g->head_size;
        g->head = larger;
        g->head_size = size;
        while (l->heads_bytes > HEADS_BYTES_MAX && l->lists[LOBBY_HEAD] != g)
                lobby_refuse(l, l->lists[LOBBY_HEAD], 503, "Too many requests are being sent");
        return true;
}

/* RFC 9112 §2.2: an empty line before the request line is passed over; it begins the head's time.
 */
static void pass_over(struct lobby *l, struct guest *g)
{
        g->head_used = 0;
        g->head_state = 0;
        if (++g->empty_lines > EMPTY_LINES_MAX)
                lobby_refuse(l, g, 400, "There is no request between empty lines");
}

/* civetweb refuses tabs in values, where they mean no more than a space (RFC 9110 §5.5). */
static void replace_tabs(char *text, struct head_span fields)
{
        char *end = text + fields.at + fields.length, *tab = text + fields.at;

        while ((tab = memchr(tab, '\t', (size_t)(end - tab))))
                *tab = ' ';
}

/* Takes the bytes of a head, which have been seen, out of the socket. */
static void take_head(struct lobby *l, struct guest *g, size_t n, bool whole)
{
        int status;

        if (!grow_head(l, g, n)) {
                lobby_refuse(l, g, 503, "There is not enough memory");
                return;
        }
        if (recv(g->c.fd, g->head + g->head_used, n, MSG_DONTWAIT) != (ssize_t)n) {
                close_guest(l, g);
                return;
        }
        g->head_used += n;
        if (!whole)
                return;
        if (g->head_used <= strlen("\r\n")) {
                pass_over(l, g);
                return;
        }
        status = head_check(g->head, g->head_used, &g->c.head);
        if (status != 0) {
                lobby_refuse(l, g, status, g->c.head.reason);
                return;
        }
        replace_tabs(g->head, g->c.head.fields);
        hand_out(l, g);
}

static void read_head(struct lobby *l, struct guest *g)
{
        ssize_t n = recv(g->c.fd, l->scratch, sizeof l->scratch, MSG_PEEK | MSG_DONTWAIT);
        size_t there, end;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                close_guest(l, g);
                return;
        }
        there = (size_t)n;
        if (g->head_used == 0 && !head_may_begin(l->scratch[0])) {
                lobby_refuse(l, g, 400, "This is no HTTP request");
                return;
        }
        end = head_end(l->scratch, there, &g->head_state);
        if (g->head_used + (end ? end : there) > HEAD_MAX) {
                lobby_refuse(l, g, 431, "The head of the request is larger than 64 KiB");
                return;
        }
        take_head(l, g, end ? end : there, end > 0);
}

void lobby_look_after(struct lobby *l, struct guest *g)
{
        switch (g->state) {
        case LOBBY_IDLE:
        case LOBBY_HEAD:
                read_head(l, g);
                break;
        case LOBBY_REST:
                send_rest(l, g);
                break;
        case LOBBY_LINGER:
                read_away(l, g);
                break;
        default: /* closed by an event before this one */
                break;
        }
}

bool lobby_make_room(struct lobby *l)
{
        static const enum lobby_state order[] = {LOBBY_LINGER, LOBBY_IDLE, LOBBY_HEAD};

        for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
                if (l->lists[order[i]]) {
                        close_guest(l, l->lists[order[i]]);
                        return true;
                }
        return false;
}

struct guest *lobby_add(struct lobby *l, int fd)
{
        struct guest *g = calloc(1, sizeof *g);

        if (!g) {
                close(fd);
                return NULL;
        }
        g->c.fd = fd;
        g->state = LOBBY_CLOSED;
        l->count++;
        enter(l, g, LOBBY_IDLE);
        watch(l, g, EPOLLIN, EPOLL_CTL_ADD);
        return g;
}

void lobby_take_back(struct lobby *l, struct guest *g)
{
        drop_head(l, g);
        if (g->rest) {
                enter(l, g, LOBBY_REST);
                watch(l, g, EPOLLOUT, EPOLL_CTL_ADD);
        } else if (g->persists) {
                enter(l, g, LOBBY_IDLE);
                watch(l, g, EPOLLIN, EPOLL_CTL_ADD);
        } else {
                linger(l, g);
                watch(l, g, EPOLLIN, EPOLL_CTL_ADD);
        }
}

/* Whether the client has yet to acknowledge something that was sent. */
static bool is_behind(const struct guest *g)
{
        int queued = 0;

        return ioctl(g->c.fd, SIOCOUTQ, &queued) == 0 && queued > 0;
}

static void be_late(struct lobby *l, struct guest *g)
{
        if (g->state == LOBBY_HEAD && g->head_used > 0)
                lobby_refuse(l, g, 408, "The request did not come within 10 seconds");
        else if (g->state == LOBBY_LINGER && g->lingers++ < LINGERS_MAX && is_behind(g))
                enter(l, g, LOBBY_LINGER);
        else
                close_guest(l, g);
}

uint64_t lobby_check_time(struct lobby *l, uint64_t now_ms, uint64_t next_ms)
{
        for (unsigned i = 0; i < LOBBY_LISTS; i++) {
                while (l->lists[i] && l->lists[i]->deadline_ms <= now_ms)
                        be_late(l, l->lists[i]);
                if (l->lists[i] && l->lists[i]->deadline_ms < next_ms)
                        next_ms = l->lists[i]->deadline_ms;
        }
        return next_ms;
}

void lobby_sweep(struct lobby *l)
{
        while (l->closed) {
                struct guest *g = l->closed;

                LL_DELETE(l->closed, g);
                free(g);
        }
}
