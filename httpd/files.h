/* SPDX-License-Identifier: MIT */
/* files.h: the list of a torrent's files, as the mount gives it. No I/O. */
#ifndef HTTPD_FILES_H
#define HTTPD_FILES_H

#include <stddef.h>
#include <stdint.h>

struct file_entry {
        char *name; /* without directories */
        char *path; /* below the torrent's directory; safe to open there */
        uint64_t index, length;
};

struct file_list {
        char *hash; /* the torrent's own info-hash, whichever it was asked for by */
        char *name;
        struct file_entry *entries;
        size_t count;
};

/* Reads the JSON of torrents/<hash>/files. -EBADMSG: it is not as agreed, or has a path that leads
 * out. -ENOMEM. The caller frees with files_free(). */
int files_parse(const char *json, struct file_list *ret);
void files_free(struct file_list *list);

/* The largest media file (media.h); NULL: there are no files. */
const struct file_entry *files_largest(const struct file_list *list);

#endif
