/* SPDX-License-Identifier: MIT */
/* fuzz_guard.c: who may ask. The input, a line each: Host, Origin, Referer, Sec-Fetch-Site,
 * Content-Type, X-Requested-With. What the guard allows is held against simpler and stricter rules
 * that see only what a browser would. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fuzz.h"
#include "guard.h"

enum { PORT = 3000 };

static const struct guard_host hosts[] = {{.name = "media.lan", .port = 0}};
static const char *const origins[] = {"https://page.example:8443"};
static const struct guard_rules rules = {
        .hosts = hosts, .host_count = 1, .origins = origins, .origin_count = 1};

static bool begins(const char *text, const char *with)
{
        return strncasecmp(text, with, strlen(with)) == 0;
}

/* Whether the text names this machine or media.lan; all an attacker's names are others. */
static bool is_ours(const char *host)
{
        return begins(host, "localhost:") || begins(host, "127.") || begins(host, "media.lan") ||
               begins(host, "[");
}

/* Whether nothing but a port stands behind the name. */
static bool ends_as_host(const char *host)
{
        return host[strcspn(host, "/@?# \t\\")] == '\0';
}

static bool is_listed(const char *from)
{
        size_t len = strlen(origins[0]);

        return begins(from, origins[0]) && strchr("/?#", from[len]);
}

/* Whether the authority of a URI is the Host, but for a port left out. */
static bool names_host(const char *from, const char *host)
{
        const char *sep = strstr(from, "://");
        size_t len;

        if (!sep)
                return false;
        len = strcspn(sep + 3, ":/?#[");
        if (sep[3] == '[')
                len = strcspn(sep + 3, "]/?#");
        return strncasecmp(sep + 3, host, len) == 0 && strchr(":]", host[len]) && len > 0;
}

static void check_change(const struct guard_request *rq)
{
        const char *from = rq->origin ? rq->origin : rq->referer;
        bool listed = from && is_listed(from);

        if (guard_change(&rules, rq) != GUARD_ALLOW)
                return;
        /* A page of another site. */
        fuzz_check(!from || listed || names_host(from, rq->host));
        /* What the browser itself says of the page. */
        fuzz_check(!rq->sec_fetch_site || listed ||
                   strcmp(rq->sec_fetch_site, "same-origin") == 0 ||
                   strcmp(rq->sec_fetch_site, "none") == 0);
        /* By a name that is not loopback's, somebody has to say something. */
        fuzz_check(!begins(rq->host, "media.lan") || from || rq->sec_fetch_site ||
                   rq->content_type || rq->requested_with);
}

void fuzz_one(const uint8_t *data, size_t size)
{
        struct fuzz_input in = {(const char *)data, size};
        char *host = fuzz_line(&in), *origin = fuzz_header(&in), *referer = fuzz_header(&in);
        char *site = fuzz_header(&in), *type = fuzz_header(&in), *with = fuzz_header(&in);
        struct guard_request rq = {
                .host = host,
                .origin = origin,
                .referer = referer,
                .sec_fetch_site = site,
                .content_type = type,
                .requested_with = with,
                .host_count = 1,
                .origin_count = origin ? 1 : 0,
                .referer_count = referer ? 1 : 0,
                .sec_fetch_site_count = site ? 1 : 0,
                .port = PORT,
                .header_count = 6,
                .header_max = 64,
        };

        if (guard_addressed(&rules, &rq) == GUARD_ALLOW) {
                fuzz_check(is_ours(host) && ends_as_host(host));
                check_change(&rq);
                rq.host_count = 2;
                fuzz_check(guard_addressed(&rules, &rq) == GUARD_BAD_HEADERS);
                rq.host_count = 1;
                rq.origin_count = 2;
                fuzz_check(guard_change(&rules, &rq) != GUARD_ALLOW);
                rq.header_count = rq.header_max;
                fuzz_check(guard_addressed(&rules, &rq) == GUARD_BAD_HEADERS);
        }
        free(host);
        free(origin);
        free(referer);
        free(site);
        free(type);
        free(with);
}
