/* SPDX-License-Identifier: MIT */
/* helper_loop.c: the helper's process: what it is asked for and how it ends. */
#include "process/helper_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

/* How long the sidecar and the commands of --on-event may take to end before they are killed. */
enum { END_MS = 600 };
/* What the kernel reads ahead of complete files, which go through the page cache; a FUSE mount
 * begins with 128 KiB. From a store in memory 512 KiB and more are alike (3.0 to 3.3 GB/s by
 * scripts/bench --only hot; 2.2 with 128); the rest is for disks that take their time. Only root
 * may say so. */
#define AHEAD_KIB "2048"

struct answer {
        enum helper_type type;
        uint32_t number;
        int err;
};

struct helper {
        /* set once */
        const struct helper_options *options;
        int fd, signal_fd;
        pid_t zygote;

        bool known;    /* the mount knows this process as the helper */
        dev_t mounted; /* the mount's, once it has answered; 0: it has not yet */
        struct sidecar sidecar;
        struct events events;

        /* Answers that found no room yet: magnetfs is busy. Not more than it has asked for. */
        struct answer *answers;
        size_t first_answer, n_answers, room_answers;
};

void helper_become_child(void)
{
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGXFSZ, SIG_DFL);
}

void helper_detach(void)
{
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        log_to_syslog();
        if (null < 0)
                return;
        dup2(null, STDERR_FILENO);
        close(null);
}

/* Sends the answers that wait, as far as there is room. */
static void send_answers(struct helper *h)
{
        while (h->first_answer < h->n_answers) {
                const struct answer *a = &h->answers[h->first_answer];

                if (helper_say(h->fd, a->type, a->number, a->err, false) == -EAGAIN)
                        return;
                h->first_answer++;
        }
        h->first_answer = h->n_answers = 0;
}

/* In order, and none is lost: meanwhile this goes on taking what it is asked for. */
static void answer(struct helper *h, enum helper_type type, uint32_t number, int err)
{
        send_answers(h);
        if (h->n_answers == 0 && helper_say(h->fd, type, number, err, false) != -EAGAIN)
                return;
        if (h->n_answers == h->room_answers) {
                size_t room = h->room_answers ? 2 * h->room_answers : 256;
                struct answer *grown = reallocarray(h->answers, room, sizeof *grown);

                if (!grown) {
                        while (h->n_answers > 0) {
                                struct pollfd p = {.fd = h->fd, .events = POLLOUT};

                                (void)poll(&p, 1, HELPER_LOOK_MS);
                                send_answers(h);
                        }
                        (void)helper_say(h->fd, type, number, err, true);
                        return;
                }
                h->answers = grown;
                h->room_answers = room;
        }
        h->answers[h->n_answers++] = (struct answer){type, number, err};
}

static void tell_sidecar(void *arg, int err)
{
        answer(arg, HELPER_SIDECAR, 0, err);
}

static void reap(struct helper *h)
{
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (!sidecar_reap(&h->sidecar, pid, status))
                        events_reap(&h->events, pid);
}

/* The mount's root. By its path that is sure at no time: unmounted, it names the directory beneath,
 * which is not ours. Waits until the mount answers; keeps it busy, so close it soon. -errno. */
static int open_mount(struct helper *h)
{
        enum { FUSE_ROOT_INO = 1 };
        int fd = open(h->options->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct statfs fs;
        struct stat st;
        int r;

        if (fd < 0)
                return -errno;
        r = fstat(fd, &st) < 0 ? -errno : 0;
        if (r == 0 && h->mounted == 0) {
                r = fstatfs(fd, &fs) < 0 ? -errno : 0;
                if (r == 0 && fs.f_type == FUSE_SUPER_MAGIC && st.st_ino == FUSE_ROOT_INO)
                        h->mounted = st.st_dev;
        }
        if (r == 0 && (h->mounted == 0 || st.st_dev != h->mounted))
                r = -ENOTCONN;
        if (r == 0)
                return fd;
        close(fd);
        return r;
}

static void read_ahead(struct helper *h)
{
        int fd = open_mount(h);
        char path[64];

        if (fd < 0)
                return;
        close(fd);
        snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(h->mounted),
                 minor(h->mounted));
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return;
        if (write(fd, AHEAD_KIB, strlen(AHEAD_KIB)) < 0)
                log_debug("The kernel does not read further ahead: %s", strerror(errno));
        close(fd);
}

/* mkdir or rmdir of a name in the mount. Asked of the helper before this one, it was given up. */
static void change_mount(struct helper *h, const struct helper_message *m)
{
        int fd, r, err = 0;

        if (!h->known)
                return;
        fd = open_mount(h);
        if (fd < 0) {
                err = -fd;
        } else {
                r = m->type == HELPER_ANNOUNCE ? mkdirat(fd, m->text, 0555)
                                               : unlinkat(fd, m->text, AT_REMOVEDIR);
                if (r < 0)
                        err = errno;
                close(fd);
        }
        answer(h, (enum helper_type)m->type, m->number, err);
}

/* false: time to end. */
static bool on_message(struct helper *h)
{
        struct helper_message m;
        int r = helper_receive(h->fd, &m);

        if (r < 0)
                return r == -EAGAIN;
        switch (m.type) {
        case HELPER_KNOWN:
                h->known = m.number == (uint32_t)getpid();
                return true;
        case HELPER_ANNOUNCE:
        case HELPER_REMOVE:
                change_mount(h, &m);
                return true;
        case HELPER_SIDECAR:
                if (h->known)
                        sidecar_want(&h->sidecar, m.number != 0);
                return true;
        case HELPER_EVENT:
                events_add(&h->events, m.text);
                return true;
        case HELPER_DETACH:
                helper_detach();
                /* The zygote has the same stderr. */
                if (getppid() == h->zygote)
                        kill(h->zygote, SIGUSR1);
                return true;
        case HELPER_AHEAD:
                read_ahead(h);
                return true;
        default:
                return false;
        }
}

static void end_children(struct helper *h)
{
        const struct timespec step = {.tv_nsec = 10 * 1000 * 1000};

        sidecar_end(&h->sidecar);
        events_signal(&h->events, SIGTERM);
        events_signal(&h->events, SIGCONT);
        for (unsigned ms = 0; ms < END_MS && (h->sidecar.pid > 0 || h->events.n_running > 0);
             ms += 10) {
                reap(h);
                nanosleep(&step, NULL);
        }
        events_signal(&h->events, SIGKILL);
        if (h->sidecar.pid > 0) {
                kill(h->sidecar.pid, SIGKILL);
                waitpid(h->sidecar.pid, NULL, 0);
        }
}

/* ^C in a terminal reaches the whole process group; the helper ends when magnetfs says so or is
 * gone. */
static int take_signals(void)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int sooner(int a_ms, int b_ms)
{
        return b_ms < 0 || (a_ms >= 0 && a_ms < b_ms) ? a_ms : b_ms;
}

_Noreturn void helper_loop(const struct helper_options *o, int fd, pid_t zygote)
{
        struct helper h = {.options = o,
                           .fd = fd,
                           .zygote = zygote,
                           .events = {.command = o->on_event, .mountpoint = o->mountpoint}};
        bool failed = false;

        prctl(PR_SET_NAME, "magnetfs-helper");
        sidecar_init(&h.sidecar, o, tell_sidecar, &h);
        h.signal_fd = take_signals();

        for (;;) {
                struct pollfd p[4] = {{.fd = fd, .events = POLLIN | (h.n_answers ? POLLOUT : 0)},
                                      {.fd = h.signal_fd, .events = POLLIN}};
                struct signalfd_siginfo info;
                uint64_t now = clock_ms();
                int timeout = sooner(sidecar_keep(&h.sidecar, now), events_keep(&h.events, now));

                sidecar_fds(&h.sidecar, &p[2]);
                if (poll(p, 4, timeout) < 0) {
                        if (errno == EINTR)
                                continue;
                        failed = true;
                        break;
                }
                if (p[1].revents)
                        while (read(h.signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
                                if (info.ssi_signo != SIGCHLD)
                                        sidecar_hesitate(&h.sidecar, clock_ms());
                sidecar_look(&h.sidecar, &p[2]);
                send_answers(&h);
                if (p[0].revents & ~POLLOUT && !on_message(&h))
                        break;
                reap(&h);
        }
        end_children(&h);
        _exit(failed ? 1 : 0);
}
