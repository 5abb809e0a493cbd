/* SPDX-License-Identifier: MIT */
/* conn.h: a connection with a whole, correct head. Whoever has it has it alone: the door (door.h),
 * and from door_next() to door_back() who handles the request. */
#ifndef HTTPD_CONN_H
#define HTTPD_CONN_H

#include <stdint.h>

#include "head.h"

struct conn {
        /* set once */
        int fd; /* non-blocking; the door closes it */

        /* until it is given back */
        const char *text;  /* the head */
        struct head head;  /* what it says */
        uint64_t whole_ms; /* since when it is whole */
};

/* Answers what is no request, with a status of head_check(), 408 or 503, and must not block: what
 * the socket does not take at once is lost. */
typedef void (*conn_refuse)(void *data, struct conn *c, int status, const char *reason);

#endif
