/* SPDX-License-Identifier: MIT */
#include "engine/catalog_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

/* Settings that read the tables' text, so for a file that is known to be a catalog. Caches of 2 MiB
 * each; temporary files would lie anywhere. */
#define SETTINGS                                                                                   \
        "PRAGMA cache_size = -2048; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;"      \
        "PRAGMA synchronous = FULL"

/* ---- what lies in the folder ---- */

static int check_kind(const struct stat *st)
{
        if (S_ISLNK(st->st_mode))
                return -ELOOP;
        if (S_ISDIR(st->st_mode))
                return -EISDIR;
        if (!S_ISREG(st->st_mode))
                return -EINVAL;
        return st->st_uid == geteuid() ? 0 : -EPERM;
}

/* What was opened is what it should be, and only this user's to read. */
static int check_opened(int fd, const char *name, bool *is_empty)
{
        struct stat st;
        int r = fstat(fd, &st) < 0 ? -errno : check_kind(&st);

        if (r < 0)
                return r;
        if ((st.st_mode & 0777) != 0600 && fchmod(fd, 0600) < 0)
                log_warning_errno(errno, "Others may be able to read %s: %m", name);
        *is_empty = st.st_size == 0;
        return 0;
}

int catalog_make_file(int dir_fd, const char *name)
{
        bool is_empty = false;
        struct stat st;
        int fd, r;

        /* Looked at before it is opened: a device or a pipe does things when it is. */
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
                r = check_kind(&st);
                if (r < 0)
                        return r;
        } else if (errno != ENOENT) {
                return -errno;
        }
        /* SQLite makes its -wal and -shm beside it. */
        if (faccessat(dir_fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
                return -errno;
        fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = check_opened(fd, name, &is_empty);
        close(fd);
        /* SQLite sees to the names of what it makes itself. */
        if (r == 0 && is_empty && fsync(dir_fd) < 0)
                r = -errno;
        return r;
}

static void say_foreign(const struct catalog *c, int version)
{
        if (version < 0)
                log_error(
                        "%s is the database of another program. Nothing was changed: move it away, or choose another folder with --state-dir",
                        c->shown);
        else
                log_error(
                        "A newer magnetfs wrote %s: it has schema %d, this one knows those up to %d. Nothing was changed: start the newer one, or choose another folder with --state-dir",
                        c->shown, version, CATALOG_VERSION);
}

static void say_failed(const struct catalog *c, int r)
{
        const char *what;

        switch (-r) {
        case EPROTO: /* has been said */
                return;
        case ENOSPC:
                what = "make room on its disk and start again";
                break;
        case EROFS:
        case EACCES:
                what = "let this user write to its folder, or choose another with --state-dir";
                break;
        case EISDIR:
        case ELOOP:
        case EINVAL:
                what = "it is no regular file; move away what is there";
                break;
        case EPERM:
                what = "it is another user's; move it away or change its owner";
                break;
        case EBUSY:
                what = "another program has it open; end that one";
                break;
        case EIO:
                what = "its disk may be failing, see the kernel's log; --state-dir chooses another folder";
                break;
        default:
                what = "choose another folder with --state-dir";
        }
        log_error_errno(r, "Cannot open the catalog %s: %m; %s", c->shown, what);
}

/* ---- opening ---- */

static uint32_t big_endian(const unsigned char *p)
{
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* What the file's header alone says. -EPROTO: a newer magnetfs wrote it; then SQLite makes no files
 * beside it either. -EUCLEAN: it is shorter than a header, which SQLite takes for an empty one. */
static int check_header(const struct catalog *c)
{
        /* https://www.sqlite.org/fileformat2.html#the_database_header */
        enum { HEADER_BYTES = 100, AT_VERSION = 60, AT_APPLICATION = 68 };
        static const char magic[] = "SQLite format 3";
        unsigned char header[HEADER_BYTES];
        ssize_t n;
        int fd = openat(c->dir_fd, c->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        n = pread(fd, header, sizeof header, 0);
        close(fd);
        if (n > 0 && n < (ssize_t)sizeof header)
                return -EUCLEAN;
        if (n <= 0 || memcmp(header, magic, sizeof magic) != 0 ||
            big_endian(header + AT_APPLICATION) != CATALOG_APPLICATION_ID ||
            big_endian(header + AT_VERSION) <= CATALOG_VERSION)
                return 0;
        say_foreign(c, (int)big_endian(header + AT_VERSION));
        return -EPROTO;
}

/* Looks for damage: everywhere when the last run did not end as it should, else where it would keep
 * magnetfs from starting. */
static int check_pages(sqlite3 *db, bool clean)
{
        const char *sql = clean ? "PRAGMA quick_check('torrents')" : "PRAGMA quick_check(1)";
        sqlite3_stmt *s;
        int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL), r;

        if (rc == SQLITE_OK)
                rc = sqlite3_step(s);
        r = catalog_errno(db, rc);
        if (rc == SQLITE_ROW) {
                const char *text = (const char *)sqlite3_column_text(s, 0);

                if (text && strcmp(text, "ok") != 0) {
                        log_debug("The catalog is damaged: %s", text);
                        r = -EUCLEAN;
                }
        }
        sqlite3_finalize(s);
        return r;
}

static int open_writer(struct catalog *c, struct catalog_found *found)
{
        int64_t clean = 0;
        int version = 0, r = catalog_connect(c->dir_fd, c->name, &c->writer);

        if (r < 0)
                return r;
        r = catalog_identify(c->writer, &version);
        if (r == -EPROTO)
                say_foreign(c, version);
        if (r < 0)
                return r;
        if (version == 0)
                r = catalog_exec(c->writer, "PRAGMA page_size = " CATALOG_TEXT(CATALOG_PAGE_BYTES));
        if (r == 0)
                r = catalog_exec(c->writer, "PRAGMA journal_mode = WAL; " SETTINGS);
        if (r == 0 && version > 0)
                r = catalog_number(c->writer,
                                   "SELECT count(*) FROM facts WHERE name = '" CATALOG_CLEAN "'",
                                   &clean);
        if (r == 0 && version > 0)
                r = check_pages(c->writer, clean > 0);
        if (r == 0)
                r = catalog_migrate(c->writer, CATALOG_VERSION);
        found->clean = clean > 0 || version == 0;
        return r;
}

static void close_both(struct catalog *c)
{
        for (unsigned i = 0; i < CATALOG_STATEMENTS; i++) {
                sqlite3_finalize(c->statements[i]);
                c->statements[i] = NULL;
        }
        sqlite3_close(c->reader);
        sqlite3_close(c->writer);
        c->reader = c->writer = NULL;
}

/* -EUCLEAN: it is damaged. */
static int open_both(struct catalog *c, struct catalog_found *found)
{
        int r = catalog_make_file(c->dir_fd, c->name);

        if (r == 0)
                r = check_header(c);
        if (r == 0)
                r = open_writer(c, found);
        if (r == 0)
                r = catalog_connect(c->dir_fd, c->name, &c->reader);
        if (r == 0)
                r = catalog_exec(c->reader, SETTINGS "; PRAGMA query_only = ON");
        if (r == 0)
                r = catalog_prepare(c);
        if (r == 0) {
                catalog_begin(c);
                catalog_put_fact(c, CATALOG_CLEAN, NULL, 0);
                r = catalog_commit(c);
                /* That it is damaged is not for the next start, but for this one. */
                if (c->damaged)
                        r = -EUCLEAN;
        }
        if (r == 0) {
                catalog_trust(c->reader);
                catalog_trust(c->writer);
        } else {
                close_both(c);
                c->damaged = false;
        }
        return r;
}

static int rescue(struct catalog *c, struct catalog_found *found)
{
        char aside[CATALOG_FILE_MAX];
        int64_t saved = 0;
        int r = catalog_rescue(c, &saved, aside);

        if (r < 0)
                return r;
        log_warning(
                "The catalog %s was damaged: %lld torrents were saved of it, and what they have is verified anew. The damaged file is now %s beside it; delete it when nothing is missing",
                c->shown, (long long)saved, aside);
        r = open_both(c, found);
        found->clean = false;
        found->rescued = true;
        return r;
}

static void free_catalog(struct catalog *c)
{
        close_both(c);
        pthread_mutex_destroy(&c->write_lock);
        pthread_mutex_destroy(&c->read_lock);
        free(c);
}

static struct catalog *new_catalog(int dir_fd, const char *name)
{
        struct catalog *c = calloc(1, sizeof *c);
        pthread_mutexattr_t attr;
        char link[64];
        ssize_t n;

        if (!c)
                return NULL;
        c->dir_fd = dir_fd;
        snprintf(c->name, sizeof c->name, "%s", name);
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
        n = readlink(link, c->shown, sizeof c->shown);
        if (n < 0 || (size_t)n + 1 + strlen(name) >= sizeof c->shown)
                n = 0;
        else
                c->shown[n++] = '/';
        snprintf(c->shown + n, sizeof c->shown - (size_t)n, "%s", name);
        pthread_mutex_init(&c->write_lock, NULL);
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
        pthread_mutex_init(&c->read_lock, &attr);
        pthread_mutexattr_destroy(&attr);
        return c;
}

int catalog_open(int dir_fd, const char *name, struct catalog_found *found, struct catalog **ret)
{
        struct catalog_found as = {false, false};
        struct catalog *c = new_catalog(dir_fd, name);
        int r = strlen(name) < CATALOG_NAME_MAX ? catalog_prepare_sqlite() : -ENAMETOOLONG;

        if (!c)
                return log_error_errno(ENOMEM, "Cannot open the catalog %s: %m", name);
        if (r == 0)
                r = catalog_rescue_pending(c) ? -EUCLEAN : open_both(c, &as);
        if (r == -EUCLEAN)
                r = rescue(c, &as);
        if (r == -EUCLEAN)
                r = -EIO;
        if (r < 0) {
                say_failed(c, r);
                free_catalog(c);
                return r;
        }
        *found = as;
        *ret = c;
        return 0;
}

void catalog_close(struct catalog *c, bool clean)
{
        int r = 0;

        if (!c)
                return;
        if (clean && !c->damaged) {
                catalog_begin(c);
                catalog_put_fact(c, CATALOG_CLEAN, "", 0);
                r = catalog_commit(c);
        }
        if (r < 0)
                log_warning_errno(
                        r, "Cannot write to the catalog %s: %m; the next start verifies all again",
                        c->shown);
        /* The last to be closed moves what is in the -wal file to the catalog. */
        free_catalog(c);
}
