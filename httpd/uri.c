/* SPDX-License-Identifier: MIT */
#include "uri.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/intake.h"

#define MAGNET_SCHEME "magnet:"
#define KEEP_TAIL     "keep=1"

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* What a '%' is that escapes nothing. */
enum malformed { MALFORMED_REFUSED, MALFORMED_LITERAL };

static int decode(const char *in, size_t len, enum malformed malformed, char **ret)
{
        _cleanup_free_ char *out = malloc(len + 1);
        size_t used = 0;

        if (!out)
                return -ENOMEM;
        for (size_t i = 0; i < len; i++) {
                bool whole = len - i >= 3;
                int high = whole ? hex_value(in[i + 1]) : -1;
                int low = whole ? hex_value(in[i + 2]) : -1;

                if (in[i] != '%' || (malformed == MALFORMED_LITERAL && (high < 0 || low < 0))) {
                        out[used++] = in[i];
                        continue;
                }
                if (high < 0 || low < 0 || high + low == 0)
                        return -EINVAL;
                out[used++] = (char)(high * 16 + low);
                i += 2;
        }
        out[used] = '\0';
        *ret = out;
        out = NULL;
        return 0;
}

int uri_decode(const char *in, size_t len, char **ret)
{
        return decode(in, len, MALFORMED_REFUSED, ret);
}

char *uri_encode_path(const char *path)
{
        static const char digits[] = "0123456789ABCDEF";
        char *out = malloc(strlen(path) * 3 + 1);
        char *p = out;

        if (!out)
                return NULL;
        for (; *path; path++) {
                unsigned char c = (unsigned char)*path;

                if ((c < 0x80 && isalnum(c)) || strchr("-._~/", c)) {
                        *p++ = (char)c;
                } else {
                        *p++ = '%';
                        *p++ = digits[c >> 4];
                        *p++ = digits[c & 15];
                }
        }
        *p = '\0';
        return out;
}

bool uri_path_is_clean(const char *path)
{
        for (;;) {
                size_t len = strcspn(path, "/");

                if (len == 0 || (len == 1 && path[0] == '.') ||
                    (len == 2 && path[0] == '.' && path[1] == '.'))
                        return false;
                if (path[len] == '\0')
                        return true;
                path += len + 1;
        }
}

bool uri_query_is(const char *query, const char *name, const char *value)
{
        size_t name_len = strlen(name);
        bool is = false;

        while (query && *query) {
                size_t len = strcspn(query, "&");

                if (len > name_len && query[name_len] == '=' &&
                    strncmp(query, name, name_len) == 0) {
                        const char *given = query + name_len + 1;
                        size_t given_len = len - name_len - 1;

                        is = given_len == strlen(value) && strncmp(given, value, given_len) == 0;
                }
                query += len;
                if (*query == '&')
                        query++;
        }
        return is;
}

/* RFC 4648 §6, any case. -1: no such digit. */
static int base32_value(char c)
{
        if (c >= '2' && c <= '7')
                return c - '2' + 26;
        if (c >= 'a' && c <= 'z')
                return c - 'a';
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        return -1;
}

int uri_info_hash(const char *text, size_t len, char ret[static INFO_HASH_MAX])
{
        static const char digits[] = "0123456789abcdef";
        char hash[INFO_HASH_MAX];
        size_t used = 0;

        if (len == 40 || len == 64) {
                for (; used < len; used++) {
                        int value = hex_value(text[used]);

                        if (value < 0)
                                return -EINVAL;
                        hash[used] = digits[value];
                }
        } else if (len == 32) {
                unsigned bits = 0, bit_count = 0;

                for (size_t i = 0; i < len; i++) {
                        int value = base32_value(text[i]);

                        if (value < 0)
                                return -EINVAL;
                        bits = bits << 5 | (unsigned)value;
                        for (bit_count += 5; bit_count >= 4; bit_count -= 4)
                                hash[used++] = digits[bits >> (bit_count - 4) & 15];
                        bits &= 15;
                }
        } else {
                return -EINVAL;
        }
        hash[used] = '\0';
        memcpy(ret, hash, used + 1);
        return 0;
}

static bool is_blank(char c)
{
        return c == ' ' || (c >= '\t' && c <= '\r');
}

bool uri_is_line(const char *text)
{
        size_t len;

        while (is_blank(*text))
                text++;
        len = strlen(text);
        while (len > 0 && is_blank(text[len - 1]))
                len--;
        return len > 0 && !memchr(text, '\n', len) && !intake_begins_torrent(text, len);
}

/* Whether a raw magnet begins here: its '?' was taken for the URL's. */
static bool is_raw_scheme(const char *text)
{
        size_t len = strlen(MAGNET_SCHEME);

        return strncasecmp(text, MAGNET_SCHEME, len) == 0 &&
               text[len + strspn(text + len, "/")] == '\0';
}

/* The rest of a raw magnet arrived as the query: joins them, and takes a last keep=1 off. */
static int join_raw_magnet(const char *scheme, const char *query, char **ret_link, bool *ret_keep)
{
        size_t len = strlen(query), tail = strlen(KEEP_TAIL);
        bool keep = len > tail && query[len - tail - 1] == '&' &&
                    strcmp(query + len - tail, KEEP_TAIL) == 0;

        if (keep)
                len -= tail + 1;
        if (len > INT32_MAX)
                return -EINVAL;
        if (asprintf(ret_link, "%s?%.*s", scheme, (int)len, query) < 0)
                return -ENOMEM;
        *ret_keep = keep;
        return 0;
}

int uri_add_target(const char *rest, const char *query, char **ret_link, bool *ret_keep)
{
        _cleanup_free_ char *link = NULL;
        bool keep;
        int r;

        r = decode(rest, strlen(rest), MALFORMED_LITERAL, &link);
        if (r < 0)
                return r;
        if (query && is_raw_scheme(link)) {
                char *joined;

                r = join_raw_magnet(link, query, &joined, &keep);
                if (r < 0)
                        return r;
                free(link);
                link = joined;
        } else {
                keep = uri_query_is(query, "keep", "1");
        }
        if (!uri_is_line(link))
                return -EINVAL;
        *ret_link = link;
        *ret_keep = keep;
        link = NULL;
        return 0;
}
