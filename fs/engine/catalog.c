/* SPDX-License-Identifier: MIT */
#include "engine/catalog_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                    \
        "number, hex, v1, v2, name, claim, name_index, kept, added_at, used_at, metadata, length," \
        " have_bytes, piece_length, pieces, files, directories, to_fill, pins"

static const char *const sql[CATALOG_STATEMENTS] = {
        [CATALOG_PUT] = ("REPLACE INTO torrents (" COLUMNS ")"
                         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
                         " ?15, ?16, ?17, ?18, ?19)"),
        /* Its bytes follow: a value that is bound is copied for the row. */
        [CATALOG_PUT_SOURCE] = "REPLACE INTO sources (number, data) VALUES (?1, zeroblob(?2))",
        [CATALOG_PUT_HAVE] = "REPLACE INTO haves (number, checked, map) VALUES (?1, ?2, ?3)",
        [CATALOG_PUT_FACT] = "REPLACE INTO facts (name, data) VALUES (?1, ?2)",
        [CATALOG_DROP_TORRENT] = "DELETE FROM torrents WHERE number = ?1",
        [CATALOG_DROP_SOURCE] = "DELETE FROM sources WHERE number = ?1",
        [CATALOG_DROP_HAVE] = "DELETE FROM haves WHERE number = ?1",
        [CATALOG_DROP_FACT] = "DELETE FROM facts WHERE name = ?1",
        /* The hash it was added by stands for the one that is not known yet. */
        [CATALOG_RETIRE] = ("INSERT INTO retired (v1, v2, until, data)"
                            " SELECT coalesce(t.v1, CASE length(t.hex) WHEN 40 THEN t.hex END),"
                            " coalesce(t.v2, CASE length(t.hex) WHEN 64 THEN t.hex END), ?2, s.data"
                            " FROM torrents t JOIN sources s USING (number) WHERE number = ?1"),
        [CATALOG_UNRETIRE] = "DELETE FROM retired WHERE v1 IN (?1, ?2, ?3) OR v2 IN (?1, ?2, ?3)",
        [CATALOG_UNRETIRE_LIKE] = ("DELETE FROM retired WHERE id IN (SELECT r.id"
                                   " FROM torrents t JOIN retired r ON r.v1 IN (t.hex, t.v1)"
                                   " OR r.v2 IN (t.hex, t.v2) WHERE t.number = ?1)"),
        [CATALOG_EXPIRE] = "DELETE FROM retired WHERE until <= ?1",
        [CATALOG_DOUBT] = "UPDATE haves SET checked = 0 WHERE checked <> 0",
        [CATALOG_HAS_SOURCE] = "SELECT number FROM sources WHERE number = ?1",
        [CATALOG_GET_HAVE] = "SELECT map, checked FROM haves WHERE number = ?1",
        [CATALOG_GET_FACT] = "SELECT data FROM facts WHERE name = ?1",
        [CATALOG_RECALL] = "SELECT id FROM retired WHERE v1 = ?1 OR v2 = ?1",
};

int catalog_prepare(struct catalog *c)
{
        for (unsigned i = 0; i < CATALOG_STATEMENTS; i++) {
                sqlite3 *db = i < CATALOG_WRITES ? c->writer : c->reader;
                int rc = sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                            &c->statements[i], NULL);

                if (rc != SQLITE_OK)
                        return catalog_errno(db, rc);
        }
        return 0;
}

/* r as callers are told of it. Damage is remembered for the next start, which mends it. */
static int told(struct catalog *c, int r)
{
        if (r != -EUCLEAN)
                return r;
        c->damaged = true;
        return -EIO;
}

static const char *text_of(sqlite3_stmt *s, int column)
{
        const unsigned char *text = sqlite3_column_text(s, column);

        return text ? (const char *)text : "";
}

/* ---- writing ---- */

static int note(struct catalog *c, int r)
{
        if (r < 0 && c->failed == 0)
                c->failed = told(c, r);
        return c->failed;
}

void catalog_begin(struct catalog *c)
{
        pthread_mutex_lock(&c->write_lock);
        c->failed = 0;
        note(c, catalog_exec(c->writer, "BEGIN IMMEDIATE"));
}

static void roll_back(struct catalog *c)
{
        /* Some errors have ended the transaction already. */
        if (!sqlite3_get_autocommit(c->writer))
                (void)catalog_exec(c->writer, "ROLLBACK");
}

int catalog_commit(struct catalog *c)
{
        int r = c->failed;

        if (r == 0)
                r = note(c, catalog_exec(c->writer, "COMMIT"));
        roll_back(c);
        pthread_mutex_unlock(&c->write_lock);
        return r;
}

void catalog_rollback(struct catalog *c)
{
        roll_back(c);
        pthread_mutex_unlock(&c->write_lock);
}

/* Runs a statement whose values are bound, those by address too: they are let go of. */
static int run(struct catalog *c, enum catalog_statement which)
{
        sqlite3_stmt *s = c->statements[which];

        if (c->failed == 0)
                note(c, catalog_errno(c->writer, sqlite3_step(s)));
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        return c->failed;
}

static int run_with(struct catalog *c, enum catalog_statement which, int64_t value)
{
        sqlite3_bind_int64(c->statements[which], 1, value);
        return run(c, which);
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
        sqlite3_bind_text(s, at, text ? text : "", -1, SQLITE_STATIC);
}

/* A hash that is not known is NULL, which is like no other. */
static void bind_hash(sqlite3_stmt *s, int at, const char *hex)
{
        if (hex[0])
                sqlite3_bind_text(s, at, hex, -1, SQLITE_STATIC);
        else
                sqlite3_bind_null(s, at);
}

static void bind_bytes(struct catalog *c, sqlite3_stmt *s, int at, const void *data, size_t len)
{
        note(c, catalog_errno(c->writer,
                              sqlite3_bind_blob64(s, at, data ? data : "", len, SQLITE_STATIC)));
}

int catalog_put(struct catalog *c, const struct catalog_row *row)
{
        sqlite3_stmt *s = c->statements[CATALOG_PUT], *same = c->statements[CATALOG_UNRETIRE];
        const int64_t metadata[] = {(int64_t)row->length, (int64_t)row->have_bytes,
                                    row->piece_length,    row->pieces,
                                    row->files,           row->directories};
        int at = 0;

        bind_hash(same, 1, row->hex);
        bind_hash(same, 2, row->alias[0]);
        bind_hash(same, 3, row->alias[1]);
        run(c, CATALOG_UNRETIRE);

        sqlite3_bind_int64(s, ++at, row->number);
        bind_text(s, ++at, row->hex);
        bind_hash(s, ++at, row->alias[0]);
        bind_hash(s, ++at, row->alias[1]);
        bind_text(s, ++at, row->name);
        bind_text(s, ++at, row->claim);
        sqlite3_bind_int64(s, ++at, row->index);
        sqlite3_bind_int(s, ++at, row->kept);
        sqlite3_bind_int64(s, ++at, row->added_at);
        sqlite3_bind_int64(s, ++at, row->used_at);
        sqlite3_bind_int(s, ++at, row->metadata);
        for (unsigned i = 0; i < sizeof metadata / sizeof *metadata; i++)
                sqlite3_bind_int64(s, ++at, row->metadata ? metadata[i] : 0);
        bind_text(s, ++at, row->to_fill);
        bind_text(s, ++at, row->pins);
        return run(c, CATALOG_PUT);
}

int catalog_put_source_parts(struct catalog *c, uint32_t number, const struct bt_bytes *parts,
                             size_t n)
{
        sqlite3_stmt *s = c->statements[CATALOG_PUT_SOURCE];
        sqlite3_blob *blob = NULL;
        size_t len = 0, at = 0;
        int rc;

        for (size_t i = 0; i < n; i++)
                len += parts[i].len;
        sqlite3_bind_int64(s, 1, number);
        sqlite3_bind_int64(s, 2, (int64_t)len);
        if (run(c, CATALOG_PUT_SOURCE) < 0)
                return c->failed;
        rc = sqlite3_blob_open(c->writer, "main", "sources", "data", number, 1, &blob);
        for (size_t i = 0; rc == SQLITE_OK && i < n; at += parts[i++].len)
                if (parts[i].len > 0)
                        rc = sqlite3_blob_write(blob, parts[i].data, (int)parts[i].len, (int)at);
        note(c, catalog_errno(c->writer, rc));
        sqlite3_blob_close(blob);
        return c->failed;
}

int catalog_put_source(struct catalog *c, uint32_t number, const void *data, size_t len)
{
        return catalog_put_source_parts(c, number, &(struct bt_bytes){data, len}, 1);
}

int catalog_put_have(struct catalog *c, uint32_t number, const void *map, size_t len, bool checked)
{
        sqlite3_stmt *s = c->statements[CATALOG_PUT_HAVE];

        sqlite3_bind_int64(s, 1, number);
        sqlite3_bind_int(s, 2, checked);
        bind_bytes(c, s, 3, map, len);
        return run(c, CATALOG_PUT_HAVE);
}

int catalog_put_fact(struct catalog *c, const char *name, const void *data, size_t len)
{
        enum catalog_statement which = data ? CATALOG_PUT_FACT : CATALOG_DROP_FACT;

        bind_text(c->statements[which], 1, name);
        if (data)
                bind_bytes(c, c->statements[which], 2, data, len);
        return run(c, which);
}

static int drop(struct catalog *c, uint32_t number)
{
        run_with(c, CATALOG_DROP_SOURCE, number);
        run_with(c, CATALOG_DROP_HAVE, number);
        return run_with(c, CATALOG_DROP_TORRENT, number);
}

int catalog_remove(struct catalog *c, uint32_t number)
{
        run_with(c, CATALOG_UNRETIRE_LIKE, number);
        return drop(c, number);
}

int catalog_retire(struct catalog *c, uint32_t number, int64_t until_s)
{
        run_with(c, CATALOG_UNRETIRE_LIKE, number);
        sqlite3_bind_int64(c->statements[CATALOG_RETIRE], 2, until_s);
        run_with(c, CATALOG_RETIRE, number);
        return drop(c, number);
}

int catalog_expire(struct catalog *c, int64_t now_s)
{
        return run_with(c, CATALOG_EXPIRE, now_s);
}

int catalog_doubt_all(struct catalog *c)
{
        return run(c, CATALOG_DOUBT);
}

/* ---- reading ---- */

static void hash_of(sqlite3_stmt *s, int column, char out[BT_HEX_MAX])
{
        const char *text = text_of(s, column);
        size_t len = strnlen(text, BT_HEX_MAX - 1);

        memcpy(out, text, len);
        out[len] = '\0';
}

static void row_of(sqlite3_stmt *s, struct catalog_row *row)
{
        int at = 0;

        row->number = (uint32_t)sqlite3_column_int64(s, at++);
        hash_of(s, at++, row->hex);
        hash_of(s, at++, row->alias[0]);
        hash_of(s, at++, row->alias[1]);
        row->name = text_of(s, at++);
        row->claim = text_of(s, at++);
        row->index = (unsigned)sqlite3_column_int64(s, at++);
        row->kept = sqlite3_column_int(s, at++) != 0;
        row->added_at = sqlite3_column_int64(s, at++);
        row->used_at = sqlite3_column_int64(s, at++);
        row->metadata = sqlite3_column_int(s, at++) != 0;
        row->length = (uint64_t)sqlite3_column_int64(s, at++);
        row->have_bytes = (uint64_t)sqlite3_column_int64(s, at++);
        row->piece_length = (uint32_t)sqlite3_column_int64(s, at++);
        row->pieces = (uint32_t)sqlite3_column_int64(s, at++);
        row->files = (uint32_t)sqlite3_column_int64(s, at++);
        row->directories = (uint32_t)sqlite3_column_int64(s, at++);
        row->to_fill = text_of(s, at++);
        row->pins = text_of(s, at++);
}

int catalog_each(struct catalog *c, int (*fn)(void *arg, const struct catalog_row *row), void *arg)
{
        struct catalog_row row;
        sqlite3_stmt *s;
        int r = 0, rc;

        pthread_mutex_lock(&c->read_lock);
        rc = sqlite3_prepare_v2(c->reader, "SELECT " COLUMNS " FROM torrents ORDER BY number", -1,
                                &s, NULL);
        while (rc == SQLITE_OK && r == 0) {
                int got = sqlite3_step(s);

                if (got != SQLITE_ROW) {
                        rc = got;
                } else {
                        row_of(s, &row);
                        r = fn(arg, &row);
                }
        }
        if (r == 0)
                r = told(c, catalog_errno(c->reader, rc));
        sqlite3_finalize(s);
        pthread_mutex_unlock(&c->read_lock);
        return r;
}

/* With the lock, until let_go: the first row of a statement that is bound. -ENOENT: there is none.
 */
static int first(struct catalog *c, sqlite3_stmt *s)
{
        int rc = sqlite3_step(s);

        return rc == SQLITE_DONE ? -ENOENT : catalog_errno(c->reader, rc);
}

/* Ends the read that gave r. */
static int let_go(struct catalog *c, sqlite3_stmt *s, int r)
{
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        r = told(c, r);
        pthread_mutex_unlock(&c->read_lock);
        return r;
}

static sqlite3_stmt *take(struct catalog *c, enum catalog_statement which)
{
        pthread_mutex_lock(&c->read_lock);
        return c->statements[which];
}

static sqlite3_stmt *take_with(struct catalog *c, enum catalog_statement which, uint32_t number)
{
        sqlite3_stmt *s = take(c, which);

        sqlite3_bind_int64(s, 1, number);
        return s;
}

/* A copy of the column of the row that s stands on. */
static int copy_column(sqlite3_stmt *s, int column, void **ret, size_t *ret_len)
{
        const void *data = sqlite3_column_blob(s, column);
        size_t len = (size_t)sqlite3_column_bytes(s, column);
        void *copy = malloc(len ? len : 1);

        /* Without data is a value without bytes, or one that SQLite had no memory for. */
        if (!copy || (!data && sqlite3_errcode(sqlite3_db_handle(s)) == SQLITE_NOMEM)) {
                free(copy);
                return -ENOMEM;
        }
        if (data)
                memcpy(copy, data, len);
        else
                len = 0;
        *ret = copy;
        *ret_len = len;
        return 0;
}

/* Reads the data of that row: what may be large is never in the memory twice. While a statement
 * stands on a row, it is of the same moment. */
static int read_data(struct catalog *c, const char *table, int64_t rowid, void **ret,
                     size_t *ret_len)
{
        sqlite3_blob *blob = NULL;
        int rc = sqlite3_blob_open(c->reader, "main", table, "data", rowid, 0, &blob);
        int r = catalog_errno(c->reader, rc);

        if (r == 0) {
                int len = sqlite3_blob_bytes(blob);
                void *data = len <= CATALOG_VALUE_MAX ? malloc(len ? (size_t)len : 1) : NULL;

                r = data ? catalog_errno(c->reader, sqlite3_blob_read(blob, data, len, 0))
                         : -ENOMEM;
                if (r == 0) {
                        *ret = data;
                        *ret_len = (size_t)len;
                } else {
                        free(data);
                }
        }
        sqlite3_blob_close(blob);
        return r;
}

int catalog_get_source(struct catalog *c, uint32_t number, void **ret, size_t *ret_len)
{
        sqlite3_stmt *s = take_with(c, CATALOG_HAS_SOURCE, number);
        int r = first(c, s);

        if (r == 0)
                r = read_data(c, "sources", number, ret, ret_len);
        return let_go(c, s, r);
}

int catalog_get_have(struct catalog *c, uint32_t number, void **ret, size_t *ret_len, bool *checked)
{
        sqlite3_stmt *s = take_with(c, CATALOG_GET_HAVE, number);
        int r = first(c, s);

        if (r == 0)
                r = copy_column(s, 0, ret, ret_len);
        if (r == 0)
                *checked = sqlite3_column_int(s, 1) != 0;
        return let_go(c, s, r);
}

int catalog_recall(struct catalog *c, const char *hex, void **ret, size_t *ret_len)
{
        sqlite3_stmt *s = take(c, CATALOG_RECALL);
        int r;

        bind_text(s, 1, hex);
        r = first(c, s);
        if (r == 0)
                r = read_data(c, "retired", sqlite3_column_int64(s, 0), ret, ret_len);
        return let_go(c, s, r);
}

int catalog_get_fact(struct catalog *c, const char *name, void **ret, size_t *ret_len)
{
        sqlite3_stmt *s = take(c, CATALOG_GET_FACT);
        int r;

        bind_text(s, 1, name);
        r = first(c, s);
        if (r == 0)
                r = copy_column(s, 0, ret, ret_len);
        return let_go(c, s, r);
}
