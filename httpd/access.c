/* SPDX-License-Identifier: MIT */
#include "access.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/token.h"
#include "api.h"
#include "uri.h"

static const char parameter[] = "token=";

/* What of a query is escaped stands for the same (RFC 3986 §6.2.2.2). */
static bool is_token(const char *token, const char *given, size_t len)
{
        _cleanup_free_ char *decoded = NULL;

        return uri_decode(given, len, &decoded) == 0 && token_is(token, decoded, strlen(decoded));
}

/* Takes each token= out of a query; whether the last one is the token. */
static bool take_from_query(const char *token, char *query)
{
        const size_t name_len = sizeof parameter - 1;
        bool right = false;
        char *from = query, *to = query;

        while (*from) {
                size_t len = strcspn(from, "&");

                if (strncmp(from, parameter, name_len) == 0) {
                        right = is_token(token, from + name_len, len - name_len);
                } else {
                        if (to > query)
                                *to++ = '&';
                        memmove(to, from, len);
                        to += len;
                }
                from += len;
                if (*from)
                        from++;
        }
        *to = '\0';
        return right;
}

void access_take_token(struct request *rq)
{
        static const char scheme[] = "Bearer ";
        const char *given = request_header(rq, "Authorization", NULL);
        const char *token = rq->server->token;
        bool in_query = false;

        if (!token)
                return;
        /* The query is the request's own memory, of which nothing else points in here. */
        if (rq->query)
                in_query = take_from_query(token, (char *)(uintptr_t)rq->query);
        if (rq->query && rq->query[0] == '\0')
                rq->query = NULL;
        if (given && strncasecmp(given, scheme, strlen(scheme)) == 0) {
                given += strlen(scheme);
                given += strspn(given, " ");
                rq->trusted = token_is(token, given, strlen(given));
                return;
        }
        rq->trusted = rq->token_in_query = in_query;
}

bool access_is_granted(const struct request *rq)
{
        return !rq->server->token || rq->trusted;
}

int access_refuse(struct request *rq)
{
        return api_problem(rq, 401, "WWW-Authenticate: Bearer realm=\"magnetfs\"\r\n",
                           "A token is needed: as Authorization: Bearer, or as ?token=");
}

void access_link_suffix(const struct request *rq, bool begun, char ret[static ACCESS_SUFFIX_MAX])
{
        ret[0] = '\0';
        if (rq->token_in_query)
                snprintf(ret, ACCESS_SUFFIX_MAX, "%c%s%s", begun ? '&' : '?', parameter,
                         rq->server->token);
}

uint32_t access_address(const struct request *rq)
{
        struct sockaddr_in own = {0};
        socklen_t len = sizeof own;
        uint32_t address;

        if (rq->server->address >> 24 == IN_LOOPBACKNET ||
            getsockname(rq->client.fd, (struct sockaddr *)&own, &len) < 0 ||
            own.sin_family != AF_INET)
                return 0;
        address = ntohl(own.sin_addr.s_addr);
        return address >> 24 == IN_LOOPBACKNET ? 0 : address;
}

void access_headers(const struct request *rq, char ret[static CORS_HEADERS_MAX])
{
        const struct guard_rules *rules = &rq->server->guard;
        const struct guard_request g = request_guard(rq);

        cors_write(rules, &g, cors_judge(rules, &g, rq->is_file), rq->preflight, ret);
}

bool access_is_preflight(const struct request *rq)
{
        return strcmp(rq->method, "OPTIONS") == 0 && request_header(rq, "Origin", NULL) &&
               request_header(rq, "Access-Control-Request-Method", NULL);
}

int access_preflight(struct request *rq, const char *methods, bool is_file)
{
        const char *network = request_header(rq, "Access-Control-Request-Private-Network", NULL);
        const struct cors_preflight preflight = {
                .methods = methods,
                .private_network = network && strcmp(network, "true") == 0,
        };
        const struct guard_request g = request_guard(rq);
        int status;

        if (cors_judge(&rq->server->guard, &g, is_file) == CORS_NONE)
                return api_problem(rq, 403, NULL,
                                   "Pages of this origin may not ask; allow it with --cors");
        rq->is_file = is_file;
        rq->preflight = &preflight;
        status = request_answer(rq, 204, NULL, NULL, NULL, 0);
        rq->preflight = NULL;
        return status;
}
