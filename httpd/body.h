/* SPDX-License-Identifier: MIT */
/* body.h: the body of a request, read from the client's socket, where it lies behind the head that
 * was taken out, and not a byte further. */
#ifndef HTTPD_BODY_H
#define HTTPD_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "head.h"

/* Reads all of the body that the head announced, at most max bytes; a NUL follows. The caller frees
 * *ret. -EFBIG: larger; -EBADMSG: it ended early, or its chunks are malformed; -ETIMEDOUT: it did
 * not come within half a minute; -ENOMEM; CLIENT_STOPPING. Blocks while the client sends. */
int body_read(struct client *c, const struct head *head, size_t max, char **ret, size_t *ret_len);

/* Reads away a body that nobody wants, if it is short and already there. False: it is not, or not
 * known to be. Any thread; doesn't block. */
bool body_skip(const struct client *c, const struct head *head);

/* Whether body_read() would have nothing to wait for. */
bool body_is_there(const struct client *c, const struct head *head);

#endif
