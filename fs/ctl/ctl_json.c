/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_json.h"

#include <string.h>

bool ctl_is_hex(const char *s)
{
        return *s && s[strspn(s, "0123456789abcdefABCDEF")] == 0;
}

bool ctl_is_hash(const char *s)
{
        size_t n = strlen(s);

        return (n == CTL_HASH_V1 || n == CTL_HASH_MAX) && ctl_is_hex(s);
}

const char *ctl_json_text(const cJSON *object, const char *key)
{
        return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

const char *ctl_json_hash(const cJSON *object, const char *key)
{
        const char *hash = ctl_json_text(object, key);

        return hash && ctl_is_hash(hash) ? hash : NULL;
}

uint64_t ctl_json_number(const cJSON *object, const char *key)
{
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

        if (!cJSON_IsNumber(item) || !(item->valuedouble > 0))
                return 0;
        return item->valuedouble < 0x1p63 ? (uint64_t)item->valuedouble : UINT64_MAX;
}
