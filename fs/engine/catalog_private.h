/* SPDX-License-Identifier: MIT */
/* catalog_private.h: what the files of the catalog share: catalog.c reads and writes rows,
 * catalog_open.c opens and closes, catalog_schema.c has the tables, catalog_rescue.c makes a
 * damaged one anew of the rows that catalog_salvage.c finds, catalog_sqlite.c is how SQLite is
 * used. */
#ifndef FS_CATALOG_PRIVATE_H
#define FS_CATALOG_PRIVATE_H

#include "engine/catalog.h"

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

/* "mgfs": how a catalog is told from the database of another program. In the schema as it stands in
 * the file's header, so not to be changed. */
#define CATALOG_APPLICATION_ID 0x6d676673
#define CATALOG_PAGE_BYTES     4096

/* The value of a macro as text, for SQL. */
#define CATALOG_TEXT_OF(x) #x
#define CATALOG_TEXT(x)    CATALOG_TEXT_OF(x)

enum {
        /* No value is larger: sources have up to 64 MiB. Bounds what a damaged length may ask for.
         */
        CATALOG_VALUE_MAX = 128 << 20,
        /* The name of a catalog, and of what lies beside it, which begins with that. */
        CATALOG_NAME_MAX = 64,
        CATALOG_FILE_MAX = 128,
        CATALOG_WAL_LEAST = 32 << 10,
        CATALOG_WAL_MOST = 4 << 20,
};

/* The fact that is there while the catalog counts as ended cleanly. */
#define CATALOG_CLEAN "catalog.clean"

/* The statements that are kept prepared. */
enum catalog_statement {
        CATALOG_PUT,
        CATALOG_PUT_SOURCE,
        CATALOG_PUT_HAVE,
        CATALOG_PUT_FACT,
        CATALOG_DROP_TORRENT,
        CATALOG_DROP_SOURCE,
        CATALOG_DROP_HAVE,
        CATALOG_DROP_FACT,
        CATALOG_RETIRE,
        CATALOG_UNRETIRE,
        CATALOG_UNRETIRE_LIKE,
        CATALOG_EXPIRE,
        CATALOG_DOUBT,
        CATALOG_WRITES, /* those below belong to the reader */
        CATALOG_HAS_SOURCE = CATALOG_WRITES,
        CATALOG_GET_HAVE,
        CATALOG_GET_FACT,
        CATALOG_RECALL,
        CATALOG_STATEMENTS
};

struct catalog {
        /* set once at creation */
        int dir_fd;
        char name[CATALOG_NAME_MAX];
        char shown[PATH_MAX]; /* its path, for messages */

        /* The writer's lock is held from catalog_begin to the end of the transaction. The reader's
         * is recursive, for what the function of catalog_each asks, and may be taken under the
         * writer's. A connection and its statements are used under its lock. */
        pthread_mutex_t write_lock, read_lock;
        sqlite3 *writer, *reader;
        sqlite3_stmt *statements[CATALOG_STATEMENTS];

        int failed; /* under write_lock: the first error since catalog_begin */

        _Atomic uint64_t wal_bytes; /* how large the -wal becomes */

        _Atomic bool damaged; /* SQLite met damage: the next start is to look closely */
};

/* ---- catalog_sqlite.c ---- */

/* To be called before all else; -ENOMEM. */
int catalog_prepare_sqlite(void);
/* What SQLite's result rc means; db (or NULL) gave it. -EUCLEAN: what is in the file is damaged or
 * can't be read. */
int catalog_errno(sqlite3 *db, int rc);
/* Opens a file that is there. It is left as it is by opening and closing: nothing moves from its
 * -wal to it at the close until catalog_trust. */
int catalog_connect(int dir_fd, const char *file, sqlite3 **ret);
void catalog_trust(sqlite3 *db);
/* Runs statements that give no rows, or whose rows nobody wants. */
int catalog_exec(sqlite3 *db, const char *sql);
/* The number in the first column of the first row; 0 when there is no row. */
int catalog_number(sqlite3 *db, const char *sql, int64_t *ret);

/* ---- catalog_schema.c ---- */

/* Whose file it is: *ret is its version, 0: nothing is in it. -EPROTO: not this magnetfs', *ret as
 * the file has it, or -1: another program's. */
int catalog_identify(sqlite3 *db, int *ret);
/* Brings a catalog up to that version, each step in a transaction of its own. */
int catalog_migrate(sqlite3 *db, int version);

/* ---- catalog.c ---- */

/* Prepares all statements. -EUCLEAN: the tables are not as they should be. */
int catalog_prepare(struct catalog *c);

/* ---- catalog_open.c ---- */

/* Makes the file if it is not there, with the mode it should have. -errno. */
int catalog_make_file(int dir_fd, const char *name);

/* ---- catalog_rescue.c ---- */

/* A rescue began and did not end, by an earlier run. */
bool catalog_rescue_pending(const struct catalog *c);
/* Sets the damaged file aside and makes another of what can be read of it. -errno: the next start
 * goes on with it. *saved: so many torrents; aside: the damaged file's name now. */
int catalog_rescue(struct catalog *c, int64_t *saved, char aside[CATALOG_FILE_MAX]);

/* ---- catalog_salvage.c ---- */

/* Copies the rows of all tables of to, in a transaction, that can be read in from, which may be
 * damaged anywhere. -errno: to can't be written. */
int catalog_salvage(sqlite3 *from, sqlite3 *to);

#endif
