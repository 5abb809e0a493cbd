/* SPDX-License-Identifier: MIT */
/* main.c: options, signals, the beginning and the end.
 *
 * The main thread makes no call on the mount, so that it can always end the program; health.c's
 * thread looks at it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "common/cleanup.h"
#include "common/listen.h"
#include "common/log.h"
#include "server.h"

#define PROGRAM "magnetfs-httpd"
enum { EXIT_USAGE = 2 };
/* Requests that wait are woken; what still runs then is cut off. */
enum { STOP_MS = 400 };
enum { CLIENT_TIMEOUT_S = 600 };
#define CLIENT_TIMEOUT_MAX (7 * 86400L)
enum { STREAMS = 256 };
enum { STREAMS_MAX = 4096 };
enum { NAMES_MAX = 64 };

struct options {
        const char *mount, *listen;
        int ready_fd;
        unsigned client_timeout_s, streams;
        struct guard_host hosts[NAMES_MAX];
        size_t host_count;
        const char *origins[NAMES_MAX];
        size_t origin_count;
        uint32_t address; /* host order */
        uint16_t port;
};

enum option_key {
        KEY_MOUNT = 1000,
        KEY_LISTEN,
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
        "  --listen ADDR:PORT           a loopback address and a port, as 127.0.0.1:3000\n"
        "  --ready-fd N                 write a byte to descriptor N when it listens\n"
        "  --client-timeout SECONDS     end a stream whose client took nothing for so long (600)\n"
        "  --allowed-host NAME[:PORT]   a Host to accept besides localhost; no port: any\n"
        "  --cors ORIGIN                a site whose pages may use the API, as https://example.org\n"
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

/* ADDR:PORT. Only loopback: whoever reaches the port may use it. */
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

static int parse_origin(const char *text, struct options *o)
{
        const char *host = strstr(text, "://");

        if (!host || host == text || host[3] == '\0' ||
            host[3 + strcspn(host + 3, "/?#@ ")] != '\0')
                return bad_value("cors", text, "an origin without a path, as https://example.org");
        if (o->origin_count == NAMES_MAX)
                return bad_value("cors", text, "given at most 64 times");
        o->origins[o->origin_count++] = text;
        return 0;
}

static int parse_option(int key, char *value, struct options *o)
{
        enum log_level level;
        long n;

        switch (key) {
        case KEY_MOUNT:
                o->mount = value;
                return 0;
        case KEY_LISTEN:
                o->listen = value;
                return parse_listen(value, o);
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
                if (o->host_count == NAMES_MAX)
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

/* 0: go on; 1: all is done; -EINVAL: bad usage, which was told. */
static int parse_options(int argc, char **argv, struct options *o)
{
        static const struct option table[] = {
                {"mount", required_argument, NULL, KEY_MOUNT},
                {"listen", required_argument, NULL, KEY_LISTEN},
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
        return 0;
}

/* Blocks the signals that end the program in all threads, and gives a descriptor that tells of
 * them. */
static int open_signals(int *ret_fd)
{
        sigset_t set;
        int fd;

        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN); /* stderr may be a file */
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

static int serve(struct server *s, const struct options *o)
{
        struct in_addr address = {.s_addr = htonl(s->address)};
        _cleanup_free_ char *reason = NULL;
        char text[INET_ADDRSTRLEN];
        int r;

        inet_ntop(AF_INET, &address, text, sizeof text);
        r = server_start(s, &reason);
        if (r == -EAGAIN) {
                log_error("Cannot serve: %s", reason ? reason : "out of memory");
                return r;
        }
        if (r < 0) {
                log_error("Cannot listen on %s: %s; if the port is in use, --listen takes another",
                          o->listen, reason && reason[0] ? reason : strerrordesc_np(-r));
                return r;
        }
        log_info("Serving %s at http://%s:%u/", mountpoint_path(s->mount), text, s->port);
        if (o->ready_fd >= 0) {
                if (write(o->ready_fd, "\n", 1) < 0)
                        log_warning_errno(-errno, "Cannot write the ready byte: %m");
                close(o->ready_fd);
        }
        return 0;
}

/* Serves as long as the mount is there and no signal comes. Returns the exit code. */
static int run(struct server *s, const struct options *o, int signals, int news)
{
        struct pollfd fds[] = {
                {.fd = signals, .events = POLLIN},
                {.fd = news, .events = POLLIN},
        };
        bool serving = false;

        for (;;) {
                uint64_t count;

                if (poll(fds, 2, -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        log_error_errno(-errno, "poll: %m");
                        return EXIT_FAILURE;
                }
                if (fds[0].revents)
                        return EXIT_SUCCESS;
                if (fds[1].revents && read(news, &count, sizeof count) < 0)
                        continue;
                switch (health_state(s->health)) {
                case HEALTH_FINE:
                        if (!serving && serve(s, o) < 0)
                                return EXIT_FAILURE;
                        serving = true;
                        break;
                case HEALTH_FOREIGN:
                        log_error_errno(health_error(s->health),
                                        "%s is not a magnetfs mount of yours: %m",
                                        mountpoint_path(s->mount));
                        return EXIT_FAILURE;
                case HEALTH_GONE:
                        log_info_errno(health_error(s->health),
                                       "The mount %s is gone, so ends this: %m",
                                       mountpoint_path(s->mount));
                        return EXIT_SUCCESS;
                default:
                        break;
                }
        }
}

int main(int argc, char **argv)
{
        static struct options o = {
                .ready_fd = -1,
                .client_timeout_s = CLIENT_TIMEOUT_S,
                .streams = STREAMS,
        };
        static struct server s; /* other threads use it to the very end */
        int signals = -1, news, r;

        log_open(PROGRAM, LOG_LEVEL_INFO);
        r = parse_options(argc, argv, &o);
        if (r != 0)
                return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;

        /* An arena of malloc() takes 64 MiB of addresses; with one for each few threads nothing is
         * left of ulimit -v for the threads themselves. */
        mallopt(M_ARENA_MAX, 1);
        s.guard = (struct guard_rules){
                .hosts = o.hosts,
                .host_count = o.host_count,
                .origins = o.origins,
                .origin_count = o.origin_count,
        };
        s.address = o.address;
        s.port = o.port;
        s.client_timeout_ms = (uint64_t)o.client_timeout_s * 1000;
        s.streams.limit = o.streams;
        s.waits.limit = SERVER_WAITS;

        r = open_signals(&signals);
        if (r < 0) {
                log_error_errno(r, "Cannot take signals: %m");
                return EXIT_FAILURE;
        }
        news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        s.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (news < 0 || s.wake_fd < 0) {
                log_error_errno(-errno, "eventfd: %m");
                return EXIT_FAILURE;
        }
        r = mountpoint_new(o.mount, &s.mount);
        if (r == 0)
                r = health_start(s.mount, news, &s.health);
        if (r < 0) {
                log_error_errno(r, "Cannot look after %s: %m", o.mount);
                return EXIT_FAILURE;
        }

        r = run(&s, &o, signals, news);
        server_stop(&s, STOP_MS);
        /* Not exit(): threads of civetweb, and perhaps one that hangs in the mount, are still
         * there. */
#ifdef __SANITIZE_ADDRESS__
        __lsan_do_leak_check(); /* what exit() would have done */
#endif
        _exit(r);
}
