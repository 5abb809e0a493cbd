/* SPDX-License-Identifier: MIT */
/* file_body.h: the bytes of one file of the mount on their way to one client. By one thread. */
#ifndef HTTPD_FILE_BODY_H
#define HTTPD_FILE_BODY_H

#include <stdint.h>

#include "request.h"

struct file_body;

/* Opens the file at path of the torrent hash. Doesn't wait for data. Errors as
 * mountpoint_file_open(). */
int file_body_open(struct request *rq, const char *hash, const char *path, struct file_body **ret);
void file_body_close(struct file_body *b);

static inline void file_body_closep(struct file_body **b)
{
        file_body_close(*b);
}

/* Asks for length bytes from first on, and waits for a moment for what the mount says: 0: there are
 * bytes, or it is waiting for them; else why they can't be had, as mountpoint_file_try(), or as
 * client_wait(). */
int file_body_look(struct file_body *b, uint64_t first, uint64_t length);

/* Sends length bytes from first on, as they come. Blocks while the swarm has none and the client
 * stays, and while the client takes none, as client_send(); holds no memory for bytes while it
 * waits for the swarm. -ENODATA: the file ended early. Other errors as of file_body_look(). */
int file_body_send(struct file_body *b, uint64_t first, uint64_t length);

#endif
