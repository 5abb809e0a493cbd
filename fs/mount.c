/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 312
#include "mount.h"

#include <fuse_lowlevel.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <utlist.h>

#include "control.h"
#include "handle.h"
#include "log.h"
#include "names.h"
#include "nodes.h"
#include "xattr.h"

/* Seconds the kernel may go by what it was told. What is inside a torrent never changes but for its
 * blocks; names of the root do. */
#define TIMEOUT_ATTR       1.0
#define TIMEOUT_ENTRY      3600.0
#define TIMEOUT_ENTRY_ROOT 1.0
/* A hash of .magnetfs may be removed and added again by any way; asking costs nothing. */
#define TIMEOUT_ENTRY_CONTROL 0.0
/* Cached reads that are parked count against this; at the kernel's default of 12 they would block
 * every other cached read. */
#define MAX_BACKGROUND 65535
/* A parked request is named to the interrupt handler by torrent number and id in one pointer. */
#define ID_BITS 40
#define ID_MASK ((1ull << ID_BITS) - 1)

struct open_file;

struct mount {
        /* set once */
        struct engine *engine;
        struct control *control;
        struct nodes nodes;
        struct fuse_session *session;
        pid_t helper;
        int cache_dir_fd, ended_fd;
        void (*sidecar)(int err);
        pthread_t thread;
        bool running;
        atomic_bool stopping;

        /* the loop's thread only */
        struct open_file *files; /* (utlist) */
        uint64_t opened;         /* how many there have been */
        char *buffer;
        size_t buffer_size;
};

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
        .poll_wake = reply_poll_wake,
        .poll_drop = reply_poll_drop,
};

/* ---- hooks of the engine ---- */

static void hook_forget_name(const char *name)
{
        (void)fuse_lowlevel_notify_inval_entry(the_mount->session, NODE_ROOT, name, strlen(name));
}

static void hook_changed(struct torrent *t)
{
        control_changed(the_mount->control, t);
}

static void hook_event(const char *json)
{
        control_event(the_mount->control, json);
}

static void hook_sidecar(int err)
{
        the_mount->sidecar(err);
}

/* ---- operations ---- */

static struct mount *mount_of(fuse_req_t req)
{
        return fuse_req_userdata(req);
}

/* What an open file is: a torrent's or a document. */
struct open_file {
        uint64_t number; /* in the log */
        struct handle *handle;
        struct doc *doc;
        struct open_file *prev, *next; /* of the mount; the loop's thread only */
};

static void file_close(struct mount *m, struct open_file *f)
{
        DL_DELETE(m->files, f);
        if (f->handle) {
                log_debug("trace: %" PRIu64 " %" PRIu64 " close", clock_ms(), f->number);
                handle_close(f->handle);
        } else
                doc_close(f->doc);
        free(f);
}

static struct open_file *file_of(struct fuse_file_info *fi)
{
        return (struct open_file *)(uintptr_t)fi->fh;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
        (void)userdata;
        conn->max_background = MAX_BACKGROUND;
        conn->congestion_threshold = MAX_BACKGROUND / 4 * 3;
        conn->want |= conn->capable &
                      (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_EXPORT_SUPPORT);
        /* Content never changes under its name: no need to drop the page cache by times. */
        conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE |
                                  FUSE_CAP_SPLICE_READ);
}

static double entry_timeout(uint64_t parent)
{
        if (node_is_content(node_of(parent)))
                return TIMEOUT_ENTRY;
        return parent == NODE_ROOT ? TIMEOUT_ENTRY_ROOT : TIMEOUT_ENTRY_CONTROL;
}

static int fill_entry(struct mount *m, uint64_t parent, uint64_t ino, struct fuse_entry_param *e)
{
        *e = (struct fuse_entry_param){.ino = ino,
                                       .generation = 1,
                                       .attr_timeout = TIMEOUT_ATTR,
                                       .entry_timeout = entry_timeout(parent)};
        return node_stat(&m->nodes, ino, &e->attr);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);
        struct fuse_entry_param e;
        uint64_t ino;
        int r;

        if (strcmp(name, ".") == 0 ||
            strcmp(name, "..") == 0) { /* of NFS servers: by inode number */
                ino = name[1] == '\0' ? parent : NODE_ROOT;
                r = 0;
        } else {
                r = node_lookup(&m->nodes, parent, name, &ino);
        }
        if (r == 0 && parent == NODE_ROOT && fuse_req_ctx(req)->pid == m->helper) {
                struct torrent *t =
                        registry_by_number(engine_registry(m->engine), node_of(ino).number);

                /* The helper's mkdir of a new torrent must find the name free, or inotify would not
                 * hear of it. */
                if (t && t->announcing)
                        r = -ENOENT;
                torrent_unref(t);
        }
        if (r == 0)
                r = fill_entry(m, parent, ino, &e);
        if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct stat st;
        int r = node_stat(&mount_of(req)->nodes, ino, &st);

        (void)fi;
        if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_attr(req, &st, TIMEOUT_ATTR);
}

/* Opening a control file for writing truncates it, which means nothing; all else is read-only. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                       struct fuse_file_info *fi)
{
        const int harmless = FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
                             FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW |
                             FUSE_SET_ATTR_CTIME;

        (void)attr;
        if (doc_is_writable(node_of(ino)) && !(to_set & ~harmless))
                op_getattr(req, ino, fi);
        else
                fuse_reply_err(req, EROFS);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
        char target[NAME_BYTES_MAX + 16];
        int r = node_readlink(&mount_of(req)->nodes, ino, target, sizeof target);

        if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_readlink(req, target);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
        struct mount *m = mount_of(req);
        struct fuse_entry_param e;
        struct torrent *t;
        int r = -EROFS;

        (void)mode;
        if (parent == NODE_ROOT && fuse_req_ctx(req)->pid == m->helper) {
                t = registry_by_name(engine_registry(m->engine), name);
                r = t ? fill_entry(m, parent, node_ino(NODE_TREE, t->number, TREE_ROOT), &e)
                      : -ENOENT;
                torrent_unref(t);
        }
        if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_entry(req, &e);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);
        struct torrent *t;

        if (parent != NODE_ROOT || strcmp(name, ".magnetfs") == 0) {
                fuse_reply_err(req, EROFS);
                return;
        }
        t = registry_by_name(engine_registry(m->engine), name);
        if (!t) {
                fuse_reply_err(req, ENOENT);
                return;
        }
        if (fuse_req_ctx(req)->pid == m->helper && !engine_is_idle(m->engine, t)) {
                /* The helper removes what is idle; somebody came back meanwhile. */
                fuse_reply_err(req, EBUSY);
        } else {
                log_info("%s (%s): removed", t->hex, name);
                engine_remove(m->engine, t);
                fuse_reply_err(req, 0);
        }
        torrent_unref(t);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        (void)parent;
        (void)name;
        fuse_reply_err(req, EROFS);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
        (void)mode;
        (void)rdev;
        op_unlink(req, parent, name);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
        (void)mode;
        (void)fi;
        op_unlink(req, parent, name);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
        (void)link;
        op_unlink(req, parent, name);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
                      const char *to_name, unsigned flags)
{
        (void)to;
        (void)to_name;
        (void)flags;
        op_unlink(req, parent, name);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
        (void)ino;
        op_unlink(req, parent, name);
}

static int open_content(struct mount *m, struct node n, struct fuse_file_info *fi,
                        struct open_file *f)
{
        struct torrent *t;
        int r = -ENOENT;

        if ((fi->flags & O_ACCMODE) != O_RDONLY)
                return -EROFS;
        t = registry_by_number(engine_registry(m->engine), n.number);
        if (!t)
                return -ENOENT;
        if (torrent_content(t))
                r = handle_open(t, n.node, &f->handle);
        torrent_unref(t);
        if (r < 0)
                return r;
        /* All there: through the page cache, and the kernel keeps it; under data/ too, as no read
         * waits any more. Else direct: a reader can be interrupted, and the kernel's read-ahead
         * asks for nothing that nobody reads. */
        fi->keep_cache = handle_is_complete(f->handle);
        fi->direct_io = !fi->keep_cache;
        return 0;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct node n = node_of(ino);
        struct open_file *f;
        struct stat st;
        int r = node_stat(&m->nodes, ino, &st);

        if (r == 0 && S_ISDIR(st.st_mode))
                r = -EISDIR;
        f = r == 0 ? calloc(1, sizeof *f) : NULL;
        if (r == 0 && !f)
                r = -ENOMEM;
        if (r == 0 && doc_is(n)) {
                if ((fi->flags & O_ACCMODE) != O_RDONLY && !doc_is_writable(n))
                        r = -EROFS;
                else
                        r = doc_open(m->control, n, &f->doc);
                fi->direct_io = 1;
        } else if (r == 0) {
                r = node_is_content(n) ? open_content(m, n, fi, f) : -ENOENT;
        }
        if (!f || r < 0) {
                free(f);
                fuse_reply_err(req, -r);
                return;
        }
        fi->fh = (uint64_t)(uintptr_t)f;
        f->number = ++m->opened;
        DL_APPEND(m->files, f); /* NOLINT(*NullDereference): the first one's prev is the last */
        /* tests/traces records what programs read by these lines. */
        if (f->handle)
                log_debug("trace: %" PRIu64 " %" PRIu64 " open %" PRIu64 " %" PRIu64, clock_ms(),
                          f->number, (uint64_t)ino, (uint64_t)st.st_size);
        if (fuse_reply_open(req, fi) < 0)
                file_close(m, f); /* interrupted: there will be no release */
}

static void on_interrupt(fuse_req_t req, void *data)
{
        uint64_t value = (uint64_t)(uintptr_t)data;
        uint32_t number = (uint32_t)(value >> ID_BITS);
        struct torrent *t;

        (void)req;
        if (number == 0) {
                doc_interrupt(the_mount->control, value & ID_MASK);
                return;
        }
        t = registry_by_number(engine_registry(the_mount->engine), number);
        if (!t)
                return; /* its reads have been answered when it was removed */
        torrent_interrupt_if_signalled(t, value & ID_MASK);
        torrent_unref(t);
}

/* The handler may run at once and from here, so the request can't be answered before it is armed.
 */
static void set_interrupt(fuse_req_t req, uint32_t number, uint64_t id)
{
        fuse_req_interrupt_func(req, on_interrupt,
                                (void *)(uintptr_t)((uint64_t)number << ID_BITS | (id & ID_MASK)));
}

static void *buffer_of(struct mount *m, size_t size)
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

static void read_content(fuse_req_t req, struct node n, struct handle *h, size_t size, off_t off,
                         bool nonblock)
{
        struct mount *m = mount_of(req);
        struct torrent *t = handle_torrent(h);
        uint64_t id = 0;
        size_t len = 0;
        void *data;
        int r;

        r = handle_read(h, (uint64_t)off, size, nonblock && n.kind == NODE_DATA, req,
                        fuse_req_ctx(req)->pid, &len, &id);
        if (r == READ_PARKED) {
                torrent_ref(
                        t); /* the answer may come, and the file be closed, before this returns */
                set_interrupt(req, t->number, id);
                torrent_arm(t, id);
                torrent_unref(t);
                return;
        }
        if (r == READ_NOW) {
                data = buffer_of(m, len);
                r = data || len == 0 ? handle_fetch(h, (uint64_t)off, data, len) : -ENOMEM;
                if (r == 0) {
                        fuse_reply_buf(req, data, len);
                        return;
                }
        }
        fuse_reply_err(req, r == -ESTALE ? EIO : -r); /* ESTALE: removed */
}

static void read_doc(fuse_req_t req, struct doc *d, size_t size, off_t off, bool nonblock)
{
        struct mount *m = mount_of(req);
        uint64_t id = 0;
        size_t len = 0;
        void *data = NULL;
        int r = doc_read(d, (uint64_t)off, size, nonblock, req, &data, &len, &id);

        if (r == READ_PARKED) {
                set_interrupt(req, 0, id);
                doc_arm(m->control, id);
        } else if (r < 0) {
                fuse_reply_err(req, -r);
        } else {
                fuse_reply_buf(req, data, len);
                free(data);
        }
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
        struct open_file *f = file_of(fi);
        bool nonblock = fi->flags & O_NONBLOCK;

        if (f->handle) {
                log_debug("trace: %" PRIu64 " %" PRIu64 " read %" PRIu64 " %zu", clock_ms(),
                          f->number, (uint64_t)off, size);
                read_content(req, node_of(ino), f->handle, size, off, nonblock);
        } else {
                read_doc(req, f->doc, size, off, nonblock);
        }
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
        struct open_file *f = file_of(fi);
        int r = f->doc ? doc_write(f->doc, data, size) : -EROFS;

        (void)ino;
        (void)off;
        if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_write(req, size);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct open_file *f = file_of(fi);
        int r = 0;

        (void)ino;
        if (f->handle)
                handle_flush(f->handle, fuse_req_ctx(req)->pid);
        else
                r = doc_flush(f->doc);
        fuse_reply_err(req, -r);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        (void)ino;
        file_close(mount_of(req), file_of(fi));
        fuse_reply_err(req, 0);
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                    struct fuse_pollhandle *ph)
{
        struct open_file *f = file_of(fi);
        unsigned events;

        if (f->handle)
                events = node_of(ino).kind == NODE_DATA ? handle_poll(f->handle, ph) : POLLIN;
        else
                events = doc_poll(f->doc, ph);
        if (ph && f->handle && node_of(ino).kind != NODE_DATA)
                fuse_pollhandle_destroy(ph);
        fuse_reply_poll(req, events);
}

/* ---- directories ---- */

struct listing {
        fuse_req_t req;
        struct mount *mount;
        fuse_ino_t directory;
        char *buffer;
        size_t size, len;
        bool plus;
};

static bool emit(void *arg, const char *name, uint64_t ino, mode_t type, uint64_t next_cookie)
{
        struct listing *l = arg;
        char *at = l->buffer + l->len;
        size_t room = l->size - l->len, n;
        bool dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
        struct fuse_entry_param e = {.attr = {.st_ino = ino, .st_mode = type}};

        if (l->plus) {
                /* "." and "..", and what goes in between: not looked up (ino 0). */
                if (!dots && fill_entry(l->mount, l->directory, ino, &e) < 0)
                        return true;
                n = fuse_add_direntry_plus(l->req, at, room, name, &e, (off_t)next_cookie);
        } else {
                n = fuse_add_direntry(l->req, at, room, name, &e.attr, (off_t)next_cookie);
        }
        if (n > room)
                return false;
        l->len += n;
        return true;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
        struct mount *m = mount_of(req);
        struct listing l = {.req = req, .mount = m, .directory = ino, .size = size, .plus = plus};
        int r;

        l.buffer = buffer_of(m, size);
        r = l.buffer ? node_list(&m->nodes, ino, (uint64_t)off, emit, &l) : -ENOMEM;
        if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_buf(req, l.buffer, l.len);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
        (void)fi;
        list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
        (void)fi;
        list(req, ino, size, off, true);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
        struct statvfs v;

        (void)ino;
        if (fstatvfs(mount_of(req)->cache_dir_fd, &v) < 0) {
                fuse_reply_err(req, errno);
                return;
        }
        v.f_namemax = NAME_BYTES_MAX;
        fuse_reply_statfs(req, &v);
}

/* ---- extended attributes ---- */

static void reply_xattr(fuse_req_t req, const char *value, size_t len, size_t size)
{
        if (size == 0)
                fuse_reply_xattr(req, len);
        else if (len > size)
                fuse_reply_err(req, ERANGE);
        else
                fuse_reply_buf(req, value, len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
        char value[XATTR_VALUE_MAX];
        bool found = xattr_get(mount_of(req)->engine, node_of(ino), name, value);

        if (found)
                reply_xattr(req, value, strlen(value), size);
        else
                fuse_reply_err(req, ENODATA);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
        char names[XATTR_LIST_MAX];
        size_t len = xattr_list(node_of(ino), names);

        reply_xattr(req, names, len, size);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                        size_t size, int flags)
{
        (void)value;
        (void)size;
        (void)flags;
        op_unlink(req, ino, name);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
        op_unlink(req, ino, name);
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

static int session_new(struct mount *m, const char *fuse_options)
{
        struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
        int r = 0;

        if (fuse_opt_add_arg(&args, "magnetfs") < 0 ||
            fuse_opt_add_arg(
                    &args, "-ofsname=magnetfs,subtype=magnetfs,default_permissions,nosuid,nodev") <
                    0 ||
            (fuse_options[0] &&
             (fuse_opt_add_arg(&args, "-o") < 0 || fuse_opt_add_arg(&args, fuse_options) < 0)))
                r = -ENOMEM;
        if (r == 0) {
                m->session = fuse_session_new(&args, &operations, sizeof operations, m);
                if (!m->session)
                        r = -EINVAL;
        }
        fuse_opt_free_args(&args);
        return r;
}

int mount_new(struct engine *e, const char *mountpoint, const char *fuse_options, pid_t helper,
              int cache_dir_fd, void (*sidecar)(int err), struct mount **ret)
{
        static const struct engine_hooks hooks = {hook_forget_name, hook_changed, hook_event,
                                                  hook_sidecar};
        struct mount *m = calloc(1, sizeof *m);
        int r;

        if (!m)
                return log_error_errno(ENOMEM, "Cannot mount: %m");
        m->engine = e;
        m->helper = helper;
        m->cache_dir_fd = cache_dir_fd;
        m->sidecar = sidecar;
        m->ended_fd = -1;
        m->nodes = (struct nodes){
                .engine = e, .uid = getuid(), .gid = getgid(), .started_at = time(NULL)};
        r = control_new(e, mountpoint, &mount_reply, &m->control);
        if (r < 0) {
                free(m);
                return log_error_errno(r, "Cannot mount: %m");
        }
        the_mount = m;
        engine_set_hooks(e, &hooks);
        r = session_new(m, fuse_options);
        if (r == 0 && fuse_session_mount(m->session, mountpoint) != 0) {
                fuse_session_destroy(m->session);
                m->session = NULL;
                r = -EIO;
        }
        if (r < 0) {
                mount_free(m);
                log_error(
                        "Cannot mount at %s: see the line above; is fuse3 installed, may this user use /dev/fuse?",
                        mountpoint);
                return r;
        }
        *ret = m;
        return 0;
}

static void on_wake_signal(int sig)
{
        (void)sig;
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
        (void)fuse_session_loop(m->session);
        if (!m->stopping)
                (void)!write(m->ended_fd, &one, sizeof one);
        return NULL;
}

int mount_start(struct mount *m, int ended_fd)
{
        struct sigaction wake = {.sa_handler = on_wake_signal};
        int r;

        m->ended_fd = ended_fd;
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
        fuse_session_unmount(m->session);
}

void mount_free(struct mount *m)
{
        if (!m)
                return;
        /* Files that were open when the mount went are never released. */
        while (m->files)
                file_close(m, m->files);
        if (m->session)
                fuse_session_destroy(m->session);
        control_free(m->control);
        free(m->buffer);
        the_mount = NULL;
        free(m);
}
