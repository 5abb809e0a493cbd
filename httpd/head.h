/* SPDX-License-Identifier: MIT */
/* head.h: the head of a request as RFC 9112 wants it: where it ends, whether it is one, and what it
 * says of its connection and its body. What is not plainly right is refused: what two programs read
 * differently lets one client speak for another. Pure: no I/O, no clock, no memory. */
#ifndef HTTPD_HEAD_H
#define HTTPD_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole head: a magnet with a hundred trackers is in it. */
enum { HEAD_MAX = 65536 };
/* As many as civetweb keeps. */
enum { HEAD_FIELDS_MAX = 64 };

/* A part of the head: so many bytes from that one on. */
struct head_span {
        size_t at, length;
};

/* How the body is delimited (RFC 9112 §6.3). */
enum head_body { HEAD_NO_BODY, HEAD_LENGTH, HEAD_CHUNKED };

struct head {
        struct head_span method;
        struct head_span target;    /* path and query; empty in place of "/" or before "?"; "*" */
        struct head_span fields;    /* the lines of all fields, with their line ends */
        struct head_span authority; /* of a target in absolute-form; length 0: none */
        bool asterisk;              /* the target is the server as a whole (RFC 9112 §3.2.4) */
        unsigned minor;             /* of HTTP/1.minor: 0 or 1 */
        enum head_body body;
        uint64_t content_length; /* of HEAD_LENGTH; else 0 */
        bool persists;           /* the client may send another request (RFC 9112 §9.3) */
        bool expects;            /* it may wait for 100 (RFC 9110 §10.1.1) */
        const char *reason;      /* why it is refused: a static text */
};

/* Looks for the end of a head in the next bytes of it: *state is what it knows of the bytes before,
 * 0 at the beginning. Returns how many bytes of buf belong to the head, its empty line included; 0:
 * all of them do, and it goes on. A bare LF ends a line here, so that head_check() gets to see it.
 */
size_t head_end(const char *buf, size_t len, unsigned *state);

/* Whether a head can begin so. */
bool head_may_begin(char c);

/* Reads a whole head: len bytes up to and with the empty line. 0, with *ret filled; or the status
 * to refuse it with (400, 417, 421, 431, 501, 505), where of *ret only the reason is of use. */
int head_check(const char *buf, size_t len, struct head *ret);

#endif
