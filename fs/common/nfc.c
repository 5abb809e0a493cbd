/* SPDX-License-Identifier: MIT */
#include "common/nfc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

/* The first byte of U+0300, the first character that may be put together with one before it. */
enum { FIRST_COMBINING = 0xcc };

/* Whether it is normal by a quick look (UAX #15 §9): of almost all names it is. */
static bool is_plain(const char *text)
{
        for (const unsigned char *s = (const unsigned char *)text; *s; s++)
                if (*s >= FIRST_COMBINING)
                        return false;
        return true;
}

int nfc_of(const char *text, char **ret)
{
        utf8proc_uint8_t *normal = NULL;
        utf8proc_ssize_t n;

        *ret = NULL;
        if (is_plain(text))
                return 0;
        n = utf8proc_map((const utf8proc_uint8_t *)text, 0, &normal,
                         UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (n == UTF8PROC_ERROR_NOMEM)
                return -ENOMEM;
        if (n < 0)
                return 0;
        if (strcmp((const char *)normal, text) == 0)
                free(normal);
        else
                *ret = (char *)normal;
        return 0;
}
