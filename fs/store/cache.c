/* SPDX-License-Identifier: MIT */
#define HASH_NONFATAL_OOM 1
#include "store/cache_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = CACHE_SUFFIX;

enum { V1_DIGITS = 40, V2_DIGITS = 64 };
/* More than the largest block or cluster of a file system that has sparse files; and little enough
 * to be written where there are none. */
enum { PROBE_BYTES = 4 << 20, STAT_BLOCK = 512 };

/* Hex digits of a hash, perhaps '-' and a number, which older versions wrote, and the suffix. */
static bool is_store_name(const char *name)
{
        size_t hash = strspn(name, "0123456789abcdef"), number;

        if (hash != V1_DIGITS && hash != V2_DIGITS)
                return false;
        name += hash;
        if (*name == '-') {
                number = strspn(++name, "0123456789");
                if (number == 0)
                        return false;
                name += number;
        }
        return strcmp(name, suffix) == 0;
}

static bool is_kept(const char *name, bool (*keep)(void *arg, const char *hex), void *arg)
{
        char hex[V2_DIGITS + 1];
        size_t n = strspn(name, "0123456789abcdef");

        if (!keep || n > V2_DIGITS || name[n] == '-')
                return false;
        memcpy(hex, name, n);
        hex[n] = '\0';
        return keep(arg, hex);
}

/* File systems without owners show the folder's for all files. */
static bool is_ours(const struct stat *st, uid_t folder_uid)
{
        return S_ISREG(st->st_mode) && (st->st_uid == geteuid() || st->st_uid == folder_uid);
}

/* Deletes a file of an earlier run. */
static void remove_left_over(int dir_fd, uid_t folder_uid, const char *name)
{
        struct stat st;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_ours(&st, folder_uid))
                (void)unlinkat(dir_fd, name, 0);
}

/* Writes the end of a file and looks what the file takes: whether it is sparse, and how much the
 * least is, which may be several blocks (ext4's clusters). */
static void measure(struct cache *c)
{
        static const char name[] = "sparse.probe";
        struct stat st = {0};
        uint64_t took;
        int fd;

        c->sparse = true;
        remove_left_over(c->dir_fd, c->folder_uid, name);
        fd = openat(c->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return;
        if (pwrite(fd, "", 1, PROBE_BYTES - 1) != 1 || fstat(fd, &st) < 0)
                st.st_blocks = 0;
        (void)unlinkat(c->dir_fd, name, 0);
        close(fd);
        took = (uint64_t)st.st_blocks * STAT_BLOCK;
        c->sparse = took < PROBE_BYTES / 2;
        if (c->sparse && took > c->block_bytes && (took & (took - 1)) == 0)
                c->block_bytes = took;
}

/* A file of an earlier run stays and counts for what it takes, until its store is opened. */
static int count_left_over(struct cache *c, const char *name)
{
        struct cache_file *f;
        struct stat st;

        if (fstatat(c->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !cache_owns(c, &st))
                return 0;
        f = cache_file(c, name);
        if (!f)
                return -ENOMEM;
        f->closed = true;
        f->room = cache_allocated(c, &st);
        cache_adopt(c, f->room, 0);
        return 0;
}

/* All that an earlier run left in the folder. */
static int sort_left_overs(struct cache *c, bool (*keep)(void *arg, const char *hex), void *arg)
{
        int fd = openat(c->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        const struct dirent *e;
        DIR *d;

        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d) {
                close(fd);
                return -ENOMEM;
        }
        while (r == 0 && (e = readdir(d))) {
                if (!is_store_name(e->d_name))
                        continue;
                if (is_kept(e->d_name, keep, arg))
                        r = count_left_over(c, e->d_name);
                else
                        remove_left_over(c->dir_fd, c->folder_uid, e->d_name);
        }
        closedir(d);
        return r;
}

int cache_new(int dir_fd, uint64_t limit_bytes, uint64_t min_free_bytes,
              bool (*keep)(void *arg, const char *hex), void *arg, struct cache **ret)
{
        struct statvfs v;
        struct stat st;
        struct cache *c;
        int r;

        if (fstatvfs(dir_fd, &v) < 0 || fstat(dir_fd, &st) < 0)
                return -errno;
        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        c->dir_fd = dir_fd;
        c->folder_uid = st.st_uid;
        c->limit_bytes = limit_bytes;
        c->min_free_bytes = min_free_bytes;
        c->block_bytes = v.f_frsize ? v.f_frsize : 4096;
        c->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
        c->said = v;
        pthread_mutex_init(&c->lock, NULL);
        pthread_mutex_init(&c->files_lock, NULL);
        measure(c);
        r = sort_left_overs(c, keep, arg);
        if (r < 0) {
                cache_free(c);
                return r;
        }
        *ret = c;
        return 0;
}

void cache_free(struct cache *c)
{
        struct cache_file *f, *next;

        if (!c)
                return;
        HASH_ITER (hh, c->files, f, next) {
                HASH_DELETE(hh, c->files, f);
                free(f);
        }
        pthread_mutex_destroy(&c->files_lock);
        pthread_mutex_destroy(&c->lock);
        free(c);
}

bool cache_owns(const struct cache *c, const struct stat *st)
{
        return is_ours(st, c->folder_uid);
}

uint64_t cache_allocated(const struct cache *c, const struct stat *st)
{
        uint64_t b = c->block_bytes;

        return ((uint64_t)st->st_blocks * STAT_BLOCK + b - 1) / b * b;
}

bool cache_is_sparse(const struct cache *c)
{
        return c->sparse;
}

/* a - b, or 0 */
static uint64_t less(uint64_t a, uint64_t b)
{
        return a > b ? a - b : 0;
}

void cache_stats(struct cache *c, struct cache_stats *ret)
{
        uint64_t disk;

        pthread_mutex_lock(&c->lock);
        *ret = (struct cache_stats){.used_bytes = c->reserved_bytes,
                                    .limit_bytes = c->limit_bytes,
                                    .min_free_bytes = c->min_free_bytes,
                                    .reach_bytes = less(c->limit_bytes, c->others_bytes)};
        disk = c->reserved_bytes + less(less(c->free_bytes, c->min_free_bytes), c->pending_bytes);
        if (disk < ret->reach_bytes)
                ret->reach_bytes = disk;
        if (cache_learned(c) < ret->reach_bytes) {
                ret->reach_bytes = cache_learned(c);
                ret->unsure = c->unsure;
        }
        pthread_mutex_unlock(&c->lock);
}

void cache_sample(struct cache *c)
{
        struct statvfs v;
        uint64_t before;

        pthread_mutex_lock(&c->lock);
        before = c->settled_bytes;
        pthread_mutex_unlock(&c->lock);
        if (fstatvfs(c->dir_fd, &v) < 0)
                return;
        pthread_mutex_lock(&c->lock);
        /* What settled meanwhile may have come to the disk behind our look. */
        c->free_bytes = less((uint64_t)v.f_bavail * v.f_frsize, c->settled_bytes - before);
        c->said = v;
        pthread_mutex_unlock(&c->lock);
}

void cache_statvfs(struct cache *c, struct statvfs *ret)
{
        pthread_mutex_lock(&c->lock);
        *ret = c->said;
        pthread_mutex_unlock(&c->lock);
}

void cache_set_limit(struct cache *c, uint64_t limit_bytes)
{
        pthread_mutex_lock(&c->lock);
        c->limit_bytes = limit_bytes;
        pthread_mutex_unlock(&c->lock);
}

void cache_set_others(struct cache *c, uint64_t bytes)
{
        pthread_mutex_lock(&c->lock);
        c->others_bytes = bytes;
        pthread_mutex_unlock(&c->lock);
}

void cache_on_short(struct cache *c, uint64_t low_bytes, void (*f)(void *arg), void *arg)
{
        pthread_mutex_lock(&c->lock);
        c->low_bytes = low_bytes;
        c->on_short = f;
        c->short_arg = arg;
        pthread_mutex_unlock(&c->lock);
}

/* a + b, or all there is */
static uint64_t more(uint64_t a, uint64_t b)
{
        return a < UINT64_MAX - b ? a + b : UINT64_MAX;
}

/* By how much so many bytes more would be too many. Under c->lock. */
static uint64_t lacks(const struct cache *c, uint64_t bytes)
{
        uint64_t bound =
                less(more(more(c->reserved_bytes, c->others_bytes), bytes), c->limit_bytes);
        uint64_t disk = less(more(more(c->pending_bytes, c->min_free_bytes), bytes), c->free_bytes);
        uint64_t quota = less(more(c->reserved_bytes, bytes), cache_learned(c)), most;

        most = bound > disk ? bound : disk;
        return most > quota ? most : quota;
}

uint64_t cache_exceeds(struct cache *c)
{
        uint64_t bound, disk;

        pthread_mutex_lock(&c->lock);
        bound = less(more(c->reserved_bytes, c->others_bytes), c->limit_bytes);
        disk = less(c->min_free_bytes, c->free_bytes);
        pthread_mutex_unlock(&c->lock);
        return bound > disk ? bound : disk;
}

/* Under c->lock. */
static uint64_t vacant_now(const struct cache *c)
{
        uint64_t there = less(c->reserved_bytes, c->pending_bytes);
        uint64_t bound = less(c->limit_bytes, more(there, c->others_bytes));
        uint64_t disk = less(c->free_bytes, c->min_free_bytes);
        uint64_t quota = less(cache_met(c, there), there), least = bound < disk ? bound : disk;

        return least < quota ? least : quota;
}

uint64_t cache_vacant(struct cache *c)
{
        uint64_t vacant;

        pthread_mutex_lock(&c->lock);
        vacant = vacant_now(c);
        pthread_mutex_unlock(&c->lock);
        return vacant;
}

uint64_t cache_lacks(struct cache *c, uint64_t bytes)
{
        uint64_t r;

        pthread_mutex_lock(&c->lock);
        r = lacks(c, bytes);
        pthread_mutex_unlock(&c->lock);
        return r;
}

int cache_take(struct cache *c, uint64_t bytes, bool tells)
{
        void (*on_short)(void *arg) = NULL;
        void *arg;
        int r = 0;

        pthread_mutex_lock(&c->lock);
        if (lacks(c, bytes) > 0) {
                r = -ENOSPC;
        } else {
                c->reserved_bytes += bytes;
                c->pending_bytes += bytes;
        }
        if (tells && (r < 0 || lacks(c, c->low_bytes) > 0))
                on_short = c->on_short;
        arg = c->short_arg;
        pthread_mutex_unlock(&c->lock);
        if (on_short)
                on_short(arg);
        return r;
}

int cache_take_spare(struct cache *c, uint64_t bytes, uint64_t beside, uint64_t vacant)
{
        int r = 0;

        pthread_mutex_lock(&c->lock);
        if (lacks(c, more(bytes, beside)) > 0 || vacant_now(c) < more(vacant, bytes)) {
                r = -ENOSPC;
        } else {
                c->reserved_bytes += bytes;
                c->pending_bytes += bytes;
        }
        pthread_mutex_unlock(&c->lock);
        return r;
}

void cache_give_back(struct cache *c, uint64_t bytes, uint64_t pending)
{
        pthread_mutex_lock(&c->lock);
        c->reserved_bytes -= bytes;
        c->pending_bytes -= pending;
        pthread_mutex_unlock(&c->lock);
}

void cache_settle(struct cache *c, uint64_t bytes)
{
        pthread_mutex_lock(&c->lock);
        c->pending_bytes -= bytes;
        c->settled_bytes += bytes;
        c->free_bytes = less(c->free_bytes, bytes);
        pthread_mutex_unlock(&c->lock);
}

void cache_adopt(struct cache *c, uint64_t bytes, uint64_t pending)
{
        pthread_mutex_lock(&c->lock);
        c->reserved_bytes += bytes;
        c->pending_bytes += pending;
        pthread_mutex_unlock(&c->lock);
}

void cache_unsettle(struct cache *c, uint64_t bytes)
{
        pthread_mutex_lock(&c->lock);
        c->pending_bytes += bytes;
        pthread_mutex_unlock(&c->lock);
}

struct cache_file *cache_file(struct cache *c, const char *name)
{
        struct cache_file *f;

        HASH_FIND_STR(c->files, name, f);
        if (f)
                return f;
        f = calloc(1, sizeof *f);
        if (!f)
                return NULL;
        memcpy(f->name, name, strlen(name) + 1);
        HASH_ADD_STR(c->files, name, f);
        if (!f->hh.tbl) {
                free(f);
                return NULL;
        }
        return f;
}

void cache_file_forget(struct cache *c, struct cache_file *f)
{
        cache_give_back(c, f->room, f->pending);
        HASH_DELETE(hh, c->files, f);
        free(f);
}

uint64_t cache_discard_left(struct cache *c, const char *name)
{
        struct cache_file *f;
        char file[sizeof f->name];
        uint64_t bytes = 0;
        int fd = -1;

        snprintf(file, sizeof file, "%s" CACHE_SUFFIX, name);
        pthread_mutex_lock(&c->files_lock);
        HASH_FIND_STR(c->files, file, f);
        if (f && !f->store && f->closed) {
                fd = openat(c->dir_fd, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
                (void)unlinkat(c->dir_fd, f->name, 0);
                bytes = f->room;
                cache_file_forget(c, f);
        }
        pthread_mutex_unlock(&c->files_lock);
        /* Its blocks go now, and that may take long. */
        if (fd >= 0)
                close(fd);
        cache_sample(c);
        return bytes;
}

/* The hash in the name of a file that no store has; "": another one. */
static void hash_of_left(const struct cache_file *f, char hex[V2_DIGITS + 1])
{
        size_t n = strspn(f->name, "0123456789abcdef");

        hex[0] = '\0';
        if (f->store || !f->closed || n > V2_DIGITS)
                return;
        memcpy(hex, f->name, n);
        hex[n] = '\0';
}

uint64_t cache_discard_strays(struct cache *c, uint64_t bytes,
                              bool (*known)(void *arg, const char *hex), void *arg)
{
        char(*left)[V2_DIGITS + 1];
        struct cache_file *f, *next;
        uint64_t gone = 0;
        size_t n = 0;

        pthread_mutex_lock(&c->files_lock);
        left = calloc(HASH_COUNT(c->files) + 1, sizeof *left);
        HASH_ITER (hh, c->files, f, next) {
                if (!left)
                        break;
                hash_of_left(f, left[n]);
                n += left[n][0] != '\0';
        }
        pthread_mutex_unlock(&c->files_lock);
        for (size_t i = 0; i < n && gone < bytes; i++)
                if (!known(arg, left[i]))
                        gone += cache_discard_left(c, left[i]);
        free(left);
        return gone;
}
