/* SPDX-License-Identifier: MIT */
/* removal.c: how torrents leave: because somebody asked for it, or because they are idle.
 *
 * Who watches the root by inotify hears of it by an rmdir of the torrent's directory alone, which
 * the helper makes. By then the name may be another torrent's. So what was asked for is done at
 * once and by the hash; the helper's rmdir afterwards removes nothing, and is granted as long as
 * nobody else has the name. What the kernel remembers of the name needs no care: it leads to a node
 * that is gone, which makes the kernel ask again. For an idle torrent the rmdir does it, as only
 * the mount knows that nobody is opening a file of it meanwhile; it counts for one that is marked
 * for it, and for no other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/engine_private.h"
#include "engine/helper_link.h"

/* How long the helper may take to tell of a removal. */
enum { HELPER_LATE_MS = 10000 };
/* No rmdir of the helper's is as old as that. */
enum { NAME_SETTLES_MS = 5000 };

/* A torrent that is gone, and its name, which the helper is still to remove. */
struct departed {
        uint32_t number;
        bool asked; /* the helper was */
        uint64_t until_ms;
        struct departed *prev, *next;
        char name[];
};

/* Killed, it will be back. */
static bool helper_is_there(const struct engine *e)
{
        return e->options.helper_fd >= 0 && !e->options.read_only &&
               e->helper != ENGINE_HELPER_LOST;
}

static bool ask_helper(struct engine *e, uint32_t number, const char *name)
{
        return helper_is_there(e) && e->helper == ENGINE_HELPER_RUNS &&
               helper_send(e->options.helper_fd, HELPER_REMOVE, number, name) == 0;
}

int engine_remove(struct engine *e, struct torrent *t)
{
        char name[NAME_BYTES_MAX + 1];
        struct departed *d;
        size_t len;
        int r = library_remove(e, t);

        if (r < 0)
                return r;
        if (!engine_drop(e, t, false, name)) {
                /* Somebody else has removed it, or it has become one with another. */
                struct torrent *other = torrent_successor(t);

                r = other ? engine_remove(e, other) : 0;
                torrent_unref(other);
                return r;
        }
        log_info("%s (%s): removed", t->hex, name);
        len = strlen(name) + 1;
        d = calloc(1, sizeof *d + len);
        if (!d)
                return 0; /* nobody hears of it */
        d->number = t->number;
        d->until_ms = clock_ms() + HELPER_LATE_MS;
        memcpy(d->name, name, len);
        pthread_mutex_lock(&e->lock);
        DL_APPEND(e->departed, d);
        pthread_mutex_unlock(&e->lock);
        engine_wake(e);
        return 0;
}

uint32_t engine_departed(struct engine *e, const char *name)
{
        const struct departed *d;
        uint32_t number = 0;

        pthread_mutex_lock(&e->lock);
        LL_FOREACH (e->departed, d)
                if (strcmp(d->name, name) == 0)
                        number = d->number;
        pthread_mutex_unlock(&e->lock);
        return number;
}

struct life_use engine_use_of(struct torrent *t)
{
        int r = torrent_ready(t);
        struct life_use use = {.kept = t->kept,
                               .fetching = r == -EAGAIN,
                               .failed = r < 0 && r != -EAGAIN,
                               .stays = sleep_stays(engine_of(t), t) || torrent_is_filling(t)};

        use.handles = t->handles; /* before the next, which a close sets first */
        use.last_used_ms = sleep_used_ms(t);
        return use;
}

/* It is temporary, and idle. Any thread. */
static bool is_to_go(const struct engine *e, struct torrent *t, uint64_t now)
{
        const struct life_use use = engine_use_of(t);

        return !use.kept && life_is_idle(&e->life_rules, &use, now);
}

int engine_helper_rmdir(struct engine *e, const char *name)
{
        struct torrent *t = registry_by_name(e->registry, name);
        uint64_t now = clock_ms();
        int r = -EBUSY;

        if (!t)
                return engine_departed(e, name) ? 0 : -ENOENT;
        /* The kernel looked the name up a moment ago. If it was another's then, it takes that one's
         * directory for the one that is removed. */
        if (t->removing && life_elapsed(t->renamed_ms, now) >= NAME_SETTLES_MS &&
            is_to_go(e, t, now)) {
                char own[NAME_BYTES_MAX + 1];

                r = engine_drop(e, t, true, own) ? 0 : -EBUSY;
                if (r == 0)
                        log_info("%s (%s): idle, removed", t->hex, own);
        }
        torrent_unref(t);
        return r;
}

void removal_check_idle(struct engine *e, struct torrent *t, uint64_t now)
{
        const struct life_use use = engine_use_of(t);
        char name[NAME_BYTES_MAX + 1];

        switch (life_tick(&t->life, &e->life_rules, &use, helper_is_there(e), now)) {
        case LIFE_ASK:
                /* Before the helper hears of it: its rmdir counts for one that is marked. */
                t->removing = true;
                life_asked(&t->life,
                           registry_name(e->registry, t, name) && ask_helper(e, t->number, name));
                t->removing = t->life.asked;
                break;
        case LIFE_DROP:
                if (engine_drop(e, t, true, name))
                        log_info("%s (%s): idle, removed", t->hex, name);
                break;
        case LIFE_SLEEP:
                sleep_begin(e, t);
                break;
        case LIFE_WAKE:
        case LIFE_NOTHING:
                break;
        }
}

void removal_run(struct engine *e, uint64_t now)
{
        struct departed *d, *next;

        pthread_mutex_lock(&e->lock);
        LL_FOREACH_SAFE (e->departed, d, next) {
                if (now >= d->until_ms || !helper_is_there(e)) {
                        DL_DELETE(e->departed, d); /* NOLINT(*NullDereference): it is in */
                        free(d);
                } else if (!d->asked && !(d->asked = ask_helper(e, d->number, d->name))) {
                        break; /* the helper is behind */
                }
        }
        pthread_mutex_unlock(&e->lock);
}

void removal_answered(struct engine *e, uint32_t number, int err)
{
        struct departed *d;
        struct torrent *t;

        pthread_mutex_lock(&e->lock);
        LL_FOREACH (e->departed, d)
                if (d->number == number)
                        break;
        if (d)
                DL_DELETE(e->departed, d);
        pthread_mutex_unlock(&e->lock);
        if (d && err != 0)
                log_debug("%s: its removal could not be told: %s", d->name, strerror(err));
        free(d);
        t = registry_by_number(e->registry, number);
        if (t) {
                t->removing = false;
                life_answered(&t->life);
        }
        torrent_unref(t);
}

void removal_ask_again(struct engine *e)
{
        struct departed *d;

        pthread_mutex_lock(&e->lock);
        LL_FOREACH (e->departed, d)
                d->asked = false;
        pthread_mutex_unlock(&e->lock);
}

void removal_free(struct engine *e)
{
        struct departed *d, *next;

        LL_FOREACH_SAFE (e->departed, d, next)
                free(d);
}
