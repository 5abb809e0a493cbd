/* SPDX-License-Identifier: MIT */
/* documents.h: the texts of .magnetfs, most of them JSON. Long ones are made piece by piece as they
 * are read, so that opening one is cheap however many torrents or files there are. Any thread. */
#ifndef FS_DOCUMENTS_H
#define FS_DOCUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "nodes/nodes.h"

/* A growing text. */
struct text {
        char *data;
        size_t len, room;
        bool failed; /* no memory: what is there is no use */
};

/* Where a long text goes on. */
struct text_cursor {
        struct text text;
        uint64_t dropped; /* bytes before text that were given, and are not kept */
        uint32_t next;    /* a file's node, how many of a name, or the number of the last torrent */
        struct listing *listing; /* of the torrent whose files it names: a reference */
        bool begun, whole;
};

void text_add(struct text *t, const char *s, size_t len);
void text_adds(struct text *t, const char *s);
/* Takes json over; NULL stands for "no memory". */
struct cJSON;
void text_add_json(struct text *t, struct cJSON *json);

/* Makes the text reach at least to end, or be whole: of all torrents, of one torrent's files (its
 * listing must be in the cursor). */
void document_status(struct engine *e, const char *mountpoint, struct text_cursor *c, uint64_t end);
void document_files(struct engine *e, struct torrent *torrent, struct text_cursor *c, uint64_t end);
/* The paths below data/ of the files that have the name a node of by-name/ stands for, a line each
 * (no name has a newline); likewise, their listing, sorted by name, in the cursor. */
void document_name(struct text_cursor *c, struct node n, uint64_t end);
/* What is in the cache, and what would go first: of all torrents that have something there or are
 * pinned. */
void document_cache(struct engine *e, struct text_cursor *c, uint64_t end);
/* What the status says besides its torrents: as long however many there are. */
void document_session(struct engine *e, const char *mountpoint, struct text *text);
/* One torrent's status, and a newline. */
void document_torrent(struct engine *e, struct torrent *torrent, struct text *text);
/* What became of one line written to add: torrent, or NULL and why. */
void document_added(struct engine *e, struct torrent *torrent, const char *error,
                    struct text *text);
/* What became of one line written to the cache. */
struct cache_answer {
        const char *command;     /* NULL: the line is none */
        struct torrent *torrent; /* NULL: it is about none */
        const char *path;        /* of a file of it; NULL: it is about none */
        bool has_bytes;
        uint64_t bytes;
        const char *error; /* NULL: it was done */
};
void document_cache_answer(struct engine *e, const struct cache_answer *a, struct text *text);

#endif
