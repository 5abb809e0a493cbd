/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "api.h"
#include "file_answer.h"
#include "files.h"
#include "torrents.h"
#include "uri.h"

/* Of a name that is not unique, so many candidates are told. */
enum { CANDIDATES_MAX = 100 };

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
static int answer_path(struct request *rq, const char *hash, const char *path)
{
        struct stat st;
        int r = mountpoint_file_stat(rq->server->mount, hash, path, &st);

        return r < 0 ? r : file_answer(rq, hash, path);
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
                status = file_answer(rq, list.hash, file->path);
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
