/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/media.h"
#include "api.h"
#include "file_answer.h"
#include "files.h"
#include "torrents.h"
#include "uri.h"

/* Of a name that is not unique, so many candidates are told. */
enum { CANDIDATES_MAX = 100 };

/* candidates: paths, a line each. */
static int ambiguous(struct request *rq, char *candidates)
{
        cJSON *list = cJSON_CreateArray();
        char *path, *rest = candidates;

        for (int told = 0; told < CANDIDATES_MAX && (path = strsep(&rest, "\n")); told++)
                cJSON_AddItemToArray(list, cJSON_CreateString(path));
        return api_problem_with(rq, 409, "candidates", list,
                                "Several files of the torrent have this name: ask by path");
}

/* The largest media file so far. */
struct largest {
        struct media_best best;
        char *path; /* NULL: there is none; the caller frees it */
};

static int compare_file(void *arg, const struct file_entry *file)
{
        struct largest *l = arg;

        if (!media_is_better(&l->best, file->name, file->length))
                return 0;
        free(l->path);
        l->path = strdup(file->path);
        return l->path ? 0 : -ENOMEM;
}

/* A path that no link can tell is in the list of the files. */
static int largest_in_list(struct request *rq, const char *hash, char **ret)
{
        struct largest largest = {.path = NULL};
        struct files_taker taker = {.file = compare_file, .arg = &largest};
        int r = torrents_read_files(rq, hash, &taker);

        if (r == 0 && !largest.path)
                r = -ENOENT;
        if (r < 0) {
                free(largest.path);
                return r;
        }
        *ret = largest.path;
        return 0;
}

/* Finds the file that is meant by a path, else by a bare name; by neither (NULL): the largest media
 * file. *ret are the paths of all that it may be, a line each. Reads no list of the files, which
 * may be long. -ENOENT: there is none, or it is not known yet. */
static int find(struct request *rq, const char *hash, const char *path, char **ret)
{
        const struct mountpoint *m = rq->server->mount;
        struct stat st;
        int r;

        if (!path) {
                r = mountpoint_largest(m, hash, ret);
                return r == -ENAMETOOLONG ? largest_in_list(rq, hash, ret) : r;
        }
        r = mountpoint_file_stat(m, hash, path, &st);
        if (r != 0)
                return r == -ENOENT || r == -ENOTDIR ? mountpoint_named(m, hash, path, ret) : r;
        *ret = strdup(path);
        return *ret ? 0 : -ENOMEM;
}

static int answer(struct request *rq, const char *hash, const char *path)
{
        _cleanup_free_ char *found = NULL;
        int r = torrents_use(rq, hash), status;

        if (r == 0)
                r = find(rq, hash, path, &found);
        if (r == -ENOENT) {
                status = torrents_wait(rq, hash);
                if (status != 0)
                        return status;
                r = find(rq, hash, path, &found);
        }
        if (r == -ENOENT)
                return api_problem(rq, 404, NULL,
                                   "No files available: the torrent has no such file");
        if (!found)
                return api_problem_errno(rq, r, "Cannot find the file in the mount");
        return strchr(found, '\n') ? ambiguous(rq, found) : file_answer(rq, hash, found);
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
