/* SPDX-License-Identifier: MIT */
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "json.h"
#include "uri.h"

/* Doubles hold integers exactly up to here. */
#define EXACT_MAX 9007199254740992.0
/* The beginning, or a file: a path of 32 MiB (the mount takes no more of all paths together) has a
 * name as long, and each byte may be escaped. */
#define ITEM_MAX (256u << 20)

enum {
        IN_BEGINNING = 0, /* up to the bracket of "files" */
        AT_FIRST,         /* at a file, or the end of the array */
        AT_FILE,          /* behind a comma */
        IN_FILE,
        BEHIND_FILE, /* at a comma, or the end of the array */
        AT_END,      /* of all */
        BEHIND_END,
};

static int get_number(const cJSON *object, const char *name, uint64_t *ret)
{
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= EXACT_MAX))
                return -EBADMSG;
        *ret = (uint64_t)item->valuedouble;
        return 0;
}

static const char *get_string(const cJSON *object, const char *name)
{
        return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static int take_file(struct files_reader *r, const cJSON *json)
{
        struct file_entry file = {.name = get_string(json, "name"),
                                  .path = get_string(json, "path")};

        if (!file.name || !file.path || !uri_path_is_clean(file.path) ||
            get_number(json, "index", &file.index) < 0 ||
            get_number(json, "length", &file.length) < 0)
                return -EBADMSG;
        return r->taker.file(r->taker.arg, &file);
}

static int take_beginning(struct files_reader *r, const cJSON *json)
{
        const cJSON *files = cJSON_GetObjectItemCaseSensitive(json, "files");
        const char *hash = get_string(json, "infoHash"), *name = get_string(json, "name");
        char checked[INFO_HASH_MAX];

        if (!hash || !name || !cJSON_IsArray(files) || cJSON_GetArraySize(files) > 0 ||
            uri_info_hash(hash, strlen(hash), checked) < 0)
                return -EBADMSG;
        return r->taker.begin ? r->taker.begin(r->taker.arg, hash, name) : 0;
}

/* Adds to what is read of an item. */
static int keep(struct files_reader *r, const char *data, size_t len)
{
        if (r->len + len > ITEM_MAX)
                return -EBADMSG;
        if (buffer_grow(&r->text, &r->room, r->len + len + 1) < 0)
                return -ENOMEM;
        memcpy(r->text + r->len, data, len);
        r->len += len;
        r->text[r->len] = '\0';
        return 0;
}

/* An item is whole, up to what end adds to make it JSON. */
static int take_item(struct files_reader *r, const char *end,
                     int (*take)(struct files_reader *r, const cJSON *json))
{
        int error = keep(r, end, strlen(end));
        cJSON *json;

        if (error < 0)
                return error;
        json = strlen(r->text) == r->len ? json_parse(r->text) : NULL;
        error = json ? take(r, json) : -EBADMSG;
        cJSON_Delete(json);
        r->len = 0;
        return error;
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Takes note of a byte of an item. */
static void follow(struct files_reader *r, char c)
{
        if (r->escaped)
                r->escaped = false;
        else if (r->in_string && c == '\\')
                r->escaped = true;
        else if (c == '"')
                r->in_string = !r->in_string;
        else if (r->in_string)
                return;
        else if (c == '{' || c == '[')
                r->depth++;
        else if ((c == '}' || c == ']') && r->depth > 0)
                r->depth--;
}

/* Reads up to the end of the item, or of data: how many bytes. The list of files is the last member
 * of the whole, and the only one that is no plain value. */
static size_t scan_item(struct files_reader *r, const char *data, size_t len, bool *ret_ends)
{
        size_t n = 0;

        *ret_ends = false;
        while (n < len && !*ret_ends) {
                follow(r, data[n++]);
                if (!r->in_string)
                        *ret_ends = r->state == IN_BEGINNING ? r->depth == 2 : r->depth == 0;
        }
        return n;
}

/* A byte between two items. The next state or -EBADMSG. */
static int step(int state, char c)
{
        if (is_blank(c))
                return state;
        if (c == '{' && (state == AT_FIRST || state == AT_FILE))
                return IN_FILE;
        if (c == ']' && (state == AT_FIRST || state == BEHIND_FILE))
                return AT_END;
        if (c == ',' && state == BEHIND_FILE)
                return AT_FILE;
        return c == '}' && state == AT_END ? BEHIND_END : -EBADMSG;
}

static int read_item(struct files_reader *r, const char *data, size_t len, size_t *ret_used)
{
        bool is_beginning = r->state == IN_BEGINNING, ends;
        int error;

        *ret_used = scan_item(r, data, len, &ends);
        error = keep(r, data, *ret_used);
        if (error < 0 || !ends)
                return error;
        r->depth = 0;
        r->state = is_beginning ? AT_FIRST : BEHIND_FILE;
        return is_beginning ? take_item(r, "]}", take_beginning) : take_item(r, "", take_file);
}

int files_read(struct files_reader *r, const char *data, size_t len)
{
        size_t at = 0;

        while (at < len) {
                size_t used = 0;
                int error = 0;

                if (r->state != IN_BEGINNING && r->state != IN_FILE) {
                        int state = step(r->state, data[at]);

                        if (state < 0)
                                return state;
                        r->state = state;
                        used = state != IN_FILE; /* the item has its first byte, too */
                }
                if (used == 0)
                        error = read_item(r, data + at, len - at, &used);
                if (error != 0)
                        return error;
                at += used;
        }
        return 0;
}

int files_end(const struct files_reader *r)
{
        return r->state == BEHIND_END ? 0 : -EBADMSG;
}

void files_clear(struct files_reader *r)
{
        free(r->text);
        r->text = NULL;
        r->len = r->room = 0;
}
