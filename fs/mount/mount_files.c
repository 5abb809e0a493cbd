/* SPDX-License-Identifier: MIT */
/* mount_files.c: the operations on open files, which are files of torrents and documents. */
#include "mount/mount_private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "torrent/handle.h"
#include "torrent/parked.h"

/* What an open file is: a torrent's or a document. */
struct open_file {
        uint64_t number; /* in the log */
        struct handle *handle;
        struct doc *doc;
        struct open_file *prev, *next; /* of the mount; the loop's thread only */
};

void mount_close_file(struct mount *m, struct open_file *f)
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

static int open_content(struct mount *m, fuse_ino_t ino, pid_t tid, struct fuse_file_info *fi,
                        struct open_file *f)
{
        struct node n = node_of(ino);
        struct torrent *t;
        int r;

        if ((fi->flags & O_ACCMODE) != O_RDONLY)
                return -EROFS;
        t = registry_by_number(engine_registry(m->engine), n.number);
        if (!t)
                return -ESTALE;
        r = handle_open(t, n.node, ino, tid, &f->handle);
        torrent_unref(t);
        if (r < 0)
                return r;
        /* All there: through the page cache; under data/ too, as no read waits any more. Else
         * direct: a reader can be interrupted, and the kernel's read-ahead asks for nothing that
         * nobody reads. sendfile, splice and mmap go through the page cache all the same.
         * What is cached stays: it was verified, and an open that drops it would have to wait,
         * where nothing can end it, for each page that a parked read is to fill. */
        fi->direct_io = !handle_is_complete(f->handle);
        fi->keep_cache = 1;
        return 0;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
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
                        r = doc_open(m->control, n, (fi->flags & O_ACCMODE) == O_WRONLY, &f->doc);
                fi->direct_io = 1;
        } else if (r == 0) {
                r = node_is_content(n) ? open_content(m, ino, fuse_req_ctx(req)->pid, fi, f)
                                       : -ENOENT;
        }
        if (!f || r < 0) {
                free(f);
                if (r == -EAGAIN)
                        mount_load_first(req,
                                         &(struct call){.type = CALL_OPEN, .ino = ino, .fi = *fi});
                else
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
                mount_close_file(m, f); /* interrupted: there will be no release */
}

/* What fills the page cache has no lock owner; a read by a program always has (measured on Linux
 * 6.18; the source of older ones reads alike). */
static unsigned read_flags(struct node n, const struct fuse_file_info *fi)
{
        unsigned flags = 0;

        if ((fi->flags & O_NONBLOCK) && n.kind == NODE_DATA)
                flags |= READ_NONBLOCK;
        if (fi->lock_owner == 0)
                flags |= READ_WHOLE;
        return flags;
}

static void read_content(fuse_req_t req, struct handle *h, size_t size, off_t off, unsigned flags)
{
        struct mount *m = mount_of(req);
        struct torrent *t = handle_torrent(h);
        uint64_t id = 0;
        size_t len = 0;
        void *data = NULL;
        bool fetched;
        int r;

        do {
                r = handle_read(h, (uint64_t)off, size, flags, req, fuse_req_ctx(req)->pid, &len,
                                &id);
                fetched = r == READ_NOW;
                if (fetched) {
                        data = mount_buffer(m, len);
                        r = data || len == 0 ? handle_fetch(h, (uint64_t)off, data, len) : -ENOMEM;
                }
        } while (fetched && r == -EAGAIN); /* a piece went meanwhile */
        if (fetched && r == 0) {
                fuse_reply_buf(req, data, len);
                return;
        }
        if (r == READ_PARKED) {
                torrent_ref(
                        t); /* the answer may come, and the file be closed, before this returns */
                mount_set_interrupt(req, t->number, id);
                parked_arm(t, id);
                torrent_unref(t);
                return;
        }
        fuse_reply_err(req, r == -ESTALE ? EIO : -r); /* ESTALE: removed */
}

/* A parked request of a document may be answered from here on. */
static void wait_for_doc(fuse_req_t req, uint64_t id)
{
        struct mount *m = mount_of(req);

        mount_set_interrupt(req, 0, id);
        doc_arm(m->control, id);
}

static void read_doc(fuse_req_t req, struct doc *d, size_t size, off_t off, bool nonblock)
{
        uint64_t id = 0;
        size_t len = 0;
        void *data = NULL;
        int r = doc_read(d, (uint64_t)off, size, nonblock, req, &data, &len, &id);

        if (r == READ_PARKED) {
                wait_for_doc(req, id);
        } else if (r < 0) {
                fuse_reply_err(req, -r);
        } else {
                fuse_reply_buf(req, data, len);
                free(data);
        }
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
        struct open_file *f = file_of(fi);

        if (f->handle) {
                log_debug("trace: %" PRIu64 " %" PRIu64 " read %" PRIu64 " %zu", clock_ms(),
                          f->number, (uint64_t)off, size);
                read_content(req, f->handle, size, off, read_flags(node_of(ino), fi));
        } else {
                read_doc(req, f->doc, size, off, fi->flags & O_NONBLOCK);
        }
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
              struct fuse_file_info *fi)
{
        struct open_file *f = file_of(fi);
        pid_t tid = fuse_req_ctx(req)->pid;
        uint64_t id = 0;
        int r = f->doc ? doc_write(f->doc, data, size, req, tid, &id) : -EROFS;

        (void)ino;
        (void)off;
        if (r == READ_PARKED)
                wait_for_doc(req, id);
        else if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_write(req, size);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct open_file *f = file_of(fi);
        pid_t tid = fuse_req_ctx(req)->pid;
        uint64_t id = 0;
        int r = 0;

        (void)ino;
        if (f->handle)
                handle_flush(f->handle, tid);
        else
                r = doc_flush(f->doc, req, tid, &id);
        if (r == READ_PARKED)
                wait_for_doc(req, id);
        else
                fuse_reply_err(req, -r);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        (void)ino;
        mount_close_file(mount_of(req), file_of(fi));
        fuse_reply_err(req, 0);
}

void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
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
