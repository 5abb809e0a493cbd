/* SPDX-License-Identifier: MIT */
/* preconditions.h: what a conditional request asks of the file as it is (RFC 9110 §13). Pure: no
 * I/O, no clock, no memory. */
#ifndef HTTPD_PRECONDITIONS_H
#define HTTPD_PRECONDITIONS_H

#include <stdbool.h>
#include <time.h>

/* What the file is told by. */
struct validators {
        const char *etag; /* strong, with its quotes */
        time_t modified;
        time_t now; /* for years of two digits, http_date.h */
};

/* The values of the fields, NULL where there is none. The lists of tags are joined where they came
 * in several lines (§5.3); a date that came twice is none, as it is no list. */
struct preconditions {
        const char *if_match, *if_none_match;
        const char *if_modified_since, *if_unmodified_since;
};

enum precondition_result {
        PRECONDITION_HOLDS,        /* the request is to be answered */
        PRECONDITION_NOT_MODIFIED, /* 304 */
        PRECONDITION_FAILED,       /* 412 */
};

/* Evaluates them for a GET or HEAD in the order of §13.2.2, steps 1 to 4. If-Match compares
 * strongly, If-None-Match weakly (§8.8.3.2). A malformed list has no tag that matches, a malformed
 * date is ignored (§13.1.3, §13.1.4). Never fails. */
enum precondition_result preconditions_check(const struct preconditions *p,
                                             const struct validators *v);

/* Whether a Range may be honoured in view of the value of If-Range (NULL: none; §13.1.5): a tag
 * must be the very same and strong, a date exactly that of the last change. A file never changes
 * twice in a second, as a torrent's never changes, so that its date is a strong validator
 * (§8.8.2.2). */
bool preconditions_if_range(const char *if_range, const struct validators *v);

#endif
