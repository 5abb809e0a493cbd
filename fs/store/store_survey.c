/* SPDX-License-Identifier: MIT */
/* store_survey.c: what may be in a file of which nobody knows what is. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Sets the bits of the pieces that [from, to) of the file touches. */
static void claim(uint8_t *map, uint64_t from, uint64_t to, uint32_t piece_length, uint32_t pieces)
{
        uint64_t end = (to + piece_length - 1) / piece_length;

        for (uint64_t i = from / piece_length; i < end && i < pieces; i++)
                map[i / 8] = (uint8_t)(map[i / 8] | 1u << (i % 8));
}

int store_survey(struct cache *c, const char *name, uint64_t size, uint32_t piece_length,
                 uint8_t **ret)
{
        uint32_t pieces = (uint32_t)((size + piece_length - 1) / piece_length);
        const struct cache_file *f;
        char file[sizeof f->name];
        uint8_t *map;
        off_t from = 0, to;
        int fd = -1;

        snprintf(file, sizeof file, "%s" CACHE_SUFFIX, name);
        pthread_mutex_lock(&c->files_lock);
        HASH_FIND_STR(c->files, file, f);
        if (f && !f->store && f->closed && c->sparse)
                fd = openat(c->dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        pthread_mutex_unlock(&c->files_lock);
        if (fd < 0)
                return -ENOENT;
        map = calloc(1, have_bitmap_bytes(pieces) + 1);
        while (map && (from = lseek(fd, from, SEEK_DATA)) >= 0) {
                to = lseek(fd, from, SEEK_HOLE);
                if (to <= from)
                        break;
                claim(map, (uint64_t)from, (uint64_t)to, piece_length, pieces);
                from = to;
        }
        close(fd);
        if (!map)
                return -ENOMEM;
        *ret = map;
        return 0;
}
