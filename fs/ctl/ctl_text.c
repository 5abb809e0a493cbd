/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_text.h"

#include <inttypes.h>
#include <string.h>
#include <wchar.h>

#include "common/utf8.h"

/* One character of UTF-8, which does not depend on the locale. Returns its bytes; 1 and U+FFFD for
 * a byte that belongs to none. */
static size_t decode(const char *text, uint32_t *ret)
{
        size_t n = utf8_char(text, strlen(text) + 1, ret);

        if (n > 0)
                return n;
        *ret = 0xfffd;
        return 1;
}

/* A character as it goes out. */
struct glyph {
        const char *bytes;
        size_t len;
        size_t width;
};

/* The next character of a text, the first of it or not. Returns where the one behind it begins. */
static const char *next_glyph(const char *text, bool first, const struct ctl_style *style,
                              struct glyph *ret)
{
        static const struct glyph unsafe = {"?", 1, 1};
        uint32_t c;
        size_t n = decode(text, &c);
        int width = 1;

        *ret = unsafe;
        if (utf8_is_control(c) || (c == 0xfffd && n == 1))
                return text + n;
        if (style->terminal && c >= 0x80) {
                if (!style->utf8 || utf8_is_layout(c))
                        return text + n;
                width = wcwidth((wchar_t)c);
                /* a combining mark without its letter would go to what stands before the text */
                if (width < 0 || (width == 0 && first))
                        return text + n;
        }
        *ret = (struct glyph){text, n, (size_t)width};
        return text + n;
}

size_t ctl_text_width(const char *text, const struct ctl_style *style)
{
        const char *start = text;
        struct glyph g;
        size_t width = 0;

        while (*text) {
                text = next_glyph(text, text == start, style, &g);
                width += g.width;
        }
        return width;
}

size_t ctl_text_put(FILE *out, const char *text, size_t columns, const struct ctl_style *style)
{
        bool cut = columns && ctl_text_width(text, style) > columns;
        const char *start = text;
        struct glyph g;
        size_t width = 0;

        while (*text) {
                text = next_glyph(text, text == start, style, &g);
                if (cut && width + g.width > columns - 1)
                        break;
                fwrite(g.bytes, 1, g.len, out);
                width += g.width;
        }
        if (cut) {
                fputs(style->utf8 ? "\u2026" : "~", out);
                width++;
        }
        return width;
}

void ctl_text_put_json(FILE *out, const char *json, const struct ctl_style *style)
{
        bool ascii = style->terminal && !style->utf8;

        while (*json) {
                uint32_t c;
                size_t n = decode(json, &c);
                bool escape = utf8_is_control(c) || utf8_is_layout(c) || (c == 0xfffd && n == 1) ||
                              (ascii && c >= 0x80);

                if (!escape)
                        fwrite(json, 1, n, out);
                else if (c < 0x10000)
                        fprintf(out, "\\u%04" PRIx32, c);
                else /* RFC 8259 §7: a surrogate pair */
                        fprintf(out, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd7c0 + (c >> 10),
                                0xdc00 + (c & 0x3ff));
                json += n;
        }
}

void ctl_size(char buf[CTL_SIZE_MAX], uint64_t bytes)
{
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
        unsigned u = 0;
        uint64_t whole, tenths;

        while (bytes >> (10 * u) >= 1024)
                u++;
        whole = bytes >> (10 * u);
        tenths = (bytes - (whole << (10 * u))) * 10 >> (10 * u);
        if (u == 0 || whole >= 100)
                snprintf(buf, CTL_SIZE_MAX, "%" PRIu64 " %s", whole, units[u]);
        else
                snprintf(buf, CTL_SIZE_MAX, "%" PRIu64 ".%u %s", whole, (unsigned)tenths, units[u]);
}
