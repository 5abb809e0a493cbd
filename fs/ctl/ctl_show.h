/* SPDX-License-Identifier: MIT */
/* ctl_show.h: how what a control file says is shown. */
#ifndef FS_CTL_SHOW_H
#define FS_CTL_SHOW_H

#include "ctl/ctl.h"

/* Shows json on stdout: as it is with --json, else by table, which is given the terminal's
 * measures. What table gives; -EBADMSG: json is NULL; -ENOMEM. */
int ctl_show_json_or(struct ctl *c, const cJSON *json,
                     int (*table)(FILE *out, const cJSON *json, const struct ctl_style *style));

#endif
