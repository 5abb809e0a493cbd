/* SPDX-License-Identifier: MIT */
/* ctl_show.c: the commands list, status and files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/ctl_file.h"
#include "ctl/ctl_show.h"
#include "ctl/ctl_table.h"
#include "ctl/ctl_torrents.h"
#include "ctl/ctl_wait.h"

enum { WATCH_PERIOD_S = 1 };
enum { WIDTH_UNKNOWN = 80 };

/* ---- the terminal ---- */

static unsigned from_environment(const char *name)
{
        const char *s = getenv(name);
        char *end;
        unsigned long v;

        if (!s || *s < '0' || *s > '9')
                return 0;
        v = strtoul(s, &end, 10);
        return *end || v > 10000 ? 0 : (unsigned)v;
}

/* COLUMNS and LINES are what the user prefers to what the terminal says (POSIX, XBD 8.3). */
static void measure_terminal(struct ctl *c)
{
        unsigned width = from_environment("COLUMNS"), height = from_environment("LINES");
        struct winsize ws = {0};

        if (!c->style.terminal)
                return;
        (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws);
        width = width ? width : ws.ws_col;
        height = height ? height : ws.ws_row;
        c->style.width = width ? width : WIDTH_UNKNOWN;
        /* the line break after the last line takes a line too */
        c->style.height = c->opt.watch && height > 1 ? height - 1 : 0;
}

/* ---- JSON ---- */

/* On one line. */
static int put_json(FILE *out, const cJSON *json, const struct ctl_style *style)
{
        char *text = cJSON_PrintUnformatted(json);

        if (!text)
                return -ENOMEM;
        ctl_text_put_json(out, text, style);
        putc('\n', out);
        cJSON_free(text);
        return 0;
}

int ctl_show_json_or(struct ctl *c, const cJSON *json,
                     int (*table)(FILE *out, const cJSON *json, const struct ctl_style *style))
{
        if (!json)
                return -EBADMSG;
        measure_terminal(c);
        return c->opt.json ? put_json(stdout, json, &c->style) : table(stdout, json, &c->style);
}

/* ---- status ---- */

/* Takes the torrents that are not among the targets out of the status. Returns how many stay. */
static size_t keep_targets(cJSON *status, const struct ctl_target *targets, size_t n)
{
        cJSON *list = cJSON_GetObjectItemCaseSensitive(status, "torrents"), *next;
        size_t left = 0;

        for (cJSON *t = list->child; t; t = next) {
                bool wanted = false;

                next = t->next;
                for (size_t i = 0; i < n && !wanted; i++)
                        wanted = ctl_has_hash(t, targets[i].hash);
                if (wanted)
                        left++;
                else
                        cJSON_Delete(cJSON_DetachItemViaPointer(list, t));
        }
        return left;
}

/* One picture of the status, written in one go so that a redraw does not flicker. */
static void show_status(struct ctl *c, const cJSON *status)
{
        bool redraw = c->opt.watch && !c->opt.json && c->style.escapes;
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        int r = -ENOMEM;

        if (out) {
                r = c->opt.json ? put_json(out, status, &c->style)
                                : ctl_table_status(out, status, &c->style);
                if (fclose(out) != 0)
                        r = -ENOMEM;
        }
        if (r < 0)
                ctl_fail(c, CTL_FAILED, "Cannot show the status: %s", strerror(-r));
        else if (!redraw)
                fwrite(text, 1, len, stdout);
        else {
                /* from the top, each line cleared to its right, then what is below */
                fputs("\033[H", stdout);
                for (size_t i = 0; i < len; i++) {
                        if (text[i] == '\n')
                                fputs("\033[K", stdout);
                        putchar(text[i]);
                }
                fputs("\033[J", stdout);
        }
        if (c->opt.watch && !c->opt.json && !redraw)
                putchar('\n'); /* where one picture ends and the next begins */
        fflush(stdout);
        free(text);
}

/* Waits for the next whole period, so that the time a picture takes doesn't add up. */
static void next_period(struct timespec *at)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        at->tv_sec += WATCH_PERIOD_S;
        if (at->tv_sec < now.tv_sec)
                *at = (struct timespec){.tv_sec = now.tv_sec + WATCH_PERIOD_S,
                                        .tv_nsec = now.tv_nsec};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, at, NULL) == EINTR)
                continue;
}

void ctl_status(struct ctl *c)
{
        _cleanup_targets_ struct ctl_target *targets = NULL;
        struct timespec at;
        size_t n = 0, left;

        if (c->n_args > 0 && (ctl_find_targets(c, CTL_NAMES_TORRENTS, &targets, &n) < 0 || n == 0))
                return;
        clock_gettime(CLOCK_MONOTONIC, &at);
        for (;;) {
                _cleanup_json_ cJSON *status = NULL;

                if (ctl_read_status(c, &status) < 0)
                        return;
                left = n ? keep_targets(status, targets, n) : 1;
                measure_terminal(c);
                show_status(c, status);
                if (!c->opt.watch || ferror(stdout))
                        return;
                if (left == 0) {
                        ctl_complain("Nothing left to watch: the torrents are gone");
                        return;
                }
                next_period(&at);
        }
}

/* ---- list, files ---- */

void ctl_list(struct ctl *c)
{
        _cleanup_json_ cJSON *status = NULL, *list = NULL;
        int r;

        if (ctl_read_status(c, &status) < 0)
                return;
        measure_terminal(c);
        if (c->opt.json) {
                list = ctl_table_list_json(status);
                r = list ? put_json(stdout, list, &c->style) : -ENOMEM;
        } else
                r = ctl_table_list(stdout, status, &c->style);
        if (r < 0)
                ctl_fail_errno(c, r, "Cannot list the torrents");
}

void ctl_files(struct ctl *c)
{
        _cleanup_targets_ struct ctl_target *targets = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ cJSON *files = NULL;
        char path[CTL_FILES_PATH_MAX];
        size_t n = 0, len = 0;
        int r;

        if (ctl_find_targets(c, CTL_NAMES_TORRENTS, &targets, &n) < 0 || n == 0)
                return;
        ctl_files_path(path, targets[0].hash);
        r = ctl_file_read(c->mount, path, ctl_deadline(c), &text, &len);
        if (r < 0) {
                ctl_fail_metadata(c, targets[0].hash, r);
                return;
        }
        files = cJSON_ParseWithLength(text, len);
        r = ctl_show_json_or(c, files, ctl_table_files);
        if (r == -EBADMSG)
                ctl_fail(
                        c, CTL_FAILED,
                        "%s: the list of files cannot be understood; are magnetctl and magnetfs of "
                        "the same version?",
                        targets[0].hash);
        else if (r < 0)
                ctl_fail_errno(c, r, "Cannot list the files of %s", targets[0].hash);
}
