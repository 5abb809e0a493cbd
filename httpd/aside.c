/* SPDX-License-Identifier: MIT */
#include "aside.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <utlist.h>

/* How long a thread waits for the next job before it ends. */
enum { IDLE_S = 5 };

/* A thread that waits; on its stack. */
struct idler {
        pthread_cond_t given;
        void (*run)(void *data); /* NULL: nothing yet */
        void *data;
        struct idler *prev, *next;
};

struct job {
        void (*run)(void *data);
        void *data;
};

/* The last that went idle stands first and is taken first, so that the others can end. Under
 * lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct idler *idlers;

/* Waits for a job; false: none came. Under lock. */
static bool wait_for_job(struct job *ret)
{
        struct idler me = {.run = NULL};
        pthread_condattr_t attr;
        struct timespec until;
        int r = 0;

        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&me.given, &attr);
        pthread_condattr_destroy(&attr);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += IDLE_S;

        DL_PREPEND(idlers, &me);
        while (!me.run && r == 0)
                r = pthread_cond_timedwait(&me.given, &lock, &until);
        if (!me.run) /* else the giver has taken it out */
                DL_DELETE(idlers, &me);
        pthread_cond_destroy(&me.given);
        *ret = (struct job){me.run, me.data};
        return me.run; /* NOLINT(*StackAddressEscape): it is in idlers no more */
}

static void *work(void *data)
{
        struct job *first = data, job = *first;
        bool goes_on = true;

        free(first);
        while (goes_on) {
                job.run(job.data);
                pthread_mutex_lock(&lock);
                goes_on = wait_for_job(&job);
                pthread_mutex_unlock(&lock);
        }
        return NULL;
}

static int make_thread(void (*run)(void *data), void *data)
{
        struct job *job = malloc(sizeof *job);
        pthread_attr_t attr;
        pthread_t thread;
        int r;

        if (!job)
                return -EAGAIN;
        *job = (struct job){run, data};
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, ASIDE_STACK_BYTES);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        r = pthread_create(&thread, &attr, work, job);
        pthread_attr_destroy(&attr);
        if (r != 0)
                free(job);
        return r == 0 ? 0 : -EAGAIN;
}

int aside_run(void (*run)(void *data), void *data)
{
        struct idler *idler;

        pthread_mutex_lock(&lock);
        idler = idlers;
        if (idler) {
                DL_DELETE(idlers, idler);
                idler->run = run;
                idler->data = data;
                pthread_cond_signal(&idler->given);
        }
        pthread_mutex_unlock(&lock);
        return idler ? 0 : make_thread(run, data);
}
