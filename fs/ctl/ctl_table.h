/* SPDX-License-Identifier: MIT */
/* ctl_table.h: magnetctl's output: what the control files say, as tables for people (on a terminal)
 * and as lines of fields for programs (on a pipe). Pure, like ctl_text.h, through which all that
 * comes from torrents goes. */
#ifndef FS_CTL_TABLE_H
#define FS_CTL_TABLE_H

#include <stdio.h>

#include <cjson/cJSON.h>

#include "ctl/ctl_text.h"

/* The tables, from the JSON of `status` (whole, or with some torrents taken out), `files` and
 * `cache`. 0, -ENOMEM, or -EBADMSG: not the JSON they should be; nothing was written then. Errors
 * of out are out's. */
int ctl_table_status(FILE *out, const cJSON *status, const struct ctl_style *style);
int ctl_table_list(FILE *out, const cJSON *status, const struct ctl_style *style);
int ctl_table_files(FILE *out, const cJSON *files, const struct ctl_style *style);
int ctl_table_cache(FILE *out, const cJSON *cache, const struct ctl_style *style);

/* What the table of `list` shows, as JSON in the form of `status`. The caller deletes it. NULL: no
 * memory, or not the JSON of `status`. */
cJSON *ctl_table_list_json(const cJSON *status);

#endif
