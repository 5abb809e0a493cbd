/* SPDX-License-Identifier: MIT */
#include "chunks.h"

#include <errno.h>
#include <stdbool.h>

enum { EXTRA_MAX = 16384 };
/* 15 digits are more bytes than anybody sends, and no overflow. */
enum { DIGITS_MAX = 15 };

enum {
        IN_SIZE = 0,
        BEHIND_SIZE, /* in blanks, which only an extension or the end of the line may follow */
        IN_EXTENSION,
        AT_SIZE_LF,
        IN_DATA,
        AT_DATA_CR,
        AT_DATA_LF,
        AT_TRAILER, /* at the beginning of a line */
        IN_TRAILER,
        AT_TRAILER_LF,
        AT_END_LF,
        AT_END,
};

static int digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_text(char c)
{
        return ((unsigned char)c >= ' ' && c != 0x7f) || c == '\t';
}

static int read_size(struct chunks *c, char in)
{
        int n = digit(in);

        if (n >= 0) {
                c->left = c->left * 16 + (uint64_t)n;
                return ++c->digits > DIGITS_MAX ? -EBADMSG : IN_SIZE;
        }
        if (c->digits == 0)
                return -EBADMSG;
        if (in == '\r')
                return AT_SIZE_LF;
        if (in == ' ' || in == '\t')
                return BEHIND_SIZE;
        return in == ';' ? IN_EXTENSION : -EBADMSG;
}

/* Within a line that is passed over, up to its CR. */
static int read_text(struct chunks *c, char in, int same, int at_lf)
{
        if (in == '\r')
                return at_lf;
        return is_text(in) && ++c->extra_bytes <= EXTRA_MAX ? same : -EBADMSG;
}

/* One byte that is not data. The next state or -EBADMSG. */
static int read_byte(struct chunks *c, char in)
{
        switch (c->state) {
        case IN_SIZE:
                return read_size(c, in);
        case BEHIND_SIZE:
                if (++c->extra_bytes > EXTRA_MAX)
                        return -EBADMSG;
                if (in == ' ' || in == '\t')
                        return BEHIND_SIZE;
                return in == ';' ? IN_EXTENSION : in == '\r' ? AT_SIZE_LF : -EBADMSG;
        case IN_EXTENSION:
                return read_text(c, in, IN_EXTENSION, AT_SIZE_LF);
        case AT_SIZE_LF:
                c->digits = 0;
                if (in != '\n')
                        return -EBADMSG;
                return c->left > 0 ? IN_DATA : AT_TRAILER;
        case AT_DATA_CR:
                return in == '\r' ? AT_DATA_LF : -EBADMSG;
        case AT_DATA_LF:
                return in == '\n' ? IN_SIZE : -EBADMSG;
        case AT_TRAILER:
                if (in == ' ' || in == '\t')
                        return -EBADMSG; /* a folded line */
                return read_text(c, in, IN_TRAILER, AT_END_LF);
        case IN_TRAILER:
                return read_text(c, in, IN_TRAILER, AT_TRAILER_LF);
        case AT_TRAILER_LF:
                return in == '\n' ? AT_TRAILER : -EBADMSG;
        case AT_END_LF:
                return in == '\n' ? AT_END : -EBADMSG;
        default:
                return -EBADMSG;
        }
}

int chunks_read(struct chunks *c, const char *in, size_t len, size_t *ret_used, size_t *ret_data)
{
        size_t used = 0;

        *ret_data = 0;
        if (c->state == IN_DATA) {
                *ret_used = *ret_data = len < c->left ? len : (size_t)c->left;
                c->left -= *ret_data;
                if (c->left == 0)
                        c->state = AT_DATA_CR;
                return 0;
        }
        while (used < len && c->state != IN_DATA && c->state != AT_END) {
                int state = read_byte(c, in[used++]);

                if (state < 0)
                        return state;
                c->state = state;
        }
        *ret_used = used;
        return c->state == AT_END;
}
