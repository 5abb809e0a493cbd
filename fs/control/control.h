/* SPDX-License-Identifier: MIT */
/* control.h: the files of .magnetfs as documents: open, read, write, wait. Knows no FUSE: parked
 * requests are opaque and answered through reply_ops. Any thread; nothing waits. */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/engine.h"
#include "nodes/nodes.h"

struct control;
struct doc;

int control_new(struct engine *e, const char *mountpoint, const struct reply_ops *reply,
                struct control **ret);
void control_free(struct control *c);

/* Whether the node is a document, and may be written. */
bool doc_is(struct node n);
bool doc_is_writable(struct node n);
/* mute: opened for writing only, so that answers would pile up unread. -ESTALE: its torrent is
 * gone. -EAGAIN: of a name, as node_lookup. */
int doc_open(struct control *c, struct node n, bool mute, struct doc **ret);
void doc_close(struct doc *d);

/* Reads size bytes at off (events, add, the cache once it was written to: what comes next, whatever
 * off is). READ_NOW: *data is
 * malloc'ed, *len bytes, 0 at the end. READ_PARKED: request is answered later; doc_arm(*id) must
 * follow. With nonblock -EAGAIN instead. -EBUSY: another read of the same open file is parked.
 * files: -ETIMEDOUT, -EBADMSG, -ENOENT as torrent_ready. */
int doc_read(struct doc *d, uint64_t off, size_t size, bool nonblock, void *request, void **data,
             size_t *len, uint64_t *id);
/* All of it or -errno: -EINVAL malformed (nothing of this write is added; a read then says why),
 * -ENOENT (recall, cache: of what is not here), -E2BIG, -EROFS. After a .torrent in several writes
 * was refused, all further writes of this open file are. READ_PARKED: it takes its time; request,
 * of the thread tid, is answered later; doc_arm(*id) must follow. The kernel has one write of an
 * inode at a time, so no more than a few wait. */
int doc_write(struct doc *d, const void *data, size_t len, void *request, pid_t tid, uint64_t *id);
/* A last line without its newline is taken. As doc_write. */
int doc_flush(struct doc *d, void *request, pid_t tid, uint64_t *id);
/* As handle_poll. */
unsigned doc_poll(struct doc *d, void *poll_handle);
void doc_arm(struct control *c, uint64_t id);
void doc_interrupt(struct control *c, uint64_t id);

/* What happened, for those who wait. */
void control_changed(struct control *c, struct torrent *t);
void control_event(struct control *c, const char *json);
/* From here on reads end in ENODEV, parked ones too. */
void control_release(struct control *c);
/* The mount's descriptor goes: no write or flush that is under way is answered from here on. */
void control_end(struct control *c);

#endif
