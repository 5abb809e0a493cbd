/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A daemon that works answers a control file in milliseconds; one that removes a full cache, in
 * seconds. */
enum { STALL_S = 30 };
#define STALL_TEXT "30"

/* Set once, before any thread: what the parent waits at; -1: there is none. */
static int parent_fd = -1;
static timer_t timer;
static bool has_timer;

/* Runs in a thread of its own: a task in a FUSE request runs no signal handler. The task itself may
 * stay until the daemon is gone (it is past the reach of SIGKILL), so nobody may wait for it:
 * neither the parent nor a reader of the output, whose end it would hold open. */
static void fired(union sigval arg)
{
        static const char text[] = "magnetctl: magnetfs has not answered for " STALL_TEXT
                                   " seconds; see its log, or end it and start it again\n";

        (void)arg;
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
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

int ctl_watchdog_apart(void)
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

int ctl_watchdog_start(void)
{
        struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = fired};

        if (timer_create(CLOCK_MONOTONIC, &ev, &timer) < 0)
                return -errno;
        has_timer = true;
        return 0;
}

static void set(time_t seconds)
{
        struct itimerspec it = {.it_value.tv_sec = seconds};
        int saved = errno;

        if (has_timer)
                timer_settime(timer, 0, &it, NULL);
        errno = saved;
}

void ctl_guard(unsigned added_s)
{
        set(STALL_S + (time_t)added_s);
}

void ctl_unguard(void)
{
        set(0);
}
