/* SPDX-License-Identifier: MIT */
#include "events.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "api.h"
#include "json.h"

/* A proxy ends a connection on which nothing comes for a minute. */
enum { HEARTBEAT_MS = 15000 };
/* Whoever takes nothing for so long is let go, before the mount's buffer for it is full and events
 * are lost: it comes back and is told to look anew. */
enum { SLOW_MS = 5000 };

/* What the client knows may be old: it looks at the torrents anew. id: of the last event until now,
 * which the client names when it comes back; 0: nobody knows. */
static int send_reset(struct request *rq, uint64_t id)
{
        static const char event[] = "event: reset\n"
                                    "data: {\"event\":\"reset\",\"resumed\":";
        unsigned count;
        char text[sizeof event + 64];
        int n = 0;

        request_header(rq, "Last-Event-ID", &count);
        if (id > 0)
                n = snprintf(text, sizeof text, "id: %" PRIu64 "\n", id);
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%s}\n\n", event,
                      count > 0 ? "true" : "false");
        return client_send(&rq->client, text, (size_t)n);
}

/* Sends what the mount tells in one line of JSON, with the progress worked out. */
static int send_event(struct request *rq, const char *line)
{
        _cleanup_free_ char *text = NULL;
        cJSON *json = json_parse(line), *id = cJSON_DetachItemFromObjectCaseSensitive(json, "id");
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "event"));
        const cJSON *length = cJSON_GetObjectItemCaseSensitive(json, "length");
        const cJSON *have = cJSON_GetObjectItemCaseSensitive(json, "haveBytes");
        uint64_t number = cJSON_IsNumber(id) ? (uint64_t)id->valuedouble : 0;
        char *data = NULL;
        int n = -1;

        cJSON_Delete(id);
        if (name && strcmp(name, "lost") == 0) {
                cJSON_Delete(json);
                return send_reset(rq, number);
        }
        if (name && cJSON_IsNumber(length) && cJSON_IsNumber(have) && length->valuedouble > 0)
                cJSON_AddNumberToObject(json, "progress", have->valuedouble / length->valuedouble);
        if (name)
                data = cJSON_PrintUnformatted(json);
        if (data)
                n = asprintf(&text, "id: %" PRIu64 "\nevent: %s\ndata: %s\n\n", number, name, data);
        cJSON_free(data);
        cJSON_Delete(json);
        if (n < 0) {
                text = NULL;
                return name ? -ENOMEM : -EBADMSG;
        }
        return client_send(&rq->client, text, (size_t)n);
}

/* The id of the last event that the client has seen, as it says; 0: none. */
static uint64_t last_seen(const struct request *rq)
{
        const char *value = request_header(rq, "Last-Event-ID", NULL);
        char *end;
        unsigned long long id;

        if (!value || !isdigit((unsigned char)*value))
                return 0;
        errno = 0;
        id = strtoull(value, &end, 10);
        return errno || *end ? 0 : id;
}

static int follow(struct request *rq, int fd, bool from_now)
{
        static const char retry[] = "retry: 2000\n\n", heartbeat[] = ":\n\n";
        int r = client_send(&rq->client, retry, strlen(retry));

        if (r == 0 && from_now)
                r = send_reset(rq, 0);
        while (r == 0) {
                _cleanup_free_ char *line = NULL;

                r = mountpoint_events_next(fd, &rq->client, HEARTBEAT_MS, &line);
                if (r == -ETIMEDOUT)
                        r = client_send(&rq->client, heartbeat, strlen(heartbeat));
                else if (r == 0)
                        r = send_event(rq, line);
        }
        return r;
}

int events_listen(struct request *rq, const struct route_match *match)
{
        _cleanup_close_ int fd = -1;
        bool from_now = false;
        int r;

        (void)match;
        if (!rq->head) {
                r = mountpoint_events_open(rq->server->mount, last_seen(rq), &fd);
                from_now = r > 0;
                if (r < 0)
                        return api_problem_errno(rq, r, "Cannot listen to the mount's events");
        }
        rq->client.stall_ms = SLOW_MS;
        r = request_answer_head(rq, 200, "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n",
                                "text/event-stream", REQUEST_UNBOUNDED);
        if (r == 0 && !rq->head)
                r = follow(rq, fd, from_now);
        if (r < 0)
                log_debug_errno(r, "A listener to events ends: %m");
        return 200;
}
