/* SPDX-License-Identifier: MIT */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "sandbox_filter.h"

/* Ports below need CAP_NET_BIND_SERVICE, ip(7). */
enum { PORT_FREE = 1024 };
/* What a look at the mount may take. */
enum { LOOK_MS = 2000 };

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

/* ---- capabilities ---- */

/* All but those of keep go, from the calling thread. */
static int set_capabilities(uint64_t keep)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
                data[i].permitted &= (uint32_t)(keep >> (32 * i));
                data[i].effective = data[i].permitted;
                data[i].inheritable = 0;
        }
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static bool has_capabilities(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

        return syscall(SYS_capget, &header, data) == 0 && (data[0].permitted || data[1].permitted);
}

/* Whether the mount can't be read without CAP_DAC_READ_SEARCH: root's is in a folder of a user that
 * is closed to others, or has -o uid= and umask=. Asked by a child, as it may hang there. */
static bool is_closed(const char *mountpoint)
{
        static const struct timespec step = {.tv_nsec = 1000000};
        struct pollfd p = {.events = POLLIN};
        char answer = 0;
        int fds[2];
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return false;
        pid = fork();
        if (pid == 0) {
                if (set_capabilities(0) < 0)
                        _exit(1);
                if (faccessat(AT_FDCWD, mountpoint, R_OK | X_OK, AT_EACCESS) < 0 && errno == EACCES)
                        answer = 1;
                _exit(write(fds[1], &answer, 1) == 1 ? 0 : 1);
        }
        close(fds[1]);
        p.fd = fds[0];
        if (pid > 0) {
                if (poll(&p, 1, LOOK_MS) <= 0 || read(fds[0], &answer, 1) != 1)
                        answer = 0;
                kill(pid, SIGKILL);
                /* Not to the end: a child whose call hangs in the mount dies when that answers. */
                for (unsigned ms = 0; waitpid(pid, NULL, WNOHANG) == 0 && ms < LOOK_MS; ms++)
                        nanosleep(&step, NULL);
        }
        close(fds[0]);
        return answer;
}

static void drop_capabilities(const char *mountpoint, uint16_t port)
{
        uint64_t keep = 0;
        int r;

        if (!has_capabilities())
                return;
        if (port != 0 && port < PORT_FREE)
                keep |= UINT64_C(1) << CAP_NET_BIND_SERVICE;
        if (is_closed(mountpoint)) {
                keep |= UINT64_C(1) << CAP_DAC_READ_SEARCH;
                log_info("%s is closed to root: CAP_DAC_READ_SEARCH is kept", mountpoint);
        }
        (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        /* EINVAL: the kernel knows no more of them. */
        for (unsigned long i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++)
                ;
        r = set_capabilities(keep);
        if (r < 0)
                log_warning_errno(r, "Cannot give capabilities up: %m");
}

/* ---- Landlock ---- */

/* Of kernels newer than the headers of Debian 12. */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

/* Everything that a version of Landlock can refuse for files (its documentation, "Compatibility").
 */
static uint64_t landlock_rights(long version)
{
        uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

        if (version >= 2)
                rights |= LANDLOCK_ACCESS_FS_REFER;
        if (version >= 3)
                rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
        if (version >= 5)
                rights |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
        return rights;
}

static int landlock_allow(int rules, const char *path, uint64_t rights)
{
        /* O_PATH makes no call of the file system's. */
        _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        const struct landlock_path_beneath_attr beneath = {.allowed_access = rights,
                                                           .parent_fd = fd};

        if (fd < 0 ||
            syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
                return -errno;
        return 0;
}

static int restrict_files(const char *mountpoint)
{
        long version =
                syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
        const struct landlock_ruleset_attr handled = {.handled_access_fs =
                                                              landlock_rights(version)};
        _cleanup_close_ int rules = -1;
        int r;

        if (version < 0)
                return -errno;
        rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
        if (rules < 0)
                return -errno;
        /* Control files are written, and a torrent is removed by rmdir. */
        r = landlock_allow(rules, mountpoint,
                           LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                                   LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR);
        if (r < 0)
                return r;
        /* How many threads there are (capacity.c). */
        (void)landlock_allow(rules, "/proc/self/task", LANDLOCK_ACCESS_FS_READ_DIR);
        return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
}

void sandbox_enter(const char *mountpoint, uint16_t port)
{
        int r;

        drop_capabilities(mountpoint, port);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                log_warning_errno(errno, "Cannot give new privileges up: %m");
        if (sanitized)
                return;
        r = restrict_files(mountpoint);
        if (r == -ENOSYS || r == -EOPNOTSUPP)
                log_info("This kernel has no Landlock: the sidecar may open whatever its user may");
        else if (r < 0)
                log_warning_errno(r, "Cannot restrict the sidecar to %s: %m", mountpoint);
}

void sandbox_close(void)
{
        int r = sanitized ? 0 : sandbox_filter();

        if (r < 0)
                log_warning_errno(r, "Cannot restrict the system calls of the sidecar: %m");
}
