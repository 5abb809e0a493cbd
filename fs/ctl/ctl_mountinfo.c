/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/mountinfo.h"

/* The kernel's own table; a machine with 100,000 mounts has some 20 MB of it. */
#define MOUNTINFO_MAX (64U << 20)

void ctl_mountinfo_free(char **dirs)
{
        if (!dirs)
                return;
        for (size_t i = 0; dirs[i]; i++)
                free(dirs[i]);
        free(dirs);
}

static bool contains(char *const *list, size_t n, const char *s)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(list[i], s) == 0)
                        return true;
        return false;
}

/* Appends a copy of s to the NULL-terminated *list of n. */
static int append(char ***list, size_t n, const char *s)
{
        char **grown = realloc(*list, (n + 2) * sizeof *grown);

        if (!grown)
                return -ENOMEM;
        *list = grown;
        grown[n + 1] = NULL;
        grown[n] = strdup(s);
        return grown[n] ? 0 : -ENOMEM;
}

int ctl_mountinfo_parse(const char *text, char ***ret, size_t *ret_n)
{
        char **dirs = calloc(1, sizeof *dirs), **devices = calloc(1, sizeof *devices);
        char *copy = strdup(text), *save = NULL, *line;
        size_t n = 0;
        int r = -ENOMEM;

        if (!dirs || !devices || !copy)
                goto finish;
        for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                struct mountinfo l;

                if (!mountinfo_split(line, &l) || strcmp(l.type, MOUNTINFO_MAGNETFS) != 0 ||
                    strcmp(l.root, "/") != 0)
                        continue;
                /* of one mounted over another only the upper can be reached */
                if (contains(devices, n, l.device) || contains(dirs, n, l.dir))
                        continue;
                r = append(&devices, n, l.device);
                if (r == 0)
                        r = append(&dirs, n, l.dir);
                if (r < 0)
                        goto finish;
                n++;
        }
        *ret = dirs;
        *ret_n = n;
        dirs = NULL;
        r = 0;

finish:
        ctl_mountinfo_free(dirs);
        ctl_mountinfo_free(devices);
        free(copy);
        return r;
}

int ctl_mountinfo_read(char ***ret, size_t *ret_n)
{
        char *text = NULL;
        size_t room = 0, len = 0;
        int fd, r;

        fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = buffer_read(fd, &text, &room, &len, MOUNTINFO_MAX);
        close(fd);
        if (r == 0)
                r = ctl_mountinfo_parse(text, ret, ret_n);
        free(text);
        return r;
}
