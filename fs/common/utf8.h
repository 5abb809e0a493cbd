/* SPDX-License-Identifier: MIT */
/* utf8.h: characters of names and messages that come from strangers. Pure; any thread. */
#ifndef FS_UTF8_H
#define FS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes one character (RFC 3629) of text, n > 0 bytes; returns its length, or 0 if text begins
 * with none: *ret is untouched then. */
size_t utf8_char(const char *text, size_t n, uint32_t *ret);
/* A control character, of C0 or C1, or DEL. */
bool utf8_is_control(uint32_t c);
/* One that changes how the text around it looks, or is not seen at all: marks, embeddings,
 * overrides and isolates (UAX #9), the line and the paragraph separator, U+FEFF. */
bool utf8_is_layout(uint32_t c);
/* Makes text fit for a line of a log, in place: each control or layout character, and each byte
 * that belongs to no character, becomes one '?'. Returns the new length, which is never more. */
size_t utf8_clean(char *text);

/* Whether all of it is ASCII. */
bool utf8_is_ascii(const char *text);

#endif
