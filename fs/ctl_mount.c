/* ctl_mount.c: finding a mount and talking to its control files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl_mount.h"

#define FS_TYPE     "fuse.magnetfs"
#define CONTROL_DIR ".magnetfs"

/* The kernel's own table; a machine with 100,000 mounts has some 20 MB of it. */
#define MOUNTINFO_MAX (64U << 20)

/* A daemon that works answers a control file in milliseconds; one that removes a full cache, in
 * seconds. */
#define STALL_S    30
#define STALL_TEXT "30"

/* poll() asks the daemon too, so it sleeps in slices that the watchdog can tell from a stall. */
#define POLL_SLICE_MS 10000

/* poll() woke us for nothing: look again no sooner than this, so that a wrong answer is no busy
 * loop. */
#define SPURIOUS_WAIT_MS 20

/* A pending torrent takes its real name once, and maybe another for a duplicate: a few tries are
 * plenty. */
#define REMOVE_TRIES   10
#define REMOVE_WAIT_MS 20

struct ctl_mount {
        char *dir;
        int root_fd, control_fd;
        timer_t watchdog;
        bool has_watchdog;
        char complaint[PATH_MAX + 256];
};

int64_t ctl_now_ms(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
        struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

        nanosleep(&ts, NULL);
}

/* ---- the watchdog ---- */

/* Set once, before any thread: what the parent waits at (ctl_mount_apart()); -1: there is none. */
static int parent_fd = -1;

/* Runs in a thread of its own: a task in a FUSE request runs no signal handler. The task itself may
 * stay until the daemon is gone (it is past the reach of SIGKILL), so nobody may wait for it:
 * neither the parent nor a reader of the output, whose end it would hold open. */
static void watchdog_fired(union sigval arg)
{
        static const char text[] = "magnetctl: magnetfs has not answered for " STALL_TEXT
                                   " seconds; see its log, or end it and start it again\n";

        (void)arg;
        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
        if (parent_fd >= 0)
                (void)!write(parent_fd, "", 1);
        _exit(1);
}

/* The parent's part: waits for the child, or for the word that it is not worth it. */
static _Noreturn void end_as(pid_t child, int fd)
{
        char given_up;
        ssize_t k;
        int status = 0;
        pid_t p;

        do
                k = read(fd, &given_up, 1); /* 0: the child has ended */
        while (k < 0 && errno == EINTR);
        if (k > 0)
                _exit(1);
        do
                p = waitpid(child, &status, 0);
        while (p < 0 && errno == EINTR);
        if (p < 0)
                _exit(1);
        if (WIFSIGNALED(status)) {
                signal(WTERMSIG(status), SIG_DFL);
                raise(WTERMSIG(status));
                _exit(1);
        }
        _exit(WEXITSTATUS(status));
}

int ctl_mount_apart(void)
{
        pid_t parent = getpid(), child;
        int ends[2], r;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        child = fork();
        if (child < 0) {
                r = -errno;
                close(ends[0]);
                close(ends[1]);
                return r;
        }
        if (child > 0) {
                close(ends[1]);
                end_as(child, ends[0]);
        }
        close(ends[0]);
        parent_fd = ends[1];
        /* a signal to the parent alone is meant for both */
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(1);
        return 0;
}

static int watchdog_start(struct ctl_mount *m)
{
        struct sigevent ev = {.sigev_notify = SIGEV_THREAD,
                              .sigev_notify_function = watchdog_fired};

        if (timer_create(CLOCK_MONOTONIC, &ev, &m->watchdog) < 0)
                return -errno;
        m->has_watchdog = true;
        return 0;
}

static void watchdog_set(const struct ctl_mount *m, time_t seconds)
{
        struct itimerspec it = {.it_value.tv_sec = seconds};

        timer_settime(m->watchdog, 0, &it, NULL);
}

/* Between the two stand only calls on the mount, and errno survives both. */
static void guard(const struct ctl_mount *m)
{
        watchdog_set(m, STALL_S);
}

static void unguard(const struct ctl_mount *m)
{
        int saved = errno;

        watchdog_set(m, 0);
        errno = saved;
}

/* ---- finding the mount ---- */

/* \ooo as the kernel writes space, tab, newline, backslash and '#' in a mountinfo field. In place.
 */
static void decode_octal(char *s)
{
        char *out = s;

        while (*s) {
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
                    s[3] >= '0' && s[3] <= '7') {
                        *out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
                        s += 4;
                } else
                        *out++ = *s++;
        }
        *out = 0;
}

/* One line of mountinfo, cut into the fields that matter here; they point into line. */
struct mountinfo_line {
        char *device, *root, *dir, *type;
};

static bool mountinfo_split(char *line, struct mountinfo_line *ret)
{
        enum { DEVICE = 2, ROOT, DIR_, OPTIONS, FIELDS };
        char *field[FIELDS] = {NULL}, *save = NULL, *word;
        unsigned i;

        for (i = 0; i < FIELDS; i++) {
                field[i] = strtok_r(i ? NULL : line, " ", &save);
                if (!field[i])
                        return false;
        }
        /* any number of optional fields, then "-" and the type */
        do {
                word = strtok_r(NULL, " ", &save);
                if (!word)
                        return false;
        } while (strcmp(word, "-") != 0);
        word = strtok_r(NULL, " ", &save);
        if (!word)
                return false;

        decode_octal(field[DIR_]);
        *ret = (struct mountinfo_line){field[DEVICE], field[ROOT], field[DIR_], word};
        return true;
}

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
        char **grown = realloc(*list, (n + 2) * sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        *list = grown;
        grown[n + 1] = NULL;
        grown[n] = strdup(s);
        return grown[n] ? 0 : -ENOMEM;
}

int ctl_mountinfo_parse(const char *text, char ***ret, size_t *ret_n)
{
        char **dirs = calloc(1, sizeof(*dirs)), **devices = calloc(1, sizeof(*devices));
        char *copy = strdup(text), *save = NULL, *line;
        size_t n = 0;
        int r = -ENOMEM;

        if (!dirs || !devices || !copy)
                goto finish;
        for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                struct mountinfo_line l;

                if (!mountinfo_split(line, &l) || strcmp(l.type, FS_TYPE) != 0 ||
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

/* Grows data so that at least one more byte and a NUL fit. */
static int grow(char **data, size_t *size, size_t len, size_t max)
{
        size_t wanted = *size ? *size * 2 : 64U << 10;
        char *grown;

        if (len > max)
                return -EFBIG;
        if (len + 1 < *size)
                return 0;
        grown = realloc(*data, wanted);
        if (!grown)
                return -ENOMEM;
        *data = grown;
        *size = wanted;
        return 0;
}

/* Reads fd to its end into *data, from len on: 0, -EAGAIN, -EFBIG or another -errno. */
static int read_rest(int fd, char **data, size_t *size, size_t *len, size_t max)
{
        for (;;) {
                ssize_t k;
                int r = grow(data, size, *len, max);

                if (r < 0)
                        return r;
                k = read(fd, *data + *len, *size - *len - 1);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                *len += (size_t)k;
                (*data)[*len] = 0;
                if (k == 0)
                        return 0;
        }
}

static int mountinfo_read(char **ret)
{
        char *text = NULL;
        size_t size = 0, len = 0;
        int fd, r;

        fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = read_rest(fd, &text, &size, &len, MOUNTINFO_MAX);
        close(fd);
        if (r < 0) {
                free(text);
                return r;
        }
        *ret = text;
        return 0;
}

static void name_them(char *const *dirs, struct ctl_reason *why)
{
        size_t used;

        snprintf(why->text, sizeof(why->text), "Several magnetfs mounts; choose one with -m:");
        for (size_t i = 0; dirs[i]; i++) {
                used = strlen(why->text);
                snprintf(why->text + used, sizeof(why->text) - used, " '%s'", dirs[i]);
        }
}

static int find_mount(char **ret, struct ctl_reason *why)
{
        char *text = NULL, **dirs = NULL;
        size_t n = 0;
        int r;

        r = mountinfo_read(&text);
        if (r == 0)
                r = ctl_mountinfo_parse(text, &dirs, &n);
        if (r < 0)
                snprintf(
                        why->text, sizeof(why->text),
                        "Cannot look for the mount in /proc/self/mountinfo: %s; say where it is with -m",
                        strerror(-r));
        else if (n == 0) {
                snprintf(why->text, sizeof(why->text),
                         "No magnetfs is mounted here; start one with: magnetfs MOUNTPOINT");
                r = -ENOENT;
        } else if (n > 1) {
                name_them(dirs, why);
                r = -ENOTUNIQ;
        } else {
                *ret = dirs[0];
                dirs[0] = NULL;
        }
        ctl_mountinfo_free(dirs);
        free(text);
        return r;
}

const char *ctl_mount_dir(const struct ctl_mount *m)
{
        return m->dir;
}

const char *ctl_mount_complaint(struct ctl_mount *m, int r)
{
        switch (-r) {
        case ENOTCONN:
        case ECONNABORTED:
        case ENODEV:
                snprintf(
                        m->complaint, sizeof(m->complaint),
                        "The magnetfs of %s is gone; unmount with fusermount3 -u and start it again",
                        m->dir);
                return m->complaint;
        case EACCES:
        case EPERM:
                snprintf(m->complaint, sizeof(m->complaint),
                         "%s belongs to another user; magnetctl works for the user who mounted it",
                         m->dir);
                return m->complaint;
        default:
                return NULL;
        }
}

static int open_dirs(struct ctl_mount *m)
{
        m->root_fd = open(m->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (m->root_fd < 0)
                return -errno;
        m->control_fd = openat(m->root_fd, CONTROL_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (m->control_fd >= 0)
                return 0;
        /* told apart from a directory that is not there at all */
        return errno == ENOENT || errno == ENOTDIR ? -EMEDIUMTYPE : -errno;
}

static void explain_open(struct ctl_mount *m, int r, struct ctl_reason *why)
{
        const char *complaint = ctl_mount_complaint(m, r);

        if (complaint)
                snprintf(why->text, sizeof(why->text), "%s", complaint);
        else if (r == -EMEDIUMTYPE)
                snprintf(why->text, sizeof(why->text),
                         "%s is no magnetfs mount (it has no " CONTROL_DIR
                         "); mount one there, or name another with -m",
                         m->dir);
        else
                snprintf(why->text, sizeof(why->text), "Cannot open the mount %s: %s; is -m right?",
                         m->dir, strerror(-r));
}

int ctl_mount_open(const char *dir, struct ctl_mount **ret, struct ctl_reason *why)
{
        struct ctl_mount *m = calloc(1, sizeof(*m));
        int r;

        snprintf(why->text, sizeof(why->text), "Out of memory");
        if (!m)
                return -ENOMEM;
        m->root_fd = m->control_fd = -1;

        if (dir) {
                m->dir = strdup(dir);
                r = m->dir ? 0 : -ENOMEM;
        } else
                r = find_mount(&m->dir, why);
        if (r < 0)
                goto fail;

        r = watchdog_start(m);
        if (r < 0) {
                snprintf(why->text, sizeof(why->text), "Cannot make a timer: %s", strerror(-r));
                goto fail;
        }

        guard(m);
        r = open_dirs(m);
        unguard(m);
        if (r < 0) {
                explain_open(m, r, why);
                goto fail;
        }
        *ret = m;
        return 0;

fail:
        ctl_mount_free(m);
        return r;
}

void ctl_mount_free(struct ctl_mount *m)
{
        if (!m)
                return;
        if (m->control_fd >= 0)
                close(m->control_fd);
        if (m->root_fd >= 0)
                close(m->root_fd);
        if (m->has_watchdog)
                timer_delete(m->watchdog);
        free(m->dir);
        free(m);
}

/* ---- control files ---- */

static void file_step(struct ctl_mount *m, struct ctl_file *f)
{
        guard(m);
        f->result = read_rest(f->fd, &f->data, &f->size, &f->len, CTL_READ_MAX);
        if (f->result != -EAGAIN) {
                close(f->fd);
                f->fd = -1;
        }
        unguard(m);
}

int ctl_file_open(struct ctl_mount *m, const char *path, struct ctl_file *f)
{
        *f = CTL_FILE_INIT;
        guard(m);
        f->fd = openat(m->control_fd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        unguard(m);
        if (f->fd < 0)
                return f->result = -errno;
        file_step(m, f);
        return f->result == -EAGAIN ? 0 : f->result;
}

void ctl_file_close(struct ctl_file *f)
{
        if (f->fd >= 0)
                close(f->fd);
        free(f->data);
        *f = CTL_FILE_INIT;
}

static int poll_files(struct ctl_mount *m, struct pollfd *fds, size_t n, int64_t deadline_ms)
{
        int r;

        do {
                int64_t left = deadline_ms - ctl_now_ms();

                left = left < 0 ? 0 : left > POLL_SLICE_MS ? POLL_SLICE_MS : left;
                watchdog_set(m, STALL_S + POLL_SLICE_MS / 1000);
                r = poll(fds, n, (int)left);
                unguard(m);
                if (r < 0 && errno != EINTR)
                        return -errno;
        } while (r <= 0 && ctl_now_ms() < deadline_ms);
        return r < 0 ? 0 : r;
}

int ctl_file_wait(struct ctl_mount *m, struct ctl_file *files, size_t n, int64_t deadline_ms)
{
        struct pollfd *fds = calloc(n ? n : 1, sizeof(*fds));
        size_t waiting = 0;
        int r = 0, done = 0;

        if (!fds)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                fds[i].fd = files[i].result == -EAGAIN ? files[i].fd : -1; /* poll skips < 0 */
                fds[i].events = POLLIN;
                waiting += fds[i].fd >= 0;
        }

        while (waiting > 0 && done == 0) {
                r = poll_files(m, fds, n, deadline_ms);
                if (r <= 0)
                        break;
                for (size_t i = 0; i < n; i++) {
                        if (fds[i].fd < 0 || !fds[i].revents)
                                continue;
                        file_step(m, &files[i]);
                        done += files[i].result != -EAGAIN;
                }
                if (done == 0)
                        sleep_ms(SPURIOUS_WAIT_MS);
        }
        free(fds);
        return r < 0 ? r : done;
}

int ctl_mount_read(struct ctl_mount *m, const char *path, int64_t deadline_ms, char **ret,
                   size_t *ret_len)
{
        struct ctl_file f;
        int r;

        r = ctl_file_open(m, path, &f);
        if (r == 0 && f.result == -EAGAIN) {
                r = ctl_file_wait(m, &f, 1, deadline_ms);
                if (r == 0)
                        r = -ETIME;
                else if (r > 0)
                        r = f.result;
        }
        if (r == 0) {
                *ret = f.data;
                *ret_len = f.len;
                f.data = NULL;
        }
        ctl_file_close(&f);
        return r;
}

static int write_all(int fd, const char *data, size_t len)
{
        while (len > 0) {
                ssize_t k = write(fd, data, len);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        return -EIO;
                data += k;
                len -= (size_t)k;
        }
        return 0;
}

int ctl_mount_write(struct ctl_mount *m, const char *path, const void *data, size_t len, char **ret,
                    size_t *ret_len)
{
        char *answer = NULL;
        size_t answer_len = 0, size = 0;
        int fd, r;

        if (ret)
                *ret = NULL;
        guard(m);
        fd = openat(m->control_fd, path, (ret ? O_RDWR : O_WRONLY) | O_CLOEXEC);
        if (fd < 0) {
                r = -errno;
                unguard(m);
                return r;
        }
        r = write_all(fd, data, len);
        if (ret) {
                int k = read_rest(fd, &answer, &size, &answer_len, CTL_READ_MAX);

                if (k < 0) {
                        free(answer);
                        answer = NULL;
                        r = r < 0 ? r : k;
                }
        }
        if (close(fd) < 0 && r == 0)
                r = -errno;
        unguard(m);

        if (ret) {
                *ret = answer;
                *ret_len = answer_len;
        }
        return r;
}

/* The name in the mount's root that by-hash/<hash> points to. -EBADMSG: to no such thing. */
static int directory_of(const struct ctl_mount *m, const char *hash, char ret[NAME_MAX + 1])
{
        char path[128], target[PATH_MAX];
        const char *base;
        ssize_t k;

        if (snprintf(path, sizeof(path), "by-hash/%s", hash) >= (int)sizeof(path))
                return -ENOENT;
        k = readlinkat(m->control_fd, path, target, sizeof(target) - 1);
        if (k < 0)
                return -errno;
        target[k] = 0;
        base = strrchr(target, '/');
        base = base ? base + 1 : target;
        if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0 ||
            strcmp(base, CONTROL_DIR) == 0 || strlen(base) > NAME_MAX)
                return -EBADMSG;
        strcpy(ret, base);
        return 0;
}

int ctl_mount_remove(struct ctl_mount *m, const char *hash)
{
        char name[NAME_MAX + 1];
        int r = -ENOENT;

        for (unsigned i = 0; i < REMOVE_TRIES; i++) {
                guard(m);
                r = directory_of(m, hash, name);
                if (r == 0 && unlinkat(m->root_fd, name, AT_REMOVEDIR) < 0)
                        r = -errno;
                else if (r == -ENOENT) {
                        unguard(m);
                        return i == 0 ? -ENOENT : 0; /* gone meanwhile: what was asked for */
                }
                unguard(m);
                if (r != -ENOENT)
                        return r;
                /* a pending torrent took its real name between the two calls */
                sleep_ms(REMOVE_WAIT_MS);
        }
        return r;
}
