/* SPDX-License-Identifier: MIT */
/* multipart.h: the frame of a multipart/byteranges body (RFC 9110 §14.6, RFC 2046 §5.1). All
 * lengths are known before the first byte is sent. Pure: no I/O, no clock. */
#ifndef HTTPD_MULTIPART_H
#define HTTPD_MULTIPART_H

#include <stddef.h>
#include <stdint.h>

#include "range.h"

/* 128 random bits in hex, and a NUL: what a file has in it can't be told to match (§5.1.1). */
enum { MULTIPART_BOUNDARY_MAX = 33 };
/* Room for what stands before a part, a content type included, and its NUL. */
enum { MULTIPART_HEAD_MAX = 320 };

struct multipart {
        const char *boundary;
        const char *type; /* of the file */
        uint64_t size;    /* of the file */
        const struct range *range;
};

/* Makes a boundary of 16 random bytes. */
void multipart_boundary(const uint8_t random[static 16], char ret[static MULTIPART_BOUNDARY_MAX]);

/* Writes what stands before part i; with i as the count of parts: what ends the body. Returns its
 * length. */
size_t multipart_head(const struct multipart *m, unsigned i, char ret[static MULTIPART_HEAD_MAX]);

/* The length of the whole body in bytes. */
uint64_t multipart_length(const struct multipart *m);

#endif
