/* SPDX-License-Identifier: MIT */
/* dav_text.h: what WebDAV answers, as text: the XML of a multistatus (RFC 4918 §13), and a page of
 * a directory for browsers. Pure: no I/O. */
#ifndef HTTPD_DAV_TEXT_H
#define HTTPD_DAV_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "dav_find.h"

/* A growing text; all zero: none. The caller frees data. */
struct dav_text {
        char *data;
        size_t len, room;
        bool failed; /* no memory: what is there is no use */
};

/* A directory or a file. */
struct dav_resource {
        const char *href; /* percent-encoded, ends with '/' if it is a collection */
        const char *name;
        const char *type; /* what a GET says */
        const char *etag; /* with its quotes; NULL: none */
        uint64_t length;  /* bytes, of a file */
        time_t modified;
        bool collection;
};

/* Adds text as it is, or with what XML and HTML would take for markup escaped. */
void dav_text_add(struct dav_text *t, const char *text);
void dav_text_add_escaped(struct dav_text *t, const char *text);

#define DAV_MULTISTATUS_TYPE "application/xml; charset=utf-8"
#define DAV_MULTISTATUS_BEGIN                                                                      \
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n"
#define DAV_MULTISTATUS_END "</D:multistatus>\n"

/* Adds the <response> of one resource. */
void dav_text_add_response(struct dav_text *t, const struct dav_find *f,
                           const struct dav_resource *r);

#define DAV_PAGE_TYPE "text/html; charset=utf-8"
#define DAV_PAGE_END  "</table>\n</html>\n"

/* Adds the beginning of the page of a directory, and one line of it, whose link ends with suffix.
 */
void dav_text_begin_page(struct dav_text *t, const char *title);
void dav_text_add_line(struct dav_text *t, const struct dav_resource *r, const char *suffix);

#endif
