/* SPDX-License-Identifier: MIT */
/* size.h: sizes as users write them. Pure. */
#ifndef FS_SIZE_H
#define FS_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* No cache is bounded by less. */
enum { CACHE_BYTES_MIN = 1 << 20 };

/* "20G", "512M", "1048576": bytes; K, M, G, T are powers of 1024. */
bool size_parse(const char *text, uint64_t *ret);

#endif
