/* SPDX-License-Identifier: MIT */
#include "file_answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/media.h"
#include "api.h"
#include "disposition.h"
#include "file_body.h"
#include "http_date.h"
#include "multipart.h"
#include "preconditions.h"
#include "range.h"
#include "uri.h"

/* What of an answer tells caches about it, also without a body (RFC 9110 §15.4.5): the bytes of a
 * file never change, but whose cache may keep them is its user's business. */
#define CACHE_CONTROL "Cache-Control: private\r\n"

/* One file, ready to be answered. */
struct subject {
        const char *hash, *path, *name, *type;
        char etag[FILE_ETAG_MAX];
        time_t modified;
        uint64_t size;
        struct range range;
        char boundary[MULTIPART_BOUNDARY_MAX]; /* of several parts */
};

void file_answer_etag(const char *hash, const struct stat *st, char ret[static FILE_ETAG_MAX])
{
        snprintf(ret, FILE_ETAG_MAX, "\"%s-%" PRIu64 "\"", hash, mountpoint_file_number(st));
}

static int subject_init(struct request *rq, const char *hash, const char *path, struct subject *ret)
{
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        struct subject s = {.hash = hash, .path = path, .name = name, .type = media_type(name)};
        struct stat st;
        int r;

        r = mountpoint_file_stat(rq->server->mount, hash, path, &st);
        if (r < 0)
                return r;
        s.size = (uint64_t)st.st_size;
        s.modified = st.st_mtim.tv_sec;
        file_answer_etag(hash, &st, s.etag);
        *ret = s;
        return 0;
}

static struct multipart frame(const struct subject *s)
{
        return (struct multipart){
                .boundary = s->boundary, .type = s->type, .size = s->size, .range = &s->range};
}

/* Evaluates what the request says in the order of RFC 9110 §13.2.2, and puts into s what of the
 * file is asked for. */
static int evaluate(struct request *rq, struct subject *s, enum precondition_result *ret)
{
        _cleanup_free_ char *if_match = NULL, *if_none_match = NULL;
        const struct validators v = {.etag = s->etag, .modified = s->modified, .now = time(NULL)};
        struct preconditions p = {
                .if_modified_since = request_header(rq, "If-Modified-Since", NULL),
                .if_unmodified_since = request_header(rq, "If-Unmodified-Since", NULL),
        };
        uint8_t random[16];
        unsigned if_range_count;
        const char *if_range, *range = NULL;
        int r;

        r = request_list(rq, "If-Match", &if_match);
        if (r == 0)
                r = request_list(rq, "If-None-Match", &if_none_match);
        if (r < 0)
                return r;
        p.if_match = if_match;
        p.if_none_match = if_none_match;
        *ret = preconditions_check(&p, &v);
        /* A Range is for GET alone (§14.2); If-Range says nothing without one (§13.1.5). */
        if_range = request_header(rq, "If-Range", &if_range_count);
        if (!rq->head && if_range_count <= 1 && preconditions_if_range(if_range, &v))
                range = request_header(rq, "Range", NULL);
        r = range_parse(range, s->size, &s->range);
        if (r < 0 || s->range.count <= 1)
                return r;
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
                return -EIO;
        multipart_boundary(random, s->boundary);
        return 0;
}

/* What a browser would run is kept from the sidecar's own origin. */
static char *name_headers(const struct subject *s)
{
        bool active = media_class(s->name) == MEDIA_ACTIVE;
        _cleanup_free_ char *value = disposition(active ? "attachment" : "inline", s->name);
        char *headers;

        if (!value || asprintf(&headers, "Content-Disposition: %s\r\n%s", value,
                               active ? "Content-Security-Policy: sandbox\r\n" : "") < 0)
                return NULL;
        return headers;
}

/* Sends the head of a 200 or 206. */
static int send_head(struct request *rq, const struct subject *s)
{
        _cleanup_free_ char *headers = NULL, *names = name_headers(s);
        const struct range_part *part = &s->range.parts[0];
        char modified[HTTP_DATE_MAX], range[96] = "", type[96];
        uint64_t length = s->size;

        if (!names)
                return -ENOMEM;
        snprintf(type, sizeof type, "%s", s->type);
        if (s->range.count == 1) {
                length = part->length;
                snprintf(range, sizeof range,
                         "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                         part->first, part->first + part->length - 1, s->size);
        } else if (s->range.count > 1) {
                const struct multipart m = frame(s);

                length = multipart_length(&m);
                snprintf(type, sizeof type, "multipart/byteranges; boundary=%s", s->boundary);
        }
        http_date_format(s->modified, modified);
        /* X-Accel-Buffering: a proxy that reads ahead of its client would fetch the whole film. */
        if (asprintf(&headers,
                     "Accept-Ranges: bytes\r\n"
                     "ETag: %s\r\n"
                     "Last-Modified: %s\r\n" CACHE_CONTROL "X-Accel-Buffering: no\r\n"
                     "%s%s",
                     s->etag, modified, range, names) < 0) {
                headers = NULL;
                return -ENOMEM;
        }
        return request_answer_head(rq, s->range.count > 0 ? 206 : 200, headers, type, length);
}

static int send_parts(struct request *rq, const struct subject *s, struct file_body *body)
{
        const struct multipart m = frame(s);

        for (unsigned i = 0; i <= s->range.count; i++) {
                char head[MULTIPART_HEAD_MAX];
                size_t len = multipart_head(&m, i, head);
                int r = client_send(&rq->client, head, len);

                if (r == 0 && i < s->range.count)
                        r = file_body_send(body, s->range.parts[i].first, s->range.parts[i].length);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Sends the bytes. A body that cannot be finished is cut short, so that the client sees it: never
 * padded. */
static int send_body(struct request *rq, const struct subject *s, struct file_body *body)
{
        int r;

        if (s->range.count > 1)
                r = send_parts(rq, s, body);
        else if (s->range.count == 1)
                r = file_body_send(body, s->range.parts[0].first, s->range.parts[0].length);
        else
                r = file_body_send(body, 0, s->size);
        return r < 0 ? r : client_flush(&rq->client);
}

/* Tells why a stream ended early. What the world does to us is no fault: clients leave, swarms dry
 * up. */
static void log_end(int error, const struct subject *s)
{
        enum log_level level = LOG_LEVEL_WARNING;

        if (error == CLIENT_GONE || error == CLIENT_STOPPING || mountpoint_is_gone(error))
                level = LOG_LEVEL_DEBUG;
        else if (error == CLIENT_STALLED || error == -EIO)
                level = LOG_LEVEL_INFO;
        log_message_errno(level, error, "Stream of %s/%s ended early: %m", s->hash, s->path);
}

static int answer_unsatisfied(struct request *rq, const struct subject *s)
{
        char header[64];

        snprintf(header, sizeof header, "Content-Range: bytes */%" PRIu64 "\r\n", s->size);
        return api_problem(rq, 416, header,
                           "The file has %" PRIu64
                           " bytes, and at most %d ranges of it are given at a time",
                           s->size, RANGE_PARTS_MAX);
}

/* 304: only what a cache needs to find what it has (RFC 9110 §15.4.5). 412: with the tag that would
 * have matched. */
static int answer_condition(struct request *rq, const struct subject *s,
                            enum precondition_result result)
{
        char headers[sizeof s->etag + 64];

        if (result == PRECONDITION_NOT_MODIFIED) {
                snprintf(headers, sizeof headers, "ETag: %s\r\n" CACHE_CONTROL, s->etag);
                return request_answer(rq, 304, headers, NULL, NULL, 0);
        }
        snprintf(headers, sizeof headers, "ETag: %s\r\n", s->etag);
        return api_problem(rq, 412, headers, "The file is not the one that the request is for");
}

static int send_file(struct request *rq, const struct subject *s)
{
        __attribute__((cleanup(file_body_closep))) struct file_body *body = NULL;
        const struct range_part all = {.length = s->size};
        const struct range_part *part = s->range.count > 0 ? &s->range.parts[0] : &all;
        int r = 0;

        if (!rq->head) {
                r = file_body_open(rq, s->hash, s->path, &body);
                if (r < 0)
                        return api_problem_errno(rq, r, "Cannot open the file in the mount");
                if (part->length > 0)
                        r = file_body_look(body, part->first, part->length);
                if (r < 0)
                        return api_problem_errno(rq, r, "Cannot read the file");
        }
        /* Without waiting for the swarm to give a byte: players wait longer for a body than for a
         * head. */
        r = send_head(rq, s);
        if (r == 0 && !rq->head)
                r = send_body(rq, s, body);
        if (r < 0)
                log_end(r, s);
        return s->range.count > 0 ? 206 : 200;
}

int file_answer(struct request *rq, const char *hash, const char *path)
{
        enum precondition_result result;
        struct subject s;
        int r;

        r = subject_init(rq, hash, path, &s);
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot find the file in the mount");
        r = evaluate(rq, &s, &result);
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot read the request");
        if (result != PRECONDITION_HOLDS)
                return answer_condition(rq, &s, result);
        if (s.range.kind == RANGE_UNSATISFIABLE)
                return answer_unsatisfied(rq, &s);
        return send_file(rq, &s);
}
