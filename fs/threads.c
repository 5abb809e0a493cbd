/* SPDX-License-Identifier: MIT */
#include "threads.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads /proc/TID/what; false: it is not there. */
static bool read_proc(pid_t tid, const char *what, char *text, size_t size)
{
        char path[48];
        ssize_t n;
        int fd;

        snprintf(path, sizeof path, "/proc/%d/%s", tid, what);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = read(fd, text, size - 1);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        return n > 0;
}

bool thread_is_gone(pid_t tid)
{
        char text[512];
        const char *p;

        if (tid <= 0)
                return false;
        if (!read_proc(tid, "stat", text, sizeof text))
                return true;
        p = strrchr(text, ')');
        return p && p[1] == ' ' && (p[2] == 'Z' || p[2] == 'X');
}

static bool signal_set(const char *status, const char *name, uint64_t *ret)
{
        const char *p = strstr(status, name);

        if (!p)
                return false;
        *ret = strtoull(p + strlen(name), NULL, 16);
        return true;
}

static uint64_t bit_of(int sig)
{
        return 1ull << (sig - 1);
}

bool thread_is_signalled(pid_t tid)
{
        const uint64_t harmless =
                bit_of(SIGCHLD) | bit_of(SIGURG) | bit_of(SIGWINCH) | bit_of(SIGCONT);
        uint64_t own, shared, blocked, ignored, caught;
        char text[4096];

        if (tid <= 0 || !read_proc(tid, "status", text, sizeof text) ||
            !signal_set(text, "\nSigPnd:", &own) || !signal_set(text, "\nShdPnd:", &shared) ||
            !signal_set(text, "\nSigBlk:", &blocked) || !signal_set(text, "\nSigIgn:", &ignored) ||
            !signal_set(text, "\nSigCgt:", &caught))
                return true;
        /* By default these are ignored, and SigIgn does not say so. */
        ignored |= harmless & ~caught;
        return ((own | shared) & ~blocked & ~ignored) != 0;
}
