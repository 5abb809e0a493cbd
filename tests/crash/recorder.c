/* SPDX-License-Identifier: MIT */
/* A library to be preloaded into magnetfs. It notes, in order and with the data, all that is done
 * to the files of some folders: the disk that a power cut leaves behind is made of that by
 * tests/e2e/harness/power_cut.py, which says how the record looks.
 *
 *     RECORD_LOG      the file the record is appended to
 *     RECORD_FOLDERS  the folders, by their real paths, with ':' between them
 *
 * A change is made and noted as one: whoever sees what a change did finds it noted. Of a sync there
 * are two entries, before it and after it: what was noted before the first one is on the disk when
 * the second one is there. So the record may tell of less that is on the disk, never of more.
 *
 * Not noted: what is written by mmap, which SQLite does to its -shm, that each start makes anew;
 * and modes and owners. What magnetfs may do to a file in another way ends it here, with a message.
 */

/* Here each function has the name that it is called by. */
#undef _FILE_OFFSET_BITS

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8 && sizeof(long) == 8, "syscall() takes an offset as it is");

/* What the functions below do stands in for the C library's; they have a name for each of the
 * ways that programs are compiled. */
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration has none */
#define ALSO(name, also) extern __typeof__(name) also __attribute__((alias(#name)))

enum { PATH_BYTES = 4096, FOLDERS_MAX = 4, FILES_MAX = 4096, DATA_PARTS = 64 };

enum what {
        WAS_OPENED = 1, /* a file that was there before: path */
        WAS_MADE,       /* path */
        WAS_WRITTEN,    /* offset; the data */
        WAS_CUT,        /* length: its new size, shorter or longer */
        WAS_PUNCHED,    /* offset, length */
        SYNC_BEGINS,    /* of a file, or with a path of a folder; offset: a number */
        SYNC_ENDS,      /* offset: the number of its begin */
        WAS_UNLINKED,   /* path */
        WAS_RENAMED,    /* two paths, each with its NUL */
        FOLDER_MADE,    /* path */
};

/* Before each entry; payload bytes follow it. */
struct head {
        uint32_t what, payload;
        uint64_t file; /* a number for each that was opened or made, 0: none */
        uint64_t offset, length;
};

/* set once, before there are threads */
static int log_fd = -1;
static char folders[FOLDERS_MAX][PATH_BYTES];
static unsigned n_folders;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* under lock */
static struct file {
        dev_t dev;
        ino_t ino;
        uint64_t number;
} files[FILES_MAX];
static unsigned n_files;
static uint32_t numbers;

static _Noreturn void give_up(const char *why)
{
        (void)!syscall(SYS_write, STDERR_FILENO, "recorder error: ", sizeof "recorder error: " - 1);
        (void)!syscall(SYS_write, STDERR_FILENO, why, strlen(why));
        (void)!syscall(SYS_write, STDERR_FILENO, "\n", (size_t)1);
        abort();
}

__attribute__((constructor)) static void begin(void)
{
        const char *log = getenv("RECORD_LOG"), *list = getenv("RECORD_FOLDERS");

        if (!log || !list)
                return;
        while (*list && n_folders < FOLDERS_MAX) {
                size_t len = strcspn(list, ":");

                if (len >= PATH_BYTES)
                        give_up("a path is too long");
                memcpy(folders[n_folders], list, len);
                folders[n_folders++][len] = '\0';
                list += len + (list[len] == ':');
        }
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
                              0600);
        if (log_fd < 0)
                give_up("cannot open RECORD_LOG");
}

/* ---- the record ---- */

/* Numbers of several processes are none of each other's. */
static uint64_t new_number(void)
{
        return (uint64_t)getpid() << 32 | ++numbers;
}

/* One write of many parts: the test appends entries, too. */
static void note_parts(struct head head, const struct iovec *data, int n)
{
        struct iovec parts[DATA_PARTS + 1];
        size_t all = sizeof head;
        int used = 1;

        for (int i = 0; i < n; i++) {
                if (used > DATA_PARTS)
                        give_up("a write has too many parts");
                parts[used++] = data[i];
                all += data[i].iov_len;
        }
        head.payload = (uint32_t)(all - sizeof head);
        parts[0] = (struct iovec){&head, sizeof head};
        if (syscall(SYS_writev, log_fd, parts, used) != (long)all)
                give_up("cannot write the record");
}

static void note(struct head head, const void *data, size_t len)
{
        struct iovec part = {(void *)(uintptr_t)data, len};

        note_parts(head, &part, 1);
}

/* ---- which files ---- */

static bool is_within(const char *path)
{
        for (unsigned i = 0; i < n_folders; i++) {
                size_t len = strlen(folders[i]);

                if (strncmp(path, folders[i], len) == 0 && (path[len] == '/' || path[len] == '\0'))
                        return true;
        }
        return false;
}

static bool path_of_fd(int fd, char path[PATH_BYTES])
{
        char link[64];
        ssize_t n;

        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, path, PATH_BYTES - 1);
        if (n < 0)
                return false;
        path[n] = '\0';
        return true;
}

/* The real path of a name that may not be there: that of its folder, and the name. */
static bool real_path(int dir_fd, const char *name, char path[PATH_BYTES])
{
        const char *last = strrchr(name, '/');
        char folder[PATH_BYTES];
        size_t len = last ? (size_t)(last - name) : 0, used;
        bool found;
        int fd;

        if (len >= sizeof folder)
                return false;
        memcpy(folder, name, len);
        folder[len] = '\0';
        fd = (int)syscall(SYS_openat, dir_fd,
                          len > 0 ? folder
                          : last  ? "/"
                                  : ".",
                          O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0)
                return false;
        found = path_of_fd(fd, path);
        syscall(SYS_close, fd);
        used = found ? strlen(path) : 0;
        last = last ? last + 1 : name;
        if (!found || used + 1 + strlen(last) >= PATH_BYTES)
                return false;
        path[used++] = '/';
        strcpy(path + used, last);
        return true;
}

static bool is_recorded(int dir_fd, const char *name, char path[PATH_BYTES])
{
        int before = errno;
        bool is = log_fd >= 0 && real_path(dir_fd, name, path) && is_within(path);

        errno = before;
        return is;
}

/* Whether it may be one of them. Without the lock: signal handlers write to pipes. */
static bool is_file(int fd)
{
        int before = errno;
        struct stat st;
        bool is = log_fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

        errno = before;
        return is;
}

/* Its number, 0 for any other file's. Under lock. */
static uint64_t number_of(int fd)
{
        int before = errno;
        uint64_t number = 0;
        struct stat st;

        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                for (unsigned i = 0; i < n_files && number == 0; i++)
                        if (files[i].ino == st.st_ino && files[i].dev == st.st_dev)
                                number = files[i].number;
        errno = before;
        return number;
}

static void enter(int fd, const char *path, bool made)
{
        struct stat st;
        unsigned i = 0;

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return;
        while (i < n_files && (files[i].ino != st.st_ino || files[i].dev != st.st_dev))
                i++;
        if (i < n_files && !made)
                return;
        if (i == FILES_MAX)
                give_up("too many files");
        n_files += i == n_files;
        files[i] = (struct file){st.st_dev, st.st_ino, new_number()};
        note((struct head){.what = made ? WAS_MADE : WAS_OPENED, .file = files[i].number}, path,
             strlen(path));
}

/* ---- names ----
 * Parameters of the C library have reserved names.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

static int do_open(int dir_fd, const char *name, int flags, mode_t mode)
{
        bool changes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
        char path[PATH_BYTES];
        struct stat st;
        bool made;
        int fd;

        if (!changes || flags & O_PATH || !is_recorded(dir_fd, name, path))
                return (int)syscall(SYS_openat, dir_fd, name, flags, mode);
        if ((flags & O_TMPFILE) == O_TMPFILE)
                give_up("O_TMPFILE");
        pthread_mutex_lock(&lock);
        made = flags & O_CREAT && fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0;
        fd = (int)syscall(SYS_openat, dir_fd, name, flags, mode);
        if (fd >= 0) {
                enter(fd, path, made);
                if (flags & O_TRUNC && !made)
                        note((struct head){.what = WAS_CUT, .file = number_of(fd)}, NULL, 0);
        }
        pthread_mutex_unlock(&lock);
        return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
        return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

int open64(const char *name, int flags, ...)
{
        va_list arguments;
        mode_t mode;

        va_start(arguments, flags);
        mode = mode_of(flags, arguments);
        va_end(arguments);
        return do_open(AT_FDCWD, name, flags, mode);
}
ALSO(open64, open);

int openat64(int dir_fd, const char *name, int flags, ...)
{
        va_list arguments;
        mode_t mode;

        va_start(arguments, flags);
        mode = mode_of(flags, arguments);
        va_end(arguments);
        return do_open(dir_fd, name, flags, mode);
}
ALSO(openat64, openat);

/* Those of _FORTIFY_SOURCE.
 * NOLINTBEGIN(bugprone-reserved-identifier) */
int __open64_2(const char *name, int flags);
int __openat64_2(int dir_fd, const char *name, int flags);

int __open64_2(const char *name, int flags)
{
        return do_open(AT_FDCWD, name, flags, 0);
}
ALSO(__open64_2, __open_2);

int __openat64_2(int dir_fd, const char *name, int flags)
{
        return do_open(dir_fd, name, flags, 0);
}
ALSO(__openat64_2, __openat_2);
/* NOLINTEND(bugprone-reserved-identifier) */

int creat64(const char *name, mode_t mode)
{
        return do_open(AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, mode);
}
ALSO(creat64, creat);

/* A change of one name. */
static int change_name(enum what what, long number, int dir_fd, const char *name, long argument)
{
        char path[PATH_BYTES];
        int r;

        if (!is_recorded(dir_fd, name, path))
                return (int)syscall(number, dir_fd, name, argument);
        pthread_mutex_lock(&lock);
        r = (int)syscall(number, dir_fd, name, argument);
        if (r == 0)
                note((struct head){.what = what}, path, strlen(path));
        pthread_mutex_unlock(&lock);
        return r;
}

int unlinkat(int dir_fd, const char *name, int flags)
{
        return change_name(WAS_UNLINKED, SYS_unlinkat, dir_fd, name, flags);
}

int unlink(const char *name)
{
        return unlinkat(AT_FDCWD, name, 0);
}

int rmdir(const char *name)
{
        return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

int remove(const char *name)
{
        int r = unlink(name);

        return r < 0 && errno == EISDIR ? rmdir(name) : r;
}

int mkdirat(int dir_fd, const char *name, mode_t mode)
{
        return change_name(FOLDER_MADE, SYS_mkdirat, dir_fd, name, (long)mode);
}

int mkdir(const char *name, mode_t mode)
{
        return mkdirat(AT_FDCWD, name, mode);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
        char paths[2 * PATH_BYTES], second[PATH_BYTES];
        bool first_is = is_recorded(from_fd, from, paths);
        size_t len;
        int r;

        if (first_is != is_recorded(to_fd, to, second) || (first_is && flags & ~1U))
                give_up("renameat2");
        if (!first_is)
                return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
        len = strlen(paths) + 1;
        strcpy(paths + len, second);
        pthread_mutex_lock(&lock);
        r = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
        if (r == 0)
                note((struct head){.what = WAS_RENAMED}, paths, len + strlen(second) + 1);
        pthread_mutex_unlock(&lock);
        return r;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
        return renameat2(from_fd, from, to_fd, to, 0);
}

int rename(const char *from, const char *to)
{
        return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
        char path[PATH_BYTES];

        if (is_recorded(to_fd, to, path))
                give_up("linkat");
        return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

int link(const char *from, const char *to)
{
        return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int symlinkat(const char *target, int dir_fd, const char *name)
{
        char path[PATH_BYTES];

        if (is_recorded(dir_fd, name, path))
                give_up("symlinkat");
        return (int)syscall(SYS_symlinkat, target, dir_fd, name);
}

int symlink(const char *target, const char *name)
{
        return symlinkat(target, AT_FDCWD, name);
}

/* ---- bytes ---- */

/* What was written of the parts. */
static void note_written(uint64_t file, off_t at, const struct iovec *data, int n, size_t written)
{
        struct iovec parts[DATA_PARTS];
        int used = 0;

        for (; used < n && written > 0; used++) {
                if (used == DATA_PARTS)
                        give_up("a write has too many parts");
                parts[used] = data[used];
                if (parts[used].iov_len > written)
                        parts[used].iov_len = written;
                written -= parts[used].iov_len;
        }
        note_parts((struct head){.what = WAS_WRITTEN, .file = file, .offset = (uint64_t)at}, parts,
                   used);
}

/* at < 0: where the descriptor stands. */
static ssize_t write_parts(int fd, const struct iovec *data, int n, off_t at)
{
        uint64_t file = 0;
        ssize_t written;

        if (is_file(fd)) {
                pthread_mutex_lock(&lock);
                file = number_of(fd);
                if (file == 0)
                        pthread_mutex_unlock(&lock);
        }
        /* The offset is taken as two longs, of which this is the lower one. */
        written = at < 0 ? (ssize_t)syscall(SYS_writev, fd, data, n)
                         : (ssize_t)syscall(SYS_pwritev, fd, data, n, at, 0L);
        if (file != 0) {
                if (written > 0)
                        note_written(file,
                                     at < 0 ? (off_t)syscall(SYS_lseek, fd, 0L, SEEK_CUR) - written
                                            : at,
                                     data, n, (size_t)written);
                pthread_mutex_unlock(&lock);
        }
        return written;
}

ssize_t write(int fd, const void *data, size_t len)
{
        struct iovec part = {(void *)(uintptr_t)data, len};

        return write_parts(fd, &part, 1, -1);
}

ssize_t writev(int fd, const struct iovec *data, int n)
{
        return write_parts(fd, data, n, -1);
}

static ssize_t invalid(void)
{
        errno = EINVAL;
        return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
        struct iovec part = {(void *)(uintptr_t)data, len};

        return at < 0 ? invalid() : write_parts(fd, &part, 1, at);
}
ALSO(pwrite64, pwrite);

ssize_t pwritev64(int fd, const struct iovec *data, int n, off_t at)
{
        return at < 0 ? invalid() : write_parts(fd, data, n, at);
}
ALSO(pwritev64, pwritev);

int ftruncate64(int fd, off_t length)
{
        uint64_t file;
        int r;

        if (!is_file(fd))
                return (int)syscall(SYS_ftruncate, fd, length);
        pthread_mutex_lock(&lock);
        file = number_of(fd);
        r = (int)syscall(SYS_ftruncate, fd, length);
        if (r == 0 && file != 0)
                note((struct head){.what = WAS_CUT, .file = file, .length = (uint64_t)length}, NULL,
                     0);
        pthread_mutex_unlock(&lock);
        return r;
}
ALSO(ftruncate64, ftruncate);

int truncate64(const char *name, off_t length)
{
        char path[PATH_BYTES];

        if (is_recorded(AT_FDCWD, name, path))
                give_up("truncate");
        return (int)syscall(SYS_truncate, name, length);
}
ALSO(truncate64, truncate);

int fallocate64(int fd, int mode, off_t at, off_t length)
{
        uint64_t file;
        int r;

        if (!is_file(fd))
                return (int)syscall(SYS_fallocate, fd, mode, at, length);
        pthread_mutex_lock(&lock);
        file = number_of(fd);
        if (file != 0 && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
                give_up("fallocate: but for holes");
        r = (int)syscall(SYS_fallocate, fd, mode, at, length);
        if (r == 0 && file != 0)
                note((struct head){.what = WAS_PUNCHED,
                                   .file = file,
                                   .offset = (uint64_t)at,
                                   .length = (uint64_t)length},
                     NULL, 0);
        pthread_mutex_unlock(&lock);
        return r;
}
ALSO(fallocate64, fallocate);

/* Ways of which a sync that came before could not say what it brought to the disk, or that do not
 * say what they write. */
static void refuse(int fd, const char *what)
{
        if (!is_file(fd))
                return;
        pthread_mutex_lock(&lock);
        if (number_of(fd) != 0)
                give_up(what);
        pthread_mutex_unlock(&lock);
}

int posix_fallocate64(int fd, off_t at, off_t length)
{
        refuse(fd, "posix_fallocate");
        return syscall(SYS_fallocate, fd, 0, at, length) < 0 ? errno : 0;
}
ALSO(posix_fallocate64, posix_fallocate);

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags)
{
        refuse(to, "copy_file_range");
        return (ssize_t)syscall(SYS_copy_file_range, from, from_at, to, to_at, len, flags);
}

ssize_t sendfile64(int to, int from, off_t *from_at, size_t len)
{
        refuse(to, "sendfile");
        return (ssize_t)syscall(SYS_sendfile, to, from, from_at, len);
}
ALSO(sendfile64, sendfile);

ssize_t splice(int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags)
{
        refuse(to, "splice");
        return (ssize_t)syscall(SYS_splice, from, from_at, to, to_at, len, flags);
}

/* ---- syncs ---- */

static int sync_fd(long number, int fd)
{
        struct head head = {.what = SYNC_BEGINS};
        char path[PATH_BYTES] = "";
        struct stat st;
        int r;

        if (log_fd < 0 || fstat(fd, &st) < 0)
                return (int)syscall(number, fd);
        pthread_mutex_lock(&lock);
        head.file = number_of(fd);
        if (S_ISDIR(st.st_mode) && (!path_of_fd(fd, path) || !is_within(path)))
                path[0] = '\0';
        if (head.file != 0 || path[0]) {
                head.offset = new_number();
                note(head, path, strlen(path));
        }
        pthread_mutex_unlock(&lock);
        r = (int)syscall(number, fd);
        if (r == 0 && head.offset != 0) {
                pthread_mutex_lock(&lock);
                note((struct head){.what = SYNC_ENDS, .offset = head.offset}, NULL, 0);
                pthread_mutex_unlock(&lock);
        }
        return r;
}

int fsync(int fd)
{
        return sync_fd(SYS_fsync, fd);
}

int fdatasync(int fd)
{
        return sync_fd(SYS_fdatasync, fd);
}

/* syncfs(), sync() and sync_file_range() are not noted: what they bring to the disk is taken for
 * what may be lost. */
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
