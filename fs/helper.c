/* SPDX-License-Identifier: MIT */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "torrent.h"

/* A sidecar that dies is started again, not at once when it dies at once. */
enum { RESTART_FIRST_MS = 100, RESTART_MOST_MS = 10000, RESTART_FORGET_MS = 60000 };
/* A signal that reached the helper reached magnetfs and the sidecar too (^C): time to end, not to
 * start the sidecar again. */
enum { ENDING_MS = 3000 };
/* How long the sidecar may take to end before it is killed. */
enum { SIDECAR_END_MS = 1000 };
/* on_event commands at the same time; further events are dropped with a warning. */
enum { EVENTS_MAX = 32 };
/* What the kernel reads ahead of complete files, which go through the page cache; a FUSE mount
 * begins with 128 KiB. From a store in memory 512 KiB and more are alike (3.0 to 3.3 GB/s by
 * scripts/bench --only hot; 2.2 with 128); the rest is for disks that take their time. Only root
 * may say so. */
#define AHEAD_KIB "2048"
/* The longest wait between two looks at things that have no file descriptor. */
enum { HEARTBEAT_MS = 1000 };

struct helper {
        const struct helper_options *options;
        int fd, signal_fd;

        pid_t sidecar;
        bool sidecar_wanted;
        int said_fd; /* what the sidecar says on stderr; -1: it has ours */
        char said[1024];
        size_t n_said;
        int ready_fd;  /* the sidecar writes to its other end when it listens; -1 */
        bool answered; /* its first start was answered */
        uint64_t started_ms, restart_at_ms;
        unsigned delay_ms;
        uint64_t not_before_ms; /* no start before that */

        pid_t events[EVENTS_MAX];
        unsigned n_events;
};

static int send_message(int fd, const struct helper_message *m)
{
        size_t len =
                offsetof(struct helper_message, text) + strnlen(m->text, HELPER_TEXT_MAX - 1) + 1;

        if (send(fd, m, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -EPIPE;
        return 0;
}

int helper_send(int fd, enum helper_type type, uint32_t number, const char *text)
{
        struct helper_message m = {.type = (uint8_t)type, .number = number};

        snprintf(m.text, sizeof m.text, "%s", text ? text : "");
        return send_message(fd, &m);
}

int helper_receive(int fd, struct helper_message *ret)
{
        ssize_t n = recv(fd, ret, sizeof *ret, MSG_DONTWAIT);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
        if (n <= (ssize_t)offsetof(struct helper_message, text))
                return -EPIPE;
        ret->text[(size_t)n - offsetof(struct helper_message, text) - 1] = '\0';
        return 0;
}

/* ---- in the helper's process ---- */

static void answer(struct helper *h, enum helper_type type, uint32_t number, int err)
{
        struct helper_message m = {.type = (uint8_t)type, .number = number, .err = err};

        (void)send_message(h->fd, &m);
}

static int path_of(const struct helper *h, const char *name, char *out, size_t size)
{
        int n = snprintf(out, size, "%s/%s", h->options->mountpoint, name);

        return n < 0 || (size_t)n >= size ? ENAMETOOLONG : 0;
}

/* A child starts with signals as a program expects them. */
static void become_child(void)
{
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGXFSZ, SIG_DFL);
}

static void start_sidecar(struct helper *h)
{
        enum { ARGS_MAX = 256 };
        char *argv[ARGS_MAX], number[16];
        int ready[2] = {-1, -1}, said[2] = {-1, -1}, n = 0;

        if (pipe2(ready, O_CLOEXEC) < 0 ||
            (h->options->detaches && pipe2(said, O_CLOEXEC | O_NONBLOCK) < 0)) {
                log_error_errno(errno, "Cannot make a pipe for the sidecar: %m");
                return;
        }
        while (n < ARGS_MAX - 3 && h->options->sidecar[n]) {
                argv[n] = h->options->sidecar[n];
                n++;
        }
        snprintf(number, sizeof number, "%d", ready[1]);
        argv[n++] = (char *)"--ready-fd";
        argv[n++] = number;
        argv[n] = NULL;

        h->started_ms = clock_ms();
        h->sidecar = fork();
        if (h->sidecar == 0) {
                become_child();
                /* If the helper is killed the sidecar ends too. */
                prctl(PR_SET_PDEATHSIG, SIGTERM);
                if (getppid() == 1)
                        _exit(1);
                fcntl(ready[1], F_SETFD, 0);
                if (said[1] >= 0)
                        dup2(said[1], STDERR_FILENO);
                execv(argv[0], argv);
                log_error_errno(errno, "Cannot start %s: %m", argv[0]);
                _exit(127);
        }
        close(ready[1]);
        if (h->ready_fd >= 0)
                close(h->ready_fd);
        h->ready_fd = ready[0];
        if (said[1] >= 0) {
                close(said[1]);
                if (h->said_fd >= 0)
                        close(h->said_fd);
                h->said_fd = said[0];
                h->n_said = 0;
        }
        if (h->sidecar < 0)
                log_error_errno(errno, "Cannot fork for the sidecar: %m");
}

static void sidecar_first(struct helper *h, int err)
{
        if (!h->answered)
                answer(h, HELPER_SIDECAR, 0, err);
        h->answered = true;
}

static void sidecar_ended(struct helper *h, int status)
{
        uint64_t now = clock_ms();

        h->sidecar = 0;
        if (!h->sidecar_wanted)
                return;
        if (!h->answered) {
                h->sidecar_wanted = false;
                sidecar_first(h, ECHILD);
                return;
        }
        if (now - h->started_ms > RESTART_FORGET_MS || h->delay_ms == 0)
                h->delay_ms = RESTART_FIRST_MS;
        else if (h->delay_ms < RESTART_MOST_MS)
                h->delay_ms *= 2;
        h->restart_at_ms = now + h->delay_ms;
        if (h->restart_at_ms < h->not_before_ms)
                h->restart_at_ms = h->not_before_ms;
        log_info("The sidecar ended (%s %d); it is started again in %u ms",
                 WIFSIGNALED(status) ? "signal" : "exit code",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), h->delay_ms);
}

static void reap(struct helper *h)
{
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                if (pid == h->sidecar) {
                        sidecar_ended(h, status);
                        continue;
                }
                for (unsigned i = 0; i < h->n_events; i++) {
                        if (h->events[i] == pid) {
                                h->events[i] = h->events[--h->n_events];
                                break;
                        }
                }
        }
}

static void run_event(struct helper *h, const char *json)
{
        pid_t pid;

        if (!h->options->on_event)
                return;
        if (h->n_events == EVENTS_MAX) {
                log_warning("%d commands of --on-event are running; an event is dropped",
                            EVENTS_MAX);
                return;
        }
        pid = fork();
        if (pid == 0) {
                become_child();
                setenv("MAGNETFS_EVENT", json, 1);
                setenv("MAGNETFS_MOUNTPOINT", h->options->mountpoint, 1);
                execl("/bin/sh", "sh", "-c", h->options->on_event, (char *)NULL);
                _exit(127);
        }
        if (pid < 0)
                log_error_errno(errno, "Cannot run the command of --on-event: %m");
        else
                h->events[h->n_events++] = pid;
}

static void on_ready(struct helper *h)
{
        char byte;

        if (read(h->ready_fd, &byte, 1) == 1) {
                sidecar_first(h, 0);
                log_info("The sidecar listens");
        }
        close(h->ready_fd);
        h->ready_fd = -1;
}

/* Passes the sidecar's lines on. */
static void on_said(struct helper *h)
{
        ssize_t n = read(h->said_fd, h->said + h->n_said, sizeof h->said - 1 - h->n_said);
        char *newline, *line = h->said;

        if (n <= 0) {
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                close(h->said_fd);
                h->said_fd = -1;
                return;
        }
        h->n_said += (size_t)n;
        h->said[h->n_said] = '\0';
        while ((newline = strchr(line, '\n'))) {
                *newline = '\0';
                log_relay(line);
                line = newline + 1;
        }
        h->n_said -= (size_t)(line - h->said);
        memmove(h->said, line, h->n_said);
        if (h->n_said == sizeof h->said - 1)
                h->n_said = 0; /* no line is that long */
}

/* Waits until the mount answers. */
static void read_ahead(const struct helper *h)
{
        enum { FUSE_ROOT_INO = 1 };
        struct statfs fs;
        struct stat st;
        char path[64];
        int fd;

        /* Unmounted meanwhile, it is the disk beneath: none of ours. */
        if (stat(h->options->mountpoint, &st) < 0 || st.st_ino != FUSE_ROOT_INO ||
            statfs(h->options->mountpoint, &fs) < 0 || fs.f_type != FUSE_SUPER_MAGIC)
                return;
        snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
                 minor(st.st_dev));
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return;
        if (write(fd, AHEAD_KIB, strlen(AHEAD_KIB)) < 0)
                log_debug("The kernel does not read further ahead: %s", strerror(errno));
        close(fd);
}

static void detach(void)
{
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        log_to_syslog();
        if (null < 0)
                return;
        dup2(null, STDERR_FILENO);
        close(null);
}

/* false: time to end. */
static bool on_message(struct helper *h)
{
        struct helper_message m;
        char path[4096];
        int r = helper_receive(h->fd, &m), err;

        if (r < 0)
                return r == -EAGAIN;
        switch (m.type) {
        case HELPER_ANNOUNCE:
                err = path_of(h, m.text, path, sizeof path);
                if (err == 0 && mkdir(path, 0555) < 0)
                        err = errno;
                answer(h, HELPER_ANNOUNCE, m.number, err);
                return true;
        case HELPER_REMOVE:
                err = path_of(h, m.text, path, sizeof path);
                if (err == 0 && rmdir(path) < 0)
                        err = errno;
                answer(h, HELPER_REMOVE, m.number, err);
                return true;
        case HELPER_SIDECAR:
                h->sidecar_wanted = true;
                start_sidecar(h);
                return true;
        case HELPER_EVENT:
                run_event(h, m.text);
                return true;
        case HELPER_DETACH:
                detach();
                return true;
        case HELPER_AHEAD:
                read_ahead(h);
                return true;
        default:
                return false;
        }
}

static void end_sidecar(struct helper *h)
{
        const struct timespec step = {.tv_nsec = 10 * 1000 * 1000};

        h->sidecar_wanted = false;
        if (h->sidecar <= 0)
                return;
        kill(h->sidecar, SIGTERM);
        for (unsigned ms = 0; ms < SIDECAR_END_MS && h->sidecar > 0; ms += 10) {
                reap(h);
                if (h->sidecar > 0)
                        nanosleep(&step, NULL);
        }
        if (h->sidecar > 0) {
                kill(h->sidecar, SIGKILL);
                waitpid(h->sidecar, NULL, 0);
        }
}

static void helper_main(const struct helper_options *o, int fd)
{
        struct helper h = {.options = o, .fd = fd, .ready_fd = -1, .said_fd = -1};
        sigset_t set;

        prctl(PR_SET_NAME, "magnetfs-helper");
        /* Above all the locks: a killed magnetfs must not seem to hold them still. */
        if (fd > STDERR_FILENO + 1)
                close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
        close_range((unsigned)fd + 1, ~0u, 0);
        /* ^C in a terminal reaches the whole process group; the helper ends when magnetfs says so
         * or is gone. */
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        h.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);

        for (;;) {
                struct pollfd p[4] = {{.fd = fd, .events = POLLIN},
                                      {.fd = h.signal_fd, .events = POLLIN},
                                      {.fd = h.ready_fd, .events = POLLIN},
                                      {.fd = h.said_fd, .events = POLLIN}};
                struct signalfd_siginfo info;
                int timeout = -1;

                if (h.sidecar_wanted && h.sidecar <= 0) {
                        uint64_t now = clock_ms();

                        timeout = now >= h.restart_at_ms ? 0 : (int)(h.restart_at_ms - now);
                        if (timeout > HEARTBEAT_MS)
                                timeout = HEARTBEAT_MS;
                }
                if (poll(p, 4, timeout) < 0 && errno != EINTR)
                        break;
                if (p[1].revents)
                        while (read(h.signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
                                if (info.ssi_signo != SIGCHLD)
                                        h.not_before_ms = clock_ms() + ENDING_MS;
                if (p[3].revents)
                        on_said(&h);
                if (p[2].revents)
                        on_ready(&h);
                if (p[0].revents && !on_message(&h))
                        break;
                reap(&h);
                if (h.sidecar_wanted && h.sidecar <= 0 && clock_ms() >= h.restart_at_ms)
                        start_sidecar(&h);
        }
        end_sidecar(&h);
        _exit(0);
}

/* ---- in magnetfs ---- */

int helper_start(const struct helper_options *o, int *fd_ret, pid_t *pid_ret)
{
        int pair[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        pid = fork();
        if (pid < 0) {
                int r = -errno;

                close(pair[0]);
                close(pair[1]);
                return r;
        }
        if (pid == 0) {
                close(pair[0]);
                helper_main(o, pair[1]);
        }
        close(pair[1]);
        *fd_ret = pair[0];
        *pid_ret = pid;
        return 0;
}

void helper_stop(int fd, pid_t pid, unsigned timeout_ms)
{
        const struct timespec step = {.tv_nsec = 5 * 1000 * 1000};
        uint64_t end = clock_ms() + timeout_ms;

        close(fd); /* its end of file is the order to end */
        while (waitpid(pid, NULL, WNOHANG) == 0) {
                if (clock_ms() >= end) {
                        kill(pid, SIGKILL);
                        waitpid(pid, NULL, 0);
                        return;
                }
                nanosleep(&step, NULL);
        }
}
