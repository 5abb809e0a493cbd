/* SPDX-License-Identifier: MIT */
/* mount_private.h: the inside of the mount, for mount.c, mount_nodes.c and mount_files.c alone:
 * they are all that knows FUSE. */
#ifndef FS_MOUNT_PRIVATE_H
#define FS_MOUNT_PRIVATE_H

#define FUSE_USE_VERSION 312
#include "mount/mount.h"

#include <fuse_lowlevel.h>

#include <pthread.h>
#include <stdatomic.h>

#include "control/control.h"
#include "nodes/nodes.h"

struct open_file;

struct mount {
        /* set once */
        struct engine *engine;
        struct control *control;
        struct nodes nodes;
        struct fuse_session *session;
        _Atomic pid_t helper; /* -1: none; a process of another PID namespace has pid 0 */
        int ended_fd;
        unsigned max_read; /* 0: none */
        void (*sidecar)(int err);
        pthread_t thread;
        bool running;
        atomic_bool stopping;

        int wake_fd; /* something is ready: see mount_later.c */

        /* under later_lock, a leaf */
        pthread_mutex_t later_lock;
        struct later *ready;

        /* the loop's thread only */
        struct later *again;     /* the request at hand waited before */
        struct open_file *files; /* (utlist) */
        uint64_t opened;         /* how many there have been */
        char *buffer;
        size_t buffer_size;
};

static inline struct mount *mount_of(fuse_req_t req)
{
        return fuse_req_userdata(req);
}

/* ---- mount.c; the loop's thread only ---- */

/* Should the parked request be interrupted, its torrent (0: a document) will hear of it. May call
 * that handler at once. */
void mount_set_interrupt(fuse_req_t req, uint32_t number, uint64_t id);
/* Room for the answer to the request at hand; the mount's, until the next call. NULL: no memory. */
void *mount_buffer(struct mount *m, size_t size);

/* ---- mount_later.c; the loop's thread only ---- */

/* A request, to be taken up again. */
enum call_type {
        CALL_LOOKUP,
        CALL_GETATTR,
        CALL_READLINK,
        CALL_OPEN,
        CALL_READDIR,
        CALL_READDIRPLUS,
        CALL_GETXATTR,
        CALL_LISTXATTR,
        CALL_REMOVAL,
};
struct call {
        enum call_type type;
        fuse_ino_t ino; /* the parent's, of a lookup */
        const char *name;
        size_t size;
        off_t off;
        struct fuse_file_info fi;
};

/* The torrent of the node is asleep, and its files are not in memory: has them brought, then takes
 * the request up again. */
void mount_load_first(fuse_req_t req, const struct call *call);
/* Removes the torrent, and answers req when that is done for good. */
void mount_remove(fuse_req_t req, struct torrent *t);
/* m->wake_fd is readable: takes up what is ready. */
void mount_take_up(struct mount *m);
/* After engine_stop: what is left is not answered, the kernel does that. */
void mount_forget_later(struct mount *m);

/* ---- operations; the loop's thread only. Each answers req or parks it, and never waits. ---- */

/* mount_nodes.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi);
void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
               const char *to_name, unsigned flags);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* mount_files.c */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
              struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);
/* Closes and frees a file of the mount. After the loop has ended, any thread. */
void mount_close_file(struct mount *m, struct open_file *f);

#endif
