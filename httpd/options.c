/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/listen.h"
#include "common/log.h"

#define PROGRAM "magnetfs-httpd"
enum { CLIENT_TIMEOUT_S = 600, STREAMS = 256, STREAMS_MAX = 4096 };
#define CLIENT_TIMEOUT_MAX (7 * 86400L)

enum option_key {
        KEY_MOUNT = 1000,
        KEY_LISTEN,
        KEY_TOKEN_FILE,
        KEY_TOKEN_FD,
        KEY_READY_FD,
        KEY_CLIENT_TIMEOUT,
        KEY_ALLOWED_HOST,
        KEY_CORS,
        KEY_STREAMS,
        KEY_LOG_LEVEL,
        KEY_HELP,
        KEY_VERSION,
};

static const char usage[] =
        "Usage: magnetfs-httpd --mount DIR --listen ADDR:PORT [options]\n"
        "\n"
        "Serves the files of a magnetfs mount over HTTP.\n"
        "\n"
        "  --mount DIR                  the mount point\n"
        "  --listen ADDR:PORT           an address and a port, as 127.0.0.1:3000; one that is not\n"
        "                               of 127.0.0.0/8 needs a token\n"
        "  --token-file FILE            who asks has to have the token that this file holds\n"
        "  --token-fd N                 the token is read from descriptor N\n"
        "  --ready-fd N                 write a byte to descriptor N when it listens\n"
        "  --client-timeout SECONDS     end a stream whose client took nothing for so long (600)\n"
        "  --allowed-host NAME[:PORT]   a Host to accept besides localhost; no port: any\n"
        "  --cors ORIGIN                a site whose pages may use the API, as https://example.org;\n"
        "                               '*': the pages of all sites may read files\n"
        "  --streams N                  how many streams at the same time (256)\n"
        "  --log-level LEVEL            error, warning, info or debug (info)\n"
        "  --help, --version\n"
        "\n"
        "The manual is magnetfs-httpd(1).\n";

static int parse_number(const char *text, long min, long max, long *ret)
{
        char *end;
        long n;

        errno = 0;
        n = strtol(text, &end, 10);
        if (errno != 0 || end == text || *end != '\0' || n < min || n > max)
                return -EINVAL;
        *ret = n;
        return 0;
}

static int bad_value(const char *option, const char *value, const char *expected)
{
        log_error("--%s %s: must be %s", option, value, expected);
        return -EINVAL;
}

static int parse_listen(const char *text, struct options *o)
{
        char host[LISTEN_ADDR_MAX];
        struct in_addr addr;
        const char *why = listen_parse(text, host, &o->port);

        if (why) {
                log_error("--listen %s: %s", text, why);
                return -EINVAL;
        }
        (void)inet_pton(AF_INET, host, &addr);
        o->address = ntohl(addr.s_addr);
        return 0;
}

static int parse_token(const char *option, const char *value, int r, const char *why)
{
        if (r == -EINVAL && why)
                log_error("--%s %s: %s", option, value, why);
        else if (r < 0)
                log_error_errno(r, "--%s %s: %m", option, value);
        return r < 0 ? -EINVAL : 0;
}

/* Cuts a port off that a browser never says, as it is its scheme's (RFC 6454 §6.1). */
static void cut_default_port(char *origin)
{
        static const char *const defaults[][2] = {{"http://", ":80"}, {"https://", ":443"}};

        for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
                const char *scheme = defaults[i][0], *port = defaults[i][1];
                size_t len = strlen(origin), port_len = strlen(port);

                if (strncasecmp(origin, scheme, strlen(scheme)) == 0 && len > port_len &&
                    strcmp(origin + len - port_len, port) == 0)
                        origin[len - port_len] = '\0';
        }
}

static int parse_origin(char *text, struct options *o)
{
        const char *host = strstr(text, "://");

        if (strcmp(text, "*") == 0) {
                o->any_streams = true;
                return 0;
        }
        if (!host || host == text || host[3] == '\0' ||
            host[3 + strcspn(host + 3, "/?#@ ")] != '\0')
                return bad_value("cors", text, "an origin without a path, as https://example.org");
        if (o->origin_count == OPTIONS_NAMES_MAX)
                return bad_value("cors", text, "given at most 64 times");
        cut_default_port(text);
        o->origins[o->origin_count++] = text;
        return 0;
}

static int parse_option(int key, char *value, struct options *o)
{
        const char *why = NULL;
        enum log_level level;
        long n;
        int r;

        switch (key) {
        case KEY_MOUNT:
                o->mount = value;
                return 0;
        case KEY_LISTEN:
                o->listen = value;
                return parse_listen(value, o);
        case KEY_TOKEN_FILE:
                r = token_read_file(value, o->token, &why);
                return parse_token("token-file", value, r, why);
        case KEY_TOKEN_FD:
                if (parse_number(value, 0, INT32_MAX, &n) < 0)
                        return bad_value("token-fd", value, "an open descriptor");
                r = token_read_fd((int)n, o->token, &why);
                return parse_token("token-fd", value, r, why);
        case KEY_READY_FD:
                if (parse_number(value, 0, INT32_MAX, &n) < 0 || fcntl((int)n, F_GETFD) < 0)
                        return bad_value("ready-fd", value, "an open descriptor");
                o->ready_fd = (int)n;
                return 0;
        case KEY_CLIENT_TIMEOUT:
                if (parse_number(value, 1, CLIENT_TIMEOUT_MAX, &n) < 0)
                        return bad_value("client-timeout", value, "seconds, from 1 to a week");
                o->client_timeout_s = (unsigned)n;
                return 0;
        case KEY_ALLOWED_HOST:
                if (o->host_count == OPTIONS_NAMES_MAX)
                        return bad_value("allowed-host", value, "given at most 64 times");
                if (guard_host_parse(value, &o->hosts[o->host_count]) < 0)
                        return bad_value("allowed-host", value,
                                         "a name and perhaps a port, as media.lan:8080");
                o->host_count++;
                return 0;
        case KEY_CORS:
                return parse_origin(value, o);
        case KEY_STREAMS:
                if (parse_number(value, 1, STREAMS_MAX, &n) < 0)
                        return bad_value("streams", value, "a number from 1 to 4096");
                o->streams = (unsigned)n;
                return 0;
        case KEY_LOG_LEVEL:
                if (!log_level_parse(value, &level))
                        return bad_value("log-level", value, "error, warning, info or debug");
                log_open(PROGRAM, level);
                return 0;
        default:
                return -EINVAL; /* getopt_long() has said why */
        }
}

int options_parse(int argc, char **argv, struct options *o)
{
        static const struct option table[] = {
                {"mount", required_argument, NULL, KEY_MOUNT},
                {"listen", required_argument, NULL, KEY_LISTEN},
                {"token-file", required_argument, NULL, KEY_TOKEN_FILE},
                {"token-fd", required_argument, NULL, KEY_TOKEN_FD},
                {"ready-fd", required_argument, NULL, KEY_READY_FD},
                {"client-timeout", required_argument, NULL, KEY_CLIENT_TIMEOUT},
                {"allowed-host", required_argument, NULL, KEY_ALLOWED_HOST},
                {"cors", required_argument, NULL, KEY_CORS},
                {"streams", required_argument, NULL, KEY_STREAMS},
                {"log-level", required_argument, NULL, KEY_LOG_LEVEL},
                {"help", no_argument, NULL, KEY_HELP},
                {"version", no_argument, NULL, KEY_VERSION},
                {NULL, 0, NULL, 0},
        };
        int key;

        *o = (struct options){
                .ready_fd = -1, .client_timeout_s = CLIENT_TIMEOUT_S, .streams = STREAMS};
        log_open(PROGRAM, LOG_LEVEL_INFO);
        while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
                if (key == KEY_HELP || key == KEY_VERSION) {
                        fputs(key == KEY_HELP ? usage : "magnetfs-httpd " MAGNETFS_VERSION "\n",
                              stdout);
                        return 1;
                }
                if (parse_option(key, optarg, o) < 0)
                        return -EINVAL;
        }
        if (optind < argc) {
                log_error("%s: not an option; see --help", argv[optind]);
                return -EINVAL;
        }
        if (!o->mount || !o->listen) {
                log_error("--mount DIR and --listen ADDR:PORT are needed; see --help");
                return -EINVAL;
        }
        if (o->address >> 24 != IN_LOOPBACKNET && o->token[0] == '\0') {
                log_error("--listen %s: %s", o->listen, LISTEN_NEEDS_TOKEN);
                return -EINVAL;
        }
        return 0;
}
