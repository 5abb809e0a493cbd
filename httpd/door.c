/* SPDX-License-Identifier: MIT */
#include "door.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "client.h"
#include "lobby.h"

enum { BACKLOG = 1024 };
enum { EVENTS = 64 };
/* Connections accepted before the others are looked at again. */
enum { ACCEPT_AT_ONCE = 64 };
/* Without room for another descriptor nothing is accepted for so long. */
enum { DEAF_MS = 100 };
/* The longest that the thread sleeps. */
enum { LOOK_MS = 60000 };
/* Of the door's thread, which answers what it refuses. */
#define STACK_BYTES (256u << 10)

struct door {
        /* set once */
        int listener, wake_fd, ready_fd;
        unsigned max;

        /* by the door's thread only */
        struct lobby lobby;
        uint64_t deaf_until_ms; /* 0: it listens */

        /* under lock */
        pthread_mutex_t lock;
        struct guest *ready; /* with whole heads */
        struct guest *back;  /* given back, or put in */
};

static void signal_fd(int fd)
{
        static const uint64_t one = 1;

        if (write(fd, &one, sizeof one) < 0)
                log_error_errno(-errno, "Cannot signal: %m");
}

static void listen_again(struct door *d, bool listens)
{
        struct epoll_event event = {.events = listens ? EPOLLIN : 0, .data.ptr = d};

        d->deaf_until_ms = listens ? 0 : clock_ms() + DEAF_MS;
        if (epoll_ctl(d->lobby.epoll, EPOLL_CTL_MOD, d->listener, &event) < 0)
                log_error_errno(-errno, "epoll: %m");
}

static void accept_some(struct door *d)
{
        for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
                struct sockaddr_in from;
                socklen_t len = sizeof from;
                int fd = accept4(d->listener, (struct sockaddr *)&from, &len,
                                 SOCK_CLOEXEC | SOCK_NONBLOCK);
                struct guest *g;

                if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
                        return;
                if (fd < 0) {
                        log_debug_errno(-errno, "accept: %m");
                        if (!lobby_make_room(&d->lobby))
                                listen_again(d, false);
                        return;
                }
                if (d->lobby.count >= d->max && !lobby_make_room(&d->lobby)) {
                        g = lobby_add(&d->lobby, fd);
                        if (g)
                                lobby_refuse(&d->lobby, g, 503, "Too many clients are connected");
                        continue;
                }
                lobby_add(&d->lobby, fd);
        }
}

static void take_all_back(struct door *d)
{
        struct guest *back, *g, *next;
        uint64_t count;

        if (read(d->wake_fd, &count, sizeof count) < 0)
                return;
        pthread_mutex_lock(&d->lock);
        back = d->back;
        d->back = NULL;
        pthread_mutex_unlock(&d->lock);
        LL_FOREACH_SAFE (back, g, next) {
                if (g->state == LOBBY_OUT) {
                        lobby_take_back(&d->lobby, g);
                } else {
                        lobby_add(&d->lobby, g->c.fd);
                        free(g);
                }
        }
}

/* Puts a guest with a whole head to those that door_next() gives out. */
static void make_ready(void *data, struct guest *g)
{
        struct door *d = data;

        pthread_mutex_lock(&d->lock);
        DL_APPEND(d->ready, g);
        pthread_mutex_unlock(&d->lock);
        signal_fd(d->ready_fd);
}

/* Returns for how long there is nothing to do but for events. */
static int look_at_the_clock(struct door *d)
{
        uint64_t now = clock_ms(), next = now + LOOK_MS;

        if (d->deaf_until_ms && d->deaf_until_ms <= now)
                listen_again(d, true);
        if (d->deaf_until_ms)
                next = d->deaf_until_ms;
        return (int)(lobby_check_time(&d->lobby, now, next) - now);
}

static void *run(void *data)
{
        struct door *d = data;

        for (;;) {
                struct epoll_event events[EVENTS];
                int n = epoll_wait(d->lobby.epoll, events, EVENTS, look_at_the_clock(d));

                for (int i = 0; i < n; i++) {
                        if (events[i].data.ptr == d)
                                accept_some(d);
                        else if (events[i].data.ptr == &d->wake_fd)
                                take_all_back(d);
                        else
                                lobby_look_after(&d->lobby, events[i].data.ptr);
                }
                lobby_sweep(&d->lobby);
        }
        return NULL;
}

static int listen_at(struct in_addr address, uint16_t *port)
{
        struct sockaddr_in in = {
                .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = address};
        socklen_t len = sizeof in;
        static const int on = 1;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

        if (fd < 0)
                return -errno;
        client_set_options(fd);
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
            bind(fd, (const struct sockaddr *)&in, sizeof in) < 0 || listen(fd, BACKLOG) < 0 ||
            getsockname(fd, (struct sockaddr *)&in, &len) < 0) {
                r = -errno;
                close(fd);
                return r;
        }
        *port = ntohs(in.sin_port);
        return fd;
}

int door_open(struct in_addr address, uint16_t *port, unsigned max, struct door **ret)
{
        struct door *d = calloc(1, sizeof *d);
        struct epoll_event listener = {.events = EPOLLIN}, wake = {.events = EPOLLIN};
        int r;

        if (!d)
                return -ENOMEM;
        d->max = max;
        d->lobby.whole = make_ready;
        d->lobby.whole_data = d;
        pthread_mutex_init(&d->lock, NULL);
        d->listener = listen_at(address, port);
        if (d->listener < 0) {
                r = d->listener;
                free(d);
                return r;
        }
        d->lobby.epoll = epoll_create1(EPOLL_CLOEXEC);
        d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        d->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
        listener.data.ptr = d;
        wake.data.ptr = &d->wake_fd;
        if (d->lobby.epoll < 0 || d->wake_fd < 0 || d->ready_fd < 0 ||
            epoll_ctl(d->lobby.epoll, EPOLL_CTL_ADD, d->listener, &listener) < 0 ||
            epoll_ctl(d->lobby.epoll, EPOLL_CTL_ADD, d->wake_fd, &wake) < 0)
                return -errno; /* the process is to end then */
        *ret = d;
        return 0;
}

int door_start(struct door *d, conn_refuse refuse, void *data)
{
        pthread_attr_t attr;
        pthread_t thread;
        int r;

        d->lobby.refuse = refuse;
        d->lobby.refuse_data = data;
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, STACK_BYTES);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        r = pthread_create(&thread, &attr, run, d);
        pthread_attr_destroy(&attr);
        return r == 0 ? 0 : -EAGAIN;
}

int door_ready_fd(const struct door *d)
{
        return d->ready_fd;
}

struct conn *door_next(struct door *d)
{
        struct guest *g;
        uint64_t count;

        if (read(d->ready_fd, &count, sizeof count) < 0)
                return NULL;
        pthread_mutex_lock(&d->lock);
        g = d->ready;
        if (g)
                DL_DELETE(d->ready, g);
        pthread_mutex_unlock(&d->lock);
        return g ? &g->c : NULL;
}

static void bring(struct door *d, struct guest *g)
{
        pthread_mutex_lock(&d->lock);
        LL_PREPEND(d->back, g);
        pthread_mutex_unlock(&d->lock);
        signal_fd(d->wake_fd);
}

int door_put(struct door *d, int fd)
{
        struct guest *g = calloc(1, sizeof *g);

        if (!g)
                return -ENOMEM;
        g->c.fd = fd;
        g->state = LOBBY_CLOSED;
        bring(d, g);
        return 0;
}

void door_back(struct door *d, struct conn *c, bool persists, char *rest, size_t rest_at,
               size_t rest_length)
{
        struct guest *g = (struct guest *)c;

        g->persists = persists;
        g->rest = rest;
        g->rest_at = rest_at;
        g->rest_left = rest_length;
        atomic_fetch_add(&d->lobby.rests, rest_length);
        bring(d, g);
}

size_t door_rests(const struct door *d)
{
        return atomic_load(&d->lobby.rests);
}
