/* SPDX-License-Identifier: MIT */
/* listen.h: where the sidecar listens, as users write it. Pure; any thread. */
#ifndef FS_LISTEN_H
#define FS_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

enum { LISTEN_ADDR_MAX = 16 }; /* "255.255.255.255" and its NUL */

/* Why an address that is no loopback one is refused without a token, as the end of a message. */
#define LISTEN_NEEDS_TOKEN                                                                         \
        "whoever reaches an address that is not of 127.0.0.0/8 could use it: give --token-file, "  \
        "or listen on 127.0.0.1 with a reverse proxy in front and its host as --allowed-host"

/* Splits "ADDR:PORT". ADDR is an IPv4 address or "localhost", which is 127.0.0.1; addr
 * gets the address. Why it is refused, as the end of a message, or NULL; both are untouched then.
 */
const char *listen_parse(const char *text, char addr[LISTEN_ADDR_MAX], uint16_t *port);

/* Whether an address that listen_parse() gave is reached from this machine alone. */
bool listen_is_loopback(const char *addr);

#endif
