/* SPDX-License-Identifier: MIT */
/* catalog_room.c: what the catalog takes on the disk, for the bound of the cache. */
#include "engine/catalog_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { STAT_BLOCK = 512 };

void catalog_bound(struct catalog *c, uint64_t bytes)
{
        char sql[128];

        if (bytes < CATALOG_WAL_LEAST)
                bytes = CATALOG_WAL_LEAST;
        if (bytes > CATALOG_WAL_MOST)
                bytes = CATALOG_WAL_MOST;
        snprintf(sql, sizeof sql, "PRAGMA wal_autocheckpoint = %u; PRAGMA journal_size_limit = %u",
                 (unsigned)(bytes / CATALOG_PAGE_BYTES), (unsigned)bytes);
        pthread_mutex_lock(&c->write_lock);
        (void)catalog_exec(c->writer, sql);
        c->wal_bytes = bytes;
        pthread_mutex_unlock(&c->write_lock);
}

static uint64_t allocated(const struct catalog *c, const char *suffix)
{
        char file[CATALOG_FILE_MAX];
        struct stat st;

        snprintf(file, sizeof file, "%s%s", c->name, suffix);
        if (fstatat(c->dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        return (uint64_t)st.st_blocks * STAT_BLOCK;
}

uint64_t catalog_room(const struct catalog *c)
{
        uint64_t wal = allocated(c, "-wal"), grows = c->wal_bytes;

        /* The -wal grows up to there, and then the catalog by what is in it. */
        return allocated(c, "") + (wal > grows ? wal : grows) + grows + allocated(c, "-shm");
}
