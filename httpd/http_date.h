/* SPDX-License-Identifier: MIT */
/* http_date.h: the dates of HTTP (RFC 9110 §5.6.7). Pure: no I/O, no clock, no locale. */
#ifndef HTTPD_HTTP_DATE_H
#define HTTPD_HTTP_DATE_H

#include <stdbool.h>
#include <time.h>

/* Room for an IMF-fixdate of any year that time_t can name, and its NUL. */
enum { HTTP_DATE_MAX = 64 };

/* Writes t as an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT". */
void http_date_format(time_t t, char ret[static HTTP_DATE_MAX]);

/* Reads a date in any of the three forms that a recipient must take: IMF-fixdate, that of RFC 850
 * and that of asctime(). The two digits of an RFC 850 year are the latest year that is not more
 * than 50 years after now. False: it is none of these, or a day that there is not. */
bool http_date_parse(const char *text, time_t now, time_t *ret);

#endif
