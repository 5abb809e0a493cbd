/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <civetweb.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/cleanup.h"
#include "access.h"
#include "body.h"
#include "door.h"

/* Answers that wait for clients to take them. */
#define RESTS_MAX (64u << 20)
/* What a client's socket takes at once. */
#define SMALL_BYTES (64u << 10)

static const char no_room[] =
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
        "\"detail\":\"Too much is on its way to slow clients\","
        "\"error\":\"Too much is on its way to slow clients\"}";

const char request_go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

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
                .header_max = HEAD_FIELDS_MAX + 1, /* more are refused before */
                .minor = rq->minor,
                .trusted = rq->trusted,
                .address = access_address(rq),
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

int request_body(struct request *rq, size_t max, char **ret, size_t *ret_len)
{
        const struct head *head = &rq->head_facts;
        int r;

        if (head->body == HEAD_NO_BODY)
                return -ENODATA;
        if (head->content_length > max)
                return -EFBIG;
        r = 0;
        if (head->expects && !rq->body_read)
                r = client_send(&rq->client, request_go_on, strlen(request_go_on));
        if (r == 0)
                r = body_read(&rq->client, head, max, ret, ret_len);
        rq->body_read = r == 0;
        if (r == 0 && rq->next) {
                if (slots_take(rq->next)) {
                        slots_give(rq->slots);
                        rq->slots = rq->next;
                        rq->client.wanted_ms = &rq->slots->wanted_ms;
                        rq->next = NULL;
                } else {
                        free(*ret);
                        *ret = NULL;
                        r = -EBUSY;
                }
        }
        /* Some of it may have been read: where the next request begins is not known any more. */
        if (r < 0)
                rq->persists = false;
        return r;
}

/* What follows the head in the connection must be the next request, or the connection ends. */
static void leave_body(struct request *rq)
{
        if (!rq->body_read && rq->persists)
                rq->persists = rq->body_read = body_skip(&rq->client, &rq->head_facts);
}

/* Some of civetweb's are those of RFC 2616. */
const char *request_phrase(int status)
{
        switch (status) {
        case 408:
                return "Request Timeout";
        case 413:
                return "Content Too Large";
        case 416:
                return "Range Not Satisfiable";
        case 504:
                return "Gateway Timeout";
        case 505:
                return "HTTP Version Not Supported";
        default:
                return mg_get_response_code_text(NULL, status);
        }
}

static char *make_head(struct request *rq, int status, const char *headers, const char *type,
                       uint64_t length, size_t *ret_len)
{
        char date[64] = "", content[256] = "", access[CORS_HEADERS_MAX];
        time_t now = time(NULL);
        struct tm tm;
        char *head;
        int n;

        leave_body(rq);
        metrics_answer(&rq->server->metrics, rq->route - 1, rq->head, status);
        if (length == REQUEST_UNBOUNDED || rq->answered || atomic_load(&rq->server->stopping))
                rq->persists = false;
        if (gmtime_r(&now, &tm))
                strftime(date, sizeof date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        if (type && length == REQUEST_UNBOUNDED)
                snprintf(content, sizeof content, "Content-Type: %s\r\n", type);
        else if (type)
                snprintf(content, sizeof content,
                         "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n", type, length);
        else if (status != 204 && status != 304) /* RFC 9110 §8.6 */
                snprintf(content, sizeof content, "Content-Length: 0\r\n");
        access_headers(rq, access);
        n = asprintf(&head,
                     "HTTP/1.1 %d %s\r\n"
                     "%s"
                     "Connection: %s\r\n"
                     "X-Content-Type-Options: nosniff\r\n"
                     "%s"
                     "%s"
                     "%s"
                     "\r\n",
                     status, request_phrase(status), date, rq->persists ? "keep-alive" : "close",
                     access, headers ? headers : "", content);
        if (n < 0)
                return NULL;
        *ret_len = (size_t)n;
        return head;
}

/* Takes note of what has to be sent for the answer to be whole. */
static void promise(struct request *rq, uint64_t bytes)
{
        rq->answered = true;
        rq->client.probe = NULL;
        rq->answer_end = rq->client.sent_bytes + bytes;
}

int request_answer_head(struct request *rq, int status, const char *headers, const char *type,
                        uint64_t length)
{
        _cleanup_free_ char *head = NULL;
        size_t len;

        head = make_head(rq, status, headers, type, length, &len);
        if (!head)
                return -ENOMEM;
        promise(rq, len + (rq->head || !type || length == REQUEST_UNBOUNDED ? 0 : length));
        return client_send(&rq->client, head, len);
}

/* Whether the door may have the rest of an answer. A single one may be longer than that, else it
 * could never be sent. */
static bool has_room(const struct request *rq, size_t len)
{
        size_t rests = door_rests(rq->server->door);

        return rests == 0 || (rests < RESTS_MAX && len <= RESTS_MAX - rests);
}

/* Sends an answer that is there as a whole; takes it over. */
static void send_whole(struct request *rq, char *answer, size_t len)
{
        size_t sent = 0;

        if (rq->aside) {
                client_send(&rq->client, answer, len);
        } else if (client_send_some(&rq->client, answer, len, &sent) == 0 && sent < len &&
                   !rq->rest && has_room(rq, len - sent)) {
                rq->rest = answer;
                rq->rest_at = sent;
                rq->rest_bytes = len - sent;
                return;
        }
        free(answer);
}

int request_answer(struct request *rq, int status, const char *headers, const char *type,
                   const char *body, size_t len)
{
        size_t head_len;
        char *answer, *larger;

        /* Before the head says that all of it follows. */
        if (!rq->aside && !rq->head && type && len > SMALL_BYTES && !has_room(rq, len))
                return request_answer(rq, 503, "Cache-Control: no-store\r\nRetry-After: 2\r\n",
                                      "application/problem+json", no_room, strlen(no_room));
        answer = make_head(rq, status, headers, type, len, &head_len);
        if (!answer)
                return status;
        if (type && !rq->head) {
                larger = realloc(answer, head_len + len);
                if (!larger) {
                        free(answer);
                        return status;
                }
                answer = larger;
                memcpy(answer + head_len, body, len);
                head_len += len;
        }
        promise(rq, head_len);
        send_whole(rq, answer, head_len);
        return status;
}
