/* SPDX-License-Identifier: MIT */
#include "submission.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/intake.h"
#include "common/limits.h"
#include "form.h"
#include "json.h"
#include "uri.h"

/* A magnet with a hundred trackers has some 10 KiB. */
#define LINE_MAX_BYTES (128u << 10)
/* What a form has around its file. */
#define FORM_ROOM (64u << 10)

static const char no_line[] =
        "Neither a magnet URI (magnet:?xt=urn:btih:...) nor an info-hash (40 or 64 hex digits, or "
        "32 of base32)";

enum kind { KIND_NONE, KIND_TEXT, KIND_JSON, KIND_TORRENT, KIND_ANY, KIND_URLENCODED, KIND_FORM };

static const struct {
        const char *type;
        enum kind kind;
} kinds[] = {
        {"text/plain", KIND_TEXT},
        {"application/json", KIND_JSON},
        {"application/x-bittorrent", KIND_TORRENT},
        /* What programs call a file that they know nothing of. */
        {"application/octet-stream", KIND_ANY},
        /* What curl calls what it is given, be it a form, a magnet or a file. */
        {"application/x-www-form-urlencoded", KIND_URLENCODED},
        {"multipart/form-data", KIND_FORM},
};

static enum kind kind_of(const char *content_type)
{
        size_t len = content_type ? strcspn(content_type, "; \t") : 0;

        if (len == 0)
                return KIND_ANY;
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
                if (len == strlen(kinds[i].type) &&
                    strncasecmp(content_type, kinds[i].type, len) == 0)
                        return kinds[i].kind;
        return KIND_NONE;
}

size_t submission_max(const char *content_type)
{
        switch (kind_of(content_type)) {
        case KIND_NONE:
                return 0;
        case KIND_TEXT:
        case KIND_JSON:
                return LINE_MAX_BYTES;
        case KIND_FORM:
                return TORRENT_BYTES_MAX + FORM_ROOM;
        default:
                return TORRENT_BYTES_MAX;
        }
}

void submission_free(struct submission *s)
{
        free(s->own);
        *s = (struct submission){.own = NULL};
}

static int refuse(const char **ret_why, int error, const char *why)
{
        *ret_why = why;
        return error;
}

static int take_torrent(struct submission *s, const char *data, size_t len)
{
        s->is_torrent = true;
        s->data = data;
        s->len = len;
        return 0;
}

/* data[len] need not be a NUL. */
static int take_line(struct submission *s, const char *data, size_t len, const char **ret_why)
{
        free(s->own);
        s->own = NULL;
        if (memchr(data, '\0', len))
                return refuse(ret_why, -EINVAL, no_line);
        s->own = strndup(data, len);
        if (!s->own)
                return -ENOMEM;
        if (!uri_is_line(s->own))
                return refuse(ret_why, -EINVAL, no_line);
        s->data = s->own;
        s->len = strlen(s->own);
        return 0;
}

static int read_json(struct submission *s, const char *body, const char **ret_why)
{
        static const char wanted[] = "The body must be {\"magnet\": string, \"keep\": boolean}";
        cJSON *json = json_parse(body);
        const cJSON *keep = cJSON_GetObjectItemCaseSensitive(json, "keep");
        const char *link = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "magnet"));
        int r;

        if (!link || (keep && !cJSON_IsBool(keep))) {
                r = refuse(ret_why, -EINVAL, wanted);
        } else {
                s->says_keep = keep;
                s->keep = cJSON_IsTrue(keep);
                r = take_line(s, link, strlen(link), ret_why);
        }
        cJSON_Delete(json);
        return r;
}

/* What a form says of keeping: a ticked box is "on". */
static int read_keep(struct submission *s, const char *value, size_t len, const char **ret_why)
{
        static const struct {
                const char *text;
                bool keep;
        } values[] = {{"1", true},  {"true", true},   {"on", true},
                      {"0", false}, {"false", false}, {"", false}};

        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
                if (len == strlen(values[i].text) && strncasecmp(value, values[i].text, len) == 0) {
                        s->says_keep = true;
                        s->keep = values[i].keep;
                        return 0;
                }
        return refuse(ret_why, -EINVAL, "keep must be 1 or 0");
}

static bool begins(const char *text, const char *with)
{
        return strncasecmp(text, with, strlen(with)) == 0;
}

/* Where the value of the first field of this name begins, as it was sent; NULL: there is none. */
static const char *raw_value(const char *form, const char *name)
{
        size_t len = strlen(name);

        for (const char *p = form; p; p = strchr(p, '&')) {
                p += *p == '&';
                if (strncmp(p, name, len) == 0 && p[len] == '=')
                        return p + len + 1;
        }
        return NULL;
}

/* Takes the magnet of a form. One that nobody has encoded (`curl -d magnet=magnet:?xt=…&tr=…`) is
 * all that follows: its own '&' do not end it, and a last keep=1 in it is the form's, as GET /add
 * has it. */
static int take_field(struct submission *s, const char *form, const char *name, const char *raw,
                      const char **ret_why)
{
        static const char scheme[] = "magnet:";
        _cleanup_free_ char *link = NULL;
        bool keep = false;
        int r;

        if (begins(raw, scheme) && raw[strlen(scheme)] == '?')
                r = uri_add_target(scheme, raw + strlen(scheme) + 1, &link, &keep);
        else
                r = form_urlencoded(form, name, &link);
        if (r == -EINVAL)
                return refuse(ret_why, r, "The form is not properly percent-encoded");
        if (r < 0)
                return r;
        if (keep)
                s->says_keep = s->keep = true;
        return take_line(s, link, strlen(link), ret_why);
}

static int read_urlencoded(struct submission *s, const char *body, size_t len, const char **ret_why)
{
        _cleanup_free_ char *keep = NULL;
        const char *magnet = raw_value(body, "magnet"), *torrent = raw_value(body, "torrent");
        int r;

        if (memchr(body, '\0', len))
                return refuse(ret_why, -EINVAL, no_line);
        /* `curl -d magnet:?xt=…&tr=…` is no form, though it looks like one. */
        if (begins(body, "magnet:") || (!magnet && !torrent && !raw_value(body, "keep")))
                return take_line(s, body, len, ret_why);
        if (!magnet && !torrent)
                return refuse(ret_why, -EINVAL, "The form has no magnet");
        r = form_urlencoded(body, "keep", &keep);
        if (r == -EINVAL)
                return refuse(ret_why, r, "The form is not properly percent-encoded");
        if (r == 0 && keep)
                r = read_keep(s, keep, strlen(keep), ret_why);
        if (r < 0)
                return r;
        return magnet ? take_field(s, body, "magnet", magnet, ret_why)
                      : take_field(s, body, "torrent", torrent, ret_why);
}

/* One field of a form: what is handed in, or a word about it. */
static int read_part(struct submission *s, const struct form_part *part, const char **ret_why)
{
        bool is_torrent = intake_begins_torrent(part->data, part->len);

        if (strcmp(part->name, "keep") == 0 && !part->is_file)
                return read_keep(s, part->data, part->len, ret_why);
        if (!part->is_file && !is_torrent && strcmp(part->name, "magnet") != 0 &&
            strcmp(part->name, "torrent") != 0)
                return 0; /* a submit button's, say */
        if (part->len == 0)
                return 0; /* a field that was left empty */
        if (s->data)
                return refuse(ret_why, -EINVAL, "The form hands in more than one torrent");
        if (is_torrent)
                return take_torrent(s, part->data, part->len);
        if (part->is_file)
                return refuse(ret_why, -EINVAL, "The form's file is not a .torrent file");
        return take_line(s, part->data, part->len, ret_why);
}

static int read_form(struct submission *s, const char *content_type, const char *body, size_t len,
                     const char **ret_why)
{
        static const char malformed[] = "The form is malformed, or ends early";
        struct form_part part;
        struct form form;
        int r;

        if (form_begin(&form, content_type, body, len) < 0)
                return refuse(ret_why, -EBADMSG, malformed);
        while ((r = form_next(&form, &part)) > 0) {
                r = read_part(s, &part, ret_why);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return refuse(ret_why, -EBADMSG, malformed);
        return s->data ? 0
                       : refuse(ret_why, -EINVAL,
                                "The form has neither a magnet nor a .torrent file");
}

int submission_read(const char *content_type, const char *body, size_t len, struct submission *ret,
                    const char **ret_why)
{
        enum kind kind = kind_of(content_type);
        struct submission s = {.own = NULL};
        int r;

        *ret_why = "";
        if (kind == KIND_FORM)
                r = read_form(&s, content_type, body, len, ret_why);
        else if (kind == KIND_JSON)
                r = memchr(body, '\0', len) ? refuse(ret_why, -EINVAL, "The body has a NUL in it")
                                            : read_json(&s, body, ret_why);
        else if (kind != KIND_TEXT && intake_begins_torrent(body, len))
                r = take_torrent(&s, body, len);
        else if (kind == KIND_TORRENT)
                r = refuse(ret_why, -EINVAL, "The body is not a .torrent file");
        else if (kind == KIND_URLENCODED)
                r = read_urlencoded(&s, body, len, ret_why);
        else
                r = take_line(&s, body, len, ret_why);
        if (r < 0) {
                submission_free(&s);
                return r;
        }
        *ret = s;
        return 0;
}
