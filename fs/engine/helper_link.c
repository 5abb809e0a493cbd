/* SPDX-License-Identifier: MIT */
#include "engine/helper_link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int send_message(int fd, const struct helper_message *m, int flags)
{
        size_t len =
                offsetof(struct helper_message, text) + strnlen(m->text, HELPER_TEXT_MAX - 1) + 1;

        if (send(fd, m, len, flags | MSG_NOSIGNAL) < 0)
                return errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -EPIPE;
        return 0;
}

int helper_send(int fd, enum helper_type type, uint32_t number, const char *text)
{
        struct helper_message m = {.type = (uint8_t)type, .number = number};

        snprintf(m.text, sizeof m.text, "%s", text ? text : "");
        return send_message(fd, &m, MSG_DONTWAIT);
}

int helper_say(int fd, enum helper_type type, uint32_t number, int err, bool wait)
{
        struct helper_message m = {.type = (uint8_t)type, .number = number, .err = err};

        return send_message(fd, &m, wait ? 0 : MSG_DONTWAIT);
}

int helper_receive(int fd, struct helper_message *ret)
{
        ssize_t n = recv(fd, ret, sizeof *ret, MSG_DONTWAIT);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
        if (n <= (ssize_t)offsetof(struct helper_message, text))
                return -EPIPE;
        ret->text[(size_t)n - offsetof(struct helper_message, text) - 1] = '\0';
        return 0;
}
