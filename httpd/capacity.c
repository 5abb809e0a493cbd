/* SPDX-License-Identifier: MIT */
#include "capacity.h"

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

/* Of a thread that streams: its stack, a head of 64 KiB and a buffer of 512 KiB. */
#define THREAD_BYTES (768u << 10)

/* A thread that was joined counts for a moment yet: waits for that at most so long. */
enum { GONE_MS = 500 };

struct gate {
        pthread_mutex_t lock;
        pthread_cond_t opened;
        bool open; /* under lock */
};

static void *wait_at(void *data)
{
        struct gate *g = data;

        pthread_mutex_lock(&g->lock);
        while (!g->open)
                pthread_cond_wait(&g->opened, &g->lock);
        pthread_mutex_unlock(&g->lock);
        return NULL;
}

/* 0: /proc does not say. */
static unsigned count_threads(void)
{
        DIR *d = opendir("/proc/self/task");
        unsigned n = 0;

        if (!d)
                return 0;
        while (readdir(d))
                n++;
        closedir(d);
        return n;
}

unsigned capacity_threads(unsigned wanted)
{
        static const struct timespec step = {.tv_nsec = 1000000};
        unsigned before = count_threads();
        struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
        pthread_t *threads = calloc(wanted, sizeof *threads);
        pthread_attr_t attr;
        unsigned n = 0;

        if (!threads || pthread_attr_init(&attr) != 0) {
                free(threads);
                return 0;
        }
        pthread_attr_setstacksize(&attr, THREAD_BYTES);
        while (n < wanted && pthread_create(&threads[n], &attr, wait_at, &gate) == 0)
                n++;
        pthread_attr_destroy(&attr);

        pthread_mutex_lock(&gate.lock);
        gate.open = true;
        pthread_cond_broadcast(&gate.opened);
        pthread_mutex_unlock(&gate.lock);
        for (unsigned i = 0; i < n; i++)
                pthread_join(threads[i], NULL);
        for (unsigned ms = 0; ms < GONE_MS && count_threads() > before; ms++)
                nanosleep(&step, NULL);
        free(threads);
        return n;
}
