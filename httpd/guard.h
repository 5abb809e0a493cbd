/* SPDX-License-Identifier: MIT */
/* guard.h: who may ask. Against web pages of other sites: DNS rebinding (Host) and cross-site
 * requests (Sec-Fetch-Site, Origin, Referer). Pure: no I/O, no clock. */
#ifndef HTTPD_GUARD_H
#define HTTPD_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A host with a port as in Host or an origin; port 0: any. */
struct guard_host {
        const char *name; /* without port, IPv6 literals without brackets */
        uint16_t port;
};

struct guard_rules {
        /* set once */
        const struct guard_host *hosts; /* names allowed besides loopback addresses and localhost */
        size_t host_count;
        const char *const
                *origins; /* whose pages may change something, as "scheme://host[:port]" */
        size_t origin_count;
        bool any_streams; /* any page may read files: --cors '*' (cors.h); nothing more */
};

/* What a request says of where it comes from: each value NULL if the header is missing, its count
 * as often as it came. */
struct guard_request {
        const char *host, *origin, *referer, *sec_fetch_site, *content_type, *requested_with;
        unsigned host_count, origin_count, referer_count, sec_fetch_site_count;
        unsigned minor;                  /* of HTTP/1.minor */
        bool trusted;                    /* it has the token, which no page of another site has */
        uint32_t address;                /* of ours, at which it came in, host order; 0: loopback */
        uint16_t port;                   /* … and the port */
        size_t header_count, header_max; /* with as many as max, civetweb may have dropped some */
};

enum guard_verdict {
        GUARD_ALLOW,
        GUARD_BAD_HEADERS, /* 400: no Host where one is due, more than one (RFC 9112 §3.2),
                              malformed, or too many headers to see all */
        GUARD_MISDIRECTED, /* 421: a Host that is not ours (RFC 9110 §15.5.20) */
        GUARD_CROSS_SITE,  /* 403: a change asked for by a page of another site */
        GUARD_UNKNOWN,     /* 403: a change asked for by nobody knows whom */
};

/* Judges where the request is addressed to; to be asked of every request. Without a Host, which
 * HTTP/1.1 asks for (RFC 9112 §3.2) and 1.0 does not, nothing can be judged: so it is served to
 * what is no browser by all signs: health checks, old programs. */
enum guard_verdict guard_addressed(const struct guard_rules *rules, const struct guard_request *rq);

/* Judges whether a request that guard_addressed() allowed may change something. A browser's page
 * passes if it is our own or one of rules->origins. Our own is that of the Host by http, and of a
 * host of rules->hosts by https, too: a proxy speaks TLS for us. Programs (curl, mpv) send none of
 * the three headers. So do browsers for an image of a page without a referrer, where the Host is a
 * plain-HTTP name: Sec-Fetch-Site goes to HTTPS and loopback only. So silence is enough for a
 * loopback Host; for another one a program has to send what a page can't: the token, or what it
 * must ask for first (Fetch standard, CORS preflight; only rules->origins get a yes): an
 * X-Requested-With, or a Content-Type that no form has. */
enum guard_verdict guard_change(const struct guard_rules *rules, const struct guard_request *rq);

/* Whether a page of rules->origins asks, as far as the request says. */
bool guard_is_listed(const struct guard_rules *rules, const struct guard_request *rq);

/* Reads NAME[:PORT], also [IPV6][:PORT], into host (name is cut out of text, which is changed).
 * Port 0 without one. -EINVAL: malformed. */
int guard_host_parse(char *text, struct guard_host *ret);

#endif
