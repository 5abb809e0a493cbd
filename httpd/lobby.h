/* SPDX-License-Identifier: MIT */
/* lobby.h: connections whose request is not being handled, and what each of them waits for. All by
 * one thread, which also waits for their events (epoll); nothing here blocks. Knows no listening
 * socket and no lock. */
#ifndef HTTPD_LOBBY_H
#define HTTPD_LOBBY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"

enum { LOBBY_SCRATCH_BYTES = 65536 };

/* Each of the first has a list, in the order of deadlines, as all in a list wait equally long. */
enum lobby_state {
        LOBBY_IDLE,   /* no byte of a request yet */
        LOBBY_HEAD,   /* some */
        LOBBY_REST,   /* of an answer is to be sent */
        LOBBY_LINGER, /* what still comes is read away */
        LOBBY_LISTS,
        LOBBY_OUT = LOBBY_LISTS, /* being handled: not the lobby's */
        LOBBY_CLOSED,            /* stays until lobby_sweep(): an event of it may be at hand */
};

struct guest {
        struct conn c; /* first: what others see of it */

        /* by who has it */
        enum lobby_state state;
        uint64_t deadline_ms;
        char *head;
        size_t head_used, head_size;
        unsigned head_state; /* of head_end() */
        unsigned empty_lines;
        char *rest; /* of an answer; rest_left bytes from rest_at on */
        size_t rest_at, rest_left;
        bool persists; /* another request may come after this one */
        unsigned lingers;
        struct guest *prev, *next;
};

struct lobby {
        /* set once */
        int epoll; /* an event's data.ptr is the guest */
        conn_refuse refuse;
        void *refuse_data;
        void (*whole)(void *data, struct guest *g); /* takes a guest whose head is whole */
        void *whole_data;

        /* by the thread */
        struct guest *lists[LOBBY_LISTS];
        struct guest *closed;
        unsigned count;     /* of all connections, also those that are out */
        size_t heads_bytes; /* of heads that are not whole */
        char scratch[LOBBY_SCRATCH_BYTES];

        /* atomic */
        _Atomic size_t rests; /* bytes of all rests */
};

/* Takes a new connection. NULL: there is no memory, and fd is closed. */
struct guest *lobby_add(struct lobby *l, int fd);

/* Answers that a request is none, and closes the connection when the client has read it. */
void lobby_refuse(struct lobby *l, struct guest *g, int status, const char *reason);

/* Takes back a guest that was handed out, with what is to be sent yet. */
void lobby_take_back(struct lobby *l, struct guest *g);

/* For each event of a guest. */
void lobby_look_after(struct lobby *l, struct guest *g);

/* Closes the connection that is missed least: one that is ending, the longest idle, the oldest
 * head. False: all are being handled. */
bool lobby_make_room(struct lobby *l);

/* Ends what is over time. Returns when the next will be, no later than next_ms. */
uint64_t lobby_check_time(struct lobby *l, uint64_t now_ms, uint64_t next_ms);

/* To be called when all events at hand were looked after. */
void lobby_sweep(struct lobby *l);

#endif
