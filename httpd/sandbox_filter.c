/* SPDX-License-Identifier: MIT */
#include "sandbox_filter.h"

#include <asm/termbits.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define N(a) (sizeof(a) / sizeof *(a))

/* Whatever their arguments. Files are Landlock's concern, descriptors are there already. */
static const int allowed[] = {
        /* bytes */
        SCMP_SYS(read),
        SCMP_SYS(readv),
        SCMP_SYS(pread64),
        SCMP_SYS(preadv),
        SCMP_SYS(preadv2),
        SCMP_SYS(write),
        SCMP_SYS(writev),
        SCMP_SYS(pwrite64),
        SCMP_SYS(sendfile),
        SCMP_SYS(splice),
        SCMP_SYS(lseek),
        SCMP_SYS(fadvise64),
        /* files */
        SCMP_SYS(open),
        SCMP_SYS(openat),
        SCMP_SYS(openat2),
        SCMP_SYS(close),
        SCMP_SYS(stat),
        SCMP_SYS(lstat),
        SCMP_SYS(fstat),
        SCMP_SYS(newfstatat),
        SCMP_SYS(statx),
        SCMP_SYS(statfs),
        SCMP_SYS(fstatfs),
        SCMP_SYS(access),
        SCMP_SYS(faccessat),
        SCMP_SYS(faccessat2),
        SCMP_SYS(readlink),
        SCMP_SYS(readlinkat),
        SCMP_SYS(getdents64),
        SCMP_SYS(getxattr),
        SCMP_SYS(lgetxattr),
        SCMP_SYS(fgetxattr),
        SCMP_SYS(rmdir),
        SCMP_SYS(unlinkat),
        SCMP_SYS(getcwd),
        /* descriptors */
        SCMP_SYS(fcntl),
        SCMP_SYS(dup),
        SCMP_SYS(dup2),
        SCMP_SYS(dup3),
        SCMP_SYS(pipe2),
        SCMP_SYS(eventfd2),
        SCMP_SYS(timerfd_create),
        SCMP_SYS(timerfd_settime),
        SCMP_SYS(poll),
        SCMP_SYS(ppoll),
        SCMP_SYS(select),
        SCMP_SYS(pselect6),
        SCMP_SYS(epoll_create1),
        SCMP_SYS(epoll_ctl),
        SCMP_SYS(epoll_wait),
        SCMP_SYS(epoll_pwait),
        /* connections that came in */
        SCMP_SYS(accept),
        SCMP_SYS(accept4),
        SCMP_SYS(recvfrom),
        SCMP_SYS(recvmsg),
        SCMP_SYS(sendmsg),
        SCMP_SYS(shutdown),
        SCMP_SYS(getsockopt),
        SCMP_SYS(setsockopt),
        SCMP_SYS(getsockname),
        SCMP_SYS(getpeername),
        /* threads and memory */
        SCMP_SYS(futex),
        SCMP_SYS(set_robust_list),
        SCMP_SYS(rseq),
        SCMP_SYS(set_tid_address),
        SCMP_SYS(gettid),
        SCMP_SYS(sched_yield),
        SCMP_SYS(sched_getaffinity),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
        SCMP_SYS(brk),
        SCMP_SYS(munmap),
        SCMP_SYS(mremap),
        SCMP_SYS(madvise),
        SCMP_SYS(membarrier),
        /* signals, time and the like */
        SCMP_SYS(rt_sigaction),
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(sigaltstack),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(clock_getres),
        SCMP_SYS(clock_nanosleep),
        SCMP_SYS(nanosleep),
        SCMP_SYS(gettimeofday),
        SCMP_SYS(time),
        SCMP_SYS(getrandom),
        SCMP_SYS(getpid),
        SCMP_SYS(getppid),
        SCMP_SYS(getuid),
        SCMP_SYS(geteuid),
        SCMP_SYS(getgid),
        SCMP_SYS(getegid),
        SCMP_SYS(getrusage),
        SCMP_SYS(sysinfo),
        SCMP_SYS(uname),
};

/* With EPERM, so that whoever reads a trace sees that it was meant. */
static const int refused[] = {
        /* talking to others than who came */
        SCMP_SYS(socket),
        SCMP_SYS(connect),
        SCMP_SYS(bind),
        SCMP_SYS(listen),
        /* other programs and processes */
        SCMP_SYS(execve),
        SCMP_SYS(execveat),
        SCMP_SYS(fork),
        SCMP_SYS(vfork),
        SCMP_SYS(ptrace),
        SCMP_SYS(process_vm_readv),
        SCMP_SYS(process_vm_writev),
        SCMP_SYS(pidfd_open),
        SCMP_SYS(pidfd_getfd),
        SCMP_SYS(kill),
        SCMP_SYS(tkill),
        SCMP_SYS(kcmp),
        /* other file systems, and files by other ways than by name */
        SCMP_SYS(mount),
        SCMP_SYS(umount2),
        SCMP_SYS(pivot_root),
        SCMP_SYS(chroot),
        SCMP_SYS(move_mount),
        SCMP_SYS(open_tree),
        SCMP_SYS(fsopen),
        SCMP_SYS(fsmount),
        SCMP_SYS(mount_setattr),
        SCMP_SYS(name_to_handle_at),
        SCMP_SYS(open_by_handle_at),
        /* being somebody else, elsewhere */
        SCMP_SYS(setuid),
        SCMP_SYS(setgid),
        SCMP_SYS(setreuid),
        SCMP_SYS(setregid),
        SCMP_SYS(setresuid),
        SCMP_SYS(setresgid),
        SCMP_SYS(setgroups),
        SCMP_SYS(setfsuid),
        SCMP_SYS(setfsgid),
        SCMP_SYS(capset),
        SCMP_SYS(unshare),
        SCMP_SYS(setns),
        SCMP_SYS(personality),
        /* much of the kernel that nobody here needs */
        SCMP_SYS(bpf),
        SCMP_SYS(perf_event_open),
        SCMP_SYS(keyctl),
        SCMP_SYS(add_key),
        SCMP_SYS(request_key),
        SCMP_SYS(userfaultfd),
        SCMP_SYS(io_uring_setup),
        SCMP_SYS(memfd_create),
        SCMP_SYS(seccomp),
};

/* An argument has these bits, of those in mask. */
struct condition {
        int call;
        unsigned argument;
        scmp_datum_t mask, bits;
};

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                int r = seccomp_rule_add(filter, action, calls[i], 0);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_conditions(scmp_filter_ctx filter)
{
        const scmp_datum_t all = ~(scmp_datum_t)0, self = (scmp_datum_t)getpid();
        const scmp_datum_t type = (scmp_datum_t) ~(SOCK_CLOEXEC | SOCK_NONBLOCK) & UINT32_MAX;
        const struct condition conditions[] = {
                /* Threads, not processes. clone3() hides its flags: glibc takes clone() for it. */
                {SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD},
                /* No code but what is there. */
                {SCMP_SYS(mmap), 2, PROT_EXEC, 0},
                {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
                /* Not to an address: on a datagram socket that would be one of others. */
                {SCMP_SYS(sendto), 4, all, 0},
                {SCMP_SYS(socketpair), 1, type, SOCK_STREAM},
                {SCMP_SYS(ioctl), 1, UINT32_MAX, FIONREAD},
                {SCMP_SYS(ioctl), 1, UINT32_MAX, FIONBIO},
                {SCMP_SYS(ioctl), 1, UINT32_MAX, SIOCOUTQ},
                {SCMP_SYS(ioctl), 1, UINT32_MAX, TCGETS},
                /* abort() */
                {SCMP_SYS(tgkill), 0, UINT32_MAX, self},
                /* One's own limits. */
                {SCMP_SYS(prlimit64), 0, UINT32_MAX, 0},
                {SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_NAME},
        };

        for (size_t i = 0; i < N(conditions); i++) {
                const struct condition *c = &conditions[i];
                int r = seccomp_rule_add(
                        filter, SCMP_ACT_ALLOW, c->call, 1,
                        SCMP_CMP(c->argument, SCMP_CMP_MASKED_EQ, c->mask, c->bits));

                if (r < 0)
                        return r;
        }
        return 0;
}

int sandbox_filter(void)
{
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
        int r;

        if (!filter)
                return -ENOMEM;
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
        if (r == 0) /* a tree instead of a list: each call of each thread goes through it */
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        if (r == 0)
                r = add_all(filter, SCMP_ACT_ALLOW, allowed, N(allowed));
        if (r == 0)
                r = add_all(filter, SCMP_ACT_ERRNO(EPERM), refused, N(refused));
        if (r == 0)
                r = add_conditions(filter);
        if (r == 0)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r;
}
