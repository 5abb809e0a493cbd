/* SPDX-License-Identifier: MIT */
/* request.h: one request while it is handled, by one thread. */
#ifndef HTTPD_REQUEST_H
#define HTTPD_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "guard.h"
#include "server.h"

struct mg_connection;

/* As many as civetweb keeps; it drops what comes after them. */
enum { REQUEST_FIELDS_MAX = 64 };

/* A header field: as it came, but for white space around its value. */
struct request_field {
        const char *name, *value;
};

struct request {
        /* set once, before the handler is called */
        struct server *server;
        struct mg_connection *connection; /* civetweb's; for the body only */
        const char *method;               /* case-sensitive, RFC 9110 §9.1 */
        unsigned minor;                   /* of HTTP/1.minor */
        uint16_t port;                    /* of ours, at which it came in */
        int64_t content_length;           /* -1: none, or malformed */
        struct request_field fields[REQUEST_FIELDS_MAX];
        unsigned field_count;
        const char *path;  /* raw, begins with '/' */
        const char *query; /* raw, without '?'; NULL: none */
        bool head;         /* a HEAD: no body in the answer */

        /* by the handler */
        struct client client;
        bool body_read; /* all of the request's body was read */
};

/* The value of a header, NULL if it is missing or (as far as this header may come only once) came
 * more often. *ret_count (if not NULL) says how often it came. */
const char *request_header(const struct request *rq, const char *name, unsigned *ret_count);

/* The value of a field that is a list, of which there may be several lines: joined by ", " (RFC
 * 9110 §5.3). *ret is NULL where there is none; the caller frees it. -ENOMEM. */
int request_list(const struct request *rq, const char *name, char **ret);

/* What the guard wants to know. Pointers live as long as the request. */
struct guard_request request_guard(const struct request *rq);

/* Whether the Content-Type is type, whatever its parameters (RFC 9110 §8.3.1). */
bool request_is_type(const struct request *rq, const char *type);

/* Reads the body, at most max bytes; a NUL follows. The caller frees *ret.
 * -EFBIG: larger; -ENODATA: no length given (chunked bodies are refused); -EBADMSG: it ended early;
 * -ETIMEDOUT: it came too slowly; -ENOMEM. Blocks while the client sends. */
int request_body(struct request *rq, size_t max, char **ret, size_t *ret_len);

/* Sends a whole answer: status, type and body, and more headers, each line ended by CR LF (NULL:
 * none); type NULL: no body and no type. Then reads away a body that nobody read. Returns status,
 * as civetweb wants it. A client that left meanwhile is nobody's concern any more. */
int request_answer(struct request *rq, int status, const char *headers, const char *type,
                   const char *body, size_t len);

/* Sends only a head, for a body of length bytes that follows. As client_send(). */
int request_answer_head(struct request *rq, int status, const char *headers, const char *type,
                        uint64_t length);

#endif
