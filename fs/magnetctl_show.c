/* magnetctl_show.c: which torrents are meant, what is told of them, and the commands that take one
 * call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "magnetctl.h"

#define PREFIX_MIN     6
#define WATCH_PERIOD_S 1
#define WIDTH_UNKNOWN  80

/* ---- the control files as JSON ---- */

const char *ctl_json_text(const cJSON *object, const char *key)
{
        return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static int read_status(struct ctl *c, cJSON **ret)
{
        _cleanup_free_ char *text = NULL;
        size_t len = 0;
        cJSON *json;
        int r;

        r = ctl_mount_read(c->mount, "status", CTL_NO_DEADLINE, &text, &len);
        if (r < 0) {
                ctl_complain_errno(c, r, "Cannot read the status of %s", ctl_mount_dir(c->mount));
                return r;
        }
        json = cJSON_ParseWithLength(text, len);
        if (!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(json, "torrents"))) {
                cJSON_Delete(json);
                ctl_fail(c, EXIT_FAILED);
                ctl_complain(
                        "The status of %s cannot be understood; are magnetctl and magnetfs of the "
                        "same version?",
                        ctl_mount_dir(c->mount));
                return -EBADMSG;
        }
        *ret = json;
        return 0;
}

/* ---- which torrent is meant ---- */

bool ctl_is_hex(const char *s)
{
        return *s && s[strspn(s, "0123456789abcdefABCDEF")] == 0;
}

bool ctl_is_hash(const char *s)
{
        size_t n = strlen(s);

        return (n == HASH_V1 || n == HASH_MAX) && ctl_is_hex(s);
}

/* A hash as magnetfs gives it; it becomes part of a path, so what is none is not taken. */
const char *ctl_json_hash(const cJSON *torrent, const char *key)
{
        const char *hash = ctl_json_text(torrent, key);

        return hash && ctl_is_hash(hash) ? hash : NULL;
}

static bool hash_begins(const cJSON *torrent, const char *key, const char *prefix)
{
        const char *hash = ctl_json_hash(torrent, key);

        return hash && strncasecmp(hash, prefix, strlen(prefix)) == 0;
}

static bool has_hash(const cJSON *torrent, const char *prefix)
{
        return hash_begins(torrent, "infoHash", prefix) ||
               hash_begins(torrent, "infoHashV2", prefix);
}

static bool has_name(const cJSON *torrent, const char *name, size_t len)
{
        const char *s = ctl_json_text(torrent, "name");

        return s && strlen(s) == len && memcmp(s, name, len) == 0;
}

/* What a shell completes is a path: MOUNT/name/ is as good as name. */
static const char *strip_mount(const struct ctl *c, const char *arg, size_t *ret_len)
{
        const char *dir = ctl_mount_dir(c->mount);
        size_t n = strlen(dir), len;

        while (n > 0 && dir[n - 1] == '/')
                n--;
        if (strncmp(arg, dir, n) == 0 && arg[n] == '/')
                arg += n + strspn(arg + n, "/");
        len = strlen(arg);
        while (len > 1 && arg[len - 1] == '/')
                len--;
        *ret_len = len;
        return arg;
}

/* The torrent that arg means: a whole hash before all, then a name or a prefix of a hash. A name is
 * a stranger's choice, so one that looks like another's prefix decides nothing. NULL: complained.
 */
static const cJSON *find_torrent(struct ctl *c, const cJSON *status, const char *arg)
{
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(status, "torrents"), *t;
        const cJSON *found = NULL;
        size_t len, matches = 0;
        const char *name = strip_mount(c, arg, &len);
        bool prefix = ctl_is_hex(arg) && strlen(arg) >= PREFIX_MIN && strlen(arg) <= HASH_MAX;

        cJSON_ArrayForEach (t, list) {
                bool by_hash = prefix && has_hash(t, arg);

                if (!ctl_json_hash(t, "infoHash"))
                        continue;
                if (by_hash && ctl_is_hash(arg) &&
                    (strcasecmp(ctl_json_hash(t, "infoHash"), arg) == 0 ||
                     (ctl_json_hash(t, "infoHashV2") &&
                      strcasecmp(ctl_json_hash(t, "infoHashV2"), arg) == 0)))
                        return t;
                if (by_hash || has_name(t, name, len)) {
                        matches++;
                        found = t;
                }
        }
        if (matches == 1)
                return found;
        ctl_fail(c, EXIT_FAILED);
        if (matches > 1)
                ctl_complain(
                        "%s could be any of %zu torrents; give more of the hash (magnetctl list)",
                        arg, matches);
        else if (ctl_is_hex(arg) && strlen(arg) < PREFIX_MIN)
                ctl_complain("%s is no torrent's name; of a hash give at least %d digits", arg,
                             PREFIX_MIN);
        else
                ctl_complain("There is no torrent %s in %s; magnetctl list shows those there are",
                             arg, ctl_mount_dir(c->mount));
        return NULL;
}

void ctl_target_set(struct ctl_target *t, const char *hash, const char *arg)
{
        snprintf(t->hash, sizeof(t->hash), "%s", hash);
        for (char *p = t->hash; *p; p++)
                if (*p >= 'A' && *p <= 'F')
                        *p = (char)(*p - 'A' + 'a');
        t->arg = arg;
}

int ctl_find_targets(struct ctl *c, struct ctl_target **ret, size_t *ret_n)
{
        _cleanup_json_ cJSON *status = NULL;
        struct ctl_target *targets;
        size_t n = 0;
        int r;

        r = read_status(c, &status);
        if (r < 0)
                return r;
        targets = calloc(c->n_args ? c->n_args : 1, sizeof(*targets));
        if (!targets) {
                ctl_fail(c, EXIT_FAILED);
                ctl_complain("Out of memory");
                return -ENOMEM;
        }
        for (size_t i = 0; i < c->n_args; i++) {
                const cJSON *t = find_torrent(c, status, c->args[i]);
                size_t k = 0;

                if (!t)
                        continue;
                ctl_target_set(&targets[n], ctl_json_hash(t, "infoHash"), c->args[i]);
                while (strcmp(targets[k].hash, targets[n].hash) != 0)
                        k++;
                n += k == n;
        }
        *ret = targets;
        *ret_n = n;
        return 0;
}

/* ---- list, status, files ---- */

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

static void measure_terminal(struct ctl *c)
{
        struct winsize ws = {0};
        unsigned width;

        if (!c->style.terminal)
                return;
        (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws);
        width = ws.ws_col ? ws.ws_col : from_environment("COLUMNS");
        c->style.width = width ? width : WIDTH_UNKNOWN;
        /* the line break after the last line takes a line too */
        c->style.height = c->opt.watch && ws.ws_row > 1 ? ws.ws_row - 1U : 0;
}

bool ctl_terminal_is_dumb(void)
{
        const char *term = getenv("TERM");

        return !term || !*term || strcmp(term, "dumb") == 0;
}

/* Takes the torrents that are not among the targets out of the status. Returns how many stay. */
static size_t keep_targets(cJSON *status, const struct ctl_target *targets, size_t n)
{
        cJSON *list = cJSON_GetObjectItemCaseSensitive(status, "torrents"), *next;
        size_t left = 0;

        for (cJSON *t = list->child; t; t = next) {
                bool wanted = false;

                next = t->next;
                for (size_t i = 0; i < n && !wanted; i++)
                        wanted = has_hash(t, targets[i].hash);
                if (wanted)
                        left++;
                else
                        cJSON_Delete(cJSON_DetachItemViaPointer(list, t));
        }
        return left;
}

static int put_json(struct ctl *c, FILE *out, const cJSON *json)
{
        char *text = cJSON_PrintUnformatted(json);

        if (!text)
                return -ENOMEM;
        ctl_json_put(out, text, &c->style);
        putc('\n', out);
        cJSON_free(text);
        return 0;
}

/* One picture of the status, written in one go so that a redraw does not flicker. */
static void show_status(struct ctl *c, const cJSON *status)
{
        bool redraw = c->opt.watch && !c->opt.json && c->style.terminal && !ctl_terminal_is_dumb();
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        int r = -ENOMEM;

        if (out) {
                r = c->opt.json ? put_json(c, out, status)
                                : ctl_table_status(out, status, &c->style);
                if (fclose(out) != 0)
                        r = -ENOMEM;
        }
        if (r < 0) {
                ctl_fail(c, EXIT_FAILED);
                ctl_complain("Cannot show the status: %s", strerror(-r));
        } else if (!redraw)
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

void cmd_status(struct ctl *c)
{
        _cleanup_free_ struct ctl_target *targets = NULL;
        struct timespec at;
        size_t n = 0, left;

        if (c->n_args > 0 && (ctl_find_targets(c, &targets, &n) < 0 || n == 0))
                return;
        clock_gettime(CLOCK_MONOTONIC, &at);
        for (;;) {
                _cleanup_json_ cJSON *status = NULL;

                if (read_status(c, &status) < 0)
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

void cmd_list(struct ctl *c)
{
        _cleanup_json_ cJSON *status = NULL;
        int r;

        if (read_status(c, &status) < 0)
                return;
        measure_terminal(c);
        r = ctl_table_list(stdout, status, &c->style);
        if (r < 0)
                ctl_complain_errno(c, r, "Cannot list the torrents");
}

void cmd_files(struct ctl *c)
{
        _cleanup_free_ struct ctl_target *targets = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ cJSON *files = NULL;
        size_t n = 0, len = 0;
        char path[128];
        int r;

        if (ctl_find_targets(c, &targets, &n) < 0 || n == 0)
                return;
        ctl_files_path(path, targets[0].hash);
        r = ctl_mount_read(c->mount, path, ctl_deadline(c), &text, &len);
        if (r < 0) {
                ctl_complain_metadata(c, targets[0].hash, r);
                return;
        }
        files = cJSON_ParseWithLength(text, len);
        r = ctl_table_files(stdout, files, &c->style);
        if (r < 0) {
                ctl_fail(c, EXIT_FAILED);
                ctl_complain(
                        "%s: the list of files cannot be understood; are magnetctl and magnetfs of the "
                        "same version?",
                        targets[0].hash);
        }
}

/* ---- keep, remove ---- */

void cmd_keep(struct ctl *c)
{
        _cleanup_free_ struct ctl_target *targets = NULL;
        const char *value = c->opt.off ? "0\n" : "1\n";
        size_t n = 0;
        char path[128];
        int r;

        if (ctl_find_targets(c, &targets, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                snprintf(path, sizeof(path), "torrents/%s/keep", targets[i].hash);
                r = ctl_mount_write(c->mount, path, value, strlen(value), NULL, NULL);
                if (r == -ENOENT) {
                        ctl_fail(c, EXIT_FAILED);
                        ctl_complain("%s: the torrent was removed", targets[i].arg);
                } else if (r < 0)
                        ctl_complain_errno(c, r, "%s: cannot change whether it is kept",
                                           targets[i].arg);
        }
}

void cmd_remove(struct ctl *c)
{
        _cleanup_free_ struct ctl_target *targets = NULL;
        size_t n = 0;
        int r;

        if (ctl_find_targets(c, &targets, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                r = ctl_mount_remove(c->mount, targets[i].hash);
                /* -ENOENT: a temporary one that went by itself since we looked */
                if (r < 0 && r != -ENOENT)
                        ctl_complain_errno(c, r, "%s: cannot remove it", targets[i].arg);
        }
}
