/* SPDX-License-Identifier: MIT */
/* ctl_cache.c: the commands cache, evict, pin and unpin. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/control_names.h"
#include "ctl/ctl.h"
#include "ctl/ctl_file.h"
#include "ctl/ctl_show.h"
#include "ctl/ctl_table.h"
#include "ctl/ctl_torrents.h"

/* Writes a line to the cache, and complains, of what arg means, where it is not done. *ret: the
 * answer, for who deletes it; NULL: there is none. */
static bool tell(struct ctl *c, const char *arg, const char *line, cJSON **ret)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ cJSON *answer = NULL;
        const char *error;
        int r = ctl_file_write(c->mount, NAME_CACHE, line, strlen(line), &text);

        /* One line was written, so one answers. */
        answer = text ? cJSON_Parse(text) : NULL;
        error = ctl_json_text(answer, "error");
        if (r < 0 && error && !ctl_mount_complaint(c->mount, r))
                ctl_fail(c, CTL_FAILED, "%s: %s", arg, error);
        else if (r < 0)
                ctl_fail_errno(c, r, "%s: cannot change the cache", arg);
        if (r == 0 && ret) {
                *ret = answer;
                answer = NULL;
        }
        return r == 0;
}

/* ---- cache ---- */

static int read_cache(struct ctl *c, cJSON **ret)
{
        _cleanup_free_ char *text = NULL;
        size_t len = 0;
        int r = ctl_file_read(c->mount, NAME_CACHE, CTL_NO_DEADLINE, &text, &len);

        if (r == 0)
                *ret = cJSON_ParseWithLength(text, len);
        return r;
}

void ctl_cache(struct ctl *c)
{
        _cleanup_json_ cJSON *cache = NULL;
        char line[64];
        int r;

        if (c->opt.size_bytes > 0) {
                snprintf(line, sizeof line, "size %" PRIu64 "\n", c->opt.size_bytes);
                if (!tell(c, "--size", line, NULL) || !c->opt.json)
                        return;
        }
        r = read_cache(c, &cache);
        if (r == 0)
                r = ctl_show_json_or(c, cache, ctl_table_cache);
        if (r == -EBADMSG)
                ctl_fail(c, CTL_FAILED,
                         "What %s says of its cache cannot be understood; are magnetctl and "
                         "magnetfs of the same version?",
                         ctl_mount_dir(c->mount));
        else if (r < 0)
                ctl_fail_errno(c, r, "Cannot show the cache of %s", ctl_mount_dir(c->mount));
}

/* ---- evict ---- */

/* Says why nothing of a torrent went, though something is there. */
static void tell_why(struct ctl *c, const struct ctl_target *t)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ cJSON *status = NULL;
        const cJSON *pinned;
        char path[128];
        size_t len = 0;

        snprintf(path, sizeof path, NAME_TORRENTS "/%s/" NAME_STATUS, t->hash);
        if (ctl_file_read(c->mount, path, CTL_NO_DEADLINE, &text, &len) < 0)
                return;
        status = cJSON_ParseWithLength(text, len);
        pinned = cJSON_GetObjectItemCaseSensitive(status, "pinned");
        if (ctl_json_number(status, "haveBytes") == 0)
                return;
        if (cJSON_IsTrue(pinned))
                ctl_complain("%s: it is pinned, so all of it stays; magnetctl unpin lets it go",
                             t->arg);
        else
                ctl_complain("%s: what is there of it is %sbeing read, so it stays", t->arg,
                             cJSON_IsString(pinned) ? "pinned or " : "");
}

void ctl_evict(struct ctl *c)
{
        _cleanup_targets_ struct ctl_target *targets = NULL;
        size_t n = 0;

        if (ctl_find_targets(c, CTL_NAMES_TORRENTS, &targets, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                _cleanup_json_ cJSON *answer = NULL;
                char line[128], size[CTL_SIZE_MAX];
                const char *name;
                uint64_t bytes;

                snprintf(line, sizeof line, "evict %s\n", targets[i].hash);
                if (!tell(c, targets[i].arg, line, &answer))
                        continue;
                bytes = ctl_json_number(answer, "bytes");
                ctl_size(size, bytes);
                if (c->style.terminal)
                        printf("%8s", size);
                else
                        printf("%s\t%" PRIu64, targets[i].hash, bytes);
                fputs(c->style.terminal ? "  " : "\t", stdout);
                name = ctl_json_text(answer, "name");
                ctl_text_put(stdout, name ? name : "-", 0, &c->style);
                putchar('\n');
                if (bytes == 0)
                        tell_why(c, &targets[i]);
        }
}

/* ---- pin, unpin ---- */

static void change_pins(struct ctl *c, const char *command)
{
        _cleanup_targets_ struct ctl_target *targets = NULL;
        size_t n = 0;

        if (ctl_find_targets(c, CTL_NAMES_FILES, &targets, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *line = NULL;

                /* No name in a mount has one. */
                if (strchr(targets[i].path, '\n'))
                        ctl_fail(c, CTL_FAILED, "%s: there is no such file", targets[i].arg);
                else if (asprintf(&line, "%s %s%s%s\n", command, targets[i].hash,
                                  *targets[i].path ? " " : "", targets[i].path) < 0)
                        ctl_fail(c, CTL_FAILED, "Out of memory");
                else
                        (void)tell(c, targets[i].arg, line, NULL);
        }
}

void ctl_pin(struct ctl *c)
{
        change_pins(c, "pin");
}

void ctl_unpin(struct ctl *c)
{
        change_pins(c, "unpin");
}
