/* SPDX-License-Identifier: MIT */
/* nfc.h: names that look alike but are written differently: "é" is one character or two. Unicode
 * calls them canonically equivalent, and the same in Normalization Form C (UAX #15). macOS writes
 * names taken apart, all others put together. Pure; any thread. */
#ifndef FS_NFC_H
#define FS_NFC_H

/* Gives text in Normalization Form C as a string of its own, which the caller frees; NULL where
 * text is in that form as it is, or is no UTF-8 and so equals itself alone. -ENOMEM. */
int nfc_of(const char *text, char **ret);

#endif
