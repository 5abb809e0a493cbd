/* SPDX-License-Identifier: MIT */
/* range.h: what a Range header asks of a file (RFC 9110 §14). Pure: no I/O, no clock. */
#ifndef HTTPD_RANGE_H
#define HTTPD_RANGE_H

#include <stdint.h>

/* So many parts has an answer at most. A player asks for one, a program that opens an archive for a
 * few; many are an attack (§17.15). */
enum { RANGE_PARTS_MAX = 16 };

enum range_kind {
        RANGE_WHOLE,         /* 200: no range, or one that is to be ignored */
        RANGE_PARTS,         /* 206: one part, or multipart/byteranges with several */
        RANGE_UNSATISFIABLE, /* 416 with Content-Range: bytes * / size */
};

struct range_part {
        uint64_t first;  /* offset of the first byte */
        uint64_t length; /* in bytes, at least one */
};

struct range {
        enum range_kind kind;
        unsigned count; /* of parts; 0 unless RANGE_PARTS */
        /* Disjoint, and none begins where another ends. */
        struct range_part parts[RANGE_PARTS_MAX];
};

/* Reads the value of a Range header (NULL: none) for a file of size bytes.
 * Unknown units and malformed sets are ignored (§14.2). Positions behind the end are cut, ranges
 * behind it are left out (§14.1.2), and numbers of any length are read without overflow. Ranges
 * that overlap or touch become one, in the place of the first of them (§15.3.7.2). What is still
 * more than RANGE_PARTS_MAX is refused as unsatisfiable (§15.5.17). No range of an empty file is
 * satisfiable. The work is n log n in the length of the header. -ENOMEM. */
int range_parse(const char *header, uint64_t size, struct range *ret);

#endif
