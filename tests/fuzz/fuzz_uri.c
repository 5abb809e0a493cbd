/* SPDX-License-Identifier: MIT */
/* fuzz_uri.c: percent-encoding, paths, queries and info-hashes. The input: lines that are a path, a
 * query and an info-hash; and all of it as what came over the wire. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fuzz.h"
#include "uri.h"

/* What is decoded is no longer, has no NUL of its own, and where there is no escape it is the
 * same. */
static void decode_bytes(const uint8_t *data, size_t size)
{
        char *in = fuzz_bytes(data, size), *out = NULL;
        int r = uri_decode(in, size, &out);
        size_t len;

        fuzz_check(r == 0 || (r == -EINVAL && !out && memchr(in, '%', size)));
        if (r == 0 && !memchr(in, '\0', size)) {
                size_t escapes = 0;

                for (size_t i = 0; i < size; i++)
                        escapes += in[i] == '%';
                len = strlen(out);
                fuzz_check(len == size - 2 * escapes);
                fuzz_check(escapes > 0 || memcmp(in, out, len) == 0);
        }
        free(out);
        free(in);
}

/* Decoding undoes encoding, and what is encoded may stand in a URI (RFC 3986 §2.3, §3.3). */
static void round_trip(const char *path)
{
        char *encoded = uri_encode_path(path), *decoded = NULL;

        fuzz_check(encoded != NULL);
        for (const char *p = encoded; *p; p++)
                fuzz_check((*p > ' ' && *p < 0x7f) && !strchr("?#&+\"\\<>", *p));
        fuzz_check(uri_decode(encoded, strlen(encoded), &decoded) == 0);
        fuzz_check(strcmp(decoded, path) == 0);
        free(encoded);
        free(decoded);
}

/* A path that is clean stays below the directory it is opened in. */
static void clean_path(const char *path)
{
        size_t len = strlen(path);
        char *framed = malloc(len + 3);
        bool dirty;

        if (!framed)
                abort();
        framed[0] = '/';
        memcpy(framed + 1, path, len);
        memcpy(framed + 1 + len, "/", 2);
        dirty = strstr(framed, "//") || strstr(framed, "/./") || strstr(framed, "/../");
        fuzz_check(uri_path_is_clean(path) == !dirty);
        free(framed);
}

static void read_hash(const char *text)
{
        char hash[INFO_HASH_MAX], again[INFO_HASH_MAX];
        size_t len = strlen(text);

        if (uri_info_hash(text, len, hash) < 0)
                return;
        fuzz_check(len == 32 || len == 40 || len == 64);
        fuzz_check(strlen(hash) == (len == 64 ? 64 : 40));
        fuzz_check(strspn(hash, "0123456789abcdef") == strlen(hash));
        fuzz_check(len == 32 || strcasecmp(hash, text) == 0);
        fuzz_check(uri_info_hash(hash, strlen(hash), again) == 0 && strcmp(hash, again) == 0);
}

void fuzz_one(const uint8_t *data, size_t size)
{
        struct fuzz_input in = {(const char *)data, size};
        char *path = fuzz_line(&in), *query = fuzz_header(&in), *hash = fuzz_line(&in);

        decode_bytes(data, size);
        round_trip(path);
        clean_path(path);
        fuzz_check(!uri_query_is(query, "keep", "1") || strstr(query, "keep=1"));
        read_hash(hash);
        free(path);
        free(query);
        free(hash);
}
