/* SPDX-License-Identifier: MIT */
/* helper.c: the zygote, and magnetfs' side of it. */
#include "process/helper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "process/helper_private.h"

/* A helper that ends at once each time is forked anew ever later. */
enum { FORK_FIRST_MS = 50, FORK_MOST_MS = 10000, FORK_FORGET_MS = 10000 };
/* How long the helper may take to end when magnetfs has; then it hangs. */
enum { PATIENCE_MS = 700 };
/* How long what was killed may take to go: some of it may hang in the mount until that is gone. */
enum { SWEEP_MS = 300 };

/* ---- the zygote's process ---- */

struct zygote {
        /* set once */
        const struct helper_options *options;
        int fd, signal_fd;

        pid_t helper; /* 0: not running */
        bool done;    /* the helper ended as it was told to */
        uint64_t forked_ms, fork_at_ms;
        unsigned delay_ms;
};

static void fork_later(struct zygote *z, uint64_t now_ms)
{
        if (now_ms - z->forked_ms > FORK_FORGET_MS || z->delay_ms == 0)
                z->delay_ms = FORK_FIRST_MS;
        else if (z->delay_ms < FORK_MOST_MS)
                z->delay_ms *= 2;
        z->fork_at_ms = now_ms + z->delay_ms;
}

static void fork_helper(struct zygote *z)
{
        pid_t self = getpid();

        z->helper = fork();
        if (z->helper == 0) {
                close(z->signal_fd);
                helper_loop(z->options, z->fd, self);
        }
        if (z->helper < 0) {
                log_warning("Cannot fork the helper: %s", strerror(errno));
                z->helper = 0;
                fork_later(z, clock_ms());
                z->forked_ms = clock_ms();
                return;
        }
        z->forked_ms = clock_ms();
        (void)helper_say(z->fd, HELPER_BACK, (uint32_t)z->helper, 0, true);
}

/* Children: the helper, and what it has left behind when it was killed. */
static void reap_all(struct zygote *z)
{
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                if (pid != z->helper)
                        continue;
                z->helper = 0;
                z->done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
                if (z->done)
                        continue;
                fork_later(z, clock_ms());
                log_warning("The helper ended (%s %d); it is started again in %u ms",
                            WIFSIGNALED(status) ? "signal" : "exit code",
                            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                            z->delay_ms);
                (void)helper_say(z->fd, HELPER_GONE, 0, 0, true);
        }
}

/* Kills the children of this process, but for those that left its session: daemons that a command
 * of
 * --on-event has started to stay. Returns how many. */
static unsigned kill_children(void)
{
        char path[64], line[4096], *p = line, *end;
        unsigned n = 0;
        size_t len;
        FILE *f;

        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        f = fopen(path, "re");
        if (!f)
                return 0;
        len = fread(line, 1, sizeof line - 1, f);
        fclose(f);
        /* The last number may be cut: the next look has it. */
        if (len == sizeof line - 1)
                while (len > 0 && line[len - 1] != ' ')
                        len--;
        line[len] = '\0';
        for (long pid; (pid = strtol(p, &end, 10)) > 0; p = end) {
                if (getsid((pid_t)pid) != getsid(0))
                        continue;
                kill((pid_t)pid, SIGKILL);
                n++;
        }
        return n;
}

/* magnetfs is gone: nothing of it may stay. */
static _Noreturn void end_all(struct zygote *z)
{
        const struct timespec step = {.tv_nsec = 10 * 1000 * 1000};

        for (unsigned ms = 0; ms < PATIENCE_MS && z->helper > 0; ms += 10) {
                if (waitpid(z->helper, NULL, WNOHANG) != 0)
                        z->helper = 0;
                else
                        nanosleep(&step, NULL);
        }
        /* What is killed leaves its own children to this process. */
        for (unsigned ms = 0; ms < SWEEP_MS && kill_children() > 0; ms += 10) {
                nanosleep(&step, NULL);
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        ;
        }
        _exit(0);
}

static _Noreturn void zygote_main(const struct helper_options *o, int fd)
{
        struct zygote z = {.options = o, .fd = fd};
        sigset_t set;

        prctl(PR_SET_NAME, "magnetfs-zygote");
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        /* Stopped, it could end nothing when magnetfs is killed. */
        prctl(PR_SET_PDEATHSIG, SIGCONT);
        /* Above all the locks: a killed magnetfs must not seem to hold them still. */
        if (fd > STDERR_FILENO + 1)
                close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
        close_range((unsigned)fd + 1, ~0u, 0);
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigaddset(&set, SIGINT); /* ^C is magnetfs' to take */
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGUSR1); /* the helper was told to detach */
        sigprocmask(SIG_BLOCK, &set, NULL);
        z.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        fork_helper(&z);

        for (;;) {
                struct pollfd p[2] = {{.fd = fd}, {.fd = z.signal_fd, .events = POLLIN}};
                struct signalfd_siginfo info;
                uint64_t now = clock_ms();
                int timeout = -1;

                if (z.helper == 0 && !z.done) {
                        if (now >= z.fork_at_ms)
                                fork_helper(&z);
                        else
                                timeout = (int)(z.fork_at_ms - now);
                }
                if (poll(p, 2, timeout) < 0 && errno != EINTR)
                        end_all(&z);
                if (p[0].revents)
                        end_all(&z);
                if (p[1].revents)
                        while (read(z.signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
                                if (info.ssi_signo == SIGUSR1)
                                        helper_detach();
                reap_all(&z);
        }
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
                zygote_main(o, pair[1]);
        }
        close(pair[1]);
        *fd_ret = pair[0];
        *pid_ret = pid;
        return 0;
}

/* Whether pid is a helper still, and no other process that got its number since. */
static bool is_helper(pid_t pid)
{
        char path[64], name[32] = "";
        FILE *f;

        if (pid <= 0)
                return false;
        snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
        f = fopen(path, "re");
        if (!f)
                return false;
        if (!fgets(name, sizeof name, f))
                name[0] = '\0';
        fclose(f);
        return strcmp(name, "magnetfs-helper\n") == 0;
}

void helper_stop(int fd, pid_t zygote, pid_t helper, unsigned timeout_ms)
{
        const struct timespec step = {.tv_nsec = 5 * 1000 * 1000};
        uint64_t end = clock_ms() + timeout_ms;
        bool there = true;

        close(fd); /* its end of file is the order to end */
        kill(zygote, SIGCONT);
        while (clock_ms() < end) {
                there = there && waitpid(zygote, NULL, WNOHANG) == 0;
                /* Where the zygote was killed, the helper ends without it. */
                if (!there && !is_helper(helper))
                        return;
                nanosleep(&step, NULL);
        }
        if (there) {
                kill(zygote, SIGKILL);
                waitpid(zygote, NULL, 0);
        }
        if (is_helper(helper))
                kill(helper, SIGKILL);
}
