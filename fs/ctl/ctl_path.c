/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_path.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "ctl/ctl_watchdog.h"

bool ctl_path_is_explicit(const char *s)
{
        size_t dots = strspn(s, ".");

        return *s == '/' || ((dots == 1 || dots == 2) && (s[dots] == '/' || !s[dots]));
}

const char *ctl_path_below(const char *path, const char *dir)
{
        size_t n = strlen(dir);

        while (n > 0 && dir[n - 1] == '/')
                n--;
        if (strncmp(path, dir, n) != 0 || (path[n] != '/' && path[n]))
                return NULL;
        return path + n + strspn(path + n, "/");
}

/* The length of s without its last component and the slashes before that. */
static size_t without_last(const char *s, size_t len)
{
        while (len > 0 && s[len - 1] == '/')
                len--;
        while (len > 0 && s[len - 1] != '/')
                len--;
        while (len > 1 && s[len - 1] == '/')
                len--;
        return len;
}

/* Puts the components of tail behind path. */
static int append(const char *path, const char *tail, char **ret)
{
        size_t used = strcmp(path, "/") == 0 ? 0 : strlen(path);
        _cleanup_free_ char *all = malloc(used + strlen(tail) + 2);

        if (!all)
                return -ENOMEM;
        memcpy(all, path, used);
        for (tail += strspn(tail, "/"); *tail; tail += strspn(tail, "/")) {
                size_t n = strcspn(tail, "/");

                if (n == 2 && memcmp(tail, "..", n) == 0)
                        return -ENOENT;
                if (n != 1 || *tail != '.') {
                        all[used++] = '/';
                        memcpy(all + used, tail, n);
                        used += n;
                }
                tail += n;
        }
        if (used == 0)
                all[used++] = '/';
        all[used] = '\0';
        *ret = all;
        all = NULL;
        return 0;
}

int ctl_path_resolve(const char *s, char **ret, bool *ret_there)
{
        size_t len = strlen(s), whole = len;
        _cleanup_free_ char *path = NULL;
        int r;

        if (len == 0)
                return -ENOENT;
        for (;;) {
                _cleanup_free_ char *head = len ? strndup(s, len) : strdup(".");

                if (!head)
                        return -ENOMEM;
                ctl_guard(0);
                path = realpath(head, NULL);
                ctl_unguard();
                if (path)
                        break;
                if (len == 0 || strcmp(head, "/") == 0)
                        return -ENOENT;
                len = without_last(s, len);
        }
        r = append(path, s + len, ret);
        if (r == 0)
                *ret_there = len == whole;
        return r;
}
