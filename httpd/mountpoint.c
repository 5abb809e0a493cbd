/* SPDX-License-Identifier: MIT */
#include "mountpoint_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/control_names.h"
#include "common/limits.h"

/* The longest text is the status of all torrents. */
#define TEXT_MAX (256u << 20)
/* The mount answers an `add` at once; a .torrent that is cut short is never answered. */
enum { ADD_ANSWER_MS = 5000 };
enum { OPEN_TRIES = 32 };
/* An event has a name, a hash and some numbers. */
enum { EVENT_MAX = 16 << 10 };
/* poll() may report bytes that are gone again (evicted) at the read: then wait a little, not spin.
 */
enum { SPURIOUS_FREE = 8 };
enum { SPURIOUS_PAUSE = 20 };

struct mountpoint {
        /* set once */
        char *path;

        /* by the thread of mountpoint_check() only */
        bool known;
        dev_t device;
};

int mountpoint_new(const char *path, struct mountpoint **ret)
{
        struct mountpoint *m = calloc(1, sizeof *m);
        int r;

        if (!m)
                return -ENOMEM;
        /* Not realpath(): that would look at the mount, which may hang. */
        if (path[0] == '/') {
                m->path = strdup(path);
        } else {
                _cleanup_free_ char *here = getcwd(NULL, 0);

                if (!here) {
                        r = -errno;
                        free(m);
                        return r;
                }
                if (asprintf(&m->path, "%s/%s", here, path) < 0)
                        m->path = NULL;
        }
        if (!m->path) {
                free(m);
                return -ENOMEM;
        }
        *ret = m;
        return 0;
}

const char *mountpoint_path(const struct mountpoint *m)
{
        return m->path;
}

int mountpoint_check(struct mountpoint *m)
{
        struct statfs fs;
        struct stat st;

        /* stat() may be answered from the kernel's cache and tells which file system is here;
         * statfs() always asks the daemon and tells whether it is alive. */
        if (stat(m->path, &st) < 0 || statfs(m->path, &fs) < 0)
                return -errno;
        if (m->known && st.st_dev != m->device)
                return -ENODEV;
        m->known = true;
        m->device = st.st_dev;
        return 0;
}

bool mountpoint_is_gone(int error)
{
        return error == -ENOTCONN || error == -ECONNABORTED || error == -ENODEV;
}

/* Opens a path below the mount; never through a link. */
static int open_below(int dir, const char *path, int flags, int *ret_fd)
{
        struct open_how how = {
                .flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        };
        long fd = -1;

        /* EAGAIN: a rename somewhere while the path was walked, openat2(2). */
        for (unsigned i = 0; i < OPEN_TRIES; i++) {
                fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
                if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
                        break;
        }
        if (fd < 0)
                return -errno;
        *ret_fd = (int)fd;
        return 0;
}

int open_control(const struct mountpoint *m, int flags, int *ret_fd, const char *format, ...)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int root = -1;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&path, format, ap);
        va_end(ap);
        if (n < 0) {
                path = NULL;
                return -ENOMEM;
        }
        root = open(m->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;
        return open_below(root, path, flags, ret_fd);
}

int mountpoint_file_wait(int fd, struct client *c, unsigned *tries, int64_t timeout_ms)
{
        int r;

        if ((*tries)++ >= SPURIOUS_FREE) {
                r = client_wait(c, -1, 0, SPURIOUS_PAUSE);
                if (r != -ETIMEDOUT)
                        return r;
        }
        return client_wait(c, fd, POLLIN, timeout_ms);
}

/* read() that waits in poll() with the client; without a client (NULL) it does not wait. timeout_ms
 * negative: none. */
static ssize_t read_waiting(int fd, struct client *c, void *buf, size_t len, int64_t timeout_ms)
{
        unsigned tries = 0;

        for (;;) {
                ssize_t n = read(fd, buf, len);
                int r;

                if (n >= 0)
                        return n;
                if (errno == EINTR)
                        continue;
                if (errno != EAGAIN || !c)
                        return -errno;
                r = mountpoint_file_wait(fd, c, &tries, timeout_ms);
                if (r < 0)
                        return r;
        }
}

/* Reads to the end of the file; the caller frees *ret, which has a NUL behind it. */
static int read_text(int fd, struct client *c, int64_t timeout_ms, char **ret)
{
        _cleanup_free_ char *text = NULL;
        size_t room = 0, used = 0;

        for (;;) {
                ssize_t n;
                int r;

                if (used > TEXT_MAX)
                        return -EFBIG;
                r = buffer_grow(&text, &room, used + 2); /* a byte and the NUL */
                if (r < 0)
                        return r;
                n = read_waiting(fd, c, text + used, room - used - 1, timeout_ms);
                if (n < 0)
                        return (int)n;
                if (n == 0)
                        break;
                used += (size_t)n;
        }
        text[used] = '\0';
        *ret = text;
        text = NULL;
        return 0;
}

int mountpoint_status(const struct mountpoint *m, char **ret)
{
        _cleanup_close_ int fd = -1;
        int r;

        r = open_control(m, O_RDONLY | O_NONBLOCK, &fd, NAME_CONTROL "/" NAME_STATUS);
        return r < 0 ? r : read_text(fd, NULL, 0, ret);
}

int mountpoint_session(const struct mountpoint *m, char **ret)
{
        _cleanup_close_ int fd = -1;
        int r;

        r = open_control(m, O_RDONLY | O_NONBLOCK, &fd, NAME_CONTROL "/" NAME_SESSION);
        return r < 0 ? r : read_text(fd, NULL, 0, ret);
}

static int open_document(const struct mountpoint *m, const char *hash, const char *name,
                         int *ret_fd)
{
        return open_control(m, O_RDONLY | O_NONBLOCK, ret_fd,
                            NAME_CONTROL "/" NAME_TORRENTS "/%s/%s", hash, name);
}

int mountpoint_torrent_status(const struct mountpoint *m, const char *hash, char **ret)
{
        _cleanup_close_ int fd = -1;
        int r;

        r = open_document(m, hash, NAME_STATUS, &fd);
        return r < 0 ? r : read_text(fd, NULL, 0, ret);
}

int mountpoint_detail_open(const struct mountpoint *m, const char *hash, int *ret_fd)
{
        return open_document(m, hash, NAME_DETAIL, ret_fd);
}

int mountpoint_files_open(const struct mountpoint *m, const char *hash, int *ret_fd)
{
        return open_document(m, hash, NAME_FILES, ret_fd);
}

ssize_t mountpoint_document_read(int fd, char *buf, size_t len)
{
        return read_waiting(fd, NULL, buf, len, 0);
}

int mountpoint_add(const struct mountpoint *m, struct client *c, bool keep, const void *data,
                   size_t len, char **ret)
{
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *answer = NULL;
        int r, refused;

        r = open_control(m, O_RDWR | O_NONBLOCK, &fd, NAME_CONTROL "/%s",
                         keep ? NAME_ADD : NAME_ADD_TEMPORARY);
        if (r < 0)
                return r;
        refused = buffer_write(fd, data, len);
        if (refused < 0 && refused != -EINVAL && refused != -E2BIG)
                return refused;
        r = read_text(fd, c, ADD_ANSWER_MS, &answer);
        if (r == -ETIMEDOUT) /* the mount waits for more of a .torrent */
                r = -EINVAL;
        if (r < 0 && refused == 0)
                return r;
        *ret = answer;
        answer = NULL;
        return refused;
}

int mountpoint_events_open(const struct mountpoint *m, uint64_t after, int *ret_fd)
{
        static const char path[] = NAME_CONTROL "/" NAME_EVENTS;
        _cleanup_close_ int fd = -1;
        char id[24];
        int r;

        r = open_control(m, O_RDWR | O_NONBLOCK, &fd, path);
        if (r == -EROFS) {
                r = open_control(m, O_RDONLY | O_NONBLOCK, ret_fd, path);
                return r < 0 ? r : 1;
        }
        if (r < 0)
                return r;
        r = buffer_write(fd, id, (size_t)snprintf(id, sizeof id, "%" PRIu64, after));
        if (r < 0)
                return r;
        *ret_fd = fd;
        fd = -1;
        return 0;
}

int mountpoint_events_next(int fd, struct client *c, int64_t timeout_ms, char **ret)
{
        _cleanup_free_ char *line = malloc(EVENT_MAX + 1);
        ssize_t n;

        if (!line)
                return -ENOMEM;
        n = read_waiting(fd, c, line, EVENT_MAX, timeout_ms);
        if (n < 0)
                return (int)n;
        if (n == 0 || line[n - 1] != '\n')
                return -EBADMSG;
        line[n] = '\0';
        *ret = line;
        line = NULL;
        return 0;
}

int mountpoint_keep(const struct mountpoint *m, const char *hash, bool keep)
{
        _cleanup_close_ int fd = -1;
        int r;

        r = open_control(m, O_WRONLY | O_NONBLOCK, &fd,
                         NAME_CONTROL "/" NAME_TORRENTS "/%s/" NAME_KEEP, hash);
        return r < 0 ? r : buffer_write(fd, keep ? "1\n" : "0\n", 2);
}

int mountpoint_remove(const struct mountpoint *m, const char *hash)
{
        _cleanup_close_ int torrents = -1;
        int r;

        r = open_control(m, O_PATH | O_DIRECTORY, &torrents, NAME_CONTROL "/" NAME_TORRENTS);
        if (r < 0)
                return r;
        return unlinkat(torrents, hash, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int mountpoint_use(const struct mountpoint *m, const char *hash)
{
        _cleanup_close_ int fd = -1;
        int r;

        r = open_control(m, O_RDONLY | O_NONBLOCK, &fd,
                         NAME_CONTROL "/" NAME_TORRENTS "/%s/" NAME_FILES, hash);
        return r == -ESTALE ? -ENOENT : r; /* it went while it was opened */
}

int mountpoint_recall(const struct mountpoint *m, const char *hash)
{
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *line = NULL;
        int n, r;

        r = open_control(m, O_WRONLY | O_NONBLOCK, &fd, NAME_CONTROL "/" NAME_RECALL);
        if (r < 0)
                return r == -EROFS ? -ENOENT : r;
        n = asprintf(&line, "%s\n", hash);
        if (n < 0) {
                line = NULL;
                return -ENOMEM;
        }
        r = buffer_write(fd, line, (size_t)n);
        return r == -EINVAL ? -ENOENT : r; /* no torrent can have this hash */
}

/* A path in the torrent may be longer than one system call takes: then it goes there by stages. */
int open_data(const struct mountpoint *m, const char *hash, const char *path, int flags,
              int *ret_fd)
{
        _cleanup_close_ int dir = -1;
        int r;

        r = open_control(m, O_PATH | O_DIRECTORY, &dir,
                         NAME_CONTROL "/" NAME_TORRENTS "/%s/" NAME_DATA, hash);
        while (r == 0 && strlen(path) >= PATH_MAX) {
                const char *slash = memrchr(path, '/', PATH_MAX - 1);
                char part[PATH_MAX];
                int next = -1;

                if (!slash)
                        return -ENAMETOOLONG;
                memcpy(part, path, (size_t)(slash - path));
                part[slash - path] = '\0';
                r = open_below(dir, part, O_PATH | O_DIRECTORY, &next);
                if (r < 0)
                        return r;
                close(dir);
                dir = next;
                path = slash + 1;
        }
        return r < 0 ? r : open_below(dir, path, flags, ret_fd);
}

int mountpoint_file_stat(const struct mountpoint *m, const char *hash, const char *path,
                         struct stat *ret)
{
        struct stat st;
        int r;

        r = mountpoint_stat(m, hash, path, &st);
        if (r < 0)
                return r;
        if (!S_ISREG(st.st_mode))
                return -ENOENT;
        *ret = st;
        return 0;
}

uint64_t mountpoint_file_number(const struct stat *st)
{
        return st->st_ino & ((1u << NODE_BITS) - 1);
}

int mountpoint_file_open(const struct mountpoint *m, const char *hash, const char *path,
                         int *ret_fd)
{
        return open_data(m, hash, path, O_RDONLY | O_NONBLOCK, ret_fd);
}

ssize_t mountpoint_file_try(int fd, void *buf, size_t len, off_t offset)
{
        ssize_t n;

        do
                n = pread(fd, buf, len, offset);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}
