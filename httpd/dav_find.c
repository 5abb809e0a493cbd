/* SPDX-License-Identifier: MIT */
#include "dav_find.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <expat.h>

/* Deeper than any property's name is. */
enum { DEPTH_MAX = 32 };
/* Between a namespace and a name: no character of XML, so that neither can have it. */
#define SEPARATOR '\x01'

static const char dav_namespace[] = "DAV:";
/* What nobody may declare (Namespaces in XML §3), so no answer could either. */
static const char xml_namespace[] = "http://www.w3.org/XML/1998/namespace";

static const char *const names[DAV_PROPERTIES] = {
        [DAV_RESOURCETYPE] = "resourcetype",
        [DAV_DISPLAYNAME] = "displayname",
        [DAV_CREATIONDATE] = "creationdate",
        [DAV_GETLASTMODIFIED] = "getlastmodified",
        [DAV_GETCONTENTLENGTH] = "getcontentlength",
        [DAV_GETCONTENTTYPE] = "getcontenttype",
        [DAV_GETETAG] = "getetag",
        [DAV_SUPPORTEDLOCK] = "supportedlock",
};

const char *dav_property_name(enum dav_property p)
{
        return names[p];
}

struct reading {
        XML_Parser parser;
        struct dav_find *find;
        unsigned depth;
        bool has_kind;
        bool in_names; /* within prop or include */
        int error;
};

static void fail(struct reading *rd, int error)
{
        if (rd->error == 0)
                rd->error = error;
        XML_StopParser(rd->parser, XML_FALSE);
}

/* Whether an element is of DAV: and has that name. */
static bool is_dav(const char *element, const char *name)
{
        size_t len = strlen(dav_namespace);

        return strncmp(element, dav_namespace, len) == 0 && element[len] == SEPARATOR &&
               strcmp(element + len + 1, name) == 0;
}

static int add_unknown(struct dav_find *f, const char *element)
{
        const char *separator = strchr(element, SEPARATOR);
        struct dav_unknown *u = &f->unknown[f->unknown_count];

        if (f->unknown_count == DAV_UNKNOWN_MAX)
                return -E2BIG;
        u->namespace = separator ? strndup(element, (size_t)(separator - element)) : strdup("");
        u->name = strdup(separator ? separator + 1 : element);
        f->unknown_count++;
        if (!u->namespace || !u->name)
                return -ENOMEM;
        return strcmp(u->namespace, xml_namespace) == 0 ? -EINVAL : 0;
}

static void read_name(struct reading *rd, const char *element)
{
        int r;

        for (unsigned p = 0; p < DAV_PROPERTIES; p++)
                if (is_dav(element, names[p])) {
                        rd->find->asked |= 1u << p;
                        return;
                }
        r = add_unknown(rd->find, element);
        if (r < 0)
                fail(rd, r);
}

/* What is directly within propfind. */
static void read_kind(struct reading *rd, const char *element)
{
        static const struct {
                const char *name;
                enum dav_find_kind kind;
        } kinds[] = {
                {"allprop", DAV_FIND_ALL},
                {"propname", DAV_FIND_NAMES},
                {"prop", DAV_FIND_SOME},
        };

        rd->in_names = is_dav(element, "prop") || is_dav(element, "include");
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
                if (!is_dav(element, kinds[i].name))
                        continue;
                if (rd->has_kind)
                        fail(rd, -EINVAL); /* RFC 4918 §14.20: one of them */
                rd->has_kind = true;
                rd->find->kind = kinds[i].kind;
        }
}

static void XMLCALL on_start(void *arg, const char *element, const char **attributes)
{
        struct reading *rd = arg;

        (void)attributes;
        if (rd->depth == DEPTH_MAX)
                fail(rd, -E2BIG);
        else if (rd->depth == 0 && !is_dav(element, "propfind"))
                fail(rd, -EINVAL);
        else if (rd->depth == 1)
                read_kind(rd, element);
        else if (rd->depth == 2 && rd->in_names)
                read_name(rd, element);
        rd->depth++;
}

static void XMLCALL on_end(void *arg, const char *element)
{
        struct reading *rd = arg;

        (void)element;
        rd->depth--;
}

/* No document type, so no entities, whose expansion nothing would bound (RFC 4918 §20.6). */
static void XMLCALL on_doctype(void *arg, const char *name, const char *system, const char *public,
                               int internal)
{
        (void)name;
        (void)system;
        (void)public;
        (void)internal;
        fail(arg, -EINVAL);
}

static int parse(struct reading *rd, const char *body, size_t len)
{
        XML_SetUserData(rd->parser, rd);
        XML_SetElementHandler(rd->parser, on_start, on_end);
        XML_SetStartDoctypeDeclHandler(rd->parser, on_doctype);
        if (XML_Parse(rd->parser, body, (int)len, XML_TRUE) == XML_STATUS_OK)
                return rd->has_kind ? 0 : -EINVAL;
        if (rd->error)
                return rd->error;
        return XML_GetErrorCode(rd->parser) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EINVAL;
}

int dav_find_parse(const char *body, size_t len, struct dav_find *ret)
{
        struct reading rd = {.find = ret};
        int r;

        *ret = (struct dav_find){.kind = DAV_FIND_ALL};
        if (len == 0)
                return 0;
        if (len > DAV_BODY_MAX)
                return -E2BIG;
        rd.parser = XML_ParserCreateNS(NULL, SEPARATOR);
        if (!rd.parser)
                return -ENOMEM;
        r = parse(&rd, body, len);
        XML_ParserFree(rd.parser);
        if (r < 0)
                dav_find_clear(ret);
        return r;
}

void dav_find_clear(struct dav_find *f)
{
        for (size_t i = 0; i < f->unknown_count; i++) {
                free(f->unknown[i].namespace);
                free(f->unknown[i].name);
        }
        f->unknown_count = 0;
}
