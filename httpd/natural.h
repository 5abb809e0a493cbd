/* SPDX-License-Identifier: MIT */
/* natural.h: the order in which people put names: E2 before E10. Pure. */
#ifndef HTTPD_NATURAL_H
#define HTTPD_NATURAL_H

/* Compares two paths part by part: runs of digits as numbers of any length, letters of ASCII in
 * whichever case, all else by its bytes; what is in a folder comes where the folder's name would.
 * Names that differ in nothing of that (a and A, 1 and 01) still have an order. Less than, equal to
 * or greater than 0, as strcmp(); 0 for the very same text alone. */
int natural_compare(const char *a, const char *b);

#endif
