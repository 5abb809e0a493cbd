/* SPDX-License-Identifier: MIT */
#include "dav.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/media.h"
#include "access.h"
#include "api.h"
#include "dav_find.h"
#include "dav_text.h"
#include "file_answer.h"
#include "piecemeal.h"

#define DAV_ROOT  "/dav/"
#define ROOT_NAME "magnetfs"

/* A page holds links to where it is, and nothing that runs. */
#define PAGE_HEADERS                                                                               \
        "Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; "       \
        "frame-ancestors 'none'\r\n"                                                               \
        "Cache-Control: no-cache\r\n"

/* What a request's path stands for. */
struct place {
        char *decoded;            /* below /dav/, without a '/' at its end; "": that itself */
        char hash[INFO_HASH_MAX]; /* of its torrent; empty: it is the root */
        const char *path;         /* in the torrent, within decoded; "": its own directory */
        struct stat st;
};

static void place_clear(struct place *p)
{
        free(p->decoded);
}

static bool is_root(const struct place *p)
{
        return !p->hash[0];
}

static bool is_collection(const struct place *p)
{
        return S_ISDIR(p->st.st_mode);
}

static int find_in_torrent(struct request *rq, struct place *p, bool must_be_collection)
{
        char *slash;
        int r;

        if (!uri_path_is_clean(p->decoded))
                return -ENOENT;
        slash = strchr(p->decoded, '/');
        p->path = slash ? slash + 1 : "";
        if (slash)
                *slash = '\0';
        r = mountpoint_torrent_by_name(rq->server->mount, p->decoded, p->hash);
        if (slash)
                *slash = '/';
        if (r == 0)
                r = mountpoint_stat(rq->server->mount, p->hash, p->path, &p->st);
        if (r == 0 && must_be_collection && !S_ISDIR(p->st.st_mode))
                r = -ENOENT;
        return r;
}

/* -EINVAL: the path is no URI's; -ENOENT and others of the mount. p is to be cleared in any case.
 */
static int find_place(struct request *rq, const struct route_match *match, struct place *p)
{
        const char *rest = match->rest ? match->rest : "";
        bool must_be_collection;
        size_t len;
        int r;

        r = uri_decode(rest, strlen(rest), &p->decoded);
        if (r < 0)
                return r;
        p->path = p->decoded;
        len = strlen(p->decoded);
        if (len == 0)
                return mountpoint_stat(rq->server->mount, NULL, "", &p->st);
        must_be_collection = p->decoded[len - 1] == '/';
        if (must_be_collection)
                p->decoded[len - 1] = '\0';
        return find_in_torrent(rq, p, must_be_collection);
}

static int no_place(struct request *rq, int error)
{
        if (error == -EINVAL)
                return api_problem(rq, 400, NULL, "The path is not properly percent-encoded");
        return api_problem_errno(rq, error, "Cannot find this in the mount");
}

/* ---- describing what there is ---- */

/* An answer while it is made. */
struct making {
        struct piecemeal sent;
        const struct dav_find *find; /* NULL: a page */
        const struct place *place;
        char *href;                     /* of the place; the caller frees it */
        char suffix[ACCESS_SUFFIX_MAX]; /* of a page's links */
        struct dav_text text;
};

static const char *name_of(const struct place *p)
{
        const char *slash = strrchr(p->decoded, '/');

        if (is_root(p))
                return ROOT_NAME;
        return slash ? slash + 1 : p->decoded;
}

/* name NULL: the place itself. */
static int describe(struct making *m, const char *name, const struct stat *st)
{
        _cleanup_free_ char *encoded = name ? uri_encode_path(name) : NULL, *href = NULL;
        struct dav_resource r = {.collection = S_ISDIR(st->st_mode),
                                 .modified = st->st_mtim.tv_sec};
        char etag[FILE_ETAG_MAX];

        if ((name && !encoded) || asprintf(&href, "%s%s%s", m->href, name ? encoded : "",
                                           name && r.collection ? "/" : "") < 0) {
                href = NULL;
                return -ENOMEM;
        }
        r.href = href;
        r.name = name ? name : name_of(m->place);
        r.type = r.collection ? DAV_PAGE_TYPE : media_type(r.name);
        if (!r.collection) {
                r.length = (uint64_t)st->st_size;
                file_answer_etag(m->place->hash, st, etag);
                r.etag = etag;
        }
        if (m->find)
                dav_text_add_response(&m->text, m->find, &r);
        else
                dav_text_add_line(&m->text, &r, m->suffix);
        return m->text.failed ? -ENOMEM : piecemeal_give(&m->sent, m->text.data, &m->text.len);
}

static int describe_entry(void *arg, const char *name, const struct stat *st)
{
        return describe(arg, name, st);
}

static int describe_all(struct making *m)
{
        const struct place *p = m->place;

        return mountpoint_list(m->sent.rq->server->mount, is_root(p) ? NULL : p->hash, p->path,
                               describe_entry, m);
}

static char *href_of(const struct place *p)
{
        _cleanup_free_ char *encoded = uri_encode_path(p->decoded);
        char *href;

        if (!encoded || asprintf(&href, DAV_ROOT "%s%s", encoded,
                                 is_collection(p) && !is_root(p) ? "/" : "") < 0)
                return NULL;
        return href;
}

/* Sends what was made up to the error, if there is one: cut short where it has begun. */
static int finish(struct making *m, int error, const char *end)
{
        int status = m->sent.status;

        dav_text_add(&m->text, end);
        if (error == 0 && m->text.failed)
                error = -ENOMEM;
        if (error == 0)
                status = piecemeal_finish(&m->sent, m->text.data, m->text.len);
        else if (!m->sent.begun)
                status = no_place(m->sent.rq, error);
        free(m->text.data);
        free(m->href);
        return status;
}

/* ---- PROPFIND ---- */

enum depth { DEPTH_0, DEPTH_1, DEPTH_INFINITY, DEPTH_BAD };

/* RFC 4918 §10.2; without it all is meant (§9.1). */
static enum depth depth_of(const struct request *rq)
{
        unsigned count;
        const char *value = request_header(rq, "Depth", &count);

        if (count == 0 || (value && strcasecmp(value, "infinity") == 0))
                return DEPTH_INFINITY;
        if (value && strcmp(value, "0") == 0)
                return DEPTH_0;
        return value && strcmp(value, "1") == 0 ? DEPTH_1 : DEPTH_BAD;
}

/* RFC 4918 §9.1: a server may refuse to tell of all that is below. */
static int refuse_infinity(struct request *rq)
{
        static const char error[] =
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
                "<D:error xmlns:D=\"DAV:\"><D:propfind-finite-depth/></D:error>\n";

        return request_answer(rq, 403, NULL, DAV_MULTISTATUS_TYPE, error, strlen(error));
}

static int bad_body(struct request *rq, int error)
{
        switch (error) {
        case -EFBIG:
        case -E2BIG:
                return api_problem(rq, 413, NULL, "The body is larger than it may be");
        case -ENODATA:
                return api_problem(rq, 411, NULL, "The body needs a Content-Length");
        case -ETIMEDOUT:
                return api_problem(rq, 408, NULL, "The body came too slowly");
        case -EBADMSG:
                return api_problem(rq, 400, NULL, "The body ended early");
        case -EINVAL:
                return api_problem(rq, 400, NULL, "The body is not the XML of a propfind");
        default:
                return api_problem_errno(rq, error, "Cannot read the body");
        }
}

static int read_find(struct request *rq, struct dav_find *ret)
{
        _cleanup_free_ char *body = NULL;
        unsigned length, coding;
        size_t len = 0;
        int r = 0;

        request_header(rq, "Content-Length", &length);
        request_header(rq, "Transfer-Encoding", &coding);
        if (length + coding > 0)
                r = request_body(rq, DAV_BODY_MAX, &body, &len);
        return r < 0 ? r : dav_find_parse(body, len, ret);
}

static int tell(struct request *rq, const struct place *p, const struct dav_find *f, bool all)
{
        struct making m = {
                .sent = {.rq = rq, .status = 207, .type = DAV_MULTISTATUS_TYPE},
                .find = f,
                .place = p,
                .href = href_of(p),
        };
        int r = m.href ? 0 : -ENOMEM;

        dav_text_add(&m.text, DAV_MULTISTATUS_BEGIN);
        if (r == 0)
                r = describe(&m, NULL, &p->st);
        if (r == 0 && all && is_collection(p))
                r = describe_all(&m);
        return finish(&m, r, DAV_MULTISTATUS_END);
}

int dav_propfind(struct request *rq, const struct route_match *match)
{
        _cleanup_(place_clear) struct place place = {0};
        enum depth depth = depth_of(rq);
        struct dav_find *find;
        int r, status;

        if (depth == DEPTH_BAD)
                return api_problem(rq, 400, NULL, "Depth is 0, 1 or infinity");
        if (depth == DEPTH_INFINITY)
                return refuse_infinity(rq);
        find = malloc(sizeof *find);
        r = find ? read_find(rq, find) : -ENOMEM;
        if (r < 0) {
                free(find);
                return bad_body(rq, r);
        }
        r = find_place(rq, match, &place);
        status = r < 0 ? no_place(rq, r) : tell(rq, &place, find, depth == DEPTH_1);
        dav_find_clear(find);
        free(find);
        return status;
}

/* ---- the other methods ---- */

int dav_options(struct request *rq, const struct route_match *match)
{
        (void)match;
        return request_answer(rq, 200,
                              "DAV: 1\r\n"
                              "Allow: OPTIONS, GET, HEAD, PROPFIND\r\n",
                              NULL, NULL, 0);
}

static int show_page(struct request *rq, const struct place *p)
{
        struct making m = {
                .sent = {.rq = rq, .status = 200, .headers = PAGE_HEADERS, .type = DAV_PAGE_TYPE},
                .place = p,
                .href = href_of(p),
        };
        int r = m.href ? 0 : -ENOMEM;

        access_link_suffix(rq, false, m.suffix);
        dav_text_begin_page(&m.text, is_root(p) ? ROOT_NAME : p->decoded);
        if (r == 0)
                r = describe_all(&m);
        return finish(&m, r, DAV_PAGE_END);
}

int dav_get(struct request *rq, const struct route_match *match)
{
        _cleanup_(place_clear) struct place place = {0};
        int r = find_place(rq, match, &place);

        if (r < 0)
                return no_place(rq, r);
        if (is_collection(&place))
                return show_page(rq, &place);
        r = mountpoint_use(rq->server->mount, place.hash);
        return r < 0 ? no_place(rq, r) : file_answer(rq, place.hash, place.path);
}
