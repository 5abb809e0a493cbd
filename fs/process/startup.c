/* SPDX-License-Identifier: MIT */
#include "process/startup.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mountinfo.h"

/* The sidecar of a killed magnetfs needs a moment to notice. */
enum { PORT_WAIT_MS = 3000, PORT_PAUSE_MS = 20 };
/* A magnetfs that was unmounted needs one to end. */
enum { MOUNTPOINT_WAIT_MS = 3000, MOUNTPOINT_PAUSE_MS = 20 };
enum { FOLDER_WAIT_MS = 2000, FOLDER_PAUSE_MS = 20 };

/* The default of many systems is 1024, for the sake of programs that use select(2). */
enum { DESCRIPTORS_MAX = 65536 };

static int make_folders(const char *path)
{
        char *copy = strdup(path);
        int r = 0;

        if (!copy)
                return -ENOMEM;
        for (char *p = copy + 1; r == 0 && *p; p++) {
                if (*p != '/')
                        continue;
                *p = '\0';
                if (mkdir(copy, 0755) < 0 && errno != EEXIST)
                        r = -errno;
                *p = '/';
        }
        if (r == 0 && mkdir(copy, 0700) < 0 && errno != EEXIST)
                r = -errno;
        free(copy);
        return r;
}

/* Waits for one that is about to end, as scripts unmount and mount again. */
static int lock_patiently(int fd)
{
        const struct timespec pause = {.tv_nsec = FOLDER_PAUSE_MS * 1000000L};

        for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += FOLDER_PAUSE_MS) {
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return -errno;
                if (waited >= FOLDER_WAIT_MS)
                        return -EWOULDBLOCK;
                (void)nanosleep(&pause, NULL);
        }
        return 0;
}

static int lock_folder(const char *path, const char *what, int dir_fd, int *lock_fd)
{
        char owner[32] = "";
        int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        ssize_t n;
        int r;

        if (fd < 0)
                return log_error_errno(
                        errno, "Cannot write to the %s folder %s: %m; choose another with --%s-dir",
                        what, path, what);
        r = lock_patiently(fd);
        if (r < 0) {
                n = pread(fd, owner, sizeof owner - 1, 0);
                owner[n > 0 ? n : 0] = '\0';
                owner[strcspn(owner, "\n")] = '\0';
                close(fd);
                if (r != -EWOULDBLOCK)
                        return log_error_errno(r, "Cannot lock the %s folder %s: %m", what, path);
                log_error(
                        "Another magnetfs (process %s) uses the %s folder %s; end it, or choose another folder with --%s-dir",
                        owner[0] ? owner : "unknown", what, path, what);
                return -EBUSY;
        }
        *lock_fd = fd;
        startup_sign(fd);
        return 0;
}

/* Who may write to the folder can put files of his own where magnetfs looks for its own. */
static int check_folder(const char *path, const char *what, int fd)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return log_error_errno(errno, "Cannot look at the %s folder %s: %m", what, path);
        if (st.st_mode & S_IWOTH) {
                log_error(
                        "Everybody may write to the %s folder %s: forbid that (chmod o-w; where there are no modes mount it with umask=022), or choose another with --%s-dir",
                        what, path, what);
                return -EPERM;
        }
        if (st.st_uid != geteuid() && st.st_uid != 0)
                log_warning(
                        "The %s folder %s is another user's (%u), who can delete what is in it; choose another with --%s-dir",
                        what, path, (unsigned)st.st_uid, what);
        return 0;
}

int startup_folder(const char *path, const char *what, int *dir_fd, int *lock_fd)
{
        int fd, r = make_folders(path);

        if (r < 0)
                return log_error_errno(
                        r, "Cannot make the %s folder %s: %m; choose another with --%s-dir", what,
                        path, what);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return log_error_errno(
                        errno, "Cannot open the %s folder %s: %m; choose another with --%s-dir",
                        what, path, what);
        r = check_folder(path, what, fd);
        if (r == 0)
                r = lock_folder(path, what, fd, lock_fd);
        if (r < 0) {
                close(fd);
                return r;
        }
        *dir_fd = fd;
        return 0;
}

void startup_sign(int lock_fd)
{
        char text[16];
        int n = snprintf(text, sizeof text, "%d\n", (int)getpid());

        if (ftruncate(lock_fd, 0) == 0)
                (void)!pwrite(lock_fd, text, (size_t)n, 0);
}

/* The type of the file system that is mounted last at path, or "" when none is. */
static void mounted_type(const char *path, char *type, size_t size)
{
        FILE *f = fopen("/proc/self/mountinfo", "re");
        char *line = NULL;
        size_t room = 0;

        type[0] = '\0';
        while (f && getline(&line, &room, f) > 0) {
                struct mountinfo m;

                if (mountinfo_split(line, &m) && strcmp(m.dir, path) == 0)
                        snprintf(type, size, "%s", m.type);
        }
        free(line);
        if (f)
                fclose(f);
}

static int clear_stale(const char *path)
{
        pid_t pid;
        int status;

        if (umount2(path, MNT_DETACH) == 0)
                return 0;
        pid = fork();
        if (pid == 0) {
                execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path, (char *)NULL);
                _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) ||
            WEXITSTATUS(status) != 0)
                return -EPERM;
        return 0;
}

static bool is_empty(const char *path)
{
        DIR *d = opendir(path);
        struct dirent *e;
        bool empty = true;

        while (d && empty && (e = readdir(d)))
                empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        if (d)
                closedir(d);
        return empty;
}

/* The absolute path, found without touching what is mounted there. */
static char *absolute(const char *path)
{
        char *copy = strdup(path), *parent, *result = NULL;
        const char *base;
        size_t n;

        if (!copy)
                return NULL;
        for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
                copy[n - 1] = '\0';
        base = strrchr(copy, '/');
        if (base && strcmp(base, "/.") != 0 && strcmp(base, "/..") != 0) {
                parent = realpath(base == copy ? "/" : (copy[base - copy] = '\0', copy), NULL);
                if (parent && asprintf(&result, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent,
                                       base + 1) < 0)
                        result = NULL;
                free(parent);
        } else if (!base && strcmp(copy, ".") != 0 && strcmp(copy, "..") != 0) {
                parent = realpath(".", NULL);
                if (parent &&
                    asprintf(&result, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, copy) < 0)
                        result = NULL;
                free(parent);
        } else {
                result = realpath(path, NULL);
        }
        free(copy);
        return result;
}

/* The file whose bytes stand for mountpoints, one each. No other user can open it, lest he lock it;
 * where he was there first with one of his own it goes without. -errno. */
static int open_mountpoint_locks(void)
{
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        char path[PATH_MAX];
        struct stat st;
        int fd, n;

        if (geteuid() == 0)
                n = snprintf(path, sizeof path, "/run/magnetfs.lock");
        else if (runtime && runtime[0] == '/')
                n = snprintf(path, sizeof path, "%s/magnetfs.lock", runtime);
        else
                n = snprintf(path, sizeof path, "/tmp/magnetfs-%u.lock", (unsigned)geteuid());
        if (n < 0 || (size_t)n >= sizeof path)
                return -ENAMETOOLONG;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || !S_ISREG(st.st_mode)) {
                close(fd);
                return -EPERM;
        }
        return fd;
}

/* Which byte stands for a path in this mount namespace: FNV-1a, of 62 bits. */
static off_t mountpoint_byte(const char *path)
{
        uint64_t hash = 0xcbf29ce484222325;
        struct stat st = {0};

        (void)stat("/proc/self/ns/mnt", &st);
        for (unsigned i = 0; i < sizeof st.st_ino; i++)
                hash = (hash ^ (st.st_ino >> (8 * i) & 0xff)) * 0x100000001b3;
        for (; *path; path++)
                hash = (hash ^ (unsigned char)*path) * 0x100000001b3;
        return (off_t)(hash >> 2);
}

static int tell_mounted(const char *path)
{
        log_error("A magnetfs is mounted at %s already; unmount it first: fusermount3 -u %s", path,
                  path);
        return -EBUSY;
}

/* Takes the mountpoint for this process, for as long as it lives: the descriptor stays open. Of
 * several that start there at once one gets it. Where nothing can be locked the kernel alone says
 * what is mounted already. -EBUSY. */
static int lock_mountpoint(const char *path, const char *full)
{
        const struct timespec pause = {.tv_nsec = MOUNTPOINT_PAUSE_MS * 1000000L};
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
        int fd = open_mountpoint_locks();

        if (fd < 0) {
                log_debug("Cannot lock the mountpoint: %s", strerror(-fd));
                return 0;
        }
        lock.l_start = mountpoint_byte(full);
        for (int waited = 0; fcntl(fd, F_OFD_SETLK, &lock) < 0; waited += MOUNTPOINT_PAUSE_MS) {
                struct statvfs v;
                char type[64];

                if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
                        log_debug("Cannot lock the mountpoint: %s", strerror(errno));
                        break;
                }
                mounted_type(full, type, sizeof type);
                if (strcmp(type, MOUNTINFO_MAGNETFS) == 0 && statvfs(full, &v) == 0) {
                        close(fd);
                        return tell_mounted(path);
                }
                if (waited >= MOUNTPOINT_WAIT_MS) {
                        close(fd);
                        log_error(
                                "Another magnetfs is about to be mounted at %s, or to end there; try again, or choose another mountpoint",
                                path);
                        return -EBUSY;
                }
                (void)nanosleep(&pause, NULL);
        }
        return 0;
}

/* Unmounts what a killed magnetfs left. 0, or an errno, which was told. */
static int clear_dead(const char *path, const char *full)
{
        char type[64];

        mounted_type(full, type, sizeof type);
        if (strcmp(type, MOUNTINFO_MAGNETFS) != 0) {
                log_error("%s holds a dead mount of %s; unmount it first: fusermount3 -u %s", path,
                          type, path);
                return ENOTCONN;
        }
        if (clear_stale(full) < 0) {
                log_error("Cannot clear the dead mount at %s; try: fusermount3 -u -z %s", path,
                          path);
                return EBUSY;
        }
        log_info("Cleared the dead mount of an earlier magnetfs at %s", full);
        return 0;
}

/* 0, or -errno with a message logged. */
static int check_mountpoint(const char *path, const char *full, bool nonempty)
{
        struct statvfs v;
        struct stat st = {0};
        char type[64];
        int r;

        /* An automount waits for this very mount: to look into it would wait for ever. */
        mounted_type(full, type, sizeof type);
        if (strcmp(type, "autofs") == 0)
                return 0;
        /* statfs always asks; stat may still be answered from the kernel's cache of a dead mount.
         */
        r = statvfs(full, &v) < 0 || stat(full, &st) < 0 ? errno : 0;
        if (r == ENOTCONN || r == ECONNABORTED) {
                r = clear_dead(path, full);
                if (r != 0)
                        return -r;
                r = stat(full, &st) < 0 ? errno : 0;
        }
        if (r == 0) {
                mounted_type(full, type, sizeof type);
                if (strcmp(type, MOUNTINFO_MAGNETFS) == 0)
                        return tell_mounted(path);
        }
        if (r == ENOENT)
                log_error("The mountpoint %s is missing; make it first: mkdir -p %s", path, path);
        else if (r != 0)
                log_error_errno(r, "Cannot use the mountpoint %s: %m", path);
        else if (!S_ISDIR(st.st_mode))
                log_error_errno(r = ENOTDIR, "Cannot use the mountpoint %s: %m", path);
        else if (!nonempty && !is_empty(full))
                log_error_errno(
                        r = ENOTEMPTY,
                        "The mountpoint %s is not empty; choose or make an empty directory, or mount over it with -o nonempty",
                        path);
        return -r;
}

int startup_mountpoint(const char *path, bool nonempty, char **ret)
{
        char *full = absolute(path), *real;
        int r;

        if (!full)
                return log_error_errno(errno, "Cannot find the mountpoint %s: %m", path);
        r = lock_mountpoint(path, full);
        if (r == 0)
                r = check_mountpoint(path, full, nonempty);
        if (r < 0) {
                free(full);
                return r;
        }
        real = realpath(full, NULL);
        if (real) {
                free(full);
                full = real;
        }
        *ret = full;
        return 0;
}

int startup_fuse(void)
{
        int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

        if (fd >= 0) {
                close(fd);
                return 0;
        }
        if (errno == ENOENT)
                log_error(
                        "There is no /dev/fuse: load the module (modprobe fuse), or start the container with --device /dev/fuse");
        else if (errno == EACCES || errno == EPERM)
                log_error(
                        "This user may not open /dev/fuse: as root, chmod 666 /dev/fuse, or run magnetfs as root");
        else
                log_error_errno(errno, "Cannot open /dev/fuse: %m");
        return -errno;
}

void startup_descriptors(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        if (limit.rlim_cur >= DESCRIPTORS_MAX)
                return;
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                log_debug("Cannot raise the limit of open files: %m");
}

int startup_port(const char *addr, uint16_t port)
{
        const struct timespec pause = {.tv_nsec = PORT_PAUSE_MS * 1000000L};
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
        int one = 1, r = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return log_error_errno(errno, "Cannot make a socket: %m");
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        inet_pton(AF_INET, addr, &a.sin_addr);
        for (int waited = 0; bind(fd, (struct sockaddr *)&a, sizeof a) < 0;
             waited += PORT_PAUSE_MS) {
                r = errno;
                if (r != EADDRINUSE || waited >= PORT_WAIT_MS)
                        break;
                (void)nanosleep(&pause, NULL);
                r = 0;
        }
        if (r > 0) {
                if (r == EADDRINUSE)
                        log_error(
                                "Another program listens on %s:%u; choose another port with --http, or --no-http",
                                addr, port);
                else
                        log_error_errno(
                                r,
                                "Cannot listen on %s:%u: %m; choose another with --http, or --no-http",
                                addr, port);
        }
        close(fd);
        return -r;
}

/* The number a file begins with; 0 when there is none. */
static uint64_t read_number(const char *path)
{
        FILE *f = fopen(path, "re");
        char line[32] = "";

        if (f && !fgets(line, sizeof line, f))
                line[0] = '\0';
        if (f)
                fclose(f);
        return strtoull(line, NULL, 10);
}

uint64_t startup_request_timeout_s(void)
{
        uint64_t by_default = read_number("/proc/sys/fs/fuse/default_request_timeout");
        uint64_t most = read_number("/proc/sys/fs/fuse/max_request_timeout");

        if (by_default == 0 || most == 0)
                return by_default ? by_default : most;
        return by_default < most ? by_default : most;
}
