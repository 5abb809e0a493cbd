/* SPDX-License-Identifier: MIT */
/* piecemeal.h: an answer that is made piece by piece, of which only a piece is in memory. A short
 * one goes out whole, with its length; a long one in chunks (RFC 9112 §7.1), so that an end is told
 * from a cut; to a client of HTTP/1.0 up to the end of the connection. */
#ifndef HTTPD_PIECEMEAL_H
#define HTTPD_PIECEMEAL_H

#include "request.h"

/* What is worth a chunk: large enough that its frame is nothing, and most answers are shorter. */
enum { PIECEMEAL_BYTES = 64 << 10 };

struct piecemeal {
        /* set once */
        struct request *rq;
        int status;
        const char *headers, *type; /* as for request_answer() */

        bool begun; /* something of it is sent */

        /* of piecemeal_add(): what was added and is not sent yet; piecemeal_clear() frees it */
        char *text;
        size_t len, room;
};

/* Sends what was made since the last time if it is worth a chunk; *len is 0 then. -ENOMEM; as
 * client_send(). */
int piecemeal_give(struct piecemeal *p, const char *data, size_t *len);

/* Sends what is left, and the end. Returns the status. An answer that has begun and cannot be
 * finished is just left, so that the client sees it cut. */
int piecemeal_finish(struct piecemeal *p, const char *data, size_t len);

/* Adds to a text that is kept here, and sends it, if it is worth a chunk. piecemeal_end() finishes
 * with what is left of it. -ENOMEM; piecemeal_send() as piecemeal_give(). */
int piecemeal_add(struct piecemeal *p, const char *text);
int piecemeal_send(struct piecemeal *p);
int piecemeal_end(struct piecemeal *p);
void piecemeal_clear(struct piecemeal *p);

#endif
