/* SPDX-License-Identifier: MIT */
#include "form.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "uri.h"

#define CRLF   "\r\n"
#define BLANKS " \t"

/* Copies the value of a parameter of a header field, `; name=token` or `; name="quoted"` (RFC 9110
 * §5.6.6), at most room - 1 characters; what is longer is cut. False: it is not there, or
 * malformed. *ret_len: how long it is, uncut. */
static bool parameter(const char *field, size_t len, const char *name, char *ret, size_t room,
                      size_t *ret_len)
{
        const char *p = field, *end = field + len;
        size_t name_len = strlen(name);

        p = memchr(p, ';', len);
        while (p && p < end) {
                const char *key = p + 1 + strspn(p + 1, BLANKS), *value;
                bool is_it, quoted;
                size_t n = 0;

                value = key + strcspn(key, "=;" CRLF);
                if (value >= end || *value != '=')
                        return false;
                is_it = (size_t)(value - key) == name_len && strncasecmp(key, name, name_len) == 0;
                quoted = *++value == '"';
                if (quoted)
                        value++;
                while (value < end && (quoted ? *value != '"' : !strchr("; \t\r\n", *value))) {
                        if (quoted && *value == '\\' && value + 1 < end)
                                value++;
                        if (is_it && n + 1 < room)
                                ret[n] = *value;
                        n++;
                        value++;
                }
                if (quoted && (value >= end || *value != '"'))
                        return false;
                if (is_it) {
                        ret[n + 1 < room ? n : room - 1] = '\0';
                        *ret_len = n;
                        return true;
                }
                p = value < end ? memchr(value, ';', (size_t)(end - value)) : NULL;
        }
        return false;
}

int form_begin(struct form *f, const char *content_type, const char *body, size_t len)
{
        char boundary[FORM_BOUNDARY_MAX + 1];
        size_t n;

        if (!parameter(content_type, strlen(content_type), "boundary", boundary, sizeof boundary,
                       &n) ||
            n == 0 || n > FORM_BOUNDARY_MAX)
                return -EBADMSG;
        *f = (struct form){.at = body, .end = body + len, .delimiter_len = n + 4};
        memcpy(f->delimiter, CRLF "--", 4);
        memcpy(f->delimiter + 4, boundary, n);
        /* The first delimiter needs no CR LF before it; what is before it is no part (§5.1.1). */
        if (len >= n + 2 && memcmp(body, f->delimiter + 2, n + 2) == 0) {
                f->at = body + n + 2;
                return 0;
        }
        f->at = memmem(body, len, f->delimiter, f->delimiter_len);
        if (!f->at)
                return -EBADMSG;
        f->at += f->delimiter_len;
        return 0;
}

/* Reads one header field of a part. */
static void read_field(const char *line, size_t len, struct form_part *part)
{
        static const char disposition[] = "Content-Disposition:";
        char file[2];
        size_t n;

        if (len < strlen(disposition) || strncasecmp(line, disposition, strlen(disposition)) != 0)
                return;
        if (!parameter(line, len, "name", part->name, sizeof part->name, &n))
                part->name[0] = '\0';
        part->is_file = parameter(line, len, "filename", file, sizeof file, &n) ||
                        parameter(line, len, "filename*", file, sizeof file, &n);
}

int form_next(struct form *f, struct form_part *ret)
{
        struct form_part part = {.len = 0};
        const char *p = f->at, *data_end;
        size_t head = 0;

        if (f->end - p >= 2 && memcmp(p, "--", 2) == 0)
                return 0;
        if (f->parts++ >= FORM_PARTS_MAX)
                return -E2BIG;
        while (p < f->end && strchr(BLANKS, *p) && *p)
                p++;
        if (f->end - p < 2 || memcmp(p, CRLF, 2) != 0)
                return -EBADMSG;
        p += 2;
        for (;;) {
                const char *eol = memmem(p, (size_t)(f->end - p), CRLF, 2);

                if (!eol)
                        return -EBADMSG;
                head += (size_t)(eol - p);
                if (head > FORM_HEAD_MAX)
                        return -E2BIG;
                if (eol == p)
                        break;
                read_field(p, (size_t)(eol - p), &part);
                p = eol + 2;
        }
        /* The CR LF that ends the head is also the one of a delimiter that follows at once. */
        data_end = memmem(p, (size_t)(f->end - p), f->delimiter, f->delimiter_len);
        if (!data_end)
                return -EBADMSG;
        part.data = data_end == p ? p : p + 2;
        part.len = (size_t)(data_end - part.data);
        f->at = data_end + f->delimiter_len;
        *ret = part;
        return 1;
}

int form_urlencoded(const char *body, const char *name, char **ret)
{
        _cleanup_free_ char *found = NULL;
        size_t name_len = strlen(name);

        for (const char *p = body; *p; p += strcspn(p, "&"), p += *p == '&') {
                _cleanup_free_ char *plain = NULL;
                size_t len = strcspn(p, "&" CRLF);
                char *value = NULL;
                int r;

                if (len <= name_len || p[name_len] != '=' || strncmp(p, name, name_len) != 0)
                        continue;
                plain = strndup(p + name_len + 1, len - name_len - 1);
                if (!plain)
                        return -ENOMEM;
                for (char *c = plain; *c; c++)
                        if (*c == '+')
                                *c = ' ';
                r = uri_decode(plain, strlen(plain), &value);
                if (r < 0)
                        return r;
                free(found);
                found = value;
        }
        *ret = found;
        found = NULL;
        return 0;
}
