/* SPDX-License-Identifier: MIT */
#include "torrents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/media.h"
#include "access.h"
#include "api.h"
#include "files.h"
#include "json.h"
#include "submission.h"
#include "uri.h"

/* Why a torrent has no metadata, as its status tells it. NULL: unknown. The caller frees it. */
static char *failure(struct request *rq, const char *hash)
{
        _cleanup_free_ char *text = NULL;
        const char *error;
        char *copy = NULL;
        cJSON *json;

        if (mountpoint_torrent_status(rq->server->mount, hash, &text) < 0)
                return NULL;
        json = json_parse(text);
        error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "error"));
        if (error)
                copy = strdup(error);
        cJSON_Delete(json);
        return copy;
}

/* Why a torrent's files are not known. */
static int no_files(struct request *rq, const char *hash, int error)
{
        _cleanup_free_ char *why = NULL;

        switch (error) {
        case -ENOENT:
                return api_problem(rq, 404, NULL,
                                   "No files available: no torrent %s is known here, add it first",
                                   hash);
        case -ETIMEDOUT:
                why = failure(rq, hash);
                return api_problem(rq, 504, API_RETRY_LATER,
                                   "Nobody in the swarm gave the torrent's metadata in time%s%s",
                                   why ? ": " : "", why ? why : "");
        case -EBADMSG:
                why = failure(rq, hash);
                return api_problem(rq, 502, NULL, "The torrent's metadata is refused%s%s",
                                   why ? ": " : "", why ? why : "");
        default:
                return api_problem_errno(rq, error, "Cannot read the torrent's files");
        }
}

int torrents_read_files(struct request *rq, const char *hash, struct file_list *ret)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = mountpoint_torrent_files(rq->server->mount, &rq->client, hash, &text);
        if (r == 0)
                r = files_parse(text, ret);
        return r < 0 ? no_files(rq, hash, r) : 0;
}

int torrents_wait(struct request *rq, const char *hash)
{
        int r = mountpoint_wait(rq->server->mount, &rq->client, hash);

        return r < 0 ? no_files(rq, hash, r) : 0;
}

static cJSON *describe_file(const struct file_list *list, const struct file_entry *file,
                            const char *suffix)
{
        _cleanup_free_ char *path = uri_encode_path(file->path), *stream = NULL;
        cJSON *json = cJSON_CreateObject();

        if (!path || asprintf(&stream, "/stream/%s/%s%s", list->hash, path, suffix) < 0)
                stream = NULL;
        cJSON_AddStringToObject(json, "name", file->name);
        cJSON_AddItemToObject(json, "length", api_number(file->length));
        cJSON_AddStringToObject(json, "path", file->path);
        cJSON_AddStringToObject(json, "type", media_type(file->name));
        if (stream)
                cJSON_AddStringToObject(json, "stream", stream);
        return json;
}

static int answer_files(struct request *rq, const char *hash)
{
        struct file_list list = {0};
        char suffix[ACCESS_SUFFIX_MAX];
        cJSON *json, *files;
        int status;

        status = torrents_read_files(rq, hash, &list);
        if (status != 0)
                return status;
        access_link_suffix(rq, false, suffix);
        json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "infoHash", list.hash);
        cJSON_AddStringToObject(json, "name", list.name);
        files = cJSON_AddArrayToObject(json, "files");
        for (size_t i = 0; i < list.count; i++)
                cJSON_AddItemToArray(files, describe_file(&list, &list.entries[i], suffix));
        files_free(&list);
        return api_json(rq, 200, json);
}

/* Reads the first line of what `add` answered. 0: hash is the torrent; -EINVAL: refused, *ret_why
 * (if not NULL; the caller frees it) says why. */
static int parse_answer(const char *answer, char hash[static INFO_HASH_MAX], char **ret_why)
{
        cJSON *json = answer ? json_parse(answer) : NULL;
        const char *given =
                cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "infoHash"));
        const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "error"));
        int r = -EINVAL;

        if (given)
                r = uri_info_hash(given, strlen(given), hash);
        if (r < 0 && error)
                *ret_why = strdup(error);
        cJSON_Delete(json);
        return r;
}

/* Adds and answers with the files. */
static int add(struct request *rq, bool keep, const char *data, size_t len, const char *what)
{
        _cleanup_free_ char *answer = NULL, *why = NULL;
        char hash[INFO_HASH_MAX];
        int r;

        r = mountpoint_add(rq->server->mount, &rq->client, keep, data, len, &answer);
        if (r < 0 && r != -EINVAL && r != -E2BIG)
                return api_problem_errno(rq, r, "Cannot add the %s", what);
        if (parse_answer(answer, hash, &why) < 0 || r < 0)
                return api_problem(rq, 400, NULL, "The mount refuses this %s%s%s", what,
                                   why ? ": " : "", why ? why : "");
        return answer_files(rq, hash);
}

static int add_link(struct request *rq, bool keep, const char *link)
{
        _cleanup_free_ char *line = NULL;
        int n;

        n = asprintf(&line, "%s\n", link);
        if (n < 0) {
                line = NULL;
                return api_problem_errno(rq, -ENOMEM, "Cannot add the magnet");
        }
        return add(rq, keep, line, (size_t)n, "magnet");
}

static int bad_link(struct request *rq)
{
        return api_problem(
                rq, 400, NULL,
                "Neither a magnet URI (magnet:?xt=urn:btih:...) nor an info-hash (40 or 64 hex digits, or "
                "32 of base32)");
}

int torrents_add_link(struct request *rq, const struct route_match *match)
{
        _cleanup_free_ char *link = NULL;
        bool keep;
        int r;

        r = uri_add_target(match->rest, rq->query, &link, &keep);
        if (r == -EINVAL)
                return bad_link(rq);
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot add the magnet");
        return add_link(rq, keep, link);
}

static int body_problem(struct request *rq, int error, size_t max)
{
        switch (error) {
        case -EFBIG:
                return api_problem(rq, 413, NULL, "The body is larger than %zu bytes", max);
        case -ENODATA:
                return api_problem(rq, 411, NULL, "The body needs a Content-Length");
        case -EBADMSG:
                return api_problem(rq, 400, NULL, "The body ended early");
        case -ETIMEDOUT:
                return api_problem(rq, 408, NULL, "The body came too slowly");
        default:
                return api_problem_errno(rq, error, "Cannot read the body");
        }
}

int torrents_add_body(struct request *rq, const struct route_match *match)
{
        const char *type = request_header(rq, "Content-Type", NULL), *why;
        bool keep = uri_query_is(rq->query, "keep", "1");
        size_t max = submission_max(type), len;
        _cleanup_free_ char *body = NULL;
        struct submission s;
        int r;

        (void)match;
        if (max == 0)
                return api_problem(rq, 415, NULL,
                                   "Send a magnet as text/plain or application/json, a .torrent as "
                                   "application/x-bittorrent, or either in a multipart/form-data");
        r = request_body(rq, max, &body, &len);
        if (r < 0)
                return body_problem(rq, r, max);
        r = submission_read(type, body, len, &s, &why);
        if (r == -ENOMEM)
                return api_problem_errno(rq, r, "Cannot read the body");
        if (r < 0)
                return api_problem(rq, 400, NULL, "%s", why);
        if (s.says_keep)
                keep = s.keep;
        r = s.is_torrent ? add(rq, keep, s.data, s.len, "torrent file, or it is incomplete")
                         : add_link(rq, keep, s.data);
        submission_free(&s);
        return r;
}

int torrents_list(struct request *rq, const struct route_match *match)
{
        _cleanup_free_ char *text = NULL;
        cJSON *status, *torrents, *json;
        int r;

        (void)match;
        r = mountpoint_status(rq->server->mount, &text);
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot read the mount's status");
        status = json_parse(text);
        torrents = cJSON_DetachItemFromObjectCaseSensitive(status, "torrents");
        cJSON_Delete(status);
        if (!cJSON_IsArray(torrents)) {
                cJSON_Delete(torrents);
                return api_problem(rq, 502, NULL, "The mount's status is not understood");
        }
        json = cJSON_CreateObject();
        if (!cJSON_AddItemToObject(json, "torrents", torrents))
                cJSON_Delete(torrents);
        return api_json(rq, 200, json);
}

static int unknown(struct request *rq, int error, const char *hash, const char *what)
{
        if (error == -ENOENT)
                return api_problem(rq, 404, NULL, "No torrent %s is known here", hash);
        return api_problem_errno(rq, error, "Cannot %s torrent %s", what, hash);
}

int torrents_show(struct request *rq, const struct route_match *match)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = mountpoint_torrent_detail(rq->server->mount, match->hash, &text);
        if (r < 0)
                return unknown(rq, r, match->hash, "look at");
        /* As the mount writes it, unparsed: it may be long. */
        return request_answer(rq, 200, "Cache-Control: no-store\r\n", "application/json", text,
                              strlen(text));
}

int torrents_remove(struct request *rq, const struct route_match *match)
{
        int r = mountpoint_remove(rq->server->mount, match->hash);

        if (r < 0)
                return unknown(rq, r, match->hash, "remove");
        return request_answer(rq, 204, NULL, NULL, NULL, 0);
}

static int set_keep(struct request *rq, const char *hash, bool keep)
{
        int r = mountpoint_keep(rq->server->mount, hash, keep);

        if (r < 0)
                return unknown(rq, r, hash, "change");
        return request_answer(rq, 204, NULL, NULL, NULL, 0);
}

int torrents_keep(struct request *rq, const struct route_match *match)
{
        return set_keep(rq, match->hash, true);
}

int torrents_unkeep(struct request *rq, const struct route_match *match)
{
        return set_keep(rq, match->hash, false);
}
