/* SPDX-License-Identifier: MIT */
#include "events.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "api.h"
#include "json.h"

/* A proxy ends a connection on which nothing comes for a minute. */
enum { HEARTBEAT_MS = 15000 };
/* Whoever takes nothing for so long is let go, before the mount's buffer for it is full and events
 * are lost: it comes back and is told to look anew. */
enum { SLOW_MS = 5000 };

/* Nothing is kept of what happened while a client was away, so each one that comes, or comes back
 * (Last-Event-ID), is told first that what it knows may be old. From then on it misses nothing. */
static int send_reset(struct request *rq, uint64_t id)
{
        static const char format[] = "retry: 2000\n\n"
                                     "id: %" PRIu64 "\n"
                                     "event: reset\n"
                                     "data: {\"event\":\"reset\",\"resumed\":%s}\n\n";
        unsigned count;
        char text[sizeof format + 64];
        int n;

        request_header(rq, "Last-Event-ID", &count);
        n = snprintf(text, sizeof text, format, id, count > 0 ? "true" : "false");
        return client_send(&rq->client, text, (size_t)n);
}

/* Sends what the mount tells in one line of JSON, with the progress worked out. */
static int send_event(struct request *rq, uint64_t id, const char *line)
{
        _cleanup_free_ char *text = NULL;
        cJSON *json = json_parse(line);
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "event"));
        const cJSON *length = cJSON_GetObjectItemCaseSensitive(json, "length");
        const cJSON *have = cJSON_GetObjectItemCaseSensitive(json, "haveBytes");
        char *data = NULL;
        int n = -1;

        /* It took too little for too long, and the mount has forgotten some. */
        if (name && strcmp(name, "lost") == 0) {
                cJSON_Delete(json);
                return send_reset(rq, id);
        }
        if (name && cJSON_IsNumber(length) && cJSON_IsNumber(have) && length->valuedouble > 0)
                cJSON_AddNumberToObject(json, "progress", have->valuedouble / length->valuedouble);
        if (name)
                data = cJSON_PrintUnformatted(json);
        if (data)
                n = asprintf(&text, "id: %" PRIu64 "\nevent: %s\ndata: %s\n\n", id, name, data);
        cJSON_free(data);
        cJSON_Delete(json);
        if (n < 0) {
                text = NULL;
                return name ? -ENOMEM : -EBADMSG;
        }
        return client_send(&rq->client, text, (size_t)n);
}

/* Ids are times of this clock, so that they grow also over a restart of the sidecar. */
static int follow(struct request *rq, int fd)
{
        static const char heartbeat[] = ":\n\n";
        uint64_t id = clock_ms();
        int r = send_reset(rq, id);

        while (r == 0) {
                _cleanup_free_ char *line = NULL;

                r = mountpoint_events_next(fd, &rq->client, HEARTBEAT_MS, &line);
                if (r == -ETIMEDOUT)
                        r = client_send(&rq->client, heartbeat, strlen(heartbeat));
                else if (r == 0)
                        r = send_event(rq, ++id, line);
        }
        return r;
}

int events_listen(struct request *rq, const struct route_match *match)
{
        _cleanup_close_ int fd = -1;
        int r;

        (void)match;
        if (!rq->head) {
                r = mountpoint_events_open(rq->server->mount, &fd);
                if (r < 0)
                        return api_problem_errno(rq, r, "Cannot listen to the mount's events");
        }
        rq->client.stall_ms = SLOW_MS;
        r = request_answer_head(rq, 200, "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n",
                                "text/event-stream", REQUEST_UNBOUNDED);
        if (r == 0 && !rq->head)
                r = follow(rq, fd);
        if (r < 0)
                log_debug_errno(r, "A listener to events ends: %m");
        return 200;
}
