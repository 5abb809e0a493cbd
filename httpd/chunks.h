/* SPDX-License-Identifier: MIT */
/* chunks.h: a body in chunks (RFC 9112 §7.1), read piece by piece. Pure: no I/O, no memory. */
#ifndef HTTPD_CHUNKS_H
#define HTTPD_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

/* Zeros at the beginning. */
struct chunks {
        int state;
        unsigned digits;    /* of a chunk's size */
        uint64_t left;      /* of a chunk's data */
        size_t extra_bytes; /* of extensions and trailers so far; §7.1.1 wants a bound */
};

/* Reads on in the next bytes of the body. *ret_used: how many of them belong to it and are done
 * with; *ret_data: of these, how many at the beginning are data (all or none). 1: the body has
 * ended, 0: go on with the bytes behind; -EBADMSG: malformed, or more than 16 KiB of extensions and
 * trailers. */
int chunks_read(struct chunks *c, const char *in, size_t len, size_t *ret_used, size_t *ret_data);

#endif
