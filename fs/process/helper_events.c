/* SPDX-License-Identifier: MIT */
#include "process/helper_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

/* A command that takes longer hangs. */
enum { RUN_MAX_MS = 60 * 60 * 1000 };
/* After a fork that failed. */
enum { RETRY_MS = 1000 };

static _Noreturn void become_command(const struct events *e, const char *json)
{
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        helper_become_child();
        /* A group of its own, so that all that it starts ends with it. A group in the background of
         * a terminal must not read from it. */
        setpgid(0, 0);
        if (null >= 0)
                dup2(null, STDIN_FILENO);
        setenv("MAGNETFS_EVENT", json, 1);
        setenv("MAGNETFS_MOUNTPOINT", e->mountpoint, 1);
        execl("/bin/sh", "sh", "-c", e->command, (char *)NULL);
        _exit(127);
}

/* Starts the first one of the queue; false: not now. */
static bool start_next(struct events *e, uint64_t now_ms)
{
        char *json = e->queue[e->first];
        pid_t pid = fork();

        if (pid == 0)
                become_command(e, json);
        if (pid < 0) {
                if (e->retry_at_ms == 0)
                        log_error_errno(errno,
                                        "Cannot run the command of --on-event, which waits: %m");
                e->retry_at_ms = now_ms + RETRY_MS;
                return false;
        }
        setpgid(pid, pid); /* whoever is first */
        e->retry_at_ms = 0;
        e->running[e->n_running++] = (struct event_command){pid, now_ms};
        e->first = (e->first + 1) % EVENTS_QUEUED;
        e->n_queued--;
        free(json);
        return true;
}

void events_add(struct events *e, const char *json)
{
        char *copy;

        if (!e->command)
                return;
        copy = e->n_queued < EVENTS_QUEUED ? strdup(json) : NULL;
        if (copy) {
                e->queue[(e->first + e->n_queued++) % EVENTS_QUEUED] = copy;
                return;
        }
        if (e->n_dropped++ == 0)
                log_warning("%d commands of --on-event run and %u events wait; more are dropped",
                            EVENTS_AT_ONCE, e->n_queued);
}

/* Ends what hangs; returns the milliseconds until the next of them has to. */
static int end_hung(struct events *e, uint64_t now_ms)
{
        int wait_ms = -1;

        for (unsigned i = 0; i < e->n_running; i++) {
                uint64_t age = now_ms - e->running[i].started_ms;

                if (age >= RUN_MAX_MS) {
                        log_warning("A command of --on-event has run for an hour and is killed");
                        kill(-e->running[i].pid, SIGKILL);
                        e->running[i].started_ms = now_ms;
                        age = 0;
                }
                if (wait_ms < 0 || RUN_MAX_MS - (int)age < wait_ms)
                        wait_ms = RUN_MAX_MS - (int)age;
        }
        return wait_ms;
}

int events_keep(struct events *e, uint64_t now_ms)
{
        int wait_ms;

        while (e->n_queued > 0 && e->n_running < EVENTS_AT_ONCE && now_ms >= e->retry_at_ms &&
               start_next(e, now_ms))
                ;
        if (e->n_dropped > 0 && e->n_queued < EVENTS_QUEUED / 2) {
                log_warning("%u events were dropped for --on-event", e->n_dropped);
                e->n_dropped = 0;
        }
        wait_ms = end_hung(e, now_ms);
        if (e->n_queued > 0 && now_ms < e->retry_at_ms && (wait_ms < 0 || wait_ms > RETRY_MS))
                wait_ms = RETRY_MS;
        return wait_ms;
}

void events_reap(struct events *e, pid_t pid)
{
        for (unsigned i = 0; i < e->n_running; i++) {
                if (e->running[i].pid == pid) {
                        e->running[i] = e->running[--e->n_running];
                        return;
                }
        }
}

void events_signal(struct events *e, int signum)
{
        for (unsigned i = 0; i < e->n_running; i++)
                kill(-e->running[i].pid, signum);
}
