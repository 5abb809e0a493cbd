/* SPDX-License-Identifier: MIT */
/* options.h: the command line of magnetfs-httpd. One thread, before others exist. */
#ifndef HTTPD_OPTIONS_H
#define HTTPD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/token.h"
#include "guard.h"

enum { OPTIONS_NAMES_MAX = 64 };

struct options {
        const char *mount, *listen;
        char token[TOKEN_MAX + 1]; /* "": none */
        int ready_fd;
        unsigned client_timeout_s, streams;
        struct guard_host hosts[OPTIONS_NAMES_MAX];
        size_t host_count;
        const char *origins[OPTIONS_NAMES_MAX];
        size_t origin_count;
        bool any_streams; /* --cors '*' */
        uint32_t address; /* host order */
        uint16_t port;
};

/* Reads the command line into *o, whose strings are argv's, and opens the log at the level that it
 * names. 0: go on; 1: all is done, as with --help; -EINVAL: bad usage, which was told. */
int options_parse(int argc, char **argv, struct options *o);

#endif
