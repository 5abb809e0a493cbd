/* SPDX-License-Identifier: MIT */
/* routes.h: which handler answers which request. */
#ifndef HTTPD_ROUTES_H
#define HTTPD_ROUTES_H

#include "request.h"
#include "uri.h"

/* What a path's pattern matched. */
struct route_match {
        char hash[INFO_HASH_MAX]; /* {hash}: lower-case hex; empty if the pattern has none */
        const char *rest;         /* *: raw; NULL if the pattern has none */
};

/* Another thread goes on with the request, which is not to be touched any more. */
enum { ROUTES_ASIDE = 0 };

/* Judges (guard.h), finds the handler and runs it, or has another thread run it (server.h) if it
 * may take long. Returns the status sent, or ROUTES_ASIDE. */
int routes_dispatch(struct request *rq);

/* The pattern of a route, as "/stream/{hash}", and its method; NULL behind the last. Static. */
const char *routes_name(int route, const char **ret_method);

#endif
