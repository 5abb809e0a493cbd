/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "api.h"
#include "files.h"
#include "media.h"
#include "range.h"
#include "torrents.h"
#include "uri.h"

/* On the heap: a thread of civetweb has 100 KiB of stack. The mount's direct_io reads cost a round
 * trip each, so large; what is there is sent at once, however little. */
#define BUFFER_SIZE (512u << 10)
/* Of a name that is not unique, so many candidates are told. */
enum { CANDIDATES_MAX = 100 };

/* One file, ready to be answered. */
struct subject {
        char etag[INFO_HASH_MAX + 32];
        char modified[64]; /* IMF-fixdate, RFC 9110 §5.6.7 */
        uint64_t size;
        struct range range;
};

static int subject_init(struct request *rq, const char *hash, const struct file_entry *file,
                        struct subject *ret)
{
        struct subject s = {0};
        unsigned if_range_count;
        const char *if_range;
        struct stat st;
        struct tm tm;
        int r;

        r = mountpoint_file_stat(rq->server->mount, hash, file->path, &st);
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

static int send_head(struct request *rq, const struct file_entry *file, const struct subject *s)
{
        _cleanup_free_ char *headers = NULL, *extra = NULL;
        char range[96] = "";

        if (s->range.kind == RANGE_PART)
                snprintf(range, sizeof range,
                         "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                         s->range.first, s->range.first + s->range.length - 1, s->size);
        if (media_class(file->name) == MEDIA_ACTIVE) {
                extra = attachment_headers(file->name);
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
                                   media_type(file->name), s->range.length);
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
static void log_end(int error, const char *hash, const struct file_entry *file)
{
        enum log_level level = LOG_LEVEL_WARNING;

        if (error == CLIENT_GONE || error == CLIENT_STOPPING || mountpoint_is_gone(error))
                level = LOG_LEVEL_DEBUG;
        else if (error == CLIENT_STALLED || error == -EIO)
                level = LOG_LEVEL_INFO;
        log_message_errno(level, error, "Stream of %s/%s ended early: %m", hash, file->path);
}

static int send_file(struct request *rq, const char *hash, const struct file_entry *file)
{
        _cleanup_close_ int fd = -1;
        struct subject s;
        char unsatisfied[64];
        int r, status;

        r = subject_init(rq, hash, file, &s);
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
                r = mountpoint_file_open(rq->server->mount, hash, file->path, &fd);
                if (r < 0)
                        return api_problem_errno(rq, r, "Cannot open the file in the mount");
        }
        /* At once, before the swarm has given a byte: players wait longer for a body than for a
         * head. */
        r = send_head(rq, file, &s);
        if (r == 0 && !rq->head)
                r = send_body(rq, fd, &s.range);
        if (r < 0)
                log_end(r, hash, file);
        return status;
}

static int ambiguous(struct request *rq, const struct file_list *list, const char *name)
{
        cJSON *candidates = cJSON_CreateArray();
        int told = 0;

        for (size_t i = 0; i < list->count && told < CANDIDATES_MAX; i++)
                if (strcmp(list->entries[i].name, name) == 0) {
                        cJSON_AddItemToArray(candidates, cJSON_CreateString(list->entries[i].path));
                        told++;
                }
        return api_problem_with(rq, 409, "candidates", candidates,
                                "Several files of the torrent have this name: ask by path");
}

/* A path needs no list of the files, which may be long. -ENOENT: it is none, but may be a name. */
static int answer_path(struct request *rq, const char *hash, char *path)
{
        const char *slash = strrchr(path, '/');
        const struct file_entry file = {
                .name = slash ? path + strlen(path) - strlen(slash) + 1 : path, .path = path};
        struct stat st;
        int r = mountpoint_file_stat(rq->server->mount, hash, path, &st);

        return r < 0 ? r : send_file(rq, hash, &file);
}

/* The torrent stays while its client goes on, also with a HEAD or from one file to the next. One
 * that nobody has used comes back: a player that paused, or a playlist, does not know that it went.
 */
static int find_torrent(struct request *rq, const char *hash)
{
        int r = mountpoint_use(rq->server->mount, hash);

        return r == -ENOENT ? mountpoint_recall(rq->server->mount, hash) : r;
}

/* path NULL: the largest media file. */
static int answer(struct request *rq, const char *hash, char *path)
{
        const struct file_entry *file = NULL;
        struct file_list list;
        size_t matches;
        int status = find_torrent(rq, hash);

        if (status < 0 && status != -ENOENT)
                return api_problem_errno(rq, status, "Cannot find the torrent in the mount");
        status = path && status == 0 ? answer_path(rq, hash, path) : -ENOENT;
        if (status >= 0)
                return status;
        if (status != -ENOENT)
                return api_problem_errno(rq, status, "Cannot find the file in the mount");
        status = torrents_read_files(rq, hash, &list);
        if (status != 0)
                return status;
        if (path) {
                matches = files_find(&list, path, &file);
        } else {
                file = files_largest(&list);
                matches = file ? 1 : 0;
        }
        if (matches == 0)
                status = api_problem(rq, 404, NULL,
                                     "No files available: the torrent has no such file");
        else if (matches > 1)
                status = ambiguous(rq, &list, path);
        else
                status = send_file(rq, list.hash, file);
        files_free(&list);
        return status;
}

int stream_largest(struct request *rq, const struct route_match *match)
{
        return answer(rq, match->hash, NULL);
}

int stream_file(struct request *rq, const struct route_match *match)
{
        _cleanup_free_ char *path = NULL;
        int r;

        r = uri_decode(match->rest, strlen(match->rest), &path);
        if (r == -EINVAL)
                return api_problem(rq, 400, NULL, "The path is not properly percent-encoded");
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot read the path");
        if (!uri_path_is_clean(path))
                return api_problem(rq, 404, NULL, "No files available: no file has such a path");
        return answer(rq, match->hash, path);
}
