/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_text.h"

#include <inttypes.h>
#include <wchar.h>

/* One character of UTF-8 (RFC 3629), which does not depend on the locale. Returns its bytes; 1 and
 * U+FFFD for a byte that belongs to none. */
static size_t decode(const char *text, uint32_t *ret)
{
        const unsigned char *s = (const unsigned char *)text;
        static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        uint32_t c;
        size_t n;

        n = s[0] < 0x80   ? 1
            : s[0] < 0xc2 ? 0
            : s[0] < 0xe0 ? 2
            : s[0] < 0xf0 ? 3
            : s[0] < 0xf5 ? 4
                          : 0;
        c = n == 1 ? s[0] : n ? s[0] & (0x7fU >> n) : 0;
        for (size_t i = 1; i < n; i++) {
                if ((s[i] & 0xc0) != 0x80) /* also at the NUL */
                        n = 0;
                else
                        c = c << 6 | (s[i] & 0x3fU);
        }
        if (n == 0 || c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
                *ret = 0xfffd;
                return 1;
        }
        *ret = c;
        return n;
}

static bool is_control(uint32_t c)
{
        return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

/* Marks, embeddings, overrides and isolates (UAX #9), the line and the paragraph separator: they
 * would change how the rest of the line looks. */
static bool is_layout(uint32_t c)
{
        return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
               (c >= 0x2066 && c <= 0x2069);
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
        if (is_control(c) || (c == 0xfffd && n == 1))
                return text + n;
        if (style->terminal && c >= 0x80) {
                if (!style->utf8 || is_layout(c))
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
                bool escape = is_control(c) || is_layout(c) || (c == 0xfffd && n == 1) ||
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
