/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_torrents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/ctl_file.h"
#include "ctl/ctl_path.h"
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

/* Without the slashes that a shell's completion puts behind it. */
static size_t trimmed_length(const char *arg)
{
        size_t len = strlen(arg);

        while (len > 1 && arg[len - 1] == '/')
                len--;
        return len;
}

static void complain_of_none(struct ctl *c, const cJSON *list, const char *arg)
{
        const char *dir = ctl_mount_dir(c->mount);
        _cleanup_free_ char *trimmed = strndup(arg, trimmed_length(arg));
        struct ctl_suggest suggest;
        const char *slash;
        const cJSON *t;

        if (!trimmed) {
                ctl_fail(c, CTL_FAILED, "Out of memory");
                return;
        }
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
        slash = strrchr(trimmed, '/');
        ctl_suggest_init(&suggest, slash ? slash + 1 : trimmed);
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

/* The torrents that this name or hash means: a whole hash before all, then a name or a prefix of a
 * hash. A name is a stranger's choice, so one that looks like another's prefix decides nothing.
 * Returns how many; *ret: the last of them. */
static size_t find_called(const cJSON *list, const char *name, const cJSON **ret)
{
        bool prefix =
                ctl_is_hex(name) && strlen(name) >= PREFIX_MIN && strlen(name) <= CTL_HASH_MAX;
        size_t matches = 0;
        const cJSON *t;

        cJSON_ArrayForEach (t, list) {
                bool by_hash = prefix && ctl_has_hash(t, name);

                if (!ctl_json_hash(t, "infoHash"))
                        continue;
                if (by_hash && ctl_is_hash(name) &&
                    (strcasecmp(ctl_json_hash(t, "infoHash"), name) == 0 ||
                     (ctl_json_hash(t, "infoHashV2") &&
                      strcasecmp(ctl_json_hash(t, "infoHashV2"), name) == 0))) {
                        *ret = t;
                        return 1;
                }
                if (by_hash || has_name(t, name, strlen(name))) {
                        matches++;
                        *ret = t;
                }
        }
        return matches;
}

/* What an argument means. */
struct meaning {
        const cJSON *torrent; /* NULL: none */
        char *path;           /* in it; the caller frees it */
        bool of_mount;        /* the mount itself */
};

/* As a path in the mount. One that can be something else, too, is one only if it is there. */
static int find_path(const struct ctl *c, const cJSON *list, const char *arg, enum ctl_named named,
                     struct meaning *m)
{
        _cleanup_free_ char *path = NULL;
        const char *below, *rest;
        bool there = false;
        const cJSON *t;
        size_t n;
        int r = ctl_path_resolve(arg, &path, &there);

        if (r < 0)
                return r == -ENOMEM ? r : 0;
        below = ctl_path_below(path, ctl_mount_path(c->mount));
        if (!below || (!there && !ctl_path_is_explicit(arg)))
                return 0;
        n = strcspn(below, "/");
        rest = below + n + strspn(below + n, "/");
        m->of_mount = n == 0;
        /* Of a file it is said by name that it is not there. */
        if (!there && *rest && named != CTL_NAMES_FILES)
                return 0;
        cJSON_ArrayForEach (t, list) {
                if (!ctl_json_hash(t, "infoHash") || !has_name(t, below, n))
                        continue;
                m->path = strdup(rest);
                if (!m->path)
                        return -ENOMEM;
                m->torrent = t;
                break;
        }
        return 0;
}

/* As a name or a hash, with a path behind it where files are named. Complains of one that is not
 * clear: -ENOTUNIQ. */
static int find_name(struct ctl *c, const cJSON *list, const char *arg, enum ctl_named named,
                     struct meaning *m)
{
        const char *slash = named == CTL_NAMES_FILES ? strchr(arg, '/') : NULL;
        _cleanup_free_ char *name =
                strndup(arg, slash ? (size_t)(slash - arg) : trimmed_length(arg));
        const cJSON *t = NULL;
        size_t matches;

        if (!name)
                return -ENOMEM;
        matches = find_called(list, name, &t);
        if (matches > 1) {
                ctl_fail(c, CTL_FAILED,
                         "%s could be any of %zu torrents; give more of the hash (magnetctl list)",
                         arg, matches);
                return -ENOTUNIQ;
        }
        if (matches == 0)
                return 0;
        m->path = strdup(slash ? slash + strspn(slash, "/") : "");
        if (!m->path)
                return -ENOMEM;
        m->torrent = t;
        return 0;
}

/* Sets target to what arg means. A name is one before it is a path from the working directory on;
 * what has a slash is a path first, as a shell completes it. Returns whether there is such a thing;
 * else complained. */
static bool find(struct ctl *c, const cJSON *status, const char *arg, enum ctl_named named,
                 struct ctl_target *target)
{
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(status, "torrents");
        bool is_path = ctl_path_is_explicit(arg), path_first = strchr(arg, '/') || is_path;
        struct meaning m = {0};
        int r = 0;

        if (path_first)
                r = find_path(c, list, arg, named, &m);
        if (r == 0 && !m.torrent && !is_path)
                r = find_name(c, list, arg, named, &m);
        if (r == 0 && !m.torrent && !path_first)
                r = find_path(c, list, arg, named, &m);
        if (r == -ENOMEM)
                ctl_fail(c, CTL_FAILED, "Out of memory");
        else if (r == 0 && !m.torrent && m.of_mount)
                ctl_fail(c, CTL_FAILED, "%s is all of the mount; magnetctl list shows its torrents",
                         arg);
        else if (r == 0 && !m.torrent && named == CTL_NAMES_FILES && !is_path && path_first) {
                _cleanup_free_ char *name = strndup(arg, strcspn(arg, "/"));

                complain_of_none(c, list, name ? name : arg);
        } else if (r == 0 && !m.torrent)
                complain_of_none(c, list, arg);
        if (r < 0 || !m.torrent) {
                free(m.path);
                return false;
        }
        if (named == CTL_NAMES_WHOLE && *m.path) {
                ctl_fail(c, CTL_FAILED,
                         "%s is only a part of the torrent '%s'; name its directory, or its "
                         "info-hash",
                         arg, ctl_json_text(m.torrent, "name"));
                free(m.path);
                return false;
        }
        ctl_target_set(target, ctl_json_hash(m.torrent, "infoHash"), arg);
        target->path = m.path;
        return true;
}

void ctl_target_set(struct ctl_target *t, const char *hash, const char *arg)
{
        snprintf(t->hash, sizeof t->hash, "%s", hash);
        for (char *p = t->hash; *p; p++)
                if (*p >= 'A' && *p <= 'F')
                        *p = (char)(*p - 'A' + 'a');
        t->arg = arg;
        t->path = NULL;
}

void ctl_targets_free(struct ctl_target *targets)
{
        for (size_t i = 0; targets && targets[i].path; i++)
                free(targets[i].path);
        free(targets);
}

/* The status, and room for a target of each argument and for one that is none. */
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

int ctl_find_targets(struct ctl *c, enum ctl_named named, struct ctl_target **ret, size_t *ret_n)
{
        _cleanup_json_ cJSON *status = NULL;
        _cleanup_targets_ struct ctl_target *targets = NULL;
        size_t n = 0;
        int r = begin(c, &status, &targets);

        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n_args; i++) {
                size_t k = 0;

                if (!find(c, status, c->args[i], named, &targets[n]))
                        continue;
                while (strcmp(targets[k].hash, targets[n].hash) != 0)
                        k++;
                if (k == n || named == CTL_NAMES_FILES) {
                        n++;
                } else {
                        free(targets[n].path);
                        targets[n] = (struct ctl_target){.arg = NULL};
                }
        }
        *ret = targets;
        *ret_n = n;
        targets = NULL;
        return 0;
}
