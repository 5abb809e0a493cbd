/* SPDX-License-Identifier: MIT */
/* store_fd.c: a store's file and its descriptor: made, looked at, opened when it is first needed,
 * and synced. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/log.h"

#define NS_PER_S INT64_C(1000000000)

/* Whether a piece is none of which something must stay. Suspects first: one that is judged good is
 * there before it ceases to be one. */
static bool is_missing(const struct store *s, uint32_t piece)
{
        return !store_is_suspect(s, piece) && !have_has(&s->have, piece);
}

void store_punch_missing(struct store *s, int fd)
{
        uint32_t first = 0, end, bar_first, bar_end;
        struct store_range blocks = {0};

        for (; s->cache->sparse && first < s->have.pieces; first = end + 1) {
                pthread_mutex_lock(&s->lock);
                end = first;
                while (end < s->have.pieces && is_missing(s, end))
                        end++;
                if (end > first)
                        blocks = store_blocks_of(s, first, end, &bar_first, &bar_end);
                pthread_mutex_unlock(&s->lock);
                if (end > first)
                        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        (off_t)blocks.offset, (off_t)blocks.len);
        }
}

/* ---- looking at it; under cache->files_lock ---- */

/* When a file was made: one that was deleted leaves its inode number to the next. 0: the file
 * system does not say. name "": that of fd. */
static int64_t born_ns(int fd, const char *name)
{
        struct statx x;

        if (statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BTIME, &x) < 0 ||
            !(x.stx_mask & STATX_BTIME))
                return 0;
        return x.stx_btime.tv_sec * NS_PER_S + x.stx_btime.tv_nsec;
}

static bool is_seen(const struct store *s, const struct stat *st, int64_t born)
{
        return S_ISREG(st->st_mode) && st->st_dev == s->seen.dev && st->st_ino == s->seen.ino &&
               born == s->seen.born_ns;
}

static void see(struct store *s, const struct stat *st, int64_t born)
{
        s->there = true;
        s->seen.born_ns = born;
        s->seen.dev = st->st_dev;
        s->seen.ino = st->st_ino;
        s->seen.size = st->st_size;
}

/* Opens the file that was looked at. What was cut since is no more what it was, either: lengthened
 * again it would have holes where pieces were. */
static int open_seen(const struct store *s, const char *name)
{
        struct stat st;
        int fd, r = 0;

        fd = openat(s->cache->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return errno == ELOOP ? -EEXIST : -errno;
        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (!is_seen(s, &st, born_ns(fd, "")) || st.st_size != s->seen.size)
                r = -EEXIST;
        if (r == 0)
                return fd;
        close(fd);
        return r;
}

int store_file_unlink(const struct store *s)
{
        const char *name = s->file->name;
        int dir_fd = s->cache->dir_fd, fd = -1;
        struct stat st;

        if (s->fd < 0) {
                if (!s->there || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    !is_seen(s, &st, born_ns(dir_fd, name)))
                        return -1;
                fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        }
        (void)unlinkat(dir_fd, name, 0);
        return fd;
}

/* ---- making, adopting and opening it; under cache->files_lock ---- */

int store_file_create(struct store *s, const char *name)
{
        int dir_fd = s->cache->dir_fd, fd, r;
        struct stat st;

        fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        /* Its whole length at once: the padding between files is never written and must read as
         * zeros. */
        if ((s->cache->sparse && ftruncate(fd, (off_t)s->have.size) < 0) || fstat(fd, &st) < 0) {
                r = -errno;
                (void)unlinkat(dir_fd, name, 0);
                close(fd);
                return r;
        }
        see(s, &st, born_ns(fd, ""));
        s->clean = true;
        s->unlisted = true;
        s->fd = fd;
        return 0;
}

static int adopt_pieces(struct store *s, const struct store_options *o)
{
        for (uint32_t i = 0; i < s->have.pieces; i++) {
                uint64_t end = (uint64_t)i * s->have.piece_length + have_piece_bytes(&s->have, i);

                if (!(o->have[i / 8] >> (i % 8) & 1) || end > (uint64_t)s->seen.size)
                        continue;
                if (o->suspect) {
                        int r = store_suspect_adopt(s, i);

                        if (r < 0)
                                return r; /* before any room was adopted */
                } else {
                        (void)have_set(&s->have, i);
                        s->have_bytes += store_shown_bytes(s, i);
                }
                store_room_adopt(s, i);
        }
        return 0;
}

/* Opens it to make it what the pieces say. */
static int open_and_clean(struct store *s, const char *name)
{
        int fd = open_seen(s, name), r;

        if (fd < 0)
                return fd;
        if (s->cache->sparse && (uint64_t)s->seen.size != s->have.size) {
                if (ftruncate(fd, (off_t)s->have.size) < 0) {
                        r = -errno;
                        close(fd);
                        return r;
                }
                s->seen.size = (off_t)s->have.size;
        }
        if (!s->clean)
                store_punch_missing(s, fd);
        /* Where there are no holes what lies behind the last piece goes. */
        if (!s->cache->sparse && (uint64_t)s->seen.size > s->top)
                (void)!ftruncate(fd, (off_t)s->top);
        s->clean = true;
        return fd;
}

static bool claims_none(const struct store *s, const uint8_t *have)
{
        for (size_t i = 0; i < have_bitmap_bytes(s->have.pieces); i++)
                if (have[i] != 0)
                        return false;
        return true;
}

int store_file_adopt(struct store *s, const char *name, const struct store_options *o)
{
        uint64_t room, pending;
        struct stat st;
        int fd, r;

        if (fstatat(s->cache->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT && claims_none(s, o->have) ? 0 : -errno;
        if (!cache_owns(s->cache, &st))
                return -EEXIST;
        see(s, &st, born_ns(s->cache->dir_fd, name));
        /* What a run wrote that was killed may not be on the disk yet, nor the file's name. */
        s->unsynced = s->unlisted = o->suspect;
        r = adopt_pieces(s, o);
        if (r < 0)
                return r;
        room = store_room_all(s, &pending);
        /* With more in it than the pieces account for the bound would be exceeded, and nobody would
         * see it. */
        if (s->cache->sparse && (uint64_t)st.st_size == s->have.size &&
            cache_allocated(s->cache, &st) <= room)
                return 0;
        fd = open_and_clean(s, name);
        if (fd < 0) {
                cache_give_back(s->cache, room, pending);
                return fd;
        }
        if (s->cache->sparse && fstat(fd, &st) == 0 && cache_allocated(s->cache, &st) > room)
                store_room_adopt_map(s, cache_allocated(s->cache, &st) - room);
        /* File systems without holes may have no inode numbers that stay, either: FAT makes them up
         * anew each time that it forgets a file. */
        if (s->cache->sparse)
                close(fd);
        else
                s->fd = fd;
        return 0;
}

int store_fd_locked(struct store *s, bool make)
{
        int fd = s->fd;

        if (fd >= 0)
                return fd;
        if (s->discarded || !s->file)
                return -ESTALE;
        if (!s->there) {
                int r = make ? store_file_create(s, s->file->name) : -ENOENT;

                return r < 0 ? r : s->fd;
        }
        fd = open_and_clean(s, s->file->name);
        if (fd < 0) {
                if (!s->complained)
                        log_error("Cannot open %s: %s", s->file->name, store_open_error(-fd));
                s->complained = true;
                return -EIO;
        }
        /* Only now, when all else is done: others look at it without the lock. */
        s->fd = fd;
        return fd;
}

int store_fd(struct store *s, bool make)
{
        int fd = s->fd;

        if (fd >= 0)
                return fd;
        pthread_mutex_lock(&s->cache->files_lock);
        fd = store_fd_locked(s, make);
        pthread_mutex_unlock(&s->cache->files_lock);
        return fd;
}

/* ---- syncing it ---- */

/* The name of a new file is the folder's, and comes to the disk with that alone (fsync(2)). */
static int sync_file(struct store *s, int fd)
{
        while (fdatasync(fd) < 0)
                if (errno != EINTR)
                        return -errno;
        if (!atomic_exchange(&s->unlisted, false))
                return 0;
        /* EINVAL: a file system that can't do that to folders. */
        return fsync(s->cache->dir_fd) < 0 && errno != EINVAL ? -errno : 0;
}

int store_sync(struct store *s)
{
        int fd, r;

        /* Held all the while: what another call is about to sync is not on the disk before that
         * returns. */
        pthread_mutex_lock(&s->sync_lock);
        fd = s->fd;
        if (s->sync_error == 0 && fd >= 0 && atomic_exchange(&s->unsynced, false))
                s->sync_error = sync_file(s, fd);
        r = s->sync_error;
        pthread_mutex_unlock(&s->sync_lock);
        return r;
}
