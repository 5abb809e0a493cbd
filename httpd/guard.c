/* SPDX-License-Identifier: MIT */
#include "guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { HTTP_PORT = 80, HTTPS_PORT = 443 };
/* A DNS name has at most 253 characters; with port and brackets this is enough. */
enum { AUTHORITY_MAX = 272 };

int guard_host_parse(char *text, struct guard_host *ret)
{
        struct guard_host host = {.name = text};
        char *end, *p;

        if (text[0] == '[') {
                host.name = text + 1;
                end = strchr(text, ']');
                if (!end)
                        return -EINVAL;
                *end++ = '\0';
        } else {
                end = text + strcspn(text, ":");
        }
        if (*end == ':') {
                unsigned port = 0;

                *end++ = '\0';
                for (p = end; *p >= '0' && *p <= '9' && port <= UINT16_MAX; p++)
                        port = port * 10 + (unsigned)(*p - '0');
                if (p == end || *p != '\0' || port == 0 || port > UINT16_MAX)
                        return -EINVAL;
                host.port = (uint16_t)port;
        } else if (*end != '\0') {
                return -EINVAL;
        }
        if (host.name[0] == '\0' || host.name[strcspn(host.name, "/@?# \t[]\\")] != '\0')
                return -EINVAL;
        *ret = host;
        return 0;
}

static bool is_loopback(const char *name)
{
        struct in_addr four;
        struct in6_addr six;

        if (inet_pton(AF_INET, name, &four) == 1)
                return ntohl(four.s_addr) >> 24 == IN_LOOPBACKNET;
        if (inet_pton(AF_INET6, name, &six) == 1)
                return IN6_IS_ADDR_LOOPBACK(&six);
        return false;
}

/* A host name that no browser takes for another machine's. */
static bool is_own_machine(const char *name)
{
        return strcasecmp(name, "localhost") == 0 || is_loopback(name);
}

/* Copies text into buf and parses it. */
static int parse_copy(const char *text, size_t len, char buf[static AUTHORITY_MAX],
                      struct guard_host *ret)
{
        if (len >= AUTHORITY_MAX)
                return -EINVAL;
        memcpy(buf, text, len);
        buf[len] = '\0';
        return guard_host_parse(buf, ret);
}

/* Whether the user has allowed this Host. One without a port came by http, or by https through a
 * proxy. */
static bool is_allowed(const struct guard_rules *rules, const struct guard_host *host)
{
        for (size_t i = 0; i < rules->host_count; i++) {
                const struct guard_host *allowed = &rules->hosts[i];

                if (strcasecmp(host->name, allowed->name) != 0)
                        continue;
                if (allowed->port == 0 || allowed->port == host->port ||
                    (host->port == 0 &&
                     (allowed->port == HTTP_PORT || allowed->port == HTTPS_PORT)))
                        return true;
        }
        return false;
}

/* Whether it is the address that was connected to: an address is nobody's to rebind. */
static bool is_own_address(const char *name, uint32_t address)
{
        struct in_addr four;

        return address != 0 && inet_pton(AF_INET, name, &four) == 1 &&
               ntohl(four.s_addr) == address;
}

/* Browsers have sent a Host since before HTTP/1.1, and these with what a page asks for. */
static bool is_no_browser(const struct guard_request *rq)
{
        return rq->minor == 0 && rq->origin_count == 0 && rq->referer_count == 0 &&
               rq->sec_fetch_site_count == 0;
}

enum guard_verdict guard_addressed(const struct guard_rules *rules, const struct guard_request *rq)
{
        char buf[AUTHORITY_MAX];
        struct guard_host host;

        if (rq->header_count >= rq->header_max)
                return GUARD_BAD_HEADERS;
        if (rq->host_count == 0 && is_no_browser(rq))
                return GUARD_ALLOW;
        if (rq->host_count != 1 || parse_copy(rq->host, strlen(rq->host), buf, &host) < 0)
                return GUARD_BAD_HEADERS;
        if (is_allowed(rules, &host))
                return GUARD_ALLOW;
        if ((host.port ? host.port : HTTP_PORT) != rq->port)
                return GUARD_MISDIRECTED;
        return is_own_machine(host.name) || is_own_address(host.name, rq->address)
                       ? GUARD_ALLOW
                       : GUARD_MISDIRECTED;
}

/* How many characters of a URI are its origin: scheme://authority. 0: it has none ("null", RFC 6454
 * §7). */
static size_t origin_length(const char *uri)
{
        const char *sep = strstr(uri, "://");

        if (!sep || sep == uri)
                return 0;
        return (size_t)(sep - uri) + 3 + strcspn(sep + 3, "/?#");
}

/* What the authority of uri is, if its scheme is this one. */
static bool parse_origin(const char *uri, const char *scheme, char buf[static AUTHORITY_MAX],
                         struct guard_host *ret)
{
        size_t len = origin_length(uri), scheme_len = strlen(scheme);

        return len > scheme_len && strncasecmp(uri, scheme, scheme_len) == 0 &&
               parse_copy(uri + scheme_len, len - scheme_len, buf, ret) == 0;
}

/* Whether the origin of uri is the one that the request's Host names: by http, as the sidecar
 * speaks no other, or, where the user has allowed the host, by https through a proxy. */
static bool is_own_origin(const struct guard_rules *rules, const char *uri, const char *own_host)
{
        char uri_buf[AUTHORITY_MAX], own_buf[AUTHORITY_MAX];
        struct guard_host theirs, own;
        uint16_t port = HTTP_PORT;

        if (!own_host || parse_copy(own_host, strlen(own_host), own_buf, &own) < 0)
                return false;
        if (!parse_origin(uri, "http://", uri_buf, &theirs)) {
                if (!parse_origin(uri, "https://", uri_buf, &theirs) || !is_allowed(rules, &own))
                        return false;
                port = HTTPS_PORT;
        }
        return strcasecmp(theirs.name, own.name) == 0 &&
               (theirs.port ? theirs.port : port) == (own.port ? own.port : port);
}

static bool is_listed(const struct guard_rules *rules, const char *uri)
{
        size_t len = origin_length(uri);

        for (size_t i = 0; len > 0 && i < rules->origin_count; i++)
                if (strlen(rules->origins[i]) == len &&
                    strncasecmp(rules->origins[i], uri, len) == 0)
                        return true;
        return false;
}

/* Origin says more than Referer where both are there. */
static const char *asker(const struct guard_request *rq)
{
        return rq->origin ? rq->origin : rq->referer;
}

bool guard_is_listed(const struct guard_rules *rules, const struct guard_request *rq)
{
        const char *from = asker(rq);

        return from && is_listed(rules, from);
}

/* Whether it has a header that a browser sends for a page of another site only after a preflight,
 * to which only rules->origins get a yes (cors.h). */
static bool is_preflighted(const struct guard_request *rq)
{
        static const char *const types[] = {"application/json", "application/x-bittorrent"};
        size_t len;

        if (rq->requested_with)
                return true;
        len = rq->content_type ? strcspn(rq->content_type, "; \t") : 0;
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
                if (len == strlen(types[i]) && strncasecmp(rq->content_type, types[i], len) == 0)
                        return true;
        return false;
}

enum guard_verdict guard_change(const struct guard_rules *rules, const struct guard_request *rq)
{
        const char *from = asker(rq);
        char buf[AUTHORITY_MAX];
        struct guard_host host;

        if (rq->origin_count > 1 || rq->referer_count > 1 || rq->sec_fetch_site_count > 1)
                return GUARD_CROSS_SITE;
        if (guard_is_listed(rules, rq))
                return GUARD_ALLOW;
        if (from && !is_own_origin(rules, from, rq->host))
                return GUARD_CROSS_SITE;
        if (rq->sec_fetch_site && strcmp(rq->sec_fetch_site, "same-origin") != 0 &&
            strcmp(rq->sec_fetch_site, "none") != 0)
                return GUARD_CROSS_SITE;
        if (from || rq->sec_fetch_site || rq->trusted || is_preflighted(rq))
                return GUARD_ALLOW;
        if (!rq->host)
                return GUARD_UNKNOWN;
        if (parse_copy(rq->host, strlen(rq->host), buf, &host) < 0)
                return GUARD_BAD_HEADERS;
        return is_own_machine(host.name) ? GUARD_ALLOW : GUARD_UNKNOWN;
}
