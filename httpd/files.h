/* SPDX-License-Identifier: MIT */
/* files.h: the list of a torrent's files, as the mount gives it, read piece by piece: it may be
 * long, and no more than a file of it is in memory. No I/O. */
#ifndef HTTPD_FILES_H
#define HTTPD_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_entry {
        const char *name; /* without directories */
        const char *path; /* below the torrent's directory; safe to open there */
        uint64_t index, length;
};

/* Takes what is read: once whose files they are, then one after the other. The strings live for the
 * call. What is not 0 ends the reading. */
struct files_taker {
        /* hash: the torrent's own info-hash, whichever it was asked for by. NULL: not wanted. */
        int (*begin)(void *arg, const char *hash, const char *name);
        int (*file)(void *arg, const struct file_entry *file);
        /* Called by who reads, now and then: here, and only here, it may wait for its client. NULL:
         * not wanted. */
        int (*rest)(void *arg);
        void *arg;
};

/* Zeros at the beginning, but for the taker. */
struct files_reader {
        struct files_taker taker;

        /* what is read of the beginning, or of a file, so far; files_clear() frees it */
        char *text;
        size_t len, room;
        int state;
        unsigned depth; /* of brackets within it */
        bool in_string, escaped;
};

/* Reads on in the JSON of torrents/<hash>/files. -EBADMSG: it is not as agreed, or has a path that
 * leads out; -ENOMEM; what the taker returned. It is not to be called again then. */
int files_read(struct files_reader *r, const char *data, size_t len);

/* Nothing follows. -EBADMSG: the list is not whole. */
int files_end(const struct files_reader *r);

void files_clear(struct files_reader *r);

#endif
