/* SPDX-License-Identifier: MIT */
/* fuzz_head.c: the head of a request, and a body in chunks behind it. The input: the bytes as they
 * come over the wire. What is taken is held against RFC 9112 by a reader that looks at lines only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "chunks.h"
#include "fuzz.h"
#include "head.h"

/* The end is found at the same byte wherever the bytes were cut on their way. */
static size_t find_end(const char *buf, size_t size)
{
        unsigned state = 0;
        size_t end = head_end(buf, size, &state);

        for (size_t cut = 0; cut < size; cut += 1 + size / 16) {
                size_t got;

                state = 0;
                got = head_end(buf, cut, &state);
                if (got == 0) {
                        got = head_end(buf + cut, size - cut, &state);
                        got += got > 0 ? cut : 0;
                }
                fuzz_check(got == end);
        }
        fuzz_check(end <= size && (end == 0 || buf[end - 1] == '\n'));
        return end;
}

static bool is_inside(struct head_span s, struct head_span outer)
{
        return s.at >= outer.at && s.length <= outer.length &&
               s.at - outer.at <= outer.length - s.length;
}

static bool is_named(const char *line, size_t len, const char *name)
{
        size_t n = strlen(name);

        return len > n && strncasecmp(line, name, n) == 0 && line[n] == ':';
}

/* No line is one that another program could read as something else. */
static void check_lines(const char *buf, const struct head *h)
{
        const char *line = buf + h->fields.at, *end = line + h->fields.length;
        unsigned fields = 0, hosts = 0, lengths = 0, codings = 0;

        while (line < end) {
                const char *lf = memchr(line, '\n', (size_t)(end - line));
                size_t len;

                fuzz_check(lf && lf > line && lf[-1] == '\r');
                len = (size_t)(lf - line) - 1;
                fuzz_check(len > 1 && line[0] > ' ' && line[0] != ':');
                fuzz_check(!memchr(line, '\r', len) && !memchr(line, '\0', len));
                fuzz_check(line[strcspn(line, ": \t")] == ':');
                hosts += is_named(line, len, "Host");
                lengths += is_named(line, len, "Content-Length");
                codings += is_named(line, len, "Transfer-Encoding");
                fields++;
                line = lf + 1;
        }
        fuzz_check(fields <= HEAD_FIELDS_MAX && hosts <= 1 && lengths + codings <= 1);
        fuzz_check(hosts == 1 || h->minor == 0);
        fuzz_check((h->body == HEAD_LENGTH) == (lengths == 1));
        fuzz_check((h->body == HEAD_CHUNKED) == (codings == 1));
}

static void check_taken(const char *buf, size_t len, const struct head *h)
{
        const struct head_span all = {0, len};

        fuzz_check(h->minor <= 1 && (h->body == HEAD_LENGTH || h->content_length == 0));
        fuzz_check(h->content_length <= INT64_MAX);
        fuzz_check(is_inside(h->method, all) && h->method.length > 0);
        fuzz_check(is_inside(h->target, all) && is_inside(h->authority, all));
        fuzz_check(is_inside(h->fields, all));
        for (size_t i = 0; i < h->target.length; i++)
                fuzz_check(buf[h->target.at + i] > ' ' && buf[h->target.at + i] < 0x7f);
        fuzz_check(h->target.length == 0 || h->asterisk || strchr("/?", buf[h->target.at]));
        check_lines(buf, h);
}

/* Reads a body of which so many bytes come at a time. Returns what chunks_read() says at last;
 * *data is what it says in all, and *ret_at where it ends. */
static int read_chunks(const char *in, size_t size, size_t step, char *data, size_t *ret_length,
                       size_t *ret_at)
{
        struct chunks c = {0};
        size_t at = 0, length = 0;
        int r = 0;

        while (r == 0 && at < size) {
                size_t n = size - at < step ? size - at : step, used = 0, got = 0;

                r = chunks_read(&c, in + at, n, &used, &got);
                if (r < 0)
                        break;
                fuzz_check(used <= n && (used > 0 || r == 1) && (got == 0 || got == used));
                memcpy(data + length, in + at, got);
                length += got;
                at += used;
        }
        *ret_length = length;
        *ret_at = at;
        return r;
}

/* A body says the same however it was cut on its way. */
static void check_chunks(const char *in, size_t size)
{
        char *whole = fuzz_bytes(in, size), *cut = fuzz_bytes(in, size);
        size_t whole_length, cut_length, whole_at, cut_at;
        int r = read_chunks(in, size, size, whole, &whole_length, &whole_at);

        fuzz_check(r == 0 || r == 1 || r == -EBADMSG);
        fuzz_check(read_chunks(in, size, 1 + size % 5, cut, &cut_length, &cut_at) == r);
        if (r >= 0)
                fuzz_check(cut_length == whole_length && cut_at == whole_at &&
                           memcmp(cut, whole, cut_length) == 0);
        fuzz_check(r != 1 || (whole_at >= 5 && memcmp(in + whole_at - 2, "\r\n", 2) == 0));
        free(whole);
        free(cut);
}

/* What is sent in chunks of any size arrives. */
static void send_chunks(const char *data, size_t size)
{
        char *body = malloc(size * 8 + 8), *got = malloc(size * 8 + 8), *p = body;
        size_t length, at;

        if (!body || !got)
                abort();
        for (size_t i = 0, n = 1; i < size; i += n) {
                n = 1 + (unsigned char)data[i] % 40;
                n = n < size - i ? n : size - i;
                p += sprintf(p, "%zx\r\n", n);
                memcpy(p, data + i, n);
                memcpy(p + n, "\r\n", 2);
                p += n + 2;
        }
        memcpy(p, "0\r\n\r\n", 5);
        p += 5;
        fuzz_check(read_chunks(body, (size_t)(p - body), size + 1, got, &length, &at) == 1);
        fuzz_check(length == size && at == (size_t)(p - body) && memcmp(got, data, size) == 0);
        free(body);
        free(got);
}

void fuzz_one(const uint8_t *data, size_t size)
{
        static const int statuses[] = {400, 417, 421, 431, 501, 505};
        char *wire = fuzz_bytes(data, size), *buf;
        size_t end = find_end(wire, size);
        struct head h = {0};
        int status;

        check_chunks(wire + end, size - end);
        send_chunks(wire, size);
        if (end == 0)
                end = size;
        buf = fuzz_bytes(wire, end);
        status = head_check(buf, end, &h);
        if (status == 0) {
                check_taken(buf, end, &h);
        } else {
                bool known = false;

                for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
                        known = known || status == statuses[i];
                fuzz_check(known && h.reason);
        }
        free(buf);
        free(wire);
}
