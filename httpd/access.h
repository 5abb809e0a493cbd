/* SPDX-License-Identifier: MIT */
/* access.h: who may ask, as one request says it: the token, and what its answer tells browsers. The
 * rules are guard.h's and cors.h's. */
#ifndef HTTPD_ACCESS_H
#define HTTPD_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "cors.h"
#include "request.h"

/* Room for "?token=" and a token. */
enum { ACCESS_SUFFIX_MAX = 272 };

/* Looks for the token, as `Authorization: Bearer` (RFC 6750 §2.1) or as token= in the query (§2.3),
 * and takes the latter out of rq->query, so that no handler takes it for something else or logs it.
 * Once for each request, before any other of these. */
void access_take_token(struct request *rq);

/* Whether no token is asked for, or the request came with it. */
bool access_is_granted(const struct request *rq);

/* Answers that a token is needed. Returns the status. */
int access_refuse(struct request *rq);

/* What has to follow the path of a link that an answer has, so that whoever came with ?token= can
 * follow it: "?token=…" or "". begun: the link has a '?' already. */
void access_link_suffix(const struct request *rq, bool begun, char ret[static ACCESS_SUFFIX_MAX]);

/* Our address at which the request came in, host order; 0: a loopback address. */
uint32_t access_address(const struct request *rq);

/* The header lines of each answer that say who may read and embed it. */
void access_headers(const struct request *rq, char ret[static CORS_HEADERS_MAX]);

/* Whether a browser asks on behalf of a page whether that may ask (Fetch standard, "CORS-preflight
 * request"). Such a request never has a token. */
bool access_is_preflight(const struct request *rq);

/* Answers that: methods are those of the path, is_file says whether one of them answers with a
 * file. Returns the status. */
int access_preflight(struct request *rq, const char *methods, bool is_file);

#endif
