/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_torrents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/ctl_file.h"
#include "ctl/ctl_suggest.h"

/* Digits of a hash that may stand for all of it. */
enum { PREFIX_MIN = 6 };

int ctl_read_status(struct ctl *c, cJSON **ret)
{
        _cleanup_free_ char *text = NULL;
        size_t len = 0;
        cJSON *json;
        int r;

        r = ctl_file_read(c->mount, "status", CTL_NO_DEADLINE, &text, &len);
        if (r < 0) {
                ctl_fail_errno(c, r, "Cannot read the status of %s", ctl_mount_dir(c->mount));
                return r;
        }
        json = cJSON_ParseWithLength(text, len);
        if (!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(json, "torrents"))) {
                cJSON_Delete(json);
                ctl_fail(c, CTL_FAILED,
                         "The status of %s cannot be understood; are magnetctl and magnetfs of the "
                         "same version?",
                         ctl_mount_dir(c->mount));
                return -EBADMSG;
        }
        *ret = json;
        return 0;
}

static bool hash_begins(const cJSON *torrent, const char *key, const char *prefix)
{
        const char *hash = ctl_json_hash(torrent, key);

        return hash && strncasecmp(hash, prefix, strlen(prefix)) == 0;
}

bool ctl_has_hash(const cJSON *torrent, const char *prefix)
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

static void complain_of_none(struct ctl *c, const cJSON *list, const char *arg)
{
        const char *dir = ctl_mount_dir(c->mount);
        struct ctl_suggest suggest;
        const cJSON *t;

        if (strncasecmp(arg, "magnet:", strlen("magnet:")) == 0) {
                ctl_fail(c, CTL_FAILED,
                         "A torrent is called by its info-hash or its directory's name, not by a "
                         "magnet; magnetctl list shows both");
                return;
        }
        if (ctl_is_hex(arg) && strlen(arg) < PREFIX_MIN) {
                ctl_fail(c, CTL_FAILED,
                         "%s is no torrent's name; of a hash give at least %d digits", arg,
                         PREFIX_MIN);
                return;
        }
        ctl_suggest_init(&suggest, arg);
        cJSON_ArrayForEach (t, list) {
                const char *name = ctl_json_text(t, "name");

                if (name)
                        ctl_suggest_offer(&suggest, name);
        }
        if (suggest.best)
                ctl_fail(c, CTL_FAILED, "There is no torrent '%s' in %s; did you mean '%s'?", arg,
                         dir, suggest.best);
        else
                ctl_fail(c, CTL_FAILED,
                         "There is no torrent '%s' in %s; magnetctl list shows those there are",
                         arg, dir);
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
        bool prefix = ctl_is_hex(arg) && strlen(arg) >= PREFIX_MIN && strlen(arg) <= CTL_HASH_MAX;

        cJSON_ArrayForEach (t, list) {
                bool by_hash = prefix && ctl_has_hash(t, arg);

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
        if (matches > 1)
                ctl_fail(c, CTL_FAILED,
                         "%s could be any of %zu torrents; give more of the hash (magnetctl list)",
                         arg, matches);
        else
                complain_of_none(c, list, arg);
        return NULL;
}

void ctl_target_set(struct ctl_target *t, const char *hash, const char *arg)
{
        snprintf(t->hash, sizeof t->hash, "%s", hash);
        for (char *p = t->hash; *p; p++)
                if (*p >= 'A' && *p <= 'F')
                        *p = (char)(*p - 'A' + 'a');
        t->arg = arg;
}

/* The status, and room for a target of each argument. */
static int begin(struct ctl *c, cJSON **status, struct ctl_target **targets)
{
        int r = ctl_read_status(c, status);

        if (r < 0)
                return r;
        *targets = calloc(c->n_args + 1, sizeof **targets);
        if (*targets)
                return 0;
        ctl_fail(c, CTL_FAILED, "Out of memory");
        return -ENOMEM;
}

int ctl_find_files(struct ctl *c, struct ctl_target **ret, size_t *ret_n)
{
        _cleanup_json_ cJSON *status = NULL;
        struct ctl_target *targets = NULL;
        size_t n = 0, len;
        int r = begin(c, &status, &targets);

        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n_args; i++) {
                const char *path = strip_mount(c, c->args[i], &len), *slash = strchr(path, '/');
                _cleanup_free_ char *name = NULL;
                const cJSON *t;

                /* What begins with one is elsewhere. */
                name = slash > path ? strndup(path, (size_t)(slash - path)) : strdup(c->args[i]);
                t = name ? find_torrent(c, status, name) : NULL;
                if (!t)
                        continue;
                ctl_target_set(&targets[n], ctl_json_hash(t, "infoHash"), c->args[i]);
                targets[n].path = slash ? slash + strspn(slash, "/") : "";
                n++;
        }
        *ret = targets;
        *ret_n = n;
        return 0;
}

int ctl_find_targets(struct ctl *c, struct ctl_target **ret, size_t *ret_n)
{
        _cleanup_json_ cJSON *status = NULL;
        struct ctl_target *targets = NULL;
        size_t n = 0;
        int r = begin(c, &status, &targets);

        if (r < 0)
                return r;
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
