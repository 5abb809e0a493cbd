/* SPDX-License-Identifier: MIT */
#include "capacity.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* Of a thread that streams: 100 KiB of stack, a head of 64 KiB and a buffer of 512 KiB. */
#define THREAD_BYTES (768u << 10)

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

unsigned capacity_threads(unsigned wanted)
{
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
        free(threads);
        return n;
}
