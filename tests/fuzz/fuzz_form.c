/* SPDX-License-Identifier: MIT */
/* fuzz_form.c: the bodies of HTML forms. The input: a line that is the value of Content-Type, and
 * the body behind it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "form.h"
#include "fuzz.h"

/* Every part lies in the body, behind those before it, and has no delimiter in it. */
static void read_parts(const char *type, const char *body, size_t len)
{
        struct form f = {0};
        struct form_part part = {0};
        const char *at = body;
        unsigned count = 0;
        int r = form_begin(&f, type, body, len);

        fuzz_check(r == 0 || r == -EBADMSG);
        while (r == 0) {
                r = form_next(&f, &part);
                fuzz_check(r == 1 || r == 0 || r == -EBADMSG || r == -E2BIG);
                if (r != 1)
                        break;
                fuzz_check(++count <= FORM_PARTS_MAX);
                fuzz_check(part.data >= at && part.len <= (size_t)(body + len - part.data));
                fuzz_check(!memmem(part.data, part.len, f.delimiter, f.delimiter_len));
                fuzz_check(memchr(part.name, '\0', sizeof part.name));
                at = part.data + part.len;
                r = 0;
        }
}

/* What a browser sends arrives, if it has not the boundary in it. */
static void send_part(const char *data, size_t len)
{
        static const char boundary[] = "----x7MA4YWxkTrZu0gW";
        static const char type[] = "multipart/form-data; boundary=----x7MA4YWxkTrZu0gW";
        char *body = malloc(len + 256), *p = body;
        struct form f = {0};
        struct form_part part = {0};

        if (!body)
                abort();
        p += sprintf(p, "--%s\r\nContent-Disposition: form-data; name=\"magnet\"\r\n\r\n",
                     boundary);
        memcpy(p, data, len);
        p += len;
        p += sprintf(p, "\r\n--%s--\r\n", boundary);
        if (!memmem(data, len, boundary, strlen(boundary))) {
                fuzz_check(form_begin(&f, type, body, (size_t)(p - body)) == 0);
                fuzz_check(form_next(&f, &part) == 1 && strcmp(part.name, "magnet") == 0);
                fuzz_check(!part.is_file && part.len == len && memcmp(part.data, data, len) == 0);
                fuzz_check(form_next(&f, &part) == 0);
        }
        free(body);
}

static void read_urlencoded(const char *body)
{
        char *value = NULL;
        int r = form_urlencoded(body, "magnet", &value);

        fuzz_check(r == 0 || r == -EINVAL);
        if (r == 0 && value)
                fuzz_check(strlen(value) < strlen(body) && strstr(body, "="));
        if (r == 0)
                free(value);
}

void fuzz_one(const uint8_t *data, size_t size)
{
        struct fuzz_input in = {(const char *)data, size};
        char *type = fuzz_line(&in), *body = fuzz_bytes(in.at, in.left);
        char *text = strndup(in.at, in.left);

        if (!text)
                abort();
        read_parts(type, body, in.left);
        send_part(body, in.left);
        read_urlencoded(text);
        free(type);
        free(body);
        free(text);
}
