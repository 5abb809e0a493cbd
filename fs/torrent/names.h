/* SPDX-License-Identifier: MIT */
/* names.h: makes names that torrents bring safe for a directory. Pure: no state, any thread, never
 * blocks, never fails. */
#ifndef FS_NAMES_H
#define FS_NAMES_H

#include <stddef.h>

enum { NAME_BYTES_MAX = 255 }; /* Linux' NAME_MAX */

/* Writes the safe form of raw (len bytes, one path component, may hold anything) to out with a NUL
 * and returns its length, 1 to NAME_BYTES_MAX. '/', NUL, control characters (also DEL, C1, U+2028,
 * U+2029), bidirectional overrides and isolates, and bytes that are no UTF-8 become '_'; "", "."
 * and ".." become "_" and "__"; what is too long is cut before its extension, between characters.
 */
size_t name_clean(const char *raw, size_t len, char out[NAME_BYTES_MAX + 1]);

/* Writes name with " (n)" before its extension to out: how a second thing of the same name is told
 * apart. Returns the length. */
size_t name_numbered(const char *name, unsigned n, char out[NAME_BYTES_MAX + 1]);

/* Which number makes numbered of name: 1 if they are the same, 0 if none does. */
unsigned name_number(const char *name, const char *numbered);

/* Length of name without its extension: "clip.mp4" gives 4. A name that only has an extension, or
 * none, keeps its length, and so does one that would be nothing but dots without it. */
size_t name_stem(const char *name);

/* Makes text that came from elsewhere fit for a terminal and for JSON: what a name may not hold,
 * but for '/', becomes '_'. Cut between characters to size - 1 bytes; size > 0. */
void name_clean_text(const char *raw, char *out, size_t size);

#endif
