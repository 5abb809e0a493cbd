/* SPDX-License-Identifier: MIT */
/* json.h: JSON that others wrote (RFC 8259). Pure: no I/O.
 *
 * cJSON goes down a level of its stack with each bracket, a thousand of them if it is let, and the
 * threads that answer requests have stacks of some 100 KiB. */
#ifndef HTTPD_JSON_H
#define HTTPD_JSON_H

#include <cjson/cJSON.h>

/* Levels of arrays and objects; what is spoken here has four. */
enum { JSON_DEPTH_MAX = 16 };

/* Parses text up to its NUL, behind which only blanks may follow the value. NULL (also for NULL):
 * malformed, deeper than JSON_DEPTH_MAX, or no memory. The caller frees it with cJSON_Delete(). */
cJSON *json_parse(const char *text);

#endif
