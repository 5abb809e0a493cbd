/* SPDX-License-Identifier: MIT */
/* ctl_json.h: members of the JSON that magnetfs gives, none of which is taken on trust. Pure. */
#ifndef FS_CTL_JSON_H
#define FS_CTL_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"

/* cJSON_Delete() at the end of the scope; it may be NULL. */
#define _cleanup_json_ _cleanup_(ctl_json_freep)

static inline void ctl_json_freep(cJSON **p)
{
        cJSON_Delete(*p);
}

/* Hex digits of an info-hash: v1 (BEP 3), v2 (BEP 52). */
enum { CTL_HASH_V1 = 40 };
enum { CTL_HASH_MAX = 64 };

bool ctl_is_hex(const char *s);
/* Whether s is a whole info-hash, in hex. */
bool ctl_is_hash(const char *s);

/* Each of an object, which may be NULL. */

/* A string member; NULL: there is none. */
const char *ctl_json_text(const cJSON *object, const char *key);
/* A member that is an info-hash, which becomes part of a path; NULL: there is none. */
const char *ctl_json_hash(const cJSON *object, const char *key);
/* A member that is a whole number; 0: there is none, or less. Huge ones are UINT64_MAX. */
uint64_t ctl_json_number(const cJSON *object, const char *key);

#endif
