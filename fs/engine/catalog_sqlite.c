/* SPDX-License-Identifier: MIT */
#include "engine/catalog_private.h"

#include <errno.h>
#include <stdio.h>

#include "common/log.h"

/* SQLite's file layer with paths taken as they are. Its own resolves /proc/self/fd/N, and then
 * refuses what has more than 512 bytes, and misses a folder that was renamed. */
#define VFS_NAME "magnetfs"

/* Only a program that is no magnetfs can have the file, as a backup does for a moment: the state
 * folder is locked. */
enum { BUSY_MS = 5000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool prepared;

static void on_message(void *arg, int code, const char *text)
{
        (void)arg;
        log_debug("SQLite: %s (%d)", text, code);
}

static int path_as_it_is(sqlite3_vfs *vfs, const char *path, int room, char *out)
{
        (void)vfs;
        return snprintf(out, (size_t)room, "%s", path) < room ? SQLITE_OK : SQLITE_CANTOPEN;
}

static void prepare(void)
{
        static sqlite3_vfs vfs;
        const sqlite3_vfs *system;

        sqlite3_config(SQLITE_CONFIG_LOG, on_message, NULL);
        if (sqlite3_initialize() != SQLITE_OK)
                return;
        system = sqlite3_vfs_find(NULL);
        if (!system)
                return;
        vfs = *system;
        vfs.zName = VFS_NAME;
        vfs.xFullPathname = path_as_it_is;
        prepared = sqlite3_vfs_register(&vfs, 0) == SQLITE_OK;
}

int catalog_prepare_sqlite(void)
{
        pthread_once(&once, prepare);
        return prepared ? 0 : -ENOMEM;
}

/* What the system said last about that file. */
static int file_errno(sqlite3 *db, int which)
{
        sqlite3_file *file = NULL;
        int err = 0;

        if (sqlite3_file_control(db, "main", which, &file) == SQLITE_OK && file && file->pMethods)
                file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &err);
        return err;
}

/* What the system said when SQLite could not open, read or write. SQLite itself loses it at times:
 * of a quota, or of a limit to the size of files, only the file knows. */
static int system_errno(sqlite3 *db)
{
        int err = sqlite3_system_errno(db);

        if (err == 0 && db)
                err = file_errno(db, SQLITE_FCNTL_JOURNAL_POINTER);
        if (err == 0 && db)
                err = file_errno(db, SQLITE_FCNTL_FILE_POINTER);
        switch (err) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
                return -ENOSPC;
        case EROFS:
        case EACCES:
        case EMFILE:
        case ENFILE:
        case ENOMEM:
                return -err;
        default:
                return -EIO;
        }
}

int catalog_errno(sqlite3 *db, int rc)
{
        switch (rc & 0xff) {
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_TOOBIG:
                return -EFBIG;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return -EACCES;
        case SQLITE_READONLY:
                return rc == SQLITE_READONLY_DBMOVED ? -EIO : -EROFS;
        case SQLITE_ERROR: /* our SQL is right, so the tables are not */
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EUCLEAN;
        case SQLITE_IOERR:
                if (rc == SQLITE_IOERR_READ || rc == SQLITE_IOERR_SHORT_READ ||
                    rc == SQLITE_IOERR_CORRUPTFS || rc == SQLITE_IOERR_DATA)
                        return -EUCLEAN;
                if (rc == SQLITE_IOERR_NOMEM)
                        return -ENOMEM;
                return system_errno(db);
        case SQLITE_CANTOPEN:
                return system_errno(db);
        default:
                return -EIO;
        }
}

int catalog_connect(int dir_fd, const char *file, sqlite3 **ret)
{
        char path[sizeof "/proc/self/fd/-2147483648/" + CATALOG_FILE_MAX];
        sqlite3 *db = NULL;
        int rc;

        snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir_fd, file);
        rc = sqlite3_open_v2(path, &db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                     SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
                             VFS_NAME);
        if (rc != SQLITE_OK) {
                int r = catalog_errno(db, rc);

                sqlite3_close(db);
                return r;
        }
        sqlite3_busy_timeout(db, BUSY_MS);
        sqlite3_limit(db, SQLITE_LIMIT_LENGTH, CATALOG_VALUE_MAX);
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        *ret = db;
        return 0;
}

void catalog_trust(sqlite3 *db)
{
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

int catalog_exec(sqlite3 *db, const char *sql)
{
        return catalog_errno(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int catalog_number(sqlite3 *db, const char *sql, int64_t *ret)
{
        sqlite3_stmt *s;
        int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL), r;

        if (rc == SQLITE_OK)
                rc = sqlite3_step(s);
        r = catalog_errno(db, rc);
        if (r == 0)
                *ret = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
        sqlite3_finalize(s);
        return r;
}
