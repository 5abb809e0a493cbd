/* SPDX-License-Identifier: MIT */
#include "common/intake.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buffer.h"

/* As deep as the shim's own limit for bencode; deeper is no torrent. */
enum { DEPTH_MAX = 200, STRING_DIGITS_MAX = 10 };

int intake_add(struct intake *in, const void *data, size_t len, size_t max)
{
        if (len == 0)
                return 0;
        if (in->taken > 0) {
                memmove(in->data, in->data + in->taken, in->len - in->taken);
                in->len -= in->taken;
                in->taken = 0;
        }
        if (in->len + len > max)
                return -E2BIG;
        if (buffer_grow(&in->data, &in->room, in->len + len) < 0)
                return -ENOMEM;
        memcpy(in->data + in->len, data, len);
        in->len += len;
        return 0;
}

size_t intake_pending(const struct intake *in)
{
        return in->len - in->taken;
}

void intake_clear(struct intake *in)
{
        free(in->data);
        *in = (struct intake){0};
}

/* The blank or byte order mark at the beginning of p; 0: none. */
static size_t blank_length(const char *p, size_t len)
{
        static const char mark[] = "\xef\xbb\xbf";
        enum { MARK_BYTES = sizeof mark - 1 };

        if (len > 0 && isspace((unsigned char)*p))
                return 1;
        return len >= MARK_BYTES && memcmp(p, mark, MARK_BYTES) == 0 ? MARK_BYTES : 0;
}

static size_t blanks_length(const char *p, size_t len)
{
        size_t sum = 0, n;

        while ((n = blank_length(p + sum, len - sum)) > 0)
                sum += n;
        return sum;
}

/* "d", digits, ":" begins a bencoded dictionary with a key; an info-hash in hex has no colon. */
static bool begins_torrent(const char *p, size_t len)
{
        size_t i = 1;

        if (len < 3 || p[0] != 'd')
                return false;
        while (i < len && isdigit((unsigned char)p[i]))
                i++;
        return i > 1 && i < len && p[i] == ':';
}

bool intake_begins_torrent(const char *data, size_t len)
{
        size_t blanks = blanks_length(data, len);

        return begins_torrent(data + blanks, len - blanks);
}

/* Whether a line is meant as a magnet or an info-hash. */
static bool looks_like_link(const char *p, size_t len)
{
        static const char scheme[] = "magnet";
        size_t i = 0;

        if (len > sizeof scheme && strncasecmp(p, scheme, sizeof scheme - 1) == 0)
                return true;
        if (len != 32 && len != 40 && len != 64)
                return false;
        while (i < len && isalnum((unsigned char)p[i]))
                i++;
        return i == len;
}

bool intake_is_torrent(const struct intake *in)
{
        return !in->broken && begins_torrent(in->data + in->taken, in->len - in->taken);
}

/* One token of bencode (BEP 3) at p: its length; 0 when it is not complete; -EINVAL. */
static long token(const char *p, size_t len, unsigned *depth)
{
        size_t i = 0, n = 0;

        switch (p[0]) {
        case 'd':
        case 'l':
                if (*depth == DEPTH_MAX)
                        return -EINVAL;
                (*depth)++;
                return 1;
        case 'e':
                (*depth)--;
                return 1;
        case 'i':
                for (i = 1; i < len && i < 24; i++)
                        if (p[i] == 'e')
                                return (long)i + 1;
                return i == 24 ? -EINVAL : 0;
        default:
                for (i = 0; i < len && i <= STRING_DIGITS_MAX && isdigit((unsigned char)p[i]); i++)
                        n = n * 10 + (size_t)(p[i] - '0');
                if (i == len)
                        return i > STRING_DIGITS_MAX ? -EINVAL : 0;
                if (i == 0 || i > STRING_DIGITS_MAX || p[i] != ':')
                        return -EINVAL;
                return n <= len - i - 1 ? (long)(i + 1 + n) : 0;
        }
}

/* Length of the complete dictionary at the start of p, 0 when more is to come, or -EINVAL. */
static long scan_torrent(struct intake *in, const char *p, size_t len)
{
        while (in->scanned < len) {
                long n = token(p + in->scanned, len - in->scanned, &in->depth);

                if (n <= 0)
                        return n;
                in->scanned += (size_t)n;
                if (in->depth == 0)
                        return (long)in->scanned;
        }
        return 0;
}

/* Takes the .torrent at p, or nothing while more of it is to come. -EINVAL: it is none. */
static int next_torrent(struct intake *in, bool final, enum intake_item *type, const char **item,
                        size_t *len)
{
        const char *p = in->data + in->taken;
        long r = scan_torrent(in, p, in->len - in->taken);

        if (r == 0 && !final)
                return 0;
        in->scanned = 0;
        in->depth = 0;
        if (r <= 0)
                return -EINVAL;
        in->taken += (size_t)r;
        in->behind = true;
        *type = INTAKE_TORRENT;
        *item = p;
        *len = (size_t)r;
        return 0;
}

int intake_next(struct intake *in, bool final, enum intake_item *type, const char **item,
                size_t *len)
{
        *type = INTAKE_NOTHING;
        for (;;) {
                const char *p, *newline;
                size_t left, n;

                if (in->len > in->taken && !in->broken)
                        in->taken += blanks_length(in->data + in->taken, in->len - in->taken);
                if (in->len == in->taken) {
                        if (final)
                                in->behind = in->broken = false;
                        return 0;
                }
                p = in->data + in->taken;
                left = in->len - in->taken;
                if (intake_is_torrent(in)) {
                        int r = next_torrent(in, final, type, item, len);

                        if (r == 0 || !in->behind)
                                return r;
                        in->broken = true;
                }
                newline = memchr(p, '\n', left);
                if (!newline && !final)
                        return 0;
                in->broken = false;
                n = newline ? (size_t)(newline - p) : left;
                in->taken += n + (newline ? 1 : 0);
                while (n > 0 && isspace((unsigned char)p[n - 1]))
                        n--;
                if (in->behind && !looks_like_link(p, n))
                        continue;
                *type = INTAKE_LINE;
                *item = p;
                *len = n;
                return 0;
        }
}
