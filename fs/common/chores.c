/* SPDX-License-Identifier: MIT */
#include "common/chores.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct chores {
        const char *name;
        pthread_t thread;

        pthread_mutex_t lock; /* a leaf */
        pthread_cond_t wake;
        struct chore *first, **end;
        bool stop, stopped;
};

static void *run(void *arg)
{
        struct chores *cs = arg;

        pthread_setname_np(pthread_self(), cs->name);
        for (;;) {
                struct chore *c;

                pthread_mutex_lock(&cs->lock);
                while (!cs->first && !cs->stop)
                        pthread_cond_wait(&cs->wake, &cs->lock);
                c = cs->first;
                if (c) {
                        cs->first = c->next;
                        if (!cs->first)
                                cs->end = &cs->first;
                }
                pthread_mutex_unlock(&cs->lock);
                if (!c)
                        return NULL;
                c->run(c);
        }
}

int chores_new(const char *name, struct chores **ret)
{
        struct chores *cs = calloc(1, sizeof *cs);
        int r;

        if (!cs)
                return -ENOMEM;
        cs->name = name;
        cs->end = &cs->first;
        pthread_mutex_init(&cs->lock, NULL);
        pthread_cond_init(&cs->wake, NULL);
        r = -pthread_create(&cs->thread, NULL, run, cs);
        if (r < 0) {
                cs->stopped = true;
                chores_free(cs);
                return r;
        }
        *ret = cs;
        return 0;
}

bool chores_push(struct chores *cs, struct chore *c)
{
        bool stop;

        pthread_mutex_lock(&cs->lock);
        stop = cs->stop;
        if (!stop) {
                c->next = NULL;
                *cs->end = c;
                cs->end = &c->next;
                pthread_cond_signal(&cs->wake);
        }
        pthread_mutex_unlock(&cs->lock);
        return !stop;
}

bool chores_take_back(struct chores *cs, struct chore *c)
{
        struct chore **at;
        bool found;

        pthread_mutex_lock(&cs->lock);
        for (at = &cs->first; *at && *at != c; at = &(*at)->next)
                ;
        found = *at != NULL;
        if (found) {
                *at = c->next;
                if (cs->end == &c->next)
                        cs->end = at;
        }
        pthread_mutex_unlock(&cs->lock);
        return found;
}

bool chores_stop(struct chores *cs, unsigned timeout_ms)
{
        struct timespec until;

        if (cs->stopped)
                return true;
        pthread_mutex_lock(&cs->lock);
        cs->stop = true;
        pthread_cond_signal(&cs->wake);
        pthread_mutex_unlock(&cs->lock);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += timeout_ms / 1000;
        until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000;
        }
        cs->stopped = pthread_timedjoin_np(cs->thread, NULL, &until) == 0;
        return cs->stopped;
}

void chores_free(struct chores *cs)
{
        if (!cs)
                return;
        pthread_cond_destroy(&cs->wake);
        pthread_mutex_destroy(&cs->lock);
        free(cs);
}
