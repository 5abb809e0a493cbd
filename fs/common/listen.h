/* SPDX-License-Identifier: MIT */
/* listen.h: where the sidecar listens, as users write it. Pure; any thread. */
#ifndef FS_LISTEN_H
#define FS_LISTEN_H

#include <stdint.h>

enum { LISTEN_ADDR_MAX = 16 }; /* "127.255.255.255" and its NUL */

/* Splits "ADDR:PORT". ADDR is an IPv4 loopback address or "localhost", which is 127.0.0.1; addr
 * gets the address. Why it is refused, as the end of a message, or NULL; both are untouched then.
 */
const char *listen_parse(const char *text, char addr[LISTEN_ADDR_MAX], uint16_t *port);

#endif
