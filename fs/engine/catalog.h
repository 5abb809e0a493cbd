/* SPDX-License-Identifier: MIT */
/* catalog.h: what is remembered of the torrents from one start to the next: an SQLite file in the
 * state folder. Knows no torrent and no session: rows and bytes go in and come out. Any thread.
 * Every call blocks on the disk; those that write wait for each other besides, and for the disk to
 * have what is committed. Those that read never wait for those that write. */
#ifndef FS_CATALOG_H
#define FS_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bt.h"

struct catalog;

/* The version of the schema that is written. An older one is brought up to it, a newer one is left
 * alone. */
enum { CATALOG_VERSION = 3 };

/* A torrent that is remembered. As an argument the strings are borrowed; what catalog_each gives
 * lives until its function returns. */
struct catalog_row {
        uint32_t number;
        char hex[BT_HEX_MAX];      /* the info-hash it was added by */
        char alias[2][BT_HEX_MAX]; /* its hashes: v1, v2; "" */
        const char *name;          /* its directory */
        const char *claim;         /* what it would be called if it were alone */
        unsigned index;            /* which of the names made of that it has */
        bool kept;
        int64_t added_at, used_at; /* seconds since the epoch */

        /* What its metadata says; only with metadata. */
        bool metadata;
        uint64_t length; /* of the files that users see */
        uint64_t have_bytes;
        uint32_t piece_length, pieces, files, directories;

        const char *to_fill; /* which files are to be fetched though nobody reads them, as text */
        const char *pins;    /* what of it is never evicted to make room, as text */
};

/* How the last run left it. */
struct catalog_found {
        bool clean;   /* it ended as it should: what the rows say is on the disk, is */
        bool rescued; /* it was damaged: what could be saved of it is here, all of it beside it.
                       * No piece counts as checked, and a torrent may lack its source. */
};

/* Opens or makes the catalog in folder dir_fd (borrowed; lives as long as the catalog), by name.
 * From here on it counts as not ended cleanly. One that is damaged is set aside under another name,
 * and what can be read of it is taken over. -errno, with a message logged: -EPROTO: a newer
 * magnetfs wrote it, or another program; -EROFS, -EACCES, -ENOSPC; -EBUSY: another program has it
 * open; -EISDIR, -ELOOP, -EINVAL, -EPERM: what is there is no file of this user. */
int catalog_open(int dir_fd, const char *name, struct catalog_found *found, struct catalog **ret);
/* clean: all that is remembered is as it is on the disk. Nothing may use c meanwhile. NULL is fine.
 */
void catalog_close(struct catalog *c, bool clean);

/* Calls fn for each torrent, by rising number, until it gives something else than 0, which is
 * returned. fn may read more of it, but not write: others who read wait for it. -EIO: the file
 * can't be read. */
int catalog_each(struct catalog *c, int (*fn)(void *arg, const struct catalog_row *row), void *arg);

/* ---- writing: between catalog_begin and catalog_commit or catalog_rollback, by one thread, for
 * which the others wait. Who reads, also that thread, sees it when it is committed. 0 or -errno
 * (-ENOSPC, -EIO, -EROFS, -ENOMEM, -EFBIG; -EBUSY: another program writes to it); after an error
 * catalog_commit gives it again, and nothing of what was written since catalog_begin is kept. ----
 */

void catalog_begin(struct catalog *c);
/* All is on the disk at the return, also should the power fail; or nothing is. */
int catalog_commit(struct catalog *c);
void catalog_rollback(struct catalog *c);

/* A new torrent, or all that is said of one that is known. */
int catalog_put(struct catalog *c, const struct catalog_row *row);
/* What it was added by, as bt_source_save gives it; with the metadata once that is known. */
int catalog_put_source(struct catalog *c, uint32_t number, const void *data, size_t len);
/* The same where it comes in parts, which are not copied: it may have tens of MB. */
int catalog_put_source_parts(struct catalog *c, uint32_t number, const struct bt_bytes *parts,
                             size_t n);
/* The -wal file goes into the catalog whenever it has so many bytes, or the least or the most that
 * is of use, and keeps no more room. To be called once at the start. */
void catalog_bound(struct catalog *c, uint64_t bytes);
/* What the catalog's files take on the disk, or may a moment later. Any thread. */
uint64_t catalog_room(const struct catalog *c);
/* The pieces that are in its store, as a bitmap (have.h). checked: each was verified, and is on the
 * disk; else it is to be hashed before it is used. */
int catalog_put_have(struct catalog *c, uint32_t number, const void *map, size_t len, bool checked);
/* The torrent is forgotten, and what is remembered for later of one of its hashes. */
int catalog_remove(struct catalog *c, uint32_t number);
/* The torrent is gone, but what it was added by is remembered until until_s (seconds since the
 * epoch), for catalog_recall; or until a torrent of one of its hashes is put. */
int catalog_retire(struct catalog *c, uint32_t number, int64_t until_s);
/* Forgets what was remembered until now_s or earlier. */
int catalog_expire(struct catalog *c, int64_t now_s);
/* All claims of pieces are to be checked: the last run did not end cleanly. */
int catalog_doubt_all(struct catalog *c);
/* A thing of that name that is remembered besides the torrents. data NULL: no more. */
int catalog_put_fact(struct catalog *c, const char *name, const void *data, size_t len);

/* ---- reading. *ret is malloc'ed. -ENOENT: there is none; -ENOMEM; -EIO. ---- */

int catalog_get_source(struct catalog *c, uint32_t number, void **ret, size_t *ret_len);
int catalog_get_have(struct catalog *c, uint32_t number, void **ret, size_t *ret_len,
                     bool *checked);
/* What a torrent that was retired had been added by; hex: any of its hashes. */
int catalog_recall(struct catalog *c, const char *hex, void **ret, size_t *ret_len);
int catalog_get_fact(struct catalog *c, const char *name, void **ret, size_t *ret_len);

#endif
