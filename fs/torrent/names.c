/* SPDX-License-Identifier: MIT */
#include "torrent/names.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

/* What counts as an extension: longer ones are part of the name. */
enum { EXTENSION_BYTES_MAX = 16 };

static bool is_harmful(uint32_t c)
{
        return utf8_is_control(c) || utf8_is_layout(c) || c == '/';
}

/* The longest prefix of s, at most max bytes, that does not end inside a character. s is valid
 * UTF-8. */
static size_t cut(const char *s, size_t len, size_t max)
{
        if (len <= max)
                return len;
        while (max > 0 && ((unsigned char)s[max] & 0xc0u) == 0x80)
                max--;
        return max;
}

size_t name_stem(const char *name)
{
        size_t len = strlen(name);
        const char *dot = strrchr(name, '.');

        if (!dot || dot[1] == '\0' || strlen(dot) > EXTENSION_BYTES_MAX)
                return len;
        /* "...mkv" without its extension would be "..". */
        if (strspn(name, ".") >= (size_t)(dot - name))
                return len;
        return (size_t)(dot - name);
}

/* Joins stem, middle and extension, cutting the stem so that all fits. */
static size_t join(const char *stem, size_t stem_len, const char *middle, const char *extension,
                   char out[NAME_BYTES_MAX + 1])
{
        size_t m = strlen(middle), e = strlen(extension);
        size_t s = cut(stem, stem_len, NAME_BYTES_MAX - m - e);

        memmove(out, stem, s);
        memcpy(out + s, middle, m);
        memmove(out + s + m, extension, e + 1);
        return s + m + e;
}

size_t name_clean(const char *raw, size_t len, char out[NAME_BYTES_MAX + 1])
{
        /* The end of a long name, for its extension, which a cut would lose. */
        char tail[EXTENSION_BYTES_MAX + 1] = "";
        size_t n = 0;
        bool is_cut = false;

        for (size_t i = 0; i < len;) {
                uint32_t c = 0;
                size_t k = utf8_char(raw + i, len - i, &c);
                const char *put = raw + i;
                size_t put_len = k;

                if (k == 0 || is_harmful(c)) {
                        put = "_";
                        put_len = 1;
                }
                if (n + put_len > NAME_BYTES_MAX) {
                        is_cut = true;
                        break;
                }
                memcpy(out + n, put, put_len);
                n += put_len;
                i += k ? k : 1;
        }
        out[n] = '\0';

        if (is_cut) {
                char end[2 * EXTENSION_BYTES_MAX];
                size_t take = sizeof end - 1;

                memcpy(end, raw + len - take, take);
                end[take] = '\0';
                const char *dot = memchr(end, '\0', take) ? NULL : strrchr(end, '.');
                if (dot && dot[1] != '\0' && strlen(dot) <= EXTENSION_BYTES_MAX) {
                        bool plain = true;

                        for (const char *p = dot + 1; *p; p++)
                                plain = plain && *p > ' ' && *p < 0x7f && *p != '/';
                        if (plain)
                                memcpy(tail, dot, strlen(dot) + 1);
                }
                n = join(out, n, "", tail, out);
        }
        if (n == 0 || strcmp(out, ".") == 0 || strcmp(out, "..") == 0) {
                n = n ? n : 1;
                memset(out, '_', n);
                out[n] = '\0';
        }
        return n;
}

void name_clean_text(const char *raw, char *out, size_t size)
{
        size_t len = strlen(raw), n = 0;

        for (size_t i = 0; i < len;) {
                uint32_t c = 0;
                size_t k = utf8_char(raw + i, len - i, &c);
                bool keep = k > 0 && (c == '/' || !is_harmful(c));
                size_t put_len = keep ? k : 1;

                if (n + put_len >= size)
                        break;
                memcpy(out + n, keep ? raw + i : "_", put_len);
                n += put_len;
                i += k ? k : 1;
        }
        out[n] = '\0';
}

size_t name_numbered(const char *name, unsigned n, char out[NAME_BYTES_MAX + 1])
{
        char middle[16];
        size_t stem = name_stem(name);

        snprintf(middle, sizeof middle, " (%u)", n);
        return join(name, stem, middle, name + stem, out);
}

unsigned name_number(const char *name, const char *numbered)
{
        char again[NAME_BYTES_MAX + 1];
        size_t len = strlen(numbered), extension = strlen(name + name_stem(name)), end, at;
        unsigned long n;

        if (strcmp(name, numbered) == 0)
                return 1;
        if (len < extension + 4)
                return 0;
        end = at = len - extension - 1; /* of the ')' */
        while (at > 0 && numbered[at - 1] >= '0' && numbered[at - 1] <= '9')
                at--;
        n = strtoul(numbered + at, NULL, 10);
        if (numbered[end] != ')' || at == end || n < 2 || n > UINT32_MAX)
                return 0;
        name_numbered(name, (unsigned)n, again);
        return strcmp(again, numbered) == 0 ? (unsigned)n : 0;
}
