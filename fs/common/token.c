/* SPDX-License-Identifier: MIT */
#include "common/token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"

enum { RANDOM_BYTES = 16 };
/* A line, blanks around it and what may stand below it. */
enum { FILE_BYTES_MAX = 4096 };

/* Unreserved in URLs (RFC 3986 §2.3) and good for a header (RFC 6750 §2.1), so that it stands in
 * both as it is. */
static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
static const char blanks[] = " \t\r\v\f";

/* Takes the first line of a text, which is changed. */
static int parse(char *text, char ret[static TOKEN_MAX + 1], const char **ret_why)
{
        size_t len;

        text[strcspn(text, "\n")] = '\0';
        text += strspn(text, blanks);
        len = strlen(text);
        while (len > 0 && strchr(blanks, text[len - 1]))
                text[--len] = '\0';
        if (len < TOKEN_MIN || len > TOKEN_MAX) {
                *ret_why = "its first line is to have 16 to 256 characters";
                return -EINVAL;
        }
        if (text[strspn(text, allowed)] != '\0') {
                *ret_why = "only letters, digits and - . _ ~ make a token, as URLs take them as "
                           "they are";
                return -EINVAL;
        }
        memcpy(ret, text, len + 1);
        return 0;
}

static int read_token(int fd, char ret[static TOKEN_MAX + 1], const char **ret_why)
{
        char text[FILE_BYTES_MAX + 1];
        size_t used = 0;
        int r;

        while (used < FILE_BYTES_MAX) {
                ssize_t n = read(fd, text + used, FILE_BYTES_MAX - used);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                used += (size_t)n;
        }
        text[used] = '\0';
        r = parse(text, ret, ret_why);
        explicit_bzero(text, sizeof text);
        return r;
}

int token_read_file(const char *path, char ret[static TOKEN_MAX + 1], const char **ret_why)
{
        _cleanup_close_ int fd = -1;
        struct stat st;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode)) {
                *ret_why = "it is no file";
                return -EINVAL;
        }
        if (st.st_mode & (S_IRWXO | S_IWGRP)) {
                *ret_why = "others may read or change it; chmod 600 it";
                return -EINVAL;
        }
        return read_token(fd, ret, ret_why);
}

int token_read_fd(int fd, char ret[static TOKEN_MAX + 1], const char **ret_why)
{
        int r = read_token(fd, ret, ret_why);

        close(fd);
        return r;
}

int token_make(char ret[static TOKEN_MAX + 1])
{
        uint8_t bytes[RANDOM_BYTES];

        /* So few bytes come whole, getrandom(2). */
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
                return -errno;
        for (size_t i = 0; i < sizeof bytes; i++)
                snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
        return 0;
}

int token_to_fd(const char *token, int *ret_fd)
{
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        r = buffer_write(fds[1], token, strlen(token)); /* a pipe takes it at once */
        close(fds[1]);
        if (r < 0)
                close(fds[0]);
        else
                *ret_fd = fds[0];
        return r;
}

bool token_is(const char *token, const char *given, size_t len)
{
        const size_t token_len = strlen(token);
        volatile unsigned char differs = len != token_len;

        for (size_t i = 0; i < token_len; i++)
                differs |= (unsigned char)(token[i] ^ given[i < len ? i : 0]);
        return !differs;
}
