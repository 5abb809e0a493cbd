/* SPDX-License-Identifier: MIT */
/* engine_helper.c: the engine's side of the helper: what it is asked for, and what it answers. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"
#include "engine/helper_link.h"

/* Asks for what announce says is wanted. */
static void ask(struct engine *e, struct torrent *t, uint64_t now)
{
        char name[NAME_BYTES_MAX + 1];

        if (e->options.helper_fd < 0 || e->options.read_only || e->helper == ENGINE_HELPER_LOST ||
            !registry_name(e->registry, t, name)) {
                announce_drop(&t->announce);
                return;
        }
        if (e->helper == ENGINE_HELPER_AWAY)
                return;
        /* Before the helper hears of it: its lookup of the name is answered by that. */
        t->announcing = true;
        announce_asked(&t->announce,
                       helper_send(e->options.helper_fd, HELPER_ANNOUNCE, t->number, name) == 0,
                       now);
        t->announcing = t->announce.state == ANNOUNCE_SENT;
}

void helper_announce(struct engine *e, struct torrent *t, uint64_t now)
{
        announce_want(&t->announce);
        ask(e, t, now);
}

void helper_tick(struct engine *e, struct torrent *t, uint64_t now)
{
        enum announce_action action = announce_tick(&t->announce, now);

        t->announcing = t->announce.state == ANNOUNCE_SENT;
        if (action == ANNOUNCE_ASK)
                ask(e, t, now);
}

static void announced(struct engine *e, uint32_t number, int err)
{
        struct torrent *t = registry_by_number(e->registry, number);

        if (!t)
                return;
        switch (announce_answered(&t->announce, err)) {
        case ANNOUNCE_ASK:
                ask(e, t, clock_ms());
                break;
        case ANNOUNCE_FAILED:
                log_debug("%s: could not be announced: %s", t->hex, strerror(err));
                break;
        case ANNOUNCE_NOTHING:
                break;
        }
        t->announcing = t->announce.state == ANNOUNCE_SENT;
        torrent_unref(t);
}

/* What was asked of the helper may not be answered: it will be asked again. */
static void helper_gone(struct engine *e, enum engine_helper state)
{
        struct torrent *t;

        e->helper = state;
        e->helper_pid = -1;
        e->hooks.helper(-1);
        if (e->sidecar_wanted)
                e->sidecar = ENGINE_SIDECAR_DOWN;
        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                t->announcing = false;
                t->removing = false;
                announce_unanswered(&t->announce);
                life_answered(&t->life);
        }
        removal_ask_again(e);
}

/* Tells the helper that the mount knows it. Where there is no room for that among what was asked of
 * the one before it, it is told with the next tick. */
static void greet_helper(struct engine *e)
{
        int fd = e->options.helper_fd;

        if (helper_send(fd, HELPER_KNOWN, (uint32_t)e->helper_pid, NULL) == 0 &&
            (!e->sidecar_wanted || helper_send(fd, HELPER_SIDECAR, e->sidecar_told, NULL) == 0))
                e->helper = ENGINE_HELPER_RUNS;
}

/* The mount has to know the new helper before that does anything there. */
static void helper_back(struct engine *e, pid_t pid)
{
        helper_gone(e, ENGINE_HELPER_AWAY);
        e->helper_pid = pid;
        e->hooks.helper(pid);
        greet_helper(e);
}

static void sidecar_says(struct engine *e, int err)
{
        e->sidecar = err == 0 ? ENGINE_SIDECAR_LISTENS : ENGINE_SIDECAR_DOWN;
        if (!e->sidecar_told)
                e->hooks.sidecar(err);
        e->sidecar_told = true;
}

void helper_says(struct engine *e)
{
        struct helper_message m;
        int r;

        while ((r = helper_receive(e->options.helper_fd, &m)) == 0) {
                switch (m.type) {
                case HELPER_SIDECAR:
                        sidecar_says(e, m.err);
                        break;
                case HELPER_GONE:
                        helper_gone(e, ENGINE_HELPER_AWAY);
                        break;
                case HELPER_BACK:
                        helper_back(e, (pid_t)m.number);
                        break;
                case HELPER_REMOVE:
                        removal_answered(e, m.number, m.err);
                        break;
                case HELPER_ANNOUNCE:
                        announced(e, m.number, m.err);
                        break;
                default:
                        break;
                }
        }
        if (r == -EAGAIN)
                return;
        helper_gone(e, ENGINE_HELPER_LOST);
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, e->options.helper_fd, NULL);
        if (!e->env.stopping)
                log_warning("The helper is gone: no sidecar, no inotify events for new torrents");
}

void helper_greet_again(struct engine *e)
{
        if (e->helper == ENGINE_HELPER_AWAY && e->helper_pid > 0)
                greet_helper(e);
}
