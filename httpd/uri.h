/* SPDX-License-Identifier: MIT */
/* uri.h: percent-encoding, paths and what /add/ is asked for (RFC 3986). Pure: no I/O, no clock. */
#ifndef HTTPD_URI_H
#define HTTPD_URI_H

#include <stdbool.h>
#include <stddef.h>

/* Room for an info-hash in hex (v1: 40, v2: 64 digits) and its NUL. */
enum { INFO_HASH_MAX = 65 };

/* Decodes %XX once (RFC 3986 §2.1); '+' stays '+'. -EINVAL: a malformed escape or %00. -ENOMEM. The
 * caller frees *ret. */
int uri_decode(const char *in, size_t len, char **ret);

/* Encodes a path so that it can stand in a URI: all but unreserved characters and '/' (RFC 3986
 * §2.3, §3.3). NULL: no memory. The caller frees it. */
char *uri_encode_path(const char *path);

/* Whether a decoded relative path has only real segments: none empty, none "." or ".." (RFC 3986
 * §3.3), and no backslash trick matters, as only '/' separates here. */
bool uri_path_is_clean(const char *path);

/* Whether the query (raw, may be NULL) has the parameter name with the value value; the last one
 * counts. */
bool uri_query_is(const char *query, const char *name, const char *value);

/* Reads an info-hash of len characters: hex (40 or 64 digits, any case) or base32 (32 characters,
 * BEP 9). Gives lower-case hex. -EINVAL: neither. */
int uri_info_hash(const char *text, size_t len, char ret[static INFO_HASH_MAX]);

/* Whether the text, between blanks, is one line that may be given to the mount's `add`. What it
 * says is the mount's to judge. */
bool uri_is_line(const char *text);

/* Finds what a GET /add/<rest>?<query> asks for; both as they came over the wire, query may be
 * NULL. The magnet may be percent-encoded (then the query is the sidecar's own) or raw (then the
 * query is the rest of the magnet and only a last "keep=1" in it is the sidecar's). A '%' that
 * escapes nothing is one. What the magnet says is the mount's to judge. -EINVAL: NUL, or no line
 * that can be given to the mount. -ENOMEM. The caller frees *ret_link. */
int uri_add_target(const char *rest, const char *query, char **ret_link, bool *ret_keep);

#endif
