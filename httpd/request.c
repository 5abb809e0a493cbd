/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <civetweb.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"

enum { BODY_CHUNK = 65536 };
/* 32 MiB in this time is 1 MiB/s; from the same machine. */
enum { BODY_MS = 30000 };

const char *request_header(const struct request *rq, const char *name, unsigned *ret_count)
{
        const char *value = NULL;
        unsigned count = 0;

        for (unsigned i = 0; i < rq->field_count; i++)
                if (strcasecmp(rq->fields[i].name, name) == 0) {
                        value = rq->fields[i].value;
                        count++;
                }
        if (ret_count)
                *ret_count = count;
        return count == 1 ? value : NULL;
}

int request_list(const struct request *rq, const char *name, char **ret)
{
        _cleanup_free_ char *list = NULL;

        for (unsigned i = 0; i < rq->field_count; i++) {
                char *longer;

                if (strcasecmp(rq->fields[i].name, name) != 0)
                        continue;
                if (asprintf(&longer, "%s%s%s", list ? list : "", list ? ", " : "",
                             rq->fields[i].value) < 0)
                        return -ENOMEM;
                free(list);
                list = longer;
        }
        *ret = list;
        list = NULL;
        return 0;
}

struct guard_request request_guard(const struct request *rq)
{
        struct guard_request g = {
                .header_count = rq->field_count,
                .header_max = REQUEST_FIELDS_MAX,
                .port = rq->port,
        };

        g.host = request_header(rq, "Host", &g.host_count);
        g.origin = request_header(rq, "Origin", &g.origin_count);
        g.referer = request_header(rq, "Referer", &g.referer_count);
        g.content_type = request_header(rq, "Content-Type", NULL);
        g.requested_with = request_header(rq, "X-Requested-With", NULL);
        g.sec_fetch_site = request_header(rq, "Sec-Fetch-Site", &g.sec_fetch_site_count);
        return g;
}

bool request_is_type(const struct request *rq, const char *type)
{
        const char *value = request_header(rq, "Content-Type", NULL);
        size_t len;

        if (!value)
                return false;
        len = strcspn(value, "; \t");
        return len == strlen(type) && strncasecmp(value, type, len) == 0;
}

static int read_body(struct request *rq, char *body, size_t len)
{
        uint64_t end = clock_ms() + BODY_MS;
        size_t used = 0;

        while (used < len) {
                int there = 0, n;
                size_t want;

                /* mg_read() waits until it has all it was asked for, each wait anew as long as
                 * request_timeout_ms. So ask only for what has arrived, and one byte where nothing
                 * has: it may be in civetweb's buffer. */
                if (ioctl(rq->client.fd, FIONREAD, &there) < 0)
                        return -errno;
                want = there > 0 ? (size_t)there : 1;
                if (want > len - used)
                        want = len - used;
                if (want > BODY_CHUNK)
                        want = BODY_CHUNK;
                n = mg_read(rq->connection, body + used, want);
                if (n <= 0)
                        return -EBADMSG;
                used += (size_t)n;
                if (clock_ms() >= end)
                        return -ETIMEDOUT;
        }
        return 0;
}

int request_body(struct request *rq, size_t max, char **ret, size_t *ret_len)
{
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        _cleanup_free_ char *body = NULL;
        const char *expect = request_header(rq, "Expect", NULL);
        unsigned length_count, coding_count;
        size_t len;
        int r;

        request_header(rq, "Content-Length", &length_count);
        request_header(rq, "Transfer-Encoding", &coding_count);
        /* RFC 9112 §6.3: a length may be insisted on, and one given twice or besides a coding is an
         * attack. */
        if (length_count != 1 || coding_count > 0 || rq->content_length < 0)
                return -ENODATA;
        if ((unsigned long long)rq->content_length > max)
                return -EFBIG;
        len = (size_t)rq->content_length;
        body = malloc(len + 1);
        if (!body)
                return -ENOMEM;
        if (len > 0 && expect && strcasecmp(expect, "100-continue") == 0 && rq->minor >= 1) {
                r = client_send(&rq->client, go_on, strlen(go_on));
                if (r < 0)
                        return r;
        }
        r = read_body(rq, body, len);
        if (r < 0)
                return r;
        rq->body_read = true;
        body[len] = '\0';
        *ret = body;
        *ret_len = len;
        body = NULL;
        return 0;
}

/* Pages of other sites may not embed what is here, nor learn from whether they can which torrents
 * are (Fetch standard, Cross-Origin-Resource-Policy). */
static const char *resource_policy(const struct request *rq)
{
        const struct guard_request g = request_guard(rq);

        return guard_is_listed(&rq->server->guard, &g) ? "same-site" : "same-origin";
}

static char *make_head(const struct request *rq, int status, const char *headers, const char *type,
                       uint64_t length, size_t *ret_len)
{
        char date[64] = "", content[256] = "";
        time_t now = time(NULL);
        struct tm tm;
        char *head;
        int n;

        if (gmtime_r(&now, &tm))
                strftime(date, sizeof date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        if (type)
                snprintf(content, sizeof content,
                         "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n", type, length);
        else if (status != 204 && status != 304) /* RFC 9110 §8.6 */
                snprintf(content, sizeof content, "Content-Length: 0\r\n");
        /* RFC 9112 §9.6: keep-alive would let clients hold threads. */
        n = asprintf(&head,
                     "HTTP/1.1 %d %s\r\n"
                     "%s"
                     "Connection: close\r\n"
                     "X-Content-Type-Options: nosniff\r\n"
                     "Cross-Origin-Resource-Policy: %s\r\n"
                     "%s"
                     "%s"
                     "\r\n",
                     status, mg_get_response_code_text(NULL, status), date, resource_policy(rq),
                     headers ? headers : "", content);
        if (n < 0)
                return NULL;
        *ret_len = (size_t)n;
        return head;
}

int request_answer_head(struct request *rq, int status, const char *headers, const char *type,
                        uint64_t length)
{
        _cleanup_free_ char *head = NULL;
        size_t len;

        head = make_head(rq, status, headers, type, length, &len);
        if (!head)
                return -ENOMEM;
        return client_send(&rq->client, head, len);
}

int request_answer(struct request *rq, int status, const char *headers, const char *type,
                   const char *body, size_t len)
{
        _cleanup_free_ char *answer = NULL;
        size_t head_len;
        char *larger;

        answer = make_head(rq, status, headers, type, len, &head_len);
        if (!answer)
                return status;
        if (type && !rq->head) {
                larger = realloc(answer, head_len + len);
                if (!larger)
                        return status;
                answer = larger;
                memcpy(answer + head_len, body, len);
                head_len += len;
        }
        if (client_send(&rq->client, answer, head_len) == 0 && !rq->body_read &&
            (request_header(rq, "Content-Length", NULL) ||
             request_header(rq, "Transfer-Encoding", NULL)))
                client_drain(&rq->client);
        return status;
}
