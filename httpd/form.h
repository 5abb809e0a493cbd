/* SPDX-License-Identifier: MIT */
/* form.h: the bodies that HTML forms make. Pure: no I/O, no memory of its own but what uri_decode()
 * gives.
 *
 * Not civetweb's parser: version 1.15 reads behind its buffers on some of them. */
#ifndef HTTPD_FORM_H
#define HTTPD_FORM_H

#include <stdbool.h>
#include <stddef.h>

/* RFC 2046 §5.1.1. */
enum { FORM_BOUNDARY_MAX = 70 };
/* Bytes of a part's header fields; a file's name is in them. */
enum { FORM_HEAD_MAX = 8192 };
/* Parts looked at. */
enum { FORM_PARTS_MAX = 64 };

/* A multipart/form-data body (RFC 7578) that is being read. */
struct form {
        const char *at, *end;
        char delimiter[FORM_BOUNDARY_MAX + 5]; /* CR LF "--" boundary */
        size_t delimiter_len;
        unsigned parts;
};

struct form_part {
        char name[64]; /* of the field, cut; empty if there is none */
        bool is_file;  /* it has a file name */
        const char *data;
        size_t len;
};

/* Begins to read body, which must stay; the boundary is in the value of Content-Type. -EBADMSG:
 * there is no boundary, or the body has no such part. */
int form_begin(struct form *f, const char *content_type, const char *body, size_t len);

/* Gives the next part: 1. 0: that was all. -EBADMSG: malformed, or it ends before its end; -E2BIG:
 * too many parts, or too much before a part's data. */
int form_next(struct form *f, struct form_part *ret);

/* Finds a value in a body of application/x-www-form-urlencoded (URL standard, §5.1), decoded; the
 * last one of that name counts. *ret NULL: there is none; the caller frees it. -EINVAL: a malformed
 * escape, or a NUL. -ENOMEM. */
int form_urlencoded(const char *body, const char *name, char **ret);

#endif
