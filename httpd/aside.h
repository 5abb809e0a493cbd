/* SPDX-License-Identifier: MIT */
/* aside.h: threads for what takes long: made when they are needed, and gone some seconds after
 * nothing is left for them. */
#ifndef HTTPD_ASIDE_H
#define HTTPD_ASIDE_H

/* What a handler needs, with room to spare. */
#define ASIDE_STACK_BYTES (128u << 10)

/* Has a thread call run(data), one that is idle or a new one. Any thread; doesn't block.
 * -EAGAIN: no thread can be made; run is not called. */
int aside_run(void (*run)(void *data), void *data);

#endif
