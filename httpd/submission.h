/* SPDX-License-Identifier: MIT */
/* submission.h: what the body of a POST /torrents hands in: a magnet or an info-hash, or a .torrent
 * file; as programs, forms and `curl -d`, `-F` and `--data-binary` send them. Pure: no I/O. */
#ifndef HTTPD_SUBMISSION_H
#define HTTPD_SUBMISSION_H

#include <stdbool.h>
#include <stddef.h>

struct submission {
        bool is_torrent; /* data is a .torrent; else a line that the mount's `add` may be given */
        const char *data;
        size_t len; /* data[len] is a NUL of a line */
        bool says_keep, keep;
        char *own; /* what data may point into; for submission_free() */
};

/* How many bytes a body of this Content-Type (NULL: none) may have; 0: it is none of those that are
 * read. */
size_t submission_max(const char *content_type);

/* Reads a body, which must stay as long as *ret and have a NUL behind it. *ret_why says what is
 * wrong, a static string. -EINVAL: it hands in nothing, or two things; -EBADMSG: malformed;
 * -ENOMEM. The caller frees with submission_free(). */
int submission_read(const char *content_type, const char *body, size_t len, struct submission *ret,
                    const char **ret_why);
void submission_free(struct submission *s);

#endif
