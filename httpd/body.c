/* SPDX-License-Identifier: MIT */
#include "body.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "chunks.h"

/* 32 MiB in this time is 1 MiB/s; from the same machine. */
enum { BODY_MS = 30000 };
enum { SKIP_MAX = 65536 };
/* A body in chunks does not say how long it is. */
enum { FIRST_BYTES = 4096 };

/* Waits for more of the body. A client that ends its direction is seen by the read. */
static int wait_for_more(const struct client *c, uint64_t end_ms)
{
        struct pollfd fds[] = {
                {.fd = c->wake_fd, .events = POLLIN},
                {.fd = c->fd, .events = POLLIN},
        };
        uint64_t now = clock_ms();

        if (now >= end_ms)
                return -ETIMEDOUT;
        if (poll(fds, 2, (int)(end_ms - now)) < 0)
                return errno == EINTR ? 0 : -errno;
        return fds[0].revents ? CLIENT_STOPPING : 0;
}

/* recv() of at least one byte; an early end is -EBADMSG. */
static ssize_t receive(const struct client *c, char *buf, size_t len, int flags, uint64_t end_ms)
{
        for (;;) {
                ssize_t n = recv(c->fd, buf, len, flags | MSG_DONTWAIT);
                int r;

                if (n > 0)
                        return n;
                if (n == 0 || (errno != EAGAIN && errno != EINTR))
                        return -EBADMSG;
                r = wait_for_more(c, end_ms);
                if (r < 0)
                        return r;
        }
}

static int read_length(const struct client *c, char *body, size_t len, uint64_t end_ms)
{
        size_t used = 0;

        while (used < len) {
                ssize_t n = receive(c, body + used, len - used, 0, end_ms);

                if (n < 0)
                        return (int)n;
                used += (size_t)n;
                if (clock_ms() >= end_ms && used < len)
                        return -ETIMEDOUT;
        }
        return 0;
}

/* Looks at what is there, takes out what belongs to the body and leaves the data of it at the
 * beginning of buf. As chunks_read(), and errors of receive(). */
static int read_piece(const struct client *c, struct chunks *chunks, char *buf, size_t len,
                      size_t *ret_data, uint64_t end_ms)
{
        ssize_t n = receive(c, buf, len, MSG_PEEK, end_ms);
        size_t used;
        int r;

        if (n < 0)
                return (int)n;
        r = chunks_read(chunks, buf, (size_t)n, &used, ret_data);
        if (r >= 0 && recv(c->fd, buf, used, MSG_DONTWAIT) != (ssize_t)used)
                return -EBADMSG;
        return r;
}

static int read_chunks(const struct client *c, size_t max, char **ret, size_t *ret_len,
                       uint64_t end_ms)
{
        _cleanup_free_ char *body = NULL;
        struct chunks chunks = {0};
        size_t used = 0, size = 0;

        for (;;) {
                size_t data;
                int r;

                if (size - used < FIRST_BYTES) {
                        char *larger = realloc(body, size * 2 + FIRST_BYTES);

                        if (!larger)
                                return -ENOMEM;
                        body = larger;
                        size = size * 2 + FIRST_BYTES;
                }
                r = read_piece(c, &chunks, body + used, size - used - 1, &data, end_ms);
                if (r < 0)
                        return r;
                used += data;
                if (used > max || chunks.left > max - used)
                        return -EFBIG;
                if (r == 1)
                        break;
                if (clock_ms() >= end_ms)
                        return -ETIMEDOUT;
        }
        body[used] = '\0';
        *ret = body;
        *ret_len = used;
        body = NULL;
        return 0;
}

int body_read(struct client *c, const struct head *head, size_t max, char **ret, size_t *ret_len)
{
        uint64_t end_ms = clock_ms() + BODY_MS;
        _cleanup_free_ char *body = NULL;
        size_t len;
        int r;

        if (head->body == HEAD_CHUNKED) {
                r = read_chunks(c, max, ret, ret_len, end_ms);
        } else {
                if (head->content_length > max)
                        return -EFBIG;
                len = (size_t)head->content_length;
                body = malloc(len + 1);
                if (!body)
                        return -ENOMEM;
                r = read_length(c, body, len, end_ms);
                if (r == 0) {
                        body[len] = '\0';
                        *ret = body;
                        *ret_len = len;
                        body = NULL;
                }
        }
        if (r == 0)
                c->began_ms = clock_ms(); /* a FIN behind the body belongs to the request */
        return r;
}

bool body_is_there(const struct client *c, const struct head *head)
{
        int there = 0;

        if (head->body == HEAD_NO_BODY || (head->body == HEAD_LENGTH && head->content_length == 0))
                return true;
        return head->body == HEAD_LENGTH && ioctl(c->fd, FIONREAD, &there) == 0 && there > 0 &&
               (uint64_t)there >= head->content_length;
}

bool body_skip(const struct client *c, const struct head *head)
{
        size_t left = (size_t)head->content_length;
        char scrap[4096];

        if (!body_is_there(c, head) || head->content_length > SKIP_MAX)
                return false;
        while (left > 0) {
                ssize_t n =
                        recv(c->fd, scrap, left < sizeof scrap ? left : sizeof scrap, MSG_DONTWAIT);

                if (n <= 0)
                        return false;
                left -= (size_t)n;
        }
        return true;
}
