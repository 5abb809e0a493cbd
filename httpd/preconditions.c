/* SPDX-License-Identifier: MIT */
#include "preconditions.h"

#include <stddef.h>
#include <string.h>

#include "http_date.h"

enum comparison { COMPARE_STRONG, COMPARE_WEAK };

static const char *skip_space(const char *p)
{
        while (*p == ' ' || *p == '\t')
                p++;
        return p;
}

/* etagc, RFC 9110 §8.8.3: visible ASCII but the quote, and all above. */
static bool is_tag_char(unsigned char c)
{
        return c == 0x21 || (c >= 0x23 && c != 0x7f);
}

/* Reads one entity-tag. *opaque and *len are its opaque-tag, with quotes. Returns what follows,
 * NULL: there is none. */
static const char *read_tag(const char *p, bool *weak, const char **opaque, size_t *len)
{
        *weak = strncmp(p, "W/", 2) == 0;
        if (*weak)
                p += 2;
        *opaque = p;
        if (*p != '"')
                return NULL;
        for (p++; is_tag_char((unsigned char)*p); p++)
                ;
        if (*p != '"')
                return NULL;
        p++;
        *len = (size_t)(p - *opaque);
        return p;
}

/* Whether the list has the tag, or is "*": there is a file. A list (§5.6.1): empty elements count
 * for nothing. */
static bool list_has(const char *list, const char *etag, enum comparison comparison)
{
        bool found = false;
        const char *p = skip_space(list);

        if (*p == '*')
                return *skip_space(p + 1) == '\0';
        while (*p) {
                const char *opaque;
                bool weak;
                size_t len;

                if (*p == ',') {
                        p = skip_space(p + 1);
                        continue;
                }
                p = read_tag(p, &weak, &opaque, &len);
                if (!p)
                        return false;
                if (len == strlen(etag) && memcmp(opaque, etag, len) == 0 &&
                    !(weak && comparison == COMPARE_STRONG))
                        found = true;
                p = skip_space(p);
                if (*p != ',' && *p != '\0')
                        return false;
        }
        return found;
}

enum precondition_result preconditions_check(const struct preconditions *p,
                                             const struct validators *v)
{
        time_t date;

        if (p->if_match) {
                if (!list_has(p->if_match, v->etag, COMPARE_STRONG))
                        return PRECONDITION_FAILED;
        } else if (p->if_unmodified_since &&
                   http_date_parse(p->if_unmodified_since, v->now, &date) && v->modified > date) {
                return PRECONDITION_FAILED;
        }
        if (p->if_none_match) {
                if (list_has(p->if_none_match, v->etag, COMPARE_WEAK))
                        return PRECONDITION_NOT_MODIFIED;
        } else if (p->if_modified_since && http_date_parse(p->if_modified_since, v->now, &date) &&
                   v->modified <= date) {
                return PRECONDITION_NOT_MODIFIED;
        }
        return PRECONDITION_HOLDS;
}

bool preconditions_if_range(const char *if_range, const struct validators *v)
{
        time_t date;

        if (!if_range)
                return true;
        if (if_range[0] == '"')
                return strcmp(if_range, v->etag) == 0;
        return http_date_parse(if_range, v->now, &date) && date == v->modified;
}
