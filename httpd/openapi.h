/* SPDX-License-Identifier: MIT */
/* openapi.h: what can be asked here, as a document for programs (OpenAPI 3.0.3). What there is, and
 * what each answers because of what it is, comes from the routes; parameters, bodies and schemas
 * from openapi.json, which is built in. */
#ifndef HTTPD_OPENAPI_H
#define HTTPD_OPENAPI_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

struct openapi_route {
        const char *method, *pattern, *summary; /* as in the table of routes.c */
        bool head;                              /* HEAD is answered as GET is */
        bool changes;                           /* refused to pages of other sites */
        bool mount;                             /* fails as the mount fails */
        bool open;                              /* needs no token, where others need one */
};

/* The document. token: whoever asks needs one. A route that openapi.json has nothing of is there
 * with what is common to all. NULL: no memory. The caller frees it with cJSON_Delete(). */
cJSON *openapi_make(const struct openapi_route *routes, size_t count, bool token);

#endif
