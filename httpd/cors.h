/* SPDX-License-Identifier: MIT */
/* cors.h: which pages of other origins may read answers (Fetch standard, "CORS protocol"). Pure: no
 * I/O, no clock. Who may change something is the guard's to say. */
#ifndef HTTPD_CORS_H
#define HTTPD_CORS_H

#include <stdbool.h>
#include <stddef.h>

#include "guard.h"

enum cors_grant {
        CORS_NONE,   /* no page of another origin */
        CORS_ANY,    /* whichever page it is, as what is asked for is a file: --cors '*' */
        CORS_LISTED, /* the page that asks: its origin is listed */
};

/* Who may read the answer. is_file: it is asked for a file, by GET or HEAD. */
enum cors_grant cors_judge(const struct guard_rules *rules, const struct guard_request *rq,
                           bool is_file);

/* What a page asks before it asks: OPTIONS with an Origin. */
struct cors_preflight {
        const char *methods;  /* what the path knows, as in Allow */
        bool private_network; /* it asks for one, from a public one (Private Network Access) */
};

/* Room for the header lines below: an origin is the longest of them. */
enum { CORS_HEADERS_MAX = 1024 };

/* Writes the header lines of an answer into buf, each ended by CR LF: they say who may read it, and
 * who may embed it (Cross-Origin-Resource-Policy). preflight: NULL for any other answer. An origin
 * that is too long for a host is none of ours. */
void cors_write(const struct guard_rules *rules, const struct guard_request *rq,
                enum cors_grant grant, const struct cors_preflight *preflight,
                char buf[static CORS_HEADERS_MAX]);

#endif
