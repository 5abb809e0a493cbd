/* SPDX-License-Identifier: MIT */
#include "torrent/threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

/* What is pending of signals that make a difference to a read, by what they do. */
struct signals {
        uint64_t handled, deadly;
};

static bool read_signals(pid_t tid, struct signals *ret)
{
        const uint64_t stops =
                bit_of(SIGSTOP) | bit_of(SIGTSTP) | bit_of(SIGTTIN) | bit_of(SIGTTOU);
        /* By default these are ignored, and SigIgn does not say so. */
        const uint64_t harmless = bit_of(SIGCHLD) | bit_of(SIGURG) | bit_of(SIGWINCH);
        uint64_t own, shared, blocked, ignored, caught, pending;
        char text[4096];

        if (tid <= 0 || !read_proc(tid, "status", text, sizeof text) ||
            !signal_set(text, "\nSigPnd:", &own) || !signal_set(text, "\nShdPnd:", &shared) ||
            !signal_set(text, "\nSigBlk:", &blocked) || !signal_set(text, "\nSigIgn:", &ignored) ||
            !signal_set(text, "\nSigCgt:", &caught))
                return false;
        /* SIGCONT is none even where it is handled: the stop before it was none. */
        pending = (own | shared) & ~blocked & ~ignored & ~bit_of(SIGCONT);
        ret->handled = pending & caught;
        ret->deadly = pending & ~caught & ~harmless & ~stops;
        return true;
}

bool thread_is_dying(pid_t tid)
{
        struct signals s;

        return read_signals(tid, &s) && s.deadly != 0;
}

bool thread_is_signalled(pid_t tid)
{
        struct signals s;

        return !read_signals(tid, &s) || (s.handled | s.deadly) != 0;
}

pid_t thread_process(pid_t tid)
{
        static const char key[] = "\nTgid:";
        char text[4096];
        const char *p;

        if (tid <= 0 || !read_proc(tid, "status", text, sizeof text))
                return 0;
        p = strstr(text, key);
        return p ? (pid_t)strtol(p + sizeof key - 1, NULL, 10) : 0;
}

bool process_waits_in_mmap(pid_t pid)
{
        enum { THREADS_MAX = 256 };
        const struct dirent *entry;
        bool waits = false;
        char path[48];
        DIR *d;

        snprintf(path, sizeof path, "/proc/%d/task", pid);
        d = opendir(path);
        if (!d)
                return false;
        for (int n = 0; n < THREADS_MAX && !waits && (entry = readdir(d)); n++) {
                pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
                char text[256], *end;
                long number;

                /* The number of the system call it waits in; "running" or -1: in none. */
                if (tid <= 0 || !read_proc(tid, "syscall", text, sizeof text))
                        continue;
                number = strtol(text, &end, 10);
                waits = end != text && number == SYS_mmap;
        }
        closedir(d);
        return waits;
}
