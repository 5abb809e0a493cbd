/* SPDX-License-Identifier: MIT */
/* handle.h: one open file of a torrent: reading, polling, flushing. Knows no FUSE. Any thread;
 * nothing waits for pieces. */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H

#include "torrent/torrent.h"

struct handle;

/* Opens the file at node of the content's tree. inode: its number in the mount; tid: the thread
 * that opens it, 0: unknown. The handle holds a reference to t. Reads /proc. -ENOMEM; -ENOENT: the
 * torrent has no content, or no such file. */
int handle_open(struct torrent *t, uint32_t node, uint64_t inode, pid_t tid, struct handle **ret);
void handle_close(struct handle *h);
/* Every piece of the file was there when it was opened. */
bool handle_is_complete(const struct handle *h);
struct torrent *handle_torrent(struct handle *h);

enum {
        READ_NONBLOCK = 1 << 0, /* it takes what there is, or -EAGAIN; has no time-out */
        READ_WHOLE = 1 << 1,    /* it fills the page cache: all of it or an error */
};

/* Reads len bytes at off of the file; less only at its end. READ_NOW: *len_ret bytes (0: end of
 * file) can be taken with handle_fetch at once. READ_PARKED: request will be answered; *id_ret
 * names it for parked_arm, which must follow, and parked_interrupt. After -EAGAIN handle_poll
 * tells when to come back; the first one of a handle is parked for a moment where that is not sure
 * of its room. -EIO: timed out a moment ago; -ENOSPC: the cache has no room for it;
 * -ENODEV: stopping. tid: the thread that asks, for FLUSH; 0: unknown. flags: READ_…. */
int handle_read(struct handle *h, uint64_t off, size_t len, unsigned flags, void *request,
                pid_t tid, size_t *len_ret, uint64_t *id_ret);
/* Copies bytes that handle_read said are there. Blocking on the disk. -EAGAIN: a piece of them has
 * gone since, and the read is to be asked for again with handle_read; else -errno. */
int handle_fetch(struct handle *h, uint64_t off, void *data, size_t len);
/* Reports POLLIN, POLLERR; when neither is true takes poll_handle (may be NULL) and wakes it later,
 * else drops it. */
unsigned handle_poll(struct handle *h, void *poll_handle);
/* FLUSH by thread tid: releases with EINTR the handle's parked reads whose thread is tid or is
 * gone. Reads /proc. */
void handle_flush(struct handle *h, pid_t tid);

#endif
