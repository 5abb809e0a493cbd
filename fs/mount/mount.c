/* SPDX-License-Identifier: MIT */
#include "mount/mount_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "torrent/parked.h"
#include "torrent/threads.h"

/* Cached reads that are parked count against this; at the kernel's default of 12 they would block
 * every other cached read. */
#define MAX_BACKGROUND 65535
/* A parked request is named to the interrupt handler by its torrent's number and, of its id, so
 * many low bits: both fill one pointer. */
#define ID_BITS 32
#define ID_MASK ((1ull << ID_BITS) - 1)

/* The one mount of the process: libtorrent's callbacks and libfuse's interrupts come without it. */
static struct mount *the_mount;

/* ---- answers to parked requests; any thread ---- */

static void reply_data(void *request, const void *data, size_t len)
{
        fuse_reply_buf(request, data, len);
}

static void reply_error(void *request, int err)
{
        fuse_reply_err(request, err);
}

static void reply_written(void *request, size_t len)
{
        fuse_reply_write(request, len);
}

static void reply_poll_wake(void *poll_handle)
{
        fuse_lowlevel_notify_poll(poll_handle);
        fuse_pollhandle_destroy(poll_handle);
}

static void reply_poll_drop(void *poll_handle)
{
        fuse_pollhandle_destroy(poll_handle);
}

const struct reply_ops mount_reply = {
        .data = reply_data,
        .error = reply_error,
        .written = reply_written,
        .poll_wake = reply_poll_wake,
        .poll_drop = reply_poll_drop,
};

/* ---- interrupts of parked requests ---- */

static void on_interrupt(fuse_req_t req, void *data)
{
        uint64_t value = (uint64_t)(uintptr_t)data;
        uint32_t number = (uint32_t)(value >> ID_BITS);
        struct torrent *t;

        (void)req;
        if (number == 0) {
                doc_interrupt(the_mount->control, (uint32_t)(value & ID_MASK));
                return;
        }
        t = registry_by_number(engine_registry(the_mount->engine), number);
        if (!t)
                return; /* its reads have been answered when it was removed */
        parked_interrupt_if_signalled(t, (uint32_t)(value & ID_MASK));
        torrent_unref(t);
}

/* The handler may run at once and from here, so the request can't be answered before it is armed.
 */
void mount_set_interrupt(fuse_req_t req, uint32_t number, uint64_t id)
{
        fuse_req_interrupt_func(req, on_interrupt,
                                (void *)(uintptr_t)((uint64_t)number << ID_BITS | (id & ID_MASK)));
}

/* ---- hooks of the engine ---- */

static void hook_changed(struct torrent *t)
{
        control_changed(the_mount->control, t);
}

/* Nothing beneath its directory is found any more, also where the kernel still knows the names. Of
 * the attributes alone: that waits for nothing. */
static void hook_gone(uint32_t number)
{
        (void)fuse_lowlevel_notify_inval_inode(the_mount->session,
                                               node_ino(NODE_TREE, number, TREE_ROOT), -1, 0);
}

static void hook_event(const char *json)
{
        control_event(the_mount->control, json);
}

static void hook_sidecar(int err)
{
        the_mount->sidecar(err);
}

static void hook_helper(pid_t pid)
{
        the_mount->helper = pid;
}

/* ---- operations ---- */

void *mount_buffer(struct mount *m, size_t size)
{
        if (size > m->buffer_size) {
                free(m->buffer);
                m->buffer_size = 0;
                if (posix_memalign((void **)&m->buffer, 4096, size) != 0)
                        m->buffer = NULL;
                else
                        m->buffer_size = size;
        }
        return m->buffer;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
        struct mount *m = userdata;

        /* libfuse ends the session where the two differ. */
        if (m->max_read > 0)
                conn->max_read = m->max_read;
        conn->max_background = MAX_BACKGROUND;
        conn->congestion_threshold = MAX_BACKGROUND / 4 * 3;
        conn->want |= conn->capable &
                      (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_EXPORT_SUPPORT);
        /* Content never changes under its name: no need to drop the page cache by times. */
        conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE |
                                  FUSE_CAP_SPLICE_READ);
}

static const struct fuse_lowlevel_ops operations = {
        .init = op_init,
        .lookup = op_lookup,
        .getattr = op_getattr,
        .setattr = op_setattr,
        .readlink = op_readlink,
        .mknod = op_mknod,
        .mkdir = op_mkdir,
        .unlink = op_unlink,
        .rmdir = op_rmdir,
        .symlink = op_symlink,
        .rename = op_rename,
        .link = op_link,
        .create = op_create,
        .open = op_open,
        .read = op_read,
        .write = op_write,
        .flush = op_flush,
        .release = op_release,
        .poll = op_poll,
        .readdir = op_readdir,
        .readdirplus = op_readdirplus,
        .statfs = op_statfs,
        .getxattr = op_getxattr,
        .listxattr = op_listxattr,
        .setxattr = op_setxattr,
        .removexattr = op_removexattr,
};

/* ---- life ---- */

/* fusermount3 finds a mount, to unmount it, in lines of at most 4096 bytes (getmntent(3)); the rest
 * is for the mountpoint. */
enum { SOURCE_MAX = 3000, ESCAPED = 4 };

/* How much of a source can be shown. */
static size_t source_length(const char *source)
{
        size_t len = 0, shown = 0;

        for (; source[len]; len++) {
                shown += strchr(" \t\n\\#", source[len]) ? ESCAPED : 1;
                if (shown > SOURCE_MAX)
                        break;
        }
        return len;
}

/* fstab's source must be the mount's, or `mount -a` would mount it again each time. */
static int make_options(const struct mount_options *o, char **ret)
{
        const char *shown = o->source && o->source[0] ? o->source : "magnetfs";
        char *source = strndup(shown, source_length(shown));
        char *options = NULL, *name = NULL;
        int r = 0;

        if (!source || asprintf(&name, "fsname=%s", source) < 0 ||
            fuse_opt_add_opt_escaped(&options, name) < 0 ||
            fuse_opt_add_opt(&options, "subtype=magnetfs,default_permissions,nosuid,nodev") < 0 ||
            (o->fuse_options[0] && fuse_opt_add_opt(&options, o->fuse_options) < 0))
                r = -ENOMEM;
        free(source);
        free(name);
        if (r == 0 && o->max_read > 0) {
                if (asprintf(&name, "max_read=%u", o->max_read) < 0)
                        return -ENOMEM;
                if (fuse_opt_add_opt(&options, name) < 0)
                        r = -ENOMEM;
                free(name);
        }
        if (r == 0)
                *ret = options;
        else
                free(options);
        return r;
}

static int session_new(struct mount *m, const struct mount_options *o)
{
        struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
        char *options = NULL;
        int r = make_options(o, &options);

        if (r == 0 && (fuse_opt_add_arg(&args, "magnetfs") < 0 ||
                       fuse_opt_add_arg(&args, "-o") < 0 || fuse_opt_add_arg(&args, options) < 0))
                r = -ENOMEM;
        if (r == 0) {
                m->session = fuse_session_new(&args, &operations, sizeof operations, m);
                if (!m->session)
                        r = -EINVAL;
        }
        free(options);
        fuse_opt_free_args(&args);
        return r;
}

/* What libfuse says, which may come in pieces. */
static char libfuse_said[256];

static void __attribute__((format(printf, 2, 0)))
note_said(enum fuse_log_level level, const char *format, va_list ap)
{
        size_t n = strlen(libfuse_said);

        (void)level;
        vsnprintf(libfuse_said + n, sizeof libfuse_said - n, format, ap);
}

int mount_check_options(const struct mount_options *o)
{
        struct mount m = {.engine = NULL};
        int r;

        fuse_set_log_func(note_said);
        r = session_new(&m, o);
        fuse_set_log_func(NULL);
        if (m.session)
                fuse_session_destroy(m.session);
        if (r == -EINVAL) {
                size_t name = strncmp(libfuse_said, "fuse: ", 6) == 0 ? 6 : 0;

                libfuse_said[strcspn(libfuse_said, "\n")] = '\0';
                log_error("%s; see magnetfs --help", libfuse_said + name);
        }
        return r;
}

int mount_new(struct engine *e, const struct mount_options *o, struct mount **ret)
{
        static const struct engine_hooks hooks = {.changed = hook_changed,
                                                  .gone = hook_gone,
                                                  .event = hook_event,
                                                  .sidecar = hook_sidecar,
                                                  .helper = hook_helper};
        struct mount *m = calloc(1, sizeof *m);
        int r;

        if (!m)
                return log_error_errno(ENOMEM, "Cannot mount: %m");
        m->engine = e;
        m->helper = -1;
        m->sidecar = o->sidecar;
        m->max_read = o->max_read;
        m->ended_fd = m->wake_fd = -1;
        pthread_mutex_init(&m->later_lock, NULL);
        m->nodes = (struct nodes){.engine = e,
                                  .uid = getuid(),
                                  .gid = getgid(),
                                  .files_uid = o->uid == (uid_t)-1 ? getuid() : o->uid,
                                  .files_gid = o->gid == (gid_t)-1 ? getgid() : o->gid,
                                  .files_umask = o->umask,
                                  .started_at = time(NULL)};
        r = control_new(e, o->mountpoint, &mount_reply, &m->control);
        if (r < 0) {
                free(m);
                return log_error_errno(r, "Cannot mount: %m");
        }
        the_mount = m;
        engine_set_hooks(e, &hooks);
        r = session_new(m, o);
        if (r == 0) {
                m->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
                r = m->wake_fd < 0 ? -errno : 0;
        }
        if (r == 0 && fuse_session_mount(m->session, o->mountpoint) != 0) {
                fuse_session_destroy(m->session);
                m->session = NULL;
                r = -EIO;
        }
        if (r < 0) {
                mount_free(m);
                log_error("Cannot mount at %s, as the line above says", o->mountpoint);
                return r;
        }
        threads_know_mount(o->mountpoint);
        *ret = m;
        return 0;
}

static void on_wake_signal(int sig)
{
        (void)sig;
}

/* As fuse_session_loop, but that it also takes up what was left for later. */
static void run_loop(struct mount *m)
{
        struct pollfd fds[2] = {{.fd = fuse_session_fd(m->session), .events = POLLIN},
                                {.fd = m->wake_fd, .events = POLLIN}};
        struct fuse_buf buffer = {.mem = NULL};

        while (!fuse_session_exited(m->session)) {
                int r;

                if (poll(fds, 2, -1) < 0)
                        continue; /* a signal: the session may have ended */
                if (fds[1].revents)
                        mount_take_up(m);
                if (!fds[0].revents)
                        continue;
                r = fuse_session_receive_buf(m->session, &buffer);
                if (r == -EINTR || r == -EAGAIN)
                        continue;
                if (r <= 0)
                        break;
                fuse_session_process_buf(m->session, &buffer);
        }
        free(buffer.mem);
        fuse_session_reset(m->session);
}

static void *loop(void *arg)
{
        struct mount *m = arg;
        uint64_t one = 1;
        sigset_t set;

        pthread_setname_np(pthread_self(), "fuse");
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        run_loop(m);
        if (!m->stopping)
                (void)!write(m->ended_fd, &one, sizeof one);
        return NULL;
}

int mount_start(struct mount *m, int ended_fd)
{
        struct sigaction wake = {.sa_handler = on_wake_signal};
        int r;

        m->ended_fd = ended_fd;
        /* A request that is there may be gone when it is read: its process was killed. */
        (void)fcntl(fuse_session_fd(m->session), F_SETFL, O_NONBLOCK);
        sigaction(SIGUSR1, &wake, NULL); /* no SA_RESTART: ends the loop's read of /dev/fuse */
        r = -pthread_create(&m->thread, NULL, loop, m);
        if (r < 0)
                return log_error_errno(r, "Cannot start the FUSE thread: %m");
        m->running = true;
        return 0;
}

void mount_stop(struct mount *m)
{
        const long step_ns = 5 * 1000 * 1000;
        struct timespec until;

        m->stopping = true;
        engine_release_reads(m->engine);
        control_release(m->control);
        fuse_session_exit(m->session);
        while (m->running) {
                /* Again and again: the signal may come just before the loop's read begins. */
                pthread_kill(m->thread, SIGUSR1);
                clock_gettime(CLOCK_REALTIME, &until);
                until.tv_nsec += step_ns;
                if (until.tv_nsec >= 1000000000) {
                        until.tv_sec++;
                        until.tv_nsec -= 1000000000;
                }
                m->running = pthread_timedjoin_np(m->thread, NULL, &until) != 0;
        }
        /* What was parked between the first release and the loop's end. */
        engine_release_reads(m->engine);
        control_end(m->control);
        fuse_session_unmount(m->session);
}

void mount_free(struct mount *m)
{
        if (!m)
                return;
        /* Files that were open when the mount went are never released. */
        while (m->files)
                mount_close_file(m, m->files);
        if (m->session)
                fuse_session_destroy(m->session);
        mount_forget_later(m);
        control_free(m->control);
        if (m->wake_fd >= 0)
                close(m->wake_fd);
        pthread_mutex_destroy(&m->later_lock);
        free(m->buffer);
        the_mount = NULL;
        free(m);
}
