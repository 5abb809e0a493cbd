/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_wait.h"

#include <errno.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/control_names.h"
#include "ctl/ctl_file.h"

/* Files that wait at the same time: far from the usual limit of 1024 descriptors. */
enum { WAIT_BATCH = 256 };

int64_t ctl_deadline(const struct ctl *c)
{
        return c->opt.timeout_s < 0 ? CTL_NO_DEADLINE
                                    : (int64_t)clock_ms() + c->opt.timeout_s * 1000;
}

void ctl_files_path(char buf[CTL_FILES_PATH_MAX], const char *hash)
{
        snprintf(buf, CTL_FILES_PATH_MAX, NAME_TORRENTS "/%s/" NAME_FILES, hash);
}

void ctl_fail_metadata(struct ctl *c, const char *hash, int r)
{
        switch (-r) {
        case ETIME:
                ctl_fail(c, CTL_TIMED_OUT, "%s: no metadata within %ld s; magnetfs goes on looking",
                         hash, c->opt.timeout_s);
                break;
        case ETIMEDOUT:
                ctl_fail(c, CTL_TIMED_OUT,
                         "%s: nobody had the metadata; magnetctl status shows peers and errors, "
                         "waiting again tries again",
                         hash);
                break;
        case ENOENT:
                ctl_fail(c, CTL_FAILED, "%s: the torrent was removed", hash);
                break;
        case EBADMSG:
                ctl_fail(c, CTL_FAILED, "%s: the metadata was refused; magnetctl status says why",
                         hash);
                break;
        default:
                ctl_fail_errno(c, r, "%s: cannot get the metadata", hash);
        }
}

void ctl_put_torrent(const struct ctl *c, const char *hash, const char *name)
{
        printf("%s%s", hash, c->style.terminal ? "  " : "\t");
        ctl_text_put(stdout, name, 0, &c->style);
        putchar('\n');
        fflush(stdout);
}

static void metadata_came(struct ctl *c, const char *hash, const struct ctl_file *f)
{
        cJSON *json = NULL;
        const char *name;

        if (f->result == 0) {
                json = cJSON_ParseWithLength(f->data, f->len);
                name = ctl_json_text(json, "name");
                ctl_put_torrent(c, hash, name ? name : "-");
        } else
                ctl_fail_metadata(c, hash, f->result);
        cJSON_Delete(json);
}

/* Waits for n <= WAIT_BATCH torrents at a time, telling of each as it comes. */
static void wait_batch(struct ctl *c, const struct ctl_target *targets, size_t n, int64_t deadline)
{
        struct ctl_file files[WAIT_BATCH];
        bool told[WAIT_BATCH] = {false};
        size_t waiting = n;
        char path[CTL_FILES_PATH_MAX];
        int r;

        for (size_t i = 0; i < n; i++) {
                ctl_files_path(path, targets[i].hash);
                (void)ctl_file_open(c->mount, path, &files[i]);
        }
        for (;;) {
                for (size_t i = 0; i < n; i++) {
                        if (told[i] || files[i].result == -EAGAIN)
                                continue;
                        metadata_came(c, targets[i].hash, &files[i]);
                        ctl_file_close(&files[i]);
                        told[i] = true;
                        waiting--;
                }
                if (waiting == 0)
                        return;
                r = ctl_file_wait(files, n, deadline);
                if (r <= 0)
                        break;
        }
        for (size_t i = 0; i < n; i++) {
                if (told[i])
                        continue;
                ctl_fail_metadata(c, targets[i].hash, r < 0 ? r : -ETIME);
                ctl_file_close(&files[i]);
        }
}

void ctl_wait_for(struct ctl *c, const struct ctl_target *targets, size_t n)
{
        int64_t deadline = ctl_deadline(c);

        for (size_t i = 0; i < n; i += WAIT_BATCH)
                wait_batch(c, targets + i, n - i < WAIT_BATCH ? n - i : WAIT_BATCH, deadline);
}

void ctl_wait(struct ctl *c)
{
        _cleanup_targets_ struct ctl_target *targets = NULL;
        size_t n = 0;

        if (ctl_find_targets(c, CTL_NAMES_TORRENTS, &targets, &n) == 0)
                ctl_wait_for(c, targets, n);
}
