/* scratch.h: a folder for the stores of one test, and what is counted in it. */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include <stdint.h>

#include "store/cache.h"

#define N(a) (sizeof(a) / sizeof *(a))
#define HEX  "0123456789abcdef0123456789abcdef01234567"
#define MIB  (UINT64_C(1) << 20)

struct fixture {
        char path[64];
        int fd;
        uint64_t block;
};

/* For cmocka; the state is a struct fixture. What a test leaves in the folder has failed it. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* Names in the folder, besides "." and "..". */
unsigned entries(const struct fixture *f);
struct cache *new_cache(const struct fixture *f, uint64_t limit);
uint64_t used(struct cache *c);
/* What the pieces of a store take besides: a block for the file system's own map, for each 32. */
uint64_t map_bytes(const struct fixture *f, uint32_t pieces);

#endif
