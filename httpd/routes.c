/* SPDX-License-Identifier: MIT */
#include "routes.h"

#include <civetweb.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "access.h"
#include "api.h"
#include "body.h"
#include "dav.h"
#include "events.h"
#include "json.h"
#include "monitor.h"
#include "openapi.h"
#include "playlist.h"
#include "stream.h"
#include "torrents.h"

/* /healthz: how long the mount may take, and how long its session's thread may have shown no sign
 * of life. */
enum { HEALTH_WAIT_MS = 1000 };
enum { HEARTBEAT_MS = 5000 };
enum { ALLOW_MAX = 128 };

enum route_flags {
        ROUTE_CHANGES = 1 << 0, /* no page of another site may ask for it */
        ROUTE_MOUNT = 1 << 1,   /* makes calls on the mount */
        ROUTE_HEAD = 1 << 2,    /* answers HEAD as it answers GET */
        /* What it takes a place of while it runs (server.h); without any of these it is soon done.
         */
        ROUTE_WAITS = 1 << 3,   /* may wait for the swarm */
        ROUTE_STREAMS = 1 << 4, /* sends a file; a HEAD of it only waits */
        ROUTE_LISTENS = 1 << 5, /* goes on for as long as the client listens */
        ROUTE_EMPTY = 1 << 6,   /* its last * may be nothing */
        ROUTE_OPEN = 1 << 7,    /* needs no token */
        ROUTE_FILES = 1 << 8,   /* sends nothing but files: what --cors '*' opens to any page */
};

struct route {
        const char *method;
        const char *pattern; /* {hash}: an info-hash; a last *: all that follows, at least one
                                character */
        unsigned flags;
        int (*handler)(struct request *rq, const struct route_match *match);
        const char *summary;
};

static int show_index(struct request *rq, const struct route_match *match);
static int show_health(struct request *rq, const struct route_match *match);
static int show_openapi(struct request *rq, const struct route_match *match);

static const struct route routes[] = {
        {"GET", "/", ROUTE_HEAD, show_index, "This list"},
        {"GET", "/add/*", ROUTE_CHANGES | ROUTE_MOUNT | ROUTE_WAITS, torrents_add_link,
         "Add a magnet or an info-hash and list its files; ?keep=1 keeps it"},
        {"GET", "/torrents", ROUTE_MOUNT | ROUTE_HEAD, torrents_list,
         "All torrents with state and progress"},
        {"POST", "/torrents", ROUTE_CHANGES | ROUTE_MOUNT | ROUTE_WAITS, torrents_add_body,
         "Add a magnet (text or JSON) or a .torrent and list its files"},
        {"GET", "/torrents/{hash}", ROUTE_MOUNT | ROUTE_HEAD, torrents_show, "One torrent"},
        {"DELETE", "/torrents/{hash}", ROUTE_CHANGES | ROUTE_MOUNT, torrents_remove,
         "Remove a torrent and its data"},
        {"PUT", "/torrents/{hash}/keep", ROUTE_CHANGES | ROUTE_MOUNT, torrents_keep,
         "Keep a torrent"},
        {"DELETE", "/torrents/{hash}/keep", ROUTE_CHANGES | ROUTE_MOUNT, torrents_unkeep,
         "Let a torrent go when it is idle"},
        {"GET", "/stream/{hash}", ROUTE_MOUNT | ROUTE_HEAD | ROUTE_STREAMS | ROUTE_FILES,
         stream_largest, "The largest media file"},
        {"GET", "/stream/{hash}/*", ROUTE_MOUNT | ROUTE_HEAD | ROUTE_STREAMS | ROUTE_FILES,
         stream_file, "A file by its path, or by its bare name if that is unique"},
        {"OPTIONS", "/dav", 0, dav_options, "Which WebDAV there is"},
        {"PROPFIND", "/dav", ROUTE_MOUNT | ROUTE_WAITS, dav_propfind, "The torrents"},
        {"GET", "/dav", ROUTE_MOUNT | ROUTE_HEAD | ROUTE_STREAMS, dav_get, "A page of them"},
        {"OPTIONS", "/dav/*", ROUTE_EMPTY, dav_options, "The same"},
        {"PROPFIND", "/dav/*", ROUTE_EMPTY | ROUTE_MOUNT | ROUTE_WAITS, dav_propfind,
         "A torrent, directory or file by its path, and what is in it"},
        {"GET", "/dav/*", ROUTE_EMPTY | ROUTE_MOUNT | ROUTE_HEAD | ROUTE_STREAMS, dav_get,
         "A file, or a page of a directory"},
        {"GET", "/playlist/{hash}.m3u8", ROUTE_MOUNT | ROUTE_HEAD | ROUTE_WAITS, playlist_show,
         "Video and audio of a torrent in natural order; ?all=1 lists all files"},
        {"GET", "/playlist/{hash}.m3u", ROUTE_MOUNT | ROUTE_HEAD | ROUTE_WAITS, playlist_show,
         "The same"},
        {"GET", "/events", ROUTE_MOUNT | ROUTE_HEAD | ROUTE_LISTENS, events_listen,
         "What happens to torrents, as server-sent events"},
        {"GET", "/metrics", ROUTE_MOUNT | ROUTE_HEAD, monitor_show,
         "Counters and gauges for Prometheus"},
        {"GET", "/healthz", ROUTE_HEAD | ROUTE_OPEN, show_health, "Whether the mount answers"},
        {"GET", "/openapi.json", ROUTE_HEAD, show_openapi, "The API in OpenAPI's terms"},
};

#define ROUTE_COUNT (sizeof routes / sizeof routes[0])

static int show_index(struct request *rq, const struct route_match *match)
{
        cJSON *json = cJSON_CreateObject(), *list;

        (void)match;
        cJSON_AddStringToObject(json, "name", "magnetfs");
        cJSON_AddStringToObject(json, "version", MAGNETFS_VERSION);
        list = cJSON_AddArrayToObject(json, "routes");
        for (size_t i = 0; i < ROUTE_COUNT; i++) {
                cJSON *item = cJSON_CreateObject();

                cJSON_AddStringToObject(item, "method", routes[i].method);
                cJSON_AddStringToObject(item, "path", routes[i].pattern);
                cJSON_AddStringToObject(item, "summary", routes[i].summary);
                cJSON_AddItemToArray(list, item);
        }
        return api_json(rq, 200, json);
}

static int show_openapi(struct request *rq, const struct route_match *match)
{
        struct openapi_route told[ROUTE_COUNT];

        (void)match;
        for (size_t i = 0; i < ROUTE_COUNT; i++)
                told[i] = (struct openapi_route){
                        .method = routes[i].method,
                        .pattern = routes[i].pattern,
                        .summary = routes[i].summary,
                        .head = routes[i].flags & ROUTE_HEAD,
                        .changes = routes[i].flags & ROUTE_CHANGES,
                        .mount = routes[i].flags & ROUTE_MOUNT,
                        .open = routes[i].flags & ROUTE_OPEN,
                };
        return api_json(rq, 200, openapi_make(told, ROUTE_COUNT, rq->server->token));
}

/* What of the mount's session is told; takes it over. */
static int answer_health(struct request *rq, cJSON *session)
{
        static const char *const told[] = {"heartbeatAge", "uptime", "version", "openFiles",
                                           "parkedReads"};
        const cJSON *age = cJSON_GetObjectItemCaseSensitive(session, "heartbeatAge");
        const cJSON *count = cJSON_GetObjectItemCaseSensitive(session, "torrentCount");
        cJSON *json;

        if (!cJSON_IsNumber(age) || age->valuedouble > HEARTBEAT_MS) {
                cJSON_Delete(session);
                return api_problem(rq, 503, API_RETRY_SOON,
                                   "The torrent session shows no sign of life");
        }
        json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "status", "ok");
        if (!access_is_granted(rq)) { /* a health check has no token, and needs no more */
                cJSON_Delete(session);
                return api_json(rq, 200, json);
        }
        cJSON_AddNumberToObject(json, "torrents", cJSON_IsNumber(count) ? count->valuedouble : 0);
        for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
                cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(session, told[i]);

                if (item && !cJSON_AddItemToObject(json, told[i], item))
                        cJSON_Delete(item);
        }
        cJSON_Delete(session);
        return api_json(rq, 200, json);
}

static int show_health(struct request *rq, const struct route_match *match)
{
        _cleanup_free_ char *text = NULL;
        int r;

        (void)match;
        r = health_session(rq->server->health, HEALTH_WAIT_MS, &text);
        if (r == -ETIMEDOUT)
                return api_problem(rq, 503, API_RETRY_SOON, "The mount does not answer");
        if (r < 0)
                return api_problem(rq, 503, API_RETRY_SOON, "The mount cannot be read: %s",
                                   strerrordesc_np(-r));
        return answer_health(rq, json_parse(text));
}

enum match_result {
        MATCH_NO,
        MATCH_YES,
        MATCH_BAD_HASH, /* all but the {hash} matches */
};

static enum match_result match_route(const struct route *route, const char *path,
                                     struct route_match *ret)
{
        static const char hash_mark[] = "{hash}";
        struct route_match m = {.rest = NULL};
        enum match_result result = MATCH_YES;
        const char *pattern = route->pattern;

        while (*pattern) {
                if (strcmp(pattern, "*") == 0) {
                        if (*path == '\0' && !(route->flags & ROUTE_EMPTY))
                                return MATCH_NO;
                        m.rest = path;
                        *ret = m;
                        return result;
                }
                if (strncmp(pattern, hash_mark, strlen(hash_mark)) == 0) {
                        size_t len = strcspn(path, "/.");

                        if (len == 0)
                                return MATCH_NO;
                        if (uri_info_hash(path, len, m.hash) < 0)
                                result = MATCH_BAD_HASH;
                        path += len;
                        pattern += strlen(hash_mark);
                        continue;
                }
                if (*pattern++ != *path++)
                        return MATCH_NO;
        }
        if (*path != '\0')
                return MATCH_NO;
        *ret = m;
        return result;
}

static bool is_method(const struct request *rq, const struct route *route)
{
        return strcmp(rq->method, route->method) == 0 || (rq->head && route->flags & ROUTE_HEAD);
}

/* Adds a method to an Allow header's value, once. */
static void allow(char *list, size_t size, const char *method)
{
        size_t used = strlen(list);

        if (!strstr(list, method))
                snprintf(list + used, size - used, "%s%s", used ? ", " : "", method);
}

/* For a path that is known, but not for this method (RFC 9110 §15.5.6). */
static int wrong_method(struct request *rq, const char *allowed)
{
        char header[ALLOW_MAX + 32];

        snprintf(header, sizeof header, "Allow: %s, OPTIONS\r\n", allowed);
        if (strcmp(rq->method, "OPTIONS") == 0)
                return request_answer(rq, 204, header, NULL, NULL, 0);
        return api_problem(rq, 405, header, "Only %s can be asked of this", allowed);
}

/* What the server as a whole can be asked: the methods of all routes. */
static const char *allow_all(char header[static ALLOW_MAX])
{
        static const char prefix[] = "Allow: ";
        char list[ALLOW_MAX - sizeof prefix - 2] = "";

        for (size_t i = 0; i < ROUTE_COUNT; i++)
                allow(list, sizeof list, routes[i].method);
        allow(list, sizeof list, "HEAD");
        allow(list, sizeof list, "OPTIONS");
        snprintf(header, ALLOW_MAX, "%s%s\r\n", prefix, list);
        return header;
}

/* Whose places a request takes; NULL: of none, it is soon done. A HEAD waits at most for metadata
 * and sends no file. A body that has yet to come is waited for elsewhere, so that who sends it
 * slowly is in nobody's way. */
static void choose_slots(struct request *rq, const struct route *route)
{
        struct server *s = rq->server;

        if (route->flags & ROUTE_STREAMS)
                rq->slots = rq->head ? &s->waits : &s->streams;
        else if (route->flags & ROUTE_LISTENS)
                rq->slots = &s->listeners;
        else if (route->flags & ROUTE_WAITS)
                rq->slots = &s->waits;
        if ((!rq->slots || rq->slots == &s->waits) &&
            !body_is_there(&rq->client, &rq->head_facts)) {
                rq->next = rq->slots;
                rq->slots = &s->bodies;
        }
        if (rq->slots)
                rq->client.wanted_ms = &rq->slots->wanted_ms;
}

/* A request that runs in a thread of its own. */
struct visit {
        struct request *rq;
        const struct route *route;
        struct route_match match;
};

static void run_visit(void *data)
{
        struct visit *v = data;

        v->route->handler(v->rq, &v->match);
        slots_give(v->rq->slots);
        server_end(v->rq);
        free(v);
}

static int run_aside(struct request *rq, const struct route *route, const struct route_match *match)
{
        struct visit *v;

        if (!slots_take(rq->slots))
                return api_no_place(rq, rq->slots);
        v = malloc(sizeof *v);
        if (v)
                *v = (struct visit){rq, route, *match};
        if (v && server_aside(rq, run_visit, v) == 0)
                return ROUTES_ASIDE;
        free(v);
        slots_give(rq->slots);
        return api_problem(rq, 503, API_RETRY_SOON, "There is no room for another thread");
}

static int run(struct request *rq, const struct route *route, enum match_result result,
               const struct route_match *match)
{
        rq->is_file = route->flags & ROUTE_FILES;
        if (!(route->flags & ROUTE_OPEN) && !access_is_granted(rq))
                return access_refuse(rq);
        if (route->flags & ROUTE_CHANGES) {
                const struct guard_request g = request_guard(rq);

                switch (guard_change(&rq->server->guard, &g)) {
                case GUARD_ALLOW:
                        break;
                case GUARD_UNKNOWN:
                        return api_problem(
                                rq, 403, NULL,
                                "By this Host name a page of another site may have asked for this; "
                                "a program sends X-Requested-With");
                default:
                        return api_problem(rq, 403, NULL,
                                           "A page of another site may not ask for this");
                }
        }
        if (result == MATCH_BAD_HASH)
                return api_problem(rq, 404, NULL, "No files available: this is no info-hash");
        if (route->flags & ROUTE_MOUNT && health_is_stuck(rq->server->health))
                return api_problem(rq, 503, API_RETRY_SOON, "The mount does not answer");
        choose_slots(rq, route);
        return rq->slots ? run_aside(rq, route, match) : route->handler(rq, match);
}

int routes_dispatch(struct request *rq)
{
        char allowed[ALLOW_MAX] = "";
        struct guard_request g;
        bool is_file = false;

        access_take_token(rq);
        g = request_guard(rq);
        switch (guard_addressed(&rq->server->guard, &g)) {
        case GUARD_ALLOW:
                break;
        case GUARD_BAD_HEADERS:
                return api_problem(rq, 400, NULL, "The request needs one Host header");
        default:
                return api_problem(
                        rq, 421, NULL,
                        "This Host is not served here; allow it with --allowed-host if it should be");
        }
        if (strcmp(rq->path, "*") == 0) /* RFC 9110 §9.3.7 */
                return request_answer(rq, 204, allow_all(allowed), NULL, NULL, 0);
        for (size_t i = 0; i < ROUTE_COUNT; i++) {
                struct route_match match;
                enum match_result result = match_route(&routes[i], rq->path, &match);

                if (result == MATCH_NO)
                        continue;
                if (is_method(rq, &routes[i]) && !access_is_preflight(rq)) {
                        rq->route = (int)i + 1;
                        return run(rq, &routes[i], result, &match);
                }
                is_file = is_file || routes[i].flags & ROUTE_FILES;
                allow(allowed, sizeof allowed, routes[i].method);
                if (routes[i].flags & ROUTE_HEAD)
                        allow(allowed, sizeof allowed, "HEAD");
        }
        if (allowed[0] && access_is_preflight(rq))
                return access_preflight(rq, allowed, is_file);
        if (allowed[0])
                return wrong_method(rq, allowed);
        return api_problem(rq, 404, NULL, "There is nothing here; / lists what there is");
}

const char *routes_name(int route, const char **ret_method)
{
        if (route < 0 || (size_t)route >= ROUTE_COUNT)
                return NULL;
        *ret_method = routes[route].method;
        return routes[route].pattern;
}
