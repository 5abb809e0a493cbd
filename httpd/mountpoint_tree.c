/* SPDX-License-Identifier: MIT */
/* mountpoint_tree.c: what there is: the torrents of the mount, their directories and files, and
 * finding one of these by less than its path. */
#include "mountpoint_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/control_names.h"
#include "common/limits.h"
#include "common/nfc.h"
#include "common/utf8.h"
#include "uri.h"

#define HASH_XATTR    "user.magnetfs.infohash"
#define TORRENT       NAME_CONTROL "/" NAME_TORRENTS "/%s"
#define LARGEST_BELOW NAME_DATA "/"
/* Linux takes no longer name, and no longer target of a link (with its NUL). */
enum { NAME_BYTES = 255, TARGET_BYTES = 4096 };
/* Of a name that many files have, so much of the list of their paths is read. */
enum { PATHS_BYTES = 64 << 10 };

static void close_dir(DIR *const *d)
{
        if (*d)
                closedir(*d);
}

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

/* Opens a directory, or with O_PATH anything. */
static int open_place(const struct mountpoint *m, const char *hash, const char *path, int flags,
                      int *ret_fd)
{
        if (!hash) {
                *ret_fd = open(mountpoint_path(m), flags | O_CLOEXEC);
                return *ret_fd < 0 ? -errno : 0;
        }
        if (!*path)
                return open_control(m, flags, ret_fd, TORRENT "/" NAME_DATA, hash);
        return open_data(m, hash, path, flags, ret_fd);
}

int mountpoint_stat(const struct mountpoint *m, const char *hash, const char *path,
                    struct stat *ret)
{
        _cleanup_close_ int fd = -1;
        struct stat st;
        int r;

        r = open_place(m, hash, path, O_PATH, &fd);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        *ret = st;
        return 0;
}

/* Calls each for what is in a directory; closes fd. */
static int list(int fd, mountpoint_each_fn each, void *arg)
{
        _cleanup_(close_dir) DIR *d = fdopendir(fd);
        const struct dirent *e;
        int r = 0;

        if (!d) {
                r = -errno;
                close(fd);
                return r;
        }
        while (r == 0 && (errno = 0, e = readdir(d))) {
                struct stat st;

                /* "." and "..", and what is no torrent: no torrent has such a name. */
                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                    strcmp(e->d_name, NAME_CONTROL) == 0)
                        continue;
                if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        r = each(arg, e->d_name, &st);
                else if (errno != ENOENT && errno != ESTALE) /* it went meanwhile */
                        r = -errno;
        }
        return r ? r : -errno;
}

int mountpoint_list(const struct mountpoint *m, const char *hash, const char *path,
                    mountpoint_each_fn each, void *arg)
{
        int fd, r;

        r = open_place(m, hash, path, O_RDONLY | O_DIRECTORY, &fd);
        return r < 0 ? r : list(fd, each, arg);
}

static int hash_of(const struct mountpoint *m, const char *name, char ret[static INFO_HASH_MAX])
{
        _cleanup_close_ int fd = -1;
        char value[INFO_HASH_MAX];
        ssize_t n;
        int r;

        r = open_control(m, O_RDONLY | O_DIRECTORY, &fd, "%s", name);
        if (r < 0)
                return r;
        n = fgetxattr(fd, HASH_XATTR, value, sizeof value);
        if (n < 0)
                return errno == ENODATA || errno == ESTALE ? -ENOENT : -errno;
        return uri_info_hash(value, (size_t)n, ret) < 0 ? -EBADMSG : 0;
}

/* A name, in Normalization Form C, that is looked for. */
struct wanted {
        const char *normal;
        char *found;
};

/* 1: it is the one. */
static int is_wanted(void *arg, const char *name, const struct stat *st)
{
        _cleanup_free_ char *normal = NULL;
        struct wanted *w = arg;
        int r = nfc_of(name, &normal);

        (void)st;
        if (r < 0 || strcmp(normal ? normal : name, w->normal) != 0)
                return r;
        w->found = strdup(name);
        return w->found ? 1 : -ENOMEM;
}

/* The same of a name that is only equivalent to one that is there (nfc.h). */
static int hash_of_alike(const struct mountpoint *m, const char *name,
                         char ret[static INFO_HASH_MAX])
{
        _cleanup_free_ char *normal = NULL;
        struct wanted w = {.normal = name};
        int r = nfc_of(name, &normal);

        if (normal)
                w.normal = normal;
        if (r == 0)
                r = mountpoint_list(m, NULL, "", is_wanted, &w);
        if (r == 1)
                r = hash_of(m, w.found, ret);
        else if (r == 0)
                r = -ENOENT;
        free(w.found);
        return r;
}

int mountpoint_torrent_by_name(const struct mountpoint *m, const char *name,
                               char ret[static INFO_HASH_MAX])
{
        int r;

        if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            strcmp(name, NAME_CONTROL) == 0)
                return -ENOENT;
        r = hash_of(m, name, ret);
        /* Next to nothing is equivalent to a name in ASCII, and looking costs all names. */
        return r == -ENOENT && !utf8_is_ascii(name) ? hash_of_alike(m, name, ret) : r;
}
