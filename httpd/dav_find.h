/* SPDX-License-Identifier: MIT */
/* dav_find.h: what a PROPFIND asks for (RFC 4918 §9.1): its body, read within bounds. Pure: no I/O.
 */
#ifndef HTTPD_DAV_FIND_H
#define HTTPD_DAV_FIND_H

#include <stddef.h>

/* The properties that there are, all of DAV: (RFC 4918 §15). */
enum dav_property {
        DAV_RESOURCETYPE,
        DAV_DISPLAYNAME,
        DAV_CREATIONDATE,
        DAV_GETLASTMODIFIED,
        DAV_GETCONTENTLENGTH,
        DAV_GETCONTENTTYPE,
        DAV_GETETAG,
        DAV_SUPPORTEDLOCK,
        DAV_PROPERTIES, /* how many */
};

/* Its name, without namespace. */
const char *dav_property_name(enum dav_property p);

enum dav_find_kind {
        DAV_FIND_ALL,   /* allprop: all that there are, and what else is asked for */
        DAV_FIND_NAMES, /* propname: the names of those */
        DAV_FIND_SOME,  /* prop: what is asked for */
};

/* A body may have so many bytes, and name so many properties that there are none of: each is told
 * again for each file. */
enum { DAV_BODY_MAX = 16 << 10, DAV_UNKNOWN_MAX = 64 };

/* A property that there is none of. */
struct dav_unknown {
        char *namespace; /* "": none */
        char *name;
};

struct dav_find {
        enum dav_find_kind kind;
        unsigned asked; /* 1 << each property that is asked for by name */
        struct dav_unknown unknown[DAV_UNKNOWN_MAX];
        size_t unknown_count;
};

/* Reads a body of len bytes; none is the same as allprop. What is not known in it is passed over
 * (RFC 4918 §17). -EINVAL: no well-formed XML, or no propfind; -E2BIG: over a bound; -ENOMEM. The
 * caller frees it with dav_find_clear(). */
int dav_find_parse(const char *body, size_t len, struct dav_find *ret);
void dav_find_clear(struct dav_find *f);

#endif
