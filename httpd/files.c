/* SPDX-License-Identifier: MIT */
#include "files.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/media.h"
#include "json.h"
#include "uri.h"

/* Doubles hold integers exactly up to here. */
#define EXACT_MAX 9007199254740992.0

static int get_string(const cJSON *object, const char *name, char **ret)
{
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
        char *copy;

        if (!text)
                return -EBADMSG;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static int get_number(const cJSON *object, const char *name, uint64_t *ret)
{
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= EXACT_MAX))
                return -EBADMSG;
        *ret = (uint64_t)item->valuedouble;
        return 0;
}

static int parse_entry(const cJSON *item, struct file_entry *entry)
{
        int r;

        r = get_string(item, "path", &entry->path);
        if (r == 0)
                r = get_string(item, "name", &entry->name);
        if (r == 0)
                r = get_number(item, "index", &entry->index);
        if (r == 0)
                r = get_number(item, "length", &entry->length);
        if (r == 0 && !uri_path_is_clean(entry->path))
                r = -EBADMSG;
        return r;
}

static int parse_list(const cJSON *json, struct file_list *list)
{
        const cJSON *array = cJSON_GetObjectItemCaseSensitive(json, "files"), *item;
        char hash[INFO_HASH_MAX];
        int r, count;

        r = get_string(json, "infoHash", &list->hash);
        if (r == 0)
                r = get_string(json, "name", &list->name);
        if (r < 0)
                return r;
        if (!cJSON_IsArray(array) || uri_info_hash(list->hash, strlen(list->hash), hash) < 0)
                return -EBADMSG;
        count = cJSON_GetArraySize(array);
        if (count <= 0)
                return 0;
        list->entries = calloc((size_t)count, sizeof *list->entries);
        if (!list->entries)
                return -ENOMEM;
        cJSON_ArrayForEach (item, array) {
                r = parse_entry(item, &list->entries[list->count++]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int files_parse(const char *json, struct file_list *ret)
{
        struct file_list list = {0};
        cJSON *parsed = json_parse(json);
        int r;

        if (!parsed)
                return -EBADMSG;
        r = parse_list(parsed, &list);
        cJSON_Delete(parsed);
        if (r < 0) {
                files_free(&list);
                return r;
        }
        *ret = list;
        return 0;
}

void files_free(struct file_list *list)
{
        for (size_t i = 0; i < list->count; i++) {
                free(list->entries[i].name);
                free(list->entries[i].path);
        }
        free(list->entries);
        free(list->hash);
        free(list->name);
        *list = (struct file_list){0};
}

const struct file_entry *files_largest(const struct file_list *list)
{
        const struct file_entry *largest = NULL;
        struct media_best best = {0};

        for (size_t i = 0; i < list->count; i++)
                if (media_is_better(&best, list->entries[i].name, list->entries[i].length))
                        largest = &list->entries[i];
        return largest;
}
