/* SPDX-License-Identifier: MIT */
/* ctl_text.h: text of strangers, names and errors, made fit for where it goes. Pure: writes to the
 * stream it is given, reads no clock, no terminal and no environment but the locale (LC_CTYPE, for
 * wcwidth()).
 *
 * Nothing here lets a control character through, C0, DEL or C1, nor a byte that is no UTF-8; on a
 * terminal also no character that reorders the text after it. */
#ifndef FS_CTL_TEXT_H
#define FS_CTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Where the output goes. */
struct ctl_style {
        bool terminal;   /* tables cut to the width; else lines of tab-separated fields, uncut */
        bool escapes;    /* the terminal knows escape sequences */
        bool colour;     /* ANSI colours; only with escapes */
        bool utf8;       /* the terminal's character set is UTF-8, else ASCII is all it gets */
        unsigned width;  /* columns of the terminal */
        unsigned height; /* at most so many lines, the busiest torrents first; 0: all of them */
};

/* A size with its unit, at most 8 columns: "1023 B", "9.9 KiB", "250 GiB". Rounded down. */
enum { CTL_SIZE_MAX = 16 };
void ctl_size(char buf[CTL_SIZE_MAX], uint64_t bytes);

/* Columns the text takes on a terminal once it is made safe. */
size_t ctl_text_width(const char *text, const struct ctl_style *style);

/* Writes the text made safe and cut to so many columns, the cut shown by an ellipsis (0: uncut).
 * Returns the columns written. */
size_t ctl_text_put(FILE *out, const char *text, size_t columns, const struct ctl_style *style);

/* Writes JSON without a line break (cJSON_PrintUnformatted()): its meaning unchanged, what a
 * terminal must not see as \u escapes. */
void ctl_text_put_json(FILE *out, const char *json, const struct ctl_style *style);

#endif
