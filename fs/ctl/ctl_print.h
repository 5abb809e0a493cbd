/* SPDX-License-Identifier: MIT */
/* ctl_print.h: what the tables are made of: cells, lines, fields. Pure, like ctl_text.h. */
#ifndef FS_CTL_PRINT_H
#define FS_CTL_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "ctl/ctl_rows.h"
#include "ctl/ctl_text.h"

/* Between two columns. */
#define CTL_GAP "  "
enum { CTL_GAP_WIDTH = 2 };

/* Columns of a size and of "kept" or "temp". */
enum { CTL_SIZE_WIDTH = 8 };
enum { CTL_KEPT_WIDTH = 4 };

/* ctl_put_torrents() gives no narrower style, whatever the terminal is. */
enum { CTL_WIDTH_MIN = 20 };

#define CTL_NO_TORRENTS "No torrents; add one with: magnetctl add MAGNET"

#define CTL_RED   "\033[31m"
#define CTL_GREEN "\033[32m"
#define CTL_BOLD  "\033[1m"
#define CTL_PLAIN "\033[m"

/* Puts the torrents of a status: on a terminal all at once, else a line each. Results as in
 * ctl_table.h. */
int ctl_put_torrents(FILE *out, const cJSON *status, const struct ctl_style *style,
                     void (*for_people)(FILE *out, const cJSON *status, struct ctl_rows *rows,
                                        const struct ctl_style *style),
                     void (*for_programs)(FILE *out, const struct ctl_row *r,
                                          const struct ctl_style *style));

/* From here on in that colour, where there are colours. */
void ctl_paint(FILE *out, const struct ctl_style *style, const char *code);

/* Text made safe, cut and filled up with blanks to so many columns. */
void ctl_put_cell(FILE *out, const char *text, size_t width, bool left,
                  const struct ctl_style *style);

/* A line of text, made safe and cut to the terminal's width. */
void ctl_put_line(FILE *out, const char *text, const struct ctl_style *style, const char *code);

/* A field, made safe and uncut; "-" for nothing. */
void ctl_put_field(FILE *out, const char *text, const struct ctl_style *style);

/* A torrent's size in bytes, "-" while it is not known; for people with its unit, in buf. */
void ctl_put_length(FILE *out, const struct ctl_row *r);
const char *ctl_size_cell(const struct ctl_row *r, char buf[CTL_SIZE_MAX]);

#endif
