/* SPDX-License-Identifier: MIT */
/* clock.h: the one clock. Any thread; never fails. */
#ifndef FS_CLOCK_H
#define FS_CLOCK_H

#include <stdint.h>

/* Milliseconds of the clock that all *_ms count by: it goes on evenly, from an arbitrary point. */
uint64_t clock_ms(void);

#endif
