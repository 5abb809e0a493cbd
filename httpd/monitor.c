/* SPDX-License-Identifier: MIT */
#include "monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "api.h"
#include "json.h"
#include "metrics.h"
#include "server.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void write_slots(FILE *f, struct server *s)
{
        const struct {
                const char *name;
                struct slots *slots;
        } all[] = {{"streams", &s->streams},
                   {"waits", &s->waits},
                   {"bodies", &s->bodies},
                   {"listeners", &s->listeners}};
        enum { COUNT = sizeof all / sizeof all[0] };

        metrics_head(f, "magnetfs_http_slots_used", "gauge", "Places that are taken.");
        for (size_t i = 0; i < COUNT; i++)
                fprintf(f, "magnetfs_http_slots_used{kind=\"%s\"} %u\n", all[i].name,
                        atomic_load(&all[i].slots->used));
        metrics_head(f, "magnetfs_http_slots_limit", "gauge", "Places that there are.");
        for (size_t i = 0; i < COUNT; i++)
                fprintf(f, "magnetfs_http_slots_limit{kind=\"%s\"} %u\n", all[i].name,
                        all[i].slots->limit);
}

/* Counts the torrents of the mount's status by their state. It may be megabytes, so it is not
 * parsed: a quote within a string has a backslash before it, so this key and its value are found in
 * no string. */
static void write_states(FILE *f, const char *status)
{
        static const char key[] = "\"state\":\"";
        static const char *const names[] = {"pending", "awake", "asleep"};
        enum { COUNT = sizeof names / sizeof names[0] };
        uint64_t counts[COUNT] = {0};

        for (const char *p = status; p && (p = strstr(p, key)) != NULL;) {
                p += strlen(key);
                for (size_t i = 0; i < COUNT; i++)
                        if (strncmp(p, names[i], strlen(names[i])) == 0 &&
                            p[strlen(names[i])] == '"')
                                counts[i]++;
        }
        metrics_head(f, "magnetfs_torrents", "gauge", "Torrents by state.");
        for (size_t i = 0; i < COUNT; i++)
                fprintf(f, "magnetfs_torrents{state=\"%s\"} %" PRIu64 "\n", names[i], counts[i]);
}

/* What of the mount's session is told. */
static void write_session(FILE *f, const cJSON *session)
{
        static const struct {
                const char *group, *member, *name, *type, *help;
        } all[] = {
                {"session", "peers", "magnetfs_peers", "gauge", "Peers connected."},
                {"session", "dhtNodes", "magnetfs_dht_nodes", "gauge", "Nodes of the DHT known."},
                {"session", "downloadRate", "magnetfs_download_bytes_per_second", "gauge",
                 "What the swarm gives."},
                {"session", "uploadRate", "magnetfs_upload_bytes_per_second", "gauge",
                 "What the swarm is given."},
                {"cache", "usedBytes", "magnetfs_cache_bytes", "gauge",
                 "What the cache has on the disk."},
                {"cache", "limitBytes", "magnetfs_cache_limit_bytes", "gauge", "What it may have."},
                {"cache", "evictedBytes", "magnetfs_cache_evicted_bytes_total", "counter",
                 "What made room for something else, since the start of magnetfs."},
                {NULL, "openFiles", "magnetfs_open_files", "gauge", "Files of the mount open."},
                {NULL, "parkedReads", "magnetfs_parked_reads", "gauge",
                 "Reads that wait for the swarm."},
                {NULL, "timedOutReads", "magnetfs_timed_out_reads_total", "counter",
                 "Reads that got nothing for as long as they may wait, since the start of "
                 "magnetfs."},
                {NULL, "uptime", "magnetfs_uptime_seconds", "gauge", "Since magnetfs started."},
        };

        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
                const cJSON *group =
                        all[i].group ? cJSON_GetObjectItemCaseSensitive(session, all[i].group)
                                     : session;
                const cJSON *n = cJSON_GetObjectItemCaseSensitive(group, all[i].member);

                if (!cJSON_IsNumber(n))
                        continue;
                metrics_head(f, all[i].name, all[i].type, all[i].help);
                fprintf(f, "%s %.0f\n", all[i].name, n->valuedouble);
        }
}

int monitor_show(struct request *rq, const struct route_match *match)
{
        _cleanup_free_ char *text = NULL, *status = NULL, *session = NULL;
        cJSON *json = NULL;
        size_t len = 0;
        FILE *f;
        int r;

        (void)match;
        r = mountpoint_session(rq->server->mount, &session);
        if (r == 0)
                r = mountpoint_status(rq->server->mount, &status);
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot read the mount's status");
        f = open_memstream(&text, &len);
        if (!f)
                return api_problem_errno(rq, -errno, "Cannot write the metrics");
        json = json_parse(session);
        metrics_head(f, "magnetfs_info", "gauge", "The version, as a label.");
        fputs("magnetfs_info{version=\"" MAGNETFS_VERSION "\"} 1\n", f);
        metrics_write(&rq->server->metrics, f, routes_name);
        write_slots(f, rq->server);
        write_session(f, json);
        write_states(f, status);
        cJSON_Delete(json);
        if (fclose(f) != 0)
                return api_problem_errno(rq, -ENOMEM, "Cannot write the metrics");
        return request_answer(rq, 200, "Cache-Control: no-store\r\n", METRICS_TYPE, text, len);
}
