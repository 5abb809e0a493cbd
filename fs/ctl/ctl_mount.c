/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/control_names.h"
#include "ctl/ctl_mountinfo.h"
#include "ctl/ctl_path.h"
#include "ctl/ctl_watchdog.h"

struct ctl_mount {
        char *dir, *path;
        int root_fd, control_fd;
        char complaint[PATH_MAX + 256];
};

/* ---- finding and opening ---- */

static void name_them(char *const *dirs, struct ctl_reason *why)
{
        size_t used;

        snprintf(why->text, sizeof why->text, "Several magnetfs mounts; choose one with -m:");
        for (size_t i = 0; dirs[i]; i++) {
                used = strlen(why->text);
                snprintf(why->text + used, sizeof why->text - used, " '%s'", dirs[i]);
        }
}

/* The mount that path is in; NULL: none. One in another is longer. */
static char *mount_of(char *const *dirs, const char *path)
{
        char *found = NULL;

        for (size_t i = 0; dirs[i]; i++)
                if (ctl_path_below(path, dirs[i]) && (!found || strlen(dirs[i]) > strlen(found)))
                        found = dirs[i];
        return found;
}

/* Which of several is meant. *ret: one of dirs; NULL: nobody can tell. -ENOTUNIQ: more than one. */
static int choose(char *const *dirs, char *const *paths, size_t n_paths, char **ret,
                  struct ctl_reason *why)
{
        _cleanup_free_ char *here = NULL;
        char *chosen = NULL;

        for (size_t i = 0; i < n_paths; i++) {
                _cleanup_free_ char *path = NULL;
                bool there = false;
                char *dir;

                if (ctl_path_resolve(paths[i], &path, &there) < 0 ||
                    (!there && !ctl_path_is_explicit(paths[i])))
                        continue;
                dir = mount_of(dirs, path);
                if (chosen && dir && dir != chosen) {
                        snprintf(why->text, sizeof why->text,
                                 "The arguments are of several mounts, '%s' and '%s'; give each a "
                                 "command of its own",
                                 chosen, dir);
                        return -ENOTUNIQ;
                }
                chosen = dir ? dir : chosen;
        }
        if (!chosen && (here = getcwd(NULL, 0)))
                chosen = mount_of(dirs, here);
        *ret = chosen;
        return 0;
}

static int find_mount(char *const *paths, size_t n_paths, char **ret, struct ctl_reason *why)
{
        char **dirs = NULL, *one = NULL;
        size_t n = 0;
        int r;

        r = ctl_mountinfo_read(&dirs, &n);
        if (r < 0)
                snprintf(why->text, sizeof why->text,
                         "Cannot look for the mount in /proc/self/mountinfo: %s; name it with -m",
                         strerror(-r));
        else if (n == 0) {
                snprintf(why->text, sizeof why->text,
                         "No magnetfs is mounted here; start one with: magnetfs MOUNTPOINT");
                r = -ENOENT;
        } else if (n == 1)
                one = dirs[0];
        else {
                r = choose(dirs, paths, n_paths, &one, why);
                if (r == 0 && !one) {
                        name_them(dirs, why);
                        r = -ENOTUNIQ;
                }
        }
        if (one)
                *ret = strdup(one);
        ctl_mountinfo_free(dirs);
        return r;
}

const char *ctl_mount_dir(const struct ctl_mount *m)
{
        return m->dir;
}

const char *ctl_mount_path(const struct ctl_mount *m)
{
        return m->path;
}

int ctl_mount_control_fd(const struct ctl_mount *m)
{
        return m->control_fd;
}

const char *ctl_mount_complaint(struct ctl_mount *m, int r)
{
        switch (-r) {
        case ENOTCONN:
        case ECONNABORTED:
        case ENODEV:
                snprintf(m->complaint, sizeof m->complaint,
                         "The magnetfs of %s is gone; start it again there, or unmount it with: "
                         "fusermount3 -u '%s'",
                         m->dir, m->dir);
                return m->complaint;
        case EACCES:
        case EPERM:
                snprintf(m->complaint, sizeof m->complaint,
                         "%s belongs to another user; magnetctl works for the user who mounted it",
                         m->dir);
                return m->complaint;
        default:
                return NULL;
        }
}

/* What the kernel calls the root. */
static int name_root(struct ctl_mount *m)
{
        char link[64], path[PATH_MAX];
        ssize_t n;

        snprintf(link, sizeof link, "/proc/self/fd/%d", m->root_fd);
        n = readlink(link, path, sizeof path - 1);
        m->path = n > 0 ? strndup(path, (size_t)n) : strdup(m->dir); /* without /proc */
        return m->path ? 0 : -ENOMEM;
}

static int open_dirs(struct ctl_mount *m)
{
        m->root_fd = open(m->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (m->root_fd < 0)
                return -errno;
        m->control_fd = openat(m->root_fd, NAME_CONTROL, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (m->control_fd >= 0)
                return 0;
        /* told apart from a directory that is not there at all */
        return errno == ENOENT || errno == ENOTDIR ? -EMEDIUMTYPE : -errno;
}

static void explain_open(struct ctl_mount *m, int r, struct ctl_reason *why)
{
        const char *complaint = ctl_mount_complaint(m, r);

        if (complaint)
                snprintf(why->text, sizeof why->text, "%s", complaint);
        else if (r == -EMEDIUMTYPE)
                snprintf(why->text, sizeof why->text,
                         "%s is no magnetfs mount (it has no " NAME_CONTROL
                         "); mount one there, or name another with -m",
                         m->dir);
        else
                snprintf(why->text, sizeof why->text, "Cannot open the mount %s: %s; is -m right?",
                         m->dir, strerror(-r));
}

int ctl_mount_open(const char *dir, char *const *paths, size_t n_paths, struct ctl_mount **ret,
                   struct ctl_reason *why)
{
        _cleanup_mount_ struct ctl_mount *m = calloc(1, sizeof *m);
        int r;

        snprintf(why->text, sizeof why->text, "Out of memory");
        if (!m)
                return -ENOMEM;
        m->root_fd = m->control_fd = -1;

        if (dir)
                m->dir = strdup(dir);
        r = dir ? 0 : find_mount(paths, n_paths, &m->dir, why);
        if (r < 0)
                return r;
        if (!m->dir)
                return -ENOMEM;

        ctl_guard(0);
        r = open_dirs(m);
        ctl_unguard();
        if (r < 0) {
                explain_open(m, r, why);
                return r;
        }
        r = name_root(m);
        if (r < 0)
                return r;
        *ret = m;
        m = NULL;
        return 0;
}

void ctl_mount_free(struct ctl_mount *m)
{
        if (!m)
                return;
        if (m->control_fd >= 0)
                close(m->control_fd);
        if (m->root_fd >= 0)
                close(m->root_fd);
        free(m->dir);
        free(m->path);
        free(m);
}

/* ---- removing ---- */

int ctl_mount_remove(struct ctl_mount *m, const char *hash)
{
        char path[128];
        int r = 0;

        if (snprintf(path, sizeof path, NAME_TORRENTS "/%s", hash) >= (int)sizeof path)
                return -ENOENT;
        ctl_guard(0);
        if (unlinkat(m->control_fd, path, AT_REMOVEDIR) < 0)
                r = -errno;
        ctl_unguard();
        return r;
}
