/* SPDX-License-Identifier: MIT */
/* fuzz_json.c: the JSON that the sidecar reads, on the stack on which it does so. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "fuzz.h"
#include "uri.h"

static void check_list(const struct file_list *list)
{
        char hash[INFO_HASH_MAX];
        const struct file_entry *largest = files_largest(list);

        fuzz_check(uri_info_hash(list->hash, strlen(list->hash), hash) == 0);
        fuzz_check((list->count > 0) == (largest != NULL));
        for (size_t i = 0; i < list->count; i++) {
                const struct file_entry *e = &list->entries[i];

                fuzz_check(e->name && uri_path_is_clean(e->path));
                fuzz_check(e->length <= 1ull << 53);
        }
}

void fuzz_one(const uint8_t *data, size_t size)
{
        struct file_list list = {0};
        char *text = strndup((const char *)data, size);
        int r;

        if (!text)
                abort();
        r = files_parse(text, &list);
        fuzz_check(r == 0 || r == -EBADMSG);
        if (r == 0)
                check_list(&list);
        else
                fuzz_check(!list.entries && !list.hash && !list.name);
        files_free(&list);
        free(text);
}
