/* SPDX-License-Identifier: MIT */
#include "engine/catalog_private.h"

#include <errno.h>

/* Behind an unreadable row the next ones are tried one by one, so often in a table, and then by
 * doubling steps: some microseconds each. */
enum { TRIES_ONE_BY_ONE = 20000 };

/* No row has a higher one: numbers of torrents have 32 bits, and there is less of all else. */
#define ROWID_MAX ((int64_t)UINT32_MAX)

/* The rows of a table from one rowid to another, neither of them included. */
struct span {
        int64_t low, high;
};

struct passage {
        sqlite3_stmt *up, *down; /* the rows of a span, in order */
        sqlite3_stmt *put;
        bool disk; /* the last that could not be read is one that the disk can't read */
};

enum { ALL_READ, UNREADABLE };

/* What the new table does not take was no row of it. */
static int copy_row(sqlite3_stmt *from, sqlite3_stmt *put)
{
        int rc = SQLITE_OK;

        for (int i = 1; rc == SQLITE_OK && i < sqlite3_column_count(from); i++)
                rc = sqlite3_bind_value(put, i, sqlite3_column_value(from, i));
        if (rc == SQLITE_OK)
                rc = sqlite3_step(put);
        sqlite3_reset(put);
        sqlite3_clear_bindings(put);
        return (rc & 0xff) == SQLITE_CONSTRAINT ? 0 : catalog_errno(sqlite3_db_handle(put), rc);
}

/* Copies rows from one end of the span, which shrinks by those that were read, until all are or one
 * can't be. A damaged table may lead in circles: a row that is out of order can't be read. -errno:
 * one could not be written. */
static int copy_rows(struct passage *p, bool upward, struct span *span)
{
        sqlite3_stmt *s = upward ? p->up : p->down;
        int r = 0, rc;

        sqlite3_bind_int64(s, 1, span->low);
        sqlite3_bind_int64(s, 2, span->high);
        while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
                int64_t rowid = sqlite3_column_int64(s, 0);

                if (rowid <= span->low || rowid >= span->high)
                        break;
                if (upward)
                        span->low = rowid;
                else
                        span->high = rowid;
                r = copy_row(s, p->put);
                if (r < 0)
                        break;
        }
        sqlite3_reset(s);
        p->disk = (rc & 0xff) == SQLITE_IOERR;
        if (r < 0)
                return r;
        return rc == SQLITE_DONE ? ALL_READ : UNREADABLE;
}

/* The span's first row can't be read, nor its last one. */
static int copy_between(struct passage *p, struct span span)
{
        int64_t gap = 1;

        for (unsigned tries = 0; span.high - span.low > gap; tries++) {
                struct span skipped = {span.low, span.low + gap + 1};
                int64_t from = span.low += gap;
                int r = copy_rows(p, true, &span), back;

                if (r < 0)
                        return r;
                if (r == ALL_READ || span.low > from) {
                        back = gap == 1 ? 0 : copy_rows(p, false, &skipped);
                        if (back < 0 || r == ALL_READ)
                                return back < 0 ? back : 0;
                        gap = 1;
                }
                /* Where the disk itself can't read, each try may take it many seconds. */
                if (p->disk || tries > TRIES_ONE_BY_ONE)
                        gap *= 2;
        }
        return 0;
}

static int copy_table(struct passage *p)
{
        struct span span = {0, ROWID_MAX + 1};
        int r = copy_rows(p, true, &span);

        if (r == UNREADABLE)
                r = copy_rows(p, false, &span);
        if (r == UNREADABLE)
                r = copy_between(p, span);
        return r;
}

static int prepare(sqlite3 *db, sqlite3_stmt **ret, const char *format, const char *table)
{
        char *sql = sqlite3_mprintf(format, table);
        int rc = sql ? sqlite3_prepare_v2(db, sql, -1, ret, NULL) : SQLITE_NOMEM;

        sqlite3_free(sql);
        return catalog_errno(db, rc);
}

/* "INSERT OR IGNORE INTO table VALUES (?, …)", one for each column. */
static int prepare_put(sqlite3 *to, const char *table, int columns, sqlite3_stmt **ret)
{
        sqlite3_str *sql = sqlite3_str_new(to);
        char *text;
        int rc;

        sqlite3_str_appendf(sql, "INSERT OR IGNORE INTO \"%w\" VALUES (", table);
        for (int i = 0; i < columns; i++)
                sqlite3_str_appendall(sql, i == 0 ? "?" : ", ?");
        sqlite3_str_appendall(sql, ")");
        text = sqlite3_str_finish(sql);
        rc = text ? sqlite3_prepare_v2(to, text, -1, ret, NULL) : SQLITE_NOMEM;
        sqlite3_free(text);
        return catalog_errno(to, rc);
}

static int save_table(sqlite3 *from, sqlite3 *to, const char *table)
{
        struct passage p = {NULL, NULL, NULL, false};
        int r = prepare(from, &p.up,
                        "SELECT rowid, * FROM \"%w\" NOT INDEXED"
                        " WHERE rowid > ?1 AND rowid < ?2 ORDER BY rowid",
                        table);

        if (r == 0)
                r = prepare(from, &p.down,
                            "SELECT rowid, * FROM \"%w\" NOT INDEXED"
                            " WHERE rowid > ?1 AND rowid < ?2 ORDER BY rowid DESC",
                            table);
        if (r == -ENOMEM) {
                /* As an error of the new catalog. */
        } else if (r < 0) {
                r = 0; /* The old one has no such table, or hides it. */
        } else {
                r = prepare_put(to, table, sqlite3_column_count(p.up) - 1, &p.put);
                if (r == 0)
                        r = copy_table(&p);
        }
        sqlite3_finalize(p.up);
        sqlite3_finalize(p.down);
        sqlite3_finalize(p.put);
        return r < 0 ? r : 0;
}

int catalog_salvage(sqlite3 *from, sqlite3 *to)
{
        sqlite3_stmt *tables;
        int rc, r;

        /* One transaction, not one for each try. */
        (void)catalog_exec(from, "BEGIN");
        rc = sqlite3_prepare_v2(to,
                                "SELECT name FROM sqlite_schema WHERE type = 'table'"
                                " AND name NOT LIKE 'sqlite@_%' ESCAPE '@'",
                                -1, &tables, NULL);
        r = catalog_errno(to, rc);
        while (r == 0 && (rc = sqlite3_step(tables)) == SQLITE_ROW)
                r = save_table(from, to, (const char *)sqlite3_column_text(tables, 0));
        if (r == 0)
                r = catalog_errno(to, rc);
        sqlite3_finalize(tables);
        return r;
}
