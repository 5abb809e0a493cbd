/* SPDX-License-Identifier: MIT */
#include "dav_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/buffer.h"
#include "common/utf8.h"

static void add(struct dav_text *t, const char *text, size_t len)
{
        if (t->failed || buffer_grow(&t->data, &t->room, t->len + len) < 0) {
                t->failed = true;
                return;
        }
        memcpy(t->data + t->len, text, len);
        t->len += len;
}

void dav_text_add(struct dav_text *t, const char *text)
{
        add(t, text, strlen(text));
}

/* What stands for a character that can't stand for itself; NULL: it can. XML has no way to write
 * some at all (XML 1.0 §2.2, Char): those, and bytes that are no character, become U+FFFD. */
static const char *escape(uint32_t c, size_t len)
{
        switch (c) {
        case '&':
                return "&amp;";
        case '<':
                return "&lt;";
        case '>':
                return "&gt;";
        case '"':
                return "&quot;";
        case '\'':
                return "&#39;";
        default:
                return len == 0 || c < ' ' || c == 0xfffe || c == 0xffff ? "\xef\xbf\xbd" : NULL;
        }
}

void dav_text_add_escaped(struct dav_text *t, const char *text)
{
        size_t left = strlen(text), len;

        for (; left > 0; text += len, left -= len) {
                const char *instead;
                uint32_t c = 0;

                len = utf8_char(text, left, &c);
                instead = escape(c, len);
                if (len == 0)
                        len = 1;
                if (instead)
                        dav_text_add(t, instead);
                else
                        add(t, text, len);
        }
}

static void add_time(struct dav_text *t, unsigned p, time_t at)
{
        char text[64] = "";
        struct tm tm;

        if (gmtime_r(&at, &tm) && p == DAV_CREATIONDATE) /* RFC 3339 */
                strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
        else if (gmtime_r(&at, &tm)) /* RFC 9110 §5.6.7 */
                strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        dav_text_add(t, text);
}

static void add_number(struct dav_text *t, uint64_t n)
{
        char text[24];

        snprintf(text, sizeof text, "%" PRIu64, n);
        dav_text_add(t, text);
}

static bool has(const struct dav_resource *r, unsigned p)
{
        switch (p) {
        case DAV_GETCONTENTLENGTH:
                return !r->collection;
        case DAV_GETETAG:
                return r->etag;
        default:
                return true;
        }
}

static void add_value(struct dav_text *t, const struct dav_resource *r, unsigned p)
{
        switch (p) {
        case DAV_RESOURCETYPE:
                dav_text_add(t, r->collection ? "<D:collection/>" : "");
                break;
        case DAV_DISPLAYNAME:
                dav_text_add_escaped(t, r->name);
                break;
        case DAV_CREATIONDATE:
        case DAV_GETLASTMODIFIED:
                add_time(t, p, r->modified);
                break;
        case DAV_GETCONTENTLENGTH:
                add_number(t, r->length);
                break;
        case DAV_GETCONTENTTYPE:
                dav_text_add_escaped(t, r->type);
                break;
        case DAV_GETETAG:
                dav_text_add_escaped(t, r->etag);
                break;
        default: /* nothing can be locked: an empty list (RFC 4918 §15.10) */
                break;
        }
}

static void begin_propstat(struct dav_text *t)
{
        dav_text_add(t, "<D:propstat><D:prop>");
}

static void end_propstat(struct dav_text *t, const char *status)
{
        dav_text_add(t, "</D:prop><D:status>HTTP/1.1 ");
        dav_text_add(t, status);
        dav_text_add(t, "</D:status></D:propstat>");
}

static void add_property(struct dav_text *t, unsigned p, const struct dav_resource *value)
{
        const char *name = dav_property_name(p);

        dav_text_add(t, "<D:");
        dav_text_add(t, name);
        if (value) {
                dav_text_add(t, ">");
                add_value(t, value, p);
                dav_text_add(t, "</D:");
                dav_text_add(t, name);
                dav_text_add(t, ">");
        } else {
                dav_text_add(t, "/>");
        }
}

static void add_unknown(struct dav_text *t, const struct dav_unknown *u)
{
        dav_text_add(t, "<");
        dav_text_add(t, u->name);
        dav_text_add(t, " xmlns=\"");
        dav_text_add_escaped(t, u->namespace);
        dav_text_add(t, "\"/>");
}

/* What was asked for and is not there. */
static void add_missing(struct dav_text *t, const struct dav_find *f, const struct dav_resource *r)
{
        bool begun = false;

        for (unsigned p = 0; p < DAV_PROPERTIES; p++) {
                if (!(f->asked & 1u << p) || has(r, p))
                        continue;
                if (!begun)
                        begin_propstat(t);
                begun = true;
                add_property(t, p, NULL);
        }
        for (size_t i = 0; i < f->unknown_count; i++) {
                if (!begun)
                        begin_propstat(t);
                begun = true;
                add_unknown(t, &f->unknown[i]);
        }
        if (begun)
                end_propstat(t, "404 Not Found");
}

/* A response has at least one propstat (RFC 4918 §14.24), so that of what there is may be empty. */
void dav_text_add_response(struct dav_text *t, const struct dav_find *f,
                           const struct dav_resource *r)
{
        dav_text_add(t, "<D:response><D:href>");
        dav_text_add_escaped(t, r->href);
        dav_text_add(t, "</D:href>");
        begin_propstat(t);
        for (unsigned p = 0; p < DAV_PROPERTIES; p++)
                if (has(r, p) && (f->kind != DAV_FIND_SOME || f->asked & 1u << p))
                        add_property(t, p, f->kind == DAV_FIND_NAMES ? NULL : r);
        end_propstat(t, "200 OK");
        if (f->kind != DAV_FIND_NAMES)
                add_missing(t, f, r);
        dav_text_add(t, "</D:response>\n");
}

void dav_text_begin_page(struct dav_text *t, const char *title)
{
        dav_text_add(t, "<!DOCTYPE html>\n<html>\n<meta charset=\"utf-8\">\n<title>");
        dav_text_add_escaped(t, title);
        dav_text_add(t, "</title>\n<h1>");
        dav_text_add_escaped(t, title);
        dav_text_add(t, "</h1>\n<table>\n");
}

void dav_text_add_line(struct dav_text *t, const struct dav_resource *r, const char *suffix)
{
        dav_text_add(t, "<tr><td><a href=\"");
        dav_text_add_escaped(t, r->href);
        dav_text_add_escaped(t, suffix);
        dav_text_add(t, "\">");
        dav_text_add_escaped(t, r->name);
        dav_text_add(t, r->collection ? "/</a><td>" : "</a><td>");
        if (!r->collection)
                add_number(t, r->length);
        dav_text_add(t, "\n");
}
