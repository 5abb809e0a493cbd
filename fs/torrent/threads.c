/* SPDX-License-Identifier: MIT */
#include "torrent/threads.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether /proc shows the threads by the numbers that the kernel tells us: not where it is that of
 * another PID namespace. */
static bool proc_is_ours(void)
{
        static atomic_int known; /* 0: not looked at yet */
        char self[32];
        ssize_t n;
        int is = known;

        if (is != 0)
                return is > 0;
        n = readlink("/proc/self", self, sizeof self - 1);
        self[n > 0 ? n : 0] = '\0';
        is = strtol(self, NULL, 10) == getpid() ? 1 : -1;
        known = is;
        return is > 0;
}

/* Reads /proc/TID/what; false: that can't be had. */
static bool read_proc(pid_t tid, const char *what, char *text, size_t size)
{
        char path[48];
        ssize_t n;
        int fd;

        if (!proc_is_ours())
                return false;
        snprintf(path, sizeof path, "/proc/%d/%s", tid, what);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = read(fd, text, size - 1);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        return n > 0;
}

/* The letter of its state; 0: that can't be had. */
static int state_of(pid_t tid)
{
        char text[512];
        const char *p = read_proc(tid, "stat", text, sizeof text) ? strrchr(text, ')') : NULL;

        return p && p[1] == ' ' ? p[2] : 0;
}

bool thread_is_gone(pid_t tid)
{
        int state;

        if (tid <= 0)
                return false;
        state = state_of(tid);
        /* /proc may hide it (hidepid), or there may be no descriptor left to look. */
        if (!state)
                return kill(tid, 0) < 0 && errno == ESRCH;
        return state == 'Z' || state == 'X';
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

bool thread_is_seen(pid_t tid)
{
        struct signals s;

        return read_signals(tid, &s);
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

/* mmap2 of 32-bit programs on x86 and ARM; on x86_64 it is lgetxattr, which never waits long. */
enum { MMAP2 = 192 };

static bool is_mmap(long number)
{
#ifdef SYS_mmap
        if (number == SYS_mmap)
                return true;
#endif
        return number == MMAP2;
}

/* The device of the mount, of which there may be several on a machine with the same inode numbers;
 * 0: not known. */
static _Atomic uint64_t own_device;

/* The device of what is at path, 0 where that can't be told. Asks no file system, which here would
 * be this process. */
static uint64_t device_of(const char *path)
{
        struct statx st;

        if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &st) < 0)
                return 0;
        return (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
}

void threads_know_mount(const char *mountpoint)
{
        own_device = device_of(mountpoint);
}

/* Whether the descriptor of the thread leads to another file system. */
static bool is_elsewhere(pid_t tid, int fd)
{
        char path[48];
        uint64_t device;

        snprintf(path, sizeof path, "/proc/%d/fd/%d", tid, fd);
        device = own_device ? device_of(path) : 0;
        return device && device != own_device;
}

/* Whether the thread waits in mmap(2), and, as far as that can be told, of a file of that inode of
 * the mount. */
static enum waits maps_inode(pid_t tid, uint64_t inode)
{
        static const char key[] = "\nino:";
        char text[512], what[32], *end;
        const char *p;
        long number;
        int i, fd;

        /* The number of the system call it waits in and its arguments; "running" or -1: in none. */
        if (!read_proc(tid, "syscall", text, sizeof text))
                return state_of(tid) == 'D' ? WAITS_UNKNOWN : WAITS_NOT;
        number = strtol(text, &end, 10);
        if (end == text || !is_mmap(number))
                return WAITS_NOT;
        /* mmap(addr, length, prot, flags, fd, offset) */
        for (i = 0, p = end; i < 4 && p; i++)
                p = strchr(p + 1, ' ');
        fd = p ? (int)strtol(p, NULL, 16) : -1;
        snprintf(what, sizeof what, "fdinfo/%d", fd);
        if (fd < 0 || !read_proc(tid, what, text, sizeof text))
                return WAITS;
        p = strstr(text, key); /* since Linux 5.14 */
        if (p && strtoull(p + sizeof key - 1, NULL, 10) != inode)
                return WAITS_NOT;
        return is_elsewhere(tid, fd) ? WAITS_NOT : WAITS;
}

/* Looks at threads of the process, at most *left, which becomes less by so many. */
static enum waits process_maps(const char *pid, uint64_t inode, unsigned *left)
{
        const struct dirent *entry;
        enum waits maps = WAITS_NOT;
        char path[64];
        DIR *d;

        snprintf(path, sizeof path, "/proc/%.20s/task", pid);
        d = opendir(path);
        if (!d)
                return WAITS_NOT;
        while (*left > 0 && maps != WAITS && (entry = readdir(d))) {
                pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
                enum waits one;

                if (tid <= 0)
                        continue;
                --*left;
                one = maps_inode(tid, inode);
                if (one > maps)
                        maps = one;
        }
        closedir(d);
        return maps;
}

enum waits process_waits_in_mmap(pid_t pid, uint64_t inode)
{
        unsigned left = 256;
        char name[16];

        snprintf(name, sizeof name, "%d", pid);
        return proc_is_ours() ? process_maps(name, inode, &left) : WAITS_UNKNOWN;
}

bool anybody_waits_in_mmap(uint64_t inode)
{
        unsigned left = 8192;
        const struct dirent *entry;
        bool maps = false;
        DIR *d = proc_is_ours() ? opendir("/proc") : NULL;

        if (!d)
                return false;
        while (left > 0 && !maps && (entry = readdir(d)))
                if (isdigit((unsigned char)entry->d_name[0]))
                        maps = process_maps(entry->d_name, inode, &left) == WAITS;
        closedir(d);
        return maps;
}
