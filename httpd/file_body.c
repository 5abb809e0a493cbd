/* SPDX-License-Identifier: MIT */
#include "file_body.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

/* The mount's direct_io reads cost a round trip each, so large; but of what is larger than a core's
 * cache each copy is from memory (tests/bench: 256 KiB gave the most, from 64 KiB to 1 MiB). What
 * is there is sent at once, however little. */
enum { BUFFER_SIZE = 256 << 10 };
/* For how long the head of an answer waits for what the mount says of the first bytes: whether
 * there is room for them it finds out when it makes some. */
enum { LOOK_MS = 500 };

struct file_body {
        /* set once */
        struct request *rq;
        int fd;
        void *buffer; /* BUFFER_SIZE of its own pages, which can be given back */

        /* read already: got bytes at `at` are in the buffer */
        uint64_t at;
        size_t got;
        unsigned tries; /* of mountpoint_file_wait() */
        uint64_t opened_ms;
        bool began; /* it had a byte */
};

int file_body_open(struct request *rq, const char *hash, const char *path, struct file_body **ret)
{
        struct file_body *b = calloc(1, sizeof *b);
        int r;

        if (!b)
                return -ENOMEM;
        b->rq = rq;
        b->fd = -1;
        b->opened_ms = clock_ms();
        b->buffer =
                mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        r = b->buffer == MAP_FAILED ? -ENOMEM
                                    : mountpoint_file_open(rq->server->mount, hash, path, &b->fd);
        if (r < 0) {
                file_body_close(b);
                return r;
        }
        *ret = b;
        return 0;
}

void file_body_close(struct file_body *b)
{
        if (!b)
                return;
        if (b->fd >= 0)
                close(b->fd);
        if (b->buffer != MAP_FAILED)
                munmap(b->buffer, BUFFER_SIZE);
        free(b);
}

/* Reads what is there at first into the buffer. -EAGAIN: nothing yet. */
static int fill(struct file_body *b, uint64_t first, uint64_t length)
{
        size_t want = length < BUFFER_SIZE ? (size_t)length : BUFFER_SIZE;
        ssize_t n = mountpoint_file_try(b->fd, b->buffer, want, (off_t)first);

        if (n == 0)
                return -ENODATA;
        if (n > 0) {
                b->at = first;
                b->got = (size_t)n;
                b->tries = 0;
                return 0;
        }
        /* The kernel has taken pages for the whole of it, and the swarm may be silent for hours. */
        if (n == -EAGAIN && madvise(b->buffer, BUFFER_SIZE, MADV_DONTNEED) < 0)
                log_debug_errno(-errno, "Cannot give pages back: %m");
        return (int)n;
}

int file_body_look(struct file_body *b, uint64_t first, uint64_t length)
{
        int r = fill(b, first, length);

        if (r != -EAGAIN)
                return r;
        r = mountpoint_file_wait(b->fd, &b->rq->client, &b->tries, LOOK_MS);
        if (r == 0)
                r = fill(b, first, length);
        return r == -EAGAIN || r == -ETIMEDOUT ? 0 : r;
}

/* Counts how long the client waited for what is now in the buffer. */
static void count_wait(struct file_body *b, uint64_t first, uint64_t since_ms)
{
        struct metrics *m = &b->rq->server->metrics;

        if (b->began)
                metrics_waited(m, clock_ms() - since_ms);
        else
                metrics_first_byte(m, first, clock_ms() - b->opened_ms);
        b->began = true;
}

/* Waits until there are bytes at first in the buffer. */
static int await(struct file_body *b, uint64_t first, uint64_t length)
{
        uint64_t since = clock_ms();

        for (;;) {
                int r = fill(b, first, length);

                if (r == 0)
                        count_wait(b, first, since);
                if (r != -EAGAIN)
                        return r;
                r = mountpoint_file_wait(b->fd, &b->rq->client, &b->tries, -1);
                if (r < 0)
                        return r;
        }
}

int file_body_send(struct file_body *b, uint64_t first, uint64_t length)
{
        while (length > 0) {
                int r = 0;

                if (atomic_load(&b->rq->server->stopping))
                        return CLIENT_STOPPING;
                if (b->got == 0 || b->at != first)
                        r = await(b, first, length);
                else
                        count_wait(b, first, b->opened_ms);
                if (r < 0)
                        return r;
                if (b->got > length) /* looked at for more */
                        b->got = (size_t)length;
                r = client_send(&b->rq->client, b->buffer, b->got);
                if (r < 0)
                        return r;
                metrics_sent(&b->rq->server->metrics, b->got);
                first += b->got;
                length -= b->got;
                b->got = 0;
        }
        return 0;
}
