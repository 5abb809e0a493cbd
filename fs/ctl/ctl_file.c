/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "ctl/ctl_watchdog.h"

/* poll() asks the daemon too, so it sleeps in slices that the watchdog can tell from a stall. */
enum { POLL_SLICE_MS = 10000 };

/* poll() woke us for nothing: look again no sooner than this, so that a wrong answer is no busy
 * loop. */
enum { SPURIOUS_WAIT_MS = 20 };

/* ---- reading ---- */

static void file_step(struct ctl_file *f)
{
        ctl_guard(0);
        f->result = buffer_read(f->fd, &f->data, &f->room, &f->len, CTL_READ_MAX);
        if (f->result != -EAGAIN) {
                close(f->fd);
                f->fd = -1;
        }
        ctl_unguard();
}

int ctl_file_open(const struct ctl_mount *m, const char *path, struct ctl_file *f)
{
        *f = CTL_FILE_INIT;
        ctl_guard(0);
        f->fd = openat(ctl_mount_control_fd(m), path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        ctl_unguard();
        if (f->fd < 0)
                return f->result = -errno;
        file_step(f);
        return f->result == -EAGAIN ? 0 : f->result;
}

void ctl_file_close(struct ctl_file *f)
{
        if (f->fd >= 0)
                close(f->fd);
        free(f->data);
        *f = CTL_FILE_INIT;
}

static int poll_files(struct pollfd *fds, size_t n, int64_t deadline_ms)
{
        int r;

        do {
                int64_t left = deadline_ms - (int64_t)clock_ms();

                left = left < 0 ? 0 : left > POLL_SLICE_MS ? POLL_SLICE_MS : left;
                ctl_guard(POLL_SLICE_MS / 1000);
                r = poll(fds, n, (int)left);
                ctl_unguard();
                if (r < 0 && errno != EINTR)
                        return -errno;
        } while (r <= 0 && (int64_t)clock_ms() < deadline_ms);
        return r < 0 ? 0 : r;
}

int ctl_file_wait(struct ctl_file *files, size_t n, int64_t deadline_ms)
{
        _cleanup_free_ struct pollfd *fds = calloc(n ? n : 1, sizeof *fds);
        size_t waiting = 0;
        int r = 0, done = 0;

        if (!fds)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                fds[i].fd = files[i].result == -EAGAIN ? files[i].fd : -1; /* poll skips < 0 */
                fds[i].events = POLLIN;
                waiting += fds[i].fd >= 0;
        }

        while (waiting > 0 && done == 0) {
                r = poll_files(fds, n, deadline_ms);
                if (r <= 0)
                        break;
                for (size_t i = 0; i < n; i++) {
                        if (fds[i].fd < 0 || !fds[i].revents)
                                continue;
                        file_step(&files[i]);
                        done += files[i].result != -EAGAIN;
                }
                if (done == 0)
                        (void)poll(NULL, 0, SPURIOUS_WAIT_MS);
        }
        return r < 0 ? r : done;
}

int ctl_file_read(const struct ctl_mount *m, const char *path, int64_t deadline_ms, char **ret,
                  size_t *ret_len)
{
        struct ctl_file f;
        int r;

        r = ctl_file_open(m, path, &f);
        if (r == 0 && f.result == -EAGAIN) {
                r = ctl_file_wait(&f, 1, deadline_ms);
                if (r == 0)
                        r = -ETIME;
                else if (r > 0)
                        r = f.result;
        }
        if (r == 0) {
                *ret = f.data;
                *ret_len = f.len;
                f.data = NULL;
        }
        ctl_file_close(&f);
        return r;
}

/* ---- writing ---- */

int ctl_file_write(const struct ctl_mount *m, const char *path, const void *data, size_t len,
                   char **ret)
{
        char *answer = NULL;
        size_t answer_len = 0, room = 0;
        int fd, r;

        if (ret)
                *ret = NULL;
        ctl_guard(0);
        fd = openat(ctl_mount_control_fd(m), path, (ret ? O_RDWR : O_WRONLY) | O_CLOEXEC);
        if (fd < 0) {
                r = -errno;
                ctl_unguard();
                return r;
        }
        r = buffer_write(fd, data, len);
        if (ret) {
                int k = buffer_read(fd, &answer, &room, &answer_len, CTL_READ_MAX);

                if (k < 0) {
                        free(answer);
                        answer = NULL;
                        r = r < 0 ? r : k;
                }
        }
        if (close(fd) < 0 && r == 0)
                r = -errno;
        ctl_unguard();
        if (ret)
                *ret = answer;
        return r;
}
