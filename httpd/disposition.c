/* SPDX-License-Identifier: MIT */
#include "disposition.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "uri.h"

/* What every client reads alike in a quoted string: no escape, and no '%', which some decode. */
static bool is_plain(char c)
{
        return c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '%';
}

char *disposition(const char *type, const char *name)
{
        _cleanup_free_ char *fallback = strdup(name), *encoded = NULL;
        bool plain = true;
        size_t used = 0;
        char *value;
        int n;

        if (!fallback)
                return NULL;
        for (const char *p = name; *p; p++) {
                if ((*p & 0xc0) == 0x80) /* one '_' for each character of UTF-8 */
                        continue;
                plain = plain && is_plain(*p);
                fallback[used] = '_';
                if (is_plain(*p))
                        fallback[used] = *p;
                used++;
        }
        fallback[used] = '\0';
        if (plain) {
                n = asprintf(&value, "%s; filename=\"%s\"", type, fallback);
                return n < 0 ? NULL : value;
        }
        /* Only unreserved characters stay as they are, and '/', which no name has. */
        encoded = uri_encode_path(name);
        if (!encoded)
                return NULL;
        n = asprintf(&value, "%s; filename=\"%s\"; filename*=UTF-8''%s", type, fallback, encoded);
        return n < 0 ? NULL : value;
}
