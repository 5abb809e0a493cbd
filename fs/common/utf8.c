/* SPDX-License-Identifier: MIT */
#include "common/utf8.h"

#include <string.h>

size_t utf8_char(const char *text, size_t n, uint32_t *ret)
{
        const unsigned char *s = (const unsigned char *)text;
        uint32_t c, least;
        size_t len;

        if (s[0] < 0x80) {
                *ret = s[0];
                return 1;
        } else if (s[0] >= 0xc2 && s[0] < 0xe0) {
                c = s[0] & 0x1fu, len = 2, least = 0x80;
        } else if (s[0] >= 0xe0 && s[0] < 0xf0) {
                c = s[0] & 0x0fu, len = 3, least = 0x800;
        } else if (s[0] >= 0xf0 && s[0] < 0xf5) {
                c = s[0] & 0x07u, len = 4, least = 0x10000;
        } else {
                return 0;
        }
        if (n < len)
                return 0;
        for (size_t i = 1; i < len; i++) {
                if ((s[i] & 0xc0u) != 0x80)
                        return 0;
                c = c << 6 | (s[i] & 0x3fu);
        }
        if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;
        *ret = c;
        return len;
}

bool utf8_is_control(uint32_t c)
{
        return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

bool utf8_is_layout(uint32_t c)
{
        return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
               (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

size_t utf8_clean(char *text)
{
        size_t len = strlen(text), used = 0, n;

        for (size_t i = 0; i < len; i += n) {
                uint32_t c;

                n = utf8_char(text + i, len - i, &c);
                if (n == 0 || utf8_is_control(c) || utf8_is_layout(c)) {
                        text[used++] = '?';
                        n = n ? n : 1;
                } else {
                        memmove(text + used, text + i, n);
                        used += n;
                }
        }
        text[used] = '\0';
        return used;
}

bool utf8_is_ascii(const char *text)
{
        while ((unsigned char)*text - 1u < 0x7f)
                text++;
        return *text == '\0';
}
