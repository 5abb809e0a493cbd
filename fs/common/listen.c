/* SPDX-License-Identifier: MIT */
#include "common/listen.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

const char *listen_parse(const char *text, char addr[LISTEN_ADDR_MAX], uint16_t *port)
{
        static const char local[] = "localhost";
        const char *colon = strrchr(text, ':');
        char host[LISTEN_ADDR_MAX];
        struct in_addr a;
        unsigned long n;
        size_t len;
        char *end;

        if (!colon || colon == text)
                return "it is not ADDR:PORT, as 127.0.0.1:3000";
        errno = 0;
        n = strtoul(colon + 1, &end, 10);
        if (errno || !isdigit((unsigned char)colon[1]) || *end || n == 0 || n > UINT16_MAX)
                return "the port is not a number from 1 to 65535";
        len = (size_t)(colon - text);
        if (len == sizeof local - 1 && memcmp(text, local, len) == 0) {
                strcpy(host, "127.0.0.1"); /* NOLINT(*strcpy): it fits */
        } else if (len < sizeof host) {
                memcpy(host, text, len);
                host[len] = '\0';
        } else {
                host[0] = '\0';
        }
        if (inet_pton(AF_INET, host, &a) != 1)
                return "the address is neither an IPv4 address nor localhost";
        memcpy(addr, host, sizeof host);
        *port = (uint16_t)n;
        return NULL;
}

bool listen_is_loopback(const char *addr)
{
        struct in_addr a;

        return inet_pton(AF_INET, addr, &a) == 1 && ntohl(a.s_addr) >> 24 == IN_LOOPBACKNET;
}
