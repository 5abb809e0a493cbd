/* SPDX-License-Identifier: MIT */
#include "common/buffer.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROOM_FIRST = 4096 };

int buffer_grow(char **data, size_t *room, size_t needed)
{
        size_t wanted = *room ? *room : ROOM_FIRST;
        char *grown;

        if (needed <= *room)
                return 0;
        while (wanted < needed) {
                if (wanted > SIZE_MAX / 2)
                        return -ENOMEM;
                wanted *= 2;
        }
        grown = realloc(*data, wanted);
        if (!grown)
                return -ENOMEM;
        *data = grown;
        *room = wanted;
        return 0;
}

int buffer_read(int fd, char **data, size_t *room, size_t *len, size_t max)
{
        for (;;) {
                ssize_t k;
                int r;

                if (*len > max)
                        return -EFBIG;
                r = buffer_grow(data, room, *len + 2); /* a byte and the NUL */
                if (r < 0)
                        return r;
                k = read(fd, *data + *len, *room - *len - 1);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                *len += (size_t)k;
                (*data)[*len] = '\0';
                if (k == 0)
                        return 0;
        }
}

int buffer_write(int fd, const void *data, size_t len)
{
        const char *p = data;

        while (len > 0) {
                ssize_t n = write(fd, p, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                p += n;
                len -= (size_t)n;
        }
        return 0;
}
