/* SPDX-License-Identifier: MIT */
/* disposition.h: the name a file is saved under (RFC 6266). Pure: no I/O. */
#ifndef HTTPD_DISPOSITION_H
#define HTTPD_DISPOSITION_H

/* The value of a Content-Disposition header for a file of that name (UTF-8, without directories):
 * type is "inline" or "attachment". The name stands as a quoted string where all read that alike,
 * else in the form of RFC 8187 §3.2 beside a fallback (RFC 6266 §4.3, appendix D). NULL: no memory.
 * The caller frees it. */
char *disposition(const char *type, const char *name);

#endif
