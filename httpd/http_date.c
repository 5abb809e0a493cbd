/* SPDX-License-Identifier: MIT */
#include "http_date.h"

#include <stdio.h>
#include <string.h>

enum { DAYS = 7, MONTHS = 12 };
/* struct tm counts years from here. */
enum { TM_YEAR_BASE = 1900 };
/* How far in the future a year of two digits may lie, RFC 9110 §5.6.7. */
enum { FUTURE_YEARS_MAX = 50 };

/* Names are case-sensitive, and never those of a locale. */
static const char *const days[DAYS] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
static const char *const months[MONTHS] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
enum { SHORT_NAME = 3 };

void http_date_format(time_t t, char ret[static HTTP_DATE_MAX])
{
        struct tm tm = {0};

        gmtime_r(&t, &tm);
        snprintf(ret, HTTP_DATE_MAX, "%.3s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
                 tm.tm_mday, months[tm.tm_mon], tm.tm_year + TM_YEAR_BASE, tm.tm_hour, tm.tm_min,
                 tm.tm_sec);
}

/* Each of these goes on behind what it reads; false: something else is there. */

static bool read_text(const char **p, const char *text)
{
        size_t len = strlen(text);

        if (strncmp(*p, text, len) != 0)
                return false;
        *p += len;
        return true;
}

/* Exactly so many digits. */
static bool read_digits(const char **p, unsigned count, int *ret)
{
        int n = 0;

        for (unsigned i = 0; i < count; i++) {
                char c = (*p)[i];

                if (c < '0' || c > '9')
                        return false;
                n = n * 10 + (c - '0');
        }
        *p += count;
        *ret = n;
        return true;
}

/* The name of a day, whole or its first three letters. Which one it is says nothing that the date
 * doesn't. */
static bool read_day_name(const char **p, bool whole)
{
        for (unsigned i = 0; i < DAYS; i++) {
                size_t len = whole ? strlen(days[i]) : SHORT_NAME;

                if (strncmp(*p, days[i], len) == 0) {
                        *p += len;
                        return true;
                }
        }
        return false;
}

static bool read_month(const char **p, int *ret)
{
        for (int i = 0; i < MONTHS; i++)
                if (read_text(p, months[i])) {
                        *ret = i;
                        return true;
                }
        return false;
}

static bool read_time(const char **p, struct tm *tm)
{
        return read_digits(p, 2, &tm->tm_hour) && read_text(p, ":") &&
               read_digits(p, 2, &tm->tm_min) && read_text(p, ":") &&
               read_digits(p, 2, &tm->tm_sec);
}

static bool read_year(const char **p, struct tm *tm)
{
        if (!read_digits(p, 4, &tm->tm_year))
                return false;
        tm->tm_year -= TM_YEAR_BASE;
        return true;
}

static bool read_imf(const char *p, struct tm *tm)
{
        return read_day_name(&p, false) && read_text(&p, ", ") &&
               read_digits(&p, 2, &tm->tm_mday) && read_text(&p, " ") &&
               read_month(&p, &tm->tm_mon) && read_text(&p, " ") && read_year(&p, tm) &&
               read_text(&p, " ") && read_time(&p, tm) && read_text(&p, " GMT") && *p == '\0';
}

static bool read_asctime(const char *p, struct tm *tm)
{
        if (!read_day_name(&p, false) || !read_text(&p, " ") || !read_month(&p, &tm->tm_mon) ||
            !read_text(&p, " "))
                return false;
        if (!(read_text(&p, " ") ? read_digits(&p, 1, &tm->tm_mday)
                                 : read_digits(&p, 2, &tm->tm_mday)))
                return false;
        return read_text(&p, " ") && read_time(&p, tm) && read_text(&p, " ") && read_year(&p, tm) &&
               *p == '\0';
}

static bool read_rfc850(const char *p, time_t now, struct tm *tm)
{
        struct tm here = {0};

        if (!(read_day_name(&p, true) && read_text(&p, ", ") && read_digits(&p, 2, &tm->tm_mday) &&
              read_text(&p, "-") && read_month(&p, &tm->tm_mon) && read_text(&p, "-") &&
              read_digits(&p, 2, &tm->tm_year) && read_text(&p, " ") && read_time(&p, tm) &&
              read_text(&p, " GMT") && *p == '\0'))
                return false;
        gmtime_r(&now, &here);
        tm->tm_year += here.tm_year / 100 * 100;
        if (tm->tm_year <= here.tm_year + FUTURE_YEARS_MAX - 100)
                tm->tm_year += 100;
        else if (tm->tm_year > here.tm_year + FUTURE_YEARS_MAX)
                tm->tm_year -= 100;
        return true;
}

bool http_date_parse(const char *text, time_t now, time_t *ret)
{
        struct tm imf = {0}, asc = {0}, old = {0}, *tm, normal;
        time_t t;

        if (read_imf(text, &imf))
                tm = &imf;
        else if (read_rfc850(text, now, &old))
                tm = &old;
        else if (read_asctime(text, &asc))
                tm = &asc;
        else
                return false;
        /* A second 60 is a leap second. */
        if (tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 60)
                return false;
        normal = *tm;
        normal.tm_sec = 0;
        t = timegm(&normal);
        if (normal.tm_mday != tm->tm_mday || normal.tm_mon != tm->tm_mon)
                return false; /* a day that the month has not */
        *ret = t + tm->tm_sec;
        return true;
}
