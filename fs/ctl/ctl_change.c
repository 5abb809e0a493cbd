/* SPDX-License-Identifier: MIT */
/* ctl_change.c: the commands keep and remove. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/control_names.h"
#include "ctl/ctl.h"
#include "ctl/ctl_file.h"
#include "ctl/ctl_torrents.h"

void ctl_keep(struct ctl *c)
{
        _cleanup_targets_ struct ctl_target *targets = NULL;
        const char *value = c->opt.off ? "0\n" : "1\n";
        size_t n = 0;
        char path[128];
        int r;

        if (ctl_find_targets(c, CTL_NAMES_TORRENTS, &targets, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                snprintf(path, sizeof path, NAME_TORRENTS "/%s/" NAME_KEEP, targets[i].hash);
                r = ctl_file_write(c->mount, path, value, strlen(value), NULL);
                if (r == -ENOENT)
                        ctl_fail(c, CTL_FAILED, "%s: the torrent was removed", targets[i].arg);
                else if (r < 0)
                        ctl_fail_errno(c, r, "%s: cannot change whether it is kept",
                                       targets[i].arg);
        }
}

void ctl_remove(struct ctl *c)
{
        _cleanup_targets_ struct ctl_target *targets = NULL;
        size_t n = 0;
        int r;

        if (ctl_find_targets(c, CTL_NAMES_WHOLE, &targets, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                r = ctl_mount_remove(c->mount, targets[i].hash);
                /* -ENOENT: a temporary one that went by itself since we looked */
                if (r < 0 && r != -ENOENT)
                        ctl_fail_errno(c, r, "%s: cannot remove it", targets[i].arg);
        }
}
