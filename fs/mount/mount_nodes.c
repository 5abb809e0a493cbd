/* SPDX-License-Identifier: MIT */
/* mount_nodes.c: the operations on names and inodes: lookup, attributes, mkdir and rmdir, all that
 * a read-only file system refuses, directories and extended attributes. */
#include "common/control_names.h"
#include "mount/mount_private.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/log.h"
#include "mount/xattr.h"
#include "torrent/names.h"

/* Seconds the kernel may go by what it was told. What is inside a torrent never changes but for its
 * blocks. Names of the root and of .magnetfs do: the kernel asks for them again after a moment, or
 * at once where what they led to is gone (ESTALE), so that it need not be told to forget one. A
 * moment is what ls -l takes for a name, of which it asks four things. To tell the kernel
 * (FUSE_NOTIFY_INVAL_ENTRY) waits for the lock of the directory, which somebody holds who waits for
 * an answer of magnetfs; should magnetfs be killed meanwhile, the thread that waits keeps the dead
 * mount from going. */
#define TIMEOUT_ATTR          1.0
#define TIMEOUT_ENTRY         3600.0
#define TIMEOUT_ENTRY_CHANGES 0.05

static double entry_timeout(uint64_t parent)
{
        return node_is_content(node_of(parent)) ? TIMEOUT_ENTRY : TIMEOUT_ENTRY_CHANGES;
}

static int fill_entry(struct mount *m, uint64_t parent, uint64_t ino, struct fuse_entry_param *e)
{
        *e = (struct fuse_entry_param){.ino = ino,
                                       .generation = 1,
                                       .attr_timeout = TIMEOUT_ATTR,
                                       .entry_timeout = entry_timeout(parent)};
        return node_stat(&m->nodes, ino, &e->attr);
}

/* What the helper is told of t's directory. The kernel must not go by that afterwards: names go to
 * other torrents just while they are announced, and nobody who reads that a torrent is ready may
 * find another below its name because the helper has asked. */
static int fill_helper_entry(struct mount *m, const struct torrent *t, struct fuse_entry_param *e)
{
        int r = fill_entry(m, NODE_ROOT, node_ino(NODE_TREE, t->number, TREE_ROOT), e);

        e->entry_timeout = 0;
        return r;
}

/* What the helper looks up in the root, to announce or to tell of a removal: it must find the name
 * of a new torrent free, or inotify would not hear of its mkdir, and that of one that is gone
 * taken.
 */
static int helper_lookup(struct mount *m, const char *name, struct fuse_entry_param *e)
{
        struct torrent *t = registry_by_name(engine_registry(m->engine), name);
        uint32_t number;
        int r = 0;

        if (t) {
                r = t->announcing ? -ENOENT : fill_helper_entry(m, t, e);
                torrent_unref(t);
                return r;
        }
        number = engine_departed(m->engine, name);
        if (number == 0) {
                uint64_t ino;

                r = node_lookup(&m->nodes, NODE_ROOT, name, &ino);
                return r < 0 ? r : fill_entry(m, NODE_ROOT, ino, e);
        }
        *e = (struct fuse_entry_param){.ino = node_ino(NODE_TREE, number, TREE_ROOT),
                                       .generation = 1};
        e->attr = (struct stat){.st_ino = e->ino, .st_mode = S_IFDIR | 0555, .st_nlink = 2};
        return 0;
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);
        struct fuse_entry_param e;
        uint64_t ino;
        int r;

        if (parent == NODE_ROOT && fuse_req_ctx(req)->pid == m->helper) {
                r = helper_lookup(m, name, &e);
        } else {
                /* NFS servers ask for "." and "..", by inode number. */
                if (strcmp(name, ".") == 0) {
                        ino = parent;
                        r = 0;
                } else if (strcmp(name, "..") == 0) {
                        r = node_parent(&m->nodes, parent, &ino);
                } else {
                        r = node_lookup(&m->nodes, parent, name, &ino);
                }
                if (r == 0)
                        r = fill_entry(m, parent, ino, &e);
        }
        if (r == -EAGAIN)
                mount_load_first(req,
                                 &(struct call){.type = CALL_LOOKUP, .ino = parent, .name = name});
        else if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_entry(req, &e);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct stat st;
        int r = node_stat(&mount_of(req)->nodes, ino, &st);

        (void)fi;
        if (r == -EAGAIN)
                mount_load_first(req, &(struct call){.type = CALL_GETATTR, .ino = ino});
        else if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_attr(req, &st, TIMEOUT_ATTR);
}

/* Opening a control file for writing truncates it, which means nothing; all else is read-only. */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
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

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
        char target[NODE_TARGET_MAX];
        int r = node_readlink(&mount_of(req)->nodes, ino, target, sizeof target);

        if (r == -EAGAIN)
                mount_load_first(req, &(struct call){.type = CALL_READLINK, .ino = ino});
        else if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_readlink(req, target);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
        struct mount *m = mount_of(req);
        struct fuse_entry_param e;
        struct torrent *t;
        int r = -EROFS;

        (void)mode;
        if (parent == NODE_ROOT && fuse_req_ctx(req)->pid == m->helper) {
                t = registry_by_name(engine_registry(m->engine), name);
                r = t ? fill_helper_entry(m, t, &e) : -ENOENT;
                torrent_unref(t);
        }
        if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_entry(req, &e);
}

/* A torrent is no empty directory, whoever asks: clean-up scripts rely on that. */
static int rmdir_root(struct mount *m, fuse_req_t req, const char *name)
{
        struct torrent *t;
        int r;

        if (strcmp(name, NAME_CONTROL) == 0)
                return -EROFS;
        if (fuse_req_ctx(req)->pid == m->helper)
                return engine_helper_rmdir(m->engine, name);
        t = registry_by_name(engine_registry(m->engine), name);
        if (!t)
                return -ENOENT;
        r = torrent_has_metadata(t) ? -ENOTEMPTY : -EBUSY;
        torrent_unref(t);
        return r;
}

/* Removes a torrent, data and all, by the hash that names it: no other can be meant. */
static void rmdir_torrents(struct mount *m, fuse_req_t req, const char *hash)
{
        struct torrent *t = registry_by_hash(engine_registry(m->engine), hash);

        if (t)
                mount_remove(req, t);
        else
                fuse_reply_err(req, ENOENT);
        torrent_unref(t);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);

        if (parent == node_ino(NODE_TREE, 0, FIXED_TORRENTS))
                rmdir_torrents(m, req, name);
        else
                fuse_reply_err(req, parent == NODE_ROOT ? -rmdir_root(m, req, name) : EROFS);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        (void)parent;
        (void)name;
        fuse_reply_err(req, EROFS);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
        (void)mode;
        (void)rdev;
        op_unlink(req, parent, name);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi)
{
        (void)mode;
        (void)fi;
        op_unlink(req, parent, name);
}

void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
        (void)link;
        op_unlink(req, parent, name);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
               const char *to_name, unsigned flags)
{
        (void)to;
        (void)to_name;
        (void)flags;
        op_unlink(req, parent, name);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
        (void)ino;
        op_unlink(req, parent, name);
}

/* ---- directories ---- */

struct dir_buffer {
        fuse_req_t req;
        struct mount *mount;
        fuse_ino_t directory;
        char *buffer;
        size_t size, len;
        bool plus;
        bool asleep; /* its torrent lost its content meanwhile */
};

static bool emit(void *arg, const char *name, uint64_t ino, mode_t type, uint64_t next_cookie)
{
        struct dir_buffer *l = arg;
        char *at = l->buffer + l->len;
        size_t room = l->size - l->len, n;
        bool dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
        struct fuse_entry_param e = {.attr = {.st_ino = ino, .st_mode = type}};

        if (l->plus) {
                /* "." and "..", and what goes in between: not looked up (ino 0). */
                int r = dots ? 0 : fill_entry(l->mount, l->directory, ino, &e);

                l->asleep = r == -EAGAIN;
                if (r < 0)
                        return !l->asleep;
                n = fuse_add_direntry_plus(l->req, at, room, name, &e, (off_t)next_cookie);
        } else {
                n = fuse_add_direntry(l->req, at, room, name, &e.attr, (off_t)next_cookie);
        }
        if (n > room)
                return false;
        l->len += n;
        return true;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus,
                 const struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct dir_buffer l = {
                .req = req, .mount = m, .directory = ino, .size = size, .plus = plus};
        int r;

        l.buffer = mount_buffer(m, size);
        r = l.buffer ? node_list(&m->nodes, ino, (uint64_t)off, emit, &l) : -ENOMEM;
        if (r == -EAGAIN || (l.asleep && l.len == 0))
                mount_load_first(req, &(struct call){.type = plus ? CALL_READDIRPLUS : CALL_READDIR,
                                                     .ino = ino,
                                                     .size = size,
                                                     .off = off,
                                                     .fi = *fi});
        else if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_buf(req, l.buffer, l.len);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
        list(req, ino, size, off, false, fi);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
        list(req, ino, size, off, true, fi);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
        struct statvfs v;

        (void)ino;
        engine_statvfs(mount_of(req)->engine, &v);
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

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
        char value[XATTR_VALUE_MAX];
        int r = xattr_get(mount_of(req)->engine, node_of(ino), name, value);

        if (r == -EAGAIN)
                mount_load_first(req, &(struct call){.type = CALL_GETXATTR,
                                                     .ino = ino,
                                                     .name = name,
                                                     .size = size});
        else if (r < 0)
                fuse_reply_err(req, -r);
        else
                reply_xattr(req, value, strlen(value), size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
        char names[XATTR_LIST_MAX];
        struct stat st;
        size_t len = 0;
        int r = node_stat(&mount_of(req)->nodes, ino, &st);

        if (r == -EAGAIN) {
                mount_load_first(req,
                                 &(struct call){.type = CALL_LISTXATTR, .ino = ino, .size = size});
                return;
        }
        /* Of files alone: rsync -X, if it is not root's, can write nothing into a directory of mode
         * 0555 that has attributes. */
        if (r == 0 && S_ISREG(st.st_mode))
                len = xattr_list(node_of(ino), names);
        reply_xattr(req, names, len, size);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags)
{
        (void)value;
        (void)size;
        (void)flags;
        op_unlink(req, ino, name);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
        op_unlink(req, ino, name);
}
