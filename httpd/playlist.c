/* SPDX-License-Identifier: MIT */
#include "playlist.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "access.h"
#include "api.h"
#include "files.h"
#include "common/media.h"
#include "natural.h"
#include "piecemeal.h"
#include "torrents.h"
#include "uri.h"

/* Not application/vnd.apple.mpegurl: players take that for HLS, whose segments these are not. */
#define PLAYLIST_TYPE "audio/x-mpegurl; charset=utf-8"

/* A list of so many bytes takes no place and no turn: a torrent of some thousand files. */
#define FREE_BYTES (256u << 10)
/* How long a longer one waits for both, and how often it looks: as long as a client that takes its
 * list at a good pace has another wait, and no player gives up. */
enum { WAIT_MS = 5000, WAIT_STEP_MS = 20 };

/* The paths of a torrent's files, or of some of them: a long list waits for its turn to be read,
 * and takes of the places for lists while it is here. */
struct paths {
        /* set once */
        struct request *rq;
        bool all; /* not only video and audio */

        uint64_t end_ms;   /* until when it waits for places; 0: it has not waited yet */
        char *hash, *name; /* the torrent's */
        char *text;        /* a NUL behind each path */
        size_t len, room;
        uint32_t *at; /* where in text each begins */
        size_t count, at_room;
        unsigned places;
        bool has_turn;
};

/* Waits for a place while the client stays. -EBUSY: none came in time; as client_wait(). */
static int take_place(struct paths *p, struct slots *slots)
{
        while (!slots_take(slots)) {
                int r;

                if (p->end_ms == 0)
                        p->end_ms = clock_ms() + WAIT_MS;
                if (clock_ms() >= p->end_ms)
                        return -EBUSY;
                r = client_wait(&p->rq->client, -1, 0, WAIT_STEP_MS);
                if (r < 0 && r != -ETIMEDOUT)
                        return r;
        }
        return 0;
}

/* Takes the places for what is read. Who reads a list is alone with what is left of them, so no two
 * that are half read wait for each other. */
static int take_places(void *arg)
{
        struct paths *p = arg;
        struct server *s = p->rq->server;
        size_t bytes = p->len + p->count * sizeof *p->at;
        int r = 0;

        if (bytes <= FREE_BYTES)
                return 0;
        if (!p->has_turn) {
                r = take_place(p, &s->long_lists);
                p->has_turn = r == 0;
        }
        while (r == 0 && p->places < (bytes >> SERVER_LIST_SHIFT) + 1) {
                r = take_place(p, &s->lists);
                p->places += r == 0;
        }
        return r;
}

static void end_turn(struct paths *p)
{
        if (p->has_turn)
                slots_give(&p->rq->server->long_lists);
        p->has_turn = false;
}

static void paths_clear(struct paths *p)
{
        end_turn(p);
        free(p->hash);
        free(p->name);
        free(p->text);
        free(p->at);
        for (; p->places > 0; p->places--)
                slots_give(&p->rq->server->lists);
}

static int take_torrent(void *arg, const char *hash, const char *name)
{
        struct paths *p = arg;

        p->hash = strdup(hash);
        p->name = strdup(name);
        return p->hash && p->name ? 0 : -ENOMEM;
}

/* As buffer_grow(), for one place more. */
static int grow_at(struct paths *p)
{
        size_t room = p->at_room ? p->at_room * 2 : 64;
        uint32_t *at;

        if (p->count < p->at_room)
                return 0;
        at = reallocarray(p->at, room, sizeof *at);
        if (!at)
                return -ENOMEM;
        p->at = at;
        p->at_room = room;
        return 0;
}

static int take_file(void *arg, const struct file_entry *file)
{
        struct paths *p = arg;
        size_t len = strlen(file->path) + 1;
        int r;

        if (!p->all && !media_plays(file->name))
                return 0;
        if (p->len + len > UINT32_MAX)
                return -EFBIG;
        r = grow_at(p);
        if (r == 0)
                r = buffer_grow(&p->text, &p->room, p->len + len);
        if (r < 0)
                return r;
        p->at[p->count++] = (uint32_t)p->len;
        memcpy(p->text + p->len, file->path, len);
        p->len += len;
        return 0;
}

static int by_path(const void *a, const void *b, void *text)
{
        return natural_compare((const char *)text + *(const uint32_t *)a,
                               (const char *)text + *(const uint32_t *)b);
}

/* p is to be cleared in any case. */
static int read_paths(struct paths *p, const char *hash)
{
        struct files_taker taker = {
                .begin = take_torrent, .file = take_file, .rest = take_places, .arg = p};
        int r = torrents_read_files(p->rq, hash, &taker);

        end_turn(p);
        if (r == 0 && p->count > 0)
                qsort_r(p->at, p->count, sizeof *p->at, by_path, p->text);
        return r;
}

/* Where the client reached us, and there the torrent's files. Behind a proxy that ends TLS only the
 * proxy knows of the scheme; who lies about it spoils but the own answer. NULL: no memory. */
static char *base_of(const struct request *rq, const char *hash)
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
                n = asprintf(&base, "%s://%s/stream/%s/", scheme, host, hash);
        else
                n = asprintf(&base, "%s://%s:%u/stream/%s/", scheme, text, rq->port, hash);
        return n < 0 ? NULL : base;
}

/* A line of its own in a list of lines, whatever its text; name is changed. */
static int add_title(struct piecemeal *sent, const char *start, char *name)
{
        char *to = name;
        int r;

        for (const char *from = name; *from; from++)
                if (*from != '\r' && *from != '\n')
                        *to++ = *from;
        *to = '\0';
        r = piecemeal_add(sent, start);
        if (r == 0)
                r = piecemeal_add(sent, name);
        return r == 0 ? piecemeal_add(sent, "\n") : r;
}

static int add_entry(struct piecemeal *sent, const char *base, const char *path, const char *suffix)
{
        _cleanup_free_ char *encoded = uri_encode_path(path), *url = NULL, *name = NULL;
        const char *slash = strrchr(path, '/');
        int r;

        name = strdup(slash ? slash + 1 : path);
        if (!encoded || !name || asprintf(&url, "%s%s%s\n", base, encoded, suffix) < 0) {
                url = NULL;
                return -ENOMEM;
        }
        r = add_title(sent, "#EXTINF:-1,", name);
        if (r == 0)
                r = piecemeal_add(sent, url);
        return r == 0 ? piecemeal_send(sent) : r;
}

static int add_list(struct piecemeal *sent, const struct paths *p)
{
        _cleanup_free_ char *base = base_of(p->rq, p->hash);
        char suffix[ACCESS_SUFFIX_MAX];
        int r = base ? piecemeal_add(sent, "#EXTM3U\n") : -ENOMEM;

        access_link_suffix(p->rq, false, suffix);
        if (r == 0)
                r = add_title(sent, "#PLAYLIST:", p->name);
        for (size_t i = 0; r == 0 && i < p->count; i++)
                r = add_entry(sent, base, p->text + p->at[i], suffix);
        return r;
}

static int answer(struct request *rq, const struct paths *p)
{
        struct piecemeal sent = {.rq = rq,
                                 .status = 200,
                                 .headers = "Cache-Control: no-store\r\n",
                                 .type = PLAYLIST_TYPE};
        int r = add_list(&sent, p), status = sent.status;

        if (r == 0)
                status = piecemeal_end(&sent);
        else if (!sent.begun) /* else it is left cut */
                status = api_problem_errno(rq, r, "Cannot write the playlist");
        piecemeal_clear(&sent);
        return status;
}

int playlist_show(struct request *rq, const struct route_match *match)
{
        _cleanup_(paths_clear) struct paths paths = {
                .rq = rq,
                .all = uri_query_is(rq->query, "all", "1"),
        };
        int r;

        r = torrents_use(rq, match->hash);
        if (r < 0 && r != -ENOENT)
                return api_problem_errno(rq, r, "Cannot find the torrent in the mount");
        r = read_paths(&paths, match->hash);
        if (r == -EBUSY)
                return api_problem(rq, 503, API_RETRY_SOON,
                                   "Other long lists of files take all the memory there is for "
                                   "them");
        return r < 0 ? torrents_no_files(rq, match->hash, r) : answer(rq, &paths);
}
