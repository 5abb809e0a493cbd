/* SPDX-License-Identifier: MIT */
#include "head.h"

#include <string.h>
#include <strings.h>

/* What is read, and how far. */
struct cursor {
        const char *buf;
        size_t at, len;
};

/* head_end()'s states: what the last bytes were. At the beginning an empty line may stand, too (RFC
 * 9112 §2.2). */
enum { AFTER_LINE = 0, AFTER_LINE_CR, IN_LINE };

size_t head_end(const char *buf, size_t len, unsigned *state)
{
        for (size_t i = 0; i < len; i++) {
                if (buf[i] == '\n' && *state != IN_LINE)
                        return i + 1;
                if (buf[i] == '\n')
                        *state = AFTER_LINE;
                else if (buf[i] == '\r' && *state == AFTER_LINE)
                        *state = AFTER_LINE_CR;
                else
                        *state = IN_LINE;
        }
        return 0;
}

/* A character of a token (RFC 9110 §5.6.2). */
static bool is_token(char c)
{
        return c > ' ' && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

bool head_may_begin(char c)
{
        return is_token(c) || c == '\r' || c == '\n';
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

static int refuse(struct head *h, int status, const char *reason)
{
        h->reason = reason;
        return status;
}

/* The next line, without its CR LF. False: there is none, or its end is no CR LF (RFC 9112 §2.2).
 */
static bool next_line(struct cursor *c, struct head_span *ret)
{
        const char *lf = memchr(c->buf + c->at, '\n', c->len - c->at);
        size_t end;

        if (!lf)
                return false;
        end = (size_t)(lf - c->buf);
        if (end == c->at || c->buf[end - 1] != '\r')
                return false;
        *ret = (struct head_span){c->at, end - 1 - c->at};
        c->at = end + 1;
        return true;
}

static bool is_text(const char *s, size_t len, const char *text)
{
        return len == strlen(text) && strncasecmp(s, text, len) == 0;
}

/* Whether s begins with "scheme://", whatever the scheme's case. */
static bool has_scheme(const char *s, size_t len, const char *scheme)
{
        return len >= strlen(scheme) && strncasecmp(s, scheme, strlen(scheme)) == 0;
}

/* absolute-form: the authority stands for Host (RFC 9112 §3.2.2). */
static int check_absolute(const char *buf, struct head_span all, struct head *h)
{
        static const char http[] = "http://";
        size_t at = all.at + strlen(http), end = all.at + all.length, authority = at;

        if (has_scheme(buf + all.at, all.length, "https://"))
                return refuse(h, 421, "This is no HTTPS server"); /* RFC 9110 §7.4 */
        if (!has_scheme(buf + all.at, all.length, http))
                return refuse(h, 400, "The request's target is none");
        while (at < end && buf[at] != '/' && buf[at] != '?')
                if (buf[at++] == '@') /* RFC 9110 §4.2.4 */
                        return refuse(h, 400, "The request's target has a user name");
        if (at == authority)
                return refuse(h, 400, "The request's target has no host");
        h->authority = (struct head_span){authority, at - authority};
        h->target = (struct head_span){at, end - at};
        /* RFC 9112 §3.2.4: OPTIONS of a host alone. */
        h->asterisk = at == end && is_text(buf + h->method.at, h->method.length, "OPTIONS");
        return 0;
}

static int check_target(const char *buf, struct head_span target, struct head *h)
{
        for (size_t i = 0; i < target.length; i++)
                if (buf[target.at + i] <= ' ' || buf[target.at + i] >= 0x7f)
                        return refuse(h, 400, "The request's target has a character that none has");
        /* RFC 9110 §9.3.6; its target is an authority alone. */
        if (h->method.length == 7 && memcmp(buf + h->method.at, "CONNECT", 7) == 0)
                return refuse(h, 501, "This is no proxy");
        h->target = target;
        if (buf[target.at] == '/')
                return 0;
        if (target.length == 1 && buf[target.at] == '*') {
                h->asterisk = true;
                return h->method.length == 7 && memcmp(buf + h->method.at, "OPTIONS", 7) == 0
                               ? 0
                               : refuse(h, 400, "Only OPTIONS can be asked of *");
        }
        return check_absolute(buf, target, h);
}

static int check_version(const char *s, size_t len, struct head *h)
{
        if (len != 8 || memcmp(s, "HTTP/", 5) != 0 || s[5] < '0' || s[5] > '9' || s[6] != '.' ||
            s[7] < '0' || s[7] > '9')
                return refuse(h, 400, "The request line is malformed");
        if (s[5] != '1')
                return refuse(h, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here");
        h->minor = s[7] == '0' ? 0 : 1; /* RFC 9110 §2.5: a later minor is understood, too */
        return 0;
}

/* method SP target SP version: one space each (RFC 9112 §3). */
static int check_request_line(const char *buf, struct head_span line, struct head *h)
{
        size_t end = line.at + line.length, at = line.at, target;
        int status;

        while (at < end && is_token(buf[at]))
                at++;
        if (at == line.at || at == end || buf[at] != ' ')
                return refuse(h, 400, "The request line is malformed");
        h->method = (struct head_span){line.at, at - line.at};
        target = ++at;
        while (at < end && buf[at] != ' ')
                at++;
        if (at == target || at == end)
                return refuse(h, 400, "The request line is malformed");
        status = check_version(buf + at + 1, end - at - 1, h);
        return status ? status : check_target(buf, (struct head_span){target, at - target}, h);
}

/* Whether one of the list's members (RFC 9110 §5.6.1) is text. */
static bool list_has(const char *s, size_t len, const char *text)
{
        while (len > 0) {
                const char *comma = memchr(s, ',', len);
                size_t part = comma ? (size_t)(comma - s) : len, skip = 0, n;

                while (skip < part && is_blank(s[skip]))
                        skip++;
                n = part - skip;
                while (n > 0 && is_blank(s[skip + n - 1]))
                        n--;
                if (is_text(s + skip, n, text))
                        return true;
                s += comma ? part + 1 : part;
                len -= comma ? part + 1 : part;
        }
        return false;
}

/* What is seen of the fields that say how the message goes on. */
struct framing {
        unsigned hosts, lengths, codings;
        bool close, keep_alive;
};

static int check_length(const char *s, size_t len, struct head *h, struct framing *f)
{
        uint64_t n = 0;

        if (f->lengths++ > 0)
                return refuse(h, 400, "Content-Length was given more than once");
        if (len == 0)
                return refuse(h, 400, "Content-Length is no number");
        for (size_t i = 0; i < len; i++) {
                if (s[i] < '0' || s[i] > '9')
                        return refuse(h, 400, "Content-Length is no number");
                if (n > (uint64_t)INT64_MAX / 10 - 1)
                        return refuse(h, 400, "Content-Length is too large");
                n = n * 10 + (uint64_t)(s[i] - '0');
        }
        h->body = HEAD_LENGTH;
        h->content_length = n;
        return 0;
}

static int check_coding(const char *s, size_t len, struct head *h, struct framing *f)
{
        if (f->codings++ > 0)
                return refuse(h, 400, "Transfer-Encoding was given more than once");
        if (!is_text(s, len, "chunked")) /* RFC 9112 §6.1 */
                return refuse(h, 501, "Of transfer codings only chunked is known");
        h->body = HEAD_CHUNKED;
        return 0;
}

/* One of the fields that matter for the connection. */
static int take_field(const char *name, size_t name_len, const char *value, size_t len,
                      struct head *h, struct framing *f)
{
        if (is_text(name, name_len, "Content-Length"))
                return check_length(value, len, h, f);
        if (is_text(name, name_len, "Transfer-Encoding"))
                return check_coding(value, len, h, f);
        if (is_text(name, name_len, "Host")) {
                f->hosts++;
        } else if (is_text(name, name_len, "Connection")) {
                f->close = f->close || list_has(value, len, "close");
                f->keep_alive = f->keep_alive || list_has(value, len, "keep-alive");
        } else if (is_text(name, name_len, "Expect")) {
                if (!is_text(value, len, "100-continue"))
                        return refuse(h, 417, "Only 100-continue can be expected");
                h->expects = true;
        }
        return 0;
}

/* name ":" value, nothing before the colon and no folded lines (RFC 9112 §5.1, §5.2). */
static int check_field(const char *line, size_t len, struct head *h, struct framing *f)
{
        size_t name = 0, at, end = len;

        if (is_blank(line[0]))
                return refuse(h, 400, "A header is folded over several lines");
        while (name < len && is_token(line[name]))
                name++;
        if (name < len && is_blank(line[name]))
                return refuse(h, 400, "There is white space before a header's colon");
        if (name == 0 || name == len || line[name] != ':')
                return refuse(h, 400, "A header is malformed");
        for (at = name + 1; at < len; at++)
                if (((unsigned char)line[at] < ' ' && line[at] != '\t') || line[at] == 0x7f)
                        return refuse(h, 400, "A header has a character that none has");
        at = name + 1;
        while (at < end && is_blank(line[at]))
                at++;
        while (end > at && is_blank(line[end - 1]))
                end--;
        return take_field(line, name, line + at, end - at, h, f);
}

/* What the fields together must fulfil. */
static int check_framing(struct head *h, const struct framing *f)
{
        if (f->hosts > 1 || (f->hosts == 0 && h->minor > 0)) /* RFC 9112 §3.2 */
                return refuse(h, 400, "The request needs one Host header");
        if (f->codings > 0 && f->lengths > 0) /* RFC 9112 §6.3: maybe request smuggling */
                return refuse(h, 400, "Content-Length stands beside Transfer-Encoding");
        if (f->codings > 0 && h->minor == 0) /* RFC 9112 §6.1 */
                return refuse(h, 400, "HTTP/1.0 has no Transfer-Encoding");
        h->persists = !f->close && (h->minor > 0 || f->keep_alive);
        h->expects =
                h->expects && h->minor > 0 && (h->body == HEAD_CHUNKED || h->content_length > 0);
        return 0;
}

int head_check(const char *buf, size_t len, struct head *ret)
{
        struct cursor c = {.buf = buf, .len = len};
        struct framing f = {0};
        struct head h = {0};
        struct head_span line;
        size_t first;
        unsigned count = 0;
        int status = 400;

        h.reason = "A line does not end with CR LF";
        if (next_line(&c, &line))
                status = check_request_line(buf, line, &h);
        first = c.at;
        while (status == 0) {
                if (!next_line(&c, &line)) {
                        status = refuse(&h, 400, "A line does not end with CR LF");
                } else if (line.length == 0) {
                        h.fields = (struct head_span){first, line.at - first};
                        status = check_framing(&h, &f);
                        break;
                } else if (++count > HEAD_FIELDS_MAX) {
                        status = refuse(&h, 431, "There are more than 64 headers");
                } else {
                        status = check_field(buf + line.at, line.length, &h, &f);
                }
        }
        *ret = h;
        return status;
}
