/* SPDX-License-Identifier: MIT */
/* intake.h: cuts what is written to an `add` file into magnets (one a line) and .torrent files
 * (bencode). Pure.
 *
 * Blanks and a byte order mark before an item count for nothing. Of what follows a .torrent only
 * what looks like a magnet, an info-hash or another .torrent is an item: files from the web often
 * have bytes behind their end. */
#ifndef FS_INTAKE_H
#define FS_INTAKE_H

#include <stdbool.h>
#include <stddef.h>

struct intake {
        char *data;
        size_t len, room;
        size_t taken; /* bytes of data that were given out */
        /* the scan of a .torrent, resumed with each write */
        size_t scanned;
        unsigned depth;
        bool behind; /* a .torrent was given out; what is not another item is skipped */
        bool broken; /* what begins like a .torrent now is none */
};

enum intake_item { INTAKE_NOTHING, INTAKE_LINE, INTAKE_TORRENT };

/* Adds bytes. -E2BIG when what is not complete yet exceeds max bytes; -ENOMEM. Nothing is added
 * then. */
int intake_add(struct intake *in, const void *data, size_t len, size_t max);
/* The next complete item, in *item and *len, valid until the next intake_add; a line without its
 * newline and surrounding blanks. At the end of the input (final) a last line needs no newline, and
 * what comes later is another input. -EINVAL: what begins like a .torrent is none. */
int intake_next(struct intake *in, bool final, enum intake_item *type, const char **item,
                size_t *len);
/* Bytes that wait for the rest of their item. */
size_t intake_pending(const struct intake *in);
/* Whether what waits is the beginning of a .torrent. */
bool intake_is_torrent(const struct intake *in);
/* Whether data begins like a .torrent: a bencoded dictionary with a key (BEP 3), perhaps behind
 * blanks. */
bool intake_begins_torrent(const char *data, size_t len);
/* Forgets everything. */
void intake_clear(struct intake *in);

#endif
