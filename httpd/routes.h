/* SPDX-License-Identifier: MIT */
/* routes.h: which handler answers which request. */
#ifndef HTTPD_ROUTES_H
#define HTTPD_ROUTES_H

#include "request.h"
#include "uri.h"

/* What a path's pattern matched. */
struct route_match {
        char hash[INFO_HASH_MAX]; /* {hash}: lower-case hex; empty if the pattern has none */
        const char *rest;         /* *: raw, not empty; NULL if the pattern has none */
};

/* Judges (guard.h), finds the handler and runs it. Returns the status sent. The client of rq is
 * known. */
int routes_dispatch(struct request *rq);

#endif
