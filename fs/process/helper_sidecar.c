/* SPDX-License-Identifier: MIT */
#include "process/helper_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/token.h"

/* A sidecar that dies is started again, not at once when it dies at once. */
enum { RESTART_FIRST_MS = 100, RESTART_MOST_MS = 10000, RESTART_FORGET_MS = 60000 };
/* A signal that reached the helper reached magnetfs and the sidecar too (^C): time to end, not to
 * start the sidecar again. */
enum { ENDING_MS = 3000 };

void sidecar_init(struct sidecar *s, const struct helper_options *o,
                  void (*tell)(void *arg, int err), void *arg)
{
        *s = (struct sidecar){.options = o,
                              .tell = tell,
                              .arg = arg,
                              .self = getpid(),
                              .said_fd = -1,
                              .ready_fd = -1};
}

static void close_fd(int *fd)
{
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

/* It has ended or could not be started: it is started again, later each time; if it was never up
 * nobody waits for that. */
static void restart_later(struct sidecar *s)
{
        uint64_t now = clock_ms();

        s->tell(s->arg, ECHILD);
        if (!s->listened) {
                s->wanted = false;
                return;
        }
        if (now - s->started_ms > RESTART_FORGET_MS || s->delay_ms == 0)
                s->delay_ms = RESTART_FIRST_MS;
        else if (s->delay_ms < RESTART_MOST_MS)
                s->delay_ms *= 2;
        s->restart_at_ms = now + s->delay_ms;
        if (s->restart_at_ms < s->not_before_ms)
                s->restart_at_ms = s->not_before_ms;
}

/* The token goes by a descriptor: command lines and environments are for all to see. */
static bool add_token(const char *token, char *argv[2], char number[16])
{
        int fd;

        if (token_to_fd(token, &fd) < 0)
                return false;
        fcntl(fd, F_SETFD, 0);
        snprintf(number, 16, "%d", fd);
        argv[0] = (char *)"--token-fd";
        argv[1] = number;
        return true;
}

static _Noreturn void become_sidecar(const struct sidecar *s, int ready_fd, int said_fd)
{
        enum { ARGS_MAX = 512 };
        char *argv[ARGS_MAX], number[16], token_number[16];
        int n = 0;

        helper_become_child();
        /* If the helper is killed the sidecar ends too, also one that is stopped: the next one
         * needs its port. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != s->self)
                _exit(1);
        while (n < ARGS_MAX - 5 && s->options->sidecar[n]) {
                argv[n] = s->options->sidecar[n];
                n++;
        }
        snprintf(number, sizeof number, "%d", ready_fd);
        argv[n++] = (char *)"--ready-fd";
        argv[n++] = number;
        if (s->options->token) {
                if (!add_token(s->options->token, argv + n, token_number)) {
                        log_error_errno(errno, "Cannot give the sidecar its token: %m");
                        _exit(127);
                }
                n += 2;
        }
        argv[n] = NULL;
        fcntl(ready_fd, F_SETFD, 0);
        if (said_fd >= 0)
                dup2(said_fd, STDERR_FILENO);
        execv(argv[0], argv);
        log_error_errno(errno, "Cannot start %s: %m", argv[0]);
        _exit(127);
}

static void start(struct sidecar *s)
{
        int ready[2] = {-1, -1}, said[2] = {-1, -1};
        pid_t pid = -1;

        s->started_ms = clock_ms();
        if (pipe2(ready, O_CLOEXEC) < 0 ||
            (s->options->detaches && pipe2(said, O_CLOEXEC | O_NONBLOCK) < 0)) {
                log_error_errno(errno, "Cannot make a pipe for the sidecar: %m");
        } else {
                pid = fork();
                if (pid == 0)
                        become_sidecar(s, ready[1], said[1]);
                if (pid < 0)
                        log_error_errno(errno, "Cannot fork for the sidecar: %m");
        }
        close_fd(&ready[1]);
        close_fd(&said[1]);
        if (pid < 0) {
                close_fd(&ready[0]);
                close_fd(&said[0]);
                restart_later(s);
                return;
        }
        s->pid = pid;
        close_fd(&s->ready_fd);
        s->ready_fd = ready[0];
        if (said[0] >= 0) {
                close_fd(&s->said_fd);
                s->said_fd = said[0];
                s->n_said = 0;
        }
}

void sidecar_want(struct sidecar *s, bool again)
{
        if (s->wanted || !s->options->sidecar)
                return;
        s->wanted = true;
        s->listened = again;
        start(s);
}

void sidecar_hesitate(struct sidecar *s, uint64_t now_ms)
{
        s->not_before_ms = now_ms + ENDING_MS;
}

void sidecar_fds(const struct sidecar *s, struct pollfd fds[2])
{
        fds[0] = (struct pollfd){.fd = s->ready_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = s->said_fd, .events = POLLIN};
}

static void on_ready(struct sidecar *s)
{
        char byte;

        if (read(s->ready_fd, &byte, 1) == 1) {
                s->listened = true;
                s->tell(s->arg, 0);
                log_info("The sidecar listens");
        }
        close_fd(&s->ready_fd);
}

/* Passes the sidecar's lines on. */
static void on_said(struct sidecar *s)
{
        ssize_t n = read(s->said_fd, s->said + s->n_said, sizeof s->said - 1 - s->n_said);
        char *newline, *line = s->said;

        if (n <= 0) {
                if (n == 0 || (errno != EAGAIN && errno != EINTR))
                        close_fd(&s->said_fd);
                return;
        }
        s->n_said += (size_t)n;
        s->said[s->n_said] = '\0';
        while ((newline = strchr(line, '\n'))) {
                *newline = '\0';
                log_relay(line);
                line = newline + 1;
        }
        s->n_said -= (size_t)(line - s->said);
        memmove(s->said, line, s->n_said);
        if (s->n_said == sizeof s->said - 1)
                s->n_said = 0; /* no line is that long */
}

void sidecar_look(struct sidecar *s, const struct pollfd fds[2])
{
        if (fds[1].revents)
                on_said(s);
        if (fds[0].revents)
                on_ready(s);
}

int sidecar_keep(struct sidecar *s, uint64_t now_ms)
{
        if (!s->wanted || s->pid > 0)
                return -1;
        if (now_ms >= s->restart_at_ms) {
                start(s);
                return s->wanted && s->pid <= 0 ? (int)s->delay_ms : -1;
        }
        return s->restart_at_ms - now_ms < HELPER_LOOK_MS ? (int)(s->restart_at_ms - now_ms)
                                                          : HELPER_LOOK_MS;
}

bool sidecar_reap(struct sidecar *s, pid_t pid, int status)
{
        if (s->pid <= 0 || pid != s->pid)
                return false;
        s->pid = 0;
        if (!s->wanted)
                return true;
        /* Of one that was unmounted lazily, while somebody still uses it. */
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_MOUNT_GONE) {
                s->wanted = false;
                s->tell(s->arg, ECHILD);
                return true;
        }
        restart_later(s);
        if (s->wanted)
                log_info("The sidecar ended (%s %d); it is started again in %u ms",
                         WIFSIGNALED(status) ? "signal" : "exit code",
                         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), s->delay_ms);
        return true;
}

void sidecar_end(struct sidecar *s)
{
        s->wanted = false;
        if (s->pid > 0)
                kill(s->pid, SIGTERM);
}
