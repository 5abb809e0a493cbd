/* test_sandbox.c: what is refused to the sidecar once it serves, each thing tried in there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "sandbox.h"

#define N(a) (sizeof(a) / sizeof *(a))

enum { LIVE_S = 10 };

static char folder[] = "/tmp/test_sandbox-XXXXXX";
static char inside[64], sub[64];
/* Made before, as an intruder finds them. */
static int tcp, datagrams[2];

static const struct sockaddr_in loopback = {.sin_family = AF_INET,
                                            .sin_addr.s_addr = 0x0100007f, /* 127.0.0.1 */
                                            .sin_port = 0x0900};

static long try_connect(void)
{
        return connect(tcp, (const struct sockaddr *)&loopback, sizeof loopback);
}

static long try_bind(void)
{
        return bind(tcp, (const struct sockaddr *)&loopback, sizeof loopback);
}

static long try_listen(void)
{
        return listen(tcp, 1);
}

static long try_socket(void)
{
        return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_unix_socket(void)
{
        return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long try_netlink(void)
{
        return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long try_sendto(void)
{
        const struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};

        return sendto(datagrams[0], "x", 1, 0, (const struct sockaddr *)&to, sizeof to);
}

static long try_fast_open(void)
{
        return sendto(tcp, "x", 1, MSG_FASTOPEN, (const struct sockaddr *)&loopback,
                      sizeof loopback);
}

static long try_datagram_pair(void)
{
        int fds[2];

        return socketpair(AF_UNIX, SOCK_DGRAM, 0, fds);
}

static long try_exec(void)
{
        char *const argv[] = {(char *)"false", NULL};

        return execve("/bin/false", argv, NULL);
}

static long try_execveat(void)
{
        char *const argv[] = {(char *)"false", NULL};

        return syscall(SYS_execveat, AT_FDCWD, "/bin/false", argv, NULL, 0);
}

/* As fork(3) of the C library; a child would end at once. */
static long try_fork(void)
{
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        return pid;
}

static long try_fork_call(void)
{
        long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

        if (pid == 0)
                _exit(0);
        return pid;
}

static long try_clone3(void)
{
        return syscall(SYS_clone3, NULL, 0);
}

static long try_ptrace(void)
{
        return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long try_kill(void)
{
        return kill(getppid(), 0);
}

static long try_tgkill(void)
{
        return syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static long try_setuid(void)
{
        return setuid(getuid());
}

static long try_setgid(void)
{
        return setgid(getgid());
}

static long try_mount(void)
{
        return mount("none", folder, "tmpfs", 0, NULL);
}

static long try_unmount(void)
{
        return umount2(folder, MNT_DETACH);
}

static long try_chroot(void)
{
        return chroot(folder);
}

static long try_unshare(void)
{
        return unshare(CLONE_NEWUSER);
}

static long try_setns(void)
{
        return setns(tcp, 0);
}

static long try_handle(void)
{
        return syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0);
}

static long try_keyctl(void)
{
        return syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}

static long try_bpf(void)
{
        return syscall(SYS_bpf, 0, NULL, 0);
}

static long try_perf(void)
{
        return syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0);
}

static long try_io_uring(void)
{
        return syscall(SYS_io_uring_setup, 1, NULL);
}

static long try_userfaultfd(void)
{
        return syscall(SYS_userfaultfd, O_CLOEXEC);
}

static long try_memfd(void)
{
        return syscall(SYS_memfd_create, "x", 0);
}

static long try_code(void)
{
        return (long)(intptr_t)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                                    -1, 0);
}

static long try_to_make_code(void)
{
        void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return p == MAP_FAILED ? 0 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long try_terminal(void)
{
        char c = 'x';

        return ioctl(STDIN_FILENO, TIOCSTI, &c);
}

static long try_dumpable(void)
{
        return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long try_chmod(void)
{
        return chmod(inside, 0777);
}

static long try_rename(void)
{
        return rename(inside, "/tmp/elsewhere");
}

static long try_link(void)
{
        return link(inside, "/tmp/elsewhere");
}

static long try_symlink(void)
{
        return symlink("/etc/passwd", inside);
}

static long try_mkdir(void)
{
        return mkdir("/tmp/elsewhere", 0700);
}

static long try_reading_outside(void)
{
        return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static long try_writing_outside(void)
{
        return open("/tmp/elsewhere", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static long try_going_up(void)
{
        char path[128];

        snprintf(path, sizeof path, "%s/../../etc/passwd", folder);
        return open(path, O_RDONLY | O_CLOEXEC);
}

static long try_own_memory(void)
{
        return open("/proc/self/mem", O_RDWR | O_CLOEXEC);
}

static long try_listing_root(void)
{
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static long try_creating_inside(void)
{
        char path[128];

        snprintf(path, sizeof path, "%s/new", folder);
        return open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static long try_removing_inside(void)
{
        return unlink(inside) < 0 ? unlinkat(AT_FDCWD, inside, 0) : 0;
}

struct trial {
        const char *name;
        long (*call)(void);
        bool by_landlock;
};

static const struct trial forbidden[] = {
        {"connect", try_connect, false},
        {"bind", try_bind, false},
        {"listen", try_listen, false},
        {"socket", try_socket, false},
        {"socket(AF_UNIX)", try_unix_socket, false},
        {"socket(AF_NETLINK)", try_netlink, false},
        {"sendto another socket", try_sendto, false},
        {"sendto that connects", try_fast_open, false},
        {"socketpair of datagrams", try_datagram_pair, false},
        {"execve", try_exec, false},
        {"execveat", try_execveat, false},
        {"fork", try_fork, false},
        {"clone of a process", try_fork_call, false},
        {"clone3", try_clone3, false},
        {"ptrace", try_ptrace, false},
        {"kill", try_kill, false},
        {"tgkill of another", try_tgkill, false},
        {"setuid", try_setuid, false},
        {"setgid", try_setgid, false},
        {"mount", try_mount, false},
        {"umount", try_unmount, false},
        {"chroot", try_chroot, false},
        {"unshare", try_unshare, false},
        {"setns", try_setns, false},
        {"open_by_handle_at", try_handle, false},
        {"keyctl", try_keyctl, false},
        {"bpf", try_bpf, false},
        {"perf_event_open", try_perf, false},
        {"io_uring_setup", try_io_uring, false},
        {"userfaultfd", try_userfaultfd, false},
        {"memfd_create", try_memfd, false},
        {"mmap of code", try_code, false},
        {"mprotect to code", try_to_make_code, false},
        {"ioctl of a terminal", try_terminal, false},
        {"prctl", try_dumpable, false},
        {"chmod", try_chmod, false},
        {"rename", try_rename, false},
        {"link", try_link, false},
        {"symlink", try_symlink, false},
        {"mkdir", try_mkdir, false},
        {"open outside", try_reading_outside, true},
        {"create outside", try_writing_outside, true},
        {"open outside by ..", try_going_up, true},
        {"open /proc/self/mem", try_own_memory, true},
        {"open /", try_listing_root, true},
        {"create inside", try_creating_inside, true},
        {"unlink inside", try_removing_inside, true},
};

static bool has_landlock(void)
{
        return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

/* How many of the trials were not refused; says which. */
static unsigned try_all(const char *where)
{
        unsigned wrong = 0;

        for (size_t i = 0; i < N(forbidden); i++) {
                if (forbidden[i].by_landlock && !has_landlock())
                        continue;
                if (forbidden[i].call() != -1) {
                        fprintf(stderr, "%s: %s is not refused\n", where, forbidden[i].name);
                        wrong++;
                }
        }
        return wrong;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *try_in_thread(void *wrong)
{
        pthread_mutex_lock(&gate);
        *(unsigned *)wrong = try_all("a thread");
        pthread_mutex_unlock(&gate);
        return NULL;
}

/* What it does all day is not refused. */
static unsigned serve(void)
{
        struct stat st;
        char text[8];
        int fds[2], fd = open(inside, O_RDWR | O_CLOEXEC);
        unsigned wrong = 0;

        wrong += fd < 0 || write(fd, "x", 1) != 1 || pread(fd, text, 1, 0) != 1;
        wrong += stat(inside, &st) < 0 || stat("/", &st) < 0;
        wrong += socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
                 send(fds[0], "x", 1, MSG_NOSIGNAL) != 1 || recv(fds[1], text, 1, 0) != 1;
        wrong += rmdir(sub) < 0;
        wrong += prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != -1; /* not even that is listed */
        if (wrong)
                fprintf(stderr, "what serving takes is refused\n");
        return wrong;
}

/* The life of a confined process: its threads are there before, and come later. */
static int live(void)
{
        unsigned before = 0, after = 0, wrong;
        pthread_t thread;

        alarm(LIVE_S); /* where calls are not refused some never come back */
        sandbox_enter(folder, 0);
        pthread_mutex_lock(&gate);
        if (pthread_create(&thread, NULL, try_in_thread, &before) != 0)
                return 1;
        sandbox_close();
        pthread_mutex_unlock(&gate);
        pthread_join(thread, NULL);
        if (pthread_create(&thread, NULL, try_in_thread, &after) != 0)
                return 1;
        pthread_join(thread, NULL);
        wrong = before + after + try_all("the first thread") + serve();
        return wrong ? 1 : 0;
}

static void test_forbidden_calls(void **state)
{
        int status;
        pid_t pid = fork();

        (void)state;
        if (pid == 0)
                _exit(live());
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* Else a refusal would say nothing of the sandbox. */
static void test_they_are_possible_outside(void **state)
{
        long fd = try_reading_outside();

        (void)state;
        assert_true(fd >= 0);
        close((int)fd);
        fd = try_socket();
        assert_true(fd >= 0);
        close((int)fd);
        assert_true(try_fork() > 0);
        assert_int_equal(try_kill(), 0);
        assert_int_equal(try_setuid(), 0);
        assert_int_equal(try_datagram_pair(), 0);
        assert_int_not_equal(try_code(), -1);
        assert_int_equal(try_to_make_code(), 0);
        assert_int_equal(try_dumpable(), 0);
}

static int set_up(void **state)
{
        int fd;

        (void)state;
        if (!mkdtemp(folder))
                return -1;
        snprintf(inside, sizeof inside, "%s/inside", folder);
        snprintf(sub, sizeof sub, "%s/sub", folder);
        fd = open(inside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || mkdir(sub, 0700) < 0)
                return -1;
        close(fd);
        tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        return tcp < 0 ? -1 : socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams);
}

static int tear_down(void **state)
{
        (void)state;
        (void)rmdir(sub);
        return unlink(inside) < 0 || rmdir(folder) < 0 ? -1 : 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_they_are_possible_outside),
                cmocka_unit_test(test_forbidden_calls),
        };

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
        return 0; /* there is neither Landlock nor seccomp, sandbox.h */
#endif
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
