/* SPDX-License-Identifier: MIT */
/* catalog_folder.h: a temporary state folder with a catalog, torrents to fill it with, and what is
 * logged meanwhile. */
#ifndef CATALOG_FOLDER_H
#define CATALOG_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/catalog.h"

#define NAME "catalog.db"

struct folder {
        char path[64];
        int fd;
        struct catalog *catalog;
        struct catalog_found found;
        int stderr_fd, log_fd;
        struct text {
                char hex[2][BT_HEX_MAX], name[64], claim[64];
        } text; /* of the row that was made last */
};

/* For cmocka: *state is a struct folder, without a catalog. */
int folder_setup(void **state);
int folder_teardown(void **state);

/* Opens the catalog, which has to succeed; closes it. */
struct catalog *folder_open(struct folder *f);
void folder_close(struct folder *f, bool clean);
/* What catalog_open gives when it is not to succeed. */
int folder_refuses(struct folder *f);
/* How often text was logged since the setup or the last call; "": never. */
unsigned folder_logged(struct folder *f, const char *text);

/* A torrent in which every field is another for each number, until the next call. */
const struct catalog_row *folder_row(struct folder *f, uint32_t number);
/* Puts rows with sources and haves, in a transaction. */
void folder_fill(struct folder *f, uint32_t first, uint32_t last);
/* How long a torrent's source is; what catalog_get_source gives. */
int folder_source_bytes(struct catalog *c, uint32_t number, size_t *ret_len);
/* How many rows there are; each is as folder_row has it. */
unsigned folder_rows(struct folder *f);

/* All bytes of a file of the folder; the caller frees them. NULL: it is not there. */
char *folder_read(struct folder *f, const char *name, size_t *ret_len);
void folder_write(struct folder *f, const char *name, const void *data, size_t len);
/* The name of the first file that begins so; false: there is none. */
bool folder_find(struct folder *f, const char *begin, char out[256]);

#endif
