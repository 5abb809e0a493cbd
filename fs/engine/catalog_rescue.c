/* SPDX-License-Identifier: MIT */
/* What is damaged is first renamed to NAME.rescue. While a file of that name is there its rescue
 * has not ended, and starts over; at its end it becomes NAME.damaged-TIME. */
#include "engine/catalog_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

/* ---- files ---- */

static void name_with(char out[CATALOG_FILE_MAX], const char *name, const char *suffix)
{
        snprintf(out, CATALOG_FILE_MAX, "%s%s", name, suffix);
}

static void rescue_name(const struct catalog *c, const char *suffix, char out[CATALOG_FILE_MAX])
{
        snprintf(out, CATALOG_FILE_MAX, "%s.rescue%s", c->name, suffix);
}

static bool exists(const struct catalog *c, const char *name)
{
        struct stat st;

        return fstatat(c->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int rename_if_there(const struct catalog *c, const char *from, const char *to)
{
        return renameat(c->dir_fd, from, c->dir_fd, to) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_file(const struct catalog *c, const char *name, const char *suffix)
{
        char path[CATALOG_FILE_MAX];

        name_with(path, name, suffix);
        return unlinkat(c->dir_fd, path, 0) < 0 && errno != ENOENT ? -errno : 0;
}

bool catalog_rescue_pending(const struct catalog *c)
{
        char name[CATALOG_FILE_MAX];

        rescue_name(c, "", name);
        return exists(c, name);
}

static bool is_empty(const struct catalog *c, const char *name)
{
        struct stat st;

        return fstatat(c->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == 0;
}

/* Moves what SQLite keeps beside a file after it, if there is anything in it. Its index of the -wal
 * is made anew. */
static int move_companions(const struct catalog *c, const char *from, const char *to)
{
        static const char *const suffixes[] = {"-wal", "-journal"};
        char old[CATALOG_FILE_MAX], new[CATALOG_FILE_MAX];
        int r = remove_file(c, from, "-shm");

        for (unsigned i = 0; r == 0 && i < sizeof suffixes / sizeof *suffixes; i++) {
                name_with(old, from, suffixes[i]);
                name_with(new, to, suffixes[i]);
                r = is_empty(c, old) ? remove_file(c, old, "") : rename_if_there(c, old, new);
        }
        return r;
}

static int set_aside(const struct catalog *c)
{
        char name[CATALOG_FILE_MAX];
        int r;

        rescue_name(c, "", name);
        if (!exists(c, name)) {
                r = rename_if_there(c, c->name, name);
                if (r == 0)
                        r = move_companions(c, c->name, name);
        } else if (!exists(c, c->name)) {
                /* The earlier run came no further than to rename the file. */
                r = move_companions(c, c->name, name);
        } else {
                /* What the earlier run had saved. */
                r = remove_file(c, c->name, "-shm");
                if (r == 0)
                        r = remove_file(c, c->name, "-wal");
                if (r == 0)
                        r = remove_file(c, c->name, "-journal");
                if (r == 0)
                        r = remove_file(c, c->name, "");
        }
        return r == 0 && fsync(c->dir_fd) < 0 ? -errno : r;
}

/* The rescue is over: the damaged file gets a name under which nobody looks for it. */
static int keep_damaged(const struct catalog *c, char aside[CATALOG_FILE_MAX])
{
        char name[CATALOG_FILE_MAX], when[sizeof "20260101T000000Z"];
        time_t now = time(NULL);
        struct tm tm;
        int r;

        gmtime_r(&now, &tm);
        strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
        snprintf(aside, CATALOG_FILE_MAX, "%s.damaged-%s", c->name, when);
        for (unsigned n = 2; exists(c, aside); n++)
                snprintf(aside, CATALOG_FILE_MAX, "%s.damaged-%s-%u", c->name, when, n);
        rescue_name(c, "", name);
        r = rename_if_there(c, name, aside);
        if (r == 0)
                r = move_companions(c, name, aside);
        return r == 0 && fsync(c->dir_fd) < 0 ? -errno : r;
}

/* ---- a first page that can't be used ---- */

static void put_big_endian(unsigned char *p, uint32_t value)
{
        for (unsigned i = 0; i < 4; i++)
                p[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* The first page of a catalog that was just made, for a file of so many pages: it says where each
 * table begins. It does so of another catalog too, for the tables that came with version 1: those
 * lie where they were made. */
static int fresh_page(uint32_t pages, unsigned char out[CATALOG_PAGE_BYTES])
{
        /* https://www.sqlite.org/fileformat2.html#the_database_header */
        enum { AT_FORMATS = 18, FORMAT_WAL = 2, AT_PAGES = 28, AT_FREE = 32, AT_N_FREE = 36 };
        sqlite3 *db = NULL;
        unsigned char *image = NULL;
        sqlite3_int64 size = 0;
        int r = catalog_errno(NULL, sqlite3_open(":memory:", &db));

        if (r == 0)
                r = catalog_exec(db, "PRAGMA page_size = " CATALOG_TEXT(CATALOG_PAGE_BYTES));
        if (r == 0)
                r = catalog_migrate(db, CATALOG_VERSION);
        if (r == 0)
                image = sqlite3_serialize(db, "main", &size, 0);
        if (r == 0 && (!image || size < CATALOG_PAGE_BYTES))
                r = -ENOMEM;
        if (r == 0) {
                memcpy(out, image, CATALOG_PAGE_BYTES);
                out[AT_FORMATS] = out[AT_FORMATS + 1] = FORMAT_WAL;
                put_big_endian(out + AT_PAGES, pages);
                put_big_endian(out + AT_FREE, 0);
                put_big_endian(out + AT_N_FREE, 0);
        }
        sqlite3_free(image);
        sqlite3_close(db);
        return r;
}

/* What a damaged file had for its first page, while it has another. */
struct graft {
        int fd;
        unsigned char page[CATALOG_PAGE_BYTES];
        ssize_t len;
};

static int graft_page(const struct catalog *c, const char *name, struct graft *g)
{
        unsigned char page[CATALOG_PAGE_BYTES];
        struct stat st;
        int r;

        g->fd = openat(c->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (g->fd < 0 || fstat(g->fd, &st) < 0)
                return -errno;
        g->len = pread(g->fd, g->page, sizeof g->page, 0);
        /* Nothing but a first page is no loss of tables. */
        if (g->len != (ssize_t)sizeof g->page)
                return -EUCLEAN;
        r = fresh_page((uint32_t)(st.st_size / CATALOG_PAGE_BYTES), page);
        if (r == 0 && pwrite(g->fd, page, sizeof page, 0) != (ssize_t)sizeof page)
                r = -EIO;
        return r;
}

/* Nothing may have the file open in SQLite: its locks would go. */
static void ungraft(struct graft *g)
{
        if (g->fd < 0)
                return;
        if (g->len == (ssize_t)sizeof g->page &&
            pwrite(g->fd, g->page, sizeof g->page, 0) != (ssize_t)sizeof g->page)
                log_debug("The first page of the damaged catalog was not put back");
        close(g->fd);
        g->fd = -1;
}

/* Opens the damaged file as well as can be; -EUCLEAN: not at all. */
static int open_damaged(const char *name, const struct catalog *c, sqlite3 **ret)
{
        sqlite3 *db = NULL;
        int64_t n;
        int r = catalog_connect(c->dir_fd, name, &db);

        /* With it a file that is shorter than it says is taken, and the tables that are as they
         * should be though others are not. */
        if (r == 0)
                r = catalog_exec(db, "PRAGMA writable_schema = ON");
        if (r == 0)
                r = catalog_number(db, "SELECT count(*) FROM (SELECT 1 FROM torrents LIMIT 0)", &n);
        if (r < 0)
                sqlite3_close(db);
        else
                *ret = db;
        return r;
}

/* ---- all of it ---- */

/* Of the torrents that are lost nothing may be left that another of the same number would get.
 * Without the fact that it is clean, what is had counts as unchecked. */
static const char finish[] =
        "DELETE FROM sources WHERE number NOT IN (SELECT number FROM torrents);"
        "DELETE FROM haves WHERE number NOT IN (SELECT number FROM torrents);"
        "UPDATE haves SET checked = 0;"
        "DELETE FROM facts WHERE name = '" CATALOG_CLEAN "';"
        "COMMIT";

static int sync_file(const struct catalog *c)
{
        int fd = openat(c->dir_fd, c->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), r = 0;

        if (fd < 0)
                return -errno;
        if (fsync(fd) < 0)
                r = -errno;
        close(fd);
        return r;
}

/* Makes a catalog of the version of from (NULL: which can't be opened), and copies its rows. */
static int save(const struct catalog *c, sqlite3 *from, int64_t *saved)
{
        int64_t version = 0;
        sqlite3 *to = NULL;
        int r = catalog_make_file(c->dir_fd, c->name);

        if (from && catalog_number(from, "PRAGMA user_version", &version) < 0)
                version = 0;
        if (version < 1 || version > CATALOG_VERSION)
                version = CATALOG_VERSION;
        if (r == 0)
                r = catalog_connect(c->dir_fd, c->name, &to);
        /* Should it end half-way it starts over: nothing need be on the disk before the end. */
        if (r == 0)
                r = catalog_exec(to, "PRAGMA page_size = " CATALOG_TEXT(
                                             CATALOG_PAGE_BYTES) "; PRAGMA journal_mode = MEMORY;"
                                                                 "PRAGMA synchronous = OFF");
        if (r == 0)
                r = catalog_migrate(to, (int)version);
        if (r == 0)
                r = catalog_exec(to, "BEGIN");
        if (r == 0 && from)
                r = catalog_salvage(from, to);
        if (r == 0)
                r = catalog_exec(to, finish);
        if (r == 0)
                r = catalog_number(to, "SELECT count(*) FROM torrents", saved);
        sqlite3_close(to);
        return r == 0 ? sync_file(c) : r;
}

int catalog_rescue(struct catalog *c, int64_t *saved, char aside[CATALOG_FILE_MAX])
{
        struct graft graft = {.fd = -1};
        char name[CATALOG_FILE_MAX];
        sqlite3 *from = NULL;
        int r = set_aside(c);

        if (r < 0)
                return r;
        rescue_name(c, "", name);
        if (open_damaged(name, c, &from) < 0 && graft_page(c, name, &graft) == 0)
                (void)open_damaged(name, c, &from);
        r = save(c, from, saved);
        sqlite3_close(from);
        ungraft(&graft);
        if (r == 0)
                r = keep_damaged(c, aside);
        return r;
}
