/* SPDX-License-Identifier: MIT */
/* main.c: signals, the beginning and the end.
 *
 * The main thread makes no call on the mount, so that it can always end the program; health.c's
 * thread looks at it. */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
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
#include "common/limits.h"
#include "common/log.h"
#include "options.h"
#include "sandbox.h"
#include "server.h"

enum { EXIT_USAGE = 2 };
/* What malloc() gives back to the kernel as soon as it is freed: its own beginning, which it raises
 * to the largest that was freed, up to 32 MiB, unless it is set. */
enum { LARGE_BYTES = 128 << 10 };
/* Requests that wait are woken; what still runs then is cut off. */
enum { STOP_MS = 400 };

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
        sandbox_close();
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
                        return EXIT_MOUNT_GONE;
                default:
                        break;
                }
        }
}

int main(int argc, char **argv)
{
        static struct options o;
        static struct server s; /* other threads use it to the very end */
        int signals = -1, news, r;

        r = options_parse(argc, argv, &o);
        if (r != 0)
                return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;

        /* An arena of malloc() takes 64 MiB of addresses; with one for each few threads nothing is
         * left of ulimit -v for the threads themselves. */
        mallopt(M_ARENA_MAX, 1);
        /* Large buffers go back at once, whatever was freed before. */
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
        s.guard = (struct guard_rules){
                .hosts = o.hosts,
                .host_count = o.host_count,
                .origins = o.origins,
                .origin_count = o.origin_count,
                .any_streams = o.any_streams,
        };
        s.token = o.token[0] ? o.token : NULL;
        s.address = o.address;
        s.port = o.port;
        s.client_timeout_ms = (uint64_t)o.client_timeout_s * 1000;
        s.streams = (struct slots){.limit = o.streams, .name = "streams"};
        s.waits = (struct slots){.limit = SERVER_WAITS, .name = "requests that wait"};
        s.bodies = (struct slots){.limit = SERVER_BODIES, .name = "bodies that come"};
        s.listeners = (struct slots){.limit = SERVER_LISTENERS, .name = "listeners"};
        s.lists = (struct slots){.limit = SERVER_LISTS, .name = "lists of files"};
        s.long_lists = (struct slots){.limit = SERVER_LONG_LISTS, .name = "long lists"};

        sem_init(&s.reads, 0, SERVER_READS);

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
                sandbox_enter(mountpoint_path(s.mount), s.port);
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
