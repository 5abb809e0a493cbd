/* SPDX-License-Identifier: MIT */
#include "control/detail.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "store/store.h"
#include "torrent/listing.h"
#include "torrent/torrent.h"

/* Open files told of. */
enum { READERS_MAX = 256 };
/* Stretches of one file told of. A file of which every other piece is there has thousands. */
enum { STRETCHES_MAX = 1000 };

/* Where the bytes that are there, or missing, as those at `at` are, end; at most end. */
static uint64_t stretch(const struct store *s, const struct listing *l, uint64_t at, uint64_t end,
                        bool *ret_has)
{
        bool has = store_has(s, (uint32_t)(at / l->piece_length));

        *ret_has = has;
        do {
                at = (at / l->piece_length + 1) * l->piece_length;
        } while (at < end && store_has(s, (uint32_t)(at / l->piece_length)) == has);
        return at < end ? at : end;
}

/* [[first, last], …]: bytes of the file that are there, as a Range header has them. */
static cJSON *have_json(const struct store *s, const struct listing *l, const struct tree_node *n)
{
        cJSON *json = cJSON_CreateArray();
        uint64_t at = n->offset, end = n->offset + n->size;

        for (unsigned told = 0; at < end && told < STRETCHES_MAX;) {
                uint64_t from = at - n->offset;
                cJSON *pair;
                bool has;

                at = stretch(s, l, at, end, &has);
                if (!has)
                        continue;
                pair = cJSON_CreateArray();
                cJSON_AddItemToArray(pair, cJSON_CreateNumber((double)from));
                cJSON_AddItemToArray(pair, cJSON_CreateNumber((double)(at - n->offset - 1)));
                cJSON_AddItemToArray(json, pair);
                told++;
        }
        return json;
}

/* A path of the tree; NULL: no memory. The caller frees it. */
static char *path_of(const struct tree *t, uint32_t node)
{
        size_t len = tree_path(t, node, NULL, 0);
        char *path = malloc(len + 1);

        if (path)
                tree_path(t, node, path, len + 1);
        return path;
}

static cJSON *reader_json(const struct tree *tree, const struct torrent_reader *r)
{
        _cleanup_free_ char *path = path_of(tree, r->node);
        cJSON *json = cJSON_CreateObject();

        cJSON_AddStringToObject(json, "path", path ? path : "");
        cJSON_AddNumberToObject(json, "position", (double)r->position);
        cJSON_AddNumberToObject(json, "window", (double)r->window_bytes);
        cJSON_AddNumberToObject(json, "rate", (double)r->rate);
        cJSON_AddBoolToObject(json, "playing", r->playing);
        cJSON_AddNumberToObject(json, "parkedReads", r->parked);
        return json;
}

static void begin(struct engine *e, struct torrent *torrent, struct text_cursor *d)
{
        struct torrent_reader *readers = calloc(READERS_MAX, sizeof *readers);
        const struct listing *l = d->listing;
        size_t n = readers && l ? torrent_readers(torrent, readers, READERS_MAX) : 0;

        document_torrent(e, torrent, &d->text);
        if (!readers || d->text.failed || d->text.len < 2) {
                free(readers);
                d->text.failed = true;
                return;
        }
        d->text.len -= 2; /* "}" and the newline */
        text_adds(&d->text, ",\"open\":[");
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        text_adds(&d->text, ",");
                text_add_json(&d->text, reader_json(l->tree, &readers[i]));
        }
        text_adds(&d->text, l ? "],\"files\":[" : "],\"files\":null}\n");
        d->next = TREE_ROOT + 1;
        d->whole = !l;
        free(readers);
}

static void add_file(struct torrent *torrent, struct text_cursor *d, const struct tree_node *n)
{
        const struct listing *l = d->listing;
        _cleanup_free_ char *path = path_of(l->tree, d->next);
        struct store *s = torrent_store(torrent);
        cJSON *json = cJSON_CreateObject();

        cJSON_AddNumberToObject(json, "index", n->file);
        cJSON_AddStringToObject(json, "path", path ? path : "");
        cJSON_AddNumberToObject(json, "length", (double)n->size);
        if (s) {
                cJSON_AddNumberToObject(json, "haveBytes",
                                        (double)store_have_in(s, n->offset, n->size));
                cJSON_AddItemToObject(json, "have", have_json(s, l, n));
        } else {
                cJSON_AddNullToObject(json, "haveBytes");
                cJSON_AddNullToObject(json, "have");
        }
        store_unref(s);
        if (d->text.len > 0 && d->text.data[d->text.len - 1] == '}')
                text_adds(&d->text, ",");
        text_add_json(&d->text, json);
}

void document_detail(struct engine *e, struct torrent *torrent, struct text_cursor *c, uint64_t end)
{
        if (!c->begun)
                begin(e, torrent, c);
        c->begun = true;
        while (!c->whole && !c->text.failed && c->text.len < end) {
                const struct tree_node *n = tree_node(c->listing->tree, c->next);

                if (n && n->file != TREE_DIRECTORY)
                        add_file(torrent, c, n);
                c->whole = !n;
                c->next++;
                if (c->whole)
                        text_adds(&c->text, "]}\n");
        }
}
