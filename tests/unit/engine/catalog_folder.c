/* SPDX-License-Identifier: MIT */
#include "catalog_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int folder_setup(void **state)
{
        struct folder *f = calloc(1, sizeof *f);

        if (!f)
                return -1;
        strcpy(f->path, "/tmp/test_catalog.XXXXXX");
        f->fd = mkdtemp(f->path) ? open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        f->stderr_fd = dup(STDERR_FILENO);
        f->log_fd = memfd_create("log", MFD_CLOEXEC);
        *state = f;
        return f->fd < 0 || f->log_fd < 0 || dup2(f->log_fd, STDERR_FILENO) < 0 ? -1 : 0;
}

int folder_teardown(void **state)
{
        struct folder *f = *state;
        DIR *dir = fdopendir(f->fd);
        struct dirent *e;

        catalog_close(f->catalog, false);
        dup2(f->stderr_fd, STDERR_FILENO);
        rewinddir(dir);
        while ((e = readdir(dir)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                    unlinkat(f->fd, e->d_name, 0) < 0)
                        unlinkat(f->fd, e->d_name, AT_REMOVEDIR);
        closedir(dir);
        close(f->stderr_fd);
        close(f->log_fd);
        rmdir(f->path);
        free(f);
        return 0;
}

struct catalog *folder_open(struct folder *f)
{
        assert_null(f->catalog);
        memset(&f->found, 0xff, sizeof f->found);
        assert_int_equal(catalog_open(f->fd, NAME, &f->found, &f->catalog), 0);
        return f->catalog;
}

void folder_close(struct folder *f, bool clean)
{
        catalog_close(f->catalog, clean);
        f->catalog = NULL;
}

int folder_refuses(struct folder *f)
{
        struct catalog_found found;
        int r = catalog_open(f->fd, NAME, &found, &f->catalog);

        assert_null(f->catalog);
        return r;
}

unsigned folder_logged(struct folder *f, const char *text)
{
        off_t len = lseek(f->log_fd, 0, SEEK_END);
        char *all = calloc(1, (size_t)len + 1);
        unsigned n = 0;

        assert_non_null(all);
        assert_int_equal(pread(f->log_fd, all, (size_t)len, 0), len);
        for (const char *at = all; *text && (at = strstr(at, text)); at++)
                n++;
        free(all);
        assert_int_equal(ftruncate(f->log_fd, 0), 0);
        lseek(f->log_fd, 0, SEEK_SET);
        return n;
}

const struct catalog_row *folder_row(struct folder *f, uint32_t number)
{
        static struct catalog_row row;
        struct text *t = &f->text;

        memset(&row, 0, sizeof row);
        row.number = number;
        if (number % 3 != 1)
                snprintf(row.alias[0], BT_HEX_MAX, "%040x", number);
        if (number % 3 != 0)
                snprintf(row.alias[1], BT_HEX_MAX, "%064x", number);
        strcpy(row.hex, row.alias[number % 3 == 0 ? 0 : 1]);
        snprintf(t->name, sizeof t->name, "film %u (%u).mkv", number / 2, number % 2);
        snprintf(t->claim, sizeof t->claim, "film '%u'.mkv", number / 2);
        row.name = t->name;
        row.claim = t->claim;
        row.index = number % 2;
        row.kept = number % 5 != 0;
        row.added_at = 1700000000 + (int64_t)number;
        row.used_at = INT64_C(5000000000) + number;
        row.metadata = number % 7 != 0;
        if (row.metadata) {
                row.length = UINT64_MAX - number;
                row.have_bytes = (uint64_t)number << 32;
                row.piece_length = 16384;
                row.pieces = UINT32_MAX - number;
                row.files = 1 + number;
                row.directories = 2 + number;
        }
        row.to_fill = number % 4 == 0 ? "1 2 77" : "";
        row.pins = number % 11 == 0 ? "all" : number % 11 == 5 ? "3:0-4 9:3-77" : "";
        return &row;
}

void folder_fill(struct folder *f, uint32_t first, uint32_t last)
{
        char source[256];

        catalog_begin(f->catalog);
        for (uint32_t i = first; i <= last; i++) {
                memset(source, (int)i, sizeof source);
                catalog_put(f->catalog, folder_row(f, i));
                catalog_put_source(f->catalog, i, source, sizeof source);
                catalog_put_have(f->catalog, i, &i, sizeof i, true);
        }
        assert_int_equal(catalog_commit(f->catalog), 0);
}

int folder_source_bytes(struct catalog *c, uint32_t number, size_t *ret_len)
{
        void *data = NULL;
        int r = catalog_get_source(c, number, &data, ret_len);

        free(data);
        return r;
}

static int check(void *arg, const struct catalog_row *row)
{
        struct folder *f = arg;
        const struct catalog_row *e = folder_row(f, row->number);

        assert_string_equal(row->hex, e->hex);
        assert_string_equal(row->alias[0], e->alias[0]);
        assert_string_equal(row->alias[1], e->alias[1]);
        assert_string_equal(row->name, e->name);
        assert_string_equal(row->claim, e->claim);
        assert_int_equal(row->index, e->index);
        assert_int_equal(row->kept, e->kept);
        assert_int_equal(row->added_at, e->added_at);
        assert_int_equal(row->used_at, e->used_at);
        assert_int_equal(row->metadata, e->metadata);
        assert_int_equal(row->length, e->length);
        assert_int_equal(row->have_bytes, e->have_bytes);
        assert_int_equal(row->piece_length, e->piece_length);
        assert_int_equal(row->pieces, e->pieces);
        assert_int_equal(row->files, e->files);
        assert_int_equal(row->directories, e->directories);
        assert_string_equal(row->to_fill, e->to_fill);
        assert_string_equal(row->pins, e->pins);
        return 0;
}

static int count(void *arg, const struct catalog_row *row)
{
        (void)row;
        ++*(unsigned *)arg;
        return 0;
}

unsigned folder_rows(struct folder *f)
{
        unsigned n = 0;

        assert_int_equal(catalog_each(f->catalog, check, f), 0);
        assert_int_equal(catalog_each(f->catalog, count, &n), 0);
        return n;
}

char *folder_read(struct folder *f, const char *name, size_t *ret_len)
{
        int fd = openat(f->fd, name, O_RDONLY | O_CLOEXEC);
        struct stat st;
        char *data;

        if (fd < 0)
                return NULL;
        assert_int_equal(fstat(fd, &st), 0);
        data = malloc((size_t)st.st_size + 1);
        assert_non_null(data);
        assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
        close(fd);
        *ret_len = (size_t)st.st_size;
        return data;
}

void folder_write(struct folder *f, const char *name, const void *data, size_t len)
{
        int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, len), len);
        close(fd);
}

bool folder_find(struct folder *f, const char *begin, char out[256])
{
        DIR *dir = opendir(f->path);
        struct dirent *e;
        bool found = false;

        assert_non_null(dir);
        while (!found && (e = readdir(dir))) {
                found = strncmp(e->d_name, begin, strlen(begin)) == 0;
                if (found)
                        strcpy(out, e->d_name);
        }
        closedir(dir);
        return found;
}
