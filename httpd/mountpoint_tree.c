/* SPDX-License-Identifier: MIT */
/* mountpoint_tree.c: finding a file of a torrent by less than its path. */
#include "mountpoint_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/control_names.h"
#include "common/limits.h"

#define TORRENT       NAME_CONTROL "/" NAME_TORRENTS "/%s"
#define LARGEST_BELOW NAME_DATA "/"
/* Linux takes no longer name, and no longer target of a link (with its NUL). */
enum { NAME_BYTES = 255, TARGET_BYTES = 4096 };
/* Of a name that many files have, so much of the list of their paths is read. */
enum { PATHS_BYTES = 64 << 10 };

int mountpoint_wait(const struct mountpoint *m, struct client *c, const char *hash)
{
        _cleanup_close_ int fd = -1;
        int r;

        r = open_control(m, O_RDONLY | O_NONBLOCK, &fd, TORRENT "/" NAME_FILES, hash);
        while (r == 0) {
                char byte;

                /* The list is made as it is read: its beginning costs the same however long it is.
                 */
                if (read(fd, &byte, sizeof byte) >= 0)
                        return 0;
                if (errno == EAGAIN)
                        r = client_wait(c, fd, POLLIN, -1);
                else if (errno != EINTR)
                        r = -errno;
        }
        return r == -ESTALE ? -ENOENT : r; /* it went meanwhile */
}

int mountpoint_largest(const struct mountpoint *m, const char *hash, char **ret)
{
        _cleanup_free_ char *target = malloc(TARGET_BYTES);
        _cleanup_close_ int dir = -1;
        char *path;
        ssize_t n;
        int r;

        if (!target)
                return -ENOMEM;
        r = open_control(m, O_PATH | O_DIRECTORY, &dir, TORRENT, hash);
        if (r < 0)
                return r;
        n = readlinkat(dir, NAME_LARGEST, target, TARGET_BYTES - 1);
        if (n < 0)
                return -errno;
        target[n] = '\0';
        if (strncmp(target, LARGEST_BELOW, strlen(LARGEST_BELOW)) != 0)
                return -EBADMSG;
        path = strdup(target + strlen(LARGEST_BELOW));
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 0;
}

/* Whether there is more than one line. */
static bool has_lines(const char *text, size_t len)
{
        return len > 0 && memchr(text, '\n', len) != memrchr(text, '\n', len);
}

/* Reads lines: at least two, if there are so many. */
static int read_lines(int fd, char **ret)
{
        _cleanup_free_ char *text = NULL;
        size_t room = 0, used = 0;
        char *last;
        ssize_t n;

        do {
                int r = buffer_grow(&text, &room, used + PATHS_BYTES);

                if (r < 0)
                        return r;
                n = read(fd, text + used, room - used);
                if (n < 0)
                        return -errno;
                used += (size_t)n;
        } while (n > 0 && (used < PATHS_BYTES || !has_lines(text, used)));
        last = memrchr(text, '\n', used);
        if (!last)
                return -ENOENT;
        *last = '\0';
        *ret = text;
        text = NULL;
        return 0;
}

int mountpoint_named(const struct mountpoint *m, const char *hash, const char *name, char **ret)
{
        _cleanup_close_ int fd = -1;
        int r;

        if (strchr(name, '/') || strlen(name) > NAME_BYTES)
                return -ENOENT;
        r = open_control(m, O_RDONLY | O_NONBLOCK, &fd, TORRENT "/" NAME_BY_NAME "/%s", hash, name);
        return r < 0 ? r : read_lines(fd, ret);
}
