/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_print.h"

#include <inttypes.h>
#include <stdlib.h>

int ctl_put_torrents(FILE *out, const cJSON *status, const struct ctl_style *style,
                     void (*for_people)(FILE *out, const cJSON *status, struct ctl_rows *rows,
                                        const struct ctl_style *style),
                     void (*for_programs)(FILE *out, const struct ctl_row *r,
                                          const struct ctl_style *style))
{
        struct ctl_style s = *style;
        struct ctl_rows rows;
        int r;

        s.width = s.width < CTL_WIDTH_MIN ? CTL_WIDTH_MIN : s.width;
        r = ctl_rows_new(status, &rows);
        if (r < 0)
                return r;
        if (s.terminal)
                for_people(out, status, &rows, &s);
        else
                for (size_t i = 0; i < rows.n; i++)
                        for_programs(out, &rows.row[i], &s);
        free(rows.row);
        return 0;
}

void ctl_paint(FILE *out, const struct ctl_style *style, const char *code)
{
        if (style->colour)
                fputs(code, out);
}

static void pad(FILE *out, size_t n)
{
        while (n-- > 0)
                putc(' ', out);
}

void ctl_put_cell(FILE *out, const char *text, size_t width, bool left,
                  const struct ctl_style *style)
{
        size_t w = ctl_text_width(text, style), space = w < width ? width - w : 0;

        if (!left)
                pad(out, space);
        ctl_text_put(out, text, width, style);
        if (left)
                pad(out, space);
}

void ctl_put_line(FILE *out, const char *text, const struct ctl_style *style, const char *code)
{
        ctl_paint(out, style, code);
        ctl_text_put(out, text, style->width, style);
        ctl_paint(out, style, CTL_PLAIN);
        putc('\n', out);
}

void ctl_put_field(FILE *out, const char *text, const struct ctl_style *style)
{
        ctl_text_put(out, *text ? text : "-", 0, style);
}

void ctl_put_length(FILE *out, const struct ctl_row *r)
{
        if (r->has_length)
                fprintf(out, "%" PRIu64, r->length);
        else
                putc('-', out);
}

const char *ctl_size_cell(const struct ctl_row *r, char buf[CTL_SIZE_MAX])
{
        if (!r->has_length)
                return "-";
        ctl_size(buf, r->length);
        return buf;
}
