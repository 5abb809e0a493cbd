/* SPDX-License-Identifier: MIT */
#include "cors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Chromium keeps an answer to a preflight two hours at most; ten minutes are short enough for a
 * changed --cors. */
#define PREFLIGHT_AGE_S 600

/* What a page may send besides the headers that need no asking. */
#define LISTED_HEADERS                                                                             \
        "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, "       \
        "Content-Type, Authorization, X-Requested-With, Last-Event-ID, Cache-Control, Depth"
/* For any page: nothing that the guard takes for a sign of a program. */
#define ANY_HEADERS                                                                                \
        "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, "       \
        "Authorization"
/* What a page may see besides the headers that it may see anyway. */
#define EXPOSED                                                                                    \
        "Content-Range, Content-Length, Accept-Ranges, ETag, Last-Modified, Content-Disposition, " \
        "Retry-After, Allow, WWW-Authenticate"

enum cors_grant cors_judge(const struct guard_rules *rules, const struct guard_request *rq,
                           bool is_file)
{
        if (guard_is_listed(rules, rq))
                return CORS_LISTED;
        return rules->any_streams && is_file ? CORS_ANY : CORS_NONE;
}

/* Adds lines to a text of CORS_HEADERS_MAX bytes; what does not fit is left out whole. */
static void __attribute__((format(printf, 2, 3))) add(char *buf, const char *format, ...)
{
        size_t used = strlen(buf), room = CORS_HEADERS_MAX - used;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(buf + used, room, format, ap);
        va_end(ap);
        if (n < 0 || (size_t)n >= room)
                buf[used] = '\0';
}

static void add_preflight(char *buf, enum cors_grant grant, const struct cors_preflight *p)
{
        add(buf, "Access-Control-Allow-Methods: %s\r\n",
            grant == CORS_ANY ? "GET, HEAD" : p->methods);
        add(buf, "Access-Control-Allow-Headers: %s\r\n",
            grant == CORS_ANY ? ANY_HEADERS : LISTED_HEADERS);
        add(buf, "Access-Control-Max-Age: %d\r\n", PREFLIGHT_AGE_S);
        if (p->private_network)
                add(buf, "Access-Control-Allow-Private-Network: true\r\n");
}

void cors_write(const struct guard_rules *rules, const struct guard_request *rq,
                enum cors_grant grant, const struct cors_preflight *preflight,
                char buf[static CORS_HEADERS_MAX])
{
        buf[0] = '\0';
        /* Pages of other sites may not embed what is here, nor learn from whether they can which
         * torrents are (Fetch standard, Cross-Origin-Resource-Policy). */
        add(buf, "Cross-Origin-Resource-Policy: %s\r\n",
            grant == CORS_NONE ? "same-origin" : "cross-origin");
        /* A cache must not give one origin what was said to another (RFC 9110 §12.5.5). */
        if (rules->origin_count > 0 || rules->any_streams)
                add(buf, "Vary: Origin\r\n");
        if (grant == CORS_NONE || (grant == CORS_LISTED && !rq->origin))
                return;
        /* Listed are whole origins, so this is one of them, in the browser's spelling. */
        add(buf, "Access-Control-Allow-Origin: %s\r\n", grant == CORS_ANY ? "*" : rq->origin);
        if (preflight)
                add_preflight(buf, grant, preflight);
        else
                add(buf, "Access-Control-Expose-Headers: " EXPOSED "\r\n");
}
