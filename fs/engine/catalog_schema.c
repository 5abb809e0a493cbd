/* SPDX-License-Identifier: MIT */
#include "engine/catalog_private.h"

#include <errno.h>
#include <stdio.h>

/* The steps from each version to the next, the first from nothing to 1. One that was ever released
 * is not to be changed: a new one goes behind it, with CATALOG_VERSION and a fixture in the test.
 *
 * What is long lies in tables of its own, or behind the short columns, so that nobody reads through
 * it. All text of the schema has to fit in the file's first page, and rescue reads by rowid, which
 * is 1 or more everywhere: no WITHOUT ROWID. STRICT and CHECK are for what is saved of damaged
 * files: they keep out what only looks like a row. */
static const char *const steps[] = {
        "PRAGMA application_id = " CATALOG_TEXT(
                CATALOG_APPLICATION_ID) ";"
                                        "CREATE TABLE torrents ("
                                        " number INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 4294967295),"
                                        " hex TEXT NOT NULL CHECK (length(hex) IN (40, 64)),"
                                        " v1 TEXT CHECK (length(v1) = 40),"
                                        " v2 TEXT CHECK (length(v2) = 64),"
                                        " name TEXT NOT NULL CHECK (instr(CAST(name AS BLOB), x'00') = 0),"
                                        " claim TEXT NOT NULL CHECK (instr(CAST(claim AS BLOB), x'00') = 0),"
                                        " name_index INTEGER NOT NULL,"
                                        " kept INTEGER NOT NULL,"
                                        " added_at INTEGER NOT NULL,"
                                        " used_at INTEGER NOT NULL,"
                                        " metadata INTEGER NOT NULL,"
                                        " length INTEGER NOT NULL,"
                                        " have_bytes INTEGER NOT NULL,"
                                        " piece_length INTEGER NOT NULL,"
                                        " pieces INTEGER NOT NULL,"
                                        " files INTEGER NOT NULL,"
                                        " directories INTEGER NOT NULL"
                                        ") STRICT;"
                                        "CREATE TABLE sources ("
                                        " number INTEGER PRIMARY KEY,"
                                        " data BLOB NOT NULL"
                                        ") STRICT;"
                                        "CREATE TABLE haves ("
                                        " number INTEGER PRIMARY KEY,"
                                        " checked INTEGER NOT NULL,"
                                        " map BLOB NOT NULL"
                                        ") STRICT;"
                                        "CREATE TABLE retired ("
                                        " id INTEGER PRIMARY KEY,"
                                        " v1 TEXT CHECK (length(v1) = 40),"
                                        " v2 TEXT CHECK (length(v2) = 64),"
                                        " until INTEGER NOT NULL,"
                                        " data BLOB NOT NULL"
                                        ") STRICT;"
                                        "CREATE INDEX retired_v1 ON retired (v1);"
                                        "CREATE INDEX retired_v2 ON retired (v2);"
                                        "CREATE TABLE facts ("
                                        " name TEXT PRIMARY KEY NOT NULL,"
                                        " data BLOB NOT NULL"
                                        ") STRICT;",
        "ALTER TABLE torrents ADD COLUMN to_fill TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE torrents ADD COLUMN pins TEXT NOT NULL DEFAULT ''",
};

_Static_assert(sizeof steps / sizeof *steps == CATALOG_VERSION, "a step to each version");

int catalog_identify(sqlite3 *db, int *ret)
{
        int64_t application = 0, version = 0, things = 0;
        int r = catalog_number(db, "PRAGMA application_id", &application);

        if (r == 0)
                r = catalog_number(db, "PRAGMA user_version", &version);
        if (r == 0 && application == 0)
                r = catalog_number(db, "SELECT count(*) FROM sqlite_schema", &things);
        if (r < 0)
                return r;
        if (application == 0 && version == 0 && things == 0) {
                *ret = 0;
                return 0;
        }
        if (application != CATALOG_APPLICATION_ID) {
                *ret = -1;
                return -EPROTO;
        }
        /* A catalog gets its version with its tables: without one it is none. */
        if (version < 1)
                return -EUCLEAN;
        *ret = (int)version;
        return version > CATALOG_VERSION ? -EPROTO : 0;
}

static int run_step(sqlite3 *db, int to)
{
        char set[64];
        int r = catalog_exec(db, "BEGIN IMMEDIATE");

        if (r < 0)
                return r;
        snprintf(set, sizeof set, "PRAGMA user_version = %d", to);
        r = catalog_exec(db, steps[to - 1]);
        if (r == 0)
                r = catalog_exec(db, set);
        if (r == 0)
                r = catalog_exec(db, "COMMIT");
        if (!sqlite3_get_autocommit(db))
                (void)catalog_exec(db, "ROLLBACK");
        return r;
}

int catalog_migrate(sqlite3 *db, int version)
{
        int64_t now = 0;
        int r = catalog_number(db, "PRAGMA user_version", &now);

        for (int to = (int)now + 1; r == 0 && to <= version; to++)
                r = run_step(db, to);
        return r;
}
