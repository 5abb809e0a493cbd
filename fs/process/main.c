/* SPDX-License-Identifier: MIT */
/* main.c: magnetfs from its first line to its last: checks, daemonising, the helper, engine and
 * mount, signals, the way out.
 *
 * Order matters: the helper is forked before any thread, session or mount exists; the session
 * starts after the last fork; signals are blocked before the first thread and taken by this one
 * alone. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/listen.h"
#include "common/log.h"
#include "common/token.h"
#include "engine/engine.h"
#include "mount/mount.h"
#include "process/helper.h"
#include "process/options.h"
#include "process/source.h"
#include "process/startup.h"

enum { EXIT_USAGE = 2 };
/* The way out, in all at most 2 s: the session may wait for trackers, the helper for the sidecar.
 */
enum { SESSION_END_MS = 800, HELPER_END_MS = 1200, EXIT_S = 2 };
/* The sidecar's first start. */
enum { SIDECAR_START_MS = 10000 };

struct program {
        struct options options;
        struct bt_source *source; /* what the command line adds, or NULL */
        char *mountpoint;
        char addr[LISTEN_ADDR_MAX];
        uint16_t port;
        int state_dir_fd, state_lock_fd, cache_dir_fd, cache_lock_fd;
        int done_fd; /* when daemonising: the first process waits at its other end for our exit code
                      */
        char *sidecar_path, *sidecar_argv[320]; /* two for each repeated option, and a few */
        char token[TOKEN_MAX + 1];              /* "": none */
        int helper_fd;
        pid_t zygote; /* of the helper */
        struct engine *engine;
        struct mount *mount;
        volatile sig_atomic_t mounted; /* the mountpoint is ours, and is not to be left behind */
        int ended_fd, sidecar_fd, signal_fd;
};

static struct program program = {
        .state_dir_fd = -1, .cache_dir_fd = -1, .done_fd = -1, .helper_fd = -1};

/* The engine's thread. */
static void on_sidecar(int err)
{
        uint64_t value = err ? 2 : 1;

        (void)!write(program.sidecar_fd, &value, sizeof value);
}

/* What can be said of the command line without looking at the machine. */
static int check_usage(struct program *p)
{
        struct options *o = &p->options;
        const char *why = listen_parse(o->http, p->addr, &p->port);
        struct bt_error err = {0};

        if (!o->no_http && why) {
                log_error("--http %s: %s", o->http, why);
                return -EINVAL;
        }
        if (!o->no_http && !o->token && !o->token_file && !listen_is_loopback(p->addr)) {
                log_error("--http %s: %s", o->http, LISTEN_NEEDS_TOKEN);
                return -EINVAL;
        }
        if (o->token && (o->token_file || strcmp(o->token, "auto") != 0)) {
                log_error("--token is auto or nothing, and not beside --token-file; other tokens "
                          "come from a file");
                return -EINVAL;
        }
        if (bt_settings_check(o->settings, o->n_settings, &err) < 0) {
                log_error("--set: %s", err.text);
                return -EINVAL;
        }
        return mount_check_options(&(struct mount_options){.fuse_options = o->fuse_options});
}

/* By what name this machine's programs reach the sidecar: 0.0.0.0 is no place to go to. */
static const char *http_host(const struct program *p)
{
        return strcmp(p->addr, "0.0.0.0") == 0 ? "localhost" : p->addr;
}

/* The token is printed where it was made: on stdout, of which a log takes no note. */
static int take_token(struct program *p)
{
        const struct options *o = &p->options;
        const char *why = NULL;
        int r = 0;

        if (o->no_http)
                return 0;
        if (o->token_file) {
                r = token_read_file(o->token_file, p->token, &why);
                if (why)
                        log_error("--token-file %s: %s", o->token_file, why);
                else if (r < 0)
                        log_error_errno(r, "--token-file %s: %m", o->token_file);
        } else if (o->token) {
                r = token_make(p->token);
                if (r < 0)
                        return log_error_errno(r, "Cannot make a token: %m");
                printf("http://%s:%u/?token=%s\n", http_host(p), p->port, p->token);
                (void)fflush(stdout);
        }
        return r;
}

static int check(struct program *p)
{
        struct options *o = &p->options;
        uint64_t kernel_s;
        int r;

        r = o->source ? source_parse(o->source, o->loopback_peers, &p->source) : 0;
        if (r < 0)
                return r;
        kernel_s = startup_request_timeout_s();
        if (kernel_s > 0 && (o->read_timeout_s == 0 || o->read_timeout_s >= kernel_s)) {
                o->read_timeout_s = kernel_s > 1 ? kernel_s / 2 : 1;
                log_warning(
                        "The kernel aborts a FUSE mount after a request of %llu s (fs.fuse.*_request_timeout): reads time out after %llu s",
                        (unsigned long long)kernel_s, (unsigned long long)o->read_timeout_s);
        }
        r = startup_folder(o->state_dir, "state", &p->state_dir_fd, &p->state_lock_fd);
        if (r == 0)
                r = startup_folder(o->cache_dir, "cache", &p->cache_dir_fd, &p->cache_lock_fd);
        if (r == 0)
                r = startup_mountpoint(o->mountpoint, o->nonempty, &p->mountpoint);
        if (r == 0)
                r = startup_fuse();
        if (r == 0 && !o->no_http)
                r = startup_port(p->addr, p->port);
        if (r == 0)
                r = take_token(p);
        return r;
}

/* magnetfs-httpd is beside magnetfs, wherever that is. */
static int find_sidecar(struct program *p)
{
        static const char name[] = "magnetfs-httpd";
        char self[4096], *slash;
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - sizeof name);

        if (n < 0)
                return log_error_errno(errno, "Cannot find the program's own path: %m");
        self[n] = '\0';
        slash = strrchr(self, '/');
        memcpy(slash ? slash + 1 : self, name, sizeof name);
        if (access(self, X_OK) < 0)
                return log_error_errno(
                        errno, "Cannot find %s: %m; install it beside magnetfs, or use --no-http",
                        self);
        p->sidecar_path = strdup(self);
        return p->sidecar_path ? 0 : -ENOMEM;
}

static void make_sidecar_argv(struct program *p)
{
        static char seconds[24], streams[24];
        struct options *o = &p->options;
        unsigned n = 0;

        snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)o->client_timeout_s);
        p->sidecar_argv[n++] = p->sidecar_path;
        p->sidecar_argv[n++] = (char *)"--mount";
        p->sidecar_argv[n++] = p->mountpoint;
        p->sidecar_argv[n++] = (char *)"--listen";
        p->sidecar_argv[n++] = o->http;
        p->sidecar_argv[n++] = (char *)"--client-timeout";
        p->sidecar_argv[n++] = seconds;
        p->sidecar_argv[n++] = (char *)"--log-level";
        p->sidecar_argv[n++] = (char *)(uintptr_t)log_level_name(o->log_level);
        snprintf(streams, sizeof streams, "%llu", (unsigned long long)o->streams);
        p->sidecar_argv[n++] = (char *)"--streams";
        p->sidecar_argv[n++] = streams;
        for (unsigned i = 0; i < o->n_allowed_hosts; i++) {
                p->sidecar_argv[n++] = (char *)"--allowed-host";
                p->sidecar_argv[n++] = o->allowed_hosts[i];
        }
        for (unsigned i = 0; i < o->n_origins; i++) {
                p->sidecar_argv[n++] = (char *)"--cors";
                p->sidecar_argv[n++] = o->origins[i];
        }
        p->sidecar_argv[n] = NULL;
}

/* The first process stays until all is up, so that whoever started magnetfs can go on with a mount
 * that is there. */
static int daemonise(struct program *p)
{
        int fds[2], null;
        pid_t pid;
        char code;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return log_error_errno(errno, "Cannot make a pipe: %m");
        pid = fork();
        if (pid < 0)
                return log_error_errno(errno, "Cannot fork: %m");
        if (pid > 0) {
                close(fds[1]);
                _exit(read(fds[0], &code, 1) == 1 ? code : 1);
        }
        close(fds[0]);
        p->done_fd = fds[1];
        setsid();
        (void)!chdir("/");
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null >= 0) {
                dup2(null, STDIN_FILENO);
                dup2(null, STDOUT_FILENO);
                close(null);
        }
        startup_sign(p->state_lock_fd);
        startup_sign(p->cache_lock_fd);
        return 0;
}

/* All is up: tells whoever waits. stderr is theirs until here. */
static void tell_ready(struct program *p)
{
        int fd = p->options.ready_fd;

        if (fd >= 0) {
                (void)!write(fd, "\n", 1);
                close(fd);
        }
        if (p->done_fd >= 0) {
                (void)helper_send(p->helper_fd, HELPER_DETACH, 0, NULL);
                log_to_syslog();
                dup2(STDIN_FILENO, STDERR_FILENO);
                (void)!write(p->done_fd, "\0", 1);
                close(p->done_fd);
                p->done_fd = -1;
        }
}

static int start_helper(struct program *p)
{
        struct helper_options h = {.mountpoint = p->mountpoint,
                                   .on_event = p->options.on_event,
                                   .detaches = !p->options.foreground};
        int r;

        if (!p->options.no_http) {
                r = find_sidecar(p);
                if (r < 0)
                        return r;
                make_sidecar_argv(p);
                h.sidecar = p->sidecar_argv;
                h.token = p->token[0] ? p->token : NULL;
        }
        r = helper_start(&h, &p->helper_fd, &p->zygote);
        return r < 0 ? log_error_errno(r, "Cannot start the helper: %m") : 0;
}

static int start_all(struct program *p)
{
        const struct options *o = &p->options;
        const struct engine_options e = {
                .read_timeout_ms = o->read_timeout_s * 1000,
                .metadata_timeout_ms = o->metadata_timeout_s * 1000,
                .retry_delay_ms = o->retry_delay_s * 1000,
                .idle_timeout_ms = o->idle_timeout_s * 1000,
                .retries = (unsigned)o->retries,
                .fill = o->fill,
                .stay_awake = o->stay_awake,
                .awake_max = (unsigned)o->awake_max,
                .loopback_peers = o->loopback_peers,
                .settings = o->settings,
                .n_settings = o->n_settings,
                .state_dir_fd = p->state_dir_fd,
                .cache_dir_fd = p->cache_dir_fd,
                .cache_size = o->cache_size,
                .min_free = o->min_free,
                .helper_fd = p->helper_fd,
                .on_event = o->on_event != NULL,
                .read_only = o->read_only,
                .reply = mount_reply,
        };
        const struct mount_options m = {
                .mountpoint = p->mountpoint,
                .source = o->source,
                .fuse_options = o->fuse_options,
                .uid = o->uid,
                .gid = o->gid,
                .umask = o->umask,
                .max_read = (unsigned)o->max_read,
                .sidecar = on_sidecar,
        };
        int r = engine_new(&e, &p->engine);

        if (r == 0)
                r = mount_new(p->engine, &m, &p->mount);
        p->mounted = p->mount != NULL;
        /* Mounted, but nothing is answered yet: whoever asks finds a session that stands. */
        if (r == 0)
                r = engine_start(p->engine, !o->no_http);
        if (r == 0)
                r = mount_start(p->mount, p->ended_fd);
        if (r == 0)
                (void)helper_send(p->helper_fd, HELPER_AHEAD, 0, NULL);
        return r;
}

/* What the command line says, kept. */
static int add_source(struct program *p)
{
        struct bt_source *source = p->source;
        struct torrent *t = NULL;
        int r, q;

        if (!source)
                return 0;
        p->source = NULL;
        engine_begin(p->engine);
        r = engine_add(p->engine, source, true, &t);
        q = engine_commit(p->engine);
        r = r < 0 ? r : q;
        if (r < 0)
                log_error("Cannot add %s: %s", p->options.source, store_open_error(-r));
        torrent_unref(t);
        return r;
}

/* Waits for the sidecar (0), a signal or an unmount (-ECANCELED), or -ECHILD. */
static int wait_for_sidecar(struct program *p)
{
        struct pollfd fds[3] = {{.fd = p->sidecar_fd, .events = POLLIN},
                                {.fd = p->signal_fd, .events = POLLIN},
                                {.fd = p->ended_fd, .events = POLLIN}};
        uint64_t value = 2;
        int n;

        do
                n = poll(fds, 3, SIDECAR_START_MS);
        while (n < 0 && errno == EINTR);
        if (n > 0 && !fds[0].revents)
                return -ECANCELED;
        if (n > 0 && read(p->sidecar_fd, &value, sizeof value) == (ssize_t)sizeof value &&
            value == 1)
                return 0;
        log_error("The sidecar did not start; the lines above say why, --no-http goes without it");
        return -ECHILD;
}

static void wait_for_end(struct program *p)
{
        struct pollfd fds[2] = {{.fd = p->signal_fd, .events = POLLIN},
                                {.fd = p->ended_fd, .events = POLLIN}};
        struct signalfd_siginfo info;

        while (poll(fds, 2, -1) < 0 && errno == EINTR)
                ;
        if (fds[0].revents && read(p->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
                log_info("Ending by signal %u", info.ssi_signo);
        else
                log_info("Unmounted, ending");
}

/* Something hangs on the way out: leave the mountpoint clean and go. */
static void on_alarm(int sig)
{
        (void)sig;
        if (program.mounted)
                (void)umount2(program.mountpoint, MNT_DETACH);
        _exit(1);
}

static void end_all(struct program *p, int code)
{
        struct sigaction late = {.sa_handler = on_alarm};
        bool ended = true;

        sigaction(SIGALRM, &late, NULL);
        alarm(EXIT_S);
        if (p->engine)
                engine_release_reads(p->engine);
        /* Before the mount goes: without it the sidecar would end by itself and be started again.
         */
        if (p->zygote > 0)
                (void)helper_send(p->helper_fd, HELPER_QUIT, 0, NULL);
        if (p->engine)
                engine_halt(p->engine);
        if (p->mount)
                mount_stop(p->mount);
        p->mounted = false;
        if (p->engine)
                ended = engine_stop(p->engine, SESSION_END_MS);
        if (p->zygote > 0)
                helper_stop(p->helper_fd, p->zygote, p->engine ? engine_helper(p->engine) : -1,
                            HELPER_END_MS);
        /* Its threads use what exit() would take from under them. */
        if (!ended)
                _exit(code);
        mount_free(p->mount);
        engine_free(p->engine);
        alarm(0);
}

/* SIGINT, SIGTERM and SIGHUP end the program; threads started from here on have them blocked too.
 */
static int take_signals(struct program *p)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGUSR1); /* of the FUSE thread alone */
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        sigdelset(&set, SIGUSR1);
        p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
        p->ended_fd = eventfd(0, EFD_CLOEXEC);
        p->sidecar_fd = eventfd(0, EFD_CLOEXEC);
        return p->signal_fd < 0 || p->ended_fd < 0 || p->sidecar_fd < 0
                       ? log_error_errno(errno, "Cannot take signals: %m")
                       : 0;
}

static int run(struct program *p)
{
        int r;

        if (check_usage(p) < 0)
                return EXIT_USAGE;
        r = check(p);
        if (r == 0 && !p->options.foreground)
                r = daemonise(p);
        if (r == 0)
                r = start_helper(p);
        if (r < 0)
                return 1;
        startup_descriptors(); /* the helper keeps what it has, for --on-event */
        r = take_signals(p);
        if (r == 0)
                r = start_all(p);
        if (r == 0)
                r = add_source(p);
        if (r == 0 && !p->options.no_http)
                r = wait_for_sidecar(p);
        if (r == 0) {
                log_info("Mounted at %s%s%s", p->mountpoint, p->options.no_http ? "" : ", http://",
                         p->options.no_http ? "" : p->options.http);
                tell_ready(p);
                wait_for_end(p);
        }
        r = r == 0 || r == -ECANCELED ? 0 : 1;
        end_all(p, r);
        return r;
}

int main(int argc, char **argv)
{
        struct program *p = &program;
        int code;

        /* Descriptors 0 to 2 are somebody's stderr, not our store. */
        while ((code = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && code <= STDERR_FILENO)
                (void)fcntl(code, F_SETFD, 0);
        if (code >= 0)
                close(code);
        /* A limit on file sizes is an error of the write that meets it. */
        signal(SIGXFSZ, SIG_IGN);

        if (!options_parse(argc, argv, &p->options)) {
                options_free(&p->options);
                return EXIT_USAGE;
        }
        if (p->options.help) {
                options_help();
                code = 0;
        } else if (p->options.version) {
                printf("magnetfs %s (libtorrent %s)\n", MAGNETFS_VERSION, bt_version());
                code = 0;
        } else {
                log_open("magnetfs", p->options.log_level);
                code = run(p);
        }
        bt_source_free(p->source);
        free(p->mountpoint);
        free(p->sidecar_path);
        options_free(&p->options);
        return code;
}
