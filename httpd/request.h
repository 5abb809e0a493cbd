/* SPDX-License-Identifier: MIT */
/* request.h: one request while it is handled, by one thread. */
#ifndef HTTPD_REQUEST_H
#define HTTPD_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "guard.h"
#include "head.h"
#include "server.h"

struct conn;
struct cors_preflight;

/* Of a request_answer_head(): the body ends with the connection (RFC 9112 §6.3). */
#define REQUEST_UNBOUNDED UINT64_MAX

/* What may be sent before each answer to HTTP/1.1: who does not wait for it passes it over (RFC
 * 9110 §15.2). */
extern const char request_go_on[];

/* A header field: as it came, but for white space around its value. */
struct request_field {
        const char *name, *value;
};

struct request {
        /* set once, before the handler is called */
        struct server *server;
        struct conn *conn;  /* where it came in; NULL: it is none (server.c) */
        char *text;         /* what the strings below point into */
        const char *method; /* case-sensitive, RFC 9110 §9.1 */
        unsigned minor;     /* of HTTP/1.minor */
        uint16_t port;      /* of ours, at which it came in */
        struct request_field fields[HEAD_FIELDS_MAX + 1]; /* one may be made of the target */
        unsigned field_count;
        const char *path;  /* raw, begins with '/'; or "*" */
        const char *query; /* raw, without '?'; NULL: none */
        bool head;         /* a HEAD: no body in the answer */
        int route;         /* by routes.c: its place in the table plus 1; 0: none */

        /* by access.c, before the handler is called */
        bool trusted;        /* it came with the token */
        bool token_in_query; /* … as ?token=, which was taken out of query */
        bool is_file;        /* its answer is a file, or says why it is none (cors.h) */
        const struct cors_preflight *preflight; /* what its answer says of a preflight, or NULL */

        /* by the handler */
        struct client client;
        struct head head_facts; /* what the head says of the body */
        bool aside;             /* its thread may wait (routes.c) */
        struct slots *slots;    /* what it has a place of; NULL: of none */
        struct slots *next;     /* … and takes one of once its body is read, instead; or NULL */
        bool body_read;         /* all of the request's body was read */
        bool persists;          /* the connection may have another request */
        bool answered;
        uint64_t answer_end; /* what client.sent_bytes is after the whole answer */
        char *rest;          /* of the answer: what the client did not take at once */
        size_t rest_at, rest_bytes;
};

/* The value of a header, NULL if it is missing or (as far as this header may come only once) came
 * more often. *ret_count (if not NULL) says how often it came. */
const char *request_header(const struct request *rq, const char *name, unsigned *ret_count);

/* The value of a field that is a list, of which there may be several lines: joined by ", " (RFC
 * 9110 §5.3). *ret is NULL where there is none; the caller frees it. -ENOMEM. */
int request_list(const struct request *rq, const char *name, char **ret);

/* What the guard wants to know. Pointers live as long as the request. */
struct guard_request request_guard(const struct request *rq);

/* Reads the body, of a length or in chunks, at most max bytes; a NUL follows. The caller frees
 * *ret. -EFBIG: larger; -ENODATA: none announced; -EBADMSG: it ended early, or its chunks are
 * malformed; -ETIMEDOUT: it came too slowly; -ENOMEM. Blocks while the client sends. */
int request_body(struct request *rq, size_t max, char **ret, size_t *ret_len);

/* What a status is called (RFC 9110 §15). Static. */
const char *request_phrase(int status);

/* Sends a whole answer: status, type and body, and more headers, each line ended by CR LF (NULL:
 * none); type NULL: no body and no type. Returns status. A client that left meanwhile is nobody's
 * concern any more. Blocks only in a thread that may wait: in others the door sends what the client
 * does not take at once. */
int request_answer(struct request *rq, int status, const char *headers, const char *type,
                   const char *body, size_t len);

/* Sends only a head, for a body of length bytes (or REQUEST_UNBOUNDED) that follows: what was
 * promised is counted, and the connection closed where it was not sent. As client_send(). */
int request_answer_head(struct request *rq, int status, const char *headers, const char *type,
                        uint64_t length);

#endif
