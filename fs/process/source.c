/* SPDX-License-Identifier: MIT */
#include "process/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/intake.h"
#include "common/limits.h"
#include "common/log.h"

/* A .torrent of the largest metadata, with its trackers. */
enum { READ_BYTES = 1 << 16 };
/* The shortest info-hash: in base32. */
enum { HASH_CHARS_LEAST = 32 };

static bool ends_with(const char *text, const char *end)
{
        size_t len = strlen(text), n = strlen(end);

        return len > n && strcasecmp(text + len - n, end) == 0;
}

static bool is_word(const char *text)
{
        static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789._-";
        size_t len = strlen(text);

        return len < HASH_CHARS_LEAST && text[strspn(text, chars)] == '\0' &&
               !ends_with(text, ".torrent");
}

/* All of the file goes in. -EFBIG, -EISDIR. */
static int read_file(const char *path, struct intake *in)
{
        char buffer[READ_BYTES];
        struct stat st;
        int r = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        ssize_t n;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (!S_ISREG(st.st_mode))
                r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
        while (r == 0 && (n = read(fd, buffer, sizeof buffer)) != 0) {
                r = n < 0 ? -errno : intake_add(in, buffer, (size_t)n, TORRENT_BYTES_MAX);
                if (r == -E2BIG)
                        r = -EFBIG;
        }
        close(fd);
        return r;
}

static int parse_file(const char *path, bool loopback, struct bt_source **ret)
{
        struct intake in = {0};
        struct bt_error err = {.text = "it is no .torrent file"};
        enum intake_item type = INTAKE_NOTHING;
        const char *item = NULL;
        size_t len = 0;
        int r = read_file(path, &in);

        if (r < 0) {
                intake_clear(&in);
                return log_error_errno(r, "Cannot read %s, which is to be added: %m", path);
        }
        r = intake_next(&in, true, &type, &item, &len);
        if (r == 0)
                r = type == INTAKE_TORRENT ? bt_source_from_torrent(item, len, &bt_default_limits,
                                                                    loopback, ret, &err)
                                           : -EINVAL;
        intake_clear(&in);
        if (r < 0)
                log_error("Cannot add %s: %s", path, err.text);
        return r;
}

int source_parse(const char *text, bool loopback, struct bt_source **ret)
{
        struct bt_error err = {0};
        int r;

        *ret = NULL;
        if (is_word(text))
                return 0;
        if (strncasecmp(text, "magnet:", strlen("magnet:")) != 0 &&
            (strchr(text, '/') || ends_with(text, ".torrent")))
                return parse_file(text, loopback, ret);
        r = bt_source_from_magnet(text, strlen(text), loopback, ret, &err);
        if (r < 0)
                log_error(
                        "Cannot add \"%s\": %s; a SOURCE is a magnet, an info-hash, a .torrent file, or a plain word such as none",
                        text, err.text);
        return r;
}
