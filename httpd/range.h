/* SPDX-License-Identifier: MIT */
/* range.h: what a Range header asks of a file (RFC 9110 §14). Pure: no I/O, no clock, no memory. */
#ifndef HTTPD_RANGE_H
#define HTTPD_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum range_kind {
        RANGE_WHOLE,         /* 200: no range, or one that is to be ignored */
        RANGE_PART,          /* 206: first and length say which bytes */
        RANGE_UNSATISFIABLE, /* 416 with Content-Range: bytes * / size */
};

struct range {
        enum range_kind kind;
        uint64_t first;  /* offset of the first byte; 0 unless RANGE_PART */
        uint64_t length; /* bytes to send: the size for RANGE_WHOLE, 0 for RANGE_UNSATISFIABLE */
};

/* Reads the value of a Range header (NULL: none) for a file of size bytes.
 * Unknown units and malformed sets are ignored (RFC 9110 §14.2), as are sets of more than one
 * range, which a server may (§14.2). Positions behind the end are cut (§14.1.2), numbers of any
 * length are read without overflow. No range of an empty file is satisfiable. Never fails. */
struct range range_parse(const char *header, uint64_t size);

/* Whether a Range header may be honoured in view of the value of If-Range (NULL: none): the strong
 * entity tag must be the very same, a date must be exactly that of Last-Modified (RFC 9110
 * §13.1.5); a weak tag never matches. */
bool range_if_range(const char *if_range, const char *etag, const char *last_modified);

#endif
