/* SPDX-License-Identifier: MIT */
/* fuzz_json.c: the JSON that the sidecar reads, on the stack on which it does so. */
#include <errno.h>
#include <string.h>

#include "files.h"
#include "fuzz.h"
#include "uri.h"

struct seen {
        unsigned begun, files;
        uint64_t sum; /* of all that is told */
};

static void add_text(struct seen *s, const char *text)
{
        for (; *text; text++)
                s->sum = s->sum * 31 + (unsigned char)*text;
        s->sum = s->sum * 31;
}

static int check_beginning(void *arg, const char *hash, const char *name)
{
        struct seen *s = arg;
        char checked[INFO_HASH_MAX];

        fuzz_check(uri_info_hash(hash, strlen(hash), checked) == 0);
        fuzz_check(s->begun++ == 0 && s->files == 0);
        add_text(s, hash);
        add_text(s, name);
        return 0;
}

static int check_file(void *arg, const struct file_entry *e)
{
        struct seen *s = arg;

        fuzz_check(s->begun == 1);
        fuzz_check(e->name && uri_path_is_clean(e->path));
        fuzz_check(e->length <= 1ull << 53);
        s->files++;
        add_text(s, e->name);
        add_text(s, e->path);
        s->sum += e->index + e->length;
        return 0;
}

/* Reads it in pieces of that size. */
static int read_all(const uint8_t *data, size_t size, size_t piece, struct seen *ret)
{
        struct files_reader reader = {
                .taker = {.begin = check_beginning, .file = check_file, .arg = ret}};
        int r = 0;

        for (size_t at = 0; r == 0 && at < size; at += piece)
                r = files_read(&reader, (const char *)data + at,
                               size - at < piece ? size - at : piece);
        if (r == 0)
                r = files_end(&reader);
        files_clear(&reader);
        fuzz_check(r == 0 || r == -EBADMSG);
        fuzz_check(r < 0 || ret->begun == 1);
        return r;
}

void fuzz_one(const uint8_t *data, size_t size)
{
        struct seen whole = {0}, cut = {0};
        int r = read_all(data, size, size > 0 ? size : 1, &whole);

        /* However it comes, it says the same. */
        fuzz_check(read_all(data, size, 7, &cut) == r);
        fuzz_check(memcmp(&whole, &cut, sizeof whole) == 0);
}
