/* SPDX-License-Identifier: MIT */
#include "torrents.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/media.h"
#include "access.h"
#include "api.h"
#include "files.h"
#include "json.h"
#include "piecemeal.h"
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

int torrents_no_files(struct request *rq, const char *hash, int error)
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

/* Reads a piece of a long document, and has the reader (NULL: nobody) read it; waits for its turn,
 * which is soon, but for no client. The bytes; 0: the end; -errno. The few threads that may not
 * wait go before all others. */
static ssize_t read_piece(struct request *rq, int fd, char *piece, size_t len,
                          struct files_reader *reader)
{
        sem_t *reads = rq->aside ? &rq->server->reads : NULL;
        ssize_t n;

        while (reads && sem_wait(reads) < 0 && errno == EINTR)
                ;
        n = mountpoint_document_read(fd, piece, len);
        if (n > 0 && reader) {
                int r = files_read(reader, piece, (size_t)n);

                n = r < 0 ? r : n;
        }
        if (reads)
                sem_post(reads);
        return n;
}

int torrents_read_files(struct request *rq, const char *hash, const struct files_taker *taker)
{
        _cleanup_(files_clear) struct files_reader reader = {.taker = *taker};
        _cleanup_free_ char *piece = malloc(PIECEMEAL_BYTES);
        _cleanup_close_ int fd = -1;
        unsigned tries = 0;
        int r = piece ? mountpoint_files_open(rq->server->mount, hash, &fd) : -ENOMEM;

        while (r == 0) {
                ssize_t n = read_piece(rq, fd, piece, PIECEMEAL_BYTES, &reader);

                if (n == 0)
                        return files_end(&reader);
                if (n == -EAGAIN)
                        r = mountpoint_file_wait(fd, &rq->client, &tries, -1);
                else if (n < 0)
                        r = (int)n;
                else if (taker->rest)
                        r = taker->rest(taker->arg);
        }
        return r;
}

int torrents_use(struct request *rq, const char *hash)
{
        int r = mountpoint_use(rq->server->mount, hash);
        const struct guard_request g = request_guard(rq);

        if (r != -ENOENT || guard_change(&rq->server->guard, &g) == GUARD_CROSS_SITE)
                return r;
        return mountpoint_recall(rq->server->mount, hash);
}

int torrents_wait(struct request *rq, const char *hash)
{
        int r = mountpoint_wait(rq->server->mount, &rq->client, hash);

        return r < 0 ? torrents_no_files(rq, hash, r) : 0;
}

/* A torrent's files while they are told. */
struct telling {
        struct piecemeal sent;
        char hash[INFO_HASH_MAX];
        char suffix[ACCESS_SUFFIX_MAX];
        bool any; /* a file was told */
};

/* Adds JSON, which is freed (NULL: no memory), up to its last bracket where more is to come. */
static int add_json(struct telling *t, cJSON *json, bool more)
{
        char *text = cJSON_PrintUnformatted(json);
        int r = -ENOMEM;

        cJSON_Delete(json);
        if (text) {
                if (more)
                        text[strlen(text) - 1] = '\0';
                r = piecemeal_add(&t->sent, text);
        }
        cJSON_free(text);
        return r;
}

static int tell_torrent(void *arg, const char *hash, const char *name)
{
        struct telling *t = arg;
        cJSON *json = cJSON_CreateObject();
        int r;

        snprintf(t->hash, sizeof t->hash, "%s", hash);
        cJSON_AddStringToObject(json, "infoHash", hash);
        cJSON_AddStringToObject(json, "name", name);
        r = add_json(t, json, true);
        return r < 0 ? r : piecemeal_add(&t->sent, ",\"files\":[");
}

static int tell_file(void *arg, const struct file_entry *file)
{
        struct telling *t = arg;
        _cleanup_free_ char *path = uri_encode_path(file->path), *stream = NULL;
        cJSON *json;
        int r = t->any ? piecemeal_add(&t->sent, ",") : 0;

        if (r < 0)
                return r;
        if (!path || asprintf(&stream, "/stream/%s/%s%s", t->hash, path, t->suffix) < 0) {
                stream = NULL;
                return -ENOMEM;
        }
        t->any = true;
        json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "name", file->name);
        cJSON_AddItemToObject(json, "length", api_number(file->length));
        cJSON_AddStringToObject(json, "path", file->path);
        cJSON_AddStringToObject(json, "type", media_type(file->name));
        cJSON_AddStringToObject(json, "stream", stream);
        return add_json(t, json, false);
}

static int send_piece(void *arg)
{
        return piecemeal_send(&((struct telling *)arg)->sent);
}

static int answer_files(struct request *rq, const char *hash)
{
        struct telling t = {.sent = {.rq = rq,
                                     .status = 200,
                                     .headers = "Cache-Control: no-store\r\n",
                                     .type = "application/json"}};
        struct files_taker taker = {
                .begin = tell_torrent, .file = tell_file, .rest = send_piece, .arg = &t};
        int r, status = t.sent.status;

        access_link_suffix(rq, false, t.suffix);
        r = torrents_read_files(rq, hash, &taker);
        if (r == 0)
                r = piecemeal_add(&t.sent, "]}");
        if (r == 0)
                status = piecemeal_end(&t.sent);
        else if (!t.sent.begun) /* else it is left cut */
                status = torrents_no_files(rq, hash, r);
        piecemeal_clear(&t.sent);
        return status;
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

/* Adds it. 0: hash is the torrent; else the error was answered, with this status. */
static int add(struct request *rq, bool keep, const char *data, size_t len, const char *what,
               char hash[static INFO_HASH_MAX])
{
        _cleanup_free_ char *answer = NULL, *why = NULL;
        int r;

        r = mountpoint_add(rq->server->mount, &rq->client, keep, data, len, &answer);
        if (r < 0 && r != -EINVAL && r != -E2BIG)
                return api_problem_errno(rq, r, "Cannot add the %s", what);
        if (parse_answer(answer, hash, &why) < 0 || r < 0)
                return api_problem(rq, 400, NULL, "The mount refuses this %s%s%s", what,
                                   why ? ": " : "", why ? why : "");
        return 0;
}

static int add_link(struct request *rq, bool keep, const char *link,
                    char hash[static INFO_HASH_MAX])
{
        _cleanup_free_ char *line = NULL;
        int n;

        n = asprintf(&line, "%s\n", link);
        if (n < 0) {
                line = NULL;
                return api_problem_errno(rq, -ENOMEM, "Cannot add the magnet");
        }
        return add(rq, keep, line, (size_t)n, "magnet", hash);
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
        char hash[INFO_HASH_MAX];
        bool keep;
        int r;

        r = uri_add_target(match->rest, rq->query, &link, &keep);
        if (r == -EINVAL)
                return bad_link(rq);
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot add the magnet");
        r = add_link(rq, keep, link, hash);
        return r != 0 ? r : answer_files(rq, hash);
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
        char hash[INFO_HASH_MAX];
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
        r = s.is_torrent ? add(rq, keep, s.data, s.len, "torrent file, or it is incomplete", hash)
                         : add_link(rq, keep, s.data, hash);
        submission_free(&s);
        free(body); /* the answer may take long */
        body = NULL;
        return r != 0 ? r : answer_files(rq, hash);
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

/* All there is to tell of a torrent, as the mount writes it: unparsed, as it may be long. */
struct showing {
        struct piecemeal sent;
        int fd;
        size_t len; /* of what is in piece and not sent */
        char piece[];
};

static struct showing *showing_new(struct request *rq)
{
        struct showing *s = malloc(sizeof *s + PIECEMEAL_BYTES);

        if (s)
                *s = (struct showing){.sent = {.rq = rq,
                                               .status = 200,
                                               .headers = "Cache-Control: no-store\r\n",
                                               .type = "application/json"},
                                      .fd = -1};
        return s;
}

static void showing_free(struct showing *s)
{
        if (s->fd >= 0)
                close(s->fd);
        free(s);
}

/* Fills the piece. 1: the document goes on behind it; 0: that is its end; -errno. */
static int fill(struct showing *s)
{
        while (s->len < PIECEMEAL_BYTES) {
                ssize_t n = read_piece(s->sent.rq, s->fd, s->piece + s->len,
                                       PIECEMEAL_BYTES - s->len, NULL);

                if (n <= 0)
                        return (int)n;
                s->len += (size_t)n;
        }
        return 1;
}

/* Sends all of it, of which a piece is there, and ends. Blocks while the client takes it. */
static int show_all(struct showing *s)
{
        int status = s->sent.status, r;

        do {
                r = piecemeal_give(&s->sent, s->piece, &s->len);
                if (r == 0)
                        r = fill(s);
        } while (r > 0);
        if (r == 0)
                status = piecemeal_finish(&s->sent, s->piece, s->len);
        else
                log_debug_errno(r, "The answer is cut: %m");
        showing_free(s);
        return status;
}

static void run_showing(void *data)
{
        struct showing *s = data;
        struct request *rq = s->sent.rq;

        show_all(s);
        slots_give(&rq->server->waits);
        server_end(rq);
}

/* A long one is sent piece by piece by a thread that may wait for the client. */
static int show_aside(struct showing *s)
{
        struct request *rq = s->sent.rq;
        struct slots *waits = &rq->server->waits;

        if (rq->aside)
                return show_all(s);
        if (!slots_take(waits)) {
                showing_free(s);
                return api_no_place(rq, waits);
        }
        if (server_aside(rq, run_showing, s) == 0)
                return ROUTES_ASIDE;
        slots_give(waits);
        showing_free(s);
        return api_problem(rq, 503, API_RETRY_SOON, "There is no room for another thread");
}

int torrents_show(struct request *rq, const struct route_match *match)
{
        struct showing *s = showing_new(rq);
        int r, status;

        if (!s)
                return unknown(rq, -ENOMEM, match->hash, "look at");
        r = mountpoint_detail_open(rq->server->mount, match->hash, &s->fd);
        if (r == 0)
                r = fill(s);
        if (r > 0)
                return show_aside(s);
        status = r < 0 ? unknown(rq, r, match->hash, "look at")
                       : piecemeal_finish(&s->sent, s->piece, s->len);
        showing_free(s);
        return status;
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
