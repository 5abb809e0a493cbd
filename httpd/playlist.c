/* SPDX-License-Identifier: MIT */
#include "playlist.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <string.h>

#include "common/cleanup.h"
#include "access.h"
#include "api.h"
#include "files.h"
#include "common/media.h"
#include "natural.h"
#include "torrents.h"
#include "uri.h"

/* Not application/vnd.apple.mpegurl: players take that for HLS, whose segments these are not. */
#define PLAYLIST_TYPE "audio/x-mpegurl; charset=utf-8"

static int by_path(const void *a, const void *b)
{
        const struct file_entry *const *p = a, *const *q = b;

        return natural_compare((*p)->path, (*q)->path);
}

/* Chooses the files, in order. -ENOMEM. The caller frees *ret, not what it points to. */
static int choose(const struct file_list *list, bool all, const struct file_entry ***ret,
                  size_t *ret_count)
{
        const struct file_entry **chosen = calloc(list->count + 1, sizeof(void *));
        size_t count = 0;

        if (!chosen)
                return -ENOMEM;
        for (size_t i = 0; i < list->count; i++)
                if (all || media_plays(list->entries[i].name))
                        chosen[count++] = &list->entries[i];
        qsort(chosen, count, sizeof(void *), by_path);
        *ret = chosen;
        *ret_count = count;
        return 0;
}

/* Where the client reached us. Behind a proxy that ends TLS only the proxy knows of the scheme; who
 * lies about it spoils but the own answer. NULL: no memory. */
static char *base_of(const struct request *rq)
{
        const char *host = request_header(rq, "Host", NULL);
        const char *proto = request_header(rq, "X-Forwarded-Proto", NULL);
        const char *scheme = proto && strcmp(proto, "https") == 0 ? "https" : "http";
        char *base;
        struct in_addr address = {htonl(access_address(rq))};
        char text[INET_ADDRSTRLEN];
        int n;

        if (address.s_addr == 0)
                address.s_addr = htonl(INADDR_LOOPBACK);
        inet_ntop(AF_INET, &address, text, sizeof text);
        if (host && host[0])
                n = asprintf(&base, "%s://%s", scheme, host);
        else
                n = asprintf(&base, "%s://%s:%u", scheme, text, rq->port);
        return n < 0 ? NULL : base;
}

/* A line of its own in a list of lines, whatever its text. */
static void write_title(FILE *f, const char *start, const char *name)
{
        fputs(start, f);
        for (const char *p = name; *p; p++)
                if (*p != '\r' && *p != '\n')
                        fputc(*p, f);
        fputc('\n', f);
}

static int write_list(struct request *rq, const struct file_list *list, FILE *f)
{
        _cleanup_free_ const struct file_entry **chosen = NULL;
        _cleanup_free_ char *base = base_of(rq);
        char suffix[ACCESS_SUFFIX_MAX];
        size_t count;
        int r = base ? choose(list, uri_query_is(rq->query, "all", "1"), &chosen, &count) : -ENOMEM;

        if (r < 0)
                return r;
        access_link_suffix(rq, false, suffix);
        fputs("#EXTM3U\n", f);
        write_title(f, "#PLAYLIST:", list->name);
        for (size_t i = 0; i < count; i++) {
                _cleanup_free_ char *path = uri_encode_path(chosen[i]->path);

                if (!path)
                        return -ENOMEM;
                write_title(f, "#EXTINF:-1,", chosen[i]->name);
                fprintf(f, "%s/stream/%s/%s%s\n", base, list->hash, path, suffix);
        }
        return 0;
}

/* The caller frees *ret. -ENOMEM. */
static int make_list(struct request *rq, const struct file_list *list, char **ret, size_t *ret_len)
{
        FILE *f = open_memstream(ret, ret_len);
        int r;

        if (!f)
                return -errno;
        r = write_list(rq, list, f);
        if (fclose(f) != 0 && r == 0)
                r = -ENOMEM;
        return r;
}

int playlist_show(struct request *rq, const struct route_match *match)
{
        _cleanup_free_ char *text = NULL;
        struct file_list list;
        size_t len = 0;
        int status, r;

        r = mountpoint_use(rq->server->mount, match->hash);
        if (r == -ENOENT)
                r = mountpoint_recall(rq->server->mount, match->hash);
        if (r < 0 && r != -ENOENT)
                return api_problem_errno(rq, r, "Cannot find the torrent in the mount");
        status = torrents_read_files(rq, match->hash, &list);
        if (status != 0)
                return status;
        r = make_list(rq, &list, &text, &len);
        files_free(&list);
        if (r < 0)
                return api_problem_errno(rq, r, "Cannot write the playlist");
        return request_answer(rq, 200, "Cache-Control: no-store\r\n", PLAYLIST_TYPE, text, len);
}
