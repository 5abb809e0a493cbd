/* SPDX-License-Identifier: MIT */
/* buffer.h: bytes that grow as they come. A buffer is its data (NULL at first; the caller frees it)
 * and its room, the bytes that are allocated. Knows nothing else of magnetfs. */
#ifndef FS_BUFFER_H
#define FS_BUFFER_H

#include <stddef.h>

/* Makes room for at least needed bytes; what is there stays. At least doubles, so that growing by
 * little costs little. -ENOMEM: all is as it was. */
int buffer_grow(char **data, size_t *room, size_t needed);

/* Reads fd to its end, behind the *len bytes that are there, and sets a NUL behind the last; *len
 * counts what came also when it fails. -EAGAIN from a descriptor that does not wait: call again
 * later; -EFBIG: more than max bytes; -ENOMEM; -errno of read(). Blocking. */
int buffer_read(int fd, char **data, size_t *room, size_t *len, size_t max);

/* Writes all of it, through short writes and signals. -errno; some of it may have been written. */
int buffer_write(int fd, const void *data, size_t len);

#endif
