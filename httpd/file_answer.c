/* SPDX-License-Identifier: MIT */
#include "file_answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "api.h"
#include "media.h"
#include "range.h"
#include "uri.h"

/* On the heap: a thread of civetweb has 100 KiB of stack. The mount's direct_io reads cost a round
 * trip each, so large; what is there is sent at once, however little. */
#define BUFFER_SIZE (512u << 10)

/* One file, ready to be answered. */
struct subject {
        char etag[INFO_HASH_MAX + 32];
        char modified[64]; /* IMF-fixdate, RFC 9110 §5.6.7 */
        uint64_t size;
        struct range range;
};

static int subject_init(struct request *rq, const char *hash, const char *path, struct subject *ret)
{
        struct subject s = {0};
        unsigned if_range_count;
        const char *if_range;
        struct stat st;
        struct tm tm;
        int r;

        r = mountpoint_file_stat(rq->server->mount, hash, path, &st);
        if (r < 0)
                return r;
        s.size = (uint64_t)st.st_size;
        snprintf(s.etag, sizeof s.etag, "\"%s-%" PRIu64 "\"", hash, mountpoint_file_number(&st));
        if (gmtime_r(&st.st_mtim.tv_sec, &tm))
                strftime(s.modified, sizeof s.modified, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        if_range = request_header(rq, "If-Range", &if_range_count);
        if (if_range_count <= 1 && range_if_range(if_range, s.etag, s.modified))
                s.range = range_parse(request_header(rq, "Range", NULL), s.size);
        else
                s.range = range_parse(NULL, s.size);
        *ret = s;
        return 0;
}

/* For what a browser would run: kept from the sidecar's own origin. The name after RFC 8187 §3.2.1,
 * where '/' can't be. */
static char *attachment_headers(const char *name)
{
        _cleanup_free_ char *encoded = uri_encode_path(name);
        char *headers;

        if (!encoded || asprintf(&headers,
                                 "Content-Disposition: attachment; filename*=UTF-8''%s\r\n"
                                 "Content-Security-Policy: sandbox\r\n",
                                 encoded) < 0)
                return NULL;
        return headers;
}

static int send_head(struct request *rq, const char *name, const struct subject *s)
{
        _cleanup_free_ char *headers = NULL, *extra = NULL;
        char range[96] = "";

        if (s->range.kind == RANGE_PART)
                snprintf(range, sizeof range,
                         "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                         s->range.first, s->range.first + s->range.length - 1, s->size);
        if (media_class(name) == MEDIA_ACTIVE) {
                extra = attachment_headers(name);
                if (!extra)
                        return -ENOMEM;
        }
        if (asprintf(&headers,
                     "Accept-Ranges: bytes\r\n"
                     "ETag: %s\r\n"
                     "Last-Modified: %s\r\n"
                     "%s%s",
                     s->etag, s->modified, range, extra ? extra : "") < 0) {
                headers = NULL;
                return -ENOMEM;
        }
        return request_answer_head(rq, s->range.kind == RANGE_PART ? 206 : 200, headers,
                                   media_type(name), s->range.length);
}

/* Sends the bytes. A body that cannot be finished is cut short, so that the client sees it: never
 * padded. */
static int send_body(struct request *rq, int fd, const struct range *range)
{
        _cleanup_free_ char *buf = NULL;
        uint64_t at = range->first, left = range->length;

        buf = malloc(left < BUFFER_SIZE ? (size_t)left + 1 : BUFFER_SIZE);
        if (!buf)
                return -ENOMEM;
        while (left > 0) {
                size_t want = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;
                ssize_t n;
                int r;

                if (atomic_load(&rq->server->stopping))
                        return CLIENT_STOPPING;
                n = mountpoint_file_read(fd, &rq->client, buf, want, (off_t)at);
                if (n < 0)
                        return (int)n;
                if (n == 0)
                        return -ENODATA;
                r = client_send(&rq->client, buf, (size_t)n);
                if (r < 0)
                        return r;
                at += (uint64_t)n;
                left -= (uint64_t)n;
        }
        return client_flush(&rq->client);
}

/* Tells why a stream ended early. What the world does to us is no fault: clients leave, swarms dry
 * up. */
static void log_end(int error, const char *hash, const char *path)
{
        enum log_level level = LOG_LEVEL_WARNING;

        if (error == CLIENT_GONE || error == CLIENT_STOPPING || mountpoint_is_gone(error))
                level = LOG_LEVEL_DEBUG;
        else if (error == CLIENT_STALLED || error == -EIO)
                level = LOG_LEVEL_INFO;
        log_message_errno(level, error, "Stream of %s/%s ended early: %m", hash, path);
}

int file_answer(struct request *rq, const char *hash, const char *path)
{
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        _cleanup_close_ int fd = -1;
        struct subject s;
        char unsatisfied[64];
        int r, status;

        r = subject_init(rq, hash, path, &s);
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot find the file in the mount");
        if (s.range.kind == RANGE_UNSATISFIABLE) {
                snprintf(unsatisfied, sizeof unsatisfied, "Content-Range: bytes */%" PRIu64 "\r\n",
                         s.size);
                return api_problem(rq, 416, unsatisfied, "The file has only %" PRIu64 " bytes",
                                   s.size);
        }
        status = s.range.kind == RANGE_PART ? 206 : 200;
        if (!rq->head) {
                r = mountpoint_file_open(rq->server->mount, hash, path, &fd);
                if (r < 0)
                        return api_problem_errno(rq, r, "Cannot open the file in the mount");
        }
        /* At once, before the swarm has given a byte: players wait longer for a body than for a
         * head. */
        r = send_head(rq, name, &s);
        if (r == 0 && !rq->head)
                r = send_body(rq, fd, &s.range);
        if (r < 0)
                log_end(r, hash, path);
        return status;
}
