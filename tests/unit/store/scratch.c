#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <cmocka.h>

int scratch_setup(void **state)
{
        struct fixture *f = calloc(1, sizeof *f);
        struct statvfs v;

        if (!f)
                return -1;
        strcpy(f->path, "/tmp/magnetfs-test-store-XXXXXX");
        if (!mkdtemp(f->path))
                return -1;
        f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (f->fd < 0 || fstatvfs(f->fd, &v) < 0)
                return -1;
        f->block = v.f_frsize;
        *state = f;
        return 0;
}

unsigned entries(const struct fixture *f)
{
        DIR *d = opendir(f->path);
        unsigned n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        closedir(d);
        return n - 2;
}

/* What a test leaves behind has failed, but must not stay. */
int scratch_teardown(void **state)
{
        struct fixture *f = *state;
        unsigned left = entries(f);
        DIR *d = opendir(f->path);
        struct dirent *e;

        while (d && (e = readdir(d)))
                if (unlinkat(f->fd, e->d_name, 0) < 0)
                        (void)unlinkat(f->fd, e->d_name, AT_REMOVEDIR);
        if (d)
                closedir(d);
        close(f->fd);
        rmdir(f->path);
        free(f);
        return left > 0 ? -1 : 0;
}

struct cache *new_cache(const struct fixture *f, uint64_t limit)
{
        struct cache *c = NULL;

        assert_int_equal(cache_new(f->fd, limit, 0, NULL, NULL, &c), 0);
        return c;
}

uint64_t used(struct cache *c)
{
        struct cache_stats st;

        cache_stats(c, &st);
        return st.used_bytes;
}

uint64_t map_bytes(const struct fixture *f, uint32_t pieces)
{
        return (uint64_t)((pieces + 31) / 32) * f->block;
}
